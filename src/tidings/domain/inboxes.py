"""Where mail comes in for a tenant: mailboxes that are read, addresses the listener takes mail for, the webhooks of carriers.

A mailbox is a row that is due, and whoever claims it holds a lease: how far it has been read is settled only while the lease is held.
Settings are sealed before they come here; nothing here reads them.
"""

import secrets
from typing import Final, Literal, LiteralString, NamedTuple

import msgspec

from tidings.clock import MINUTE
from tidings.database import Tx
from tidings.database.functions import literal
from tidings.domain.page import Page
from tidings.errors import Conflict, NotFound

Kind = Literal["imap", "address", "postmark", "mailgun", "sendgrid", "resend", "ses"]

BELL: Final = "inboxes"
"""What is notified whenever a mailbox becomes due before its time, or a lease is taken away."""


class Inbox(msgspec.Struct, frozen=True):
    """A row of `inboxes`. `address` is of kind `address` alone (`help@example.com` or a whole domain, lower-cased), `token` of webhooks.

    `settings` is sealed JSON or "", `cursor` how far a mailbox has been read ("" before its first time), `attempts` the claims since it
    was last read without a fault, `error` what is wrong since `failing_since`, `last_at` when it was last read, or its carrier last heard.
    """

    id: int
    tenant_id: int
    kind: str
    name: str
    address: str | None
    token: str | None
    settings: str
    cursor: str
    due_at: int | None
    lease_until: int | None
    lease: int | None
    attempts: int
    error: str | None
    failing_since: int | None
    last_at: int | None
    created_at: int
    updated_at: int


class New(NamedTuple):
    """What an inbox begins with."""

    kind: Kind
    name: str
    address: str | None = None
    token: str | None = None
    settings: str = ""


_COLUMNS: LiteralString = (
    "id, tenant_id, kind, name, address, token, settings, cursor, due_at, lease_until, lease, attempts, error, failing_since, last_at,"
    " created_at, updated_at"
)


def create(tx: Tx, tenant_id: int, new: New, *, now: int) -> Inbox:
    """A new inbox; a mailbox is due at once. Raises Conflict when its name is taken, or its address by whomever."""
    _refuse_taken(tx, tenant_id, new.name, new.address)
    made = tx.one(
        Inbox,
        "INSERT INTO inboxes (tenant_id, kind, name, address, token, settings, due_at, created_at, updated_at)"
        " VALUES (:tenant_id, :kind, :name, :address, :token, :settings, :due_at, :now, :now) ON CONFLICT DO NOTHING RETURNING " + _COLUMNS,
        tenant_id=tenant_id,
        kind=new.kind,
        name=new.name,
        address=new.address,
        token=new.token,
        settings=new.settings,
        due_at=now if new.kind == "imap" else None,
        now=now,
    )
    if made is None:  # somebody else was faster
        raise Conflict(f"There is an inbox named {new.name} already, or one for its address")
    tx.notify(BELL)
    return made


def get(tx: Tx, tenant_id: int, inbox_id: int) -> Inbox:
    """One by id. Raises NotFound."""
    found = tx.one(
        Inbox, "SELECT " + _COLUMNS + " FROM inboxes WHERE tenant_id = :tenant_id AND id = :id", tenant_id=tenant_id, id=inbox_id
    )
    if found is None:
        raise NotFound("Inbox not found")
    return found


def named(tx: Tx, tenant_id: int, name: str) -> Inbox | None:
    """One by its name, or None."""
    sql: LiteralString = "SELECT " + _COLUMNS + " FROM inboxes WHERE tenant_id = :tenant_id AND name = :name"
    return tx.one(Inbox, sql, tenant_id=tenant_id, name=name)


def page(tx: Tx, tenant_id: int, *, limit: int, page: int) -> Page[Inbox]:
    """One page (from 1), oldest first."""
    total: int = tx.value("SELECT COUNT(*) FROM inboxes WHERE tenant_id = :tenant_id", tenant_id=tenant_id)
    sql: LiteralString = "SELECT " + _COLUMNS + " FROM inboxes WHERE tenant_id = :tenant_id ORDER BY id LIMIT :limit OFFSET :skip"
    return Page(tx.all(Inbox, sql, tenant_id=tenant_id, limit=limit, skip=(page - 1) * limit), total)


class Change(NamedTuple):
    """What an inbox becomes. `restart`: it is another mailbox now, read from its own beginning."""

    name: str
    address: str | None
    settings: str
    restart: bool = False


def update(tx: Tx, tenant_id: int, inbox_id: int, change: Change, *, now: int) -> Inbox:
    """Changes it; a mailbox is due at once, whoever reads it now settles nothing any more. Raises Conflict as `create` does, NotFound."""
    before = get(tx, tenant_id, inbox_id)
    _refuse_taken(tx, tenant_id, change.name, change.address, but=inbox_id)
    tx.run(
        "UPDATE inboxes SET name = :name, address = :address, settings = :settings, cursor = :cursor, due_at = :due_at, lease = NULL,"
        " lease_until = NULL, attempts = 0, error = NULL, failing_since = NULL, updated_at = :now WHERE tenant_id = :tenant_id AND id = :id",
        tenant_id=tenant_id,
        id=inbox_id,
        name=change.name,
        address=change.address,
        settings=change.settings,
        cursor="" if change.restart else before.cursor,
        due_at=now if before.kind == "imap" else None,
        now=now,
    )
    tx.notify(BELL)
    return get(tx, tenant_id, inbox_id)


def delete(tx: Tx, tenant_id: int, inbox_id: int) -> None:
    """Forgets it and its secrets; what came in by it stays. Raises NotFound."""
    if not tx.run("DELETE FROM inboxes WHERE tenant_id = :tenant_id AND id = :id", tenant_id=tenant_id, id=inbox_id):
        raise NotFound("Inbox not found")
    tx.notify(BELL)


def hasten(tx: Tx, tenant_id: int, inbox_id: int, *, now: int) -> Inbox:
    """Makes a mailbox due at once, whoever holds it. Raises Conflict for an inbox that is none, NotFound."""
    inbox = get(tx, tenant_id, inbox_id)
    if inbox.kind != "imap":
        raise Conflict(f"{inbox.name} is not polled: mail comes to it by itself")
    tx.run(
        "UPDATE inboxes SET due_at = :now, lease = NULL, lease_until = NULL, attempts = 0 WHERE tenant_id = :tenant_id AND id = :id",
        tenant_id=tenant_id,
        id=inbox_id,
        now=now,
    )
    tx.notify(BELL)
    return get(tx, tenant_id, inbox_id)


def by_address(tx: Tx, address: str) -> Inbox | None:
    """Whose mail to a (normalised) address is, any tenant's: the whole address before its domain; None when it is nobody's."""
    address = address.lower()
    return tx.one(
        Inbox,
        "SELECT " + _COLUMNS + " FROM inboxes WHERE address IN :addresses[text] ORDER BY LENGTH(address) DESC LIMIT 1",
        addresses=[address, address.rpartition("@")[2]],
    )


def by_token(tx: Tx, token: str) -> Inbox | None:
    """The inbox whose webhook has this in its URL, any tenant's, or None."""
    return tx.one(Inbox, "SELECT " + _COLUMNS + " FROM inboxes WHERE token = :token", token=token)


def claim(tx: Tx, *, now: int, lease_ms: int) -> Inbox | None:
    """The mailbox that has been due longest, any tenant's, leased for `lease_ms`; None when none is due."""
    return tx.one(
        Inbox,
        # materialised: a plan that asks the inner question for every row would be given another mailbox each time
        "WITH picked AS MATERIALIZED (SELECT tenant_id, id FROM inboxes WHERE due_at <= :now ORDER BY due_at, id LIMIT 1 FOR UPDATE SKIP LOCKED)"
        " UPDATE inboxes SET lease = :lease, lease_until = :until, due_at = :until, attempts = attempts + 1"
        " WHERE (tenant_id, id) IN (SELECT tenant_id, id FROM picked) RETURNING " + _COLUMNS,
        lease=secrets.randbits(62),
        until=now + lease_ms,
        now=now,
    )


def is_any_due(tx: Tx, *, now: int) -> bool:
    """Whether a mailbox waits to be claimed, any tenant's."""
    return tx.row("SELECT 1 FROM inboxes WHERE due_at <= :now LIMIT 1", now=now) is not None


def renew(tx: Tx, leases: list[int], *, until: int) -> set[int]:
    """Holds on to these leases until then; those of them that are held still."""
    rows = tx.rows(
        "UPDATE inboxes SET lease_until = :until, due_at = :until WHERE due_at IS NOT NULL AND lease IN :leases[bigint] RETURNING lease",
        until=until,
        leases=leases,
    )
    return {row[0] for row in rows}


def give_up_leases(tx: Tx, *, now: int) -> int:
    """Makes due at once whatever is leased: its holders are dead, for no other process can be alive on this store. How many there were."""
    return tx.run("UPDATE inboxes SET lease = NULL, lease_until = NULL, due_at = :now WHERE lease IS NOT NULL AND tenant_id > 0", now=now)


def progressed(tx: Tx, inbox: Inbox, cursor: str, *, error: str | None, now: int) -> bool:
    """It has been read as far as `cursor`; `error` is what people should know of it. False when the lease is lost."""
    changed = tx.run(
        "UPDATE inboxes SET cursor = :cursor, attempts = 0, last_at = :now, error = :error,"
        " failing_since = CASE WHEN CAST(:error AS text) IS NOT NULL THEN COALESCE(failing_since, :now) END"
        " WHERE tenant_id = :tenant_id AND id = :id AND lease = :lease",
        tenant_id=inbox.tenant_id,
        id=inbox.id,
        lease=inbox.lease,
        cursor=cursor,
        error=error,
        now=now,
    )
    return changed == 1


def is_news(inbox: Inbox, error: str | None, *, now: int) -> bool:
    """Whether a post of its carrier's is worth writing down: once a minute, or when what is wrong changes. Posts come by the thousand."""
    return inbox.error != error or inbox.last_at is None or now - inbox.last_at >= MINUTE


def heard(tx: Tx, inbox: Inbox, error: str | None, *, now: int) -> None:
    """Its carrier has posted something: taken well, or refused for `error`."""
    tx.run(
        "UPDATE inboxes SET last_at = CASE WHEN CAST(:error AS text) IS NULL THEN :now ELSE last_at END, error = :error,"
        " failing_since = CASE WHEN CAST(:error AS text) IS NOT NULL THEN COALESCE(failing_since, :now) END"
        " WHERE tenant_id = :tenant_id AND id = :id",
        tenant_id=inbox.tenant_id,
        id=inbox.id,
        error=error,
        now=now,
    )


def release(tx: Tx, inbox: Inbox, *, due_at: int) -> bool:
    """Gives it back, to be claimed again from `due_at` on. False when the lease is lost."""
    changed = tx.run(
        "UPDATE inboxes SET lease = NULL, lease_until = NULL, due_at = :due_at WHERE tenant_id = :tenant_id AND id = :id AND lease = :lease",
        tenant_id=inbox.tenant_id,
        id=inbox.id,
        lease=inbox.lease,
        due_at=due_at,
    )
    return changed == 1


def failed(tx: Tx, inbox: Inbox, error: str, *, now: int, due_at: int) -> bool:
    """It could not be read, and `error` says why; it is tried again from `due_at` on. False when the lease is lost."""
    changed = tx.run(
        "UPDATE inboxes SET lease = NULL, lease_until = NULL, due_at = :due_at, error = :error, failing_since = COALESCE(failing_since, :now)"
        " WHERE tenant_id = :tenant_id AND id = :id AND lease = :lease",
        tenant_id=inbox.tenant_id,
        id=inbox.id,
        lease=inbox.lease,
        error=error,
        now=now,
        due_at=due_at,
    )
    return changed == 1


def _refuse_taken(tx: Tx, tenant_id: int, name: str, address: str | None, *, but: int = 0) -> None:
    known = named(tx, tenant_id, name)
    if known is not None and known.id != but:
        raise Conflict(f"There is an inbox named {name} already")
    if address is None:
        return
    # nobody may take single addresses out of a domain that is another's, nor the domain around them
    other = tx.row(
        "SELECT tenant_id, id, address FROM inboxes WHERE (address IN :addresses[text] OR address LIKE :within ESCAPE '!')"
        " AND (tenant_id <> :tenant_id OR address = :address) AND id <> :id LIMIT 1",
        tenant_id=tenant_id,
        id=but,
        address=address,
        addresses=[address, address.rpartition("@")[2]],
        within=("%@" + literal(address)) if "@" not in address else "",
    )
    if other is not None:
        whose = "is another tenant's" if other[0] != tenant_id else "has an inbox already"
        raise Conflict(f"{other[2]} {whose}")
