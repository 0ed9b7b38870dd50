"""What comes in over SMPP: stored before the SMSC hears that it is safe. That each text is stored once is looked at in tests/inbound/test_pieces.py."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.providers.conformance import Reports
from tests.providers.smsc import SENDER, Smsc, deliver_body, scripted_smsc, sms
from tidings.errors import Unavailable
from tidings.message.heard import Notice
from tidings.message.pieces import Piece, Safe, joined
from tidings.providers.smpp import Smpp
from tidings.providers.smpp.settings import SmppSettings

TEMPORARY = 0x64
NOW = 1_750_000_000_000


class Ear:
    """Keeps what it is told; `known` are the messages it knows of."""

    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self.notices: list[Notice] = []
        self.safe: list[Safe] = []
        self.known: set[str] = set()
        self.away = False
        self.asked, self.reassured = asyncio.Event(), asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, heard: Piece | Notice | Safe) -> bool:
        self.asked.set()
        await self.gate.wait()
        if self.away:
            raise Unavailable("the database is away")
        if isinstance(heard, Piece):
            self.pieces.append(heard)
            return True
        if isinstance(heard, Safe):
            self.safe.append(heard)
            self.reassured.set()
            return True
        if heard.provider_id not in self.known:
            return False
        self.notices.append(heard)
        return True

    @property
    def said(self) -> list[str]:
        """What each of them says."""
        return [joined({1: (piece.charset, piece.data)}, 1) for piece in self.pieces]


class House:
    def __init__(self, smsc: Smsc, ear: Ear, carrier: Smpp) -> None:
        self.smsc, self.ear, self.carrier = smsc, ear, carrier

    async def deliver(self, *bodies: bytes) -> list[int]:
        """Delivers at once and waits for all answers."""
        session = await self.smsc.session()
        return list(await asyncio.wait_for(asyncio.gather(*(session.deliver(body) for body in bodies)), 15))


@asynccontextmanager
async def listening(**options: Any) -> AsyncIterator[House]:
    async with scripted_smsc() as smsc:
        ear = Ear()
        given: dict[str, Any] = {"host": "127.0.0.1", "port": smsc.port, "system_id": "us", "password": "secret1", "sender": SENDER}
        carrier = Smpp(SmppSettings(**(given | options)), lambda: NOW, ear)
        carrier.listen()
        try:
            yield House(smsc, ear, carrier)
        finally:
            await carrier.close()


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with listening() as made:
        yield made


def part(reference: int, total: int, sequence: int, text: str, **options: Any) -> bytes:
    return deliver_body(bytes((5, 0, 3, reference, total, sequence)) + text.encode(), esm_class=0x40, **options)


def receipt(name: str, stat: str = "DELIVRD", **options: Any) -> bytes:
    words = f"id:{name} sub:001 dlvrd:001 submit date:2506181200 done date:2506181201 stat:{stat} err:000 text:hello"
    return deliver_body(words.encode(), esm_class=0x04, **options)


# Texts


async def test_a_text_arrives_although_nothing_is_sent(house: House):
    assert await house.deliver(deliver_body(b"caf\x05")) == [0]
    (piece,) = house.ear.pieces
    assert (piece.sender, piece.recipient, piece.total, piece.at) == ("+4915187654321", SENDER, 1, NOW)
    assert house.ear.said == ["café"]
    assert house.smsc.sessions[0].bound == 0x09


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (deliver_body("жук 🐞".encode("utf-16-be"), data_coding=8), "жук 🐞"),
        (deliver_body(b"caf\xe9", data_coding=3), "café"),
        (deliver_body(b"", extras=((0x0424, b"a payload " * 60),)), "a payload " * 60),
        (deliver_body(b""), ""),
        (deliver_body(b"\x01\x01hello", esm_class=0x40), "hello"),
    ],
    ids=["ucs-2", "latin-1", "payload", "nothing", "odd header"],
)
async def test_every_way_of_writing_a_text_is_read(house: House, body: bytes, said: str):
    assert await house.deliver(body) == [0]
    assert house.ear.said == [said]


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ((1, 1, "4915187654321"), "+4915187654321"),
        ((1, 1, "+4915187654321"), "+4915187654321"),
        ((0, 1, "4915187654321"), "+4915187654321"),
        ((0, 0, "12345"), "12345"),
        ((3, 0, "88022"), "88022"),
        ((2, 1, "015187654321"), "015187654321"),
        ((5, 0, "ACME"), "ACME"),
        ((1, 1, "999"), "999"),
    ],
)
async def test_numbers_are_shown_in_full_where_they_are_of_the_world(house: House, number: tuple[int, int, str], shown: str):
    assert await house.deliver(deliver_body(b"hi", source=number)) == [0]
    (piece,) = house.ear.pieces
    assert piece.sender == shown


async def test_the_smsc_hears_that_a_text_is_safe_only_once_it_is(house: House):
    house.ear.gate.clear()
    session = await house.smsc.session()
    answer = session.deliver(deliver_body(b"hi"))
    await house.ear.asked.wait()
    assert not answer.done()
    house.ear.gate.set()
    assert await answer == 0


async def test_a_text_that_cannot_be_stored_comes_again_and_is_stored_once(house: House):
    house.ear.away = True
    assert await house.deliver(deliver_body(b"hi")) == [TEMPORARY]
    house.ear.away = False
    assert await house.deliver(deliver_body(b"hi")) == [0]
    assert house.ear.said == ["hi"]


async def test_an_answer_that_its_connection_outlived_has_arrived(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tidings.providers.smpp.incoming.REACHED", 0.05)
    assert await house.deliver(deliver_body(b"ok"), part(1, 2, 1, "a")) == [0, 0]
    await asyncio.wait_for(house.ear.reassured.wait(), 10)
    whole = house.ear.pieces[0]
    assert house.ear.safe == [Safe(whole.connection, (whole.name,))], "parts are known again by themselves"


async def test_an_answer_that_may_have_been_lost_is_not_relied_upon():
    async with listening() as house:
        assert await house.deliver(deliver_body(b"ok")) == [0]
        first = await house.smsc.session()
        house.smsc.bound.clear()
        first.writer.close()
        await house.carrier.send([sms(1)], Reports())
        assert await house.deliver(deliver_body(b"ok"), deliver_body(b"fine")) == [0, 0]
    lost, again, fine = house.ear.pieces
    assert lost.name == again.name
    assert lost.connection != again.connection
    assert house.ear.safe == [Safe(again.connection, (again.name, fine.name))], "told when the carrier is closed"


async def test_texts_of_a_person_are_stored_in_their_order(house: House):
    bodies = [deliver_body(str(number).encode()) for number in range(50)]
    assert await house.deliver(*bodies) == [0] * 50
    assert house.ear.said == [str(number) for number in range(50)]


async def test_more_than_can_wait_is_sent_back(house: House):
    house.ear.gate.clear()
    session = await house.smsc.session()
    answers = [session.deliver(deliver_body(b"hi", source=(1, 1, str(4915100000000 + number)))) for number in range(1010)]
    assert await answers[-1] == TEMPORARY
    house.ear.gate.set()
    assert sorted(await asyncio.gather(*answers)) == [0] * 1000 + [TEMPORARY] * 10
    assert len(house.ear.said) == 1000


async def test_a_delivery_that_cannot_be_read_is_refused_and_the_next_one_taken(house: House):
    assert await house.deliver(b"\0\x01\x01no end", deliver_body(b"hi")) == [0x65, 0]
    assert house.ear.said == ["hi"]


async def test_commands_nobody_asked_for_get_a_nack(house: House):
    session = await house.smsc.session()
    answer = session.answers[77] = asyncio.get_running_loop().create_future()
    session.say(0x103, 0, 77, b"data_sm")
    assert await answer == 0x03
    session.say(0x102, 0, 78, b"alert")
    assert await house.deliver(deliver_body(b"hi")) == [0]


async def test_sending_and_listening_share_a_connection(house: House):
    await house.smsc.session()
    reports = Reports()
    await house.carrier.send([sms(1)], reports)
    assert await house.deliver(deliver_body(b"hi")) == [0]
    assert reports.kinds == {"accepted": 1}
    assert len(house.smsc.sessions) == 1


async def test_who_hears_nothing_leaves_what_comes_in_with_the_smsc():
    async with scripted_smsc() as smsc:
        carrier = Smpp(SmppSettings(host="127.0.0.1", port=smsc.port, system_id="us", password="secret1"), lambda: NOW)
        carrier.listen()
        await carrier.send([sms(1)], Reports())
        session = await smsc.session()
        assert session.bound == 0x02
        assert await session.deliver(deliver_body(b"hi")) == TEMPORARY
        await carrier.close()


# Parts


async def test_parts_are_answered_one_by_one_each_when_it_is_safe(house: House):
    house.ear.gate.clear()
    session = await house.smsc.session()
    answers = [session.deliver(part(9, 3, sequence, text)) for sequence, text in ((3, "c"), (1, "a"))]
    await house.ear.asked.wait()
    assert not any(answer.done() for answer in answers)
    house.ear.gate.set()
    assert await asyncio.gather(*answers) == [0, 0]
    assert {(piece.reference, piece.total, piece.sequence, piece.data) for piece in house.ear.pieces} == {(9, 3, 3, b"c"), (9, 3, 1, b"a")}
    assert len({piece.name for piece in house.ear.pieces}) == 1


async def test_a_part_that_cannot_be_stored_is_asked_for_again(house: House):
    house.ear.away = True
    assert await house.deliver(part(9, 2, 1, "a"), part(9, 2, 2, "b")) == [TEMPORARY, TEMPORARY]
    house.ear.away = False
    assert await house.deliver(part(9, 2, 2, "b")) == [0]
    assert house.ear.said == ["b"]


async def test_receipts_nobody_knows_keep_no_text_waiting(house: House):
    session = await house.smsc.session()
    strange = [session.deliver(receipt(f"S{number}")) for number in range(200)]
    assert await house.deliver(deliver_body(b"hi")) == [0]
    assert not any(answer.done() for answer in strange)
    assert set(await asyncio.gather(*strange)) == {TEMPORARY}


async def test_parts_told_of_beside_the_text_are_joined_too(house: House):
    def beside(sequence: int, text: bytes) -> bytes:
        return deliver_body(text, extras=((0x020C, b"\x01\x02"), (0x020E, b"\x02"), (0x020F, bytes((sequence,)))))

    assert await house.deliver(beside(2, b"b"), beside(1, b"a")) == [0, 0]
    assert {(piece.reference, piece.total, piece.sequence) for piece in house.ear.pieces} == {(0x0102, 2, 2), (0x0102, 2, 1)}


async def test_texts_of_several_people_with_the_same_reference_are_not_mixed_up(house: House):
    one, other = {"source": (1, 1, "4915187654321")}, {"source": (1, 1, "4915187654322")}
    assert await house.deliver(part(1, 2, 1, "a", **one), part(1, 2, 2, "x", **other)) == [0] * 2
    assert len({piece.name for piece in house.ear.pieces}) == 2


async def test_what_is_too_long_for_a_part_is_whole(house: House):
    sar = ((0x020C, b"\0\x01"), (0x020E, b"\x02"), (0x020F, b"\x01"))
    assert await house.deliver(deliver_body(b"", extras=((0x0424, b"a" * 300), *sar))) == [0]
    assert [piece.total for piece in house.ear.pieces] == [1]


# Receipts


async def test_a_receipt_is_a_notice(house: House):
    house.ear.known = {"A1", "B2"}
    assert await house.deliver(receipt("A1"), receipt("B2", "UNDELIV")) == [0, 0]
    assert {(notice.provider_id, notice.kind) for notice in house.ear.notices} == {("A1", "delivered"), ("B2", "bounced")}
    assert house.ear.said == []


async def test_a_receipt_that_is_quicker_than_the_settlement_waits_for_it(house: House):
    session = await house.smsc.session()
    answer = session.deliver(receipt("A1"))
    await house.ear.asked.wait()
    house.ear.known.add("A1")
    assert await answer == 0
    assert len(house.ear.notices) == 1


async def test_a_receipt_nobody_knows_yet_is_asked_for_again(house: House):
    assert await house.deliver(receipt("A1")) == [TEMPORARY]
    house.ear.known.add("A1")
    assert await house.deliver(receipt("A1")) == [0]


async def test_a_receipt_nobody_knows_for_a_minute_is_somebody_elses(house: House, monkeypatch: pytest.MonkeyPatch):
    assert await house.deliver(receipt("A1")) == [TEMPORARY]
    monkeypatch.setattr("tidings.providers.smpp.strangers._STRANGE", 0.0)
    assert await house.deliver(receipt("A1")) == [0]


async def test_a_receipt_that_cannot_be_stored_is_asked_for_again(house: House):
    house.ear.away = True
    assert await house.deliver(receipt("A1")) == [TEMPORARY]


@pytest.mark.parametrize(("message_ids", "known"), [("auto", "1A2B"), ("auto", "6699"), ("hex", "1A2B"), ("same", "6699")])
async def test_a_name_is_found_in_whichever_base_it_was_given(message_ids: str, known: str):
    async with listening(message_ids=message_ids) as house:
        house.ear.known = {known}
        assert await house.deliver(receipt("6699")) == [0]
        assert [notice.provider_id for notice in house.ear.notices] == [known]


async def test_a_receipt_without_its_type_is_known_by_the_name_it_carries(house: House):
    house.ear.known = {"A1"}
    assert await house.deliver(deliver_body(b"", extras=((0x001E, b"A1\0"), (0x0427, b"\x02")))) == [0]
    assert [notice.kind for notice in house.ear.notices] == ["delivered"]


async def test_a_word_from_the_way_is_taken_and_changes_nothing(house: House):
    house.ear.known = {"A1"}
    assert await house.deliver(receipt("A1", "ENROUTE"), deliver_body(b"id:A1 stat:DELIVRD", esm_class=0x20)) == [0, 0]
    assert house.ear.notices == []


# Staying connected


async def test_a_lost_connection_is_made_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tidings.providers.smpp._FIRST_BACKOFF", 0.01)
    async with listening() as house:
        first = await house.smsc.session()
        house.smsc.bound.clear()
        first.writer.close()
        assert await house.deliver(deliver_body(b"hi")) == [0]
        assert len(house.smsc.sessions) == 2


async def test_an_smsc_that_is_away_is_tried_until_it_is_there(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tidings.providers.smpp._FIRST_BACKOFF", 0.01)
    async with listening() as house:
        await house.smsc.session()
        await house.smsc.stop()
        await asyncio.sleep(0.05)
        await house.smsc.open(house.smsc.port)
        assert await house.deliver(deliver_body(b"hi")) == [0]


async def test_listening_twice_is_listening_once(house: House):
    house.carrier.listen()
    await house.smsc.session()
    await house.carrier.send([sms(1)], Reports())
    assert len(house.smsc.sessions) == 1
