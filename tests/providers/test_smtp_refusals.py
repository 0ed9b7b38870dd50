"""SMTP when the server says no: to a recipient, a sender, a content, or to us."""

import pytest

from tests.providers.mails import mail
from tests.providers.scripted import EXTENSIONS, scripted, serving
from tests.providers.smtp_client import kinds, one, send
from tidings.message.outgoing import Email

LOCKSTEP = tuple(name for name in EXTENSIONS if name != "PIPELINING")


@pytest.mark.parametrize("extensions", [EXTENSIONS, LOCKSTEP], ids=["pipelining", "lockstep"])
class TestRefusals:
    async def test_a_message_goes_to_those_recipients_that_are_taken(self, extensions: tuple[str, ...]):
        rule = {"RCPT TO:<b@x.example>": "550 5.1.1 unknown", "RCPT TO:<d@x.example>": "450 4.2.1 busy"}.get
        async with scripted(serving(rule, extensions)) as server:
            outcomes = await send(one(server), mail(1, recipients=("a@x.example", "b@x.example", "c@x.example", "d@x.example")), mail(2))
        assert kinds(outcomes) == ["accepted", "accepted"]
        assert outcomes[1].rejected == (("b@x.example", "550 5.1.1 unknown"), ("d@x.example", "450 4.2.1 busy"))
        assert outcomes[1].suppress == (("b@x.example", "bounced"),)
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
        assert outcomes[1].suppress == (("r5@x.example", "bounced"),)
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
