"""Short messages of an SMSC, in parts and again: each text is stored once, whichever worker takes its parts and whichever of them dies."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.support import walk
from tests.support.answering import Post
from tidings.database import Database
from tidings.inbound import pieces
from tidings.message.pieces import Piece, Safe

SOURCE = "smpp:1"
FIRST, SECOND = "a connection", "another one"


class Line:
    """Brings short messages to a tenant's door, as one or another connection does."""

    def __init__(self, house: walk.House, post: Post) -> None:
        self.house, self.post = house, post

    async def take(self, words: str, connection: str = FIRST, **fields: Any) -> Piece:
        plain = {"sender": "+41791230001", "recipient": "+41790000000", "charset": "latin-1", "at": self.house.now}
        piece = Piece(data=words.encode("latin-1"), connection=connection, **plain | fields)
        await pieces.take(self.post.desk, self.house.tenant_id, 1, SOURCE, piece)
        return piece

    async def part(self, sequence: int, total: int, words: str, connection: str = FIRST, **fields: Any) -> Piece:
        return await self.take(words, connection, sequence=sequence, total=total, **{"reference": 7} | fields)

    async def said(self) -> list[str]:
        return [row.text for row in await self.post.inbound()]

    async def kept(self) -> int:
        sql = "SELECT COUNT(*) FROM short_messages WHERE tenant_id = :t"
        return await self.house.db.read(lambda tx: tx.value(sql, t=self.house.tenant_id))


@pytest.fixture
async def line(db: Database, tmp_path: Path) -> Line:
    house = await walk.House(db).settle_in()
    return Line(house, Post(house, tmp_path))


async def test_parts_in_any_order_and_from_any_connection_are_one_text_that_is_stored_once(line: Line):
    for sequence, words, connection in ((3, "c", FIRST), (1, "a", SECOND), (1, "a", FIRST)):
        await line.part(sequence, 3, words, connection)
    assert await line.said() == []
    line.house.later(1000)
    await line.part(2, 3, "b", SECOND)
    await line.part(2, 3, "b", FIRST)
    await line.part(3, 3, "c", FIRST)
    assert await line.said() == ["abc"]
    (row,) = await line.post.inbound()
    assert row.received_at == line.house.now - 1000


async def test_the_last_parts_at_once_are_one_text(line: Line):
    await asyncio.gather(*(line.part(sequence, 6, str(sequence), f"connection {sequence}") for sequence in range(1, 7)))
    assert await line.said() == ["123456"]


async def test_a_reference_that_is_used_again_is_another_text_and_neither_is_lost(line: Line):
    for words in ("a", "b"):
        await line.part(1, 2, words)
    assert await line.said() == ["a[…]"]
    await line.part(2, 2, "c")
    await line.part(1, 2, "d")
    await line.part(2, 2, "e")
    assert await line.said() == ["a[…]", "bc", "de"]
    await line.part(1, 2, "x", reference=8)
    await line.part(1, 2, "y", reference=7, sender="+41791230002")
    assert len(await line.said()) == 3


async def test_a_text_whose_rest_never_comes_is_stored_without_it(line: Line):
    await line.part(2, 3, "b")
    line.house.later(walk.minutes(9))
    await pieces.tidy(line.post.desk)
    assert await line.said() == []
    line.house.later(walk.minutes(2))
    await pieces.tidy(line.post.desk)
    await pieces.tidy(line.post.desk)
    assert await line.said() == ["[…]b[…]"]
    assert await line.kept() == 0


async def test_a_text_that_comes_again_because_a_worker_died_before_it_answered_is_the_same(line: Line):
    await line.take("ok")
    line.house.later(walk.minutes(5))
    await line.take("ok", SECOND)
    assert await line.said() == ["ok"]
    await line.take("ok", SECOND)
    assert await line.said() == ["ok", "ok"], "over the same connection nothing comes again"


async def test_who_writes_the_same_twice_has_written_twice(line: Line):
    piece = await line.take("ok")
    await pieces.forget(line.post.desk, line.house.tenant_id, 1, Safe(FIRST, (piece.name,)))
    assert await line.kept() == 0
    await line.take("ok", SECOND)
    line.house.later(walk.minutes(16))
    await line.take("ok", FIRST)
    assert await line.said() == ["ok"] * 3
    await pieces.forget(line.post.desk, line.house.tenant_id, 1, Safe(SECOND, (piece.name,)))
    assert await line.kept() == 1, "that connection does not speak of what came over another one"


async def test_what_will_not_come_again_is_forgotten(line: Line):
    await line.take("ok")
    await line.part(1, 2, "a")
    await line.part(2, 2, "b")
    line.house.later(walk.minutes(16))
    await pieces.tidy(line.post.desk)
    assert await line.kept() == 0
    assert await line.said() == ["ok", "ab"]


async def test_a_word_in_parts_is_heeded(line: Line):
    await line.part(1, 2, "ST")
    await line.part(2, 2, "OP")
    assert await line.post.suppressed() == [("sms", "+41791230001", "unsubscribed")]
