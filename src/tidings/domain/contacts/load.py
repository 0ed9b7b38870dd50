"""Contacts by the thousand: one statement a batch makes or updates them all."""

from typing import LiteralString, NamedTuple

import msgspec

from tidings.database import Tx

_Cell = int | float | str | None


class Row(NamedTuple):
    """A checked contact as an import brings it. What is "" (None for the two addresses, "{}" for attributes) says nothing about the contact."""

    email: str | None
    email_key: str | None
    phone: str | None
    first_name: str = ""
    last_name: str = ""
    company: str = ""
    locale: str = ""
    timezone: str = ""
    attributes: str = "{}"
    email_consent: str = ""
    sms_consent: str = ""


class Loaded(msgspec.Struct, frozen=True):
    """The contacts' ids (each once), and how many of the rows made a new one; the others changed what there was."""

    contact_ids: list[int]
    created: int


def load(tx: Tx, tenant_id: int, rows: list[Row], *, now: int) -> Loaded:
    """Makes or updates a contact of every row: by email, and where there is none by phone among those without. A later row wins over an earlier."""
    by_email: dict[str, Row] = {}
    by_phone: dict[str, Row] = {}
    for row in rows:
        if row.email_key is not None:
            earlier = by_email.get(row.email_key)
            by_email[row.email_key] = row if earlier is None else _over(earlier, row)
        elif row.phone is not None:
            earlier = by_phone.get(row.phone)
            by_phone[row.phone] = row if earlier is None else _over(earlier, row)
    contact_ids: list[int] = []
    created = 0
    if by_email:
        known = _known_emails(tx, tenant_id, by_email)
        contact_ids += _store_by_email(tx, tenant_id, _with_attributes(by_email, known), now)
        created += len(by_email) - len(known)
    if by_phone:
        known = _known_phones(tx, tenant_id, by_phone)
        contact_ids += _store_by_phone(tx, tenant_id, _with_attributes(by_phone, known), now)
        created += len(by_phone) - len(known)
    return Loaded(contact_ids, created)


def _over(earlier: Row, later: Row) -> Row:
    """Both rows as one: what the later one says, and of the earlier what the later is silent about."""
    attributes = _merged(earlier.attributes, later.attributes)
    whole = Row._make(new or old for old, new in zip(earlier, later, strict=True))
    return whole._replace(attributes=attributes, email=earlier.email)


def _merged(earlier: str, later: str) -> str:
    if later == "{}" or earlier == "{}":
        return earlier if later == "{}" else later
    return msgspec.json.encode(msgspec.json.decode(earlier) | msgspec.json.decode(later)).decode()


# Both ask row by row, for which PostgreSQL can only go through the index: for a join it hashes the tenant's whole table as long
# as it has no statistics of it, which is so for the first minute of the first import. The rows are locked in the order of their
# keys, so that two imports of the same people wait for each other instead of dying of it.


def _known_emails(tx: Tx, tenant_id: int, rows: dict[str, Row]) -> dict[str, str]:
    found = tx.rows(
        "SELECT k.email_key, (SELECT c.attributes FROM contacts c WHERE c.tenant_id = :tenant_id AND c.email_key = k.email_key FOR UPDATE)"
        " FROM :keys(email_key text) k",
        tenant_id=tenant_id,
        keys=[(key,) for key in sorted(rows)],
    )
    return {key: attributes for key, attributes in found if attributes is not None}


def _known_phones(tx: Tx, tenant_id: int, rows: dict[str, Row]) -> dict[str, str]:
    found = tx.rows(
        "SELECT k.phone, (SELECT c.attributes FROM contacts c WHERE c.tenant_id = :tenant_id AND c.phone = k.phone"
        " AND c.email_key IS NULL FOR UPDATE) FROM :keys(phone text) k",
        tenant_id=tenant_id,
        keys=[(key,) for key in sorted(rows)],
    )
    return {key: attributes for key, attributes in found if attributes is not None}


def _with_attributes(rows: dict[str, Row], known: dict[str, str]) -> list[tuple[_Cell, ...]]:
    """The rows in the order of their keys, their attributes laid over those there are."""
    whole: list[tuple[_Cell, ...]] = []
    for key in sorted(rows):
        row = rows[key]
        if row.attributes != "{}" and key in known:
            row = row._replace(attributes=_merged(known[key], row.attributes))
        whole.append(row)
    return whole


_INSERT: LiteralString = (
    "INSERT INTO contacts (tenant_id, email, email_key, phone, first_name, last_name, company, locale, timezone, attributes,"
    " email_granted_at, email_denied_at, sms_granted_at, sms_denied_at, created_at, updated_at)"
    " SELECT :tenant_id, r.email, r.email_key, r.phone, r.first_name, r.last_name, r.company, r.locale, r.timezone, r.attributes,"
    " CASE WHEN r.email_consent = 'granted' THEN :now END, CASE WHEN r.email_consent = 'denied' THEN :now END,"
    " CASE WHEN r.sms_consent = 'granted' THEN :now END, CASE WHEN r.sms_consent = 'denied' THEN :now END, :now, :now"
    " FROM :rows(email text, email_key text, phone text, first_name text, last_name text, company text, locale text, timezone text,"
    " attributes jsonb, email_consent text, sms_consent text) r WHERE 1 = 1"
)
_FILL_IN: LiteralString = (
    "first_name = coalesce(nullif(excluded.first_name, ''), contacts.first_name),"
    " last_name = coalesce(nullif(excluded.last_name, ''), contacts.last_name),"
    " company = coalesce(nullif(excluded.company, ''), contacts.company),"
    " locale = coalesce(nullif(excluded.locale, ''), contacts.locale),"
    " timezone = coalesce(nullif(excluded.timezone, ''), contacts.timezone),"
    " attributes = coalesce(nullif(excluded.attributes, '{}'), contacts.attributes),"
    " email_granted_at = CASE WHEN excluded.email_denied_at IS NULL THEN coalesce(contacts.email_granted_at, excluded.email_granted_at) END,"
    " email_denied_at = CASE WHEN excluded.email_granted_at IS NULL THEN coalesce(contacts.email_denied_at, excluded.email_denied_at) END,"
    " sms_granted_at = CASE WHEN excluded.sms_denied_at IS NULL THEN coalesce(contacts.sms_granted_at, excluded.sms_granted_at) END,"
    " sms_denied_at = CASE WHEN excluded.sms_granted_at IS NULL THEN coalesce(contacts.sms_denied_at, excluded.sms_denied_at) END,"
    " updated_at = excluded.updated_at RETURNING id"
)


def _store_by_email(tx: Tx, tenant_id: int, rows: list[tuple[_Cell, ...]], now: int) -> list[int]:
    found = tx.rows(
        _INSERT
        + " ON CONFLICT (tenant_id, email_key) WHERE email_key IS NOT NULL"
        + " DO UPDATE SET phone = coalesce(excluded.phone, contacts.phone), "
        + _FILL_IN,
        tenant_id=tenant_id,
        rows=rows,
        now=now,
    )
    return [identity for (identity,) in found]


def _store_by_phone(tx: Tx, tenant_id: int, rows: list[tuple[_Cell, ...]], now: int) -> list[int]:
    found = tx.rows(
        _INSERT + " ON CONFLICT (tenant_id, phone) WHERE email_key IS NULL DO UPDATE SET " + _FILL_IN,
        tenant_id=tenant_id,
        rows=rows,
        now=now,
    )
    return [identity for (identity,) in found]
