"""Reports over HTTP: campaigns and their links, what happened when, by domain, template and type, and campaigns side by side."""

from tidings.analytics.reports import calendar, compare, domains, funnel, groups, links, series
from tidings.analytics.reports.groups import Asked
from tidings.api.native import reports_asked as asked
from tidings.api.native import reports_records as records
from tidings.api.native import reports_shown as shown
from tidings.api.wire import JSON, Call, Parameter, Reply, Route

DEFAULT_DOMAINS = 100
_VARY = {"vary": "Accept"}


async def campaign(call: Call) -> Reply:
    """What became of a campaign, message by message."""
    form = asked.form_of(call, "json", "csv", "svg")
    report = await call.db.read(funnel.campaign, call.tenant_id, _campaign_id(call))
    if form == "csv":
        return asked.csv("campaign", shown.CAMPAIGN_COLUMNS, shown.campaign_rows(report))
    if form == "svg":
        return asked.svg(shown.campaign_chart(report))
    return Reply(200, shown.campaign(report), _VARY)


async def campaign_links(call: Call) -> Reply:
    """Which links were followed."""
    form = asked.form_of(call, "json", "csv")
    campaign_id = _campaign_id(call)
    report = await call.db.read(links.links, call.tenant_id, campaign_id)
    if form == "csv":
        return asked.csv("links", shown.LINK_COLUMNS, shown.link_rows(report))
    return Reply(200, shown.links(campaign_id, report), _VARY)


async def over_time(call: Call) -> Reply:
    """What happened in every hour or day of a range."""
    form, interval = asked.form_of(call, "json", "csv", "svg"), asked.interval_of(call)
    zone = calendar.zone_of(call.query("time_zone"))
    within = asked.usual_range(call.query("since"), call.query("until"), zone.key, interval, call.now)
    campaign_id, message_id = asked.campaign_named(call.query("campaign")), asked.message_named(call.query("message"))
    which = series.Asked(campaign_id=campaign_id, message_id=message_id, channel=_channel(call))
    rows, total = await call.db.read(series.series, call.tenant_id, which, within=within, zone=zone, interval=interval)
    if form == "csv":
        return asked.csv("series", shown.SERIES_COLUMNS, shown.series_rows(rows, interval))
    if form == "svg":
        return asked.svg(shown.series_chart(rows, total, interval, zone.key))
    return Reply(200, shown.series(rows, total, interval, zone.key), _VARY)


async def by_template(call: Call) -> Reply:
    """By template."""
    form, which = asked.form_of(call, "json", "csv"), _which(call)
    found = await call.db.read(groups.by_template, call.tenant_id, which)
    if form == "csv":
        return asked.csv("templates", shown.TEMPLATE_COLUMNS, shown.template_rows(found))
    return Reply(200, shown.templates(found, which.within), _VARY)


async def by_type(call: Call) -> Reply:
    """By type and channel."""
    form, which = asked.form_of(call, "json", "csv"), _which(call)
    found = await call.db.read(groups.by_type, call.tenant_id, which)
    if form == "csv":
        return asked.csv("types", shown.TYPE_COLUMNS, shown.type_rows(found))
    return Reply(200, shown.types(found, which.within), _VARY)


async def by_domain(call: Call) -> Reply:
    """By domain; a CSV has all there are."""
    form, which = asked.form_of(call, "json", "csv"), _which(call)
    limit = domains.MOST_DOMAINS if form == "csv" else _limit(call)
    found = await call.db.read(domains.by_domain, call.tenant_id, which, limit=limit)
    if form == "csv":
        return asked.csv("domains", shown.DOMAIN_COLUMNS, shown.domain_rows(found))
    return Reply(200, shown.domains(found, which.within), _VARY)


async def side_by_side(call: Call) -> Reply:
    """Campaigns compared with the first of them."""
    form = asked.form_of(call, "json", "csv")
    named = asked.compared(call.query("campaigns") or "", compare.FEWEST, compare.MOST)
    found = await call.db.read(compare.compare, call.tenant_id, named)
    if form == "csv":
        return asked.csv("compare", shown.COMPARE_COLUMNS, shown.compare_rows(found))
    return Reply(200, shown.compared(found), _VARY)


def _campaign_id(call: Call) -> int:
    found = asked.campaign_named(call.path["id"])
    assert found is not None
    return found


def _which(call: Call) -> Asked:
    within = asked.range_of(call.query("since"), call.query("until"), call.query("time_zone"))
    return Asked(within=within, campaign_id=asked.campaign_named(call.query("campaign")))


def _channel(call: Call) -> str | None:
    channel = call.query("channel")
    if channel not in (None, "email", "sms"):
        raise calendar.wrong("channel", "must be email or sms")
    return channel


def _limit(call: Call) -> int:
    text = (call.query("limit") or str(DEFAULT_DOMAINS)).strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= 1000):
        raise calendar.wrong("limit", "must be 1 to 1000")
    return int(text)


_PATH = "/api/v1/reports"
_TABLE = (*JSON, "text/csv")
_PICTURE = (*_TABLE, "image/svg+xml")
_RANGE = (asked.SINCE, asked.UNTIL, asked.TIME_ZONE, asked.CAMPAIGN, asked.formats("json", "csv"))
_SERIES = (
    Parameter("interval", words=("hour", "day"), default="day"),
    asked.SINCE,
    asked.UNTIL,
    asked.TIME_ZONE,
    asked.CAMPAIGN,
    Parameter("message", "integer", "of this message of a campaign alone", least=1),
    Parameter("channel", words=("email", "sms")),
    asked.formats("json", "csv", "svg"),
)
_CAMPAIGNS = Parameter("campaigns", summary="two to ten ids with commas between them", required=True)
_LIMIT = Parameter("limit", "integer", "domains that are told apart", default=DEFAULT_DOMAINS, least=1, most=1000)
_SCOPE = "reports:read"

ROUTES: list[Route] = [
    Route(
        "GET",
        f"{_PATH}/campaigns/{{id}}",
        campaign,
        _SCOPE,
        "What became of a campaign",
        gives=records.CampaignReport,
        query=(asked.formats("json", "csv", "svg"),),
        media=_PICTURE,
        refuses=(400,),
    ),
    Route(
        "GET",
        f"{_PATH}/campaigns/{{id}}/links",
        campaign_links,
        _SCOPE,
        "Which of its links were followed",
        gives=records.LinkReport,
        query=(asked.formats("json", "csv"),),
        media=_TABLE,
        refuses=(400,),
    ),
    Route(
        "GET",
        f"{_PATH}/series",
        over_time,
        _SCOPE,
        "What happened, by hour or day",
        gives=records.SeriesReport,
        query=_SERIES,
        media=_PICTURE,
        refuses=(400, 404),
    ),
    Route(
        "GET",
        f"{_PATH}/templates",
        by_template,
        _SCOPE,
        "By template",
        None,
        records.TemplatesReport,
        query=_RANGE,
        media=_TABLE,
        refuses=(400, 404),
    ),
    Route("GET", f"{_PATH}/types", by_type, _SCOPE, "By type", None, records.TypesReport, query=_RANGE, media=_TABLE, refuses=(400, 404)),
    Route(
        "GET",
        f"{_PATH}/domains",
        by_domain,
        _SCOPE,
        "By domain of the recipients",
        gives=records.DomainsReport,
        query=(*_RANGE, _LIMIT),
        media=_TABLE,
        refuses=(400, 404),
    ),
    Route(
        "GET",
        f"{_PATH}/compare",
        side_by_side,
        _SCOPE,
        "Campaigns side by side",
        gives=records.CompareReport,
        query=(_CAMPAIGNS, asked.formats("json", "csv")),
        media=_TABLE,
        refuses=(400, 404),
    ),
]
