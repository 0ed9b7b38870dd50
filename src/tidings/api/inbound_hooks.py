"""Where carriers of mail post what came in. Public; a token in the URL names the inbox, and the carrier signs where it can.

It is answered only once the mail is stored, so that whatever goes wrong before makes the carrier try again.
"""

import asyncio

import msgspec
import structlog

from tidings.api import bodies
from tidings.api.wire import FORMS, Call, Reply, Route, ok
from tidings.domain import inboxes
from tidings.domain.inboxes import Inbox
from tidings.errors import Invalid, NotFound, TooLarge, Unauthorized, Unavailable
from tidings.inbound import hooks, receive, sources
from tidings.inbound.hooks import Field, Posted
from tidings.inbound.receive import Desk
from tidings.signing import Vault

log = structlog.get_logger("tidings.inbound")

PATH = "/api/v1/inbound/{kind}/{token}"
_LIMIT = 56 * 1024 * 1024
"""Bytes of a body: Postmark tells a mail of 25 MiB twice, raw and with its files in base64."""


class Outcome(msgspec.Struct):
    """What became of it: `stored`, `known` when it had been stored before, `ignored` when it told of no mail."""

    status: str


async def take(call: Call) -> Reply:
    """A mail that a carrier brings. 200 once it is stored: to Mailgun any other success is none."""
    inbox = await _inbox(call)
    try:
        posted = Posted(call.headers, call.body, call.now, await _fields(call, inbox))
        arrived = await hooks.read(posted, _settings(call.house.vault, inbox))
        if arrived is None:
            return ok(Outcome("ignored"))
        house = call.house
        desk = Desk(house.db, house.store, house.signer, house.clock)
        taken = await receive.mail(desk, inbox.tenant_id, arrived.raw, arrived.envelope, read=arrived.mail)
    except (Invalid, Unauthorized, TooLarge) as refusal:
        # some carriers show their users nothing of what they are answered
        log.warning("posted mail was refused", inbox_id=inbox.id, tenant_id=inbox.tenant_id, kind=inbox.kind, reason=refusal.message)
        raise
    return ok(Outcome("stored" if taken.fresh else "known"))


async def _inbox(call: Call) -> Inbox:
    token = call.path["token"]
    found = await call.db.read(inboxes.by_token, token) if token.isascii() and token.isprintable() else None
    if found is None or found.kind != call.path["kind"]:
        raise NotFound
    return found


async def _fields(call: Call, inbox: Inbox) -> list[Field]:
    if inbox.kind not in hooks.FORMS:
        return []
    pieces = await asyncio.to_thread(bodies.pieces, call.body, call.headers.get("content-type", ""))
    return [Field(*piece) for piece in pieces]


def _settings(vault: Vault, inbox: Inbox) -> sources.Settings:
    try:
        return sources.opened(vault, inbox.kind, inbox.settings)
    except (Invalid, msgspec.MsgspecError) as error:
        raise Unavailable("The settings of this inbox cannot be used") from error


_SUMMARY = "A carrier brings a mail that came in"
_REFUSES = (400, 401, 413)

ROUTES: list[Route] = [
    Route("POST", PATH, take, "", _SUMMARY, gives=Outcome, public=True, reads=FORMS, refuses=_REFUSES, limit=_LIMIT, guard=_inbox),
    Route(
        "POST",
        PATH + "/mime",
        take,
        "",
        "The same: Mailgun posts the whole mail to where the URL ends so",
        gives=Outcome,
        public=True,
        reads=FORMS,
        refuses=_REFUSES,
        limit=_LIMIT,
        guard=_inbox,
    ),
]
