"""What a carrier posts, and what is read from it; with the few things that all carriers have in common. Nothing here knows any of them."""

import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec

from tidings.clock import MINUTE, SECOND
from tidings.errors import Malformed, Unauthorized
from tidings.inbound.receive import Envelope
from tidings.message import incoming, incoming_headers
from tidings.message.incoming import Incoming
from tidings.message.incoming_parts import File

S = TypeVar("S", bound=msgspec.Struct)

AHEAD = 5 * MINUTE
"""How far a carrier's clock may be ahead of ours."""
_SECONDS = re.compile(r"[0-9]{1,12}")
_LINES = re.compile(r"[\r\n\0]+")
_HEADER = re.compile(rb"^([!-9;-~]+)[ \t]*:", re.MULTILINE)
_MOST = incoming.MOST_RECIPIENTS


class Field(NamedTuple):
    """One field of a form, `value` as it was sent. `filename` is None for all but files, `kind` a file's media type or ""."""

    name: str
    value: bytes
    filename: str | None = None
    kind: str = ""


class Posted(msgspec.Struct, frozen=True):
    """A carrier's request: `headers` by lower-case name, `fields` when its body is a form, `at` when it came in milliseconds."""

    headers: Mapping[str, str]
    body: bytes
    at: int
    fields: Sequence[Field] = ()

    def value(self, name: str) -> bytes | None:
        """The values of a form's field (one below the other where it comes more than once), None when it is absent."""
        found = [field.value for field in self.fields if field.name == name and field.filename is None]
        return b"\n".join(found) if found else None

    def text(self, name: str) -> str:
        """The same in UTF-8, with U+FFFD for what is none; "" when it is absent."""
        return (self.value(name) or b"").decode("utf-8", "replace")

    def files(self) -> list[Field]:
        """Those fields that are files."""
        return [field for field in self.fields if field.filename is not None]


class Arrived(NamedTuple):
    """A mail that a carrier brought: as it was sent (`raw`, b"" where the carrier did not hand it on), how it came, and what it says."""

    raw: bytes
    envelope: Envelope
    mail: Incoming


def whole(raw: bytes, *, reached: Sequence[str], sender: str | None) -> Arrived:
    """A mail as it was sent. `sender` is the envelope's, "" for the null path of bounces, None when it is not known. Raises TooLarge."""
    mail = incoming.read(raw)
    if mail.return_path is None and sender is not None:
        mail = msgspec.structs.replace(mail, return_path=sender)
    return Arrived(raw, Envelope(reached), mail)


class Pieces(NamedTuple):
    """A mail that its carrier has taken apart: `head` are its headers as lines (RFC 5322)."""

    head: bytes
    text: str
    html: str
    files: Sequence[File] = ()


def pieced(pieces: Pieces, *, reached: Sequence[str], sender: str | None = None) -> Arrived:
    """A mail from its pieces; it is known by what it says. `sender` as for `whole`. Raises TooLarge."""
    mail = incoming.assembled(pieces.head, pieces.text, pieces.html, pieces.files)
    if mail.return_path is None and sender is not None:
        mail = msgspec.structs.replace(mail, return_path=sender)
    return Arrived(b"", Envelope(reached, source_id=_fingerprint(mail)), mail)


def head(lines: Iterable[tuple[str, str]]) -> bytes:
    """Headers as lines, in UTF-8 (RFC 6532), each on one line whatever it holds."""
    return "".join(f"{_LINES.sub(' ', name)}: {_LINES.sub(' ', value)}\r\n" for name, value in lines).encode("utf-8", "replace")


def completed(given: bytes, others: Iterable[tuple[str, str]]) -> bytes:
    """Headers as lines, with those of the others that are missing."""
    there = {found[1].lower() for found in _HEADER.finditer(given)}
    missing = head((name, value) for name, value in others if value and name.lower().encode() not in there)
    return missing + given.strip(b"\r\n") + b"\r\n"


def mailbox(email: str, name: str) -> str:
    """An address as it stands in a header."""
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}" <{email}>' if name else email


def addresses(text: str) -> tuple[str, ...]:
    """The valid addresses in a list of mailboxes."""
    return tuple(person.email for person in incoming_headers.mailboxes(text.encode("utf-8", "replace"), _MOST)[0])


def base64(text: str) -> bytes:
    """What was encoded. Raises Malformed for text that is no base64."""
    try:
        return binascii.a2b_base64("".join(text.split()), strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise Malformed("A file in it is not valid base64") from error


def record(value: Any, kind: type[S]) -> S:
    """A JSON value as a record. Raises Malformed when it does not fit."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise Malformed(f"This is not what was expected here: {error}") from error


def is_fresh(timestamp: str, now: int, window: int) -> bool:
    """Whether `timestamp` (in seconds) is at most `window` milliseconds old, and not from the future."""
    if not _SECONDS.fullmatch(timestamp):
        return False
    return -AHEAD <= now - int(timestamp) * SECOND <= window


def check_basic(headers: Mapping[str, str], username: str, password: str) -> None:
    """Raises Unauthorized unless the request carries this user name and password (RFC 7617). Without both, everybody is let in."""
    if not username and not password:
        return
    scheme, _, given = headers.get("authorization", "").partition(" ")
    try:
        known = binascii.a2b_base64(given.strip()) if scheme.lower() == "basic" else b""
    except ValueError:
        known = b""
    if not hmac.compare_digest(known, f"{username}:{password}".encode()):
        raise Unauthorized("The user name or the password in the webhook's URL is wrong")


def _fingerprint(mail: Incoming) -> str:
    """What makes a mail the same mail when it is posted again: all that was read of it, but for what servers wrote on its way."""
    said = (mail.message_id, mail.sender.email, mail.header("date"), mail.subject, mail.text, mail.html)
    state = hashlib.sha256(msgspec.json.encode(said))
    for file in mail.files:
        state.update(hashlib.sha256(file.content).digest())
    return state.hexdigest()
