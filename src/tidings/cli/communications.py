"""`tidings communications`: write what was sent, and what became of it, to a CSV file."""

import asyncio
import contextlib
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from tidings.analytics import search as searching
from tidings.analytics.query import Query
from tidings.api.alpha import export as records
from tidings.api.wire import House
from tidings.cli import context

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Export communications.")

EVERY = 10_000
"""Communications between two lines of progress where there is no terminal."""

Texts = list[str]


@app.callback()
def communications() -> None:
    """Export communications."""


@app.command("export")
def export(
    tenant: Annotated[str, typer.Option("--tenant", metavar="SLUG", help="Whose communications they are.")],
    search: Annotated[
        Texts | None, typer.Option("--search", metavar="FIELD:WORDS", help="Only where all the words occur in the field; any of several.")
    ] = None,
    filters: Annotated[
        Texts | None,
        typer.Option("--filter", metavar="FIELD:VALUE", help="Only where this holds, or FIELD:OPERATOR:VALUE; all of several."),
    ] = None,
    sort: Annotated[Texts | None, typer.Option("--sort", metavar="FIELD[:desc]", help="In which order; repeat for more.")] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Where to write; standard output unless given.")
    ] = None,
) -> None:
    """Write communications as CSV: a line each, with the 37 fields of the API's record."""
    progress = Progress()

    async def work() -> None:
        async with context.opened() as house:
            owner = await context.find_tenant(house.db, tenant)
            query = records.query_of(house, owner.id, search or [], filters or [], sort or [])
            await context.enter(house, owner.id, "Communications as CSV", "read")
            with progress.shown(output, (await house.db.read(searching.page, owner.id, query, offset=0, limit=1)).total):
                if output is None:
                    await _written(house, owner.id, query, sys.stdout.buffer, progress)
                else:
                    await _replaced(house, owner.id, query, output, progress)

    try:
        context.run(work())
    except KeyboardInterrupt as interrupt:
        left = f"{output} was left as it was" if output else "what was written is not all"
        print(f"Interrupted after {progress.done:,} communications; {left}.", file=sys.stderr)
        raise typer.Exit(1) from interrupt
    print(f"Exported {progress.done:,} communications.", file=sys.stderr)


async def _replaced(house: House, tenant_id: int, query: Query, output: Path, progress: "Progress") -> None:
    """Writes a file beside the one that is wanted, which it becomes once it is whole."""
    part = output.with_name(output.name + ".part")
    try:
        with part.open("wb") as file:
            await _written(house, tenant_id, query, file, progress)
        part.replace(output)
    finally:
        part.unlink(missing_ok=True)


async def _written(house: House, tenant_id: int, query: Query, file: BinaryIO, progress: "Progress") -> None:
    await asyncio.to_thread(file.write, records.header())
    async for count, lines in records.batches(house, tenant_id, query):
        await asyncio.to_thread(file.write, lines)
        progress.add(count)
    await asyncio.to_thread(file.flush)


class Progress:
    """How far it is, on standard error: a bar on a terminal, elsewhere a line now and then. `done` counts communications."""

    def __init__(self) -> None:
        self.done = self._total = 0
        self._bar = None
        self._told = 0

    @contextlib.contextmanager
    def shown(self, output: Path | None, total: int) -> Generator[None]:
        """Shows it for as long as the block lasts; not in the middle of lines that go to the same terminal."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self._total = total
        console = Console(stderr=True)
        if not console.is_terminal or (output is None and sys.stdout.isatty()):
            yield
            return
        columns = (TextColumn("Exporting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Bar(*columns, console=console, transient=True) as bar:
            task = bar.add_task("Exporting", total=total)
            self._bar = lambda: bar.update(task, completed=self.done)
            yield

    def add(self, count: int) -> None:
        """So many more are written."""
        self.done += count
        if self._bar is not None:
            self._bar()
        elif self.done // EVERY > self._told:
            self._told = self.done // EVERY
            print(f"{self.done:,} of {self._total:,} communications written", file=sys.stderr, flush=True)
