"""The statements of `seed.py`: what becomes of each communication is drawn from its id, so every run makes the same rows."""

PREPARE = """
CREATE TABLE seed.facts (tenant_id bigint, contacts bigint, until bigint, opening bigint);
CREATE TABLE seed.blocks (first bigint, count bigint, begin bigint, pace double precision, kind bigint, campaign_id bigint, message_id bigint,
    sole smallint, first_enrollment bigint, first_contact bigint, waiting smallint);
CREATE TABLE seed.walks (first bigint, count bigint, campaign_id bigint, first_contact bigint, begin bigint, last bigint, messages int);
CREATE FUNCTION seed.draw(id bigint, number bigint, most bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS 'SELECT (hashint8extended(id, number) & 1099511627775) % most';
CREATE FUNCTION seed.contact(place bigint, contacts bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS 'SELECT place % contacts + 1';
"""

CONTACTS = """
INSERT INTO contacts (id, tenant_id, email, email_key, phone, first_name, last_name, created_at, updated_at)
SELECT i, %(t)s, 'person' || i || '@example.org', 'person' || i || '@example.org', '+417' || lpad(i::text, 8, '0'),
    (ARRAY['Ann', 'Bob', 'Cleo', 'Dan', 'Eve', 'Finn', 'Gus'])[1 + i %% 7], (ARRAY['Lee', 'Meier', 'Novak', 'Ott', 'Pick'])[1 + i %% 5],
    f.until - 401 * 86400000::bigint, f.until - 401 * 86400000::bigint
FROM seed.facts f, generate_series(%(begin)s::bigint, %(end)s::bigint) i
"""

ENROLLMENTS = """
INSERT INTO enrollments (id, tenant_id, campaign_id, contact_id, position, enrolled_at, completed_at, created_at, updated_at)
SELECT w.first + k, %(t)s, w.campaign_id, seed.contact(w.first_contact + k, f.contacts), w.messages, w.begin,
    GREATEST(w.begin, w.last) + k + 700, w.begin, GREATEST(w.begin, w.last) + k + 700
FROM seed.facts f, seed.walks w, generate_series(0, w.count - 1) k WHERE w.first = %(begin)s
"""

# `fate`, of ten thousand: what became of it; `keen`, of a thousand: how its reader took it
COMMUNICATIONS = """
INSERT INTO communications (id, tenant_id, channel, state, lane, due_at, scheduled_at, contact_id, content_id, campaign_id, message_id, enrollment_id,
    sole, template_id, type, address, provider, provider_message_id, track_opens, track_links, sent_at, delivered_at, opened_at, open_count,
    human_opens, clicked_at, click_count, human_clicks, error, error_code, worded, attempts, created_at, updated_at)
SELECT id, %(t)s, channel,
    CASE WHEN waiting = 1 THEN 'scheduled' WHEN fate < 50 THEN 'failed' WHEN fate < 100 THEN 'suppressed' WHEN fate < 110 AND campaign_id IS NULL
        THEN 'canceled' WHEN fate < 250 THEN 'bounced' WHEN delivered_at IS NOT NULL THEN 'delivered' ELSE 'sent' END,
    CASE WHEN campaign_id IS NULL THEN 0 ELSE 1 END, CASE waiting WHEN 1 THEN at END, CASE waiting WHEN 1 THEN at END, contact_id, content_id,
    campaign_id, message_id, enrollment_id, sole, template_id, type, address, CASE WHEN sent_at IS NOT NULL THEN 'bench' END,
    CASE WHEN sent_at IS NOT NULL THEN 'msg-' || id END, 1, 1, sent_at, delivered_at, opened_at, opens, opens - (opens > 0 AND bot)::int,
    CASE WHEN clicks > 0 THEN opened_at END, clicks, clicks - (clicks > 0 AND bot)::int,
    CASE WHEN fate < 50 THEN 'The server refused it.' WHEN fate < 100 THEN address || ' must not be written to: bounced' END,
    CASE WHEN fate < 50 THEN '550' END, worded, (waiting = 0)::int, created_at, COALESCE(opened_at, sent_at, created_at)
FROM (
    SELECT s.*, CASE WHEN opened_at IS NOT NULL THEN 1 + (keen %% 5 = 0)::int ELSE 0 END AS opens,
        CASE WHEN opened_at IS NOT NULL AND keen %% 5 < 1 THEN 1 ELSE 0 END AS clicks
    FROM (
        SELECT r.*, CASE WHEN sent_at IS NOT NULL AND fate >= 250 AND (channel = 'sms' OR fate >= 9000) THEN sent_at + 900 END AS delivered_at,
            CASE WHEN channel = 'email' AND fate >= 250 AND keen < opening AND sent_at + delay < until THEN sent_at + delay END AS opened_at
        FROM (
            SELECT b.first + k AS id, n.channel, n.type, n.template_id, n.content_id, b.campaign_id, b.message_id, b.sole, b.waiting, p.contact_id,
                b.first_enrollment + k AS enrollment_id, d.fate, d.keen, d.keen %% 20 = 3 AS bot, f.opening, f.until, p.created_at,
                b.begin + (k * b.pace)::bigint AS at,
                CASE WHEN n.channel = 'email' THEN 'person' || p.contact_id || '@example.org' ELSE '+417' || lpad(p.contact_id::text, 8, '0') END AS address,
                (b.kind IS NULL AND n.channel = 'email' AND b.waiting = 0 AND seed.draw(b.first + k, 3, 15) = 0)::int AS worded,
                CASE WHEN b.waiting = 0 AND d.fate >= 100 AND (d.fate >= 110 OR b.campaign_id IS NOT NULL)
                    THEN p.created_at + CASE WHEN b.campaign_id IS NULL THEN 300 + d.keen ELSE 700 END END AS sent_at,
                -- most read within the hour, some after days
                3000 + seed.draw(b.first + k, 5, 3600000) * (1 + (d.keen %% 3 = 0)::int * seed.draw(b.first + k, 6, 90)) AS delay
            FROM seed.facts f, seed.blocks b
            CROSS JOIN LATERAL generate_series(GREATEST(0, %(begin)s - b.first), LEAST(b.count - 1, %(end)s - b.first)) k
            CROSS JOIN LATERAL (SELECT seed.draw(b.first + k, 1, 10000) AS fate, seed.draw(b.first + k, 2, 1000) AS keen) d
            CROSS JOIN LATERAL (SELECT
                CASE WHEN b.kind IS NULL THEN 1 + seed.draw(b.first + k, 4, f.contacts) ELSE seed.contact(b.first_contact + k, f.contacts) END AS contact_id,
                CASE WHEN b.waiting = 1 THEN f.until - 1000
                    ELSE b.begin + CASE WHEN b.kind IS NULL THEN k * b.pace ELSE k / 500 * 500 END::bigint END AS created_at) p
            JOIN seed.kinds n ON n.kind = COALESCE(b.kind, seed.draw(b.first + k, 7, 8))
            WHERE b.first <= %(end)s AND b.first + b.count > %(begin)s
        ) r
    ) s
) t ORDER BY id
"""

_HAPPENED = """
    SELECT 'sent' AS kind, c.sent_at AS at, NULL::int AS link_index, 0 AS bot, NULL AS detail, NULL AS code, NULL AS reason WHERE c.sent_at IS NOT NULL
    UNION ALL SELECT 'delivered', c.delivered_at, NULL, 0, NULL, NULL, NULL WHERE c.delivered_at IS NOT NULL
    UNION ALL SELECT 'failed', c.created_at, NULL, 0, c.error, c.error_code, 'other' WHERE c.state IN ('failed', 'suppressed')
    UNION ALL SELECT 'canceled', c.created_at + 50, NULL, 0, NULL, NULL, NULL WHERE c.state = 'canceled'
    UNION ALL SELECT 'bounced', c.sent_at + 5000, NULL, 0, 'No such mailbox', '5.1.1', 'bounced' WHERE c.state = 'bounced'
    UNION ALL SELECT CASE j % 2 WHEN 0 THEN 'opened' ELSE 'clicked' END, c.opened_at + j / 2 * 600000,
        CASE j % 2 WHEN 1 THEN (c.id % 3)::int END, (j < 2 AND c.human_opens < c.open_count)::int, NULL, NULL, NULL
        FROM generate_series(0, 2 * c.open_count - 1) j WHERE j % 2 = 0 OR j / 2 < c.click_count
    UNION ALL SELECT CASE WHEN c.id % 500 < 4 THEN 'unsubscribed' ELSE 'complained' END, c.opened_at + 60000, NULL, 0, NULL, NULL, NULL
        WHERE c.opened_at IS NOT NULL AND c.id % 500 < 5
"""

INTERACTIONS = f"""
INSERT INTO interactions (tenant_id, communication_id, contact_id, campaign_id, message_id, kind, at, link_index, detail, user_agent, ip, bot, code, reason)
SELECT c.tenant_id, c.id, c.contact_id, c.campaign_id, c.message_id, e.kind, e.at, e.link_index, e.detail,
    CASE WHEN e.kind IN ('opened', 'clicked') THEN 'Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0' END,
    CASE WHEN e.kind IN ('opened', 'clicked') THEN '203.0.113.0' END, e.bot, e.code, e.reason
FROM communications c CROSS JOIN LATERAL ({_HAPPENED.replace("%", "%%")}) e WHERE c.id BETWEEN %(begin)s AND %(end)s AND c.tenant_id = %(t)s
"""

# a batch is settled as one, what is sent alone by whichever connection
_SLOT = "(1 + CASE WHEN c.campaign_id IS NULL THEN c.id ELSE c.id / 500 END % 8)::smallint"
_BUCKET = f"c.channel, c.type, COALESCE(c.template_id, 0), COALESCE(c.campaign_id, 0), COALESCE(c.message_id, 0), {_SLOT}"
_COUNTED = {
    "sent": "COUNT(c.sent_at)",
    "delivered": "COUNT(c.delivered_at)",
    "failed": "COUNT(*) FILTER (WHERE c.state IN ('failed', 'suppressed'))",
    "canceled": "COUNT(*) FILTER (WHERE c.state = 'canceled')",
    "opened": "COUNT(c.opened_at)",
    "clicked": "COUNT(c.clicked_at)",
    "opens": "SUM(c.open_count)",
    "clicks": "SUM(c.click_count)",
    "bounced": "COUNT(*) FILTER (WHERE c.state = 'bounced')",
    "complained": "COUNT(c.opened_at) FILTER (WHERE c.id % 500 = 4)",
    "unsubscribed": "COUNT(c.opened_at) FILTER (WHERE c.id % 500 < 4)",
    "human_opened": "COUNT(*) FILTER (WHERE c.human_opens > 0)",
    "human_clicked": "COUNT(*) FILTER (WHERE c.human_clicks > 0)",
    "human_opens": "SUM(c.human_opens)",
    "human_clicks": "SUM(c.human_clicks)",
}
_KEY = "tenant_id, hour, channel, type, template_id, campaign_id, message_id, slot"
_RANGE = "c.tenant_id = %(t)s AND c.id BETWEEN %(begin)s AND %(end)s"


def _hour(instant: str) -> str:
    return f"{instant} - {instant} % 3600000"


COUNTERS = (
    (
        f"INSERT INTO counters ({_KEY}, accepted, {', '.join(_COUNTED)}) SELECT {_KEY}, SUM(accepted), {', '.join(f'SUM({name})' for name in _COUNTED)} FROM ("
        f" SELECT c.tenant_id, {_hour('c.created_at')} AS hour, c.channel, c.type, COALESCE(c.template_id, 0) AS template_id,"
        f" COALESCE(c.campaign_id, 0) AS campaign_id, COALESCE(c.message_id, 0) AS message_id, {_SLOT} AS slot, COUNT(*) AS accepted,"
        f" {', '.join(f'0 AS {name}' for name in _COUNTED)} FROM communications c WHERE RANGE GROUP BY 1, 2, 3, 4, 5, 6, 7, 8"
        f" UNION ALL SELECT c.tenant_id, {_hour('COALESCE(c.sent_at, c.created_at)')}, {_BUCKET}, 0, {', '.join(_COUNTED.values())}"
        f" FROM communications c WHERE RANGE GROUP BY 1, 2, 3, 4, 5, 6, 7, 8) u GROUP BY {_KEY} ORDER BY {_KEY}"
        f" ON CONFLICT ({_KEY}) DO UPDATE SET accepted = counters.accepted + excluded.accepted,"
        f" {', '.join(f'{name} = counters.{name} + excluded.{name}' for name in _COUNTED)}"
    )
    .replace("%", "%%")
    .replace("RANGE", _RANGE)
)

ACTIVITY = (
    (
        "INSERT INTO activity (tenant_id, quarter, channel, campaign_id, message_id, kind, slot, count, human)"
        " SELECT c.tenant_id, e.at - e.at % 900000, c.channel, COALESCE(c.campaign_id, 0), COALESCE(c.message_id, 0), e.kind,"
        f" {_SLOT}, COUNT(*), SUM(1 - e.bot) FROM communications c CROSS JOIN LATERAL ({_HAPPENED}) e WHERE RANGE"
        " GROUP BY 1, 2, 3, 4, 5, 6, 7 ORDER BY 1, 2, 3, 4, 5, 6, 7"
        " ON CONFLICT (tenant_id, quarter, channel, campaign_id, message_id, kind, slot)"
        " DO UPDATE SET count = activity.count + excluded.count, human = activity.human + excluded.human"
    )
    .replace("%", "%%")
    .replace("RANGE", _RANGE)
)

_WORDS = (
    "'dear customer, please find invoice ' || c.id || ' of order ' || seed.draw(c.id, 9, 1000000) || ' attached; it is due in thirty days.'"
)

SETTLE = (
    "INSERT INTO counters (tenant_id, hour, channel, type, template_id, campaign_id, message_id, slot, enrolled, completed)"
    " SELECT tenant_id, enrolled_at - enrolled_at %% 3600000, '', '', 0, campaign_id, 0, 1, COUNT(*), COUNT(completed_at)"
    " FROM enrollments WHERE tenant_id = %(t)s GROUP BY 1, 2, 6",
    "INSERT INTO link_counters (tenant_id, message_id, content_id, link_index, slot, clicks, clicked, human_clicks, human_clicked)"
    " SELECT i.tenant_id, i.message_id, k.content_id, i.link_index, i.communication_id / 500 %% 8, COUNT(*), COUNT(DISTINCT i.communication_id),"
    " SUM(1 - i.bot), COUNT(DISTINCT i.communication_id) FILTER (WHERE i.bot = 0)"
    " FROM interactions i JOIN seed.kinds k ON k.kind = 100 + i.message_id WHERE i.tenant_id = %(t)s AND i.kind = 'clicked' GROUP BY 1, 2, 3, 4, 5",
    "INSERT INTO renderings (tenant_id, communication_id, subject, body)"
    f" SELECT c.tenant_id, c.id, 'your order ' || c.id, {_WORDS} FROM communications c WHERE c.tenant_id = %(t)s AND c.worded = 1",
    "INSERT INTO suppressions (tenant_id, channel, address, reason, communication_id, created_at)"
    " SELECT DISTINCT ON (p.email_key) i.tenant_id, 'email', p.email_key, i.kind, i.communication_id, i.at"
    " FROM interactions i JOIN contacts p ON p.tenant_id = i.tenant_id AND p.id = i.contact_id"
    " WHERE i.tenant_id = %(t)s AND i.kind IN ('bounced', 'complained', 'unsubscribed') ORDER BY p.email_key, i.at",
    *(
        f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), MAX(id)) FROM {table} WHERE tenant_id = %(t)s"
        for table in ("contacts", "enrollments", "communications")
    ),
    "DROP SCHEMA seed CASCADE",
)
"""One after the other, when everything else is there."""
