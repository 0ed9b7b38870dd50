"""The door for a mail server: LMTP (RFC 2033) or SMTP, for addresses that are ours alone. What it answers 250 to is stored.

It stands behind a mail server: no TLS, no log-in, no queue and no judgement of spam are its business.
"""

import asyncio
import contextlib
import logging
import os
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import structlog
from aiosmtpd import lmtp, smtp

from tidings import clock
from tidings.domain import inboxes
from tidings.errors import Invalid, TidingsError, TooLarge, Unavailable
from tidings.inbound import receive
from tidings.inbound.match import addressed
from tidings.inbound.receive import Desk
from tidings.message import address as addresses
from tidings.message.incoming import LARGEST

SESSIONS = 50
"""Connections at a time; more are asked to come back."""
IN_HAND = 8 * LARGEST
"""Bytes of mail being handed in at a time, as far as clients say beforehand how many they bring (RFC 1870)."""
RECIPIENTS = 1000
LONGEST_LINE = 1024 * 1024
"""Bytes; RFC 5321 allows 1,000, and not everybody keeps to it."""
SILENCE = 300
"""Seconds after which a connection without a command is closed (RFC 5321, section 4.5.3.2.7)."""
GRACE = 20.0
"""Seconds that mail in hand is given when we stop."""
AGAIN = 5.0

_LATER = "451 4.3.0 It cannot be stored now; try again later"
_TOO_LARGE = f"552 5.3.4 The message is larger than {LARGEST} bytes"
_FULL = b"421 4.3.2 Too many connections; try again later\r\n"
_OWN_WORDS = {
    "552 Error: message size exceeds fixed maximum message size": _TOO_LARGE,
    "552 Error: Too much mail data": _TOO_LARGE,
    "500 Line too long (see RFC5321 4.5.3.1.6)": f"554 5.6.0 A line of the message is longer than {LONGEST_LINE} bytes",
}
"""What aiosmtpd says, and what we say for it: with an enhanced status code (RFC 3463)."""
_AFTER_DATA = frozenset({"552 Error: Too much mail data", "500 Line too long (see RFC5321 4.5.3.1.6)"})

log = structlog.get_logger("listener")


class Place(NamedTuple):
    """Where to listen: host and port, or the path of a socket in the file system."""

    lmtp: bool
    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"lmtp+unix://{self.path}"
        return f"{'lmtp' if self.lmtp else 'smtp'}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def place(url: str) -> Place:
    """Reads `lmtp://127.0.0.1:8024`, `smtp://0.0.0.0:25` or `lmtp+unix:///path`. Raises Invalid."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Invalid(f"The address to take mail on has no valid host and port: {url!a}") from error
    if parts.scheme == "lmtp+unix" and not parts.netloc and len(parts.path) > 1:
        return Place(lmtp=True, path=unquote(parts.path))
    if parts.scheme not in ("lmtp", "smtp") or not parts.hostname or port is None or parts.path not in ("", "/"):
        raise Invalid(f"The address to take mail on must be lmtp://host:port, smtp://host:port or lmtp+unix:///path, not {url!a}")
    return Place(lmtp=parts.scheme == "lmtp", host=parts.hostname, port=port)


class Listener:
    """Listens at one place. `insists`: a place that is taken is an error; otherwise it is waited for, as one worker of several does."""

    def __init__(self, desk: Desk, where: Place, *, name: str, insists: bool) -> None:
        self._desk, self._where, self._name, self._insists = desk, where, name, insists
        self._sessions: set[_Session] = set()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Begins to listen, where the place has to be free. Raises Unavailable when it is not."""
        if self._insists:
            await self._listen()

    async def run(self, stop: asyncio.Event) -> None:
        """Takes mail until `stop` is set and what is in hand is stored."""
        told = False
        while self._server is None and not stop.is_set():
            try:
                await self._listen()
            except Unavailable as error:
                if not told:
                    log.warning("mail is not taken here", reason=error.message)
                told = True
                await clock.first(AGAIN, stop)
        await stop.wait()
        await self.close()

    async def close(self) -> None:
        """Stops listening, and lets what is in hand come to its end."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        busy = [session.finished for session in self._sessions if session.close_soon()]
        if busy:
            await asyncio.wait([asyncio.ensure_future(event.wait()) for event in busy], timeout=GRACE)
        for session in list(self._sessions):
            session.hang_up()
        if self._where.path:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._where.path)

    async def _listen(self) -> None:
        loop, where = asyncio.get_running_loop(), self._where
        logging.getLogger("mail.log").setLevel(logging.ERROR)  # it would write every command, addresses and all
        try:
            if where.path:
                await _refuse_alive(where)
                self._server = await loop.create_unix_server(self._session, where.path)
                # whoever may enter the folder may hand in mail; mail servers run as users of their own
                os.chmod(where.path, 0o666)  # noqa: S103
            else:
                self._server = await loop.create_server(self._session, where.host, where.port)
        except OSError as error:
            raise Unavailable(f"Mail cannot be taken on {where}: {_reason(error)}.") from error
        log.info("mail is taken", place=str(where))

    def _session(self) -> asyncio.BaseProtocol:
        if len(self._sessions) >= SESSIONS:
            return _Full()
        make = _Lmtp if self._where.lmtp else _Smtp
        return make(_Handler(self._desk), self._sessions, self._name)


class _Full(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(_FULL)
        transport.close()


class _Mail(smtp.Envelope):
    """An envelope that knows whose each of its recipients is."""

    def __init__(self) -> None:
        super().__init__()
        self.tenants: list[int] = []
        self.announced = 0


class _Session(smtp.SMTP):
    """One connection: aiosmtpd's protocol with our limits and words. `finished` is clear while mail is in hand."""

    line_length_limit = LONGEST_LINE
    every_recipient = False

    def __init__(self, handler: "_Handler", sessions: "set[_Session]", name: str) -> None:
        super().__init__(
            handler,
            data_size_limit=LARGEST,
            enable_SMTPUTF8=True,
            hostname=name,
            ident="Tidings",
            timeout=SILENCE,
            loop=asyncio.get_running_loop(),
            auth_exclude_mechanism=("LOGIN", "PLAIN"),
        )
        self._sessions, self._closing = sessions, False
        self.finished = asyncio.Event()
        self.finished.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._sessions.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._sessions.discard(self)
        self.finished.set()
        super().connection_lost(error)

    def in_hand(self) -> int:
        """Bytes that clients have announced, over all connections."""
        return sum(session.envelope.announced for session in self._sessions if isinstance(session.envelope, _Mail))

    def close_soon(self) -> bool:
        """Ends the connection as soon as nothing is in hand; False when that is at once."""
        self._closing = True
        if self.finished.is_set():
            self.hang_up()
            return False
        return True

    def hang_up(self) -> None:
        """Ends the connection when what was written is sent."""
        if self.transport is not None:
            self.transport.close()

    def _create_envelope(self) -> smtp.Envelope:
        return _Mail()

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802 - aiosmtpd's name
        self.finished.clear()
        try:
            # silence is measured from the last command, and a large mail may take its time
            self._reset_timeout(4 * SILENCE)
            await super().smtp_DATA(arg)
        finally:
            self.finished.set()
            if self._closing:
                self.hang_up()

    async def push(self, status: Any) -> None:
        """Says it to the client, in our words where we have some."""
        if status in _OWN_WORDS:
            count = len(self.envelope.rcpt_tos) if self.envelope is not None and self.every_recipient and status in _AFTER_DATA else 1
            status = "\r\n".join([_OWN_WORDS[status]] * count)
        await super().push(status)

    async def handle_exception(self, error: Exception) -> str:
        """A fault of our own: the connection ends, for in the middle of an LMTP transaction nobody knows how many answers are due."""
        log.error("mail could not be taken", exc_info=error)
        asyncio.get_running_loop().call_soon(self.hang_up)
        return "421 4.3.0 A fault of ours; try again later"


class _Smtp(_Session):
    pass


class _Lmtp(lmtp.LMTP, _Session):
    """One answer per recipient after the message (RFC 2033, section 4.2)."""

    every_recipient = True


class _Handler:
    """What is asked of us: whether a recipient is ours, and to store a mail."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def handle_EHLO(self, server: _Session, session: smtp.Session, envelope: _Mail, name: str, said: list[str]) -> list[str]:  # noqa: N802
        """What is announced. Commands may come together (RFC 2920): they are read one by one."""
        session.host_name = name
        return [*said[:-1], "250-PIPELINING", said[-1]]

    async def handle_MAIL(self, server: _Session, session: Any, envelope: _Mail, address: str, options: list[str]) -> str:  # noqa: N802
        """250 for anybody, bounces too, as long as there is room for what they bring."""
        size = next((option[5:] for option in options if option.startswith("SIZE=")), "0")
        announced = int(size) if size.isdigit() else 0
        if announced and server.in_hand() + announced > IN_HAND:
            return "452 4.3.1 Too much mail at a time; try again later"
        envelope.announced = announced
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def handle_RCPT(self, server: _Session, session: Any, envelope: _Mail, address: str, options: list[str]) -> str:  # noqa: N802
        """250 for an address that is one of ours."""
        if len(envelope.rcpt_tos) >= RECIPIENTS:
            return "452 4.5.3 Too many recipients; send it to the others next"
        try:
            tenant_id = await self._whose(address)
        except Unavailable as error:
            log.warning("mail is put off", reason=error.message)
            return _LATER
        if tenant_id is None:
            return "550 5.1.1 Nobody here has this address"
        envelope.rcpt_tos.append(address)
        envelope.tenants.append(tenant_id)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: _Session, session: Any, envelope: _Mail) -> str:  # noqa: N802
        """The answer for the whole mail; over LMTP one for each recipient, as lines."""
        answers: dict[int, str] = {}
        raw = _with_return_path(envelope)
        for tenant_id in dict.fromkeys(envelope.tenants):
            reached = [address for address, owner in zip(envelope.rcpt_tos, envelope.tenants, strict=True) if owner == tenant_id]
            answers[tenant_id] = await self._store(tenant_id, raw, reached)
        if server.every_recipient:
            return "\r\n".join(answers[tenant_id] for tenant_id in envelope.tenants)
        # SMTP has one answer: where one tenant's cannot be stored all is sent again, and is stored once all the same
        return max(answers.values(), key=lambda answer: (answer[0] == "4", answer[0]))

    async def _whose(self, address: str) -> int | None:
        try:
            normal = addresses.normalise(address)
        except Invalid:
            return None
        named = addressed(self._desk.signer, normal)
        if named is not None:
            return named[0]
        inbox = await self._desk.db.read(inboxes.by_address, normal)
        return inbox.tenant_id if inbox is not None else None

    async def _store(self, tenant_id: int, raw: bytes, reached: list[str]) -> str:
        try:
            taken = await receive.mail(self._desk, tenant_id, raw, receive.Envelope(reached=reached))
        except Unavailable as error:
            log.warning("mail is put off", tenant=tenant_id, reason=error.message)
            return _LATER
        except TooLarge:
            return _TOO_LARGE
        except TidingsError as error:
            # nothing that is known to lie in the mail itself: it may pass, and a mail server gives up by itself in a few days
            log.exception("mail is put off", tenant=tenant_id, reason=error.message)
            return _LATER
        log.info("mail taken", tenant=tenant_id, inbound=taken.inbound_id, communication=taken.communication_id, fresh=taken.fresh)
        return "250 2.0.0 Stored"


def _with_return_path(envelope: _Mail) -> bytes:
    """The mail with the envelope's sender on top, as whoever delivers last writes it (RFC 5321, section 4.4)."""
    raw = envelope.content if isinstance(envelope.content, bytes) else b""
    sender = (envelope.mail_from or "").strip("<>").encode("utf-8", "surrogateescape")
    head = b"Return-Path: <" + sender + b">\r\n"
    if raw[:12].lower() == b"return-path:" or len(head) + len(raw) > LARGEST:
        return raw
    return head + raw


async def _refuse_alive(where: Place) -> None:
    """Raises OSError when somebody answers at the socket: one left behind is replaced, one in use is not."""
    try:
        _, writer = await asyncio.open_unix_connection(where.path)
    except OSError:
        return
    writer.close()
    raise OSError("another process listens there")


def _reason(error: OSError) -> str:
    return (os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)).lower()
