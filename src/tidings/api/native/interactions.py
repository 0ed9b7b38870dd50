"""Interactions over HTTP: everything that happened to a communication, a contact's, a message's or a campaign's."""

from collections.abc import Mapping, Sequence

import msgspec

from tidings import ids
from tidings.analytics import happened
from tidings.analytics.happened import KINDS, Asked, Interaction, Place
from tidings.api.native import moments, places
from tidings.api.wire import Call, Parameter, Reply, Route, instant, ok
from tidings.database import Tx
from tidings.errors import Invalid


class FollowedLink(msgspec.Struct, frozen=True):
    """The link that was clicked: its place in the content, from 0, and where it leads; null when its content is gone."""

    index: int
    url: str | None


class InteractionAnswer(msgspec.Struct, frozen=True):
    """Something that happened. `key` is alpha's id of the communication, `bot` tells that a machine did it.

    `reason` is why, in words that are the same for every carrier, `code` the carrier's own (or the status of RFC 3463), `detail` its words;
    `author` the key of whoever asked for it.
    """

    id: int
    kind: str
    at: str
    communication_id: int
    key: str
    contact_id: str
    campaign_id: str | None
    message_id: int | None
    bot: bool
    link: FollowedLink | None
    user_agent: str | None
    ip: str | None
    reason: str | None
    code: str | None
    detail: str | None
    author: str | None


class Interactions(msgspec.Struct, frozen=True):
    """A page, newest first. `next` is what `after` takes for the page behind it, null at the end."""

    interactions: list[InteractionAnswer]
    next: str | None


async def index(call: Call) -> Reply:
    """Newest first; of whom has to be said."""
    asked = _asked(call)
    after = places.asked(call, Place)
    _, limit = call.page_limit()

    def read(tx: Tx) -> Interactions:
        found = happened.page(tx, call.tenant_id, asked, after, limit=limit + 1)
        rows = found[:limit]
        following = Place(rows[-1].at, rows[-1].id) if len(found) > limit else None
        return Interactions(shown(call, tx, rows), places.spelt(following))

    return ok(await call.db.read(read))


def shown(call: Call, tx: Tx, rows: Sequence[Interaction]) -> list[InteractionAnswer]:
    """Interactions as this API writes them, with the links that were followed."""
    clicked = sorted({row.communication_id for row in rows if row.link_index is not None})
    links = happened.targets(tx, call.tenant_id, clicked) if clicked else {}
    return [_one(call, row, links) for row in rows]


def _one(call: Call, row: Interaction, links: Mapping[int, list[str]]) -> InteractionAnswer:
    return InteractionAnswer(
        id=row.id,
        kind=row.kind,
        at=instant(row.at),
        communication_id=row.communication_id,
        key=call.house.signer.communication(call.tenant_id, row.communication_id),
        contact_id=ids.spell("contact", row.contact_id),
        campaign_id=None if row.campaign_id is None else ids.spell("campaign", row.campaign_id),
        message_id=row.message_id,
        bot=bool(row.bot),
        link=None if row.link_index is None else _link(row.link_index, links.get(row.communication_id, [])),
        user_agent=row.user_agent,
        ip=row.ip,
        reason=row.reason,
        code=row.code,
        detail=row.detail,
        author=row.author,
    )


def _link(index: int, targets: Sequence[str]) -> FollowedLink:
    return FollowedLink(index, targets[index] if 0 <= index < len(targets) else None)


def _asked(call: Call) -> Asked:
    kinds = tuple(dict.fromkeys(call.queries("kind"))) or KINDS
    if set(kinds) - set(KINDS):
        raise Invalid.field("kind", f"must be one of {', '.join(KINDS)}")
    asked = Asked(
        communication_id=_communication(call),
        contact_id=_spelled(call, "contact"),
        message_id=_number(call, "message_id"),
        campaign_id=_spelled(call, "campaign"),
        kinds=kinds,
        bot=call.flag("bot"),
        since=moments.asked(call, "since"),
        before=moments.asked(call, "before"),
    )
    if asked.communication_id is asked.contact_id is asked.message_id is asked.campaign_id is None:
        raise Invalid("Say whose: communication_id, contact_id, message_id or campaign_id")
    if asked.since is not None and asked.before is not None and asked.since >= asked.before:
        raise Invalid.field("before", "must be later than since")
    return asked


def _communication(call: Call) -> int | None:
    """A communication in the spelling of either API: of nobody's there is nothing."""
    text = call.query("communication_id")
    if text is None:
        return None
    signed = call.house.signer.parse_communication(text)
    if signed is not None:
        return signed[1] if signed[0] == call.tenant_id else 0
    return _number(call, "communication_id")


def _number(call: Call, name: str) -> int | None:
    text = call.query(name)
    found = None if text is None else ids.parse_int(text)
    if text is not None and found is None:
        raise Invalid.field(name, "must be a whole number, at least 1")
    return found


def _spelled(call: Call, kind: str) -> int | None:
    text = call.query(f"{kind}_id")
    found = None if text is None else ids.parse(kind, text)
    if text is not None and found is None:
        raise Invalid.field(f"{kind}_id", f"must be the id of a {kind}")
    return found


ROUTES: list[Route] = [
    Route(
        "GET",
        "/api/v1/interactions",
        index,
        "communications:read",
        "What happened",
        gives=Interactions,
        refuses=(404,),
        query=(
            Parameter("communication_id", "string", "a communication, in the spelling of either API"),
            Parameter("contact_id", "string", "a contact"),
            Parameter("message_id", "integer", "a campaign's message", least=1),
            Parameter("campaign_id", "string", "a campaign"),
            Parameter("kind", "string", "what happened", words=KINDS, repeated=True),
            Parameter("bot", "boolean", "true: what machines did, false: what people did"),
            Parameter("since", "string", "a date or an instant, included"),
            Parameter("before", "string", "a date or an instant, not included"),
            Parameter("limit", "integer", "rows a page", default=25, least=1, most=100),
            places.AFTER,
        ),
    ),
]
