"""The reviewrover contract: communications (read only), enrollments, instant messages. Its paths are /api/v1/…, its times whole seconds UTC."""

import asyncio
from typing import Any

import msgspec

from tidings import ids
from tidings.api.idempotency import once_said
from tidings.api.wire import FORMS, PAGED, Call, Parameter, Reply, Route, created, instant, instant_or_none, listing, no_content, ok
from tidings.domain import communications, enrollments
from tidings.domain.communications import Communication
from tidings.domain.enrollments import Enrollment
from tidings.errors import Invalid, NotFound, Unavailable

LAST_WORD = 0.05
"""Seconds between looks at a message that was on its way when its enrollment was deleted; settling rings no bell."""
PATIENCE = 60.0
"""Seconds a DELETE waits for such a message: longer than a provider may take."""


class CommunicationBody(msgspec.Struct, frozen=True):
    """C of the contract."""

    id: int
    communication_type: str
    sent: bool
    sent_at: str | None
    clicked: bool
    manual: bool
    contact_id: str
    campaign_id: str | None
    enrollment_id: int | None
    created_at: str
    updated_at: str


class EnrollmentBody(msgspec.Struct, frozen=True):
    """E of the contract."""

    id: int
    campaign_id: str
    contact_id: str
    enrolled_at: str
    completed: bool
    created_at: str
    updated_at: str


class NewEnrollment(msgspec.Struct, frozen=True):
    """What POST takes, as JSON or as a form."""

    campaign_id: str
    contact_id: str


async def list_communications(call: Call) -> Reply:
    """Newest first, id breaks ties."""
    channel = call.query("type")
    if channel is not None and channel not in {"email", "sms"}:
        raise Invalid.field("type", "must be email or sms")
    page, limit = call.page_limit()
    found = await call.db.read(
        communications.page, call.tenant_id, channel=channel, sent=call.flag("sent"), manual=call.flag("manual"), limit=limit, page=page
    )
    return listing("communications", [_communication(row) for row in found.rows], page, limit, found.total)


async def retrieve_communication(call: Call) -> Reply:
    """Digits only; any other spelling is nobody's."""
    identity = ids.parse_int(call.path["id"])
    found = await call.db.read(communications.get, call.tenant_id, identity) if identity is not None else None
    if found is None:
        raise NotFound
    return ok(_communication(found))


async def list_enrollments(call: Call) -> Reply:
    """Most recently created first."""
    campaign_id, contact_id = _asked(call, "campaign"), _asked(call, "contact")
    page, limit = call.page_limit()
    found = await call.db.read(
        enrollments.page,
        call.tenant_id,
        campaign_id=campaign_id,
        contact_id=contact_id,
        completed=call.flag("completed"),
        limit=limit,
        page=page,
    )
    return listing("enrollments", [_enrollment(row) for row in found.rows], page, limit, found.total)


async def create_enrollment(call: Call) -> Reply:
    """Form or JSON. A missing field is named, an unknown campaign or contact is a 404 that says which."""
    given = call.fields()
    wrong: dict[str, list[str]] = {}
    for name in ("campaign_id", "contact_id"):
        value: Any = given.get(name)
        if value is None or (isinstance(value, str) and not value.strip()):
            wrong[name] = ["can't be blank"]
    if wrong:
        raise Invalid("; ".join(f"{name} can't be blank" for name in wrong), wrong)
    campaign_id, contact_id = _known("campaign", given["campaign_id"]), _known("contact", given["contact_id"])
    return await once_said(
        call, lambda tx: created(_enrollment(enrollments.enroll(tx, call.tenant_id, campaign_id, contact_id, now=call.now)))
    )


async def retrieve_enrollment(call: Call) -> Reply:
    """One by its number."""
    found = await call.db.read(enrollments.get, call.tenant_id, _number(call))
    if found is None:
        raise NotFound
    return ok(_enrollment(found))


async def delete_enrollment(call: Call) -> Reply:
    """What is pending is canceled; what is being sent at this moment is waited for, so that nothing goes out after the answer."""
    identity = _number(call)
    under_way = await call.db.write(enrollments.delete, call.tenant_id, identity, now=call.now)
    try:
        async with asyncio.timeout(PATIENCE):
            while under_way:
                await asyncio.sleep(LAST_WORD)
                under_way = await call.db.read(communications.in_process, call.tenant_id, identity)
    except TimeoutError as error:
        raise Unavailable("The enrollment is gone, but one of its messages is still being sent") from error
    return no_content()


def _communication(row: Communication) -> CommunicationBody:
    return CommunicationBody(
        id=row.id,
        communication_type=row.channel,
        sent=row.sent_at is not None,
        sent_at=instant_or_none(row.sent_at),
        clicked=row.clicked_at is not None,
        manual=row.campaign_id is None,
        contact_id=ids.spell("contact", row.contact_id),
        campaign_id=None if row.campaign_id is None else ids.spell("campaign", row.campaign_id),
        enrollment_id=row.enrollment_id,
        created_at=instant(row.created_at),
        updated_at=instant(row.updated_at),
    )


def _enrollment(row: Enrollment) -> EnrollmentBody:
    return EnrollmentBody(
        id=row.id,
        campaign_id=ids.spell("campaign", row.campaign_id),
        contact_id=ids.spell("contact", row.contact_id),
        enrolled_at=instant(row.enrolled_at),
        completed=row.completed_at is not None,
        created_at=instant(row.created_at),
        updated_at=instant(row.updated_at),
    )


def _number(call: Call) -> int:
    identity = ids.parse_int(call.path["id"])
    if identity is None:
        raise NotFound
    return identity


def _known(kind: str, text: Any) -> int:
    """The id behind a reference in a body."""
    found = ids.parse(kind, text.strip()) if isinstance(text, str) else None
    if found is None:
        raise NotFound(f"{kind.capitalize()} not found")
    return found


def _asked(call: Call, kind: str) -> int | None:
    """The id a list is filtered by: an unknown one matches nothing, another contract's spelling is a 404."""
    text = call.query(f"{kind}_id")
    if not text:
        return None
    if not text.startswith(ids.PREFIXES[kind]):
        raise NotFound(f"{kind.capitalize()} not found")
    # no row has the id 0
    return ids.parse(kind, text) or 0


_NARROWED = (
    Parameter("type", words=("email", "sms")),
    Parameter("sent", "boolean"),
    Parameter("manual", "boolean", "true: instant messages, false: campaign messages"),
    *PAGED,
)
_ENROLLED = (Parameter("campaign_id"), Parameter("contact_id"), Parameter("completed", "boolean"), *PAGED)
_NUMBER = (Parameter("id", "integer", least=1),)

ROUTES: list[Route] = [
    Route(
        "GET",
        "/api/v1/communications",
        list_communications,
        "communications:read",
        "List communications",
        gives=CommunicationBody,
        query=_NARROWED,
        lists="communications",
    ),
    Route(
        "GET",
        "/api/v1/communications/{id}",
        retrieve_communication,
        "communications:read",
        "Retrieve a communication",
        gives=CommunicationBody,
        variables=_NUMBER,
    ),
    Route(
        "GET",
        "/api/v1/enrollments",
        list_enrollments,
        "campaigns:read",
        "List enrollments",
        gives=EnrollmentBody,
        query=_ENROLLED,
        lists="enrollments",
        refuses=(404,),
    ),
    Route(
        "POST",
        "/api/v1/enrollments",
        create_enrollment,
        "campaigns:write",
        "Enroll a contact in a campaign",
        takes=NewEnrollment,
        gives=EnrollmentBody,
        status=201,
        reads=FORMS,
        refuses=(404,),
        idempotent=True,
    ),
    Route(
        "GET",
        "/api/v1/enrollments/{id}",
        retrieve_enrollment,
        "campaigns:read",
        "Retrieve an enrollment",
        gives=EnrollmentBody,
        variables=_NUMBER,
    ),
    Route(
        "DELETE",
        "/api/v1/enrollments/{id}",
        delete_enrollment,
        "campaigns:write",
        "Delete an enrollment; nothing of it goes out afterwards",
        status=204,
        variables=_NUMBER,
    ),
]
