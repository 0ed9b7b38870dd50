"""Contacts: people with an email address, a phone number, or both. One file a verb: check what is said, find, change, load in bulk, read and write CSV."""

from tidings.domain.contacts.change import create, delete, update, upsert
from tidings.domain.contacts.check import checked
from tidings.domain.contacts.columns import neutral
from tidings.domain.contacts.export import csv_header, csv_rows
from tidings.domain.contacts.find import Filters, after, find_by_email, find_by_phone, get, page
from tidings.domain.contacts.load import Loaded, Row, load
from tidings.domain.contacts.record import Consent, Contact, Fields
from tidings.domain.contacts.source import (
    KIND,
    Cursor,
    Source,
    begin_import,
    checked_source,
    imports_folder,
    new_upload,
    rejects_file,
    uploads,
)
from tidings.domain.contacts.table import Record, Table

__all__ = [
    "KIND",
    "Consent",
    "Contact",
    "Cursor",
    "Fields",
    "Filters",
    "Loaded",
    "Record",
    "Row",
    "Source",
    "Table",
    "after",
    "begin_import",
    "checked",
    "checked_source",
    "create",
    "csv_header",
    "csv_rows",
    "delete",
    "find_by_email",
    "find_by_phone",
    "get",
    "imports_folder",
    "load",
    "neutral",
    "new_upload",
    "page",
    "rejects_file",
    "update",
    "uploads",
    "upsert",
]
