"""`tidings contacts`: import contacts from a CSV file, and export them to one."""

import asyncio
import hashlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import msgspec
import typer

from tidings import ids
from tidings.api.wire import House
from tidings.cli import context
from tidings.cli.output import Json, print_json
from tidings.database import Tx
from tidings.delivery import imports
from tidings.delivery.imports import Report, Watch
from tidings.domain import audit, contacts, jobs, lists
from tidings.domain.contacts import Cursor, Filters, Source, Table
from tidings.domain.jobs import Job
from tidings.errors import Conflict, Invalid, NotFound

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Import and export contacts.")

STEP = 1000
"""Contacts read at once for an export."""

Owner = Annotated[str, typer.Option("--tenant", metavar="SLUG", help="Whose contacts they are.")]
File = Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, readable=True, resolve_path=True, help="The CSV file.")]


@app.command("import")
def import_(
    file: File,
    tenant: Owner,
    list_name: Annotated[str, typer.Option("--list", metavar="NAME", help="Add everybody to this list; it is made if there is none.")] = "",
    region: Annotated[str, typer.Option(metavar="CC", help="The country of phone numbers without a country code, such as IT.")] = "",
    encoding: Annotated[str, typer.Option(help="How the file is encoded, such as cp1252.")] = "utf-8",
    delimiter: Annotated[str, typer.Option(help="comma, semicolon, tab or pipe; found out unless given.")] = "",
    as_json: Json = False,
) -> None:
    """Import contacts from a CSV file. Rows that cannot be kept go to a file of rejects; an interrupted import goes on where it was."""
    try:
        source = contacts.checked_source(Source(str(file), uploaded=False, region=region, encoding=encoding, delimiter=delimiter))
        name = lists.name_of(list_name) if list_name else ""
    except Invalid as wrong:
        raise typer.BadParameter(wrong.message) from wrong

    async def work() -> dict[str, Any]:
        async with context.opened() as house:
            owner = await context.find_tenant(house.db, tenant)
            looked_at = await asyncio.to_thread(_looked_at, file, source)
            job, resumed = await _begun(house, owner.id, looked_at, name)
            with _Bar(file.name, shown=not as_json) as bar:
                await imports.run_import(house.db, house.clock, house.data_folder, job, asyncio.Event(), bar.watch)
            return await _outcome(house, job, resumed=resumed)

    outcome = context.run(work())
    if as_json:
        print_json(outcome)
    else:
        _tell(file, outcome)


@app.command("export")
def export(
    tenant: Owner,
    list_name: Annotated[str, typer.Option("--list", metavar="NAME", help="Only who is in this list.")] = "",
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Where to write; standard output unless given.")
    ] = None,
) -> None:
    """Write contacts as CSV, in the form that import reads."""

    async def work() -> None:
        async with context.opened() as house:
            owner = await context.find_tenant(house.db, tenant)
            filters = await house.db.read(_members_of, owner.id, list_name)
            await context.enter(house, owner.id, "Contacts as CSV", "read")
            if output is None:
                await _written(house, owner.id, filters, sys.stdout.buffer)
                return
            part = output.with_name(output.name + ".part")
            with part.open("wb") as file:
                await _written(house, owner.id, filters, file)
            part.replace(output)

    context.run(work())


def _looked_at(file: Path, source: Source) -> Source:
    """The source with the file's fingerprint. Raises Invalid when the file is no CSV of contacts."""
    Table(file, source)
    with file.open("rb") as opened:
        return msgspec.structs.replace(source, fingerprint=hashlib.file_digest(opened, "sha256").hexdigest())


async def _begun(house: House, tenant_id: int, source: Source, name: str) -> tuple[Job, bool]:
    """The job, held by us, and whether it goes on with an import that was interrupted. Raises Conflict when another process is at it."""

    def begin(tx: Tx) -> tuple[Job, bool]:
        job, resumed = _found_or_made(tx, tenant_id, source, name, now=house.clock())
        if not resumed:
            audit.enter(tx, context.entry(house, tenant_id, "Import contacts from a CSV file", subject="job", subject_id=job.id))
        return job, resumed

    job, resumed = await house.db.write(begin)
    if resumed and await asyncio.to_thread(imports.under_way, house.data_folder, job.id):
        raise Conflict("Another process is importing this file at this moment.")
    held = await house.db.write(jobs.take, tenant_id, job.id, now=house.clock(), lease_ms=imports.LEASE)
    if held is None:
        raise Conflict("Another process has just imported this file.")
    return held, resumed


def _found_or_made(tx: Tx, tenant_id: int, source: Source, name: str, *, now: int) -> tuple[Job, bool]:
    if name:
        source = msgspec.structs.replace(source, list_id=lists.ensure(tx, tenant_id, name, now=now).id)
    for job in jobs.unfinished_by_hand(tx, tenant_id, contacts.KIND):
        if imports.source_of(job) == source:
            return job, True
    return contacts.begin_import(tx, tenant_id, source, now=now, by_hand=True), False


async def _outcome(house: House, job: Job, *, resumed: bool) -> dict[str, Any]:
    done = await house.db.read(jobs.get, job.tenant_id, job.id)
    if done is None or done.state != "done":
        raise Conflict((done and done.error) or "The import did not come to its end; the same command goes on with it.")
    cursor = msgspec.json.decode(done.cursor, type=Cursor) if done.cursor else Cursor()
    return {
        "job": ids.spell("job", job.id),
        "total": done.total,
        "imported": done.done,
        "created": cursor.created,
        "updated": cursor.updated,
        "rejected": done.rejected,
        "rejects_file": str(contacts.rejects_file(house.data_folder, job.id).resolve()) if done.rejected else None,
        "resumed": resumed,
    }


def _tell(file: Path, outcome: dict[str, Any]) -> None:
    print(
        f"Imported {outcome['imported']:,} of {outcome['total']:,} rows: {outcome['created']:,} new contacts, {outcome['updated']:,} updated."
    )
    if outcome["resumed"]:
        print("An import that was interrupted has been finished; the figures are those of the whole file.")
    if outcome["rejected"]:
        print(f"{outcome['rejected']:,} rows of {file.name} were rejected; each with its line and the reason: {outcome['rejects_file']}")


class _Bar:
    """A progress bar on standard error, where that is a terminal."""

    def __init__(self, name: str, *, shown: bool) -> None:
        from rich.console import Console
        from rich.progress import Progress

        console = Console(stderr=True)
        self._progress = Progress(console=console, disable=not (shown and console.is_terminal), transient=True)
        self._task = self._progress.add_task(f"Importing {name}", total=None)
        self.watch: Watch = self._watch

    def __enter__(self) -> "_Bar":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def _watch(self, report: Report) -> None:
        read = report.created + report.updated + report.rejected
        words = f"{read:,} of {report.total:,} rows, {report.rejected:,} rejected"
        self._progress.update(self._task, total=report.total, completed=read, description=words)


def _members_of(tx: Tx, tenant_id: int, name: str) -> Filters:
    if not name:
        return Filters()
    found = lists.find_by_name(tx, tenant_id, name)
    if found is None:
        raise NotFound(f"There is no list {name!r}.")
    return Filters(list_id=found.id)


async def _written(house: House, tenant_id: int, filters: Filters, file: BinaryIO) -> None:
    async for chunk in _exported(house, tenant_id, filters):
        await asyncio.to_thread(file.write, chunk)
    await asyncio.to_thread(file.flush)


async def _exported(house: House, tenant_id: int, filters: Filters) -> AsyncIterator[bytes]:
    yield contacts.csv_header()
    after_id = 0
    while step := await house.db.read(contacts.after, tenant_id, filters, after_id=after_id, limit=STEP):
        yield contacts.csv_rows(step)
        after_id = step[-1].id
