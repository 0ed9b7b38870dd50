"""Contacts as CSV, the way `import` reads them back."""

from datetime import UTC, datetime

from tidings import ids
from tidings.domain.contacts.columns import neutral
from tidings.domain.contacts.record import Contact
from tidings.message import sheet

HEADER = (
    "email",
    "phone",
    "first_name",
    "last_name",
    "company",
    "locale",
    "timezone",
    "email_consent",
    "sms_consent",
    "attributes",
    "tidings_id",
    "tidings_created_at",
)


def csv_header() -> bytes:
    """The first line."""
    return sheet.line(HEADER).encode()


def csv_rows(contacts: list[Contact]) -> bytes:
    """A line each (RFC 4180, UTF-8). What a spreadsheet would run as a formula begins with `'`, which an import takes away again."""
    return "".join([sheet.line(map(neutral, _cells(contact))) for contact in contacts]).encode()


def _cells(contact: Contact) -> tuple[str, ...]:
    return (
        contact.email or "",
        contact.phone or "",
        contact.first_name,
        contact.last_name,
        contact.company,
        contact.locale,
        contact.timezone,
        contact.email_consent() or "",
        contact.sms_consent() or "",
        "" if contact.attributes == "{}" else contact.attributes,
        ids.spell("contact", contact.id),
        datetime.fromtimestamp(contact.created_at // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )
