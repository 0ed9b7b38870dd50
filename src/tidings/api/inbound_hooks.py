"""Where carriers of mail post: mail that came in, and what became of mail they took. Public; a token in the URL names the inbox, and the
carrier signs where it can.

It is answered only once everything is stored, so that whatever goes wrong before makes the carrier try again.
"""

import asyncio
from typing import Literal

import msgspec
import structlog
from msgspec import UNSET, UnsetType

from tidings.api import bodies
from tidings.api.visitors import Visitors
from tidings.api.wire import FORMS, Call, Reply, Route, ok
from tidings.domain import inboxes
from tidings.domain.inboxes import Inbox
from tidings.errors import Invalid, NotFound, TooLarge, Unauthorized, Unavailable
from tidings.inbound import events, hooks, receive, sources
from tidings.inbound.events import Once
from tidings.inbound.hooks import Events, Field, Posted
from tidings.inbound.receive import Desk
from tidings.message.heard import Notice
from tidings.signing import Vault

log = structlog.get_logger("tidings.inbound")

PATH = "/api/v1/inbound/{kind}/{token}"
_LIMIT = 56 * 1024 * 1024
"""Bytes of a body: Postmark tells a mail of 25 MiB twice, raw and with its files in base64."""


class Outcome(msgspec.Struct):
    """What became of it: `stored`, `known` when it had been stored before, `ignored` when it told of nothing that is kept.

    Where events were told: how many were `taken`, were `repeated`, spoke of mail that is `unknown` here, and were `passed_over`.
    """

    status: Literal["stored", "known", "ignored"]
    taken: int | UnsetType = UNSET
    repeated: int | UnsetType = UNSET
    unknown: int | UnsetType = UNSET
    passed_over: int | UnsetType = UNSET


async def take(call: Call) -> Reply:
    """A mail that a carrier brings, or events. 200 once it is stored: to Mailgun any other success is none."""
    inbox = await _inbox(call)
    try:
        posted = Posted(call.headers, call.body, call.now, await _fields(call, inbox))
        found = await hooks.read(posted, _settings(call.house.vault, inbox))
        outcome = await _told(call, inbox, found) if isinstance(found, Events) else await _arrived(call, inbox, found)
    except (Invalid, Unauthorized, TooLarge) as refusal:
        # some carriers show their users nothing of what they are answered
        log.warning(
            "what a carrier posted was refused", inbox_id=inbox.id, tenant_id=inbox.tenant_id, kind=inbox.kind, reason=refusal.message
        )
        if inboxes.is_news(inbox, refusal.message, now=call.now):
            await call.db.write(inboxes.heard, inbox, refusal.message, now=call.now)
        raise
    if inboxes.is_news(inbox, None, now=call.now):
        await call.db.write(inboxes.heard, inbox, None, now=call.now)
    return ok(outcome)


async def _arrived(call: Call, inbox: Inbox, found: hooks.Arrived) -> Outcome:
    taken = await receive.mail(_desk(call), inbox.tenant_id, found.raw, found.envelope, read=found.mail)
    return Outcome("stored" if taken.fresh else "known")


async def _told(call: Call, inbox: Inbox, found: Events) -> Outcome:
    notices = [_seen(call.house.visitors, notice) for notice in found.notices]
    once = Once(found.token, found.said) if found.token else None
    told = await events.take(_desk(call), inbox.tenant_id, inbox.kind, notices, once)
    if told.unknown:
        log.info("events of mail that is not known", inbox_id=inbox.id, tenant_id=inbox.tenant_id, kind=inbox.kind, count=told.unknown)
    status = "stored" if told.taken else "known" if told.known else "ignored"
    return Outcome(status, told.taken, told.known, told.unknown, found.ignored)


def _seen(visitors: Visitors, notice: Notice) -> Notice:
    """With so much of who opened or clicked as is kept by the rule for all visitors."""
    return msgspec.structs.replace(notice, ip=visitors.kept(notice.ip) or "", user_agent=visitors.agent(notice.user_agent) or "")


def _desk(call: Call) -> Desk:
    house = call.house
    return Desk(house.db, house.store, house.signer, house.clock)


async def _inbox(call: Call) -> Inbox:
    token = call.path["token"]
    found = await call.db.read(inboxes.by_token, token) if token.isascii() and token.isprintable() else None
    if found is None or found.kind != call.path["kind"]:
        raise NotFound
    return found


async def _fields(call: Call, inbox: Inbox) -> list[Field]:
    media = call.headers.get("content-type", "")
    if not hooks.is_form(inbox.kind, media):
        return []
    pieces = await asyncio.to_thread(bodies.pieces, call.body, media)
    return [Field(*piece) for piece in pieces]


def _settings(vault: Vault, inbox: Inbox) -> sources.Settings:
    try:
        return sources.opened(vault, inbox.kind, inbox.settings)
    except (Invalid, msgspec.MsgspecError) as error:
        raise Unavailable("The settings of this inbox cannot be used") from error


_SUMMARY = "A carrier brings a mail that came in, or tells what became of mail it took"
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
