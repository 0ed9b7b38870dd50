"""alpha's words for files with mail: those of a sending request, and the routes that list and hand out what was sent."""

from typing import Any

import msgspec

from tidings import ids
from tidings.api.alpha.lookup import identity
from tidings.api.enclosures import handed_out, stored
from tidings.api.wire import Call, Reply, Route, ok
from tidings.database import Tx
from tidings.domain import attachments, communications
from tidings.domain.attachments import Attachment
from tidings.errors import NotFound


class Enclosure(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One file of a sending request. `content` is base64 (RFC 4648, section 4); without a `contentType` its name tells the type."""

    filename: str
    content: str
    content_type: str | None = None


class Enclosed(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One file of a communication. `size` is in bytes, `hash` the SHA-256 of the content in hexadecimal."""

    id: str
    filename: str
    content_type: str
    size: int
    content_id: str | None
    hash: str


async def listed(call: Call) -> Reply:
    """What goes with a communication, in its order."""
    return ok([_shown(attachment) for attachment in await _found(call)])


async def content(call: Call) -> Reply:
    """The bytes of one file, streamed. It is to be saved and not to be looked at here: whoever wrote it is not to be trusted with our origin."""
    wanted = ids.parse("attachment", call.path["attachmentId"])
    attachment = next((entry for entry in await _found(call) if entry.id == wanted), None)
    if attachment is None:
        raise NotFound
    return handed_out(
        stored(call, attachment.hash), filename=attachment.filename, content_type=attachment.content_type, size=attachment.size
    )


async def _found(call: Call) -> list[Attachment]:
    return await call.db.read(_of, call.tenant_id, identity(call))


def _of(tx: Tx, tenant_id: int, communication_id: int) -> list[Attachment]:
    if communications.get(tx, tenant_id, communication_id) is None:
        raise NotFound
    return attachments.several(tx, tenant_id, [communication_id]).get(communication_id, [])


def _shown(attachment: Attachment) -> Enclosed:
    return Enclosed(
        id=ids.spell("attachment", attachment.id),
        filename=attachment.filename,
        content_type=attachment.content_type,
        size=attachment.size,
        content_id=attachment.content_id,
        hash=attachment.hash,
    )


_ENCLOSED: Any = list[Enclosed]

ROUTES: list[Route] = [
    Route(
        "GET",
        "/api/v1/communications/{id}/attachments",
        listed,
        "communications:read",
        "The files that go with a communication",
        gives=_ENCLOSED,
    ),
    Route(
        "GET",
        "/api/v1/communications/{id}/attachments/{attachmentId}",
        content,
        "communications:read",
        "The content of one of them",
        gives=bytes,
        media=("*/*",),
    ),
]
