"""Contacts looked up, listed and read through. Nothing here changes one."""

import re
from typing import LiteralString

import msgspec

from tidings.database import Tx
from tidings.database.functions import literal
from tidings.database.gate import Param
from tidings.domain.contacts.record import COLUMNS, Contact
from tidings.domain.page import Page
from tidings.errors import Invalid
from tidings.message import address

_ATTRIBUTE = re.compile(r"[^\W\d][\w -]*")
"""Names that both databases take for a key as they stand: SQLite reads a dot as a path, and digits in front as a place in a list."""
_SELECT: LiteralString = "SELECT " + COLUMNS + " FROM contacts WHERE tenant_id = :tenant_id"


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """Which contacts: all that is given must hold. `search` is found as it stands in address, phone, name or company, in any case.

    `attributes` are names and values that must be equal; a number or a flag is meant by its JSON spelling.
    """

    email: str | None = None
    phone: str | None = None
    list_id: int | None = None
    search: str | None = None
    created_since: int | None = None
    attributes: tuple[tuple[str, str], ...] = ()


def get(tx: Tx, tenant_id: int, contact_id: int) -> Contact | None:
    """The contact, or None."""
    return tx.one(Contact, _SELECT + " AND id = :id", tenant_id=tenant_id, id=contact_id)


def locked(tx: Tx, tenant_id: int, contact_id: int) -> Contact | None:
    """The contact, which nobody else changes before this transaction ends."""
    return tx.one(Contact, _SELECT + " AND id = :id FOR UPDATE", tenant_id=tenant_id, id=contact_id)


def find_by_email(tx: Tx, tenant_id: int, email: str) -> Contact | None:
    """The contact with this address, in whatever case it is written."""
    return tx.one(Contact, _SELECT + " AND email_key = :key", tenant_id=tenant_id, key=address.key(email))


def find_by_phone_alone(tx: Tx, tenant_id: int, phone: str) -> Contact | None:
    """The contact that is known by this E.164 number and by no address."""
    return tx.one(Contact, _SELECT + " AND phone = :phone AND email_key IS NULL", tenant_id=tenant_id, phone=phone)


def find_by_phone(tx: Tx, tenant_id: int, phone: str) -> Contact | None:
    """A contact with this E.164 number: who is known by it alone before those who share it, the oldest of these first."""
    alone = find_by_phone_alone(tx, tenant_id, phone)
    if alone is not None:
        return alone
    return tx.one(Contact, _SELECT + " AND phone = :phone ORDER BY id LIMIT 1", tenant_id=tenant_id, phone=phone)


def page(tx: Tx, tenant_id: int, filters: Filters, *, limit: int, page: int) -> Page[Contact]:
    """One page (from 1), newest first. Raises Invalid for an attribute name that cannot be asked for."""
    where, params = _where(filters)
    params["tenant_id"] = tenant_id
    total: int = tx.value("SELECT count(*) FROM contacts WHERE tenant_id = :tenant_id" + where, **params)
    rows = tx.all(Contact, _SELECT + where + " ORDER BY id DESC LIMIT :limit OFFSET :skip", limit=limit, skip=(page - 1) * limit, **params)
    return Page(rows, total)


def after(tx: Tx, tenant_id: int, filters: Filters, *, after_id: int, limit: int) -> list[Contact]:
    """The next `limit` contacts by id: reading through all of them costs the same at every step."""
    where, params = _where(filters)
    return tx.all(
        Contact,
        _SELECT + where + " AND id > :after_id ORDER BY id LIMIT :limit",
        tenant_id=tenant_id,
        after_id=after_id,
        limit=limit,
        **params,
    )


def _where(filters: Filters) -> tuple[LiteralString, dict[str, Param]]:
    where: LiteralString = ""
    params: dict[str, Param] = {}
    if filters.email is not None:
        where += " AND email_key = :email_key"
        params["email_key"] = address.key(filters.email.strip())
    if filters.phone is not None:
        where += " AND phone = :phone"
        params["phone"] = filters.phone.strip()
    if filters.list_id is not None:
        where += " AND id IN (SELECT m.contact_id FROM list_members m WHERE m.tenant_id = :tenant_id AND m.list_id = :list_id)"
        params["list_id"] = filters.list_id
    if filters.created_since is not None:
        where += " AND created_at >= :created_since"
        params["created_since"] = filters.created_since
    if filters.search is not None:
        # the databases fold ASCII alone: other letters are found in the case they are searched in
        where += (
            " AND (lower(coalesce(email, '') || '\n' || coalesce(phone, '') || '\n' || first_name || ' ' || last_name || '\n' || company)"
            " LIKE lower(:search) ESCAPE '!')"
        )
        params["search"] = f"%{literal(filters.search)}%"
    if filters.attributes:
        where += (
            " AND NOT EXISTS (SELECT 1 FROM :wanted(name text, quoted text, bare text) w WHERE"
            " coalesce(CAST(contacts.attributes -> w.name AS text) NOT IN (w.quoted, w.bare), 1 = 1))"
        )
        params["wanted"] = [_wanted(name, value) for name, value in filters.attributes]
    return where, params


def _wanted(name: str, value: str) -> tuple[str, str, str]:
    if not _ATTRIBUTE.fullmatch(name):
        raise Invalid.field(
            "attribute", f"must name an attribute by letters, digits, spaces, - and _, no digit first: {name[:40]!a} is none"
        )
    return name, msgspec.json.encode(value).decode(), value
