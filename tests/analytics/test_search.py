"""Searching: what SQL answers is what going through the rows in Python would, whatever the texts; and nothing of the index shows."""

import asyncio
import itertools
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tidings.analytics import indexing, search
from tidings.analytics.query import Condition, Order, Query, Wanted
from tidings.database import Database, Tx, open_database
from tidings.database.functions import fold
from tidings.domain import communications, tenants
from tidings.domain.communications import Draft
from tidings.domain.templates import Content
from tidings.message.outgoing import Address

NUMBERS = itertools.count(1)
LETTERS = st.sampled_from("aAbBcC0 %_\\'\"ÄäßéÉЖжΣσς漢🎉{}|:,.-\t")
TEXT = st.text(LETTERS, max_size=24)
NAME = st.text(st.sampled_from("aAbB %_\\'\"ÄäЖж.,"), max_size=8).map(lambda text: " ".join(text.split()))
WORD = st.text(st.sampled_from("aAbB0%_\\'\"ÄäßéЖжΣς漢🎉{}|:,."), min_size=1, max_size=4)


class Row(msgspec.Struct, frozen=True):
    """A communication to be. With `own` it says that instead of what its content says."""

    subject: str
    body: str
    own: tuple[str, str] | None
    name: str
    box: str
    cc: tuple[str, ...]


ROWS = st.lists(
    st.builds(
        Row,
        subject=TEXT,
        body=st.one_of(TEXT, st.just("x" * 5000 + "aäb")),
        own=st.none() | st.tuples(TEXT, TEXT),
        name=NAME,
        box=st.sampled_from(["ann@example.test", "Bob@Example.test", "a_b%c@example.test", "0@b.test"]),
        cc=st.lists(st.sampled_from(["cid@example.test", "aab@example.test"]), max_size=2, unique=True).map(tuple),
    ),
    min_size=1,
    max_size=24,
)
FIELDS = st.sampled_from(["subject", "body", "originalBody", "recipients", "cc"])


@st.composite
def entries(draw: st.DrawFn) -> tuple[Wanted, ...]:
    return tuple(
        Wanted(draw(FIELDS), tuple(dict.fromkeys(fold(word) for word in draw(st.lists(WORD, min_size=1, max_size=3)))))
        for _ in range(draw(st.integers(1, 3)))
    )


def shown(row: Row, field: str) -> str:
    """What a reader of the row sees in the field."""
    match field:
        case "subject":
            return row.own[0] if row.own else row.subject
        case "body" | "originalBody":
            return row.own[1] if row.own else row.body
        case "cc":
            return "\n".join(row.cc)
        case _:
            quoted = row.name.replace("\\", "\\\\").replace('"', '\\"')
            return f'"{quoted}" <{row.box}>' if row.name else row.box


def plainly(rows: Sequence[tuple[int, Row]], query: Query) -> list[int]:
    """The ids that a query finds, by going through the rows; sorted by the subject when the query is, else newest first."""
    found = [
        (identity, row)
        for identity, row in rows
        if not query.search or any(all(word in fold(shown(row, entry.field)) for word in entry.words) for entry in query.search)
    ]
    for condition in query.filters:
        found = [(identity, row) for identity, row in found if str(condition.values[0]) in fold(shown(row, condition.field))]
    if not query.sort:
        return sorted((identity for identity, _ in found), reverse=True)
    ordered = sorted(found, key=lambda pair: (fold(shown(pair[1], "subject")), pair[0]), reverse=query.sort[0].descending)
    return [identity for identity, _ in ordered]


def make(tx: Tx, tenant_id: int, row: Row) -> int:
    content = Content(0, tenant_id, "email", "text", row.subject, row.body, "", row.body, "[]", "[]")
    made = communications.accept(
        tx,
        Draft(
            tenant_id=tenant_id,
            channel="email",
            content=content,
            content_hash=f"{row.subject}\0{row.body}".encode().hex(),
            type="OFFERTE",
            to=(Address(row.box, row.name),),
            cc=tuple(Address(box) for box in row.cc),
        ),
        now=1,
    )
    if row.own:
        communications.keep_wording(tx, tenant_id, made.id, *row.own)
    return made.id


async def everything(db: Database, tenant_id: int, query: Query) -> list[int]:
    found: list[int] = []
    cursor: search.Cursor | None = None
    while True:
        step, cursor = await db.read(search.after, tenant_id, query, after=cursor, limit=5)
        found += step
        if cursor is None:
            return found


@pytest.fixture
def runner(database_url: str):
    """Runs coroutines on one database, one after the other."""
    with asyncio.Runner() as running:
        db = running.run(open_database(database_url))
        yield running, db
        running.run(db.close())


def test_what_is_found_is_what_a_plain_reading_finds(runner: tuple[asyncio.Runner, Database]):
    running, db = runner

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(rows=ROWS, queries=st.lists(entries(), min_size=6, max_size=6), word=WORD, indexed=st.integers(0, 24))
    def check(rows: list[Row], queries: list[tuple[Wanted, ...]], word: str, indexed: int) -> None:
        async def compare() -> None:
            tenant = await db.write(tenants.create, f"t{next(NUMBERS)}", name="", sender_email="a@example.test", now=1)
            made: list[tuple[int, Row]] = []
            for number, row in enumerate(rows):
                if number == indexed:
                    await db.write(indexing.catch_up)
                made.append((await db.write(make, tenant.id, row), row))
            like = Condition("subject", "like", (fold(word),))
            asked = [Query(search=entry) for entry in queries]
            asked += [Query(queries[0], (like,)), Query((), (like,)), Query(queries[1], (), (Order("subject"),))]
            asked += [Query((), (), (Order("subject", descending=True),)), Query()]
            for query in asked:
                expected = plainly(made, query)
                page = await db.read(search.page, tenant.id, query, offset=0, limit=100)
                assert (page.rows, page.total) == (expected, len(expected)), query
                assert await everything(db, tenant.id, query) == expected, query
                rest = await db.read(search.page, tenant.id, query, offset=3, limit=2)
                assert (rest.rows, rest.total) == (expected[3:5], len(expected)), query

        running.run(compare())

    check()


async def test_the_index_follows_what_is_accepted_and_forgets_what_is_deleted(sqlite_url: str):
    db = await open_database(sqlite_url)
    tenant = await db.write(tenants.create, "acme", name="", sender_email="a@example.test", now=1)
    rows = [
        Row(f"number {number}", "text", ("my own", f"words {number}") if number % 2 else None, "", "a@b.test", ()) for number in range(120)
    ]
    made = [await db.write(make, tenant.id, row) for row in rows]
    assert await db.read(indexing.behind)
    while await db.write(indexing.catch_up):
        pass
    assert not await db.read(indexing.behind)
    query = Query((Wanted("body", ("words 7",)),))
    assert (await db.read(search.page, tenant.id, query, offset=0, limit=100)).total == 6
    await db.write(communications.forget_wording, tenant.id, [made[7], made[71]])
    assert (await db.read(search.page, tenant.id, query, offset=0, limit=100)).total == 4
    await db.write(lambda tx: tx.run("INSERT INTO renderings_trigrams (renderings_trigrams) VALUES ('integrity-check')"))
    await db.close()
