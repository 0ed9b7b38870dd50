"""Recipient lists: named, fixed sets of contacts. Who is in one is a row a member; sending to a list is no matter of this file."""

from typing import LiteralString

import msgspec

from tidings import ids
from tidings.database import Tx
from tidings.domain.contacts import Contact
from tidings.domain.page import Page
from tidings.errors import Conflict, Invalid, NotFound

NAME_LENGTH = 200
"""Characters of a list's name."""


class RecipientList(msgspec.Struct, frozen=True):
    """A row of `lists` and how many contacts are in it."""

    id: int
    tenant_id: int
    name: str
    created_at: int
    updated_at: int
    members: int


_SELECT: LiteralString = (
    "SELECT l.id, l.tenant_id, l.name, l.created_at, l.updated_at, (SELECT count(*) FROM list_members m"
    " WHERE m.tenant_id = l.tenant_id AND m.list_id = l.id) FROM lists l WHERE l.tenant_id = :tenant_id"
)


def name_of(text: str, field: str = "name") -> str:
    """A list's name: one line of 1 to NAME_LENGTH characters. Raises Invalid naming `field`."""
    name = text.strip()
    if not name or len(name) > NAME_LENGTH or not name.isprintable():
        raise Invalid.field(field, f"must be one line of 1 to {NAME_LENGTH} characters")
    return name


def create(tx: Tx, tenant_id: int, name: str, *, now: int) -> RecipientList:
    """A new, empty list. Raises Conflict when there is one of this name."""
    made = tx.value(
        "INSERT INTO lists (tenant_id, name, created_at, updated_at) VALUES (:tenant_id, :name, :now, :now) ON CONFLICT DO NOTHING RETURNING id",
        tenant_id=tenant_id,
        name=name,
        now=now,
    )
    if made is None:
        raise _taken(find_by_name(tx, tenant_id, name))
    return RecipientList(made, tenant_id, name, now, now, 0)


def ensure(tx: Tx, tenant_id: int, name: str, *, now: int) -> RecipientList:
    """The list of this name, made if there is none."""
    found = find_by_name(tx, tenant_id, name)
    if found is not None:
        return found
    try:
        return create(tx, tenant_id, name, now=now)
    except Conflict:
        found = find_by_name(tx, tenant_id, name)
        if found is None:
            raise
        return found


def get(tx: Tx, tenant_id: int, list_id: int) -> RecipientList | None:
    """The list, or None."""
    return tx.one(RecipientList, _SELECT + " AND l.id = :id", tenant_id=tenant_id, id=list_id)


def find_by_name(tx: Tx, tenant_id: int, name: str) -> RecipientList | None:
    """The list of exactly this name, or None."""
    return tx.one(RecipientList, _SELECT + " AND l.name = :name", tenant_id=tenant_id, name=name)


def page(tx: Tx, tenant_id: int, *, limit: int, page: int) -> Page[RecipientList]:
    """One page of lists (from 1), newest first."""
    total: int = tx.value("SELECT count(*) FROM lists WHERE tenant_id = :tenant_id", tenant_id=tenant_id)
    rows = tx.all(
        RecipientList, _SELECT + " ORDER BY l.id DESC LIMIT :limit OFFSET :skip", tenant_id=tenant_id, limit=limit, skip=(page - 1) * limit
    )
    return Page(rows, total)


def rename(tx: Tx, tenant_id: int, list_id: int, name: str, *, now: int) -> RecipientList:
    """The list under another name. Raises NotFound, Conflict when another list has it."""
    other = find_by_name(tx, tenant_id, name)
    if other is not None and other.id != list_id:
        raise _taken(other)
    changed = tx.run(
        "UPDATE lists SET name = :name, updated_at = :now WHERE tenant_id = :tenant_id AND id = :id",
        tenant_id=tenant_id,
        id=list_id,
        name=name,
        now=now,
    )
    found = get(tx, tenant_id, list_id)
    if not changed or found is None:
        raise NotFound
    return found


def delete(tx: Tx, tenant_id: int, list_id: int) -> bool:
    """Removes the list, not its contacts; False when there is none."""
    tx.run("DELETE FROM list_members WHERE tenant_id = :tenant_id AND list_id = :id", tenant_id=tenant_id, id=list_id)
    return tx.run("DELETE FROM lists WHERE tenant_id = :tenant_id AND id = :id", tenant_id=tenant_id, id=list_id) == 1


def add(tx: Tx, tenant_id: int, list_id: int, contact_ids: list[int], *, now: int) -> int:
    """Puts contacts in; answers how many were not in yet. Raises NotFound without such a list, Invalid naming contacts that do not exist."""
    if not _hold(tx, tenant_id, list_id):
        raise NotFound
    _refuse_unknown(tx, tenant_id, contact_ids)
    return _join(tx, tenant_id, list_id, contact_ids, now)


def join(tx: Tx, tenant_id: int, list_id: int, contact_ids: list[int], *, now: int) -> int:
    """The same for contacts known to exist, as an import has just made them; nobody is added to a list that has gone."""
    return _join(tx, tenant_id, list_id, contact_ids, now) if contact_ids and _hold(tx, tenant_id, list_id) else 0


def remove(tx: Tx, tenant_id: int, list_id: int, contact_ids: list[int]) -> int:
    """Takes contacts out; answers how many were in. Raises NotFound without such a list."""
    if not _hold(tx, tenant_id, list_id):
        raise NotFound
    return tx.run(
        "DELETE FROM list_members WHERE tenant_id = :tenant_id AND list_id = :list_id AND contact_id IN (SELECT i.id FROM :ids(id bigint) i)",
        tenant_id=tenant_id,
        list_id=list_id,
        ids=[(identity,) for identity in contact_ids],
    )


def members(tx: Tx, tenant_id: int, list_id: int, *, limit: int, page: int) -> Page[Contact]:
    """One page of the list's contacts (from 1), newest contact first. Raises NotFound without such a list."""
    found = get(tx, tenant_id, list_id)
    if found is None:
        raise NotFound
    rows = tx.all(
        Contact,
        "SELECT c.id, c.tenant_id, c.email, c.email_key, c.phone, c.first_name, c.last_name, c.company, c.locale, c.timezone, c.attributes,"
        " c.email_granted_at, c.email_denied_at, c.sms_granted_at, c.sms_denied_at, c.created_at, c.updated_at"
        " FROM list_members m JOIN contacts c ON c.tenant_id = m.tenant_id AND c.id = m.contact_id"
        " WHERE m.tenant_id = :tenant_id AND m.list_id = :list_id ORDER BY m.contact_id DESC LIMIT :limit OFFSET :skip",
        tenant_id=tenant_id,
        list_id=list_id,
        limit=limit,
        skip=(page - 1) * limit,
    )
    return Page(rows, found.members)


def _hold(tx: Tx, tenant_id: int, list_id: int) -> bool:
    """Whether there is such a list; it stays until this transaction ends."""
    return tx.row("SELECT id FROM lists WHERE tenant_id = :tenant_id AND id = :id FOR SHARE", tenant_id=tenant_id, id=list_id) is not None


def _join(tx: Tx, tenant_id: int, list_id: int, contact_ids: list[int], now: int) -> int:
    return tx.run(
        "INSERT INTO list_members (tenant_id, list_id, contact_id, added_at)"
        " SELECT :tenant_id, :list_id, i.id, :now FROM :ids(id bigint) i WHERE 1 = 1 ON CONFLICT DO NOTHING",
        tenant_id=tenant_id,
        list_id=list_id,
        now=now,
        ids=[(identity,) for identity in contact_ids],
    )


def _refuse_unknown(tx: Tx, tenant_id: int, contact_ids: list[int]) -> None:
    unknown = tx.rows(
        "SELECT i.id FROM :ids(id bigint) i WHERE NOT EXISTS (SELECT 1 FROM contacts c WHERE c.tenant_id = :tenant_id AND c.id = i.id) ORDER BY i.id",
        tenant_id=tenant_id,
        ids=[(identity,) for identity in contact_ids],
    )
    if unknown:
        names = [ids.spell("contact", identity) for (identity,) in unknown]
        raise Invalid(f"Unknown contacts: {', '.join(names[:10])}", {"contact_ids": [f"{name} is not a contact" for name in names]})


def _taken(holder: RecipientList | None) -> Conflict:
    if holder is None:
        return Conflict("A list of this name has just been made by somebody else")
    return Conflict(f"A list of this name exists already: {ids.spell('list', holder.id)}")
