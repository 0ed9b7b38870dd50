-- What keeps answers as quick with ten million communications as with ten thousand, at no cost to an ordinary sending.

-- Counts by day: those of every hour that has been settled, which are the rows of slot 0. Everybody counts in the other slots; a worker
-- settles them, so that the sum of the days and of what is not settled yet is always everything.
CREATE TABLE days (
    tenant_id bigint NOT NULL,
    -- its beginning; -1 for all days together
    day bigint NOT NULL,
    channel text NOT NULL,
    type text NOT NULL,
    template_id bigint NOT NULL,
    -- 1 for what belongs to no campaign
    manual smallint NOT NULL CHECK (manual IN (0, 1)),
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
    human_opened bigint NOT NULL DEFAULT 0,
    human_clicked bigint NOT NULL DEFAULT 0,
    human_opens bigint NOT NULL DEFAULT 0,
    human_clicks bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, day, channel, type, template_id, manual)
)
WITHOUT ROWID --@sqlite
WITH (fillfactor = 50) --@postgres
;
UPDATE counters SET slot = 8 WHERE slot = 0;
CREATE INDEX counters_unsettled ON counters (tenant_id, hour) WHERE slot > 0;

-- What happened to all of a tenant's communications by day: of quarters of an hour that have been settled, which are the rows of slot 0 in
-- `activity`. `counts` and `humans` are the same for each of the day's 96 quarters, as a JSON array; '' for none yet.
CREATE TABLE activity_days (
    tenant_id bigint NOT NULL,
    day bigint NOT NULL,
    channel text NOT NULL,
    kind text NOT NULL,
    count bigint NOT NULL DEFAULT 0,
    human bigint NOT NULL DEFAULT 0,
    counts text NOT NULL DEFAULT '',
    humans text NOT NULL DEFAULT '',
    PRIMARY KEY (tenant_id, day, channel, kind)
)
WITHOUT ROWID --@sqlite
;
UPDATE activity SET slot = 8 WHERE slot = 0;
CREATE INDEX activity_unsettled ON activity (tenant_id, quarter) WHERE slot > 0;

-- what was never sent and never will be
CREATE INDEX communications_unsent ON communications (tenant_id, id) WHERE sent_at IS NULL AND due_at IS NULL;
-- the newest of the few, among the many of a campaign, and among mail
CREATE INDEX communications_by_hand ON communications (tenant_id, id) WHERE campaign_id IS NULL; --@postgres
CREATE INDEX communications_texts ON communications (tenant_id, id) WHERE channel = 'sms'; --@postgres
