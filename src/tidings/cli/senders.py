"""`tidings senders`: the domains and addresses a tenant may write as besides its own."""

from typing import Annotated

import typer

from tidings.cli import context
from tidings.cli.output import Json, print_json, print_table
from tidings.database import Tx
from tidings.domain import senders
from tidings.domain.senders import Sender
from tidings.errors import NotFound

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Say who a tenant may write as.")

Owner = Annotated[str, typer.Option("--tenant", metavar="SLUG", help="Who writes.")]
Allowed = Annotated[str, typer.Argument(metavar="ADDRESS", help="A whole domain, or one address.")]


@app.command("add")
def add(address: Allowed, tenant: Owner, as_json: Json = False) -> None:
    """Allow a domain or an address."""

    async def work() -> Sender:
        wanted = senders.normalise(address)
        async with context.opened() as house:
            owner = await context.find_tenant(house.db, tenant)
            now = house.clock()
            return await context.change(
                house, owner.id, "Allow a sender", lambda tx: senders.add(tx, owner.id, wanted, now=now), subject="sender"
            )

    made = context.run(work())
    if as_json:
        print_json(_shown(made))
    else:
        print(f"{tenant} may write as {made.address if '@' in made.address else f'anybody at {made.address}'}.")


@app.command("list")
def listed(tenant: Owner, as_json: Json = False) -> None:
    """List what was allowed, newest first."""

    async def work() -> list[Sender]:
        async with context.opened() as house:
            owner = await context.find_tenant(house.db, tenant)
            return await context.everything(house.db, senders.page, owner.id)

    found = context.run(work())
    if as_json:
        print_json([_shown(row) for row in found])
    else:
        print_table(("address", ""), [(row.address, "one address" if "@" in row.address else "whole domain") for row in found])


@app.command("remove")
def remove(address: Allowed, tenant: Owner) -> None:
    """Allow it no longer; what was accepted before goes out as it was."""

    async def work() -> None:
        wanted = senders.normalise(address)
        async with context.opened() as house:
            owner = await context.find_tenant(house.db, tenant)
            await context.change(house, owner.id, "Take back a sender", lambda tx: forbid(tx, owner.id, wanted), subject="sender")

    context.run(work())
    print("Removed.")


def forbid(tx: Tx, tenant_id: int, address: str) -> Sender:
    """Takes the permission for exactly this domain or address away; answers what it was. Raises NotFound when there is none."""
    known = senders.find(tx, tenant_id, address)
    if known is None:
        raise NotFound(f"{address} was not allowed.")
    senders.remove(tx, tenant_id, known.id)
    return known


def _shown(row: Sender) -> dict[str, object]:
    return {"address": row.address, "created_at": row.created_at}
