"""`tidings send`: one message from the shell, accepted exactly as the API would, and sent by whatever server is at work."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from tidings import clock
from tidings.api.wire import House
from tidings.cli import context
from tidings.cli.output import Json, print_json
from tidings.cli.serve import is_served
from tidings.database import Tx
from tidings.domain import audit, communications
from tidings.domain.communications import Communication, Draft
from tidings.errors import Invalid, Unavailable
from tidings.message import address, phone
from tidings.message.outgoing import Address
from tidings.rendering import template

app = typer.Typer(add_completion=False)

TYPE = "MESSAGE"
LONGEST_WAIT = 120.0
GLANCE = 0.2
"""Seconds between two looks at a record that is waited for."""
FINAL = {"sent", "delivered", "failed", "bounced", "suppressed", "canceled"}
BAD = {"failed", "bounced", "suppressed", "canceled"}


@app.command("send")
def send(
    tenant: Annotated[str, typer.Option(metavar="SLUG", help="Who sends.")],
    to: Annotated[list[str], typer.Option(help="An address, or with --sms a phone number; repeat for more.")],
    subject: Annotated[str, typer.Option(help="The mail's subject.")] = "",
    body: Annotated[str | None, typer.Option(help="The text; standard input unless given.")] = None,
    html_file: Annotated[Path | None, typer.Option(help="A file with the mail as HTML; - is standard input.")] = None,
    sms: Annotated[bool, typer.Option("--sms", help="A text message instead of mail.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is sent or has failed; ends with 1 when it has.")] = False,
    as_json: Json = False,
) -> None:
    """Send one message. Placeholders such as {{ first_name }} are filled in."""
    if sms and (html_file or subject):
        raise typer.BadParameter("a text message has neither subject nor HTML")
    if body is not None and html_file is not None:
        raise typer.BadParameter("give --body or --html-file, not both")
    if not sms and not subject:
        raise typer.BadParameter("a mail needs a subject", param_hint="--subject")
    text = body if body is not None else _read(html_file)
    if not text.strip():
        raise Invalid("The message is empty: give --body, --html-file, or write it to standard input.")

    settings = context.load()

    async def work() -> list[Communication]:
        async with context.opened(settings) as house:
            owner = await context.find_tenant(house.db, tenant)
            drafts = _sms(owner.id, to, text) if sms else [_mail(owner.id, to, subject, text, "html" if html_file else "text")]
            now = house.clock()

            def unit(tx: Tx) -> list[Communication]:
                made = _accept(tx, drafts, now=now)
                audit.enter(tx, context.entry(house, owner.id, "Send a message", subject="communication", subject_id=made[0].id))
                return made

            made = await house.db.write(unit)
            return await _settled(house, made) if wait else made

    done = context.run(work())
    if as_json:
        print_json([_shown(communication) for communication in done])
    else:
        print("\n".join(_told(communication) for communication in done))
        if settings.embedded and not wait and not is_served(settings):
            print("No server is at work here: it goes out once `tidings serve` runs.")
    if any(communication.state in BAD for communication in done):
        raise typer.Exit(1)


def _read(html_file: Path | None) -> str:
    if html_file is None or str(html_file) == "-":
        return sys.stdin.read()
    return html_file.read_text(encoding="utf-8")


def _mail(tenant_id: int, to: list[str], subject: str, body: str, form: str) -> Draft:
    content = template.prepare(tenant_id=tenant_id, channel="email", format=form, subject=subject, body=body)
    addresses: tuple[Address, ...] = tuple(address.parse(text, "to") for text in to)
    return Draft(
        tenant_id=tenant_id,
        channel="email",
        content=content,
        content_hash=template.content_hash(content),
        type=TYPE,
        to=addresses,
        created_by="command line",
    )


def _sms(tenant_id: int, to: list[str], text: str) -> list[Draft]:
    """One for each number: a text message has one recipient."""
    content = template.prepare(tenant_id=tenant_id, channel="sms", format="text", subject="", body=text.strip())
    digest = template.content_hash(content)
    numbers = [phone.normalise(number, field="to") for number in to]
    return [
        Draft(tenant_id=tenant_id, channel="sms", content=content, content_hash=digest, type=TYPE, phone=number, created_by="command line")
        for number in numbers
    ]


def _accept(tx: Tx, drafts: list[Draft], *, now: int) -> list[Communication]:
    """All of them or none."""
    return [communications.accept(tx, draft, now=now) for draft in drafts]


async def _settled(house: House, made: list[Communication]) -> list[Communication]:
    """The same once all are final. Raises Unavailable when that takes too long; they stay accepted."""
    deadline = house.clock() + int(LONGEST_WAIT * clock.SECOND)
    while any(communication.state not in FINAL for communication in made):
        if house.clock() > deadline:
            raise Unavailable(
                f"Not sent after {LONGEST_WAIT:.0f} s, but accepted and kept: is a server at work? `tidings doctor` may know more."
            )
        await asyncio.sleep(GLANCE)
        made = [await house.db.read(communications.get, old.tenant_id, old.id) or old for old in made]
    return made


def _told(communication: Communication) -> str:
    reason = f": {communication.error}" if communication.error else ""
    return f"{communication.id} to {communication.address} is {communication.state}{reason}"


def _shown(communication: Communication) -> dict[str, object]:
    return {
        "id": communication.id,
        "channel": communication.channel,
        "to": communication.address,
        "state": communication.state,
        "error": communication.error,
        "sent_at": communication.sent_at,
    }
