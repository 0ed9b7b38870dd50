-- Whom else it is told when something happened, and every telling: what is due, what came of it.

-- somebody's subscription: where to post, what of, and how the one posted to can tell that it is us
CREATE TABLE endpoints (
    id {id},
    tenant_id bigint NOT NULL REFERENCES tenants (id),
    name text NOT NULL DEFAULT '',
    style text NOT NULL CHECK (style IN ('standard', 'everlytic')),
    verb text NOT NULL CHECK (verb IN ('GET', 'POST', 'PUT', 'PATCH', 'DELETE')),
    url text NOT NULL,
    -- JSON array of what it wants to hear of; empty for all
    kinds text NOT NULL DEFAULT '[]',
    -- JSON of what it wants to hear it about; {} for everything
    filters text NOT NULL DEFAULT '{}',
    -- secrets and passwords are sealed with the server's secret; the old one signs beside the new one until old_until
    secret text,
    old_secret text,
    old_until bigint,
    auth text,
    disabled_at bigint,
    disabled_why text,
    -- since when nothing but failures came back, how many rounds in a row, and until when it is left alone
    failing_since bigint,
    failures integer NOT NULL DEFAULT 0,
    rest_until bigint,
    error text,
    delivered_at bigint,
    -- who posts to it at this time, and since when it waits for its turn
    lease_until bigint,
    lease bigint,
    served_at bigint NOT NULL DEFAULT 0,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    CHECK (style <> 'standard' OR (verb = 'POST' AND secret IS NOT NULL)),
    CHECK ((disabled_at IS NULL) = (disabled_why IS NULL)),
    CHECK ((old_secret IS NULL) = (old_until IS NULL)),
    CHECK ((lease IS NULL) = (lease_until IS NULL))
    , PRIMARY KEY (tenant_id, id) --@postgres
);
-- asked with every batch of events, by tenants that mostly have none
CREATE INDEX endpoints_listening ON endpoints (tenant_id, id) WHERE disabled_at IS NULL;
CREATE INDEX endpoints_tenant ON endpoints (tenant_id); --@sqlite

CREATE TABLE deliveries (
    id {id},
    tenant_id bigint NOT NULL,
    endpoint_id bigint NOT NULL,
    kind text NOT NULL,
    -- what it is about, looked up when it is posted: what has been erased by then is told to nobody
    communication_id bigint,
    inbound_id bigint,
    -- JSON of what happened, as it was then
    data text NOT NULL DEFAULT '{}',
    at bigint NOT NULL,
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'failed')),
    due_at bigint,
    attempts integer NOT NULL DEFAULT 0,
    ended_at bigint,
    error text,
    -- JSON array of what was tried and what came back
    log text NOT NULL DEFAULT '[]',
    CHECK ((state = 'waiting') = (due_at IS NOT NULL)),
    CHECK ((state = 'waiting') = (ended_at IS NULL))
    , PRIMARY KEY (tenant_id, id) --@postgres
)
WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05) --@postgres
;
CREATE INDEX deliveries_due ON deliveries (tenant_id, endpoint_id, due_at, id) WHERE due_at IS NOT NULL;
-- what happened to one communication is told in its order
CREATE INDEX deliveries_communication ON deliveries (tenant_id, communication_id, endpoint_id, id) WHERE communication_id IS NOT NULL;
CREATE INDEX deliveries_inbound ON deliveries (tenant_id, inbound_id) WHERE inbound_id IS NOT NULL;
CREATE INDEX deliveries_log ON deliveries (tenant_id, endpoint_id, id);
CREATE INDEX deliveries_ended ON deliveries (ended_at) WHERE ended_at IS NOT NULL;
