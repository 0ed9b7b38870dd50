"""The rest of a campaign over HTTP: who did not get it and why, as a list or a CSV file, and sending it to them."""

from collections.abc import AsyncIterator, Callable
from typing import Final, Literal

import msgspec

from tidings import ids
from tidings.analytics import missed
from tidings.analytics.missed import REASONS, Asked, Counts, Found, Missed, Place, Plan
from tidings.api.idempotency import once_said
from tidings.api.native import jobs, places, reports_asked
from tidings.api.native.campaigns import campaign_id_of
from tidings.api.native.contacts import list_named
from tidings.api.native.jobs import JobAnswer
from tidings.api.wire import JSON, Call, House, Parameter, Reply, Route, accepted, instant, instant_or_none, ok
from tidings.database import Tx
from tidings.domain import enrollments
from tidings.domain.communications.rest import PASSING, Again, Reason
from tidings.domain.enrollments import Rest
from tidings.errors import Invalid, NotFound
from tidings.message import sheet

STEP = 1000
"""Rows of a file that are in memory together."""


class MissedAnswer(msgspec.Struct, frozen=True):
    """A contact who has not got a message. `message_id` is null where it is any of them; `communication_id` where none was made.

    `since` is when that came about, `due_at` when it will be sent. `detail` are the words of whoever refused it, and `code` theirs;
    `author` is the key of whoever canceled it.
    """

    contact_id: str
    email: str | None
    phone: str | None
    message_id: int | None
    reason: Reason
    since: str
    due_at: str | None
    detail: str | None
    code: str | None
    author: str | None
    communication_id: int | None


class MissedPage(msgspec.Struct, frozen=True):
    """How many missed it for each reason (on the first page; null on those behind it), then who, a page of them.

    `complete` is false when there are more than are counted: each count is then the least it can be.
    """

    counts: dict[str, int] | None
    total: int | None
    complete: bool | None
    contacts: list[MissedAnswer]
    next: str | None


class SendToRest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """To whom: who missed it for one of `reasons`, of one `message` or of all; and of a `list` (its name or id), or with `contacts` "all",
    who was never enrolled. `dry_run` only tells what would be done.
    """

    reasons: list[Again] = msgspec.field(default_factory=lambda: list(PASSING))
    message: int | None = None
    named_list: str | None = msgspec.field(name="list", default=None)
    contacts: Literal["all"] | None = None
    dry_run: bool = False


class RestPreview(msgspec.Struct, frozen=True):
    """What would be done: messages sent `again` by why they were missed, messages `left` alone by what forbids it, contacts to `enroll`.

    `complete` is false when there are more than were looked at.
    """

    again: dict[str, int]
    left: dict[str, int]
    enroll: int
    complete: bool


async def index(call: Call) -> Reply:
    """Counts of each reason, then who; the whole of it as CSV when `format`, or `Accept`, names that."""
    if call.query("format") not in (None, *_FORMS):
        raise Invalid.field("format", f"must be {' or '.join(_FORMS)}")
    if reports_asked.form_of(call, *_FORMS) == "csv":
        return await export(call)
    given = await call.db.read(_plan, call)
    after = places.asked(call, Place)
    _, limit = call.page_limit()

    def read(tx: Tx) -> tuple[Counts | None, Found]:
        return (missed.counts(tx, given) if after is None else None), missed.page(tx, given, after, limit=limit)

    counts, found = await call.db.read(read)
    return ok(
        MissedPage(
            counts=None if counts is None else counts.by_reason,
            total=None if counts is None else sum(counts.by_reason.values()),
            complete=None if counts is None else counts.complete,
            contacts=[shown(row) for row in found.rows],
            next=places.spelt(found.next),
        )
    )


async def export(call: Call) -> Reply:
    """Every row of it, streamed."""
    given = await call.db.read(_plan, call)
    headers = {"content-type": "text/csv; charset=utf-8", "content-disposition": 'attachment; filename="missed.csv"', "vary": "Accept"}
    return Reply(200, lines(call.house, given), headers)


async def send(call: Call) -> Reply:
    """202, a job; or with `dry_run` 200 and what it would do."""
    said = call.json(SendToRest)
    campaign_id = campaign_id_of(call)
    if said.message is not None and not 0 < said.message <= ids.MAX_ID:
        raise Invalid.field("message", "is not a message of this campaign")
    if said.named_list is not None and said.contacts is not None:
        raise Invalid("Say whom to enroll: either list, or contacts")

    def asked(tx: Tx) -> Rest:
        return Rest(
            campaign_id=campaign_id,
            reasons=tuple(sorted(set(said.reasons))),
            message_id=said.message,
            list_id=None if said.named_list is None else list_named(tx, call, said.named_list),
            everybody=said.contacts is not None,
            asked_at=call.now,
            author=call.key_name,
        )

    if said.dry_run:
        return ok(await call.db.read(lambda tx: _preview(tx, call.tenant_id, asked(tx))))
    return await once_said(call, lambda tx: accepted(jobs.shown(enrollments.begin_rest(tx, call.tenant_id, asked(tx), now=call.now))))


def shown(row: Missed) -> MissedAnswer:
    """One of them as this API writes it."""
    return MissedAnswer(
        contact_id=ids.spell("contact", row.contact_id),
        email=row.email,
        phone=row.phone,
        message_id=row.message_id,
        reason=row.reason,
        since=instant(row.since),
        due_at=instant_or_none(row.due_at),
        detail=row.detail,
        code=row.code,
        author=row.author,
        communication_id=row.communication_id,
    )


async def lines(house: House, given: Plan, told: Callable[[int], None] = lambda _: None) -> AsyncIterator[bytes]:
    """All of them as CSV, a line each under one of names. `told` hears how many each piece has."""
    found = await house.db.read(missed.page, given, None, limit=STEP)
    yield sheet.line(MissedAnswer.__struct_fields__).encode()
    while True:
        told(len(found.rows))
        yield "".join([_line(shown(row)) for row in found.rows]).encode()
        if found.next is None:
            return
        found = await house.db.read(missed.page, given, found.next, limit=STEP)


def _line(row: MissedAnswer) -> str:
    cells = ["" if value is None else str(value) for value in msgspec.structs.astuple(row)]
    # a phone number begins with a sign and is no formula
    return sheet.line(sheet.neutral(cell, numbers=name == "phone") for name, cell in zip(row.__struct_fields__, cells, strict=True))


def _preview(tx: Tx, tenant_id: int, asked: Rest) -> RestPreview:
    found = enrollments.preview_rest(tx, tenant_id, asked)
    return RestPreview(found.again, found.left, found.enroll, found.complete)


def _plan(tx: Tx, call: Call) -> Plan:
    reasons = call.queries("reason")
    if set(reasons) - set(REASONS):
        raise Invalid.field("reason", f"must be one of {', '.join(REASONS)}")
    everybody = call.query("contacts")
    if everybody not in (None, "all"):
        raise Invalid.field("contacts", "must be all")
    named, message = call.query("list"), call.query("message")
    message_id = None if message is None else ids.parse_int(message)
    if message is not None and message_id is None:
        raise Invalid.field("message", "must be a whole number, at least 1")
    asked = Asked(
        campaign_id=campaign_id_of(call),
        message_id=message_id,
        reasons=frozenset(reasons or REASONS),
        list_id=None if named is None else list_named(tx, call, named),
        everybody=everybody is not None,
    )
    given = missed.plan(tx, call.tenant_id, asked)
    if message_id is not None and given.step(message_id) is None:
        raise NotFound("Message not found")
    return given


_MISSED = "/api/v1/reports/campaigns/{id}/missed"
_FORMS: Final = ("json", "csv")
_FILTERS = (
    Parameter("message", "integer", "only this message of it", least=1),
    Parameter("reason", "string", "only for this reason", words=REASONS, repeated=True),
    Parameter("list", "string", "those of the list of this id or name, too, who were never enrolled"),
    Parameter("contacts", "string", "all: the same of all contacts", words=("all",)),
)

ROUTES: list[Route] = [
    Route(
        "GET",
        _MISSED,
        index,
        "reports:read",
        "Who did not get it, and why",
        gives=MissedPage,
        query=(
            *_FILTERS,
            Parameter("limit", "integer", "rows a page", default=25, least=1, most=100),
            places.AFTER,
            reports_asked.formats(*_FORMS),
        ),
        media=(*JSON, "text/csv"),
    ),
    Route("GET", _MISSED + ".csv", export, "reports:read", "The same as CSV", query=_FILTERS, media=("text/csv",)),
    Route(
        "POST",
        "/api/v1/campaigns/{id}/send_to_rest",
        send,
        "campaigns:write",
        "Send it to those who did not get it",
        SendToRest,
        JobAnswer,
        status=202,
        also={200: RestPreview},
        idempotent=True,
    ),
]
