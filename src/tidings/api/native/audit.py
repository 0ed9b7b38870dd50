"""The audit over HTTP: who deleted what, and when. Read-only; what happened to rows that are still there is told by themselves."""

from datetime import UTC, datetime
from typing import get_args

import msgspec

from tidings import clock, ids
from tidings.api.wire import PAGED, Call, Parameter, Reply, Route, instant, listing
from tidings.domain import audit
from tidings.domain.audit import Action, Entry, Filters, Kind
from tidings.errors import Invalid


class AuditAnswer(msgspec.Struct):
    """`subject` is the kind of what is gone, `subject_id` its id in this API: a whole number of communications, `cont_…` of contacts.

    `key` is alpha's id of a communication; null for anything else, as are the fields after it.
    """

    id: str
    at: str
    author: str
    action: str
    subject: str
    subject_id: int | str
    contact_id: str | None
    key: str | None
    channel: str | None
    campaign_id: str | None
    enrollment_id: int | None


async def index(call: Call) -> Reply:
    """Newest first."""
    page, limit = call.page_limit()
    kind, subject_id = _named(call)
    filters = Filters(
        subject=_word(call, "subject", get_args(Kind)),
        kind=kind,
        subject_id=subject_id,
        action=_word(call, "action", get_args(Action)),
        author=call.query("author"),
        since=_instant(call, "from"),
        before=_instant(call, "to", last=True),
    )
    found = await call.db.read(audit.page, call.tenant_id, filters, page=page, limit=limit)
    return listing("audit", [_shown(call, row) for row in found.rows], page, limit, found.total)


def _shown(call: Call, row: Entry) -> AuditAnswer:
    kept = row.kept()
    communication = row.subject == "communication"
    return AuditAnswer(
        id=ids.spell("audit", row.id),
        at=instant(row.at),
        author=row.author,
        action=row.action,
        subject=row.subject,
        subject_id=row.subject_id if communication else ids.spell(row.subject, row.subject_id),
        contact_id=None if row.contact_id is None else ids.spell("contact", row.contact_id),
        key=call.house.signer.communication(call.tenant_id, row.subject_id) if communication else None,
        channel=kept.channel,
        campaign_id=None if kept.campaign_id is None else ids.spell("campaign", kept.campaign_id),
        enrollment_id=kept.enrollment_id,
    )


def _named(call: Call) -> tuple[Kind | None, int | None]:
    """The row that `subject_id` names: a communication in the spelling of either API, or a contact. Raises Invalid for another spelling."""
    text = call.query("subject_id")
    if text is None:
        return None, None
    signed = call.house.signer.parse_communication(text)
    number = signed[1] if signed is not None and signed[0] == call.tenant_id else ids.parse_int(text)
    if number is not None:
        return "communication", number
    contact = ids.parse("contact", text)
    if contact is None:
        raise Invalid.field("subject_id", "must be the id of a communication or a contact")
    return "contact", contact


def _word(call: Call, name: str, words: tuple[str, ...]) -> str | None:
    text = call.query(name)
    if text is not None and text not in words:
        raise Invalid.field(name, f"must be one of {', '.join(words)}")
    return text


def _instant(call: Call, name: str, *, last: bool = False) -> int | None:
    """Milliseconds of `2025-06-18` or `2025-06-18T12:00:00Z` (without an offset UTC is meant), or, for the `last` that is wanted, just
    after it: the day's end, the second's.
    """
    text = call.query(name)
    if text is None:
        return None
    text = text.strip()
    try:
        # a + of an offset that was not escaped arrives as a space
        at = datetime.fromisoformat(text.replace(" ", "+"))
        found = int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        raise Invalid.field(name, "must be a date such as 2025-06-18 or 2025-06-18T12:00:00Z") from error
    whole_day = len(text) == len("2025-06-18")
    return found + (clock.DAY if whole_day else clock.SECOND) * last


_FILTERS = (
    Parameter("subject", "string", "what is gone", words=get_args(Kind)),
    Parameter("subject_id", "string", "the id of what is gone: a communication's in either API, or a contact's"),
    Parameter("action", "string", "what was done", words=get_args(Action)),
    Parameter("author", "string", "the name of the key"),
    Parameter("from", "string", "a date or an instant, included"),
    Parameter("to", "string", "a date or an instant, included"),
)

ROUTES: list[Route] = [
    Route("GET", "/api/v1/audit", index, "admin:read", "Who deleted what", gives=AuditAnswer, lists="audit", query=(*_FILTERS, *PAGED)),
]
