"""A mailbox on an IMAP server (RFC 3501, IDLE of RFC 2177, MOVE of RFC 6851): the few commands that reading it needs, over asyncio.

Everything is addressed by UID. What has been read is not known here; see `poll`.
"""

import asyncio
import base64
import contextlib
import functools
import re
import secrets
import ssl
from collections.abc import AsyncGenerator, Sequence
from typing import NamedTuple

from tidings.errors import NotFound, Unauthorized, Unavailable
from tidings.inbound.sources import Mailbox

CONNECTING = 30.0
PATIENCE = 90.0
"""Seconds that a server may be silent within an answer."""
_LONGEST_LINE = 16 * 1024 * 1024
"""Bytes; a list of two million UIDs is one line."""
_CHUNK = 256 * 1024
_LITERAL = re.compile(rb"\{(\d{1,18})\+?\}$")
_CODE = re.compile(rb"\[(UIDVALIDITY|UIDNEXT) (\d+)\]", re.IGNORECASE)
_UNTAGGED = re.compile(rb"\* (\d+) (EXISTS|EXPUNGE)", re.IGNORECASE)
_UID = re.compile(rb"\bUID (\d+)", re.IGNORECASE)
_SIZE = re.compile(rb"\bRFC822\.SIZE (\d+)", re.IGNORECASE)
_QUOTED_BODY = re.compile(rb'BODY\[\] "((?:[^"\\]|\\.)*)"', re.IGNORECASE)
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)


class Folder(NamedTuple):
    """What a server says of a folder as it is opened. UIDs mean something only together with `validity`."""

    validity: int
    next_uid: int


class Answer(NamedTuple):
    """One response: its line(s), and the literals that stood in it, in their order."""

    line: bytes
    literals: tuple[bytes, ...] = ()


class Imap:
    """One connection, logged in. Everything raises Unavailable when the server is gone, silent or does not keep to the protocol.

    `arrived` tells that the server has spoken of new mail since it was last set back.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, box: Mailbox) -> None:
        self._reader, self._writer, self._box = reader, writer, box
        self._number, self._prefix = 0, b"T"
        self._exists = 0
        self._capabilities: frozenset[str] = frozenset()
        self.arrived = False

    @property
    def can_idle(self) -> bool:
        """Whether it tells of new mail by itself."""
        return "IDLE" in self._capabilities

    async def begin(self) -> None:
        """Greets, secures the line and logs in. Raises Unauthorized when the server does not take the password."""
        greeting = (await self._read()).line
        if greeting.upper().startswith(b"* BYE") or not greeting.startswith(b"* "):
            raise Unavailable(f"{self._box.place} does not answer as an IMAP server: {_shown(greeting)}")
        await self._ask_capabilities()
        if self._box.tls == "starttls":
            if "STARTTLS" not in self._capabilities:
                raise Unavailable(f"{self._box.place} offers no STARTTLS")
            await self._command(b"STARTTLS")
            await self._writer.start_tls(_context(self._box.verify), server_hostname=self._box.host)
            # an answer that somebody slipped in before the line was secure fits no command after it
            self._prefix = secrets.token_hex(4).encode()
            await self._ask_capabilities()
        await self._log_in()
        await self._ask_capabilities()

    async def select(self, folder: str, *, read_only: bool) -> Folder:
        """Opens a folder. Raises NotFound when the server does not open it."""
        told = await self._command(
            (b"EXAMINE " if read_only else b"SELECT ") + _astring(mailbox_name(folder)), missing=f"folder {folder!r}"
        )
        codes = {name.upper(): int(number) for answer in told for name, number in _CODE.findall(answer.line)}
        if b"UIDVALIDITY" not in codes:
            raise Unavailable(f"{self._box.place} keeps no UIDs for {folder!r}: without them no mail can be told from another")
        next_uid = codes[b"UIDNEXT"] if b"UIDNEXT" in codes else max(await self.search("ALL"), default=0) + 1
        return Folder(codes[b"UIDVALIDITY"], next_uid)

    async def search(self, criteria: str) -> list[int]:
        """The UIDs that fit, ascending."""
        found: set[int] = set()
        for answer in await self._command(f"UID SEARCH {criteria}".encode("ascii")):
            if answer.line.upper().startswith(b"* SEARCH"):
                found.update(int(word) for word in answer.line.split()[2:] if word.isdigit())
        return sorted(found)

    async def sizes(self, uids: Sequence[int]) -> dict[int, int]:
        """UID → bytes, for those mails that are still there."""
        found: dict[int, int] = {}
        for answer in await self._command(b"UID FETCH " + _set(uids) + b" (UID RFC822.SIZE)"):
            uid, size = _UID.search(answer.line), _SIZE.search(answer.line)
            if uid and size:
                found[int(uid[1])] = int(size[1])
        return found

    async def fetch(self, uid: int, *, most: int) -> bytes | None:
        """A whole mail, which does not become read by this; None when it is gone. Raises Unavailable beyond `most` bytes."""
        for answer in await self._command(f"UID FETCH {uid} (UID BODY.PEEK[])".encode("ascii"), most=most):
            found = _UID.search(answer.line)
            if found is None or int(found[1]) != uid or b"BODY[]" not in answer.line.upper():
                continue
            if answer.literals:
                return answer.literals[0]
            quoted = _QUOTED_BODY.search(answer.line)
            return _ESCAPE.sub(rb"\1", quoted[1]) if quoted else b""
        return None

    async def see(self, uid: int) -> None:
        """Marks it as read."""
        await self._command(f"UID STORE {uid} +FLAGS.SILENT (\\Seen)".encode("ascii"), missing="mail to be marked")

    async def move(self, uid: int, folder: str) -> None:
        """Moves it, making the folder when there is none."""
        target = _astring(mailbox_name(folder))
        verb = b"MOVE" if "MOVE" in self._capabilities else b"COPY"
        command = b"UID %b %d " % (verb, uid) + target
        try:
            await self._command(command, missing=f"folder {folder!r}")
        except NotFound:
            await self._command(b"CREATE " + target, missing=f"folder {folder!r}")
            await self._command(command, missing=f"folder {folder!r}")
        if verb == b"COPY":
            await self.delete(uid)

    async def delete(self, uid: int) -> None:
        """Deletes it. A server without UIDPLUS (RFC 4315) only marks it: EXPUNGE there would remove what others have marked too."""
        await self._command(f"UID STORE {uid} +FLAGS.SILENT (\\Deleted)".encode("ascii"), missing="mail to be deleted")
        if "UIDPLUS" in self._capabilities:
            await self._command(f"UID EXPUNGE {uid}".encode("ascii"))

    async def idle(self, leave: asyncio.Event, *, seconds: float) -> None:
        """Waits until the server tells of new mail, `leave` is set, or the time is over."""
        if self.arrived or leave.is_set():
            return
        tag = await self._send(b"IDLE")
        leaving = asyncio.create_task(leave.wait())
        try:
            async with asyncio.timeout(seconds):
                while not self.arrived and not leave.is_set():
                    reading = asyncio.create_task(self._line())
                    await _either(reading, leaving)
                    if not reading.cancelled():
                        self._notice(reading.result())
                        if reading.result().startswith(tag + b" "):
                            raise Unavailable(f"{self._box.place} offers IDLE and refuses it: {_shown(reading.result())}")
        except TimeoutError:
            pass
        finally:
            leaving.cancel()
        await self._write(b"DONE\r\n")
        await self._answers(tag, missing="")

    async def close(self) -> None:
        """Says goodbye, without waiting long for an answer."""
        try:
            with contextlib.suppress(Unavailable, TimeoutError):
                async with asyncio.timeout(2):
                    await self._command(b"LOGOUT")
        finally:
            # whoever cannot wait for the goodbye leaves without it
            self._writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(2):
                await self._writer.wait_closed()

    async def _ask_capabilities(self) -> None:
        told = [answer.line.upper().split() for answer in await self._command(b"CAPABILITY")]
        self._capabilities = frozenset(
            word.decode("ascii", "replace") for words in told if words[1:2] == [b"CAPABILITY"] for word in words[2:]
        )

    async def _log_in(self) -> None:
        user, password = self._box.username, self._box.password
        if "AUTH=PLAIN" in self._capabilities:
            token = base64.b64encode(f"\0{user}\0{password}".encode())
            # sent when it is asked for: not every server takes it at once (SASL-IR, RFC 4959)
            await self._command(b"AUTHENTICATE PLAIN", says=token, secret=True)
        elif "LOGINDISABLED" in self._capabilities:
            raise Unauthorized(f"{self._box.place} takes no password over this line; use TLS")
        elif not (user + password).isascii():
            raise Unauthorized(f"{self._box.place} takes user names and passwords in ASCII only")
        else:
            await self._command(b"LOGIN " + _astring(user.encode()) + b" " + _astring(password.encode()), secret=True)

    async def _command(
        self, text: bytes, *, says: bytes = b"", secret: bool = False, missing: str = "", most: int = _LONGEST_LINE
    ) -> list[Answer]:
        """The responses to a command. `says` goes out at the server's `+`; `missing` is what a NO means is not there."""
        tag = await self._send(text)
        return await self._answers(tag, says=says, secret=secret, missing=missing, most=most)

    async def _send(self, text: bytes) -> bytes:
        self._number += 1
        tag = b"%b%d" % (self._prefix, self._number)
        await self._write(tag + b" " + text + b"\r\n")
        return tag

    async def _answers(
        self, tag: bytes, *, says: bytes = b"", secret: bool = False, missing: str = "", most: int = _LONGEST_LINE
    ) -> list[Answer]:
        found: list[Answer] = []
        room = most + 2 * _LONGEST_LINE
        while True:
            answer = await self._read(most)
            room -= len(answer.line) + sum(map(len, answer.literals))
            if room < 0:
                raise Unavailable(f"{self._box.place} does not come to the end of an answer")
            if answer.line.startswith(b"+"):
                if says:
                    await self._write(says + b"\r\n")
                continue
            self._notice(answer.line)
            found.append(answer)
            if not answer.line.startswith(tag + b" "):
                continue
            word = answer.line[len(tag) + 1 :].split(b" ", 1)[0].upper()
            if word == b"OK":
                return found
            said = _shown(answer.line[len(tag) + 1 :])
            if word == b"NO" and secret and b"[UNAVAILABLE]" not in answer.line.upper():
                raise Unauthorized(f"{self._box.place} does not take the user name and password: {said}")
            if word == b"NO" and missing:
                raise NotFound(f"{self._box.place} refuses the {missing}: {said}")
            raise Unavailable(f"{self._box.place} refuses: {said}")

    def _notice(self, line: bytes) -> None:
        """What a server says of its own accord, within any answer. Raises Unavailable when it ends the connection."""
        found = _UNTAGGED.match(line)
        if found is not None:
            number = int(found[1])
            if found[2].upper() == b"EXPUNGE":
                self._exists = max(0, self._exists - 1)
            else:
                self.arrived = self.arrived or number > self._exists
                self._exists = number
        elif line.upper().startswith(b"* BYE"):
            raise Unavailable(f"{self._box.place} ended the connection: {_shown(line[2:])}")

    async def _read(self, most: int = _LONGEST_LINE) -> Answer:
        line, literals = b"", list[bytes]()
        while True:
            try:
                async with asyncio.timeout(PATIENCE):
                    line += await self._line()
            except TimeoutError as error:
                raise Unavailable(f"{self._box.place} has fallen silent") from error
            found = _LITERAL.search(line)
            if found is None:
                return Answer(line, tuple(literals))
            literals.append(await self._literal(int(found[1]), most))

    async def _line(self) -> bytes:
        try:
            return (await self._reader.readuntil(b"\n")).rstrip(b"\r\n")
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise Unavailable(f"{self._box.place} broke off the connection") from error

    async def _literal(self, size: int, most: int) -> bytes:
        if size > most:
            raise Unavailable(f"{self._box.place} sends {size:,} bytes at once where {most:,} are the most that is taken")
        data = bytearray()
        try:
            while len(data) < size:
                async with asyncio.timeout(PATIENCE):
                    data += await self._reader.readexactly(min(_CHUNK, size - len(data)))
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            raise Unavailable(f"{self._box.place} broke off in the middle of a mail") from error
        return bytes(data)

    async def _write(self, data: bytes) -> None:
        try:
            self._writer.write(data)
            async with asyncio.timeout(PATIENCE):
                await self._writer.drain()
        except OSError as error:
            raise Unavailable(f"{self._box.place} broke off the connection") from error


@contextlib.asynccontextmanager
async def connected(box: Mailbox) -> AsyncGenerator[Imap]:
    """A connection, logged in, for as long as the block lasts. Raises Unavailable when there is none to be had, Unauthorized."""
    try:
        async with asyncio.timeout(CONNECTING):
            reader, writer = await asyncio.open_connection(
                box.host, box.usual_port, ssl=_context(box.verify) if box.tls == "tls" else None, limit=_LONGEST_LINE
            )
    except (OSError, TimeoutError) as error:
        raise _unreachable(box, error) from error
    imap = Imap(reader, writer, box)
    try:
        try:
            await imap.begin()
        except OSError as error:
            raise _unreachable(box, error) from error
        yield imap
    finally:
        await imap.close()


def mailbox_name(name: str) -> bytes:
    """A folder's name as it is written on the wire (modified UTF-7, RFC 3501, section 5.1.3)."""
    out, pending = bytearray(), ""
    for letter in [*name, ""]:
        plain = letter == "" or " " <= letter <= "~"
        if not plain:
            pending += letter
            continue
        if pending:
            out += b"&" + base64.b64encode(pending.encode("utf-16-be")).rstrip(b"=").replace(b"/", b",") + b"-"
            pending = ""
        out += b"&-" if letter == "&" else letter.encode("ascii")
    return bytes(out)


def _astring(text: bytes) -> bytes:
    """A quoted string; line breaks were refused where the setting was taken."""
    return b'"' + text.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def _set(uids: Sequence[int]) -> bytes:
    return b",".join(b"%d" % uid for uid in uids)


def _unreachable(box: Mailbox, error: OSError | TimeoutError) -> Unavailable:
    if isinstance(error, ssl.SSLCertVerificationError):
        return Unavailable(f"{box.place} has no certificate that can be trusted: {error.verify_message}")
    if isinstance(error, ssl.SSLError):
        return Unavailable(f"{box.place} cannot be reached over TLS: {error.reason or error}")
    return Unavailable(f"{box.place} cannot be reached: {error.strerror or str(error) or 'no answer'}")


@functools.cache
def _context(verify: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _shown(line: bytes) -> str:
    return " ".join(line[:300].decode("utf-8", "replace").split())


async def _either(reading: "asyncio.Task[bytes]", leaving: "asyncio.Task[bool]") -> None:
    """Returns when one of them is done; the reading is broken off otherwise, which loses nothing: a line is taken whole or not at all."""
    try:
        await asyncio.wait((reading, leaving), return_when=asyncio.FIRST_COMPLETED)
    finally:
        if not reading.done():
            reading.cancel()
            await asyncio.wait((reading,))
