"""IMAP servers that are not as one would wish: scripted answers, for what no well-kept server does on demand."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tidings.errors import NotFound, Unauthorized, Unavailable
from tidings.inbound import imap
from tidings.inbound.imap import connected
from tidings.inbound.sources import Mailbox

GREETING = b"* OK hello\r\n"
USUAL: dict[bytes, bytes] = {
    b"CAPABILITY": b"* CAPABILITY IMAP4rev1\r\nT OK\r\n",
    b"LOGIN": b"T OK\r\n",
    b"DONE": b"T OK idled\r\n",
    b"LOGOUT": b"* BYE\r\nT OK\r\n",
    b"EXAMINE": b"* 2 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 12] x\r\nT OK [READ-ONLY] done\r\n",
}


class Script:
    """A server that answers each command (by its first words) as told; None ends the connection. `heard` is what it was sent."""

    def __init__(self, answers: dict[bytes, bytes | None], greeting: bytes = GREETING) -> None:
        self.answers: dict[bytes, bytes | None] = {**USUAL, **answers}
        self.greeting = greeting
        self.heard: list[bytes] = []
        self.tasks: list[asyncio.Task[None] | None] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tasks.append(asyncio.current_task())
        writer.write(self.greeting)
        tag = b""
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                self.heard.append(line.rstrip())
                if line != b"DONE\r\n":
                    tag, _, command = line.rstrip().partition(b" ")
                else:  # what ends IDLE has no tag of its own
                    command = b"DONE"
                key = max((key for key in self.answers if command.startswith(key)), key=len, default=None)
                answer = b"T BAD unknown\r\n" if key is None else self.answers[key]
                if answer is None:
                    break
                lines = answer.split(b"\r\n")
                writer.write(b"\r\n".join([tag + part[1:] if part.startswith(b"T ") else part for part in lines]))
                await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def scripted(answers: dict[bytes, bytes | None], greeting: bytes = GREETING) -> AsyncIterator[tuple[Script, Mailbox]]:
    script = Script(answers, greeting)
    server = await asyncio.start_server(script, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield script, Mailbox(host="127.0.0.1", port=port, username='a "b"', password="back\\slash", tls="none")
    finally:
        server.close()
        await asyncio.gather(*[task for task in script.tasks if task is not None])


async def does(answers: dict[bytes, bytes | None], talk: Callable[[imap.Imap], Any], greeting: bytes = GREETING) -> Any:
    async with scripted(answers, greeting) as (_, box), connected(box) as client:
        return await talk(client)


async def test_without_sasl_the_password_goes_quoted():
    async with scripted({}) as (script, box), connected(box):
        pass
    assert script.heard[1].endswith(b'LOGIN "a \\"b\\"" "back\\\\slash"')


@pytest.mark.parametrize(
    ("answers", "greeting", "kind", "said"),
    [
        ({}, b"* BYE too busy\r\n", Unavailable, "does not answer as an IMAP server: \\* BYE too busy"),
        ({}, b"220 mx ESMTP\r\n", Unavailable, "does not answer as an IMAP server: 220 mx"),
        ({}, b"", Unavailable, "has fallen silent"),
        ({b"CAPABILITY": b"* CAPABILITY IMAP4rev1 LOGINDISABLED\r\nT OK\r\n"}, GREETING, Unauthorized, "takes no password over this line"),
        ({b"LOGIN": b"T NO [AUTHENTICATIONFAILED] no\r\n"}, GREETING, Unauthorized, "does not take the user name and password"),
        ({b"LOGIN": b"T NO [UNAVAILABLE] later\r\n"}, GREETING, Unavailable, "refuses"),
        ({b"LOGIN": b"* BYE shutting down\r\n"}, GREETING, Unavailable, "ended the connection: BYE shutting down"),
        ({b"LOGIN": None}, GREETING, Unavailable, "broke off the connection"),
        ({b"EXAMINE": b"T NO no such mailbox\r\n"}, GREETING, NotFound, "refuses the folder 'INBOX': NO no such mailbox"),
        ({b"EXAMINE": b"* 2 EXISTS\r\nT OK\r\n"}, GREETING, Unavailable, "keeps no UIDs"),
    ],
)
async def test_what_a_server_refuses_is_said_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, answers: dict[bytes, bytes | None], greeting: bytes, kind: type[Exception], said: str
):
    monkeypatch.setattr(imap, "PATIENCE", 0.5)
    with pytest.raises(kind, match=said):
        await does(answers, lambda client: client.select("INBOX", read_only=True), greeting)


async def test_a_server_that_does_not_tell_the_next_uid_is_asked_for_the_last():
    answers = {b"EXAMINE": b"* OK [UIDVALIDITY 7] x\r\nT OK\r\n", b"UID SEARCH": b"* SEARCH 3 9 4\r\n* SEARCH\r\nT OK\r\n"}
    assert await does(answers, lambda client: client.select("INBOX", read_only=True)) == (7, 10)


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"* 1 FETCH (UID 5 BODY[] {7}\r\nHello\r\n)\r\nT OK\r\n", b"Hello\r\n"),
        (b"* 1 FETCH (BODY[] {7}\r\nHello\r\n UID 5 FLAGS ())\r\nT OK\r\n", b"Hello\r\n"),
        (b"* 9 EXISTS\r\n* 3 FETCH (UID 4 FLAGS ())\r\n* 1 FETCH (uid 5 body[] {2}\r\nHi)\r\nT OK\r\n", b"Hi"),
        (b'* 1 FETCH (UID 5 BODY[] "a \\"b\\" \\\\c")\r\nT OK\r\n', b'a "b" \\c'),
        (b'* 1 FETCH (UID 5 BODY[] "")\r\nT OK\r\n', b""),
        (b"* 1 FETCH (UID 6 BODY[] {1}\r\nx)\r\nT OK\r\n", None),
        (b"T OK nothing there\r\n", None),
    ],
)
async def test_a_mail_is_found_however_the_answer_is_put(answer: bytes, body: bytes | None):
    async def fetch(client: imap.Imap) -> bytes | None:
        found = await client.fetch(5, most=100)
        assert client.arrived == (b"EXISTS" in answer)
        return found

    assert await does({b"UID FETCH": answer}, fetch) == body


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"* 1 FETCH (UID 5 BODY[] {101}\r\n", "101 bytes at once where 100 are the most"),
        (b"* 1 FETCH (UID 5 BODY[] {999999999999999999}\r\n", "are the most that is taken"),
        (b"* 1 FETCH (UID 5 BODY[] {50}\r\nshort", "broke off in the middle of a mail"),
        (b"* 1 FETCH (UID 5 BODY[]", "has fallen silent"),
        (b"T NO [EXPUNGEISSUED] gone\r\n", "refuses: NO"),
    ],
)
async def test_an_answer_that_is_too_large_or_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch, answer: bytes, said: str):
    monkeypatch.setattr(imap, "PATIENCE", 0.5)
    with pytest.raises(Unavailable, match=said):
        await does({b"UID FETCH": answer}, lambda client: client.fetch(5, most=100))


async def test_answers_that_pile_up_without_end_are_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(imap, "_LONGEST_LINE", 4096)
    endless = b"".join(b"* %d FETCH (FLAGS ())\r\n" % number for number in range(1000))
    with pytest.raises(Unavailable, match="does not come to the end"):
        await does({b"UID FETCH": endless}, lambda client: client.fetch(5, most=100))


async def test_idle_ends_with_new_mail_and_not_with_other_talk():
    idle = b"+ idling\r\n* OK still here\r\n* 2 EXPUNGE\r\n* 2 EXISTS\r\n"

    async def wait(client: imap.Imap) -> bool:
        await client.select("INBOX", read_only=True)
        client.arrived = False
        await client.idle(asyncio.Event(), seconds=60)
        return client.arrived

    assert await does({b"IDLE": idle}, wait)


async def test_a_server_that_refuses_to_idle_is_left():
    with pytest.raises(Unavailable, match="offers IDLE and refuses it"):
        await does({b"IDLE": b"T NO not now\r\n"}, lambda client: client.idle(asyncio.Event(), seconds=5))
