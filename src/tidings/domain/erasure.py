"""Erasing a person: whatever tells of one contact goes, everywhere, while what was counted stays. First nothing more goes out, then all that
is known goes step by step, then the contact: who is interrupted begins again, for the contact is there until the end.
"""

from collections.abc import Sequence, Set
from typing import Any

import msgspec

from tidings.database import Tx
from tidings.database.functions import literal
from tidings.domain import audit, communications, contacts, counters, endpoints, enrollments, keeping, suppressions
from tidings.domain.audit import Asked
from tidings.domain.contacts import Contact
from tidings.domain.counters import Tally
from tidings.errors import NotFound
from tidings.message.address import parse

STEP = 200
"""Messages that are erased in one transaction."""
_LISTS = ("to", "cc", "bcc")


class Erased(msgspec.Struct, frozen=True):
    """How much was erased: messages sent to the contact alone, messages to several out of which its address was taken, messages received,
    and enrollments that ended.
    """

    communications: int = 0
    shared: int = 0
    inbound: int = 0
    enrollments: int = 0

    def and_(self, more: "Erased") -> "Erased":
        """Both together."""
        return Erased(*(mine + theirs for mine, theirs in zip(msgspec.structs.astuple(self), msgspec.structs.astuple(more), strict=True)))


def begin(tx: Tx, tenant_id: int, contact_id: int, *, author: str, now: int, asked: Asked) -> tuple[int, Contact, Erased]:
    """Halts, and enters in the audit that the contact is being erased: it may be that nobody comes to the end. The id of the entry is
    `finish`'s. Raises NotFound.
    """
    contact, ended = halt(tx, tenant_id, contact_id, now=now)
    gone = audit.Gone(contact_id, contact_id)
    return audit.begin(tx, tenant_id, "erase", "contact", gone, author=author, now=now, asked=asked), contact, ended


def halt(tx: Tx, tenant_id: int, contact_id: int, *, now: int) -> tuple[Contact, Erased]:
    """From here on nothing more goes out to the contact: its enrollments have ended, what was pending is canceled. Raises NotFound.

    Whoever must be sure waits until `under_way` says no, and halts what was accepted since, which `finish` tells of.
    """
    tx.rows("SELECT id FROM contacts WHERE tenant_id = :tenant_id AND id = :id FOR UPDATE", tenant_id=tenant_id, id=contact_id)
    contact = contacts.get(tx, tenant_id, contact_id)
    if contact is None:
        raise NotFound("Contact not found")
    communications.lock(tx, tenant_id, contact_id=contact_id)
    tally = Tally()
    ended = enrollments.end_of_contact(tx, tenant_id, contact_id, tally, now=now)
    communications.cancel_of_contact(tx, tenant_id, contact_id, tally, now=now)
    counters.fold(tx, tally)
    return contact, Erased(enrollments=ended)


def under_way(tx: Tx, tenant_id: int, contact_id: int) -> bool:
    """Whether a message to the contact is being sent at this moment."""
    found = tx.value(
        "SELECT 1 FROM communications WHERE tenant_id = :tenant_id AND contact_id = :contact_id AND state = 'in_process' LIMIT 1",
        tenant_id=tenant_id,
        contact_id=contact_id,
    )
    return found is not None


def sent(tx: Tx, contact: Contact, *, after: int, now: int) -> tuple[int | None, Erased]:
    """Erases the next messages to the contact behind the id `after`; answers the last of them, None when there are no more."""
    rows: list[tuple[int, str, str | None]] = tx.rows(
        "SELECT id, address, recipients FROM communications WHERE tenant_id = :tenant_id AND contact_id = :contact_id AND id > :after"
        # what was accepted since the halt is halted itself before, or it would go out to nobody
        " AND state NOT IN ('scheduled', 'pending', 'unknown', 'in_process') ORDER BY id LIMIT :limit",
        tenant_id=contact.tenant_id,
        contact_id=contact.id,
        after=after,
        limit=STEP,
    )
    if not rows:
        return None, Erased()
    # at the address that the contact had then, too
    shared = [(row[0], left) for row in rows if row[2] is not None and (left := _without(row[2], contact, row[1])) is not None]
    alone = sorted({row[0] for row in rows} - {identity for identity, _ in shared})
    _erase_alone(tx, contact.tenant_id, alone, now=now)
    _take_out(tx, contact, shared, first=True)
    _forget_happened(tx, contact.tenant_id, [row[0] for row in rows])
    return rows[-1][0], Erased(communications=len(alone), shared=len(shared))


def copied(tx: Tx, contact: Contact) -> Erased:
    """Takes the contact's address out of mail that went to others and to it."""
    if contact.email is None:
        return Erased()
    like = f"%{literal(contact.email.lower())}%"
    rows: list[tuple[int, str]] = tx.rows(
        "SELECT id, recipients FROM communications WHERE tenant_id = :tenant_id AND campaign_id IS NULL AND recipients IS NOT NULL"
        " AND lower(recipients) LIKE :like ESCAPE '!' AND contact_id <> :contact_id AND lease IS NULL",
        tenant_id=contact.tenant_id,
        like=like,
        contact_id=contact.id,
    )
    shared = [
        (identity, left) for identity, recipients in rows if (left := _without(recipients, contact)) is not None and left != recipients
    ]
    _take_out(tx, contact, shared, first=False)
    tx.run(
        "UPDATE interactions SET detail = NULL WHERE tenant_id = :tenant_id AND communication_id IN :ids[bigint]"
        " AND lower(detail) LIKE :like ESCAPE '!'",
        tenant_id=contact.tenant_id,
        ids=[identity for identity, _ in shared],
        like=like,
    )
    received: list[tuple[int, str]] = tx.rows(
        "SELECT id, recipients FROM inbound_messages WHERE tenant_id = :tenant_id AND contact_id <> :contact_id"
        " AND lower(recipients) LIKE :like ESCAPE '!'",
        tenant_id=contact.tenant_id,
        contact_id=contact.id,
        like=like,
    )
    tx.run(
        "UPDATE inbound_messages SET recipients = r_recipients FROM :rows(r_id bigint, r_recipients text) r"
        " WHERE tenant_id = :tenant_id AND id = r_id",
        tenant_id=contact.tenant_id,
        rows=[(identity, _without(recipients, contact) or "{}") for identity, recipients in received],
    )
    return Erased(shared=len(shared))


def received(tx: Tx, contact: Contact, *, now: int) -> Erased:
    """Removes the next messages from the contact, with their files and with conversations that are empty then; nothing when there are none left."""
    ids = [
        row[0]
        for row in tx.rows(
            "SELECT id FROM inbound_messages WHERE tenant_id = :tenant_id AND contact_id = :contact_id ORDER BY received_at, id LIMIT :limit",
            tenant_id=contact.tenant_id,
            contact_id=contact.id,
            limit=STEP,
        )
    ]
    endpoints.forget(tx, contact.tenant_id, inbound_ids=ids)
    return Erased(inbound=keeping.remove_inbound(tx, contact.tenant_id, ids, before=now + 1))


def finish(tx: Tx, contact: Contact, *, behind: int, lift: bool, entry: int, now: int, asked: Asked) -> bool:
    """The contact itself goes, and what else names it. That it must not be written to stays, unless it is to be lifted. The `entry` that
    `begin` has made tells from now on how it ended.

    False, and nothing has changed, when there is more of it again: messages behind the id `behind`, or received ones.
    """
    tenant_id = contact.tenant_id
    tx.rows("SELECT id FROM contacts WHERE tenant_id = :tenant_id AND id = :id FOR UPDATE", tenant_id=tenant_id, id=contact.id)
    if _is_there_more(tx, contact, behind):
        return False
    tx.run(
        "UPDATE conversations SET subject = '', contact_id = NULL WHERE tenant_id = :tenant_id AND contact_id IS NOT NULL AND contact_id = :contact_id",
        tenant_id=tenant_id,
        contact_id=contact.id,
    )
    for channel, address in (("email", contact.email), ("sms", contact.phone)):
        known = suppressions.find(tx, tenant_id, channel, address) if address else None
        if known is not None and lift:
            suppressions.lift(tx, tenant_id, known.id)
        elif known is not None:
            suppressions.forget_words(tx, tenant_id, known.id)
    if contact.email is not None:
        tx.run(
            "UPDATE jobs SET params = '{}' WHERE tenant_id = :tenant_id AND kind = 'mailing' AND finished_at IS NOT NULL"
            " AND lower(params) LIKE :like ESCAPE '!'",
            tenant_id=tenant_id,
            like=f"%{literal(contact.email.lower())}%",
        )
    contacts.delete(tx, tenant_id, contact.id)
    keeping.soon(tx, tenant_id, at=now + 2 * keeping.GRACE)
    audit.end(tx, tenant_id, entry, asked=asked)
    return True


def _is_there_more(tx: Tx, contact: Contact, behind: int) -> bool:
    """Whether somebody has written to the contact, or heard from it, since that was erased."""
    found = tx.value(
        "SELECT 1 FROM communications WHERE tenant_id = :tenant_id AND contact_id = :contact_id"
        " AND (id > :behind OR state IN ('scheduled', 'pending', 'unknown', 'in_process'))"
        " UNION ALL SELECT 1 FROM inbound_messages WHERE tenant_id = :tenant_id AND contact_id = :contact_id LIMIT 1",
        tenant_id=contact.tenant_id,
        contact_id=contact.id,
        behind=behind,
    )
    return found is not None


def _erase_alone(tx: Tx, tenant_id: int, ids: Sequence[int], *, now: int) -> None:
    # retention passes over what somebody is at (an open that is being recorded, say), erasing waits for it
    tx.rows(
        "SELECT id FROM communications WHERE tenant_id = :tenant_id AND id IN :ids[bigint] ORDER BY id FOR UPDATE",
        tenant_id=tenant_id,
        ids=list(ids),
    )
    keeping.empty(tx, tenant_id, ids, now=now, links=False)
    tx.run(
        "UPDATE communications SET address = '', recipients = NULL, subject = NULL, variables = NULL, error = NULL"
        " WHERE tenant_id = :tenant_id AND id IN :ids[bigint]",
        tenant_id=tenant_id,
        ids=list(ids),
    )


def _take_out(tx: Tx, contact: Contact, shared: Sequence[tuple[int, str]], *, first: bool) -> None:
    """Writes the recipients that are left. Of those that were the contact's in the `first` place another is addressed now.

    What search found it by may hold the contact's name, and what the sandbox kept is the mail as a whole: both go.
    """
    ids = [identity for identity, _ in shared]
    tx.run(
        "UPDATE communications SET recipients = r_recipients, address = CASE WHEN :first = 1 THEN r_address ELSE address END, error = NULL,"
        " worded = CASE worded WHEN 1 THEN 0 ELSE worded END"
        " FROM :rows(r_id bigint, r_recipients text, r_address text) r WHERE tenant_id = :tenant_id AND id = r_id",
        tenant_id=contact.tenant_id,
        first=int(first),
        rows=[(identity, recipients, _first(recipients)) for identity, recipients in shared],
    )
    communications.forget_wording(tx, contact.tenant_id, ids)
    tx.run(
        "DELETE FROM sandbox_messages WHERE tenant_id = :tenant_id AND communication_id IN :ids[bigint]",
        tenant_id=contact.tenant_id,
        ids=ids,
    )


def _forget_happened(tx: Tx, tenant_id: int, ids: Sequence[int]) -> None:
    """Of what happened stays what and when."""
    tx.run(
        "UPDATE interactions SET detail = NULL, user_agent = NULL, ip = NULL WHERE tenant_id = :tenant_id AND communication_id IN :ids[bigint]"
        " AND (detail IS NOT NULL OR user_agent IS NOT NULL OR ip IS NOT NULL)",
        tenant_id=tenant_id,
        ids=list(ids),
    )
    endpoints.forget(tx, tenant_id, communication_ids=list(ids))


def _without(recipients: str, contact: Contact, once: str = "") -> str | None:
    """The recipients without the contact's address, nor the one it had `once`; None when nobody else is among them."""
    lists = msgspec.json.decode(recipients, type=dict[str, Any])
    own = {address.lower() for address in (contact.email, once) if address}
    left: dict[str, Any] = {name: [entry for entry in entries if not _is(entry, own)] for name, entries in lists.items()}
    if not any(left.get(name) for name in _LISTS):
        return None
    return msgspec.json.encode(left).decode()


def _first(recipients: str) -> str:
    lists = msgspec.json.decode(recipients, type=dict[str, list[str]])
    return next((parse(entry, name).email for name in _LISTS for entry in lists.get(name, [])), "")


def _is(entry: str, own: Set[str]) -> bool:
    return entry.rpartition("<")[2].rstrip("> ").strip().lower() in own
