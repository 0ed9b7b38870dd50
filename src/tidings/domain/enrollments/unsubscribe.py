"""Unsubscribing through what stands in a mail: who its reader is, and what follows. It works for mail that was deleted here since."""

import msgspec

from tidings.database import Tx
from tidings.domain import audit, communications, contacts, counters, events, suppressions
from tidings.domain.communications import Communication
from tidings.domain.counters import Tally
from tidings.domain.enrollments.end import stop


class Reader(msgspec.Struct, frozen=True):
    """Whom a message went to. `communication` is None when it was deleted; `sender_name` and `sender_email` are empty then."""

    channel: str
    address: str
    enrollment_id: int | None
    sender_name: str = ""
    sender_email: str = ""
    communication: Communication | None = None


def reader(tx: Tx, tenant_id: int, communication_id: int) -> Reader | None:
    """Who may unsubscribe by this message; None when nothing is known of it, or it was deleted and its contact too.

    A deleted message leaves no address behind: its reader is the contact, at the address it has now.
    """
    row = communications.get(tx, tenant_id, communication_id)
    if row is not None:
        return Reader(row.channel, row.address, row.enrollment_id, row.sender_name or "", row.sender_email, row)
    entry = audit.deleted(tx, tenant_id, "communication", communication_id)
    contact = contacts.get(tx, tenant_id, entry.contact_id) if entry is not None and entry.contact_id is not None else None
    if entry is None or contact is None:
        return None
    kept = entry.kept()
    channel = kept.channel or "email"
    address = contact.email if channel == "email" else contact.phone
    return Reader(channel, address, kept.enrollment_id) if address else None


def unsubscribe(tx: Tx, tenant_id: int, communication_id: int, *, now: int) -> bool:
    """Takes the address a communication went to off this channel for good, and ends the enrollment it came from.

    Answers False when its reader is not known; doing it twice changes nothing.
    """
    # before it is looked at: a deletion takes back what it finds counted
    communications.hold(tx, tenant_id, communication_id)
    found = reader(tx, tenant_id, communication_id)
    if found is None:
        return False
    fresh = suppressions.add(
        tx, tenant_id, found.channel, found.address, "unsubscribed", detail="", communication_id=communication_id, now=now
    )
    tally = Tally()
    if fresh and found.communication is not None:
        events.append(tx, [events.Event(communications.subject(found.communication), "unsubscribed", now)], tally)
    if found.enrollment_id is not None:
        stop(tx, tenant_id, found.enrollment_id, "unsubscribe", now=now, tally=tally)
    counters.fold(tx, tally)
    return True
