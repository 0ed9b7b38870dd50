"""An SMSC that does exactly what a test tells it to, packed and read by hand from SMPP 3.4: for the faults real ones do not show on demand."""

import asyncio
import contextlib
import struct
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field

from tidings.message.outgoing import Sms

SENDER = "+4915112345678"


def sms(number: int, text: str = "", *, to: str = "+4915187654321", sender: str = "") -> Sms:
    """A text with that communication id, which it tells."""
    return Sms(tenant_id=1, communication_id=number, to=to, sender=sender, text=text or f"message {number}")


@dataclass(frozen=True)
class Submitted:
    """One submit_sm the SMSC said yes to."""

    source: tuple[int, int, str]
    destination: tuple[int, int, str]
    esm_class: int
    registered: int
    data_coding: int
    data: bytes

    @property
    def to(self) -> str:
        return self.destination[2]


@dataclass
class Session:
    """The SMSC's end of one connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    bound: int = 0
    credentials: tuple[str, str] = ("", "")
    asked: list[int] = field(default_factory=list[int])
    answers: dict[int, asyncio.Future[int]] = field(default_factory=dict[int, asyncio.Future[int]])
    sequence: int = 0

    def say(self, command: int, status: int, sequence: int, body: bytes = b"") -> None:
        self.writer.write(struct.pack(">IIII", 16 + len(body), command, status, sequence) + body)

    def deliver(self, body: bytes) -> asyncio.Future[int]:
        """Sends a deliver_sm; the future is the status of its answer."""
        self.sequence += 1
        future = self.answers[self.sequence] = asyncio.get_running_loop().create_future()
        self.say(0x05, 0, self.sequence, body)
        return future

    async def hear(self) -> tuple[int, int, int, bytes]:
        head = await self.reader.readexactly(16)
        length, command, status, sequence = struct.unpack(">IIII", head)
        return command, status, sequence, await self.reader.readexactly(length - 16)


Rule = Callable[[Submitted], int]


class Smsc:
    """Binds whoever knows the password, takes what `rule` gives status 0, and answers while `gate` is set."""

    def __init__(self) -> None:
        self.password = "secret1"
        self.rule: Rule = lambda submitted: 0
        self.bind_status = 0
        self.on_submit: Callable[[Session, int, Submitted], bool] = lambda session, sequence, submitted: False
        """Told of each submit_sm; True keeps it from being answered."""
        self.taken: list[Submitted] = []
        self.sessions: list[Session] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.at_the_gate = asyncio.Event()
        self.bound = asyncio.Event()
        self.enquired = asyncio.Event()
        self.leaves_at_once = False
        self.port = 0
        self.errors: list[BaseException] = []
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Hangs up everywhere and listens no more."""
        assert self._server is not None
        self._server.close()
        self.bound.clear()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def session(self) -> Session:
        """The latest connection, once it is bound."""
        await asyncio.wait_for(self.bound.wait(), 10)
        return self.sessions[-1]

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(Session(reader, writer)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, session: Session) -> None:
        self.sessions.append(session)
        try:
            while True:
                command, status, sequence, body = await session.hear()
                session.asked.append(command)
                if command & 0x80000000:
                    session.answers.pop(sequence).set_result(status)
                elif not await self._asked(session, command, sequence, body):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except (AssertionError, KeyError, struct.error) as error:
            self.errors.append(error)
        finally:
            session.writer.close()

    async def _asked(self, session: Session, command: int, sequence: int, body: bytes) -> bool:
        match command:
            case 0x01 | 0x02 | 0x09:
                system_id, password = (part.decode() for part in body.split(b"\0")[:2])
                session.credentials = (system_id, password)
                status = self.bind_status or (0 if password == self.password else 0x0E)
                session.say(command | 0x80000000, status, sequence, b"scripted\0")
                session.bound = 0 if status else command
                if not status:
                    self.bound.set()
                return not self.leaves_at_once
            case 0x04:
                assert session.bound in (0x02, 0x09)
                await self._submitted(session, sequence, body)
            case 0x15:
                session.say(0x80000015, 0, sequence)
                self.enquired.set()
            case 0x06:
                session.say(0x80000006, 0, sequence)
                return False
            case _:
                raise AssertionError(f"unexpected command {command:#x}")
        return True

    async def _submitted(self, session: Session, sequence: int, body: bytes) -> None:
        submitted = read_submit(body)
        self.at_the_gate.set()
        await self.gate.wait()
        if self.on_submit(session, sequence, submitted):
            return
        status = self.rule(submitted)
        if not status:
            self.taken.append(submitted)
        session.say(0x80000004, status, sequence, b"" if status else f"{len(self.taken):X}".encode() + b"\0")


def read_submit(body: bytes) -> Submitted:
    """Reads a submit_sm field by field (4.4.1), insisting on every byte."""
    at = 0

    def string() -> str:
        nonlocal at
        end = body.index(b"\0", at)
        found = body[at:end].decode("latin-1")
        at = end + 1
        return found

    def octet() -> int:
        nonlocal at
        at += 1
        return body[at - 1]

    assert string() == ""
    source = (octet(), octet(), string())
    destination = (octet(), octet(), string())
    esm_class, protocol, priority = octet(), octet(), octet()
    assert (protocol, priority, string(), string()) == (0, 0, "", "")
    registered, replace, data_coding, default, length = (octet() for _ in range(5))
    assert (replace, default) == (0, 0)
    assert len(body) == at + length
    return Submitted(source, destination, esm_class, registered, data_coding, body[at:])


def deliver_body(
    data: bytes,
    *,
    source: tuple[int, int, str] = (1, 1, "4915187654321"),
    destination: tuple[int, int, str] = (1, 1, "4915112345678"),
    esm_class: int = 0,
    data_coding: int = 0,
    extras: tuple[tuple[int, bytes], ...] = (),
) -> bytes:
    """The body of a deliver_sm (4.6.1)."""
    numbers = b"".join(bytes((ton, npi)) + digits.encode() + b"\0" for ton, npi, digits in (source, destination))
    head = b"\0" + numbers + bytes((esm_class, 0, 0)) + b"\0\0" + bytes((0, 0, data_coding, 0, len(data)))
    return head + data + b"".join(struct.pack(">HH", tag, len(value)) + value for tag, value in extras)


@contextlib.asynccontextmanager
async def scripted_smsc() -> AsyncGenerator[Smsc]:
    """An SMSC for as long as the block lasts; what it found wrong with us fails the test."""
    smsc = Smsc()
    await smsc.open()
    try:
        yield smsc
    finally:
        smsc.gate.set()
        await smsc.stop()
    assert smsc.errors == []
