"""`tidings tenants`: make, change and list the owners of rows."""

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer
from msgspec import UNSET, UnsetType

from tidings.cli import context
from tidings.cli.output import Json, print_json, print_table
from tidings.database import Tx
from tidings.domain import audit, communications, tenants
from tidings.domain.tenants import Kept, Tenant
from tidings.errors import Invalid
from tidings.message import keywords

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Make, change and list tenants.")


@app.command("create")
def create(
    slug: Annotated[str, typer.Argument(help="Its name on the command line: lower-case letters, digits and hyphens.")],
    name: Annotated[str, typer.Option(help="Who mail comes from; the slug unless given.")] = "",
    sender: Annotated[str | None, typer.Option(metavar="EMAIL", help="The address mail comes from; TIDINGS_SENDER unless given.")] = None,
    as_json: Json = False,
) -> None:
    """Make a tenant."""

    async def work() -> Tenant:
        async with context.opened() as house:

            def unit(tx: Tx) -> Tenant:
                made = tenants.create(tx, slug, name=name, sender_email=sender or house.default_sender, now=house.clock())
                audit.enter(tx, context.entry(house, made.id, "Make a tenant", subject="tenant", subject_id=made.id))
                return made

            return await house.db.write(unit)

    tenant = context.run(work())
    if as_json:
        print_json(shown(tenant))
    else:
        print(f"Tenant {tenant.slug} is there; its mail comes from {tenant.sender_email}. Next: tidings keys create --tenant {tenant.slug}")


@app.command("update")
def update(
    slug: Annotated[str, typer.Argument(help="Which tenant.")],
    name: Annotated[str | None, typer.Option(help="Who mail comes from.")] = None,
    sender: Annotated[str | None, typer.Option(metavar="EMAIL", help="The address mail comes from.")] = None,
    unknown: Annotated[
        Literal["resend", "hold"] | None,
        typer.Option(help="What becomes of a message that may have gone out. Back to resend sends what was held."),
    ] = None,
    words: Annotated[
        Path | None,
        typer.Option("--keywords", metavar="FILE", help="JSON of its own words for STOP, START and HELP, and of the answers to them."),
    ] = None,
    reply: Annotated[
        str | None,
        typer.Option("--reply-address", metavar="EMAIL", help="Where answers go, each with a tag that says to which mail; '' for none."),
    ] = None,
    bounce: Annotated[
        str | None,
        typer.Option("--bounce-address", metavar="EMAIL", help="Where undeliverable mail returns to, tagged the same way; '' for none."),
    ] = None,
    bodies: Annotated[
        str | None, typer.Option("--keep-bodies", metavar="DAYS", help="How long what messages said is kept; '' for ever.")
    ] = None,
    interactions: Annotated[
        str | None, typer.Option("--keep-interactions", metavar="DAYS", help="How long what happened to messages is kept; '' for ever.")
    ] = None,
    inbound: Annotated[
        str | None, typer.Option("--keep-inbound", metavar="DAYS", help="How long what was received is kept; '' for ever.")
    ] = None,
    audit: Annotated[str | None, typer.Option("--keep-audit", metavar="DAYS", help="How long the audit is kept; '' for ever.")] = None,
    reads: Annotated[
        bool | None, typer.Option("--audit-reads/--no-audit-reads", help="Whether the audit has who reads personal data, too.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Change a tenant."""
    stored = None if words is None else _read_keywords(words)
    parts = {"bodies": bodies, "interactions": interactions, "inbound": inbound, "audit": audit}
    kept = Kept(**{part: _days(part, text) for part, text in parts.items()}, audit_reads=UNSET if reads is None else reads)
    changes = {"name": name, "sender_email": sender, "unknown_rule": unknown, "reply_address": reply, "bounce_address": bounce}

    async def work() -> tuple[Tenant, int]:
        async with context.opened() as house:
            before = await context.find_tenant(house.db, slug)
            unit = partial(_change, before=before, changes=changes, words=stored, kept=kept, now=house.clock())
            return await context.change(house, before.id, "Change a tenant", unit, subject="tenant", subject_id=before.id)

    tenant, released = context.run(work())
    if as_json:
        print_json({**shown(tenant), "released": released})
    else:
        held = f" {released} held messages are due again." if released else ""
        print(f"{tenant.slug}: mail comes from {tenant.name} <{tenant.sender_email}>; unknown messages: {tenant.unknown_rule}.{held}")
        print(f"Answers go to {tenant.reply_address or 'the sender'}, undeliverable mail to {tenant.bounce_address or 'the sender'}.")
        print(f"Kept: {kept_in_words(tenant)}.")


def _days(part: str, text: str | None) -> int | UnsetType | None:
    """The days of an option: None for ever, UNSET for one that was not given."""
    if text is None:
        return UNSET
    if not text.strip():
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise typer.BadParameter(f"--keep-{part} is a number of days, or '' for ever")
    return int(text)


def kept_in_words(tenant: Tenant) -> str:
    """For how long it keeps what, in one line."""
    parts = {
        "bodies": tenant.keep_bodies,
        "interactions": tenant.keep_interactions,
        "inbound": tenant.keep_inbound,
        "audit": tenant.keep_audit,
    }
    return ", ".join(f"{part} {'for ever' if days is None else f'{days} days'}" for part, days in parts.items())


def _read_keywords(path: Path) -> str:
    """The file's keywords as they are stored. Raises Invalid."""
    try:
        return msgspec.json.encode(keywords.parse(path.read_bytes() or b"{}")).decode()
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror}.") from error


def _change(tx: Tx, before: Tenant, changes: dict[str, str | None], words: str | None, kept: Kept, now: int) -> tuple[Tenant, int]:
    if words is not None:
        tenants.set_keywords(tx, before.id, words, now=now)
    tenant = tenants.update(tx, before, **changes, now=now)
    if kept != Kept():
        tenant = tenants.keep(tx, tenant.id, kept, now=now)
    return tenant, communications.release(tx, tenant.id, now=now) if changes["unknown_rule"] == "resend" else 0


@app.command("list")
def listed(as_json: Json = False) -> None:
    """List the tenants."""

    async def work() -> list[Tenant]:
        async with context.opened() as house:
            return await house.db.read(tenants.all)

    found = context.run(work())
    if as_json:
        print_json([shown(tenant) for tenant in found])
    else:
        rows = [(t.slug, t.name, t.sender_email, t.reply_address or "", t.bounce_address or "", kept_in_words(t)) for t in found]
        print_table(("slug", "name", "sender", "answers to", "bounces to", "kept"), rows)


_SHOWN = (
    "slug",
    "name",
    "sender_email",
    "sender_name",
    "unknown_rule",
    "reply_address",
    "bounce_address",
    "created_at",
    "keep_bodies",
    "keep_interactions",
    "keep_inbound",
    "keep_audit",
)


def shown(tenant: Tenant) -> dict[str, object]:
    """What a script may want of a tenant."""
    everything = msgspec.structs.asdict(tenant)
    return {name: everything[name] for name in _SHOWN}
