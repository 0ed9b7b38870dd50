-- What carriers tell of mail they took: a further kind of inbox, and what has been heard already.

ALTER TABLE inboxes DROP CONSTRAINT inboxes_kind_check; --@postgres
ALTER TABLE inboxes ADD CONSTRAINT inboxes_kind_check CHECK (kind IN ('imap', 'address', 'postmark', 'mailgun', 'sendgrid', 'resend', 'ses')); --@postgres
-- SQLite changes no CHECK: the table is made anew, and no id is given twice
CREATE TABLE inboxes_anew ( --@sqlite
    id {id}, --@sqlite
    tenant_id bigint NOT NULL REFERENCES tenants (id), --@sqlite
    kind text NOT NULL CHECK (kind IN ('imap', 'address', 'postmark', 'mailgun', 'sendgrid', 'resend', 'ses')), --@sqlite
    name text NOT NULL, --@sqlite
    address text UNIQUE, --@sqlite
    token text UNIQUE, --@sqlite
    settings text NOT NULL DEFAULT '', --@sqlite
    cursor text NOT NULL DEFAULT '', --@sqlite
    due_at bigint, --@sqlite
    lease_until bigint, --@sqlite
    lease bigint, --@sqlite
    attempts integer NOT NULL DEFAULT 0, --@sqlite
    error text, --@sqlite
    failing_since bigint, --@sqlite
    last_at bigint, --@sqlite
    created_at bigint NOT NULL, --@sqlite
    updated_at bigint NOT NULL, --@sqlite
    CHECK ((kind = 'address') = (address IS NOT NULL)), --@sqlite
    CHECK ((kind IN ('imap', 'address')) = (token IS NULL)), --@sqlite
    CHECK ((lease IS NULL) = (lease_until IS NULL)), --@sqlite
    CHECK ((error IS NULL) = (failing_since IS NULL)), --@sqlite
    UNIQUE (tenant_id, name) --@sqlite
); --@sqlite
INSERT INTO inboxes_anew SELECT id, tenant_id, kind, name, address, token, settings, cursor, due_at, lease_until, lease, attempts, error, failing_since, last_at, created_at, updated_at FROM inboxes; --@sqlite
DELETE FROM sqlite_sequence WHERE name = 'inboxes_anew'; --@sqlite
INSERT INTO sqlite_sequence (name, seq) SELECT 'inboxes_anew', seq FROM sqlite_sequence WHERE name = 'inboxes'; --@sqlite
DROP TABLE inboxes; --@sqlite
ALTER TABLE inboxes_anew RENAME TO inboxes; --@sqlite
CREATE INDEX inboxes_due ON inboxes (due_at) WHERE due_at IS NOT NULL; --@sqlite

-- which events of a carrier were taken, by the name it gives each; and words of a carrier's that count once, with what was said under them
CREATE TABLE heard (
    tenant_id bigint NOT NULL,
    source text NOT NULL,
    id text NOT NULL,
    said text NOT NULL DEFAULT '',
    at bigint NOT NULL,
    PRIMARY KEY (tenant_id, source, id)
)
WITHOUT ROWID --@sqlite
;
CREATE INDEX heard_at ON heard (at);
