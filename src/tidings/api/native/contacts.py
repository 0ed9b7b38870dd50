"""Contacts over HTTP: made, found, changed, removed, and read through as CSV. Importing files is in `imports`."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from tidings import ids
from tidings.api.idempotency import once_said
from tidings.api.native import moments
from tidings.api.wire import JSON, PAGED, Call, Parameter, Reply, Route, created, instant, listing, no_content, ok
from tidings.database import Tx
from tidings.domain import audit, contacts, enrollments, lists
from tidings.domain.contacts import Consent, Contact, Fields, Filters
from tidings.errors import Invalid, NotFound

EXPORT_STEP = 1000
"""Contacts read at once for an export: what it holds in memory."""


class Consents(msgspec.Struct, forbid_unknown_fields=True):
    """Per channel: granted, denied, or null where nothing is known. What is left out stays as it is."""

    email: Consent | UnsetType | None = UNSET
    sms: Consent | UnsetType | None = UNSET


class Said(msgspec.Struct, forbid_unknown_fields=True):
    """A contact as a request has it. What is left out stays as it is, null empties it; attributes are merged, a null among them goes away."""

    email: str | UnsetType | None = UNSET
    phone: str | UnsetType | None = UNSET
    first_name: str | UnsetType | None = UNSET
    last_name: str | UnsetType | None = UNSET
    company: str | UnsetType | None = UNSET
    locale: str | UnsetType | None = UNSET
    timezone: str | UnsetType | None = UNSET
    attributes: dict[str, Any] | UnsetType | None = UNSET
    consent: Consents | UnsetType = UNSET


class ConsentAnswer(msgspec.Struct):
    """What the contact said about each channel; null where nothing is known."""

    email: Consent | None
    sms: Consent | None


class ContactAnswer(msgspec.Struct):
    """A contact. `id`, `uuid` and `number` are three spellings of the same, one for each contract that speaks of contacts."""

    id: str
    uuid: str
    number: int
    email: str | None
    phone: str | None
    first_name: str
    last_name: str
    company: str
    locale: str
    timezone: str
    attributes: msgspec.Raw
    consent: ConsentAnswer
    created_at: str
    updated_at: str


async def create(call: Call) -> Reply:
    """201; 409, naming the one there is, when the address (without one, the phone) is taken."""
    fields = _checked(call)
    return await once_said(call, lambda tx: created(shown(contacts.create(tx, call.tenant_id, fields, now=call.now))))


async def upsert(call: Call) -> Reply:
    """Makes (201) or changes (200) the contact with this email, or with this phone where no email is given."""
    fields = _checked(call)

    def work(tx: Tx) -> Reply:
        contact, made = contacts.upsert(tx, call.tenant_id, fields, now=call.now)
        return created(shown(contact)) if made else ok(shown(contact))

    return await call.db.write(work)


async def index(call: Call) -> Reply:
    """Newest first; the whole of it as CSV when that is what `Accept` names."""
    if "text/csv" in call.headers.get("accept", ""):
        return await export(call)
    page, limit = call.page_limit()
    filters = await call.db.read(_filters, call)
    found = await call.db.read(contacts.page, call.tenant_id, filters, limit=limit, page=page)
    return listing("contacts", [shown(contact) for contact in found.rows], page, limit, found.total)


async def show(call: Call) -> Reply:
    """One contact."""
    contact = await call.db.read(contacts.get, call.tenant_id, contact_id_of(call))
    if contact is None:
        raise NotFound("Contact not found")
    return ok(shown(contact))


async def change(call: Call) -> Reply:
    """The contact as it is then."""
    contact_id, fields = contact_id_of(call), _checked(call)
    return ok(shown(await call.db.write(contacts.update, call.tenant_id, contact_id, fields, now=call.now)))


async def delete(call: Call) -> Reply:
    """Its enrollments end and what is pending for it is canceled; what was sent stays in the reports, without the person."""
    await call.db.write(_delete, call.tenant_id, contact_id_of(call), author=call.key_name, now=call.now, asked=call.asked)
    return no_content()


async def export(call: Call) -> Reply:
    """Every contact that the filters let through, streamed; an import reads it back."""
    filters = await call.db.read(_filters, call)
    headers = {"content-type": "text/csv; charset=utf-8", "content-disposition": 'attachment; filename="contacts.csv"'}
    return Reply(200, _exported(call, filters), headers)


def shown(contact: Contact) -> ContactAnswer:
    """The contact as this API writes it."""
    return ContactAnswer(
        id=ids.spell("contact", contact.id),
        uuid=ids.uuid("contact", contact.id),
        number=contact.id,
        email=contact.email,
        phone=contact.phone,
        first_name=contact.first_name,
        last_name=contact.last_name,
        company=contact.company,
        locale=contact.locale,
        timezone=contact.timezone,
        attributes=msgspec.Raw(contact.attributes.encode()),
        consent=ConsentAnswer(contact.email_consent(), contact.sms_consent()),
        created_at=instant(contact.created_at),
        updated_at=instant(contact.updated_at),
    )


def contact_id_of(call: Call) -> int:
    """The contact in the path. Raises NotFound for another spelling."""
    found = ids.parse("contact", call.path["id"])
    if found is None:
        raise NotFound("Contact not found")
    return found


def list_named(tx: Tx, call: Call, text: str) -> int:
    """The list of this id or name. Raises Invalid naming the parameter `list`."""
    spelled = ids.parse("list", text)
    found = lists.get(tx, call.tenant_id, spelled) if spelled is not None else lists.find_by_name(tx, call.tenant_id, text)
    if found is None:
        raise Invalid.field("list", "is not a list's id or name")
    return found.id


def _checked(call: Call) -> Fields:
    said = call.json(Said)
    consent = said.consent if said.consent is not UNSET else Consents()
    return contacts.checked(
        Fields(
            email=said.email,
            phone=said.phone,
            first_name=said.first_name,
            last_name=said.last_name,
            company=said.company,
            locale=said.locale,
            timezone=said.timezone,
            attributes=said.attributes,
            email_consent=consent.email,
            sms_consent=consent.sms,
        )
    )


def _delete(tx: Tx, tenant_id: int, contact_id: int, *, author: str, now: int, asked: audit.Asked) -> None:
    if contacts.get(tx, tenant_id, contact_id) is None:
        raise NotFound("Contact not found")
    enrollments.delete_of_contact(tx, tenant_id, contact_id, now=now)
    contacts.delete(tx, tenant_id, contact_id)
    audit.record(tx, tenant_id, "delete", "contact", [audit.Gone(contact_id, contact_id)], author=author, now=now, asked=asked)


def _filters(tx: Tx, call: Call) -> Filters:
    named = call.query("list")
    return Filters(
        email=call.query("email"),
        phone=call.query("phone"),
        search=call.query("search") or None,
        list_id=None if named is None else list_named(tx, call, named),
        created_since=moments.asked(call, "created_since"),
        attributes=tuple(_attribute(text) for text in call.queries("attribute")),
    )


def _attribute(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name:
        raise Invalid.field("attribute", "must read name:value")
    return name, value


async def _exported(call: Call, filters: Filters) -> AsyncIterator[bytes]:
    # read before anything goes out: a filter that is refused gets an error's answer
    step = await call.db.read(contacts.after, call.tenant_id, filters, after_id=0, limit=EXPORT_STEP)
    yield contacts.csv_header()
    while step:
        yield contacts.csv_rows(step)
        step = await call.db.read(contacts.after, call.tenant_id, filters, after_id=step[-1].id, limit=EXPORT_STEP)


_FILTERS = (
    Parameter("email", "string", "exactly this address, in any case"),
    Parameter("phone", "string", "exactly this number, in E.164"),
    Parameter("list", "string", "members of the list of this id or name"),
    Parameter("search", "string", "in address, phone, name or company"),
    Parameter("created_since", "string", "a date, or an instant"),
    Parameter("attribute", "string", "name:value, equal", repeated=True),
)

ROUTES: list[Route] = [
    Route(
        "GET",
        "/api/v1/contacts",
        index,
        "contacts:read",
        "List contacts",
        gives=ContactAnswer,
        lists="contacts",
        query=(*_FILTERS, *PAGED),
        media=(*JSON, "text/csv"),
    ),
    Route("POST", "/api/v1/contacts", create, "contacts:write", "Make a contact", Said, ContactAnswer, status=201, idempotent=True),
    Route(
        "PUT",
        "/api/v1/contacts",
        upsert,
        "contacts:write",
        "Make or change the contact with this email, or phone",
        Said,
        ContactAnswer,
        also={201: ContactAnswer},
        refuses=(409,),
    ),
    Route("GET", "/api/v1/contacts.csv", export, "contacts:read", "Contacts as CSV", query=_FILTERS, media=("text/csv",)),
    Route("GET", "/api/v1/contacts/{id}", show, "contacts:read", "One contact", gives=ContactAnswer),
    Route("PATCH", "/api/v1/contacts/{id}", change, "contacts:write", "Change a contact", Said, ContactAnswer, refuses=(409,)),
    Route("DELETE", "/api/v1/contacts/{id}", delete, "contacts:write", "Remove a contact", status=204, audits=True),
]
