"""`tidings campaigns`: who did not get a campaign and why, and sending it to them."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated, BinaryIO, cast

import typer

from tidings import ids
from tidings.analytics import missed
from tidings.analytics.missed import REASONS, Asked, Counts, Plan
from tidings.api.native import rest as answers
from tidings.api.wire import House
from tidings.cli import context
from tidings.cli.output import Json, print_json, print_table
from tidings.database import Tx
from tidings.domain import audit, campaigns, enrollments, lists
from tidings.domain.communications.rest import AGAIN, PASSING, Again
from tidings.domain.enrollments import Preview, Rest
from tidings.domain.jobs import Job
from tidings.errors import Invalid, NotFound

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Say who did not get a campaign, and send it to them.")

Owner = Annotated[str, typer.Option("--tenant", metavar="SLUG", help="Whose campaign it is.")]
Named = Annotated[str, typer.Argument(metavar="CAMPAIGN", help="Its id, or its name.")]
Message = Annotated[int | None, typer.Option("--message", metavar="NUMBER", help="Only this message of it.")]
Reasons = Annotated[list[str] | None, typer.Option("--reason", metavar="REASON", help="Only for this reason; repeat for more.")]
List = Annotated[str, typer.Option("--list", metavar="NAME", help="And those of this list who were never enrolled.")]
Everybody = Annotated[bool, typer.Option("--everybody", help="And all contacts who were never enrolled.")]


@app.command("missed")
def missed_(
    campaign: Named,
    tenant: Owner,
    message: Message = None,
    reason: Reasons = None,
    list_name: List = "",
    everybody: Everybody = False,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", dir_okay=False, allow_dash=True, help="Write who it is as CSV; - is standard output.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Count who did not get it, by reason, or write who they are to a file."""

    async def work() -> Counts | None:
        async with context.opened() as house:
            owner = await context.find_tenant(house.db, tenant)
            reasons = frozenset(_known(reason, REASONS) or REASONS)

            def plan(tx: Tx) -> Plan:
                campaign_id, list_id = _campaign(tx, owner.id, campaign), _list(tx, owner.id, list_name)
                asked = Asked(campaign_id=campaign_id, message_id=message, reasons=reasons, list_id=list_id, everybody=everybody)
                given = missed.plan(tx, owner.id, asked)
                if message is not None and given.step(message) is None:
                    raise NotFound("Message not found")
                return given

            given = await house.db.read(plan)
            if output is None:
                return await house.db.read(missed.counts, given)
            await context.enter(house, owner.id, "Who did not get a campaign, as CSV", "read")
            if str(output) == "-":
                await _written(house, given, sys.stdout.buffer)
            else:
                with output.open("wb") as file:
                    await _written(house, given, file)
            return None

    counts = context.run(work())
    if counts is None:
        return
    if as_json:
        print_json({"counts": counts.by_reason, "total": sum(counts.by_reason.values()), "complete": counts.complete})
    else:
        least = "" if counts.complete else "at least "
        print_table(("reason", "contacts"), [(name, f"{least}{count:,}") for name, count in counts.by_reason.items()])


@app.command("send-to-rest")
def send_to_rest(
    campaign: Named,
    tenant: Owner,
    message: Message = None,
    reason: Annotated[
        list[str] | None,
        typer.Option(
            "--reason", metavar="REASON", help=f"Who missed it for this reason; repeat for more. Unless given: {', '.join(PASSING)}."
        ),
    ] = None,
    list_name: List = "",
    everybody: Everybody = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be done.")] = False,
    as_json: Json = False,
) -> None:
    """Send it once more to those for whom a second try makes sense; a worker does it."""

    async def work() -> Job | Preview:
        async with context.opened() as house:
            owner = await context.find_tenant(house.db, tenant)
            reasons = cast(tuple[Again, ...], _known(reason, AGAIN) or PASSING)

            def asked(tx: Tx) -> Rest:
                return Rest(
                    campaign_id=_campaign(tx, owner.id, campaign),
                    reasons=reasons,
                    message_id=message,
                    list_id=_list(tx, owner.id, list_name),
                    everybody=everybody,
                    asked_at=house.clock(),
                    author="tidings campaigns",
                )

            if dry_run:
                return await house.db.read(lambda tx: enrollments.preview_rest(tx, owner.id, asked(tx)))

            def unit(tx: Tx) -> Job:
                wanted = asked(tx)
                about = context.entry(house, owner.id, "Send a campaign to the rest", subject="campaign", subject_id=wanted.campaign_id)
                audit.enter(tx, about)
                return enrollments.begin_rest(tx, owner.id, wanted, now=house.clock())

            return await house.db.write(unit)

    done = context.run(work())
    if isinstance(done, Job):
        name = ids.spell("job", done.id)
        print_json({"job": name}) if as_json else print(f"Accepted as {name}; a worker sends it.")
    elif as_json:
        print_json(done)
    else:
        rows = [("send again", why, count) for why, count in done.again.items()] + [
            ("leave", why, count) for why, count in done.left.items()
        ]
        least = "" if done.complete else "at least "
        print_table(
            ("", "reason", "contacts"), [(what, why, f"{least}{count:,}") for what, why, count in [*rows, ("enroll", "", done.enroll)]]
        )


async def _written(house: House, given: Plan, file: BinaryIO) -> None:
    async for chunk in answers.lines(house, given):
        await asyncio.to_thread(file.write, chunk)
    await asyncio.to_thread(file.flush)


def _known(given: list[str] | None, words: tuple[str, ...]) -> tuple[str, ...]:
    wrong = sorted(set(given or ()) - set(words))
    if wrong:
        raise Invalid(f"{wrong[0]!r} is no reason; there are {', '.join(words)}.")
    return tuple(dict.fromkeys(given or ()))


def _campaign(tx: Tx, tenant_id: int, text: str) -> int:
    """The campaign of this id or name. Raises NotFound, Invalid when several have the name."""
    spelled = ids.parse("campaign", text)
    if spelled is not None:
        return campaigns.get(tx, tenant_id, spelled).id
    found = campaigns.page(tx, tenant_id, name=text, limit=2)
    if found.total > 1:
        raise Invalid(f"There are {found.total} campaigns named {text!r}; give its id.")
    if not found.rows:
        raise NotFound(f"There is no campaign {text!r}.")
    return found.rows[0].id


def _list(tx: Tx, tenant_id: int, name: str) -> int | None:
    if not name:
        return None
    found = lists.find_by_name(tx, tenant_id, name)
    if found is None:
        raise NotFound(f"There is no list {name!r}.")
    return found.id
