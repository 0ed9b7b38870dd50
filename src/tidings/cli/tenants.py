"""`tidings tenants`: make, change and list the owners of rows."""

from typing import Annotated, Literal

import msgspec
import typer

from tidings.cli import context
from tidings.cli.output import Json, print_json, print_table
from tidings.database import Tx
from tidings.domain import communications, tenants
from tidings.domain.tenants import Tenant

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
            return await house.db.write(tenants.create, slug, name=name, sender_email=sender or house.default_sender, now=house.clock())

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
    as_json: Json = False,
) -> None:
    """Change a tenant."""

    async def work() -> tuple[Tenant, int]:
        async with context.opened() as house:
            before = await context.find_tenant(house.db, slug)
            return await house.db.write(_change, before, name, sender, unknown, house.clock())

    tenant, released = context.run(work())
    if as_json:
        print_json({**shown(tenant), "released": released})
    else:
        held = f" {released} held messages are due again." if released else ""
        print(f"{tenant.slug}: mail comes from {tenant.name} <{tenant.sender_email}>; unknown messages: {tenant.unknown_rule}.{held}")


def _change(tx: Tx, before: Tenant, name: str | None, sender: str | None, unknown: str | None, now: int) -> tuple[Tenant, int]:
    tenant = tenants.update(tx, before, name=name, sender_email=sender, unknown_rule=unknown, now=now)
    return tenant, communications.release(tx, tenant.id, now=now) if unknown == "resend" else 0


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
        print_table(("slug", "name", "sender"), [(tenant.slug, tenant.name, tenant.sender_email) for tenant in found])


def shown(tenant: Tenant) -> dict[str, object]:
    """What a script may want of a tenant."""
    everything = msgspec.structs.asdict(tenant)
    return {name: everything[name] for name in ("slug", "name", "sender_email", "sender_name", "unknown_rule", "created_at")}
