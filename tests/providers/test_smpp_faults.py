"""SMPP against an SMSC that misbehaves: what is told of each message, and that a provider gets over it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.providers.conformance import Reports
from tests.providers.conftest import Certificate
from tests.providers.smsc import SENDER, Session, Smsc, Submitted, scripted_smsc, sms
from tidings.message.outgoing import Sms
from tidings.providers.smpp import Smpp
from tidings.providers.smpp.settings import SmppSettings


@pytest.fixture
async def smsc() -> AsyncIterator[Smsc]:
    async with scripted_smsc() as server:
        yield server


def provider(smsc: Smsc, **options: Any) -> Smpp:
    given: dict[str, Any] = {"host": "127.0.0.1", "port": smsc.port, "system_id": "us", "password": "secret1", "sender": SENDER} | options
    return Smpp(SmppSettings(**given), lambda: 0)


async def sent(carrier: Smpp, *messages: Sms) -> Reports:
    reports = Reports()
    async with asyncio.timeout(20):
        await carrier.send(messages, reports)
    return reports


def once(smsc: Smsc, status: int, number: int) -> None:
    """The submit of that number is answered with `status`, all others are taken."""
    count = 0

    def rule(submitted: Submitted) -> int:
        nonlocal count
        count += 1
        return status if count == number else 0

    smsc.rule = rule


# What goes on the wire


async def test_a_text_is_submitted_as_the_specification_has_it(smsc: Smsc):
    carrier = provider(smsc)
    reports = await sent(carrier, sms(1, "5 € [café]"))
    await carrier.close()
    assert smsc.taken == [Submitted((1, 1, SENDER[1:]), (1, 1, "4915187654321"), 0, 1, 0, b"5 \x1be \x1b<caf\x05\x1b>")]
    assert reports.outcomes[1].provider_id == "1"
    assert smsc.sessions[0].credentials == ("us", "secret1")
    assert smsc.sessions[0].asked[-1] == 0x06


@pytest.mark.parametrize(
    ("sender", "options", "source"),
    [
        ("", {}, (1, 1, SENDER[1:])),
        ("+14155550123", {}, (1, 1, "14155550123")),
        ("", {"sender": "ACME Ltd"}, (5, 0, "ACME Ltd")),
        ("", {"sender": "12345"}, (3, 0, "12345")),
        ("", {"sender": ""}, (0, 0, "")),
        ("", {"sender": "12345", "source_ton": 0, "source_npi": 1}, (0, 1, "12345")),
    ],
)
async def test_the_sender_is_of_the_type_it_looks_like(smsc: Smsc, sender: str, options: dict[str, Any], source: tuple[int, int, str]):
    carrier = provider(smsc, **options)
    await sent(carrier, sms(1, sender=sender))
    await carrier.close()
    assert smsc.taken[0].source == source


async def test_a_long_text_goes_in_parts_and_one_receipt_is_asked_for(smsc: Smsc):
    carrier = provider(smsc)
    reports = await sent(carrier, sms(1, "ж" * 150))
    await carrier.close()
    assert [(part.esm_class, part.data_coding, part.registered, len(part.data)) for part in smsc.taken] == [
        (0x40, 8, 0, 140),
        (0x40, 8, 0, 140),
        (0x40, 8, 1, 38),
    ]
    assert [part.data[:3] + part.data[4:6] for part in smsc.taken] == [bytes((5, 0, 3, 3, index)) for index in (1, 2, 3)]
    assert len({part.data[3] for part in smsc.taken}) == 1
    assert reports.outcomes[1].provider_id == "3"


async def test_texts_after_one_another_have_references_of_their_own(smsc: Smsc):
    carrier = provider(smsc)
    await sent(carrier, sms(1, "a" * 161), sms(2, "b" * 161))
    await carrier.close()
    assert len({part.data[3] for part in smsc.taken}) == 2


async def test_smart_encoding_keeps_a_text_in_the_small_alphabet(smsc: Smsc):
    carrier = provider(smsc, smart_encoding=True)
    await sent(carrier, sms(1, "“so…”"))
    await carrier.close()
    assert (smsc.taken[0].data, smsc.taken[0].data_coding) == (b'"so..."', 0)


async def test_latin1_and_no_receipts_where_the_account_wants_it(smsc: Smsc):
    carrier = provider(smsc, alphabet="latin1", receipts=False)
    await sent(carrier, sms(1, "café"), sms(2, "€"))
    await carrier.close()
    assert [(part.data, part.data_coding, part.registered) for part in smsc.taken] == [(b"caf\xe9", 3, 0), (b"\x20\xac", 8, 0)]


async def test_no_more_submits_are_under_way_than_the_window_has(smsc: Smsc):
    waiting: list[tuple[Session, int]] = []
    most = 0

    def collect(session: Session, sequence: int, submitted: Submitted) -> bool:
        nonlocal most
        waiting.append((session, sequence))
        most = max(most, len(waiting))
        asyncio.get_running_loop().call_later(0.01, lambda: session.say(0x80000004, 0, waiting.pop(0)[1], b"x\0"))
        return True

    smsc.on_submit = collect
    carrier = provider(smsc, window=3)
    reports = await sent(carrier, *(sms(number) for number in range(1, 31)))
    await carrier.close()
    assert reports.kinds == {"accepted": 30}
    assert most == 3


# Answers


async def test_a_crowded_smsc_is_left_in_peace_for_a_moment(smsc: Smsc):
    once(smsc, 0x58, 2)
    carrier = provider(smsc, window=1)
    reports = await sent(carrier, sms(1), sms(2), sms(3))
    await carrier.close()
    assert [reports.outcomes[number].kind for number in (1, 2, 3)] == ["accepted", "deferred", "accepted"]
    assert reports.outcomes[2].retry_after == 1000
    assert "too many at once" in reports.outcomes[2].reason


async def test_a_part_is_tried_again_where_those_before_it_were_taken(smsc: Smsc):
    once(smsc, 0x58, 2)
    carrier = provider(smsc)
    reports = await sent(carrier, sms(1, "a" * 200))
    await carrier.close()
    assert reports.kinds == {"accepted": 1}
    assert [part.data[5] for part in smsc.taken] == [1, 2]


@pytest.mark.parametrize(("status", "kind"), [(0x0B, "refused"), (0x08, "unknown"), (0x0A, "unknown")])
async def test_a_part_that_is_not_taken_after_others_says_so(smsc: Smsc, status: int, kind: str):
    once(smsc, status, 2)
    carrier = provider(smsc)
    reports = await sent(carrier, sms(1, "a" * 400))
    await carrier.close()
    assert reports.outcomes[1].kind == kind
    assert reports.outcomes[1].reason.startswith("part 2 of 3, after those before it were taken: ")
    assert len(smsc.taken) == 1


async def test_a_first_part_that_is_refused_is_the_only_one_sent(smsc: Smsc):
    once(smsc, 0x0B, 1)
    carrier = provider(smsc)
    reports = await sent(carrier, sms(1, "a" * 400))
    await carrier.close()
    assert (reports.outcomes[1].kind, reports.outcomes[1].code) == ("refused", "0x0000000B")
    assert smsc.taken == []


async def test_a_sender_that_is_not_ours_pauses_instead_of_failing_everything(smsc: Smsc):
    smsc.rule = lambda submitted: 0x0A
    carrier = provider(smsc, window=1)
    reports = await sent(carrier, *(sms(number) for number in range(1, 10)))
    await carrier.close()
    assert reports.kinds == {"paused": 9}
    assert smsc.sessions[0].asked.count(0x04) == 1


async def test_a_message_under_a_sender_of_its_own_that_is_not_ours_fails_alone(smsc: Smsc):
    smsc.rule = lambda submitted: 0x0A if submitted.source[2] == "14155550123" else 0
    carrier = provider(smsc, window=1)
    reports = await sent(carrier, sms(1, sender="+14155550123"), sms(2))
    await carrier.close()
    assert [reports.outcomes[number].kind for number in (1, 2)] == ["refused", "accepted"]


async def test_a_generic_nack_is_an_answer(smsc: Smsc):
    def nack(session: Session, sequence: int, submitted: Submitted) -> bool:
        session.say(0x80000000, 0x03, sequence)
        return True

    smsc.on_submit = nack
    carrier = provider(smsc)
    reports = await sent(carrier, sms(1))
    await carrier.close()
    assert reports.kinds == {"refused": 1}


@pytest.mark.parametrize("options", [{}, {"window": 1}])
async def test_an_account_that_allows_no_second_connection_pauses_and_says_so(smsc: Smsc, options: dict[str, Any]):
    smsc.bind_status = 0x05
    carrier = provider(smsc, **options)
    reports = await sent(carrier, sms(1), sms(2))
    await carrier.close()
    assert reports.kinds == {"paused": 2}
    assert "no further connection" in reports.outcomes[1].reason


async def test_nothing_is_sent_of_an_empty_text(smsc: Smsc):
    carrier = provider(smsc)
    reports = await sent(carrier, Sms(tenant_id=1, communication_id=1, to="+4915187654321", sender="", text=""))
    await carrier.close()
    assert reports.kinds == {"refused": 1}


# Connections


def hang_up(session: Session, sequence: int, submitted: Submitted) -> bool:
    session.writer.close()
    return True


async def test_a_connection_lost_before_the_answer_leaves_the_message_unknown_and_the_rest_goes_on(smsc: Smsc):
    def first(session: Session, sequence: int, submitted: Submitted) -> bool:
        return submitted.data == b"message 1" and hang_up(session, sequence, submitted)

    smsc.on_submit = first
    carrier = provider(smsc, window=1)
    reports = await sent(carrier, sms(1), sms(2), sms(3))
    await carrier.close()
    assert [reports.outcomes[number].kind for number in (1, 2, 3)] == ["unknown", "accepted", "accepted"]
    assert "after the message had been submitted" in reports.outcomes[1].reason
    assert len(smsc.sessions) == 2


async def test_an_smsc_that_takes_nothing_and_hangs_up_is_paused_in_the_end(smsc: Smsc):
    smsc.on_submit = hang_up
    carrier = provider(smsc, window=1)
    reports = await sent(carrier, *(sms(number) for number in range(1, 21)))
    await carrier.close()
    assert reports.kinds == {"unknown": 3, "paused": 17}


async def test_an_smsc_that_binds_and_hangs_up_at_once_is_paused(smsc: Smsc):
    smsc.leaves_at_once = True
    carrier = provider(smsc)
    reports = await sent(carrier, *(sms(number) for number in range(1, 101)))
    await carrier.close()
    assert set(reports.kinds) <= {"paused", "unknown"}
    assert reports.kinds["paused"] >= 70
    assert smsc.taken == []


async def test_an_answer_that_does_not_come_leaves_one_message_unknown(smsc: Smsc):
    smsc.on_submit = lambda session, sequence, submitted: submitted.data == b"message 2"
    carrier = provider(smsc, timeout=0.4)
    reports = await sent(carrier, sms(1), sms(2), sms(3))
    again = await sent(carrier, sms(4))
    await carrier.close()
    assert [reports.outcomes[number].kind for number in (1, 2, 3)] == ["accepted", "unknown", "accepted"]
    assert again.kinds == {"accepted": 1}
    assert len(smsc.sessions) == 1


async def test_an_smsc_that_is_silent_to_everything_is_found_out(smsc: Smsc):
    carrier = provider(smsc, timeout=0.3, enquire=0.2)
    await sent(carrier, sms(1))
    session = smsc.sessions[0]
    smsc.gate.clear()
    reports = await sent(carrier, sms(2), sms(3))
    assert reports.kinds == {"unknown": 2}
    smsc.gate.set()
    later = await sent(carrier, sms(4))
    await carrier.close()
    assert later.kinds == {"accepted": 1}
    assert 0x04 in session.asked


async def test_a_silent_line_is_kept_alive(smsc: Smsc):
    carrier = provider(smsc, timeout=0.2, enquire=0.05)
    await sent(carrier, sms(1))
    await asyncio.wait_for(smsc.enquired.wait(), 10)
    assert (await sent(carrier, sms(2))).kinds == {"accepted": 1}
    await carrier.close()
    assert len(smsc.sessions) == 1


@pytest.mark.parametrize(
    "noise",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", bytes(64), b"\xff" * 64, b"\x00\x00\x00\x10"],
    ids=["http", "zeros", "ones", "half a packet"],
)
async def test_noise_ends_the_connection_or_is_waited_out(smsc: Smsc, noise: bytes):
    def shout(session: Session, sequence: int, submitted: Submitted) -> bool:
        session.writer.write(noise)
        return True

    smsc.on_submit = shout
    carrier = provider(smsc, window=1, timeout=0.3)
    reports = await sent(carrier, sms(1))
    smsc.on_submit = lambda session, sequence, submitted: False
    assert reports.kinds == {"unknown": 1}
    for session in smsc.sessions:
        session.writer.close()
    assert (await sent(carrier, sms(2), sms(3))).kinds["accepted"] >= 1
    await carrier.close()


async def test_answers_come_in_pieces_and_in_any_order(smsc: Smsc):
    waiting: list[int] = []

    def collect(session: Session, sequence: int, submitted: Submitted) -> bool:
        waiting.append(sequence)
        if len(waiting) == 5:
            asyncio.get_running_loop().create_task(trickle(session))
        return True

    async def trickle(session: Session) -> None:
        for sequence in reversed(waiting):
            body = f"name{sequence}".encode() + b"\0"
            for octet in (16 + len(body)).to_bytes(4) + 0x80000004.to_bytes(4) + bytes(4) + sequence.to_bytes(4) + body:
                session.writer.write(bytes((octet,)))
                await session.writer.drain()

    smsc.on_submit = collect
    carrier = provider(smsc)
    reports = await sent(carrier, *(sms(number) for number in range(1, 6)))
    await carrier.close()
    assert reports.kinds == {"accepted": 5}
    assert len({outcome.provider_id for outcome in reports.outcomes.values()}) == 5


async def test_an_smsc_that_unbinds_is_bound_again(smsc: Smsc):
    carrier = provider(smsc)
    await sent(carrier, sms(1))
    answer = smsc.sessions[0].answers[9] = asyncio.get_running_loop().create_future()
    smsc.sessions[0].say(0x06, 0, 9)
    assert await answer == 0
    assert (await sent(carrier, sms(2))).kinds == {"accepted": 1}
    await carrier.close()
    assert len(smsc.sessions) == 2


async def test_a_bind_without_an_answer_pauses(smsc: Smsc):
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    carrier = provider(smsc, port=server.sockets[0].getsockname()[1], timeout=0.2)
    reports = await sent(carrier, sms(1))
    await carrier.close()
    server.close()
    assert reports.kinds == {"paused": 1}
    assert "no answer from the SMSC within 0.2 s" in reports.outcomes[1].reason


async def test_closing_waits_for_what_is_under_way(smsc: Smsc):
    smsc.gate.clear()
    carrier = provider(smsc, window=2)
    reports = Reports()
    sending = asyncio.create_task(carrier.send([sms(number) for number in range(1, 6)], reports))
    await smsc.at_the_gate.wait()
    closing = asyncio.create_task(carrier.close())
    await asyncio.sleep(0)
    smsc.gate.set()
    await closing
    await sending
    assert reports.kinds == {"accepted": 2, "paused": 3}
    assert smsc.sessions[0].asked[-1] == 0x06


async def test_cancelling_one_of_those_who_wait_for_a_connection_leaves_it_to_the_others(smsc: Smsc):
    carrier = provider(smsc)
    first = asyncio.create_task(carrier.send([sms(1)], Reports()))
    reports = Reports()
    second = asyncio.create_task(carrier.send([sms(2)], reports))
    await asyncio.sleep(0)
    first.cancel()
    await second
    await carrier.close()
    assert reports.kinds == {"accepted": 1}
    assert len(smsc.sessions) == 1


async def test_tls_is_insisted_on_and_has_to_be_genuine(smsc: Smsc, certificate: Certificate):
    import ssl

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.certificate, certificate.key)
    server = await asyncio.start_server(smsc._connected, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    good = provider(smsc, port=port, tls=True, ca=str(certificate.certificate))
    bad = provider(smsc, port=port, tls=True)
    plain = provider(smsc, tls=True)
    assert (await sent(good, sms(1))).kinds == {"accepted": 1}
    assert "TLS certificate" in (await sent(bad, sms(2))).outcomes[2].reason
    await good.close()
    await bad.close()
    await plain.close()
    server.close()
    assert len(smsc.taken) == 1


async def test_settings_never_show_the_password(smsc: Smsc):
    assert "secret1" not in repr(SmppSettings(host="x", system_id="us", password="secret1"))
