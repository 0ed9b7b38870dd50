"""SMTP connections: how many, how long, how they end, and why there is none."""

import asyncio
import socket

import pytest

from tests.providers.conformance import Reports
from tests.providers.mails import mail
from tests.providers.scripted import EXTENSIONS, Peer, converse, scripted, serving
from tests.providers.smtp_client import client, kinds, one, send
from tidings.providers.smtp import Smtp, SmtpSettings


async def test_a_connection_is_kept_between_sends_and_left_with_quit():
    async with scripted() as server:
        async with client(one(server)) as provider:
            await provider.send([mail(1)], Reports())
            await provider.send([mail(2)], Reports())
        assert len(server.peers) == 1
        assert server.peers[0].heard[-1] == "QUIT"


async def test_a_connection_that_idled_too_long_is_left_with_quit():
    left = asyncio.Event()

    async def talk(peer: Peer) -> None:
        await peer.greet()
        await converse(peer)
        left.set()

    async with scripted(talk) as server, client(one(server, "&idle=0.1")) as provider, asyncio.timeout(5):
        await provider.send([mail(1)], Reports())
        await left.wait()
        reports = Reports()
        await provider.send([mail(2)], reports)
    assert reports.kinds == {"accepted": 1}
    assert server.peers[0].heard[-1] == "QUIT"
    assert len(server.peers) == 2


async def test_a_connection_carries_no_more_messages_than_allowed():
    async with scripted() as server:
        outcomes = await send(one(server, "&messages=3"), *[mail(number) for number in range(1, 9)])
    assert kinds(outcomes) == ["accepted"] * 8
    assert [sum(command.startswith("MAIL") for command in peer.heard) for peer in server.peers] == [3, 3, 2]
    assert all(peer.heard[-1] == "QUIT" for peer in server.peers)


async def test_a_kept_connection_the_server_gave_up_costs_no_attempt():
    """The server ends it in the moment it is used again, over and over; each time the message goes elsewhere."""

    async def once(peer: Peer) -> None:
        await peer.greet()
        await peer.hear("MAIL", "RCPT", "DATA")
        peer.say("250 ok", "250 ok", "354 go")
        await peer.content()
        peer.say("250 Ok: queued as A1")
        quitting = await peer.line() == "QUIT"
        peer.say("221 bye" if quitting else "421 4.4.2 idle for too long")

    async with scripted(once) as server, client(one(server)) as provider:
        for number in range(1, 6):
            reports = Reports()
            await provider.send([mail(number)], reports)
            assert reports.kinds == {"accepted": 1}
    assert len(server.peers) == 5


@pytest.mark.parametrize(("count", "most"), [(1, 1), (2, 2), (500, 4)])
async def test_no_more_connections_are_opened_than_allowed_or_worth_it(count: int, most: int):
    async with scripted() as server:
        await send(f"{server.url}&connections=4", *[mail(number) for number in range(1, count + 1)])
        assert len(server.peers) <= most


# Before the first message


async def test_wrong_credentials_are_tried_once_and_the_sentence_says_what_is_wrong():
    def rule(command: str) -> str | None:
        return "535 5.7.8 bad credentials" if command.startswith("AUTH") else None

    async with scripted(serving(rule, (*EXTENSIONS, "AUTH PLAIN"))) as server:
        outcomes = await send(server.url.replace("//", "//us:hunter2@"), *[mail(number) for number in range(1, 101)])
    assert kinds(outcomes) == ["paused"] * 100
    expected = f"127.0.0.1:{server.port} does not accept the user name and password of us: 535 5.7.8 bad credentials"
    assert outcomes[1].reason == expected
    assert len(server.peers) == 1


async def test_a_refused_connection_is_named():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    outcomes = await send(f"smtp://127.0.0.1:{port}", mail(1), mail(2))
    assert kinds(outcomes) == ["paused"] * 2
    assert outcomes[1].reason.startswith(f"cannot connect to 127.0.0.1:{port}: ")
    assert "refused" in outcomes[1].reason.lower()


async def test_a_host_that_does_not_exist_is_named():
    outcomes = await send("smtp://nowhere.invalid?tls=none", mail(1))
    assert kinds(outcomes) == ["paused"]
    assert "nowhere.invalid" in outcomes[1].reason


async def test_a_server_that_says_nothing_is_named():
    async def talk(peer: Peer) -> None:
        await peer.nothing_more()

    async with scripted(talk) as server:
        outcomes = await send(f"{server.url}&timeout=0.2", mail(1))
    assert kinds(outcomes) == ["paused"]
    assert outcomes[1].reason == f"cannot connect to 127.0.0.1:{server.port}: no answer within 0.2 s"


async def test_a_password_is_not_sent_to_a_server_without_tls_when_tls_is_insisted_on():
    async with scripted(serving(extensions=(*EXTENSIONS, "AUTH PLAIN"))) as server:
        outcomes = await send(f"smtp://us:hunter2@127.0.0.1:{server.port}?tls=starttls", mail(1))
    assert kinds(outcomes) == ["paused"]
    assert "offers no STARTTLS" in outcomes[1].reason
    assert not any(command.startswith("AUTH") for peer in server.peers for command in peer.heard)


async def test_a_server_without_log_in_is_named():
    async with scripted() as server:
        outcomes = await send(server.url.replace("//", "//us:hunter2@"), mail(1))
    assert kinds(outcomes) == ["paused"]
    assert "offers no way to log in" in outcomes[1].reason


async def test_a_cancelled_send_leaves_another_batchs_message_alone():
    async with scripted() as server, client(one(server)) as provider, asyncio.timeout(10):
        server.gate.clear()
        kept, dropped = Reports(), Reports()
        first = asyncio.create_task(provider.send([mail(1), mail(2)], kept))
        second = asyncio.create_task(provider.send([mail(11), mail(12)], dropped))
        await server.at_the_gate.wait()
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        server.gate.set()
        await first
    assert kept.kinds == {"accepted": 2}
    assert dropped.kinds == {"untried": 2}
    assert len(server.taken) == 2


async def test_closing_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch):
    """What had left is unknown; what had only shown its envelope, and what waited, was not tried."""
    monkeypatch.setattr("tidings.providers.smtp._GOODBYE", 0.1)
    async with scripted() as server, asyncio.timeout(10):
        provider = Smtp(SmtpSettings.from_url(one(server)))
        server.gate.clear()
        reports = Reports()
        sending = asyncio.create_task(provider.send([mail(number) for number in range(1, 21)], reports))
        await server.at_the_gate.wait()
        await asyncio.gather(sending, provider.close())
    assert kinds(reports.outcomes) == ["unknown"] + ["paused"] * 19


async def test_closing_hands_back_what_waits_and_ends_what_is_under_way():
    async with scripted() as server, client(one(server)) as provider, asyncio.timeout(10):
        server.gate.clear()
        reports = Reports()
        sending = asyncio.create_task(provider.send([mail(number) for number in range(1, 21)], reports))
        await server.at_the_gate.wait()
        closing = asyncio.create_task(provider.close())
        server.gate.set()
        await asyncio.gather(sending, closing)
    assert set(reports.kinds) == {"accepted", "paused"}
    assert reports.kinds["accepted"] == len(server.taken)
    assert reports.kinds.total() == 20
