"""`tidings keys`: make, list and revoke API keys. A secret is shown once, when it is made."""

from typing import Annotated

import typer

from tidings.cli import context
from tidings.cli.output import Json, print_json, print_table
from tidings.database import Tx
from tidings.domain import audit, keys
from tidings.domain.keys import Key, Known, NewKey
from tidings.errors import NotFound

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Make, list and revoke API keys.")

Owner = Annotated[str, typer.Option("--tenant", metavar="SLUG", help="Whose key it is.")]


@app.command("create")
def create(
    tenant: Owner,
    scope: Annotated[
        list[str] | None, typer.Option(help="What it may do, such as contacts:read; repeat for more. Everything unless given.")
    ] = None,
    name: Annotated[str, typer.Option(help="What it is for.")] = "",
    as_json: Json = False,
) -> None:
    """Make a key; its secret is shown this once."""

    async def work() -> NewKey:
        async with context.opened() as house:
            owner = await context.find_tenant(house.db, tenant)
            now = house.clock()
            return await context.change(
                house,
                owner.id,
                "Make an API key",
                lambda tx: keys.create(tx, owner.id, name=name, scopes=scope or [], now=now),
                subject="key",
            )

    made = context.run(work())
    if as_json:
        print_json({"key": made.key, "secret": made.secret, "token": made.token})
    else:
        print(f"key     {made.key}\nsecret  {made.secret}\ntoken   {made.token}\n\nKeep them now: the secret is not shown again.")


@app.command("list")
def listed(tenant: Owner, as_json: Json = False) -> None:
    """List a tenant's keys, newest first."""

    async def work() -> list[Key]:
        async with context.opened() as house:
            owner = await context.find_tenant(house.db, tenant)
            return await context.everything(house.db, keys.page, owner.id)

    found = context.run(work())
    if as_json:
        print_json([{"key": key.key, "name": key.name, "scopes": key.scopes, "revoked": key.revoked_at is not None} for key in found])
    else:
        rows = [(key.key, key.name, ", ".join(key.scopes), "revoked" if key.revoked_at else "") for key in found]
        print_table(("key", "name", "scopes", ""), rows)


@app.command("revoke")
def revoke(key: Annotated[str, typer.Argument(help="The key (tk_…), or its whole token.")]) -> None:
    """End a key for good; servers notice within seconds."""

    async def work() -> None:
        async with context.opened() as house:

            def unit(tx: Tx) -> None:
                known = end(tx, key.partition(".")[0], now=house.clock())
                audit.enter(tx, context.entry(house, known.tenant_id, "Revoke an API key", subject="key", subject_id=known.id))

            await house.db.write(unit)

    context.run(work())
    print("Revoked.")


def end(tx: Tx, key: str, *, now: int) -> Known:
    """Revokes the key of this name, and answers it. Raises NotFound when there is none, or none any more."""
    known = keys.lookup(tx, key)
    if known is None or not keys.revoke(tx, known.tenant_id, known.id, now=now):
        raise NotFound(f"There is no key {key}, or it was revoked before.")
    return known
