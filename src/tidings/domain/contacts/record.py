"""What a contact is: the row as it is stored, and what a caller may say about one."""

from typing import Any, Literal, LiteralString

import msgspec
from msgspec import UNSET, UnsetType

Consent = Literal["granted", "denied"]


class Contact(msgspec.Struct, frozen=True, gc=False):
    """A row of `contacts`. `attributes` is a JSON object as text; "" stands for a text that nobody gave; instants are milliseconds UTC.

    `email_key` is the address in lower case: who is the same person. Consent to a channel is the instant it was granted or denied.
    """

    id: int
    tenant_id: int
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
    created_at: int
    updated_at: int

    def email_consent(self) -> Consent | None:
        """What the contact said about being mailed; None where nothing is known."""
        return _consent(self.email_granted_at, self.email_denied_at)

    def sms_consent(self) -> Consent | None:
        """The same for text messages."""
        return _consent(self.sms_granted_at, self.sms_denied_at)


COLUMNS: LiteralString = (
    "id, tenant_id, email, email_key, phone, first_name, last_name, company, locale, timezone, attributes,"
    " email_granted_at, email_denied_at, sms_granted_at, sms_denied_at, created_at, updated_at"
)
"""The columns of a Contact, in its order."""


class Fields(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody says about a contact. UNSET leaves a field as it is, None empties it.

    `attributes` is merged into what is there, name by name; a name given as None goes away (RFC 7396, at the top level).
    """

    email: str | UnsetType | None = UNSET
    phone: str | UnsetType | None = UNSET
    first_name: str | UnsetType | None = UNSET
    last_name: str | UnsetType | None = UNSET
    company: str | UnsetType | None = UNSET
    locale: str | UnsetType | None = UNSET
    timezone: str | UnsetType | None = UNSET
    attributes: dict[str, Any] | UnsetType | None = UNSET
    email_consent: Consent | UnsetType | None = UNSET
    sms_consent: Consent | UnsetType | None = UNSET


def _consent(granted_at: int | None, denied_at: int | None) -> Consent | None:
    if granted_at is not None:
        return "granted"
    return None if denied_at is None else "denied"
