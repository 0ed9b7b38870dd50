"""`tidings reports`: what became of campaigns, and what happened when, as tables on the terminal, JSON or CSV."""

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from tidings import ids
from tidings.analytics.reports import calendar, funnel
from tidings.analytics.reports import compare as comparing
from tidings.analytics.reports import series as happening
from tidings.analytics.reports.compare import Compared
from tidings.analytics.reports.funnel import Campaign
from tidings.api.native import reports_asked as asked
from tidings.api.native import reports_shown as shown
from tidings.api.native.reports_records import Happened
from tidings.cli import context
from tidings.cli.output import Json, print_json, print_table
from tidings.database import Tx
from tidings.domain.counters import Counts
from tidings.errors import Invalid, NotFound
from tidings.message import sheet

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Show what became of campaigns, and what happened when.")

Owner = Annotated[str, typer.Option("--tenant", metavar="SLUG", help="Whose report it is.")]
Csv = Annotated[bool, typer.Option("--csv", help="Print CSV, for a spreadsheet.")]
Which = Annotated[str, typer.Argument(metavar="CAMPAIGN", help="Its id, or its name.")]
Several = Annotated[list[str], typer.Argument(metavar="CAMPAIGN", help="Ids or names; the first is what the others are compared with.")]
Picture = Annotated[Path | None, typer.Option("--svg", metavar="FILE", dir_okay=False, help="Draw it into this file, too.")]
Zone = Annotated[str | None, typer.Option("--time-zone", metavar="NAME", help="Such as Europe/Zurich; UTC unless given.")]
Since = Annotated[str | None, typer.Option(metavar="WHEN", help="A date in the time zone, or an instant.")]
Until = Annotated[str | None, typer.Option(metavar="WHEN", help="A date, which is included, or an instant, which is not.")]
Step = Annotated[str, typer.Option("--interval", metavar="hour|day", help="What a line is for.")]
One = Annotated[str | None, typer.Option("--campaign", metavar="CAMPAIGN", help="Of this campaign alone.")]


@app.command("campaign")
def campaign(name: Which, tenant: Owner, as_json: Json = False, as_csv: Csv = False, svg: Picture = None) -> None:
    """Show what became of a campaign, message by message."""

    async def work() -> Campaign:
        async with context.opened() as house:
            owner = await context.find_tenant(house.db, tenant)
            campaign_id = await house.db.read(campaign_called, owner.id, name)
            return await house.db.read(funnel.campaign, owner.id, campaign_id)

    report = context.run(work())
    if svg is not None:
        svg.write_text(shown.campaign_chart(report), encoding="utf-8")
    if as_json:
        print_json(shown.campaign(report))
    elif as_csv:
        print_csv(shown.CAMPAIGN_COLUMNS, shown.campaign_rows(report))
    else:
        print(f"{report.name} ({report.state}): {report.totals.enrolled:,} enrolled, {report.totals.completed:,} through")
        rows = [
            _line(f"{step.position}. {step.name or step.subject}{' (deleted)' if step.deleted else ''}", step.counts)
            for step in report.steps
        ]
        print_table(("message", *_HEADINGS.values()), [*rows, _line("all", report.totals)])


@app.command("series")
def series(
    tenant: Owner,
    since: Since = None,
    until: Until = None,
    interval: Step = "day",
    time_zone: Zone = None,
    campaign: One = None,
    as_json: Json = False,
    as_csv: Csv = False,
    svg: Picture = None,
) -> None:
    """Show what happened in each hour or day: a month of days, or two days of hours, unless said otherwise."""
    if interval not in calendar.LENGTHS:
        raise Invalid(f"--interval is hour or day, not {interval!r}.")
    zone = calendar.zone_of(time_zone)

    async def work() -> Any:
        async with context.opened() as house:
            owner = await context.find_tenant(house.db, tenant)
            within = asked.usual_range(since, until, zone.key, interval, house.clock())
            campaign_id = await house.db.read(campaign_called, owner.id, campaign) if campaign is not None else None
            which = happening.Asked(campaign_id=campaign_id)
            return await house.db.read(happening.series, owner.id, which, within=within, zone=zone, interval=interval)

    rows, total = context.run(work())
    if svg is not None:
        svg.write_text(shown.series_chart(rows, total, interval, zone.key), encoding="utf-8")
    if as_json:
        print_json(shown.series(rows, total, interval, zone.key))
    elif as_csv:
        print_csv(shown.SERIES_COLUMNS, shown.series_rows(rows, interval))
    else:
        report = shown.series(rows, total, interval, zone.key)
        lines = [[row.date if interval == "day" else row.start, *_numbers(row)] for row in report.rows]
        print_table((f"{interval} ({zone.key})", *_SHOWN.values()), [*lines, ["all", *_numbers(report.totals)]])


@app.command("compare")
def compare(campaigns: Several, tenant: Owner, as_json: Json = False, as_csv: Csv = False) -> None:
    """Show campaigns side by side: how their rates differ from the first one's, and whether that is more than chance (marked *)."""
    if not comparing.FEWEST <= len(set(campaigns)) <= comparing.MOST:
        raise Invalid(f"A comparison takes {comparing.FEWEST} to {comparing.MOST} campaigns.")

    async def work() -> list[Compared]:
        async with context.opened() as house:
            owner = await context.find_tenant(house.db, tenant)
            chosen = [await house.db.read(campaign_called, owner.id, name) for name in campaigns]
            return await house.db.read(comparing.compare, owner.id, chosen)

    found = context.run(work())
    if as_json:
        print_json(shown.compared(found))
    elif as_csv:
        print_csv(shown.COMPARE_COLUMNS, shown.compare_rows(found))
    else:
        print_table(("", *(each.campaign.name for each in found)), _compared(found))


def campaign_called(tx: Tx, tenant_id: int, name: str) -> int:
    """The campaign of this id, or the only one of this name. Raises NotFound, and Invalid where several have the name."""
    known = ids.parse("campaign", name)
    if known is not None:
        return known
    rows: list[tuple[int]] = tx.rows(
        "SELECT id FROM campaigns WHERE tenant_id = :tenant_id AND name = :name ORDER BY id LIMIT 2", tenant_id=tenant_id, name=name
    )
    if not rows:
        raise NotFound(f"There is no campaign {name!r}.")
    if len(rows) > 1:
        raise Invalid(f"Several campaigns are named {name!r}; give the id of one.")
    return rows[0][0]


def print_csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """The same lines as the API's, on standard output, as bytes: a console's own line ends would make two of each."""
    sys.stdout.flush()
    sys.stdout.buffer.write(sheet.line(columns).encode())
    for row in rows:
        sys.stdout.buffer.write(sheet.line([asked.cell(value) for value in row]).encode())


# figure → heading: short ones, for a terminal of 80 columns
_COMMON = {
    "replied": "replied",
    "bounced": "bounced",
    "complained": "spam",
    "unsubscribed": "left",
    "failed": "failed",
    "canceled": "canceled",
}
_HEADINGS = {"sent": "sent", "delivered": "arrived", "opened": "opened", "clicked": "clicked", **_COMMON, "waiting": "waiting"}
_SHOWN = {"sent": "sent", "delivered": "arrived", "human_opens": "opens", "human_clicks": "clicks", **_COMMON}


def _line(name: str, counts: Counts) -> list[str]:
    figures = shown.figures(counts)
    cells = [name]
    for heading in _HEADINGS:
        # of opens and clicks those of people, as the share says
        counted = f"human_{heading}" if heading in {"opened", "clicked"} else heading
        rate = figures.rates.get(counted)
        share = "" if rate is None or rate.rate is None else f" ({rate.rate:.1%})"
        cells.append(f"{getattr(figures, counted):,}{share}")
    return cells


def _numbers(record: Happened) -> list[str]:
    return [f"{getattr(record, name):,}" for name in _SHOWN]


def _compared(found: list[Compared]) -> list[list[str]]:
    counted: list[tuple[str, Callable[[Counts], int]]] = [
        ("enrolled", lambda counts: counts.enrolled),
        ("sent", lambda counts: counts.sent),
    ]
    rows = [[name, *(f"{count(each.campaign.totals):,}" for each in found)] for name, count in counted]
    for name in funnel.RATIOS:
        cells: list[str] = []
        for each in found:
            rate, differing = each.rates[name].rate, each.differences.get(name)
            text = "" if rate is None else f"{rate:.1%}"
            if differing is not None and differing.difference is not None:
                text += f" ({differing.difference * 100:+.1f}{'*' if differing.more_than_chance else ''})"
            cells.append(text)
        rows.append([name.replace("_", " "), *cells])
    return rows
