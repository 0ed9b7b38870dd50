"""`tidings privacy`: everything that is known of a contact as a ZIP, and its erasure."""

import asyncio
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from tidings import ids
from tidings.api import erasing
from tidings.api.native import dossier
from tidings.cli import context
from tidings.cli.output import Json, print_json
from tidings.database import Tx
from tidings.domain import audit, contacts
from tidings.domain.erasure import Erased
from tidings.errors import Invalid, NotFound

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Export all that is known of a contact, or erase it.")

Owner = Annotated[str, typer.Option("--tenant", metavar="SLUG", help="Whose contact it is.")]
Who = Annotated[str, typer.Argument(metavar="CONTACT", help="The contact: its id, its email or its phone.")]


@app.command("export")
def export(
    who: Who,
    tenant: Owner,
    output: Annotated[Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Where to write; <id>.zip here unless given.")] = None,
) -> None:
    """Write everything that is known of a contact to a ZIP of JSON and mails."""

    async def work() -> Path:
        async with context.opened() as house:
            owner = await context.find_tenant(house.db, tenant)
            contact_id = await house.db.read(_find, owner.id, who)
            path = output or Path(f"{ids.spell('contact', contact_id)}.zip")
            part = path.with_name(path.name + ".part")
            await context.enter(
                house, owner.id, "Export a contact", "export", subject="contact", subject_id=contact_id, contact_id=contact_id
            )
            with part.open("wb") as file:
                async for chunk in dossier.archive(house, owner.id, contact_id):
                    await asyncio.to_thread(file.write, chunk)
            part.replace(path)
            return path

    print(f"Written to {context.run(work())}.")


@app.command("erase")
def erase(
    who: Who,
    tenant: Owner,
    lift: Annotated[bool, typer.Option("--lift", help="Drop also that its addresses must not be written to.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Erase a contact: it cannot be undone. What was counted stays."""
    if not yes:
        typer.confirm(f"Erase {who} and everything that is known of it, for good?", abort=True, err=True)

    async def work() -> Erased:
        async with context.opened() as house:
            owner = await context.find_tenant(house.db, tenant)
            contact_id = await house.db.read(_find, owner.id, who)
            asked = audit.Asked("Erase a contact", 200)
            return await erasing.erase(house.db, owner.id, contact_id, lift=lift, author=audit.COMMAND_LINE, now=house.clock, asked=asked)

    erased = context.run(work())
    if as_json:
        print_json(msgspec.structs.asdict(erased))
    else:
        print(
            f"Erased: {erased.communications} messages sent, {erased.shared} that others got too and that no longer name it,"
            f" {erased.inbound} received; {erased.enrollments} enrollments have ended."
        )


def _find(tx: Tx, tenant_id: int, who: str) -> int:
    contact_id = ids.parse("contact", who)
    if contact_id is not None:
        found = contacts.get(tx, tenant_id, contact_id)
    elif "@" in who:
        found = contacts.find_by_email(tx, tenant_id, who)
    elif who.startswith("+"):
        found = contacts.find_by_phone(tx, tenant_id, who)
    else:
        raise Invalid("A contact is named by its id (cont_…), its email or its phone (+39…)")
    if found is None:
        raise NotFound(f"There is no contact {who!r}.")
    return found.id
