-- Where messages come in, what they answer, and what carriers say of texts after they took them.

-- a mailbox that is polled, an address the listener takes mail for, or the address a carrier's webhook calls
CREATE TABLE inboxes (
    id {id},
    tenant_id bigint NOT NULL REFERENCES tenants (id),
    kind text NOT NULL CHECK (kind IN ('imap', 'address', 'postmark', 'mailgun', 'sendgrid', 'resend')),
    name text NOT NULL,
    -- whose mail the listener takes: `help@example.com` or the whole of `example.com`, lower-cased
    address text UNIQUE,
    -- the secret part of a webhook's URL
    token text UNIQUE,
    -- sealed with the server's secret; never leaves the house
    settings text NOT NULL DEFAULT '',
    -- how far a mailbox has been read: JSON of UIDVALIDITY and the last UID
    cursor text NOT NULL DEFAULT '',
    due_at bigint,
    lease_until bigint,
    lease bigint,
    attempts integer NOT NULL DEFAULT 0,
    -- what went wrong the last time, and since when it has
    error text,
    failing_since bigint,
    last_at bigint,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    CHECK ((kind = 'address') = (address IS NOT NULL)),
    CHECK ((kind IN ('imap', 'address')) = (token IS NULL)),
    CHECK ((lease IS NULL) = (lease_until IS NULL)),
    CHECK ((error IS NULL) = (failing_since IS NULL)),
    UNIQUE (tenant_id, name)
    , PRIMARY KEY (tenant_id, id) --@postgres
);
CREATE INDEX inboxes_due ON inboxes (due_at) WHERE due_at IS NOT NULL;

-- where answers and bounces of a tenant's mail go: `reply@example.com` becomes `reply+<token>@example.com`
ALTER TABLE tenants ADD COLUMN reply_address text;
ALTER TABLE tenants ADD COLUMN bounce_address text;
-- JSON of the words that stop, start and help, where they are not the usual ones; and what is answered to them
ALTER TABLE tenants ADD COLUMN keywords text;

-- 1 for what is sent although its address is suppressed: the confirmation of a STOP
ALTER TABLE communications ADD COLUMN exempt smallint NOT NULL DEFAULT 0;
-- what an SMS carrier's receipt names
CREATE INDEX communications_receipt ON communications (tenant_id, provider_message_id) WHERE channel = 'sms' AND provider_message_id IS NOT NULL;

-- stop, start or help, when a text was one of these words
ALTER TABLE inbound_messages ADD COLUMN keyword text;
-- where an answer is wanted, when that is not where it came from
ALTER TABLE inbound_messages ADD COLUMN reply_to text;

-- what was said with one contact, in its order; SQLite would pay more for keeping it at every sending than a reading saves
DROP INDEX communications_contact; --@postgres
CREATE INDEX communications_contact ON communications (tenant_id, contact_id, COALESCE(sent_at, scheduled_at, created_at), id); --@postgres
