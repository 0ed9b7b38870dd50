"""A mail server that does exactly what a test tells it to, written from RFC 5321 and RFC 2920: for the faults real servers do not show on demand."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field

EXTENSIONS = ("PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE 10240000", "ENHANCEDSTATUSCODES")


class GoneError(Exception):
    """The client closed the connection."""


@dataclass
class Taken:
    """One message the server said yes to."""

    sender: str
    recipients: list[str]
    content: bytes


@dataclass
class Peer:
    """The server's end of one connection, and everything the client said on it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    server: "ScriptedServer"
    number: int
    heard: list[str] = field(default_factory=list[str])

    def say(self, *lines: str) -> None:
        """Write answers; several at once arrive together."""
        self.writer.write("".join(f"{line}\r\n" for line in lines).encode())

    async def line(self) -> str:
        """The next command, without CRLF."""
        raw = await self.reader.readline()
        if not raw:
            raise GoneError
        assert raw.endswith(b"\r\n"), raw
        command = raw[:-2].decode()
        self.heard.append(command)
        return command

    async def hear(self, *verbs: str) -> None:
        """Read one command for each verb and insist on it."""
        for verb in verbs:
            command = await self.line()
            assert command.startswith(verb), f"{command!r} where {verb} was due"

    async def content(self) -> bytes:
        """Message content up to the end of data, with the stuffing taken out."""
        lines: list[bytes] = []
        while (line := await self.reader.readline()) != b".\r\n":
            if not line:
                raise GoneError
            lines.append(line[1:] if line.startswith(b".") else line)
        return b"".join(lines)

    async def greet(self, extensions: Sequence[str] = EXTENSIONS) -> None:
        """Say hello and answer EHLO."""
        self.say("220 scripted.example ESMTP")
        await self.hear("EHLO")
        offered = ["scripted.example", *extensions]
        self.say(*[f"250-{name}" for name in offered[:-1]], f"250 {offered[-1]}")

    async def nothing_more(self) -> None:
        """Say nothing any more until the client goes; only QUIT gets its answer."""
        with contextlib.suppress(ConnectionError, GoneError):
            while await self.line() != "QUIT":
                pass
            self.say("221 bye")

    def hang_up(self) -> None:
        """End the connection without a word, after what was said."""
        self.writer.close()


Talk = Callable[[Peer], Awaitable[None]]
Rule = Callable[[str], str | None]


def serving(rule: Rule = lambda command: None, extensions: Sequence[str] = EXTENSIONS) -> Talk:
    """A talk that behaves, except that `rule` may name another answer to a command (`.` is the end of data); an answer of 421 hangs up."""

    async def talk(peer: Peer) -> None:
        await peer.greet(extensions)
        await converse(peer, rule)

    return talk


async def converse(peer: Peer, rule: Rule = lambda command: None) -> None:
    """Serve transactions until QUIT, checking the order of commands as RFC 5321 4.1.4 demands."""
    sender: str | None = None
    recipients: list[str] = []
    while True:
        command = await peer.line()
        verb = command.partition(" ")[0]
        address = command.partition("<")[2].partition(">")[0]
        answer = rule(command) or _usual(verb, sender, recipients)
        peer.say(answer)
        if answer.startswith(("421", "221")):
            peer.hang_up()
            return
        if answer.startswith("354"):
            final = await _take(peer, rule, Taken(sender or "", recipients, b""))
            if final.startswith("421"):
                peer.hang_up()
                return
        if answer.startswith("354") or verb == "RSET":
            sender, recipients = None, []
        elif verb == "MAIL" and answer.startswith("250"):
            sender, recipients = address, []
        elif verb == "RCPT" and answer.startswith("25"):
            recipients.append(address)


def _usual(verb: str, sender: str | None, recipients: list[str]) -> str:
    if (verb == "MAIL" and sender is not None) or (verb in ("RCPT", "DATA") and sender is None):
        return "503 5.5.1 out of order"
    if verb == "DATA" and not recipients:
        return "554 5.5.1 no valid recipients"
    return {"QUIT": "221 2.0.0 bye", "DATA": "354 go ahead", "AUTH": "235 2.7.0 welcome"}.get(verb, "250 2.0.0 Ok")


async def _take(peer: Peer, rule: Rule, taken: Taken) -> str:
    taken.content = await peer.content()
    peer.server.at_the_gate.set()
    await peer.server.gate.wait()
    final = rule(".") or f"250 2.0.0 Ok: queued as Q{len(peer.server.taken) + 1}"
    if final.startswith("2") and taken.recipients:
        peer.server.taken.append(taken)
    peer.say(final)
    return final


class ScriptedServer:
    """Talks in turn: the first connection gets the first talk, and so on; the last talk is for all that follow."""

    def __init__(self, talks: Sequence[Talk]) -> None:
        self.talks = talks
        self.peers: list[Peer] = []
        self.taken: list[Taken] = []
        self.errors: list[BaseException] = []
        self.port = 0
        self.at_the_gate = asyncio.Event()
        self.gate = asyncio.Event()  # cleared: contents are read and not answered
        self.gate.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """Its address, with one connection and no TLS unless told otherwise."""
        return f"smtp://127.0.0.1:{self.port}?tls=none"

    async def open(self, port: int = 0) -> None:
        """Start to listen."""
        self._listener = await asyncio.start_server(self._connected, "127.0.0.1", port, limit=1 << 22)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Hang up everywhere and listen no more: from now on connections are refused."""
        assert self._listener is not None
        self._listener.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for peer in self.peers:
            peer.writer.close()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer, self, len(self.peers))
        self.peers.append(peer)
        task = asyncio.create_task(self._talk(peer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _talk(self, peer: Peer) -> None:
        try:
            await self.talks[min(peer.number, len(self.talks) - 1)](peer)
        except (GoneError, ConnectionError):
            pass
        except AssertionError as error:
            self.errors.append(error)
        finally:
            peer.writer.close()


@contextlib.asynccontextmanager
async def scripted(*talks: Talk) -> AsyncGenerator[ScriptedServer]:
    """A scripted server for as long as the block lasts; what it found wrong with the client fails the test."""
    server = ScriptedServer(talks or (serving(),))
    await server.open()
    try:
        yield server
    finally:
        await server.stop()
    if server.errors:
        raise server.errors[0]
