"""Contacts made, changed and removed, one at a time. What hangs on a contact (enrollments, what is still to be sent) is its callers' to undo."""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from tidings import ids
from tidings.database import Tx
from tidings.domain.contacts import check, find
from tidings.domain.contacts.record import COLUMNS, Consent, Contact, Fields
from tidings.errors import Conflict, Invalid, NotFound, Unavailable
from tidings.message import address

ATTEMPTS = 3
"""How often an upsert looks again when somebody else makes or removes the same contact under its eyes."""
_NOBODY = Contact(0, 0, None, None, None, "", "", "", "", "", "{}", None, None, None, None, 0, 0)


class _Values(msgspec.Struct, frozen=True):
    """Every column that a change may touch, as it shall be."""

    email: str | None
    email_key: str | None
    phone: str | None
    first_name: str
    last_name: str
    company: str
    locale: str
    timezone: str
    attributes: str
    email_granted_at: int | None
    email_denied_at: int | None
    sms_granted_at: int | None
    sms_denied_at: int | None


def create(tx: Tx, tenant_id: int, fields: Fields, *, now: int) -> Contact:
    """A new contact of checked fields. Raises Conflict, naming the one there is, when the address (or the phone, without one) is taken."""
    values = _applied(_NOBODY, fields, now)
    made = _insert(tx, tenant_id, values, now)
    if made is None:
        raise _taken(_holder(tx, tenant_id, values))
    return made


def update(tx: Tx, tenant_id: int, contact_id: int, fields: Fields, *, now: int) -> Contact:
    """The contact with these fields changed, the others as they were. Raises NotFound, Conflict when the new address is another's."""
    contact = find.locked(tx, tenant_id, contact_id)
    if contact is None:
        raise NotFound
    return _update(tx, contact, fields, now)


def upsert(tx: Tx, tenant_id: int, fields: Fields, *, now: int) -> tuple[Contact, bool]:
    """The contact with this email, or without one with this phone, made or updated; and whether it was made. Fields are checked ones."""
    wanted = _applied(_NOBODY, fields, now)
    for _ in range(ATTEMPTS):
        holder = _holder(tx, tenant_id, wanted)
        contact = find.locked(tx, tenant_id, holder.id) if holder else None
        if contact is not None:
            return _update(tx, contact, fields, now), False
        made = _insert(tx, tenant_id, wanted, now)
        if made is not None:
            return made, True
    raise Unavailable("The contact is being changed by others; try again.")


def delete(tx: Tx, tenant_id: int, contact_id: int) -> bool:
    """Removes the contact and its places in lists; False when there is none. Its enrollments must be gone before."""
    tx.run("DELETE FROM list_members WHERE tenant_id = :tenant_id AND contact_id = :id", tenant_id=tenant_id, id=contact_id)
    return tx.run("DELETE FROM contacts WHERE tenant_id = :tenant_id AND id = :id", tenant_id=tenant_id, id=contact_id) == 1


def _insert(tx: Tx, tenant_id: int, values: _Values, now: int) -> Contact | None:
    return tx.one(
        Contact,
        "INSERT INTO contacts (tenant_id, email, email_key, phone, first_name, last_name, company, locale, timezone, attributes,"
        " email_granted_at, email_denied_at, sms_granted_at, sms_denied_at, created_at, updated_at)"
        " VALUES (:tenant_id, :email, :email_key, :phone, :first_name, :last_name, :company, :locale, :timezone, :attributes,"
        " :email_granted_at, :email_denied_at, :sms_granted_at, :sms_denied_at, :now, :now)"
        " ON CONFLICT DO NOTHING RETURNING " + COLUMNS,
        tenant_id=tenant_id,
        now=now,
        **msgspec.structs.asdict(values),
    )


def _update(tx: Tx, contact: Contact, fields: Fields, now: int) -> Contact:
    values = _applied(contact, fields, now)
    holder = _holder(tx, contact.tenant_id, values)
    if holder is not None and holder.id != contact.id:
        raise _taken(holder)
    changed = tx.one(
        Contact,
        "UPDATE contacts SET email = :email, email_key = :email_key, phone = :phone, first_name = :first_name, last_name = :last_name,"
        " company = :company, locale = :locale, timezone = :timezone, attributes = :attributes, email_granted_at = :email_granted_at,"
        " email_denied_at = :email_denied_at, sms_granted_at = :sms_granted_at, sms_denied_at = :sms_denied_at, updated_at = :now"
        " WHERE tenant_id = :tenant_id AND id = :id RETURNING " + COLUMNS,
        tenant_id=contact.tenant_id,
        id=contact.id,
        now=now,
        **msgspec.structs.asdict(values),
    )
    if changed is None:
        raise NotFound
    return changed


def _applied(before: Contact, fields: Fields, now: int) -> _Values:
    """What the contact's columns become. Raises Invalid when neither an address nor a phone would be left, or too many attributes."""
    email = before.email if fields.email is UNSET else fields.email
    phone = before.phone if fields.phone is UNSET else fields.phone
    if not email and not phone:
        raise Invalid("A contact needs an email or a phone", {"email": ["is required where there is no phone"]})
    email_granted_at, email_denied_at = _instants(before.email_granted_at, before.email_denied_at, fields.email_consent, now)
    sms_granted_at, sms_denied_at = _instants(before.sms_granted_at, before.sms_denied_at, fields.sms_consent, now)
    return _Values(
        email=email or None,
        email_key=address.key(email) if email else None,
        phone=phone or None,
        first_name=_text(before.first_name, fields.first_name),
        last_name=_text(before.last_name, fields.last_name),
        company=_text(before.company, fields.company),
        locale=_text(before.locale, fields.locale),
        timezone=_text(before.timezone, fields.timezone),
        attributes=_merged(before.attributes, fields.attributes),
        email_granted_at=email_granted_at,
        email_denied_at=email_denied_at,
        sms_granted_at=sms_granted_at,
        sms_denied_at=sms_denied_at,
    )


def _text(before: str, given: str | UnsetType | None) -> str:
    return before if given is UNSET else given or ""


def _merged(before: str, given: dict[str, Any] | UnsetType | None) -> str:
    if given is UNSET:
        return before
    if given is None:
        return "{}"
    values = {**msgspec.json.decode(before, type=dict[str, Any]), **given}
    return check.attributes({name: value for name, value in values.items() if value is not None})


def _instants(granted_at: int | None, denied_at: int | None, given: Consent | UnsetType | None, now: int) -> tuple[int | None, int | None]:
    """(granted, denied): saying again what was said before keeps the instant it was first said."""
    if given is UNSET:
        return granted_at, denied_at
    if given == "granted":
        return (now if granted_at is None else granted_at), None
    if given == "denied":
        return None, (now if denied_at is None else denied_at)
    return None, None


def _holder(tx: Tx, tenant_id: int, values: _Values) -> Contact | None:
    """Who already is this person: by address, and without one by phone among those who have no address either."""
    if values.email_key is not None:
        return find.find_by_email(tx, tenant_id, values.email_key)
    return find.find_by_phone_alone(tx, tenant_id, values.phone or "")


def _taken(holder: Contact | None) -> Conflict:
    if holder is None:
        return Conflict("Such a contact has just been made by somebody else")
    what = "email" if holder.email is not None else "phone"
    return Conflict(f"A contact with this {what} exists already: {ids.spell('contact', holder.id)}")
