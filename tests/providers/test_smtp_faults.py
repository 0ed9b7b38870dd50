"""SMTP when the far end falls silent, talks nonsense or goes: what is known of each message decides its outcome."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.providers.conformance import Reports
from tests.providers.mails import mail
from tests.providers.scripted import EXTENSIONS, Peer, Talk, converse, scripted, serving
from tests.providers.smtp_client import client, kinds, one, send
from tidings.message.outgoing import Outcome


def after(peer_does: Callable[[Peer], Awaitable[None]], extensions: tuple[str, ...] = EXTENSIONS) -> Talk:
    """A talk that greets and then does this."""

    async def talk(peer: Peer) -> None:
        await peer.greet(extensions)
        await peer_does(peer)

    return talk


async def drops_at_mail(peer: Peer) -> None:
    await peer.hear("MAIL")


async def drops_in_the_content(peer: Peer) -> None:
    await peer.hear("MAIL", "RCPT", "DATA")
    peer.say("250 ok", "250 ok", "354 go")
    await peer.content()


async def drops_instead_of_354(peer: Peer) -> None:
    await peer.hear("MAIL", "RCPT", "DATA")
    peer.say("250 ok", "250 ok")


# What was on the wire decides


async def test_one_round_trip_carries_a_content_and_the_next_envelope():
    async def talk(peer: Peer) -> None:
        await peer.hear("MAIL", "RCPT", "DATA")
        peer.say("250 ok", "250 ok", "354 go")
        await peer.content()
        await peer.hear("MAIL", "RCPT", "DATA")  # before the first content was answered
        peer.say("250 Ok: queued as A1", "250 ok", "250 ok", "354 go")
        await peer.content()
        peer.say("250 Ok: queued as A2")
        await peer.nothing_more()

    async with scripted(after(talk)) as server:
        outcomes = await send(one(server), mail(1), mail(2))
    assert [outcomes[number].provider_id for number in (1, 2)] == ["A1", "A2"]


async def test_a_message_whose_content_had_left_is_unknown_when_no_answer_came():
    async with scripted(after(drops_in_the_content)) as server:
        outcomes = await send(one(server), mail(1))
    assert kinds(outcomes) == ["unknown"]
    assert len(server.peers) == 1


@pytest.mark.parametrize("drops", [drops_at_mail, drops_instead_of_354])
async def test_a_message_whose_content_had_not_left_gets_another_connection(drops: Callable[[Peer], Awaitable[None]]):
    async with scripted(after(drops), serving()) as server:
        outcomes = await send(one(server), mail(1))
    assert kinds(outcomes) == ["accepted"]
    assert len(server.taken) == 1


@pytest.mark.parametrize("drops", [drops_at_mail, drops_instead_of_354])
async def test_a_message_that_loses_two_connections_before_its_content_is_deferred(drops: Callable[[Peer], Awaitable[None]]):
    async with scripted(after(drops)) as server:
        outcomes = await send(one(server), mail(1))
    assert kinds(outcomes) == ["deferred"]
    assert len(server.peers) == 2


async def test_of_two_messages_in_one_write_only_the_one_with_content_is_unknown():
    async with scripted(after(drops_in_the_content), serving()) as server:
        outcomes = await send(one(server), mail(1), mail(2))
    assert kinds(outcomes) == ["unknown", "accepted"]
    assert [taken.content for taken in server.taken] == [mail(2).raw]


async def test_a_server_that_takes_no_message_on_any_connection_pauses_the_rest():
    async with scripted(after(drops_at_mail)) as server:
        outcomes = await send(one(server), *[mail(number) for number in range(1, 101)])
    assert set(kinds(outcomes)) <= {"deferred", "paused"}
    assert kinds(outcomes).count("paused") >= 98
    assert len(server.peers) <= 4


async def test_a_large_content_that_did_not_leave_completely_is_no_unknown():
    """The end of data is written only once all before it is with the kernel."""

    async def talk(peer: Peer) -> None:
        await peer.hear("MAIL", "RCPT", "DATA")
        peer.say("250 ok", "250 ok", "354 go")
        await peer.reader.readexactly(100_000)
        peer.writer.transport.abort()

    body = b"x" * 70 + b"\r\n"
    async with scripted(after(talk)) as server:
        outcomes = await send(one(server), mail(1, body=body * 130_000))
    assert kinds(outcomes) == ["deferred"]


async def test_a_large_content_arrives_whole_with_others_around_it():
    body = b".line\r\n" * 300_000
    async with scripted() as server:
        outcomes = await send(one(server), mail(1), mail(2, body=body), mail(3))
    assert kinds(outcomes) == ["accepted"] * 3
    assert [taken.content for taken in server.taken] == [mail(1).raw, mail(2, body=body).raw, mail(3).raw]


# 421


async def test_a_421_for_a_content_defers_it_and_the_next_goes_over_another_connection():
    answers = iter(["421 4.3.2 shutting down"])

    async with scripted(serving(lambda command: next(answers, None) if command == "." else None)) as server:
        outcomes = await send(one(server), mail(1), mail(2), mail(3))
    assert kinds(outcomes) == ["deferred", "accepted", "accepted"]
    assert "421 4.3.2 shutting down" in outcomes[1].reason
    assert len(server.peers) == 2


async def test_a_421_in_the_middle_of_a_pipeline_burns_nobodys_attempt():
    async def talk(peer: Peer) -> None:
        await peer.hear("MAIL", "RCPT", "DATA")
        peer.say("250 ok", "250 ok", "354 go")
        await peer.content()
        peer.say("250 Ok: queued as A1", "421 4.7.0 enough for one connection")
        peer.hang_up()

    async with scripted(after(talk), serving()) as server:
        outcomes = await send(one(server), mail(1), mail(2), mail(3))
    assert kinds(outcomes) == ["accepted"] * 3
    assert outcomes[1].provider_id == "A1"


async def test_a_server_that_limits_connections_is_served_over_those_it_allows():
    async def too_many(peer: Peer) -> None:
        peer.say("421 4.7.0 too many connections from you")
        peer.hang_up()

    async with scripted(serving(), serving(), too_many) as server:
        outcomes = await send(f"{server.url}&connections=6", *[mail(number) for number in range(1, 201)])
    assert kinds(outcomes) == ["accepted"] * 200


async def test_a_server_that_is_full_pauses_for_a_while():
    async def too_many(peer: Peer) -> None:
        peer.say("421 4.7.0 too many connections")
        peer.hang_up()

    async with scripted(too_many) as server:
        outcomes = await send(server.url, mail(1), mail(2))
    assert kinds(outcomes) == ["paused"] * 2
    assert outcomes[1].retry_after
    assert "too many connections" in outcomes[1].reason
    assert len(server.peers) == 1


# Silence and nonsense


async def silent_after_content(peer: Peer) -> None:
    await peer.hear("MAIL", "RCPT", "DATA")
    peer.say("250 ok", "250 ok", "354 go")
    await peer.nothing_more()


async def silent_at_mail(peer: Peer) -> None:
    await peer.nothing_more()


async def test_silence_after_the_content_is_unknown_once_patience_is_over():
    async with scripted(after(silent_after_content)) as server:
        outcomes = await send(one(server, "&data_timeout=0.2"), mail(1))
    assert kinds(outcomes) == ["unknown"]
    assert "within 0.2 s" in outcomes[1].reason


async def test_silence_before_the_content_goes_on_elsewhere_once_patience_is_over():
    async with scripted(after(silent_at_mail), serving()) as server:
        outcomes = await send(one(server, "&timeout=0.3"), mail(1))
    assert kinds(outcomes) == ["accepted"]


async def test_a_stuck_connection_holds_only_its_own_message():
    moment = asyncio.Event()
    reports = Reports()

    async def stuck(peer: Peer) -> None:
        await peer.hear("MAIL", "RCPT", "DATA")
        peer.say("250 ok", "250 ok", "354 go")
        await peer.content()
        await moment.wait()
        peer.say("250 Ok: queued as LATE1")
        await converse(peer)

    def report(communication_id: int, outcome: Outcome) -> None:
        reports(communication_id, outcome)
        if len(reports.outcomes) >= 98:
            moment.set()

    async with scripted(after(stuck), serving()) as server, client(f"{server.url}&connections=3") as provider, asyncio.timeout(10):
        await provider.send([mail(number) for number in range(1, 101)], report)
    assert reports.kinds == {"accepted": 100}


@pytest.mark.parametrize("nonsense", ["what?", "", "abc hello", "250", "\x00\x01", "354 again", "x" * 20_000])
async def test_nonsense_after_the_content_is_unknown(nonsense: str):
    async def talk(peer: Peer) -> None:
        await drops_in_the_content(peer)
        peer.say(nonsense)
        await peer.nothing_more()

    async with scripted(after(talk)) as server:
        outcomes = await send(one(server, "&data_timeout=5"), mail(1))
    assert kinds(outcomes) == (["accepted"] if nonsense == "250" else ["unknown"])


async def test_an_answer_without_an_end_is_not_collected_for_ever():
    async def talk(peer: Peer) -> None:
        await peer.hear("MAIL")
        peer.say(*["250-and another thing"] * 5_000)
        await peer.nothing_more()

    async with scripted(after(talk), serving()) as server:
        outcomes = await send(one(server), mail(1))
    assert kinds(outcomes) == ["accepted"]


async def test_answers_may_arrive_byte_by_byte_and_in_many_lines():
    async def talk(peer: Peer) -> None:
        await peer.hear("MAIL", "RCPT", "DATA")
        for byte in b"250-well\r\n250 ok\r\n250 ok\r\n354 go\r\n":
            peer.writer.write(bytes([byte]))
            await peer.writer.drain()
        await peer.content()
        peer.say("250-2.0.0 thank you", "250 2.0.0 Ok: queued as A1")
        await peer.nothing_more()

    async with scripted(after(talk)) as server:
        outcomes = await send(one(server), mail(1))
    assert outcomes[1] == Outcome("accepted", provider_id="A1")


async def test_something_that_is_no_mail_server_is_named():
    async def talk(peer: Peer) -> None:
        peer.say("HTTP/1.1 400 Bad Request")
        await peer.nothing_more()

    async with scripted(talk) as server:
        outcomes = await send(server.url, mail(1))
    assert kinds(outcomes) == ["paused"]
    assert f"127.0.0.1:{server.port} does not speak SMTP" in outcomes[1].reason
