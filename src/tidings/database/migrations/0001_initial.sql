-- The first schema. One text for both databases: a line that ends in --@sqlite or --@postgres is kept on that one alone,
-- {id} is the spelling of a generated bigint key, {json} of a JSON column. Instants are milliseconds UTC.

CREATE TABLE tenants (
    id {id},
    slug text NOT NULL UNIQUE,
    name text NOT NULL,
    sender_email text NOT NULL,
    sender_name text NOT NULL DEFAULT '',
    unknown_rule text NOT NULL DEFAULT 'resend' CHECK (unknown_rule IN ('resend', 'hold')),
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL
    , PRIMARY KEY (id) --@postgres
);

CREATE TABLE api_keys (
    id {id},
    tenant_id bigint NOT NULL REFERENCES tenants (id),
    key text NOT NULL UNIQUE,
    secret_hash text NOT NULL,
    name text NOT NULL,
    scopes text NOT NULL,
    created_at bigint NOT NULL,
    revoked_at bigint
    , PRIMARY KEY (id) --@postgres
);
CREATE INDEX api_keys_tenant ON api_keys (tenant_id, id);

CREATE TABLE providers (
    id {id},
    tenant_id bigint NOT NULL REFERENCES tenants (id),
    channel text NOT NULL CHECK (channel IN ('email', 'sms')),
    kind text NOT NULL,
    name text NOT NULL,
    -- sealed with the server's secret; never leaves the house
    settings text NOT NULL DEFAULT '',
    chosen_at bigint,
    paused_at bigint,
    paused_until bigint,
    paused_reason text,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    CHECK ((paused_at IS NULL) = (paused_until IS NULL) AND (paused_at IS NULL) = (paused_reason IS NULL)),
    UNIQUE (tenant_id, name)
    , PRIMARY KEY (tenant_id, id) --@postgres
);
CREATE UNIQUE INDEX providers_chosen ON providers (tenant_id, channel) WHERE chosen_at IS NOT NULL;

CREATE TABLE contacts (
    id {id},
    tenant_id bigint NOT NULL,
    email text,
    -- the address lower-cased: who is the same person, though the local part is written as it was given
    email_key text,
    phone text,
    first_name text NOT NULL DEFAULT '',
    last_name text NOT NULL DEFAULT '',
    company text NOT NULL DEFAULT '',
    locale text NOT NULL DEFAULT '',
    timezone text NOT NULL DEFAULT '',
    attributes {json} NOT NULL DEFAULT '{}',
    email_granted_at bigint,
    email_denied_at bigint,
    sms_granted_at bigint,
    sms_denied_at bigint,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    CHECK (email IS NOT NULL OR phone IS NOT NULL),
    CHECK ((email IS NULL) = (email_key IS NULL)),
    CHECK (email_granted_at IS NULL OR email_denied_at IS NULL),
    CHECK (sms_granted_at IS NULL OR sms_denied_at IS NULL)
    , PRIMARY KEY (tenant_id, id) --@postgres
);
CREATE UNIQUE INDEX contacts_email ON contacts (tenant_id, email_key) WHERE email_key IS NOT NULL;
-- a phone names a person only where no address does: families and offices share numbers
CREATE UNIQUE INDEX contacts_phone_only ON contacts (tenant_id, phone) WHERE email_key IS NULL;
CREATE INDEX contacts_phone ON contacts (tenant_id, phone) WHERE phone IS NOT NULL;
CREATE INDEX contacts_tenant ON contacts (tenant_id); --@sqlite

CREATE TABLE lists (
    id {id},
    tenant_id bigint NOT NULL,
    name text NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    UNIQUE (tenant_id, name)
    , PRIMARY KEY (tenant_id, id) --@postgres
);

CREATE TABLE list_members (
    tenant_id bigint NOT NULL,
    list_id bigint NOT NULL,
    contact_id bigint NOT NULL,
    added_at bigint NOT NULL,
    PRIMARY KEY (tenant_id, list_id, contact_id)
) 
WITHOUT ROWID --@sqlite
;
CREATE INDEX list_members_contact ON list_members (tenant_id, contact_id);

CREATE TABLE suppressions (
    id {id},
    tenant_id bigint NOT NULL,
    channel text NOT NULL CHECK (channel IN ('email', 'sms')),
    -- an email address lower-cased, a phone number in E.164
    address text NOT NULL,
    reason text NOT NULL CHECK (reason IN ('unsubscribed', 'bounced', 'complained', 'manual')),
    detail text NOT NULL DEFAULT '',
    communication_id bigint,
    created_at bigint NOT NULL,
    UNIQUE (tenant_id, channel, address)
    , PRIMARY KEY (tenant_id, id) --@postgres
);

-- immutable: made once, shared by every communication that says the same
CREATE TABLE contents (
    id {id},
    tenant_id bigint NOT NULL,
    hash text NOT NULL,
    channel text NOT NULL CHECK (channel IN ('email', 'sms')),
    format text NOT NULL CHECK (format IN ('html', 'mjml', 'text')),
    subject text NOT NULL,
    source text NOT NULL,
    html text NOT NULL,
    text text NOT NULL,
    links text NOT NULL,
    variables text NOT NULL,
    created_at bigint NOT NULL,
    UNIQUE (tenant_id, hash)
    , PRIMARY KEY (tenant_id, id) --@postgres
);

CREATE TABLE templates (
    id {id},
    tenant_id bigint NOT NULL,
    name text NOT NULL,
    channel text NOT NULL CHECK (channel IN ('email', 'sms')),
    version integer NOT NULL,
    content_id bigint NOT NULL,
    archived_at bigint,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL
    , PRIMARY KEY (tenant_id, id) --@postgres
);
CREATE UNIQUE INDEX templates_name ON templates (tenant_id, name) WHERE archived_at IS NULL;

CREATE TABLE template_versions (
    tenant_id bigint NOT NULL,
    template_id bigint NOT NULL,
    version integer NOT NULL,
    content_id bigint NOT NULL,
    created_by text NOT NULL DEFAULT '',
    created_at bigint NOT NULL,
    PRIMARY KEY (tenant_id, template_id, version)
);

CREATE TABLE campaigns (
    id {id},
    tenant_id bigint NOT NULL,
    name text NOT NULL,
    state text NOT NULL CHECK (state IN ('draft', 'active', 'paused', 'archived')),
    reenroll_after bigint NOT NULL CHECK (reenroll_after >= 0),
    sender_email text,
    sender_name text,
    reply_to text,
    stop_on_reply smallint NOT NULL CHECK (stop_on_reply IN (0, 1)),
    track_opens smallint NOT NULL CHECK (track_opens IN (0, 1)),
    track_links smallint NOT NULL CHECK (track_links IN (0, 1)),
    activated_at bigint,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL
    , PRIMARY KEY (tenant_id, id) --@postgres
);
CREATE INDEX campaigns_tenant ON campaigns (tenant_id); --@sqlite
CREATE INDEX campaigns_active ON campaigns (tenant_id, id) WHERE state = 'active';

CREATE TABLE messages (
    id {id},
    tenant_id bigint NOT NULL,
    campaign_id bigint NOT NULL,
    position integer NOT NULL CHECK (position >= 1),
    name text NOT NULL DEFAULT '',
    channel text NOT NULL CHECK (channel IN ('email', 'sms')),
    delay bigint NOT NULL CHECK (delay >= 0),
    content_id bigint NOT NULL,
    template_id bigint,
    deleted_at bigint,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL
    , PRIMARY KEY (tenant_id, id) --@postgres
);
CREATE UNIQUE INDEX messages_position ON messages (tenant_id, campaign_id, position) WHERE deleted_at IS NULL;

CREATE TABLE enrollments (
    id {id},
    tenant_id bigint NOT NULL,
    campaign_id bigint NOT NULL,
    contact_id bigint NOT NULL,
    -- the position of the last message made for it; 0 before the first
    position integer NOT NULL DEFAULT 0,
    due_at bigint,
    enrolled_at bigint NOT NULL,
    completed_at bigint,
    stopped_by text CHECK (stopped_by IN ('reply', 'unsubscribe')),
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    CHECK (completed_at IS NULL OR due_at IS NULL),
    CHECK (stopped_by IS NULL OR completed_at IS NOT NULL)
    , PRIMARY KEY (tenant_id, id) --@postgres
);
CREATE INDEX enrollments_tenant ON enrollments (tenant_id); --@sqlite
CREATE INDEX enrollments_due ON enrollments (tenant_id, campaign_id, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX enrollments_contact ON enrollments (tenant_id, contact_id);
-- nobody walks through one campaign twice at the same time; the re-enrollment window speaks of the walks before
CREATE UNIQUE INDEX enrollments_walking ON enrollments (tenant_id, campaign_id, contact_id) WHERE completed_at IS NULL;

CREATE TABLE communications (
    id {id},
    tenant_id bigint NOT NULL,
    channel text NOT NULL CHECK (channel IN ('email', 'sms')),
    state text NOT NULL CHECK (state IN ('scheduled', 'pending', 'in_process', 'unknown', 'sent', 'delivered', 'failed', 'bounced', 'suppressed', 'canceled')),
    -- 0 instant, 1 campaign: the lower lane is served first
    lane smallint NOT NULL CHECK (lane IN (0, 1)),
    due_at bigint,
    lease_until bigint,
    lease bigint,
    attempts integer NOT NULL DEFAULT 0,
    serial integer NOT NULL DEFAULT 0,
    contact_id bigint NOT NULL,
    content_id bigint NOT NULL,
    campaign_id bigint,
    message_id bigint,
    enrollment_id bigint,
    -- 1 for the only message of its enrollment: when it is settled, so is the enrollment, without a look at others
    sole smallint NOT NULL DEFAULT 0 CHECK (sole IN (0, 1)),
    template_id bigint,
    list_id bigint,
    type text NOT NULL,
    address text NOT NULL,
    recipients text,
    sender_email text,
    sender_name text,
    reply_to text,
    subject text,
    variables text,
    related_entity_type text,
    related_entity_id text,
    conversation_id text,
    provider_id bigint,
    provider text,
    provider_message_id text,
    track_opens smallint NOT NULL CHECK (track_opens IN (0, 1)),
    track_links smallint NOT NULL CHECK (track_links IN (0, 1)),
    scheduled_at bigint,
    sent_at bigint,
    delivered_at bigint,
    opened_at bigint,
    open_count integer NOT NULL DEFAULT 0,
    clicked_at bigint,
    click_count integer NOT NULL DEFAULT 0,
    error text,
    error_code text,
    created_by text,
    updated_by text,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    CHECK (due_at IS NULL OR state IN ('scheduled', 'pending', 'in_process', 'unknown')),
    CHECK ((lease IS NULL) = (lease_until IS NULL)),
    CHECK ((lease IS NULL) = (state <> 'in_process')),
    CHECK (sent_at IS NOT NULL OR state NOT IN ('sent', 'delivered')),
    CHECK ((enrollment_id IS NULL) = (campaign_id IS NULL) AND (enrollment_id IS NULL) = (message_id IS NULL))
    , PRIMARY KEY (tenant_id, id) --@postgres
)
-- a claim changes no indexed column: with room on the page PostgreSQL then touches no index (a HOT update)
WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05) --@postgres
;
CREATE INDEX communications_tenant ON communications (tenant_id); --@sqlite
CREATE INDEX communications_due ON communications (tenant_id, channel, lane, due_at, id) WHERE due_at IS NOT NULL;
CREATE UNIQUE INDEX communications_step ON communications (tenant_id, enrollment_id, message_id) WHERE enrollment_id IS NOT NULL;
CREATE INDEX communications_contact ON communications (tenant_id, contact_id);

-- append-only: what happened to a communication
CREATE TABLE interactions (
    id {id},
    tenant_id bigint NOT NULL,
    communication_id bigint NOT NULL,
    contact_id bigint NOT NULL,
    campaign_id bigint,
    message_id bigint,
    kind text NOT NULL,
    at bigint NOT NULL,
    link_index integer,
    detail text,
    user_agent text,
    ip text
    , PRIMARY KEY (tenant_id, communication_id, at, id) --@postgres
)
PARTITION BY RANGE (at) --@postgres
;
CREATE INDEX interactions_communication ON interactions (tenant_id, communication_id, at); --@sqlite
CREATE INDEX interactions_message ON interactions (tenant_id, message_id, kind, at, contact_id) WHERE message_id IS NOT NULL;
CREATE TABLE interactions_other PARTITION OF interactions DEFAULT; --@postgres

-- written with what they count, by hour of sending (of acceptance for what was not sent); spread over slots so that workers do not wait for each other
CREATE TABLE counters (
    tenant_id bigint NOT NULL,
    hour bigint NOT NULL,
    channel text NOT NULL,
    type text NOT NULL,
    template_id bigint NOT NULL,
    campaign_id bigint NOT NULL,
    message_id bigint NOT NULL,
    slot smallint NOT NULL,
    accepted bigint NOT NULL DEFAULT 0,
    sent bigint NOT NULL DEFAULT 0,
    delivered bigint NOT NULL DEFAULT 0,
    failed bigint NOT NULL DEFAULT 0,
    canceled bigint NOT NULL DEFAULT 0,
    opened bigint NOT NULL DEFAULT 0,
    clicked bigint NOT NULL DEFAULT 0,
    opens bigint NOT NULL DEFAULT 0,
    clicks bigint NOT NULL DEFAULT 0,
    bounced bigint NOT NULL DEFAULT 0,
    complained bigint NOT NULL DEFAULT 0,
    unsubscribed bigint NOT NULL DEFAULT 0,
    replied bigint NOT NULL DEFAULT 0,
    enrolled bigint NOT NULL DEFAULT 0,
    completed bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, hour, channel, type, template_id, campaign_id, message_id, slot)
)
WITHOUT ROWID --@sqlite
WITH (fillfactor = 50) --@postgres
;

CREATE TABLE jobs (
    id {id},
    tenant_id bigint NOT NULL,
    kind text NOT NULL,
    state text NOT NULL CHECK (state IN ('waiting', 'running', 'done', 'failed')),
    params text NOT NULL,
    -- where to go on after a crash; written in the same transaction as the work it speaks of
    cursor text NOT NULL DEFAULT '',
    done bigint NOT NULL DEFAULT 0,
    total bigint NOT NULL DEFAULT 0,
    rejected bigint NOT NULL DEFAULT 0,
    error text,
    due_at bigint,
    lease_until bigint,
    lease bigint,
    attempts integer NOT NULL DEFAULT 0,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    finished_at bigint,
    CHECK ((finished_at IS NOT NULL) = (state IN ('done', 'failed'))),
    CHECK (due_at IS NULL OR finished_at IS NULL)
    , PRIMARY KEY (tenant_id, id) --@postgres
);
CREATE INDEX jobs_due ON jobs (due_at) WHERE due_at IS NOT NULL;

-- what the sandbox provider would have sent
CREATE TABLE sandbox_messages (
    id {id},
    tenant_id bigint NOT NULL,
    communication_id bigint NOT NULL,
    channel text NOT NULL,
    sender text NOT NULL,
    recipients text NOT NULL,
    raw {bytes} NOT NULL,
    created_at bigint NOT NULL
    , PRIMARY KEY (tenant_id, id) --@postgres
);
CREATE INDEX sandbox_messages_tenant ON sandbox_messages (tenant_id); --@sqlite
CREATE INDEX sandbox_messages_communication ON sandbox_messages (tenant_id, communication_id);

-- for people in psql: the instants as real timestamps
CREATE VIEW communications_readable AS SELECT id, tenant_id, channel, state, address, campaign_id, message_id, to_timestamp(due_at / 1000.0) AS due, to_timestamp(sent_at / 1000.0) AS sent, to_timestamp(opened_at / 1000.0) AS opened, to_timestamp(clicked_at / 1000.0) AS clicked, error, to_timestamp(created_at / 1000.0) AS created FROM communications; --@postgres
CREATE VIEW interactions_readable AS SELECT id, tenant_id, communication_id, contact_id, message_id, kind, to_timestamp(at / 1000.0) AS happened, link_index, detail FROM interactions; --@postgres
