-- Conversations and what arrives in them, attachments, who may be written as, requests that are safe to repeat, and marks of machines
-- that open mail before people do.

-- who a tenant may write as besides its own address: a whole domain (`example.com`) or one address, lower-cased
CREATE TABLE senders (
    id {id},
    tenant_id bigint NOT NULL REFERENCES tenants (id),
    address text NOT NULL,
    created_at bigint NOT NULL,
    UNIQUE (tenant_id, address)
    , PRIMARY KEY (tenant_id, id) --@postgres
);

-- the thread both directions belong to; a communication that nobody has answered or continued has none yet
CREATE TABLE conversations (
    id {id},
    tenant_id bigint NOT NULL,
    -- its name on alpha's wire: the caller's own, or one made from the message it began with
    key text NOT NULL,
    channel text NOT NULL CHECK (channel IN ('email', 'sms')),
    contact_id bigint,
    subject text NOT NULL DEFAULT '',
    assignee text,
    related_entity_type text,
    related_entity_id text,
    unread integer NOT NULL DEFAULT 0 CHECK (unread >= 0),
    closed_at bigint,
    -- of the newest message in it, either way
    last_at bigint NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    CHECK ((related_entity_type IS NULL) = (related_entity_id IS NULL)),
    UNIQUE (tenant_id, key)
    , PRIMARY KEY (tenant_id, id) --@postgres
);
CREATE INDEX conversations_last ON conversations (tenant_id, last_at, id);
CREATE INDEX conversations_contact ON conversations (tenant_id, contact_id) WHERE contact_id IS NOT NULL;
CREATE INDEX conversations_entity ON conversations (tenant_id, related_entity_type, related_entity_id) WHERE related_entity_id IS NOT NULL;

-- what somebody wrote to us; the raw message is a blob
CREATE TABLE inbound_messages (
    id {id},
    tenant_id bigint NOT NULL,
    channel text NOT NULL CHECK (channel IN ('email', 'sms')),
    conversation_id bigint NOT NULL,
    contact_id bigint NOT NULL,
    -- the communication it answers, where one is known
    communication_id bigint,
    -- where it came from and its name there: the same message comes twice and is stored once
    source text NOT NULL,
    source_id text NOT NULL,
    status text NOT NULL DEFAULT 'new' CHECK (status IN ('new', 'read', 'processed', 'archived')),
    -- an automatic answer (RFC 3834): stored, but nobody has replied
    automatic smallint NOT NULL DEFAULT 0 CHECK (automatic IN (0, 1)),
    sender text NOT NULL,
    sender_name text NOT NULL DEFAULT '',
    -- JSON {"to": [..], "cc": [..]}
    recipients text NOT NULL DEFAULT '{}',
    subject text NOT NULL DEFAULT '',
    text text NOT NULL DEFAULT '',
    html text NOT NULL DEFAULT '',
    -- the part of the text that is new, without what it quotes
    reply text NOT NULL DEFAULT '',
    -- as its headers have them, angle brackets included; reference_ids is a JSON array
    message_id text,
    in_reply_to text,
    reference_ids text NOT NULL DEFAULT '[]',
    graph_message_id text,
    related_entity_type text,
    related_entity_id text,
    raw_hash text,
    received_at bigint NOT NULL,
    created_by text,
    updated_by text,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    CHECK ((related_entity_type IS NULL) = (related_entity_id IS NULL)),
    UNIQUE (tenant_id, source, source_id)
    , PRIMARY KEY (tenant_id, id) --@postgres
);
CREATE INDEX inbound_conversation ON inbound_messages (tenant_id, conversation_id, received_at, id);
CREATE INDEX inbound_contact ON inbound_messages (tenant_id, contact_id, received_at, id);
CREATE INDEX inbound_entity ON inbound_messages (tenant_id, related_entity_type, related_entity_id) WHERE related_entity_id IS NOT NULL;
CREATE INDEX inbound_raw ON inbound_messages (tenant_id, raw_hash) WHERE raw_hash IS NOT NULL;
CREATE INDEX inbound_message_id ON inbound_messages (tenant_id, message_id) WHERE message_id IS NOT NULL;

-- bytes that are kept outside of the database, once for each tenant, by their SHA-256
CREATE TABLE blobs (
    tenant_id bigint NOT NULL,
    hash text NOT NULL,
    size bigint NOT NULL CHECK (size >= 0),
    -- when somebody last wanted to keep them: nothing young is swept
    touched_at bigint NOT NULL,
    -- nobody refers to them any more and the sweep is removing them
    doomed_at bigint,
    PRIMARY KEY (tenant_id, hash)
);

CREATE TABLE attachments (
    id {id},
    tenant_id bigint NOT NULL,
    communication_id bigint,
    inbound_id bigint,
    position integer NOT NULL CHECK (position >= 0),
    filename text NOT NULL,
    content_type text NOT NULL,
    -- of a part that the HTML shows (RFC 2392), without angle brackets
    content_id text,
    size bigint NOT NULL CHECK (size >= 0),
    hash text NOT NULL,
    created_at bigint NOT NULL,
    CHECK ((communication_id IS NULL) <> (inbound_id IS NULL))
    , PRIMARY KEY (tenant_id, id) --@postgres
);
CREATE INDEX attachments_communication ON attachments (tenant_id, communication_id) WHERE communication_id IS NOT NULL;
CREATE INDEX attachments_inbound ON attachments (tenant_id, inbound_id) WHERE inbound_id IS NOT NULL;
CREATE INDEX attachments_blob ON attachments (tenant_id, hash);

-- the answer to a request that may be repeated, written together with what the request made
CREATE TABLE idempotency_keys (
    tenant_id bigint NOT NULL,
    key text NOT NULL,
    -- SHA-256 of what was asked
    request text NOT NULL,
    status integer NOT NULL,
    -- JSON, sealed with the server's secret
    answer text NOT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (tenant_id, key)
);
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);

-- what was done to rows that are no longer there to tell
CREATE TABLE audit (
    id {id},
    tenant_id bigint NOT NULL,
    at bigint NOT NULL,
    -- the name of the API key
    author text NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    subject_id bigint NOT NULL,
    contact_id bigint,
    detail text
    , PRIMARY KEY (tenant_id, id) --@postgres
);
CREATE INDEX audit_tenant ON audit (tenant_id); --@sqlite
CREATE INDEX audit_subject ON audit (tenant_id, subject, subject_id);

-- a communication belongs to a conversation by id; what callers named so far becomes a conversation's key
INSERT INTO conversations (tenant_id, key, channel, contact_id, last_at, created_at, updated_at) SELECT tenant_id, conversation_id, MIN(channel), MIN(contact_id), MAX(created_at), MIN(created_at), MAX(created_at) FROM communications WHERE conversation_id IS NOT NULL GROUP BY tenant_id, conversation_id;
ALTER TABLE communications RENAME COLUMN conversation_id TO conversation_key;
ALTER TABLE communications ADD COLUMN conversation_id bigint;
UPDATE communications SET conversation_id = (SELECT v.id FROM conversations v WHERE v.tenant_id = communications.tenant_id AND v.key = communications.conversation_key) WHERE conversation_key IS NOT NULL;
ALTER TABLE communications DROP COLUMN conversation_key;
CREATE INDEX communications_conversation ON communications (tenant_id, conversation_id) WHERE conversation_id IS NOT NULL;
UPDATE conversations SET related_entity_type = (SELECT c.related_entity_type FROM communications c WHERE c.tenant_id = conversations.tenant_id AND c.conversation_id = conversations.id AND c.related_entity_type IS NOT NULL AND c.related_entity_id IS NOT NULL ORDER BY c.id LIMIT 1), related_entity_id = (SELECT c.related_entity_id FROM communications c WHERE c.tenant_id = conversations.tenant_id AND c.conversation_id = conversations.id AND c.related_entity_type IS NOT NULL AND c.related_entity_id IS NOT NULL ORDER BY c.id LIMIT 1);
-- 1 when attachments travel with it
ALTER TABLE communications ADD COLUMN attached smallint NOT NULL DEFAULT 0;
-- of open_count and click_count, those that no machine made
ALTER TABLE communications ADD COLUMN human_opens integer NOT NULL DEFAULT 0;
ALTER TABLE communications ADD COLUMN human_clicks integer NOT NULL DEFAULT 0;
UPDATE communications SET human_opens = open_count, human_clicks = click_count WHERE open_count > 0;
CREATE INDEX communications_entity ON communications (tenant_id, related_entity_type, related_entity_id) WHERE related_entity_id IS NOT NULL;
CREATE INDEX communications_sent ON communications (tenant_id, sent_at) WHERE sent_at IS NOT NULL;
CREATE INDEX communications_failed ON communications (tenant_id, created_at) WHERE sent_at IS NULL AND state IN ('failed', 'suppressed');

-- 1 when a machine did it: a prefetch, a link scanner
ALTER TABLE interactions ADD COLUMN bot smallint NOT NULL DEFAULT 0;

ALTER TABLE counters ADD COLUMN human_opened bigint NOT NULL DEFAULT 0;
ALTER TABLE counters ADD COLUMN human_clicked bigint NOT NULL DEFAULT 0;
ALTER TABLE counters ADD COLUMN human_opens bigint NOT NULL DEFAULT 0;
ALTER TABLE counters ADD COLUMN human_clicks bigint NOT NULL DEFAULT 0;
UPDATE counters SET human_opened = opened, human_clicked = clicked, human_opens = opens, human_clicks = clicks WHERE opens > 0 OR clicks > 0;
