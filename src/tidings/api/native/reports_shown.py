"""Reports as they go out: as records, as lines of a CSV, as pictures. The figures themselves come from `analytics.reports`."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final

import msgspec

from tidings import ids
from tidings.analytics import charts
from tidings.analytics.charts import Bar, Group, Line
from tidings.analytics.reports import calendar, funnel
from tidings.analytics.reports.calendar import Interval, Range, Slice
from tidings.analytics.reports.compare import Compared
from tidings.analytics.reports.domains import Domain
from tidings.analytics.reports.funnel import RATIOS, Campaign, Rate
from tidings.analytics.reports.groups import EVER, Template, Type
from tidings.analytics.reports.links import Clicks, Link, Links
from tidings.analytics.reports.series import Moment
from tidings.api.native.reports_records import (
    CampaignName,
    CampaignReport,
    ComparedAnswer,
    CompareReport,
    DifferenceAnswer,
    DomainFigures,
    DomainsReport,
    Figures,
    Happened,
    LinkAnswer,
    LinkReport,
    MessageAnswer,
    MessageLinks,
    Others,
    Outcome,
    PlaceAnswer,
    RateAnswer,
    Row,
    SeriesReport,
    TemplateFigures,
    TemplatesReport,
    TypeFigures,
    TypesReport,
)
from tidings.api.wire import instant, instant_or_none
from tidings.domain.counters import Counts

_COUNTED: Final = tuple(name for name in Outcome.__struct_fields__ if name != "rates")
OUTCOME: Final = (*_COUNTED, *(f"{name}_rate" for name in RATIOS))
"""The columns of `Outcome` in a CSV."""
FIGURES: Final = ("accepted", "waiting", *OUTCOME)
"""The columns of `Figures`."""


def outcome(counts: Counts) -> Outcome:
    """What became of communications, as it goes out."""
    return Outcome(**_counted(counts), rates=_rates(counts))


def figures(counts: Counts) -> Figures:
    """The same with what was made and what waits."""
    return Figures(**_counted(counts), rates=_rates(counts), accepted=counts.accepted, waiting=funnel.waiting(counts))


def _counted(counts: Counts) -> dict[str, int]:
    return {name: getattr(counts, name) for name in _COUNTED}


def _rates(counts: Counts) -> dict[str, RateAnswer]:
    return {name: _rate(rate) for name, rate in funnel.rates(counts).items()}


def _rate(rate: Rate) -> RateAnswer:
    return RateAnswer(rate.rate, rate.part, rate.whole, rate.of)


def outcome_cells(counts: Counts) -> list[object]:
    """The values of OUTCOME."""
    return [*_counted(counts).values(), *(rate.rate for rate in funnel.rates(counts).values())]


def figure_cells(counts: Counts) -> list[object]:
    """The values of FIGURES."""
    return [counts.accepted, funnel.waiting(counts), *outcome_cells(counts)]


def named(report: Campaign) -> CampaignName:
    """Which campaign it is."""
    return CampaignName(ids.spell("campaign", report.id), report.name, report.state)


def campaign(report: Campaign) -> CampaignReport:
    """The report as a record."""
    return CampaignReport(
        campaign=named(report),
        enrolled=report.totals.enrolled,
        completed=report.totals.completed,
        first_sent_at=instant_or_none(report.first_sent_at),
        last_sent_at=instant_or_none(report.last_sent_at),
        totals=figures(report.totals),
        messages=[
            MessageAnswer(step.id, step.position, step.name, step.subject, step.channel, step.deleted, figures(step.counts))
            for step in report.steps
        ],
    )


CAMPAIGN_COLUMNS: Final = ("message_id", "position", "name", "subject", "channel", "deleted", "enrolled", "completed", *FIGURES)


def campaign_rows(report: Campaign) -> Iterator[list[object]]:
    """A line for each message, the last one for the whole campaign: it has no message, and alone tells of enrollments."""
    for step in report.steps:
        yield [step.id, step.position, step.name, step.subject, step.channel, step.deleted, None, None, *figure_cells(step.counts)]
    totals = report.totals
    yield [None, None, report.name, None, None, None, totals.enrolled, totals.completed, *figure_cells(totals)]


# the same thing has the same colour in every picture
_COLORS: Final = {
    "enrolled": 6,
    "sent": 0,
    "delivered": 1,
    "human_opened": 2,
    "human_opens": 2,
    "human_clicked": 3,
    "human_clicks": 3,
    "replied": 4,
    "bounced": 5,
    "failed": 6,
    "unsubscribed": 7,
}
_BARS: Final = ("sent", "delivered", "human_opened", "human_clicked", "replied", "bounced", "unsubscribed")
_MOST_DRAWN = 20
"""Messages in one picture."""


def campaign_chart(report: Campaign) -> str:
    """The funnel as bars: the whole, then message by message."""
    channels = {step.channel for step in report.steps}
    enrolled = Bar("enrolled", report.totals.enrolled, _COLORS["enrolled"])
    groups = [Group("Whole campaign", [enrolled, *_bars(report.totals, channels)])]
    for step in report.steps[:_MOST_DRAWN]:
        title = step.name or step.subject or f"Message {step.id}"
        groups.append(Group(f"{title} (deleted)" if step.deleted else f"{step.position}. {title}", _bars(step.counts, {step.channel})))
    left = len(report.steps) - _MOST_DRAWN
    more = f", and {left} more messages that are not drawn" if left > 0 else ""
    return charts.bars(report.name, f"What became of its messages; opened and clicked by people alone{more}", groups)


def _bars(counts: Counts, channels: Collection[str]) -> list[Bar]:
    # zeros say something only where there might be more: text messages are not opened, and plain SMTP tells of no delivery
    always = {"sent", "human_opened", "human_clicked"} if "email" in channels else {"sent", "delivered"}
    return [
        Bar(
            name.removeprefix("human_"),
            value,
            _COLORS[name],
            f"{value / counts.sent:.1%} of sent" if name != "sent" and counts.sent else "",
        )
        for name in _BARS
        if (value := getattr(counts, name)) or name in always
    ]


def links(campaign_id: int, report: Links) -> LinkReport:
    """The table as a record."""
    messages = [MessageLinks(message, [_link(link) for link in found]) for message, found in report.by_message.items()]
    return LinkReport(ids.spell("campaign", campaign_id), [_link(link) for link in report.whole], messages)


def _link(link: Link) -> LinkAnswer:
    places = [PlaceAnswer(place.message_id, place.version + 1, place.index + 1, **_clicks(place.counts)) for place in link.places]
    return LinkAnswer(url=link.url, places=places, **_clicks(link.counts))


def _clicks(counts: Clicks) -> dict[str, int]:
    return msgspec.structs.asdict(counts)


LINK_COLUMNS: Final = ("message_id", "url", "places", *Clicks.__struct_fields__)


def link_rows(report: Links) -> Iterator[list[object]]:
    """A line for each link of each message, then for each of the whole campaign, which has no message."""
    for message, found in (*report.by_message.items(), (None, report.whole)):
        for link in found:
            yield [message, link.url, len(link.places), *msgspec.structs.astuple(link.counts)]


_HAPPENED: Final = Happened.__struct_fields__
SERIES_COLUMNS: Final = ("date", "start", "end", *_HAPPENED)


def series(rows: Sequence[tuple[Slice, Moment]], total: Moment, interval: Interval, zone: str) -> SeriesReport:
    """The series as a record."""
    shown = [Row(**_moment(moment), date=date, start=start, end=end) for (date, start, end), moment in _spelled(rows, interval)]
    return SeriesReport(
        interval=interval,
        time_zone=zone,
        since=shown[0].start if shown else "",
        until=shown[-1].end if shown else "",
        totals=Happened(**_moment(total)),
        rows=shown,
    )


def _moment(moment: Moment) -> dict[str, int]:
    return {name: getattr(moment, name) for name in _HAPPENED}


def _spelled(rows: Sequence[tuple[Slice, Moment]], interval: Interval) -> Iterator[tuple[tuple[str, str, str], Moment]]:
    """(date, start, end) of each."""
    for row, moment in rows:
        start, end = calendar.spelled(row.since, row.offset), calendar.spelled(row.until, row.offset_until)
        yield (calendar.day_of(row.number) if interval == "day" else start[:10], start, end), moment


def series_rows(rows: Sequence[tuple[Slice, Moment]], interval: Interval) -> Iterator[list[object]]:
    """A line for each interval."""
    for when, moment in _spelled(rows, interval):
        yield [*when, *_moment(moment).values()]


_LINES: Final = ("sent", "delivered", "human_opens", "human_clicks", "replied", "bounced", "failed", "unsubscribed")


def series_chart(rows: Sequence[tuple[Slice, Moment]], total: Moment, interval: Interval, zone: str) -> str:
    """The series as lines, of what happened at all."""
    kinds = [name for name in _LINES if getattr(total, name) or name == "sent"]
    drawn = [Line(name.removeprefix("human_"), [getattr(moment, name) for _, moment in rows], _COLORS[name]) for name in kinds]
    spelled = [when for when, _ in _spelled(rows, interval)]
    labels = [date if interval == "day" else start[5:16].replace("T", " ") for date, start, _ in spelled]
    span = f"{labels[0]} to {labels[-1]}" if interval == "day" else f"{spelled[0][1][:16]} to {spelled[-1][2][:16]}".replace("T", " ")
    return charts.lines("What happened", f"By {interval}, {span} ({zone}); opens and clicks of people alone", labels, drawn)


def bounds(within: Range) -> dict[str, str | None]:
    """`since` and `until` of a range in whole hours, None where it has no end."""
    since = None if within.since <= EVER.since else instant(within.since)
    return {"since": since, "until": None if within.until >= EVER.until else instant(within.until)}


def templates(found: Sequence[Template], within: Range) -> TemplatesReport:
    """By template, as a record."""
    shown = [TemplateFigures(ids.spell("template", each.id) if each.id else None, each.name, outcome(each.counts)) for each in found]
    return TemplatesReport(**bounds(within), templates=shown)


TEMPLATE_COLUMNS: Final = ("template_id", "name", *OUTCOME)


def template_rows(found: Sequence[Template]) -> Iterator[list[object]]:
    """A line for each template."""
    for each in found:
        yield [ids.spell("template", each.id) if each.id else None, each.name, *outcome_cells(each.counts)]


def types(found: Sequence[Type], within: Range) -> TypesReport:
    """By type, as a record."""
    return TypesReport(**bounds(within), types=[TypeFigures(each.type, each.channel, outcome(each.counts)) for each in found])


TYPE_COLUMNS: Final = ("type", "channel", *OUTCOME)


def type_rows(found: Sequence[Type]) -> Iterator[list[object]]:
    """A line for each type."""
    for each in found:
        yield [each.type, each.channel, *outcome_cells(each.counts)]


def domains(found: Sequence[Domain], within: Range) -> DomainsReport:
    """By domain, as a record."""
    shown: list[DomainFigures] = []
    others: Others | None = None
    for each in found:
        counted: dict[str, Any] = msgspec.structs.asdict(each)
        if each.domain:
            del counted["domains"]
            shown.append(DomainFigures(**counted))
        else:
            del counted["domain"]
            others = Others(**counted)
    return DomainsReport(**bounds(within), domains=shown, others=others)


DOMAIN_COLUMNS: Final = Domain.__struct_fields__


def domain_rows(found: Sequence[Domain]) -> Iterator[list[object]]:
    """A line for each domain; the last one, for all others together, has no name."""
    for each in found:
        yield list(msgspec.structs.astuple(each))


def compared(found: Sequence[Compared]) -> CompareReport:
    """The comparison as a record."""
    return CompareReport(
        [
            ComparedAnswer(
                campaign=named(each.campaign),
                enrolled=each.campaign.totals.enrolled,
                completed=each.campaign.totals.completed,
                totals=figures(each.campaign.totals),
                differences={
                    name: DifferenceAnswer(one.difference, one.p_value, one.more_than_chance) for name, one in each.differences.items()
                },
            )
            for each in found
        ]
    )


COMPARE_COLUMNS: Final = (
    "campaign_id",
    "name",
    "state",
    "enrolled",
    "completed",
    *FIGURES,
    *(f"{name}_{what}" for name in RATIOS for what in ("difference", "p_value", "more_than_chance")),
)


def compare_rows(found: Sequence[Compared]) -> Iterator[list[object]]:
    """A line for each campaign."""
    for each in found:
        name, totals = named(each.campaign), each.campaign.totals
        differing: list[object] = []
        for ratio in RATIOS:
            one = each.differences.get(ratio)
            differing += [None, None, None] if one is None else [one.difference, one.p_value, one.more_than_chance]
        yield [name.id, name.name, name.state, totals.enrolled, totals.completed, *figure_cells(totals), *differing]
