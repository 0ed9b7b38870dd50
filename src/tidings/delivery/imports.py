"""Importing contacts from a CSV file: batch by batch, each stored together with where to go on, so that a crash doubles and loses nothing.

Reading and checking run in a thread while the batch before is written. What a row has to look like is `domain.contacts`' matter.
"""

import asyncio
import csv
import fcntl
import io
import os
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import msgspec

from tidings.clock import HOUR, SECOND, Clock
from tidings.database import Database, Tx
from tidings.domain import contacts, jobs, lists
from tidings.domain.contacts import Cursor, Record, Row, Source, Table
from tidings.domain.jobs import Job
from tidings.errors import Conflict, Invalid, Unavailable

BATCH = 2000
"""Rows of a transaction: large enough that its commit does not count, small enough (30 ms on SQLite) that other writers hardly wait."""
LEASE = 60 * SECOND
"""Lengthened with every batch."""
PAUSE = 5 * SECOND
"""Before a job is tried again that could not go on for now, or whose file is not on this machine."""
SEARCHES = 6
"""How many workers may look for the file before it counts as lost: each machine has a data folder of its own unless they share one."""
ORPHANED = HOUR
"""After this long without a change an upload that no job waits for is one whose receiver was killed before it made the job."""
CELL = 32_000
"""Characters of a cell that the rejects file shows; spreadsheets take no more."""


class Report(msgspec.Struct, frozen=True):
    """How far an import is: rows of the file in all, and what became of those read. created + updated + rejected = rows read."""

    total: int
    created: int
    updated: int
    rejected: int


Watch = Callable[[Report], None]


def under_way(data_folder: Path, job_id: int) -> bool:
    """Whether a process of this machine is at this import right now."""
    path = contacts.rejects_file(data_folder, job_id)
    if not path.exists():
        return False
    with path.open("rb") as file:
        return not _lock(file)


class _Batch(msgspec.Struct, frozen=True):
    """`rows` to store; `cursor` is where the file and its rejects stand behind them, its counts of created and updated not yet."""

    rows: list[Row]
    cursor: Cursor


async def run_import(db: Database, now: Clock, data_folder: Path, job: Job, stop: asyncio.Event, watch: Watch | None = None) -> None:
    """Takes a claimed job of kind `import` to its end, or fails it with the reason; gives it back when `stop` is set.

    Raises Unavailable when the database or the disk cannot take more now, after giving the job back; Conflict when another has taken it over.
    A job whose file is not on this machine is given back for a worker that has it.
    """
    house = _House(db, now, data_folder, watch)
    try:
        await _run(job, house, stop)
    except FileNotFoundError:
        if job.attempts < SEARCHES:
            await house.give_back(job, PAUSE)
        else:
            await db.write(jobs.fail, job, "The file to import is on none of the machines that run workers.", now=now())
    except Invalid as wrong:
        await db.write(jobs.fail, job, wrong.message, now=now())
        _forget_upload(job, data_folder)
    except OSError as error:
        await house.give_back(job, PAUSE)
        raise Unavailable(f"The import cannot go on now: {error.strerror}.") from error
    except Unavailable:
        await house.give_back(job, PAUSE)
        raise
    except asyncio.CancelledError:
        await house.give_back(job, 0)
        raise


async def sweep_uploads(db: Database, data_folder: Path, *, now: int) -> int:
    """Removes uploads that nobody will import; answers how many. Those of jobs that are not finished stay, and those just being received."""
    files = await asyncio.to_thread(_old_uploads, data_folder, now - ORPHANED)
    if not files:
        return 0
    # read after the folder was: a job made meanwhile has a file too young to be among them
    waiting = {msgspec.json.decode(params, type=Source).file(data_folder) for params in await db.read(jobs.unfinished, contacts.KIND)}
    orphans = [file for file in files if file not in waiting]
    for file in orphans:
        await asyncio.to_thread(file.unlink, missing_ok=True)
    return len(orphans)


def _old_uploads(data_folder: Path, before: int) -> list[Path]:
    found: list[Path] = []
    for file in contacts.uploads(data_folder):
        with suppress(FileNotFoundError):
            if file.stat().st_mtime * SECOND < before:
                found.append(file)
    return found


class _House(msgspec.Struct, frozen=True):
    db: Database
    now: Clock
    data_folder: Path
    watch: Watch | None

    async def give_back(self, job: Job, pause: int) -> None:
        now = self.now()
        await self.db.write(jobs.release, job, now=now, due_at=now + pause)


async def _run(job: Job, house: _House, stop: asyncio.Event) -> None:
    cursor = msgspec.json.decode(job.cursor, type=Cursor) if job.cursor else Cursor()
    table, total = await asyncio.to_thread(_opened, job, house.data_folder)
    with _rejects(contacts.rejects_file(house.data_folder, job.id), table.header, cursor.rejects) as rejects:
        async with aclosing(_ahead(_batches(table, cursor, rejects))) as batches:
            async for batch in batches:
                cursor = await house.db.write(_store, job, batch, cursor, total, now=house.now())
                if house.watch is not None:
                    house.watch(Report(total, cursor.created, cursor.updated, cursor.rejected))
                if stop.is_set():
                    await house.give_back(job, 0)
                    return
    if not await house.db.write(jobs.finish, job, now=house.now()):
        raise _taken_over()
    _forget_upload(job, house.data_folder)


def source_of(job: Job) -> Source:
    """What the import was told."""
    return msgspec.json.decode(job.params, type=Source)


def _opened(job: Job, data_folder: Path) -> tuple[Table, int]:
    source = source_of(job)
    table = Table(source.file(data_folder), source)
    return table, job.total or table.count()


def _store(tx: Tx, job: Job, batch: _Batch, before: Cursor, total: int, *, now: int) -> Cursor:
    """One batch: contacts, their places in the list, and the cursor, or nothing of it."""
    loaded = contacts.load(tx, job.tenant_id, batch.rows, now=now)
    list_id = source_of(job).list_id
    if list_id is not None:
        lists.join(tx, job.tenant_id, list_id, loaded.contact_ids, now=now)
    created = before.created + loaded.created
    updated = before.updated + len(batch.rows) - loaded.created
    cursor = msgspec.structs.replace(batch.cursor, created=created, updated=updated)
    progress = jobs.Progress(msgspec.json.encode(cursor).decode(), created + updated, cursor.rejected, total)
    if not jobs.advance(tx, job, progress, now=now, lease_ms=LEASE):
        raise _taken_over()
    return cursor


def _taken_over() -> Conflict:
    return Conflict("This import has been taken over by another process.")


def _forget_upload(job: Job, data_folder: Path) -> None:
    source = source_of(job)
    if source.uploaded:
        source.file(data_folder).unlink(missing_ok=True)


async def _ahead(batches: Iterator[_Batch]) -> AsyncGenerator[_Batch]:
    """The batches, each read in a thread while the caller is busy with the one before."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1, thread_name_prefix="tidings-import") as thread:
        coming = loop.run_in_executor(thread, next, batches, None)
        while (batch := await coming) is not None:
            coming = loop.run_in_executor(thread, next, batches, None)
            yield batch


def _batches(table: Table, cursor: Cursor, rejects: "_Rejects") -> Iterator[_Batch]:
    records = table.records(skip=cursor.records)
    read, rejected = cursor.records, cursor.rejected
    while chunk := list(islice(records, BATCH)):
        rows: list[Row] = []
        for record in chunk:
            try:
                rows.append(_row(table, record))
            except Invalid as wrong:
                rejects.write(record, wrong.message)
        read += len(chunk)
        rejected += len(chunk) - len(rows)
        yield _Batch(rows, Cursor(records=read, rejects=rejects.settle(), rejected=rejected))


def _row(table: Table, record: Record) -> Row:
    if record.problem:
        raise Invalid(record.problem)
    return table.columns.row(record.cells)


class _Rejects:
    """The rejects file, written ahead of the database and cut back to what the database knows of when an import is resumed."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._waiting = io.StringIO()
        self._writer = csv.writer(self._waiting)

    def heading(self, header: list[str]) -> None:
        self._writer.writerow(["line", "reason", *_shown(header)])

    def write(self, record: Record, reason: str) -> None:
        self._writer.writerow([record.line, reason, *_shown(record.cells)])

    def settle(self) -> int:
        """Puts what was written safely on the disk; answers the file's size."""
        text = self._waiting.getvalue()
        if text:
            # bytes that were in no encoding come out as they came in
            self._file.write(text.encode("utf-8", "surrogateescape"))
            self._file.flush()
            os.fsync(self._file.fileno())
            self._waiting.seek(0)
            self._waiting.truncate()
        return self._file.tell()


@contextmanager
def _rejects(path: Path, header: list[str], size: int) -> Generator[_Rejects]:
    """The file at `size` bytes, ours alone while we write: the kernel lets go of the lock of a killed process at once."""
    with path.open("r+b" if path.exists() else "w+b") as file:
        if not _lock(file):
            raise Conflict("Another process is at this import.")
        file.truncate(size)
        file.seek(size)
        rejects = _Rejects(file)
        if size == 0:
            rejects.heading(header)
            rejects.settle()
        yield rejects


def _lock(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _shown(cells: list[str]) -> list[str]:
    return [contacts.neutral(cell[:CELL]) for cell in cells]
