-- What is kept for how long, what is left of that when it is over, and who has read or changed what.

-- days; empty for as long as there is room
ALTER TABLE tenants ADD COLUMN keep_bodies integer CHECK (keep_bodies >= 1);
ALTER TABLE tenants ADD COLUMN keep_interactions integer CHECK (keep_interactions >= 1);
ALTER TABLE tenants ADD COLUMN keep_inbound integer CHECK (keep_inbound >= 1);
ALTER TABLE tenants ADD COLUMN keep_audit integer CHECK (keep_audit >= 1);
-- 1 when the audit has whoever reads personal data, too
ALTER TABLE tenants ADD COLUMN audit_reads smallint NOT NULL DEFAULT 0 CHECK (audit_reads IN (0, 1));

-- when a tenant's old rows are removed next: a day later, or at once when something has changed
CREATE TABLE keeping (
    tenant_id bigint NOT NULL PRIMARY KEY,
    due_at bigint NOT NULL,
    -- what was sent, or came to its end, before this instant has been looked at
    bodies_to bigint NOT NULL DEFAULT 0,
    kept_at bigint
);

-- How often what retention removed had happened to a communication: what was counted of it can be taken back when the communication is
-- deleted or sent again, and what was clicked is still known. Neither whose address nor which program.
CREATE TABLE remnants (
    tenant_id bigint NOT NULL,
    communication_id bigint NOT NULL,
    kind text NOT NULL,
    -- of an hour, as in activity
    quarter bigint NOT NULL,
    -- -1 for none
    link_index integer NOT NULL,
    count integer NOT NULL,
    human integer NOT NULL,
    first_at bigint NOT NULL,
    PRIMARY KEY (tenant_id, communication_id, kind, quarter, link_index)
)
WITHOUT ROWID --@sqlite
;

-- communications.worded is 2 when retention or erasure has removed what it said: neither content nor rendering is its own any more
CREATE INDEX communications_worded ON communications (tenant_id, content_id) WHERE worded = 1;
-- nobody said it any more when this was written: it takes no new communications, and its words go once none under way can be using it
ALTER TABLE contents ADD COLUMN doomed_at bigint;
CREATE INDEX contents_doomed ON contents (tenant_id, doomed_at) WHERE doomed_at IS NOT NULL;
CREATE INDEX inbound_received ON inbound_messages (tenant_id, received_at);

-- of a request: what it was in words, how it ended, from where it came
ALTER TABLE audit ADD COLUMN operation text;
ALTER TABLE audit ADD COLUMN status integer;
ALTER TABLE audit ADD COLUMN ip text;
CREATE INDEX audit_contact ON audit (tenant_id, contact_id, id) WHERE contact_id IS NOT NULL;

CREATE TRIGGER contents_emptied AFTER UPDATE OF said_subject, said_text ON contents WHEN old.id <= (SELECT upto FROM search_marks WHERE name = 'contents') --@sqlite
BEGIN --@sqlite
    INSERT INTO contents_trigrams (contents_trigrams, rowid, tenant_id, said_subject, said_text) VALUES ('delete', old.id, old.tenant_id, old.said_subject, old.said_text); --@sqlite
    INSERT INTO contents_trigrams (rowid, tenant_id, said_subject, said_text) VALUES (new.id, new.tenant_id, new.said_subject, new.said_text); --@sqlite
END; --@sqlite
CREATE TRIGGER addressed_changed AFTER UPDATE OF address, recipients ON communications WHEN old.campaign_id IS NULL AND old.id <= (SELECT upto FROM search_marks WHERE name = 'addressed') --@sqlite
BEGIN --@sqlite
    INSERT INTO addressed_trigrams (addressed_trigrams, rowid, tenant_id, address, recipients) VALUES ('delete', old.id, old.tenant_id, lower(old.address), lower(old.recipients)); --@sqlite
    INSERT INTO addressed_trigrams (rowid, tenant_id, address, recipients) VALUES (new.id, new.tenant_id, lower(new.address), lower(new.recipients)); --@sqlite
END; --@sqlite
