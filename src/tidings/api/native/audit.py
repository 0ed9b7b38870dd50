"""The audit over HTTP: who read, changed, exported, deleted or erased what, and when. Read-only."""

from typing import get_args

import msgspec

from tidings import clock, ids
from tidings.api.native import moments
from tidings.api.wire import PAGED, Call, Parameter, Reply, Route, instant, listing
from tidings.domain import audit
from tidings.domain.audit import Action, Entry, Filters
from tidings.errors import Invalid


class AuditAnswer(msgspec.Struct):
    """`subject` is the kind of what it was done to, `subject_id` its id in this API: a whole number of communications, `cont_…` of contacts;
    null where that is no single row, and where it is several they are `subject_ids`. `operation`, `status` and `ip` are a request's:
    what it was, how it ended, from where it came.

    `key` is alpha's id of a communication; the fields after it are what is kept of one that was deleted.
    """

    id: str
    at: str
    author: str
    action: str
    operation: str | None
    status: int | None
    ip: str | None
    subject: str | None
    subject_id: int | str | None
    subject_ids: list[int | str]
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
        subject=_word(call, "subject", SUBJECTS),
        kind=kind,
        subject_id=subject_id,
        action=_word(call, "action", get_args(Action)),
        author=call.query("author"),
        contact_id=_contact(call),
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
        operation=row.operation,
        status=row.status,
        ip=row.ip,
        subject=row.subject or None,
        subject_id=_spelled(row.subject, row.subject_id) if row.subject else None,
        subject_ids=[_spelled(row.subject, identity) for identity in kept.ids],
        contact_id=None if row.contact_id is None else ids.spell("contact", row.contact_id),
        key=call.house.signer.communication(call.tenant_id, row.subject_id) if communication else None,
        channel=kept.channel,
        campaign_id=None if kept.campaign_id is None else ids.spell("campaign", kept.campaign_id),
        enrollment_id=kept.enrollment_id,
    )


def _spelled(kind: str, identity: int) -> int | str:
    """The id as this API writes it: what has no prefix is a whole number."""
    return ids.spell(kind, identity) if kind in ids.PREFIXES else identity


def _contact(call: Call) -> int | None:
    text = call.query("contact_id")
    found = None if text is None else ids.parse("contact", text)
    if text is not None and found is None:
        raise Invalid.field("contact_id", "must be the id of a contact")
    return found


def _named(call: Call) -> tuple[str | None, int | None]:
    """The row that `subject_id` names: by its prefix, or a communication in the spelling of either API. Raises Invalid for another spelling."""
    text = call.query("subject_id")
    if text is None:
        return None, None
    signed = call.house.signer.parse_communication(text)
    number = signed[1] if signed is not None and signed[0] == call.tenant_id else ids.parse_int(text)
    if number is not None:
        # a bare number is the id of what has no prefix
        wanted = call.query("subject") or "communication"
        return "communication" if wanted in ids.PREFIXES else wanted, number
    for kind in ids.PREFIXES:
        found = ids.parse(kind, text)
        if found is not None:
            return kind, found
    raise Invalid.field("subject_id", "must be the id of a communication, a contact or the like")


def _word(call: Call, name: str, words: tuple[str, ...]) -> str | None:
    text = call.query(name)
    if text is not None and text not in words:
        raise Invalid.field(name, f"must be one of {', '.join(words)}")
    return text


def _instant(call: Call, name: str, *, last: bool = False) -> int | None:
    """As `moments.asked`, or, for the `last` that is wanted, just after it: the day's end, the second's."""
    text = call.query(name)
    if text is None:
        return None
    whole_day = len(text.strip()) == len("2025-06-18")
    return moments.read(text, name) + (clock.DAY if whole_day else clock.SECOND) * last


SUBJECTS = ("communication", *ids.PREFIXES, "enrollment", "message")
"""Kinds of rows that entries speak of."""
_FILTERS = (
    Parameter("subject", "string", "the kind of what it was done to", words=SUBJECTS),
    Parameter("subject_id", "string", "the id of what it was done to: a communication's in either API, or any other"),
    Parameter("contact_id", "string", "a contact that it was about"),
    Parameter("action", "string", "what was done", words=get_args(Action)),
    Parameter("author", "string", "the name of the key"),
    Parameter("from", "string", "a date or an instant, included"),
    Parameter("to", "string", "a date or an instant, included"),
)

ROUTES: list[Route] = [
    Route(
        "GET", "/api/v1/audit", index, "admin:read", "Who read or changed what", gives=AuditAnswer, lists="audit", query=(*_FILTERS, *PAGED)
    ),
]
