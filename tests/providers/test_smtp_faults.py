"""SMTP when the far end misbehaves: what is known of each message decides its outcome, and every one is reported once."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable

import pytest

from tests.providers.conformance import Reports
from tests.providers.mails import mail
from tests.providers.scripted import EXTENSIONS, Peer, ScriptedServer, Talk, converse, scripted, serving
from tidings.message.outgoing import Email, Outcome
from tidings.providers.smtp import Smtp, SmtpSettings

LOCKSTEP = tuple(name for name in EXTENSIONS if name != "PIPELINING")


@contextlib.asynccontextmanager
async def client(url: str) -> AsyncGenerator[Smtp]:
    provider = Smtp(SmtpSettings.from_url(url))
    try:
        yield provider
    finally:
        await provider.close()


async def send(url: str, *mails: Email) -> dict[int, Outcome]:
    """Send over a provider of its own, for which two seconds are more than enough."""
    reports = Reports()
    async with client(url) as provider, asyncio.timeout(10):
        await provider.send(mails, reports)
    return reports.outcomes


def one(server: ScriptedServer, options: str = "") -> str:
    return f"{server.url}&connections=1{options}"


def kinds(outcomes: dict[int, Outcome]) -> list[str]:
    return [outcome.kind for _, outcome in sorted(outcomes.items())]


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


# Refusals in the transaction


@pytest.mark.parametrize("extensions", [EXTENSIONS, LOCKSTEP], ids=["pipelining", "lockstep"])
class TestRefusals:
    async def test_a_message_goes_to_those_recipients_that_are_taken(self, extensions: tuple[str, ...]):
        rule = {"RCPT TO:<b@x.example>": "550 5.1.1 unknown", "RCPT TO:<d@x.example>": "450 4.2.1 busy"}.get
        async with scripted(serving(rule, extensions)) as server:
            outcomes = await send(one(server), mail(1, recipients=("a@x.example", "b@x.example", "c@x.example", "d@x.example")), mail(2))
        assert kinds(outcomes) == ["accepted", "accepted"]
        assert outcomes[1].rejected == (("b@x.example", "550 5.1.1 unknown"), ("d@x.example", "450 4.2.1 busy"))
        assert [taken.recipients for taken in server.taken] == [["a@x.example", "c@x.example"], ["reader@example.net"]]

    async def test_a_refused_sender_refuses_the_message_and_the_next_goes(self, extensions: tuple[str, ...]):
        def rule(command: str) -> str | None:
            return "553 5.1.8 not you" if command.startswith("MAIL FROM:<bad@") else None

        async with scripted(serving(rule, extensions)) as server:
            outcomes = await send(one(server), mail(1, sender="bad@example.org"), mail(2), mail(3, sender="bad@example.org"), mail(4))
        assert kinds(outcomes) == ["refused", "accepted", "refused", "accepted"]
        assert outcomes[1].code == "5.1.8"

    async def test_a_refused_data_refuses_the_message_and_the_next_goes(self, extensions: tuple[str, ...]):
        answers = iter(["554 5.7.1 policy", "451 4.3.0 queue file write error"])
        async with scripted(serving(lambda command: next(answers, None) if command == "DATA" else None, extensions)) as server:
            outcomes = await send(one(server), mail(1), mail(2), mail(3))
        assert kinds(outcomes) == ["refused", "deferred", "accepted"]
        assert len(server.taken) == 1
        assert len(server.peers) == 1

    async def test_a_refused_content_refuses_the_message_and_the_next_goes(self, extensions: tuple[str, ...]):
        answers = iter(["550 5.7.1 looks like spam", "452 4.3.1 disk full"])
        async with scripted(serving(lambda command: next(answers, None) if command == "." else None, extensions)) as server:
            outcomes = await send(one(server), mail(1), mail(2), mail(3))
        assert kinds(outcomes) == ["refused", "deferred", "accepted"]
        assert (outcomes[1].code, outcomes[2].code) == ("5.7.1", "4.3.1")

    async def test_a_server_that_takes_data_for_nobody_is_given_an_empty_content(self, extensions: tuple[str, ...]):
        def rule(command: str) -> str | None:
            return {"RCPT TO:<gone@x.example>": "550 5.1.1 unknown", "DATA": "354 go"}.get(command)

        async with scripted(serving(rule, extensions)) as server:
            outcomes = await send(one(server), mail(1, recipients=("gone@x.example",)), mail(2))
        assert kinds(outcomes) == ["refused", "accepted"]
        assert [taken.content for taken in server.taken] == [mail(2).raw]

    async def test_recipients_beyond_the_servers_limit_are_served_in_further_transactions(self, extensions: tuple[str, ...]):
        count = 0

        def rule(command: str) -> str | None:
            nonlocal count
            if command.startswith("MAIL"):
                count = 0
            elif command.startswith("RCPT"):
                count += 1
                if command == "RCPT TO:<r5@x.example>":
                    return "550 5.1.1 unknown"
                return "452 4.5.3 too many recipients" if count > 3 else None
            return None

        everybody = tuple(f"r{number}@x.example" for number in range(8))
        async with scripted(serving(rule, extensions)) as server:
            outcomes = await send(one(server), mail(1, recipients=everybody))
        assert kinds(outcomes) == ["accepted"]
        assert outcomes[1].rejected == (("r5@x.example", "550 5.1.1 unknown"),)
        assert outcomes[1].provider_id == "Q1"
        assert [len(taken.recipients) for taken in server.taken] == [3, 3, 1]
        assert {address for taken in server.taken for address in taken.recipients} == set(everybody) - {"r5@x.example"}

    async def test_an_answer_about_us_pauses_everything_that_waits(self, extensions: tuple[str, ...]):
        async with scripted(
            serving(lambda command: "530 5.7.0 authentication required" if command.startswith("MAIL") else None, extensions)
        ) as server:
            outcomes = await send(one(server), *[mail(number) for number in range(1, 51)])
        assert kinds(outcomes) == ["paused"] * 50
        assert "530 5.7.0 authentication required" in outcomes[50].reason
        assert sum(command.startswith("MAIL") for command in server.peers[0].heard) <= 2

    @pytest.mark.parametrize(
        ("email", "code"),
        [
            (mail(1, body="grüß dich\r\n".encode()), "5.6.3"),
            (mail(1, utf8=True), "5.6.7"),
            (mail(1, sender="jörg@example.net"), "5.6.7"),
            (mail(1, body=b"x" * 70 + b"\r\n" * 2_000), "5.3.4"),
            (mail(1, recipients=()), "5.5.4"),
            (mail(1, recipients=("a@x.example>\r\nRCPT TO:<b@x.example",)), "5.1.3"),
            (mail(1, sender="a@x.example> AUTH=<"), "5.1.3"),
        ],
    )
    async def test_what_the_server_cannot_take_is_refused_without_asking_it(self, extensions: tuple[str, ...], email: Email, code: str):
        offered = tuple(name for name in extensions if name == "PIPELINING")
        async with scripted(serving(extensions=(*offered, "SIZE 1000"))) as server:
            outcomes = await send(one(server), email, mail(2))
        assert kinds(outcomes) == ["refused", "accepted"]
        assert outcomes[1].code == code
        assert sum(command.startswith("MAIL") for command in server.peers[0].heard) == 1


async def test_what_the_server_offers_is_used():
    letter = mail(1, recipients=("jörg@example.net",), body="grüß dich\r\n".encode(), utf8=True)
    async with scripted() as server:
        outcomes = await send(one(server), letter)
    assert kinds(outcomes) == ["accepted"]
    assert f"MAIL FROM:<news@example.org> SIZE={len(letter.raw)} BODY=8BITMIME SMTPUTF8" in server.peers[0].heard
    assert "RCPT TO:<jörg@example.net>" in server.peers[0].heard


async def test_no_bare_line_feed_can_end_a_message_early():
    async with scripted() as server:
        outcomes = await send(one(server), mail(1, body=b"one\n.\r\nMAIL FROM:<evil@x.example>\r\n"))
    assert kinds(outcomes) == ["accepted"]
    assert len(server.taken) == 1
    assert server.taken[0].content.endswith(b"MAIL FROM:<evil@x.example>\r\n")


# Connections


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
    assert dropped.outcomes == {}


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
