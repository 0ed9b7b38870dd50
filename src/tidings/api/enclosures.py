"""Files with messages over HTTP, whatever the contract: read out of a request (base64), stored before it is accepted, and handed out."""

import asyncio
import binascii
import mimetypes
import re
from collections.abc import AsyncIterator, Sequence
from typing import Protocol, TypeVar
from urllib.parse import quote

import msgspec

from tidings.api import drafts
from tidings.api.wire import Call, Reply
from tidings.domain import attachments
from tidings.domain.attachments import LIMIT, MOST, File
from tidings.errors import Invalid, TooLarge
from tidings.message import enclosed

S = TypeVar("S", bound=msgspec.Struct)

SEND_LIMIT = 48 * 1024 * 1024
"""Bytes of a sending request: LIMIT in base64 with its line breaks, and an ordinary body."""
LONGEST_NAME = 255
LARGE = 64 * 1024
"""Characters from which a request is read in a thread."""
_STEP = 1024 * 1024
_ANY_TYPE = "application/octet-stream"
_DIRECTIONS = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Marks that turn what follows them around, so that `gpj.exe` reads `exe.jpg`."""
_TOO_MUCH = f"The attachments are larger than {LIMIT // (1024 * 1024)} MiB in all"


class Given(Protocol):
    """One file of a request. `content` is base64 (RFC 4648, section 4); without a type its name tells it."""

    @property
    def filename(self) -> str: ...
    @property
    def content(self) -> str: ...
    @property
    def content_type(self) -> str | None: ...


async def read(call: Call, kind: type[S]) -> S:
    """The body as `kind`, as `Call.json` reads it; a large one in a thread, so that nobody waits for it."""
    return call.json(kind) if len(call.body) < LARGE else await asyncio.to_thread(call.json, kind)


async def kept(call: Call, given: Sequence[Given] | None, *, kind_field: str = "content_type") -> tuple[File, ...]:
    """The files of a request, stored: safe before anything refers to them. Raises Invalid naming each that is wrong, TooLarge, Unavailable.

    `kind_field` is the contract's word for the type.
    """
    if not given:
        return ()
    if len(given) > MOST:
        raise Invalid.field("attachments", f"are more than {MOST}")
    characters = sum(len(entry.content) for entry in given)
    if characters > SEND_LIMIT:
        raise TooLarge(_TOO_MUCH)
    files = _checked(given, kind_field) if characters < LARGE else await asyncio.to_thread(_checked, given, kind_field)
    if sum(len(data) for _, data in files) > LIMIT:
        raise TooLarge(_TOO_MUCH)
    return tuple([await _kept(call, file, data) for file, data in files])


def handed_out(chunks: AsyncIterator[bytes], *, filename: str, content_type: str, size: int | None = None) -> Reply:
    """The bytes of one file, streamed. It is to be saved and not to be looked at here: whoever wrote it is not to be trusted with our origin."""
    headers = {
        "content-type": content_type,
        "content-disposition": _disposition(filename),
        "content-security-policy": "default-src 'none'; sandbox",
        "x-content-type-options": "nosniff",
    }
    return Reply(200, chunks, headers if size is None else {**headers, "content-length": str(size)})


async def stored(call: Call, digest: str) -> AsyncIterator[bytes]:
    """A kept file piece by piece. Raises NotFound before the first."""
    async for chunk in call.house.store.stream(call.tenant_id, digest):
        yield chunk


def _checked(given: Sequence[Given], kind_field: str) -> list[tuple[File, bytes]]:
    wrong = drafts.Complaints()
    files: list[tuple[File, bytes]] = []
    for position, entry in enumerate(given):
        place = f"attachments[{position}]"
        name = wrong.check(lambda entry=entry, place=place: _name(entry.filename, f"{place}.filename"), "")
        kind = wrong.check(lambda entry=entry, place=place, name=name: _kind(entry.content_type, name, f"{place}.{kind_field}"), "")
        data = wrong.check(lambda entry=entry, place=place: _decoded(entry.content, f"{place}.content"), b"")
        files.append((File(name, kind, len(data), ""), data))
    wrong.settle()
    return files


def _name(text: str, field: str) -> str:
    """The last part of a path, as a name. Browsers and mail programs of all systems sent whole paths, once."""
    name = re.split(r"[/\\]", drafts.line(text, field, longest=LONGEST_NAME) or "")[-1].strip()
    if name in {"", ".", ".."}:
        raise Invalid.field(field, "must not be empty")
    if _DIRECTIONS.search(name):
        raise Invalid.field(field, "must not contain marks that change the direction of text")
    return name


def _kind(text: str | None, filename: str, field: str) -> str:
    if text is None or not text.strip():
        return mimetypes.guess_type(filename)[0] or _ANY_TYPE
    if not enclosed.is_content_type(text.strip()):
        raise Invalid.field(field, "must be a media type such as application/pdf")
    return text.strip()


def _decoded(text: str, field: str) -> bytes:
    """The bytes of strict base64, line breaks passed over; in steps, so that other threads get their turn."""
    if text[:5].lower() == "data:":
        raise Invalid.field(field, "must be base64 alone, without the data: and the type before it")
    try:
        encoded = text.encode("ascii").replace(b"\r", b"").replace(b"\n", b"")
        pieces = [binascii.a2b_base64(encoded[start : start + _STEP], strict_mode=True) for start in range(0, len(encoded), _STEP)]
    except (UnicodeEncodeError, binascii.Error) as error:
        raise Invalid.field(field, "is not base64") from error
    if 0 <= encoded.find(b"=") < len(encoded) - 2:
        raise Invalid.field(field, "is not base64")
    return b"".join(pieces)


async def _kept(call: Call, file: File, data: bytes) -> File:
    # not by `call.db`: what is sent with it may be refused yet
    digest = await attachments.keep(call.house.db, call.house.store, call.tenant_id, data, now=call.house.clock)
    return msgspec.structs.replace(file, hash=digest)


def _disposition(filename: str) -> str:
    """The name twice, as RFC 6266 has it: in UTF-8 for everybody, and what ASCII can say of it for the rest."""
    plain = enclosed.ascii_name(filename).replace("\\", "_").replace('"', "_")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"
