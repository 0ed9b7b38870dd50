"""Senders over HTTP: the domains and addresses a tenant may write as besides its own."""

import msgspec

from tidings import ids
from tidings.api.idempotency import once_said
from tidings.api.wire import PAGED, Call, Reply, Route, created, instant, listing, no_content
from tidings.domain import senders
from tidings.domain.senders import Sender
from tidings.errors import NotFound


class NewSender(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`address` is a whole domain (`example.com`; its subdomains are not meant) or one address."""

    address: str


class SenderAnswer(msgspec.Struct, frozen=True):
    """A domain or an address that mail may come from, in lower case; international domains in ASCII (IDNA A-labels)."""

    id: str
    address: str
    created_at: str


async def create(call: Call) -> Reply:
    """201; 409 when it is allowed already."""
    wanted = senders.normalise(call.json(NewSender).address)
    return await once_said(call, lambda tx: created(_shown(senders.add(tx, call.tenant_id, wanted, now=call.now))))


async def index(call: Call) -> Reply:
    """Newest first. The tenant's own address and domain are not among them: they need no permission."""
    page, limit = call.page_limit()
    found = await call.db.read(senders.page, call.tenant_id, limit=limit, page=page)
    return listing("senders", [_shown(row) for row in found.rows], page, limit, found.total)


async def remove(call: Call) -> Reply:
    """204; what was accepted before goes out as it was."""
    sender_id = ids.parse("sender", call.path["id"])
    if sender_id is None:
        raise NotFound("Sender not found")
    await call.db.write(senders.remove, call.tenant_id, sender_id)
    return no_content()


def _shown(row: Sender) -> SenderAnswer:
    return SenderAnswer(ids.spell("sender", row.id), row.address, instant(row.created_at))


_PATH = "/api/v1/senders"

ROUTES: list[Route] = [
    Route("GET", _PATH, index, "admin:read", "List allowed senders", gives=SenderAnswer, lists="senders", query=PAGED),
    Route("POST", _PATH, create, "admin:write", "Allow a sender", NewSender, SenderAnswer, status=201, idempotent=True),
    Route("DELETE", _PATH + "/{id}", remove, "admin:write", "Allow it no longer", status=204),
]
