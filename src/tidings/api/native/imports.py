"""Uploading a file of contacts: written to the disk as it arrives, looked at, and answered with the job that will import it."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from email.message import Message
from pathlib import Path
from typing import BinaryIO

import msgspec
import multipart

from tidings import ids
from tidings.api.idempotency import REPLAYED, once_said
from tidings.api.native import jobs
from tidings.api.native.jobs import JobAnswer
from tidings.api.wire import Call, Parameter, Reply, Route, accepted
from tidings.database import Tx
from tidings.domain import contacts, lists
from tidings.domain.contacts import Source, Table
from tidings.domain.jobs import Job
from tidings.errors import Invalid, Malformed, Unavailable

BUFFER = 1024 * 1024
"""Bytes gathered before they are written."""
FIELD_SIZE = 4096
OPTIONS = ("list", "region", "encoding", "delimiter")
_PLAIN = {"text/csv", "application/csv", "text/plain", "application/octet-stream", "application/vnd.ms-excel"}


async def upload(call: Call) -> Reply:
    """202 with the job. The file comes as the field `file` of a multipart form or as the whole body (text/csv); 422 when it is no CSV of contacts."""
    try:
        path = await asyncio.to_thread(contacts.new_upload, call.house.data_folder)
    except OSError as error:
        raise _unkept(error) from error
    try:
        options, digest = await _received(call, path)
        source = contacts.checked_source(
            Source(
                path=str(path.relative_to(call.house.data_folder)),
                uploaded=True,
                region=options.get("region", ""),
                encoding=options.get("encoding", "") or "utf-8",
                delimiter=options.get("delimiter", ""),
            )
        )
        await asyncio.to_thread(_looked_at, path, source)
        name = options.get("list", "")
        reply = await once_said(
            call, lambda tx: accepted(jobs.shown(_begin(tx, call.tenant_id, source, name, now=call.now))), received=digest
        )
    except OSError as error:
        await asyncio.to_thread(path.unlink, missing_ok=True)
        raise _unkept(error) from error
    except BaseException:
        await asyncio.to_thread(path.unlink, missing_ok=True)
        raise
    if REPLAYED in reply.headers:
        await asyncio.to_thread(path.unlink, missing_ok=True)
    return reply


def _unkept(error: OSError) -> Unavailable:
    return Unavailable(f"The file cannot be kept: {error.strerror}")


def _looked_at(path: Path, source: Source) -> None:
    try:
        Table(path, source)
    except Invalid as wrong:
        raise wrong if wrong.fields else Invalid(wrong.message, {"file": [wrong.message]}) from wrong


def _begin(tx: Tx, tenant_id: int, source: Source, name: str, *, now: int) -> Job:
    if name.strip():
        spelled = ids.parse("list", name.strip())
        found = (
            lists.get(tx, tenant_id, spelled) if spelled is not None else lists.ensure(tx, tenant_id, lists.name_of(name, "list"), now=now)
        )
        if found is None:
            raise Invalid.field("list", "is not a list's id or name")
        source = msgspec.structs.replace(source, list_id=found.id)
    return contacts.begin_import(tx, tenant_id, source, now=now)


async def _received(call: Call, path: Path) -> tuple[dict[str, str], bytes]:
    """Writes the file to `path`, safely on the disk; answers the options, from the form or the query, and a digest of both."""
    options = {name: value for name in OPTIONS if (value := call.query(name)) is not None}
    said = Message()
    said["content-type"] = call.headers.get("content-type", "")
    kind = said.get_content_type() if said["content-type"] else ""
    file = await asyncio.to_thread(path.open, "xb")
    with file:
        digested = _Digested(file)
        if kind == "multipart/form-data":
            options |= await _from_form(call.stream(), said.get_boundary(""), digested)
        elif kind in _PLAIN:
            await _copied(call.stream(), digested)
        else:
            raise Invalid("Send the file as multipart/form-data, in a field named file, or as text/csv", {"file": ["is required"]})
        await asyncio.to_thread(_flushed, file)
    # of what is in the form, not of the form: what stands between its parts is another text each time it is sent
    return options, digested.digest.digest() + msgspec.json.encode(options, order="sorted")


class _Digested:
    """A file whose content is digested (SHA-256) as it is written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def write(self, piece: bytes) -> None:
        self.digest.update(piece)
        self._file.write(piece)


async def _copied(chunks: AsyncIterator[bytes], file: _Digested) -> None:
    waiting = bytearray()
    async for chunk in chunks:
        waiting += chunk
        if len(waiting) >= BUFFER:
            await asyncio.to_thread(file.write, bytes(waiting))
            waiting.clear()
    await asyncio.to_thread(file.write, bytes(waiting))


class _Form:
    """A form that is read as it comes: short fields are kept, the file is passed on."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self._name = ""
        self._fields: dict[str, bytearray] = {}

    def take(self, event: multipart.MultipartSegment | bytes | bytearray | None) -> bytes:
        """What of the file is in this event of the parser. Raises Invalid at a second file: one import is one file."""
        if isinstance(event, multipart.MultipartSegment):
            self._name = event.name or ""
            if self._name == "file" and "file" in self.names:
                raise Invalid.field("file", "is there twice: one import is one file")
            self.names.add(self._name)
        elif event and self._name == "file":
            return bytes(event)
        elif event and len(kept := self._fields.setdefault(self._name, bytearray())) < FIELD_SIZE:
            kept += event[:FIELD_SIZE]
        return b""

    def options(self) -> dict[str, str]:
        """The fields that say how to read the file. Raises Malformed when they are not UTF-8."""
        try:
            return {name: self._fields[name].decode() for name in OPTIONS if name in self._fields}
        except UnicodeDecodeError as error:
            raise Malformed("The form is not UTF-8") from error


async def _from_form(chunks: AsyncIterator[bytes], boundary: str, file: _Digested) -> dict[str, str]:
    """The fields but for the file, which is written as it comes."""
    form = _Form()

    async def inside() -> AsyncIterator[bytes]:
        try:
            with multipart.PushMultipartParser(boundary, max_segment_count=20) as parser:
                async for chunk in chunks:
                    for event in parser.parse(chunk):
                        if part := form.take(event):
                            yield part
        except multipart.MultipartError as error:
            raise Malformed(f"The form cannot be read: {error}") from error

    await _copied(inside(), file)
    if "file" not in form.names:
        raise Invalid.field("file", "is required: the CSV, as a field of this name")
    return form.options()


def _flushed(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


_QUERY = (
    Parameter("list", "string", "a list's id or name (made if there is none) that everybody is added to"),
    Parameter("region", "string", "the country of phone numbers without a country code, such as IT"),
    Parameter("encoding", "string", "utf-8 unless given"),
    Parameter("delimiter", "string", "comma, semicolon, tab or pipe; found out unless given"),
)

ROUTES: list[Route] = [
    Route(
        *("POST", "/api/v1/contacts/import", upload, "contacts:write", "Import contacts from a CSV file"),
        gives=JobAnswer,
        query=_QUERY,
        status=202,
        streams=True,
        idempotent=True,
        reads=("multipart/form-data", "text/csv"),
    ),
]
