"""Contacts as CSV, the way `import` reads them back."""

import csv
import io
from datetime import UTC, datetime

from tidings import ids
from tidings.domain.contacts.columns import neutral
from tidings.domain.contacts.record import Contact

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
    return (",".join(HEADER) + "\r\n").encode()


def csv_rows(contacts: list[Contact]) -> bytes:
    """A line each (RFC 4180, UTF-8). What a spreadsheet would run as a formula begins with `'`, which an import takes away again."""
    text = io.StringIO()
    writer = csv.writer(text)
    for contact in contacts:
        writer.writerow([neutral(cell) for cell in _cells(contact)])
    return text.getvalue().encode()


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
