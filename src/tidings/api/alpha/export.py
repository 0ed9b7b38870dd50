"""alpha's records as CSV: a page of them as one JSON string, or every match as a file, streamed."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import msgspec

from tidings.analytics import search as searching
from tidings.analytics.query import Query
from tidings.analytics.query import query as asked_for
from tidings.api.alpha import records, search
from tidings.api.alpha.portions import portions
from tidings.api.alpha.records import Gathered, Record
from tidings.api.wire import Call, House, Parameter, Reply, Route
from tidings.message import sheet

HEADER: Final = Record.__struct_encode_fields__
"""The record's 37 keys, in the contract's order."""
RECORDS_AT_ONCE = 200
"""Records that are in memory together, where their texts are small."""
IDS_AT_ONCE = 5000
"""Ids that are looked for together: going on costs anew each time."""
_HEADERS = {
    "content-type": "text/csv; charset=utf-8",
    "content-disposition": 'attachment; filename="communications.csv"',
    "vary": "Accept",
}


async def csv_export(call: Call) -> Reply:
    """A page as one JSON string; where `Accept` prefers text/csv, a file instead: without `size` of everything that is found."""
    query = search.asked(call)
    number, size = search.paged(call)
    if not prefers_csv(call.headers.get("accept", "")):
        return Reply(200, (await _page(call, query, number, size)).decode(), {"vary": "Accept"})
    if (call.query("size") or "").strip():
        return Reply(200, await _page(call, query, number, size), _HEADERS)
    return Reply(200, _file(call, query), _HEADERS)


def prefers_csv(accept: str) -> bool:
    """Whether an `Accept` header names text/csv, and JSON not before it (RFC 9110, section 12.5.1)."""
    named: dict[str, float] = {}
    for entry in accept.lower().split(","):
        kind, *parameters = (part.strip() for part in entry.split(";"))
        weights = [value.strip() for name, _, value in (part.partition("=") for part in parameters) if name.strip() == "q"]
        named[kind] = float(weights[0]) if weights and _WEIGHT.fullmatch(weights[0]) else 0.0 if weights else 1.0
    csv = named.get("text/csv", 0.0)
    return csv > 0 and csv >= named.get("application/json", 0.0)


_WEIGHT = re.compile(r"[01](\.[0-9]{0,3})?")


async def _page(call: Call, query: Query, number: int, size: int) -> bytes:
    found = await call.db.read(searching.page, call.tenant_id, query, offset=min(number * size, search.FURTHEST), limit=size)
    _, text = await lines(call.house, call.tenant_id, found.rows)
    return header() + text


async def _file(call: Call, query: Query) -> AsyncIterator[bytes]:
    # read before anything goes out: what the database refuses gets an error's answer
    begun = False
    async for _, text in batches(call.house, call.tenant_id, query):
        yield text if begun else header() + text
        begun = True
    if not begun:
        yield header()


def query_of(house: House, tenant_id: int, entries: Sequence[str], filters: Sequence[str], sort: Sequence[str]) -> Query:
    """What a search in alpha's words asks for, outside of a request. Raises Invalid naming what is wrong."""
    reader = search.reader_of(house, tenant_id)
    return asked_for(
        [reader.entry(text) for text in entries],
        [reader.condition(text) for text in filters],
        [reader.order(part) for text in sort for part in text.split(",") if part.strip()],
    )


def header() -> bytes:
    """The first line."""
    return sheet.line(HEADER).encode()


async def batches(house: House, tenant_id: int, query: Query) -> AsyncIterator[tuple[int, bytes]]:
    """Every record that the query finds, in its order: how many there are in a batch, and their lines (UTF-8)."""
    ids, behind = await house.db.read(searching.after, tenant_id, query, limit=IDS_AT_ONCE)
    while ids:
        for start in range(0, len(ids), RECORDS_AT_ONCE):
            for portion in await portions(house.db, tenant_id, ids[start : start + RECORDS_AT_ONCE]):
                yield await lines(house, tenant_id, portion)
        if behind is None:
            return
        ids, behind = await house.db.read(searching.after, tenant_id, query, after=behind, limit=IDS_AT_ONCE)


async def lines(house: House, tenant_id: int, ids: Sequence[int]) -> tuple[int, bytes]:
    """The lines of those that are the tenant's and still there, in the order of the ids; how many they are comes first."""
    gathered = await house.db.read(records.gather, tenant_id, ids)
    # bodies are rendered for this, which other requests should not wait for
    return len(gathered), await asyncio.to_thread(_written, house, gathered)


def _written(house: House, gathered: Sequence[Gathered]) -> bytes:
    return "".join([sheet.line(cells(records.record(house, entry))) for entry in gathered]).encode()


def cells(record: Record) -> list[str]:
    """A record's values as cells: lists of addresses joined by `; `, what has parts of its own as JSON, nothing as an empty cell."""
    return [_cell(getattr(record, name)) for name in Record.__struct_fields__]


def _cell(value: Any) -> str:
    match value:
        case str():
            return sheet.neutral(value)
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case None | []:
            return ""
        case [str(), *_]:
            return sheet.neutral("; ".join(value))
        case _:
            # `{}` as a pattern would take every mapping
            return msgspec.json.encode(value).decode() if value else ""


_TEXT: Any = str

ROUTES: list[Route] = [
    Route(
        "GET",
        "/api/v1/communications/csv-export",
        csv_export,
        "communications:read",
        "Communications as CSV",
        gives=_TEXT,
        media=("application/json", "text/csv"),
        query=(
            *search.SEARCH,
            Parameter("page", "integer", "counted from 0"),
            Parameter("size", "integer", "1 to 100, 20 unless given; a file has everything unless given"),
            search.SORT,
        ),
    )
]
