"""The rocketcoms contract: a recipient's messages, both directions, below /v1. Its ids are UUIDs, its pages are counted from 0."""

import asyncio
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from typing import Literal, NamedTuple, cast

import msgspec

from tidings import ids
from tidings.analytics import timeline
from tidings.analytics.timeline import Asked, Entry, Key, Order
from tidings.api import drafts
from tidings.api.wire import Call, House, Parameter, Reply, Route, ok
from tidings.clock import DAY
from tidings.database import Tx
from tidings.domain import communications, contacts, templates
from tidings.domain.communications import Due
from tidings.domain.page import Page
from tidings.domain.templates import Content
from tidings.errors import Invalid, NotFound
from tidings.message import plaintext

PLACES = 20_000
"""Messages whose place is looked at together where the database cannot put them in order; each is a few numbers."""
TEXTS = 50
"""Messages whose texts are in memory at a time while all of a recipient's are looked through."""
LED = 200
"""Characters of a text that it is put in order by."""
DEFAULT_SIZE, MOST_SIZE, LAST_PAGE = 20, 100, 2**31 - 1

Direction = Literal["OUTGOING", "INCOMING"]
Status = Literal["PENDING", "IN_PROCESS", "CANCELED", "SENT", "DELIVERED", "FAILED"]
STATUS: dict[str, Status] = {
    "scheduled": "PENDING",
    "pending": "PENDING",
    "in_process": "IN_PROCESS",
    "unknown": "IN_PROCESS",
    "sent": "SENT",
    "delivered": "DELIVERED",
    "failed": "FAILED",
    "bounced": "FAILED",
    "suppressed": "FAILED",
    "canceled": "CANCELED",
}
_STATUSES = ("PENDING", "IN_PROCESS", "CANCELED", "SENT", "DELIVERED", "FAILED")
_SORTED: dict[str, Key] = {
    "direction": "inbound",
    "status": "state",
    "campaignName": "campaign_name",
    "sentAt": "sent_at",
    "createdAt": "created_at",
}
"""What the database puts in order; it knows neither a UUID nor what a message says."""
_SORTS = ("id", "direction", "messageText", "campaignId", "campaignName", "status", "sentAt", "createdAt")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NUMBER = re.compile(r"[0-9]{1,10}")
_BREAKS = "\r\n"
"""What a mail's text ends with says nothing."""
_EPOCH = date(1970, 1, 1).toordinal()


class Message(msgspec.Struct, frozen=True, rename="camel"):
    """M of the contract."""

    id: str
    direction: Direction
    message_text: str
    campaign_id: str | None
    campaign_name: str | None
    status: Status


class Result(msgspec.Struct, frozen=True, rename="camel"):
    """One page; `total` is the number of pages."""

    content: list[Message]
    page: int
    total: int
    page_size: int


class Answer(msgspec.Struct, frozen=True):
    """What success looks like."""

    status: str
    result: Result
    message: str


class _Request(msgspec.Struct, frozen=True):
    """What the query string asks for. `text` is folded and "" for any; `sort` is "" for the order of time."""

    asked: Asked
    text: str
    sort: str
    descending: bool
    page: int
    size: int

    @property
    def looks_at_texts(self) -> bool:
        return bool(self.text) or self.sort == "messageText"

    @property
    def is_for_the_database(self) -> bool:
        return not self.text and (not self.sort or self.sort in _SORTED)


class _Words(NamedTuple):
    """What the texts of some entries are made of; what was deleted meanwhile is in none of them."""

    dues: dict[int, Due]
    contents: dict[int, Content]
    received: dict[int, str]


class _Told(NamedTuple):
    """An entry and its text ("" where nobody has looked at it)."""

    entry: Entry
    text: str


async def messages(call: Call) -> Reply:
    """A page of what was sent to a recipient and received from them."""
    request = _request(call)
    if request.is_for_the_database:
        found, words = await call.db.read(_page, call.tenant_id, request)
    else:
        await call.db.read(_check, call.tenant_id, request.asked)
        found = await _looked_through(call, request)
        words = await call.db.read(_words, call.tenant_id, found.rows)
    # a page of long mails takes a while to render, which other requests should not wait for
    content = await asyncio.to_thread(_shown, call.house, found.rows, words)
    result = Result(content, request.page, -(-found.total // request.size), request.size)
    return ok(Answer("0000", result, "Success"))


def _request(call: Call) -> _Request:
    """Raises Invalid naming the parameter that is wrong."""
    recipient = call.path["recipientId"]
    if not ids.is_uuid(recipient):
        raise Invalid.field("recipientId", "is not a UUID")
    since, until = _day(call, "from"), _day(call, "to")
    if since is not None and until is not None and since > until:
        raise Invalid.field("from", "is after to")
    status, sort = _word(call, "status", _STATUSES), _word(call, "sortBy", _SORTS)
    direction = _word(call, "sortDir", ("asc", "desc"))
    asked = Asked(
        # no row has the id 0
        contact_id=ids.parse_uuid("contact", recipient) or 0,
        since=since,
        until=None if until is None else until + DAY,
        states=tuple(state for state, word in STATUS.items() if word == status) if status else None,
        campaigns=_campaigns(call),
    )
    return _Request(
        asked=asked,
        text=(call.query("messageText") or "").casefold(),
        sort=sort,
        descending=direction == "desc" if direction else not sort,
        page=_number(call, "page", 0, 0, LAST_PAGE),
        size=_number(call, "pageSize", DEFAULT_SIZE, 1, MOST_SIZE),
    )


def _day(call: Call, name: str) -> int | None:
    """The beginning of a day in UTC, in milliseconds."""
    text = call.query(name)
    if text is None:
        return None
    try:
        # fromisoformat alone takes other spellings, and digits of other scripts
        found = date.fromisoformat(text) if _DATE.fullmatch(text) else None
    except ValueError:
        found = None
    if found is None:
        raise Invalid.field(name, "must be a date such as 2025-06-18")
    return (found.toordinal() - _EPOCH) * DAY


def _word(call: Call, name: str, words: Sequence[str]) -> str:
    text = call.query(name)
    if text is not None and text not in words:
        raise Invalid.field(name, f"must be one of {', '.join(words)}")
    return text or ""


def _number(call: Call, name: str, default: int, least: int, most: int) -> int:
    text = call.query(name)
    if text is None:
        return default
    if not (_NUMBER.fullmatch(text) and least <= int(text) <= most):
        raise Invalid.field(name, f"must be a whole number from {least} to {most}")
    return int(text)


def _campaigns(call: Call) -> tuple[int, ...] | None:
    words = [word.strip() for given in call.queries("campaigns") for word in given.split(",")]
    for word in words:
        if not ids.is_uuid(word):
            raise Invalid.field("campaigns", f"has something that is not a UUID: {word[:40]!a}")
    return tuple(dict.fromkeys(_known_campaign(word) for word in words)) if words else None


def _known_campaign(text: str) -> int:
    found = ids.parse_uuid("campaign", text)
    if found is None:
        raise _unknown_campaign(text)
    return found


def _unknown_campaign(text: str) -> Invalid:
    return Invalid.field("campaigns", f"has one that is not known: {text}")


def _check(tx: Tx, tenant_id: int, asked: Asked) -> None:
    """Raises NotFound for a recipient, and Invalid for a campaign, that is not the tenant's."""
    if contacts.get(tx, tenant_id, asked.contact_id) is None:
        raise NotFound("Recipient not found")
    wanted = list(asked.campaigns or ())
    known = timeline.known_campaigns(tx, tenant_id, wanted) if wanted else set[int]()
    for campaign_id in wanted:
        if campaign_id not in known:
            raise _unknown_campaign(ids.uuid("campaign", campaign_id))


def _page(tx: Tx, tenant_id: int, request: _Request) -> tuple[Page[Entry], _Words]:
    """The page as the database finds it, and what its texts are made of."""
    _check(tx, tenant_id, request.asked)
    order = Order(key=_SORTED.get(request.sort, "at"), descending=request.descending)
    found = timeline.page(tx, tenant_id, request.asked, order, offset=request.page * request.size, limit=request.size)
    return found, _words(tx, tenant_id, found.rows)


def _words(tx: Tx, tenant_id: int, entries: Sequence[Entry]) -> _Words:
    sent, came = [entry.id for entry in entries if not entry.inbound], [entry.id for entry in entries if entry.inbound]
    dues = {due.id: due for due in communications.dues(tx, tenant_id, sent)} if sent else {}
    contents = templates.contents(tx, tenant_id, {due.content_id for due in dues.values()}) if dues else []
    texts = timeline.received(tx, tenant_id, came) if came else {}
    return _Words(dues, {content.id: content for content in contents}, texts)


async def _looked_through(call: Call, request: _Request) -> Page[Entry]:
    """The page found by looking at every message of the recipient, in memory for the page and all before it, and no text beyond LED characters."""
    best, last, total = _Best(request), cast("Entry | None", None), 0
    while entries := await call.db.read(timeline.step, call.tenant_id, request.asked, after=last, limit=PLACES):
        last = entries[-1]
        if not request.looks_at_texts:
            total += await asyncio.to_thread(best.take, [_Told(entry, "") for entry in entries])
            continue
        for start in range(0, len(entries), TEXTS):
            batch = entries[start : start + TEXTS]
            words = await call.db.read(_words, call.tenant_id, batch)
            total += await asyncio.to_thread(_sifted, call.house, best, batch, words)
    return Page(best.page(), total)


def _sifted(house: House, best: "_Best", entries: Sequence[Entry], words: _Words) -> int:
    return best.take(_told(house, entries, words))


class _Best:
    """Keeps, of any number of messages, those that come first in the order asked for: as many as there are up to the end of the page."""

    def __init__(self, request: _Request) -> None:
        self._request = request
        self._value = _VALUES[request.sort]
        self._most = (request.page + 1) * request.size
        self._kept: list[_Kept] = []

    def take(self, told: Iterable[_Told]) -> int:
        """Looks at some more; answers how many of them have the text asked for."""
        text, count = self._request.text, 0
        for entry, said in told:
            if text in said.casefold():
                count += 1
                self._kept.append(_Kept(self._value(entry, said), entry.at, entry.inbound, entry.id, entry))
        # room for as many again, so that not every look sorts them
        if len(self._kept) > 2 * self._most + PLACES:
            self._kept = self._first()
        return count

    def page(self) -> list[Entry]:
        """The entries of the page."""
        return [kept.entry for kept in self._first()[self._most - self._request.size :]]

    def _first(self) -> list["_Kept"]:
        """What has no value comes last either way."""
        found = sorted((kept for kept in self._kept if kept.value is not None), key=_place, reverse=self._request.descending)
        found += sorted((kept for kept in self._kept if kept.value is None), key=_place, reverse=self._request.descending)
        return found[: self._most]


class _Kept(NamedTuple):
    value: str | int | None
    at: int
    inbound: int
    id: int
    entry: Entry


def _place(kept: _Kept) -> tuple[str | int | None, int, int, int]:
    return kept[:4]


_VALUES: dict[str, Callable[[Entry, str], str | int | None]] = {
    "": lambda entry, _: entry.at,
    "id": lambda entry, _: _identity(entry),
    "direction": lambda entry, _: _direction(entry),
    "messageText": lambda _, text: text[:LED],
    "campaignId": lambda entry, _: _campaign(entry),
    "campaignName": lambda entry, _: entry.campaign_name,
    "status": lambda entry, _: STATUS[entry.state],
    "sentAt": lambda entry, _: entry.sent_at,
    "createdAt": lambda entry, _: entry.created_at,
}


def _shown(house: House, entries: Sequence[Entry], words: _Words) -> list[Message]:
    return [
        Message(
            id=_identity(entry),
            direction=_direction(entry),
            message_text=text,
            campaign_id=_campaign(entry),
            campaign_name=entry.campaign_name,
            status=STATUS[entry.state],
        )
        for entry, text in _told(house, entries, words)
    ]


def _told(house: House, entries: Sequence[Entry], words: _Words) -> list[_Told]:
    """The entries with their texts; what was deleted between two looks is left out."""
    found: list[_Told] = []
    for entry in entries:
        if entry.inbound:
            if (text := words.received.get(entry.id)) is not None:
                found.append(_Told(entry, text.strip(_BREAKS)))
        elif (due := words.dues.get(entry.id)) is not None and (content := words.contents.get(due.content_id)) is not None:
            found.append(_Told(entry, _text(house, due, content)))
    return found


def _text(house: House, due: Due, content: Content) -> str:
    """What the recipient reads. What cannot be rendered is told as it was written: nobody reads it."""
    try:
        text = house.composer.rendered_text(due, content)
    except Invalid:
        source = drafts.unliteral(content.source)
        text = source if content.format == "text" else plaintext.from_html(source)
    return text if content.channel == "sms" else text.strip(_BREAKS)


def _identity(entry: Entry) -> str:
    return ids.uuid("inbound" if entry.inbound else "communication", entry.id)


def _direction(entry: Entry) -> Direction:
    return "INCOMING" if entry.inbound else "OUTGOING"


def _campaign(entry: Entry) -> str | None:
    return None if entry.campaign_id is None else ids.uuid("campaign", entry.campaign_id)


ROUTES: list[Route] = [
    Route(
        "GET",
        "/v1/recipients/{recipientId}/messages",
        messages,
        "communications:read",
        "What was said with a recipient, both ways",
        gives=Answer,
        variables=(Parameter("recipientId", form="uuid"),),
        query=(
            Parameter("from", "string", "sent or received on this day (UTC) or later", form="date"),
            Parameter("to", "string", "sent or received on this day (UTC) or before", form="date"),
            Parameter("status", words=_STATUSES),
            Parameter("campaigns", "string", "ids of campaigns: repeated, or separated by commas", form="uuid", repeated=True),
            Parameter("messageText", "string", "words that occur in the text as they stand, in any case"),
            Parameter("sortBy", words=_SORTS),
            Parameter("sortDir", "string", "asc unless given, with sortBy; else newest first", words=("asc", "desc")),
            Parameter("page", "integer", "counted from 0", default=0, least=0, most=LAST_PAGE),
            Parameter("pageSize", "integer", default=DEFAULT_SIZE, least=1, most=MOST_SIZE),
        ),
    )
]
