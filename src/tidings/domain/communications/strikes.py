"""Addresses whose mail comes back for the moment, again and again; and how a carrier's own name for a message leads to it."""

import itertools
from collections.abc import Iterable, Sequence
from typing import LiteralString

from tidings.database import Tx
from tidings.domain.communications.counted import Counted

MOST = 5
"""So many messages to an address in a row that bounced for the moment, and it is not written to any more."""
EXCUSED = frozenset({"blocked", "spam", "timed_out"})
"""Reasons that are not the address's fault: neither do they count, nor do they end a row."""


def out(tx: Tx, before: Counted, address: str) -> int | None:
    """The first of MOST messages or more to the address in a row, around this one, that have bounced: in whatever order that is heard of.

    None when they are fewer.
    """
    # of several that come back at the same moment, to several workers, the last one has to see the others
    tx.rows(
        "SELECT id FROM contacts WHERE tenant_id = :tenant_id AND id = :id FOR UPDATE", tenant_id=before.tenant_id, id=before.contact_id
    )
    newer = _bounced(tx, before, address, " AND c.id > :id AND c.sent_at IS NOT NULL ORDER BY c.id LIMIT :limit")
    older = _bounced(tx, before, address, " AND c.id < :id AND c.sent_at IS NOT NULL ORDER BY c.id DESC LIMIT :limit")
    own = _bounced(tx, before, address, " AND c.id = :id AND c.sent_at IS NOT NULL ORDER BY c.id LIMIT :limit")
    row = [*newer, *older, *own]
    return min(row) if len(row) >= MOST else None


def _bounced(tx: Tx, before: Counted, address: str, which: LiteralString) -> list[int]:
    """The ids of those that have bounced before the first that has not; an excused one is passed over."""
    rows: Iterable[tuple[int, str]] = tx.rows(
        "SELECT c.id, c.state FROM communications c WHERE c.tenant_id = :tenant_id AND c.contact_id = :contact_id AND c.channel = :channel"
        " AND lower(c.address) = :address AND NOT (c.state = 'bounced' AND NOT EXISTS (SELECT 1 FROM interactions i"
        " WHERE i.tenant_id = c.tenant_id AND i.communication_id = c.id AND i.kind = 'bounced'"
        " AND (i.reason IS NULL OR i.reason NOT IN ('blocked', 'spam', 'timed_out'))))" + which,
        tenant_id=before.tenant_id,
        contact_id=before.contact_id,
        channel=before.channel,
        address=address.lower(),
        id=before.id,
        limit=MOST - 1,
    )
    return [communication_id for communication_id, _ in itertools.takewhile(lambda row: row[1] == "bounced", rows)]


def by_provider_message(tx: Tx, tenant_id: int, provider_id: int, provider_message_id: str) -> int | None:
    """The text message that a carrier took under this name, the newest where a name came twice; None when there is none (yet).

    Carriers name what they took: `provider_id` tells two of them apart where it is known which one took it.
    """
    return tx.value(
        "SELECT id FROM communications WHERE tenant_id = :tenant_id AND channel = 'sms' AND provider_message_id IS NOT NULL"
        " AND provider_message_id = :name AND (provider_id IS NULL OR provider_id = :provider_id) ORDER BY id DESC LIMIT 1",
        tenant_id=tenant_id,
        name=provider_message_id,
        provider_id=provider_id,
    )


def by_address_and_name(tx: Tx, tenant_id: int, address: str, names: Sequence[str]) -> int | None:
    """The mail to this address that a carrier took under one of these names, the newest; None when there is none (yet).

    By way of the contact, who has few: an index of such names would have to be kept for every mail that is sent.
    """
    return tx.value(
        "SELECT c.id FROM contacts p JOIN communications c ON c.tenant_id = p.tenant_id AND c.contact_id = p.id"
        " WHERE p.tenant_id = :tenant_id AND p.email_key = :address AND c.channel = 'email' AND c.provider_message_id IN :names[text]"
        " ORDER BY c.id DESC LIMIT 1",
        tenant_id=tenant_id,
        address=address.lower(),
        names=list(names),
    )
