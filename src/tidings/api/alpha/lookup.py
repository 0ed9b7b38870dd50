"""Looking communications up through alpha: one or several by their ids, and everything that waits for its time."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec

from tidings.api.alpha import records
from tidings.api.alpha.records import Record
from tidings.api.wire import IDEMPOTENCY_KEY, Call, Parameter, Reply, Route, ok
from tidings.database import Tx
from tidings.domain import communications
from tidings.errors import NotFound

AT_ONCE = 200
"""Records that are read and written out together in an answer of any length."""


async def find(call: Call) -> Reply:
    """One record by its opaque id."""
    return ok(await shown(call, identity(call)))


async def find_several(call: Call) -> Reply:
    """The records of `ids`, in that order. What is unknown is skipped, none asked for is none found."""
    return ok(await shown_all(call, identities(call)))


async def scheduled(call: Call) -> Reply:
    """Everything that waits for its time, soonest first, streamed."""
    return Reply(200, array(_scheduled(call)), {"content-type": "application/json"})


async def shown(call: Call, communication_id: int) -> Record:
    """The record of one communication of the caller's. Raises NotFound."""
    return await call.db.read(told, call, communication_id)


def told(tx: Tx, call: Call, communication_id: int) -> Record:
    """The same within a transaction, for the answer to what was done in it."""
    found = records.gather(tx, call.tenant_id, [communication_id])
    if not found:
        raise NotFound
    entry = found[0]
    if IDEMPOTENCY_KEY in call.headers:
        # not committed yet: were this undone, its content's id might go to another, and a composer keeps what it made of an id
        entry = msgspec.structs.replace(entry, content=msgspec.structs.replace(entry.content, id=0))
    return records.record(call.house, entry)


async def shown_all(call: Call, ids: Sequence[int]) -> list[Record]:
    """The records of those that are the caller's, in the order of the ids."""
    found: list[Record] = []
    for start in range(0, len(ids), AT_ONCE):
        gathered = await call.db.read(records.gather, call.tenant_id, ids[start : start + AT_ONCE])
        found += [records.record(call.house, entry) for entry in gathered]
    return found


def identity(call: Call) -> int:
    """The communication that the path names. Raises NotFound for another tenant's, and for every other spelling."""
    found = _parsed(call, call.path["id"])
    if found is None:
        raise NotFound
    return found


def identities(call: Call) -> list[int]:
    """The communications that `ids` names (repeated, or comma-separated when given once), each once; what names none is skipped."""
    given = call.queries("ids")
    words = given[0].split(",") if len(given) == 1 else given
    return list(dict.fromkeys(found for word in words if (found := _parsed(call, word.strip())) is not None))


def _parsed(call: Call, text: str) -> int | None:
    parsed = call.house.signer.parse_communication(text)
    return parsed[1] if parsed is not None and parsed[0] == call.tenant_id else None


async def _scheduled(call: Call) -> AsyncIterator[list[Record]]:
    after = (-1, 0)
    while step := await call.db.read(communications.scheduled, call.tenant_id, after=after, limit=AT_ONCE):
        after = step[-1]
        found = await shown_all(call, [communication_id for _, communication_id in step])
        # what is claimed or canceled between the two looks is scheduled no more
        yield [record for record in found if record.status == "SCHEDULED"]


async def array(batches: AsyncIterator[Sequence[msgspec.Struct]]) -> AsyncIterator[bytes]:
    """A JSON array as long as it takes; only one batch of it is in memory."""
    opening = b"["
    async for batch in batches:
        for record in batch:
            yield opening + msgspec.json.encode(record)
            opening = b","
    yield b"[]" if opening == b"[" else b"]"


_IDS = (Parameter("ids", "string", "ids of communications: repeated, or comma-separated", repeated=True),)
_RECORDS: Any = list[Record]

ROUTES: list[Route] = [
    Route("GET", "/api/v1/communications/find/{id}", find, "communications:read", "One communication by its id", gives=Record),
    Route(
        "GET", "/api/v1/communications/find", find_several, "communications:read", "Communications by their ids", gives=_RECORDS, query=_IDS
    ),
    Route(
        "GET",
        "/api/v1/communications/find-list",
        find_several,
        "communications:read",
        "Communications by their ids",
        gives=_RECORDS,
        query=_IDS,
    ),
    Route("GET", "/api/v1/communications/scheduled", scheduled, "communications:read", "What waits for its time", gives=_RECORDS),
]
