"""Jobs over HTTP: how far long work has come, and which rows of an import were refused."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from tidings import ids
from tidings.api.wire import PAGED, Call, Parameter, Reply, Route, instant, instant_or_none, listing, ok
from tidings.domain import contacts, jobs
from tidings.domain.contacts import Cursor
from tidings.domain.jobs import Job
from tidings.errors import NotFound

CHUNK = 256 * 1024


class ImportedAnswer(msgspec.Struct):
    """What became of an import's rows: contacts made, contacts that were there before (or earlier in the file)."""

    created: int
    updated: int


class JobAnswer(msgspec.Struct):
    """Long work. `state` is waiting, running, done or failed (`error` says why); `total` is 0 while it is not known.

    `done` and `rejected` count up to `total`: rows of an import stored and refused, contacts enrolled and passed over, members of a
    list written to and passed over, messages sent again (and contacts enrolled) and left alone.
    """

    id: str
    kind: str
    state: str
    done: int
    total: int
    rejected: int
    error: str | None
    imported: ImportedAnswer | None
    created_at: str
    updated_at: str
    finished_at: str | None


async def index(call: Call) -> Reply:
    """Newest first."""
    page, limit = call.page_limit()
    found = await call.db.read(jobs.page, call.tenant_id, limit=limit, page=page, kind=call.query("kind"))
    return listing("jobs", [shown(job) for job in found.rows], page, limit, found.total)


async def show(call: Call) -> Reply:
    """One job, to be asked again while it is waiting or running."""
    return ok(shown(await _found(call)))


async def rejects(call: Call) -> Reply:
    """The refused rows of an import as CSV: line, reason, and the cells as they were; as far as the import has come."""
    job = await _found(call)
    if job.kind != contacts.KIND:
        raise NotFound("This job is not an import")
    size = msgspec.json.decode(job.cursor, type=Cursor).rejects if job.cursor else 0
    path = contacts.rejects_file(call.house.data_folder, job.id)
    if size and not await asyncio.to_thread(path.is_file):
        raise NotFound("The rejects are on the machine that did the import")
    name = f"{ids.spell('job', job.id)}.rejects.csv"
    headers = {"content-type": "text/csv; charset=utf-8", "content-disposition": f'attachment; filename="{name}"'}
    return Reply(200, _read(path, size) if size else b"line,reason\r\n", headers)


def shown(job: Job) -> JobAnswer:
    """The job as this API writes it."""
    imported = None
    if job.kind == contacts.KIND:
        cursor = msgspec.json.decode(job.cursor, type=Cursor) if job.cursor else Cursor()
        imported = ImportedAnswer(cursor.created, cursor.updated)
    return JobAnswer(
        id=ids.spell("job", job.id),
        kind=job.kind,
        state=job.state,
        done=job.done,
        total=job.total,
        rejected=job.rejected,
        error=job.error,
        imported=imported,
        created_at=instant(job.created_at),
        updated_at=instant(job.updated_at),
        finished_at=instant_or_none(job.finished_at),
    )


async def _found(call: Call) -> Job:
    identity = ids.parse("job", call.path["id"])
    job = None if identity is None else await call.db.read(jobs.get, call.tenant_id, identity)
    if job is None:
        raise NotFound("Job not found")
    return job


async def _read(path: Path, size: int) -> AsyncIterator[bytes]:
    """The file's first `size` bytes: an import under way writes ahead of what it has settled."""
    file = await asyncio.to_thread(path.open, "rb")
    with file:
        while size > 0 and (chunk := await asyncio.to_thread(file.read, min(CHUNK, size))):
            size -= len(chunk)
            yield chunk


ROUTES: list[Route] = [
    Route(
        "GET",
        "/api/v1/jobs",
        index,
        "contacts:read",
        "List jobs",
        gives=JobAnswer,
        lists="jobs",
        query=(Parameter("kind", words=("import", "enroll", "mailing", "rest")), *PAGED),
    ),
    Route("GET", "/api/v1/jobs/{id}", show, "", "One job", gives=JobAnswer),
    Route("GET", "/api/v1/jobs/{id}/rejects", rejects, "contacts:read", "What an import refused, as CSV", media=("text/csv",)),
]
