"""Suppressions over HTTP: who must not be written to, and why."""

from typing import get_args

import msgspec

from tidings import ids
from tidings.api.idempotency import once_said
from tidings.api.native.contents import Channel, channel_of
from tidings.api.wire import PAGED, Call, Parameter, Reply, Route, created, instant, listing, no_content, ok
from tidings.database import Tx
from tidings.domain import suppressions
from tidings.domain.suppressions import Reason, Suppression
from tidings.errors import Conflict, Invalid, NotFound
from tidings.message import address, phone

DETAIL_LIMIT = 500


class NewSuppression(msgspec.Struct, forbid_unknown_fields=True):
    """An address for email, a number in international form for sms."""

    channel: Channel
    address: str
    reason: Reason = "manual"
    detail: str = ""


class SuppressionAnswer(msgspec.Struct):
    """`communication_id` is the message that brought it about, null when none did."""

    id: str
    channel: str
    address: str
    reason: str
    detail: str
    communication_id: int | None
    created_at: str


async def create(call: Call) -> Reply:
    """201; 409 when it is suppressed already."""
    new = call.json(NewSuppression)
    wanted = address.normalise(new.address, "address") if new.channel == "email" else phone.normalise(new.address, field="address")
    if len(new.detail) > DETAIL_LIMIT:
        raise Invalid.field("detail", f"must be at most {DETAIL_LIMIT} characters long")

    def write(tx: Tx) -> Reply:
        fresh = suppressions.add(tx, call.tenant_id, new.channel, wanted, new.reason, detail=new.detail, now=call.now)
        found = suppressions.find(tx, call.tenant_id, new.channel, wanted)
        assert found is not None
        if not fresh:
            raise Conflict(f"{found.address} is suppressed already: {found.reason}")
        return created(_shown(found))

    return await once_said(call, write)


async def index(call: Call) -> Reply:
    """Newest first."""
    reason = call.query("reason")
    if reason is not None and reason not in get_args(Reason):
        raise Invalid.field("reason", f"must be one of {', '.join(get_args(Reason))}")
    page, limit = call.page_limit()
    found = await call.db.read(
        suppressions.page,
        call.tenant_id,
        channel=channel_of(call),
        reason=reason,
        address=call.query("address"),
        page=page,
        limit=limit,
    )
    return listing("suppressions", [_shown(row) for row in found.rows], page, limit, found.total)


async def show(call: Call) -> Reply:
    """One suppression."""
    return ok(_shown(await call.db.read(suppressions.get, call.tenant_id, _id(call))))


async def remove(call: Call) -> Reply:
    """204; the address may be written to again."""
    await call.db.write(suppressions.remove, call.tenant_id, _id(call))
    return no_content()


def _shown(row: Suppression) -> SuppressionAnswer:
    return SuppressionAnswer(
        id=ids.spell("suppression", row.id),
        channel=row.channel,
        address=row.address,
        reason=row.reason,
        detail=row.detail,
        communication_id=row.communication_id,
        created_at=instant(row.created_at),
    )


def _id(call: Call) -> int:
    found = ids.parse("suppression", call.path["id"])
    if found is None:
        raise NotFound("Suppression not found")
    return found


_PATH = "/api/v1/suppressions"
_FILTERS = (
    Parameter("channel", words=("email", "sms")),
    Parameter("reason", words=get_args(Reason)),
    Parameter("address", "string", "a whole address, in any case"),
)

ROUTES: list[Route] = [
    Route(
        "GET", _PATH, index, "contacts:read", "List suppressions", gives=SuppressionAnswer, lists="suppressions", query=(*_FILTERS, *PAGED)
    ),
    Route("POST", _PATH, create, "contacts:write", "Suppress an address", NewSuppression, SuppressionAnswer, status=201, idempotent=True),
    Route("GET", _PATH + "/{id}", show, "contacts:read", "One suppression", gives=SuppressionAnswer),
    Route("DELETE", _PATH + "/{id}", remove, "contacts:write", "Let an address be written to again", status=204),
]
