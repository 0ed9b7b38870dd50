"""Searching through alpha: by words, filters and order (dynamic-search), by any of some words (page), and everything there is (find-all)."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, cast

import msgspec

from tidings import ids
from tidings.analytics import search
from tidings.analytics.query import Condition, Order, Query, Reader, Wanted, query
from tidings.api import bodies
from tidings.api.alpha.lookup import AT_ONCE, array, shown_all
from tidings.api.alpha.portions import portions
from tidings.api.alpha.records import STATUS, Record
from tidings.api.wire import Call, House, Parameter, Reply, Route, ok
from tidings.errors import Invalid

DEFAULT_SIZE, MOST, PAGE_SIZE, PAGE_MOST = 20, 100, 50, 1000
FURTHEST = 2**53
"""No row is behind that one, and the offset stays a number that every client can read."""
IDS_AT_ONCE = 20_000
"""Ids that are looked up together for an answer of any length, of which the records follow AT_ONCE."""
_SEARCHED = ("subject", "body", "recipients")


class Sorting(msgspec.Struct, frozen=True):
    """Spring's `Sort`: whether there is an order."""

    empty: bool
    sorted: bool
    unsorted: bool


class Pageable(msgspec.Struct, frozen=True, rename="camel"):
    """Spring's `Pageable`: what was asked for."""

    offset: int
    page_number: int
    page_size: int
    paged: bool
    sort: Sorting
    unpaged: bool


class Page(msgspec.Struct, frozen=True, rename="camel"):
    """Spring Data's `Page` of records; `number` counts from 0, `size` is what was asked for."""

    content: list[Record]
    empty: bool
    first: bool
    last: bool
    number: int
    number_of_elements: int
    pageable: Pageable
    size: int
    sort: Sorting
    total_elements: int
    total_pages: int


class SortField(msgspec.Struct, frozen=True):
    """An entry of `sort` in a body."""

    field: str
    ascending: bool = True


class Asked(msgspec.Struct, frozen=True):
    """The body of POST /dynamic-search."""

    search: list[str] | None = None
    filters: dict[str, Any] | None = None
    sort: list[SortField] | None = None
    page: int | None = None
    size: int | None = None


async def dynamic_search(call: Call) -> Reply:
    """A page of what the query parameters ask for."""
    return await _page(call, asked(call), *paged(call))


async def posted_search(call: Call) -> Reply:
    """A page of what the body asks for; without a body, of everything."""
    wanted = bodies.convert(bodies.decode(call.body), Asked) if call.body.strip() else Asked()
    reader = reader_of(call.house, call.tenant_id)
    filters = [condition for name, value in (wanted.filters or {}).items() for condition in _conditions(reader, name, value)]
    sort = [reader.ordered(entry.field, descending=not entry.ascending) for entry in wanted.sort or []]
    asked_for = query([reader.entry(text) for text in wanted.search or []], filters, sort)
    return await _found(call, asked_for, wanted.page or 0, DEFAULT_SIZE if wanted.size is None else wanted.size)


async def page(call: Call) -> Reply:
    """A page in the order of one field, of what has any of the words in its subject, its body or its recipients."""
    number, size = _number(call, "pageNumber", 0), _number(call, "pageSize", PAGE_SIZE)
    if number < 0:
        raise Invalid.field("pageNumber", "must not be negative")
    if size < 1:
        raise Invalid.field("pageSize", "must be 1 or more")
    direction = (call.query("direction") or "ASC").upper()
    if direction not in {"ASC", "DESC"}:
        raise Invalid.field("direction", "must be ASC or DESC")
    reader = reader_of(call.house, call.tenant_id)
    order = reader.ordered(call.query("sortBy") or "id", descending=direction == "DESC")
    words = list(dict.fromkeys((call.query("search") or "").split()))
    if len(words) > 10:
        raise Invalid.field("search", "takes at most 10 words")
    entries = tuple(reader.wanted(field, word) for word in words for field in _SEARCHED)
    return await _page(call, Query(entries, (), (order,)), min(number, FURTHEST), min(size, PAGE_MOST))


async def find_all(call: Call) -> Reply:
    """Every record, newest first, streamed."""
    return Reply(200, array(everything(call, Query())), {"content-type": "application/json"})


def asked(call: Call) -> Query:
    """The search, filters and order of a request's query parameters, each repeated, or comma-separated when given once.

    Raises Invalid naming the parameter, the field, the operator or the value that is wrong.
    """
    reader = reader_of(call.house, call.tenant_id)
    search_entries: list[Wanted] = [reader.entry(text) for text in _several(call, "search")]
    filters: list[Condition] = [reader.condition(text) for text in _several(call, "filters")]
    sort: list[Order] = [reader.order(part) for text in call.queries("sort") for part in text.split(",") if part.strip()]
    return query(search_entries, filters, sort)


async def everything(call: Call, wanted: Query) -> AsyncIterator[list[Record]]:
    """All that the query finds, in its order, some records at a time; only their ids are in memory in greater number."""
    after: search.Cursor | None = None
    while True:
        found, after = await call.db.read(search.after, call.tenant_id, wanted, after=after, limit=IDS_AT_ONCE)
        for start in range(0, len(found), AT_ONCE):
            for portion in await portions(call.db, call.tenant_id, found[start : start + AT_ONCE]):
                yield await shown_all(call, portion)
        if after is None:
            return


def within(number: int, size: int) -> tuple[int, int]:
    """The page and the size that a search answers for those asked for: 20 for a size below 1, at most 100, no page before the first."""
    return min(max(number, 0), FURTHEST), DEFAULT_SIZE if size < 1 else min(size, MOST)


def paged(call: Call) -> tuple[int, int]:
    """The page and the size of a request's query parameters, as `within` has them. Raises Invalid."""
    return within(_number(call, "page", 0), _number(call, "size", DEFAULT_SIZE))


async def _found(call: Call, wanted: Query, number: int, size: int) -> Reply:
    number, size = within(number, size)
    return await _page(call, wanted, number, size)


async def _page(call: Call, wanted: Query, number: int, size: int) -> Reply:
    offset = number * size
    found = await call.db.read(search.page, call.tenant_id, wanted, offset=min(offset, FURTHEST), limit=size)
    some = await portions(call.db, call.tenant_id, found.rows)
    if len(some) > 1:
        return Reply(200, _streamed(call, wanted, number, size, found.total, some), {"content-type": "application/json"})
    return ok(_paged(await shown_all(call, some[0]), wanted, number, size, found.total))


async def _streamed(call: Call, wanted: Query, number: int, size: int, total: int, some: Sequence[Sequence[int]]) -> AsyncIterator[bytes]:
    """The same answer, of which only some records are in memory."""
    count = 0
    yield b'{"content":['
    for portion in some:
        for record in await shown_all(call, portion):
            yield (b"," if count else b"") + msgspec.json.encode(record)
            count += 1
    rest = msgspec.json.encode(_paged([], wanted, number, size, total, count))
    yield b"]" + rest.removeprefix(b'{"content":[]')


def _paged(content: list[Record], wanted: Query, number: int, size: int, total: int, count: int | None = None) -> Page:
    """The page with these records; `count` of them where they are written elsewhere."""
    several = len(content) if count is None else count
    pages = -(-total // size)
    sorting = Sorting(empty=not wanted.sort, sorted=bool(wanted.sort), unsorted=not wanted.sort)
    return Page(
        content=content,
        empty=not several,
        first=number == 0,
        last=not number + 1 < pages,
        number=number,
        number_of_elements=several,
        pageable=Pageable(offset=number * size, page_number=number, page_size=size, paged=True, sort=sorting, unpaged=False),
        size=size,
        sort=sorting,
        total_elements=total,
        total_pages=pages,
    )


def reader_of(house: House, tenant_id: int) -> Reader:
    """What alpha's words mean to a tenant."""
    states: dict[str, list[str]] = {}
    for state, word in STATUS.items():
        states.setdefault(word, []).append(state)

    def identity(kind: str, text: str) -> int | None:
        if kind != "communication":
            return ids.parse(kind, text)
        parsed = house.signer.parse_communication(text)
        return parsed[1] if parsed is not None and parsed[0] == tenant_id else None

    return Reader(identity, states)


def _several(call: Call, name: str) -> list[str]:
    """The entries of a parameter. Given once they are apart at the commas that a field's name and a colon follow; other commas are text."""
    given = [text for text in call.queries(name) if text.strip()]
    if len(given) != 1:
        return given
    entries: list[str] = []
    for part in given[0].split(","):
        if ":" in part or not entries:
            entries.append(part)
        else:
            entries[-1] += "," + part
    return entries


def _conditions(reader: Reader, name: str, value: object) -> list[Condition]:
    """What a body's filter on one field says: a scalar is equal, an array any of its entries, an object operators, null not there."""
    if value is None:
        return [reader.compared(name, "exists", ["false"])]
    if isinstance(value, list):
        return [reader.compared(name, "in", _texts(name, cast(Sequence[object], value)))]
    if isinstance(value, dict):
        operators = cast(Mapping[str, object], value)
        return [
            reader.compared(name, operator, _texts(name, cast(Sequence[object], given) if isinstance(given, list) else [given]))
            for operator, given in operators.items()
        ]
    return [reader.compared(name, "eq", _texts(name, [value]))]


def _texts(name: str, values: Sequence[object]) -> list[str]:
    texts: list[str] = []
    for value in values:
        if isinstance(value, bool):
            texts.append("true" if value else "false")
        elif isinstance(value, str | int | float):
            texts.append(str(value))
        else:
            raise Invalid.field("filters", f"must compare {name[:80]!a} with text, numbers, true or false")
    return texts


def _number(call: Call, name: str, default: int) -> int:
    """A whole number of either sign. Raises Invalid."""
    text = call.query(name)
    if text is None or not text.strip():
        return default
    digits = text.strip().removeprefix("-").removeprefix("+")
    if not (digits.isascii() and digits.isdigit()):
        raise Invalid.field(name, f"must be a whole number, not {text[:40]!a}")
    number = int(digits[:4000])
    return -number if text.strip().startswith("-") else number


SEARCH = (
    Parameter("search", "string", "field:words; any entry, all of its words: repeated, or comma-separated when given once", repeated=True),
    Parameter("filters", "string", "field:value or field:operator:value; all of them", repeated=True),
)
"""The parameters of every operation that searches, but for page and size."""
SORT = Parameter("sort", "string", "field:asc or field:desc, comma-separated; newest first unless given")
_PAGED = (
    *SEARCH,
    Parameter("page", "integer", "from 0", default=0, least=0),
    Parameter("size", "integer", default=20, least=1, most=100),
    SORT,
)
_PATH = "/api/v1/communications"
_RECORDS: Any = list[Record]

ROUTES: list[Route] = [
    Route("GET", f"{_PATH}/dynamic-search", dynamic_search, "communications:read", "Search communications", gives=Page, query=_PAGED),
    Route("POST", f"{_PATH}/dynamic-search", posted_search, "communications:read", "Search communications", takes=Asked, gives=Page),
    Route(
        "GET",
        f"{_PATH}/page",
        page,
        "communications:read",
        "Communications page by page",
        gives=Page,
        query=(
            Parameter("pageNumber", "integer", "from 0", default=0, least=0),
            Parameter("pageSize", "integer", default=50, least=1, most=1000),
            Parameter("sortBy", "string", "a field", default="id"),
            Parameter("direction", default="ASC", words=("ASC", "DESC")),
            Parameter("search", "string", "any of these words, in subject, body or recipients"),
        ),
    ),
    Route("GET", f"{_PATH}/find-all", find_all, "communications:read", "Every communication", gives=_RECORDS),
]
