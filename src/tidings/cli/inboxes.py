"""`tidings inboxes`: where mail comes in for a tenant."""

import getpass
import sys
from typing import Annotated, Any, cast

import msgspec
import typer

from tidings import ids
from tidings.api.native.inboxes import NewInbox, made, url
from tidings.api.wire import instant, instant_or_none
from tidings.cli import context
from tidings.cli.output import Json, print_json, print_table
from tidings.database import Tx
from tidings.domain import inboxes
from tidings.domain.inboxes import Inbox
from tidings.errors import Invalid, NotFound
from tidings.inbound.sources import KINDS, SECRETS

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Say where mail comes in for a tenant.")

Owner = Annotated[str, typer.Option("--tenant", metavar="SLUG", help="Whose mail it is.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="What you call it.")]
Kind = Annotated[str, typer.Option("--kind", metavar="KIND", help=f"One of {', '.join(KINDS)}.")]
Address = Annotated[str | None, typer.Option("--address", help="For kind address: one address, or a whole domain.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A setting of the kind, such as host=imap.example.com.")
]


@app.command("add")
def add(name: Name, tenant: Owner, kind: Kind, address: Address = None, given: Settings = None, as_json: Json = False) -> None:
    """Set up an inbox. Secrets that it needs are asked for, or read from standard input, a line each."""
    if kind not in KINDS:
        raise Invalid(f"There is no kind {kind!r}: it is one of {', '.join(KINDS)}.")
    settings = _settings(kind, given or [])

    async def work() -> tuple[Inbox, str | None]:
        async with context.opened() as house:
            owner = await context.find_tenant(house.db, tenant)
            new = made(house.vault, NewInbox(name, cast(inboxes.Kind, kind), address, settings))
            now = house.clock()
            inbox = await context.change(
                house, owner.id, "Set up an inbox", lambda tx: inboxes.create(tx, owner.id, new, now=now), subject="inbox"
            )
            return inbox, url(house.public_url, inbox)

    inbox, hook = context.run(work())
    if as_json:
        print_json(_shown(inbox, hook))
    elif hook:
        print(f"Let {kind} call {hook}")
        print(f"Events to switch on there: {', '.join(KINDS[kind].events)}")
    else:
        print(f"Mail {'to ' + inbox.address if inbox.address else 'in ' + inbox.name} comes in for {tenant}.")


@app.command("list")
def listed(tenant: Owner, as_json: Json = False) -> None:
    """List them, oldest first, with what is wrong with each."""

    async def work() -> list[tuple[Inbox, str | None]]:
        async with context.opened() as house:
            owner = await context.find_tenant(house.db, tenant)
            return [(row, url(house.public_url, row)) for row in await context.everything(house.db, inboxes.page, owner.id)]

    found = context.run(work())
    if as_json:
        print_json([_shown(row, hook) for row, hook in found])
    else:
        print_table(("name", "kind", "address", ""), [(row.name, row.kind, row.address or "", row.error or "") for row, _ in found])


@app.command("remove")
def remove(name: Name, tenant: Owner) -> None:
    """Forget it and its secrets; what came in by it stays."""

    async def work() -> None:
        async with context.opened() as house:
            owner = await context.find_tenant(house.db, tenant)
            await context.change(house, owner.id, "Remove an inbox", lambda tx: forget(tx, owner.id, name), subject="inbox")

    context.run(work())
    print("Removed.")


def forget(tx: Tx, tenant_id: int, name: str) -> Inbox:
    """Removes the inbox of this name; answers what it was. Raises NotFound."""
    known = inboxes.named(tx, tenant_id, name)
    if known is None:
        raise NotFound(f"There is no inbox named {name}.")
    inboxes.delete(tx, tenant_id, known.id)
    return known


def _settings(kind: str, given: list[str]) -> dict[str, Any]:
    """The settings in the types that the kind's form has; a secret that is required and was not given is asked for."""
    fields = {field.name: field for field in msgspec.structs.fields(cast(type[msgspec.Struct], KINDS[kind].form))}
    values: dict[str, Any] = {}
    for pair in given:
        name, equals, text = pair.partition("=")
        if not equals:
            raise Invalid(f"--set takes NAME=VALUE, not {pair!r}.")
        if name not in fields:
            raise Invalid(f"An inbox of kind {kind} has no setting {name!r}; it has {', '.join(fields) or 'none'}.")
        try:
            values[name] = msgspec.convert(text, fields[name].type, strict=False)
        except msgspec.ValidationError as error:
            raise Invalid(f"The setting {name} cannot be {text!r}: {error}.") from error
    for name, field in fields.items():
        if name in SECRETS and field.required and name not in values:
            values[name] = getpass.getpass(f"{name}: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
    return values


def _shown(row: Inbox, hook: str | None) -> dict[str, object]:
    return {
        "id": ids.spell("inbox", row.id),
        "name": row.name,
        "kind": row.kind,
        "address": row.address,
        "url": hook,
        "events": list(KINDS[row.kind].events),
        "error": row.error,
        "last_at": instant_or_none(row.last_at),
        "created_at": instant(row.created_at),
    }
