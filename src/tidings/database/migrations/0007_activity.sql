-- What happened when, and which links were followed: counted with each interaction, so that a report reads few rows however many there were.

-- why, in words that are the same for every carrier; and the carrier's own code for it
ALTER TABLE interactions ADD COLUMN reason text;
ALTER TABLE interactions ADD COLUMN code text;

-- how often each kind of interaction happened in each quarter of an hour, on which the hours of every time zone begin; `human` leaves machines
-- out, 0 stands for no campaign and no message. (The counters tell of what was sent in an hour; this tells of what happened in it.)
CREATE TABLE activity (
    tenant_id bigint NOT NULL,
    quarter bigint NOT NULL,
    channel text NOT NULL,
    campaign_id bigint NOT NULL,
    message_id bigint NOT NULL,
    kind text NOT NULL,
    slot smallint NOT NULL,
    count bigint NOT NULL DEFAULT 0,
    human bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, quarter, channel, campaign_id, message_id, kind, slot)
)
WITHOUT ROWID --@sqlite
WITH (fillfactor = 50) --@postgres
;
CREATE INDEX activity_campaign ON activity (tenant_id, campaign_id, quarter) WHERE campaign_id > 0;

-- of each link of a campaign's messages: every click, and how many communications had at least one; by content, for a message may be rewritten
CREATE TABLE link_counters (
    tenant_id bigint NOT NULL,
    message_id bigint NOT NULL,
    content_id bigint NOT NULL,
    link_index integer NOT NULL,
    slot smallint NOT NULL,
    clicks bigint NOT NULL DEFAULT 0,
    clicked bigint NOT NULL DEFAULT 0,
    human_clicks bigint NOT NULL DEFAULT 0,
    human_clicked bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, message_id, content_id, link_index, slot)
)
WITHOUT ROWID --@sqlite
WITH (fillfactor = 50) --@postgres
;

CREATE INDEX counters_campaign ON counters (tenant_id, campaign_id) WHERE campaign_id > 0;

INSERT INTO activity (tenant_id, quarter, channel, campaign_id, message_id, kind, slot, count, human) SELECT i.tenant_id, i.at - i.at % 900000, c.channel, COALESCE(i.campaign_id, 0), COALESCE(i.message_id, 0), i.kind, 0, COUNT(*), CAST(SUM(1 - i.bot) AS bigint) FROM interactions i JOIN communications c ON c.tenant_id = i.tenant_id AND c.id = i.communication_id WHERE i.kind NOT IN ('unknown', 'updated', 'commented') GROUP BY i.tenant_id, i.at - i.at % 900000, c.channel, COALESCE(i.campaign_id, 0), COALESCE(i.message_id, 0), i.kind;
INSERT INTO link_counters (tenant_id, message_id, content_id, link_index, slot, clicks, clicked, human_clicks, human_clicked) SELECT i.tenant_id, i.message_id, c.content_id, i.link_index, 0, COUNT(*), COUNT(DISTINCT i.communication_id), CAST(SUM(1 - i.bot) AS bigint), COUNT(DISTINCT CASE i.bot WHEN 0 THEN i.communication_id END) FROM interactions i JOIN communications c ON c.tenant_id = i.tenant_id AND c.id = i.communication_id WHERE i.kind = 'clicked' AND i.link_index IS NOT NULL AND i.message_id IS NOT NULL GROUP BY i.tenant_id, i.message_id, c.content_id, i.link_index;
