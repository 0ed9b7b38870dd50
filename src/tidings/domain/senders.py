"""Who a tenant may write as: its own address, everybody at that address' domain, and the domains and addresses it was allowed besides."""

from typing import Final

import msgspec

from tidings import ids
from tidings.database import Tx
from tidings.domain import tenants
from tidings.domain.page import Page
from tidings.errors import Conflict, Invalid, NotFound
from tidings.message import address as addresses


class Sender(msgspec.Struct, frozen=True):
    """A row of `senders`: `address` is a whole domain (`example.com`, subdomains not included) or one address, in lower case, IDNA A-labels."""

    id: int
    address: str
    created_at: int


_SENDER: Final = "SELECT id, address, created_at FROM senders WHERE tenant_id = :tenant_id"


def normalise(text: str, field: str = "address") -> str:
    """The one form of a domain or an address. Raises Invalid naming `field` when it is neither."""
    text = text.strip()
    if "@" in text:
        return addresses.key(addresses.normalise(text, field))
    try:
        return _domain(addresses.normalise(f"postmaster@{text}", field))
    except Invalid as error:
        raise Invalid.field(field, f"is neither a domain nor an email address: {text[:80]!a}") from error


def add(tx: Tx, tenant_id: int, address: str, *, now: int) -> Sender:
    """Allows a domain or an address (see `normalise`). Raises Conflict, naming it, when it is allowed already."""
    added = tx.one(
        Sender,
        "INSERT INTO senders (tenant_id, address, created_at) VALUES (:tenant_id, :address, :now) ON CONFLICT (tenant_id, address) DO NOTHING"
        " RETURNING id, address, created_at",
        tenant_id=tenant_id,
        address=address,
        now=now,
    )
    if added is None:
        known = find(tx, tenant_id, address)
        raise Conflict(f"{address} is allowed already" + (f": {ids.spell('sender', known.id)}" if known else ""))
    return added


def find(tx: Tx, tenant_id: int, address: str) -> Sender | None:
    """The row of exactly this domain or address, or None."""
    return tx.one(Sender, _SENDER + " AND address = :address", tenant_id=tenant_id, address=address)


def page(tx: Tx, tenant_id: int, *, limit: int, page: int) -> Page[Sender]:
    """One page (from 1) of what was allowed, newest first."""
    total: int = tx.value("SELECT COUNT(*) FROM senders WHERE tenant_id = :tenant_id", tenant_id=tenant_id)
    sql = _SENDER + " ORDER BY id DESC LIMIT :limit OFFSET :skip"
    return Page(tx.all(Sender, sql, tenant_id=tenant_id, limit=limit, skip=(page - 1) * limit), total)


def remove(tx: Tx, tenant_id: int, sender_id: int) -> None:
    """Allows it no longer; what was accepted before goes out as it was. Raises NotFound."""
    if not tx.run("DELETE FROM senders WHERE tenant_id = :tenant_id AND id = :id", tenant_id=tenant_id, id=sender_id):
        raise NotFound("Sender not found")


def check(tx: Tx, tenant_id: int, email: str, field: str) -> None:
    """Raises Invalid naming `field` unless the tenant may write as this (normalised) address."""
    email = addresses.key(email)
    own = _domain(tenants.get(tx, tenant_id).sender_email)
    if _domain(email) == own:
        return
    allowed = tx.value(
        "SELECT 1 FROM senders WHERE tenant_id = :tenant_id AND address IN :addresses[text] LIMIT 1",
        tenant_id=tenant_id,
        addresses=[email, _domain(email)],
    )
    if allowed is None:
        raise Invalid.field(field, f"must be an address of {own}, or of a domain that was allowed: {email} is not")


def _domain(email: str) -> str:
    return email.rpartition("@")[2].lower()
