"""The provider that delivers to nobody: every message is kept, to be read back. Some addresses play what goes wrong with real ones.

| address | what happens |
|---|---|
| `bounce@sandbox.test`, `+1 500 555 0001` | refused for good; nothing is sent there again |
| `defer@sandbox.test`, `+1 500 555 0002` | put off, every time |
| `unknown@sandbox.test`, `+1 500 555 0003` | kept, and no answer comes |

A tag makes many of one: `bounce+17@sandbox.test`. `.test` is nobody's domain (RFC 2606).
"""

from collections.abc import Sequence
from typing import Final, LiteralString

import msgspec

from tidings.clock import SECOND, Clock
from tidings.database import Database, Tx
from tidings.errors import NotFound, Unavailable
from tidings.message.outgoing import Ban, Email, Outcome, Sealed, accepted, deferred, paused, refused, unknown
from tidings.providers.base import Channel, Report

GROUP = 50
"""Messages that are kept in one write, and reported then: what is not reported when a worker is killed goes out again."""
_DOMAIN = "sandbox.test"
_BOUNCE = refused("550 5.1.1 the sandbox plays an address that does not exist", "5.1.1")
_DEFER = deferred("452 4.2.2 the sandbox plays a mailbox that is full", "4.2.2")
_CLOSED = paused("the sandbox is closed")
_UNKNOWN = unknown("the sandbox plays a connection that is lost before the answer")
_MAGIC: dict[str, Outcome] = {
    "bounce": _BOUNCE,
    "defer": _DEFER,
    "unknown": _UNKNOWN,
    "+15005550001": _BOUNCE,
    "+15005550002": _DEFER,
    "+15005550003": _UNKNOWN,
}


class Stored(msgspec.Struct, frozen=True):
    """A kept message. `recipients` is a JSON array of addresses; `raw` the RFC 5322 message, or an SMS's text in UTF-8."""

    id: int
    communication_id: int
    channel: str
    sender: str
    recipients: str
    raw: bytes
    created_at: int


class Sandbox:
    """Keeps every message it is handed, some in one write, and accepts it unless its address is one of the magic ones."""

    kind = "sandbox"

    def __init__(self, db: Database, clock: Clock, channel: Channel) -> None:
        self._db = db
        self._clock = clock
        self._channel: Channel = channel
        self._closed = False

    async def send(self, batch: Sequence[Sealed], report: Report) -> None:
        """See `Provider.send`. Nothing is accepted that is not stored."""
        for start in range(0, len(batch), GROUP):
            for message, outcome in await self._taken(batch[start : start + GROUP]):
                report(message.communication_id, outcome)

    async def close(self) -> None:
        """From now on everything is handed back."""
        self._closed = True

    async def _taken(self, group: Sequence[Sealed]) -> list[tuple[Sealed, Outcome]]:
        outcomes = [(message, _CLOSED if self._closed else _outcome(message)) for message in group]
        kept = [(message, outcome) for message, outcome in outcomes if outcome.kind in ("accepted", "unknown")]
        if kept:
            try:
                await self._db.write(_store, self._channel, kept, now=self._clock())
            except Unavailable as error:
                away = paused(error.message, SECOND)
                return [(message, away) for message in group]
        return outcomes


def _outcome(message: Sealed) -> Outcome:
    addresses = _addresses(message)
    verdicts = {address: verdict for address in addresses if (verdict := _magic(address))}
    nobody: tuple[tuple[str, Ban], ...] = tuple((address, "bounced") for address, verdict in verdicts.items() if verdict is _BOUNCE)
    if len(verdicts) < len(addresses):
        rejected = tuple((address, verdict.reason) for address, verdict in verdicts.items())
        return accepted(f"sandbox-{message.communication_id}", rejected, nobody)
    verdict = next(iter(verdicts.values()), refused("the message has no recipients", "5.5.4"))
    return refused(verdict.reason, verdict.code, nobody) if verdict is _BOUNCE else verdict


def _magic(address: str) -> Outcome | None:
    local, at, domain = address.lower().rpartition("@")
    if not at:
        return _MAGIC.get(address)
    return _MAGIC.get(local.partition("+")[0]) if domain == _DOMAIN else None


def _addresses(message: Sealed) -> tuple[str, ...]:
    return message.recipients if isinstance(message, Email) else (message.to,)


def _store(tx: Tx, channel: str, kept: list[tuple[Sealed, Outcome]], *, now: int) -> None:
    for message, outcome in kept:
        rejected = {address for address, _ in outcome.rejected}
        reached = [address for address in _addresses(message) if address not in rejected]
        is_email = isinstance(message, Email)
        tx.run(
            "INSERT INTO sandbox_messages (tenant_id, communication_id, channel, sender, recipients, raw, created_at)"
            " VALUES (:tenant_id, :communication_id, :channel, :sender, :recipients, :raw, :now)",
            tenant_id=message.tenant_id,
            communication_id=message.communication_id,
            channel=channel,
            sender=message.envelope_from if is_email else message.sender,
            recipients=msgspec.json.encode(reached).decode(),
            raw=message.raw if is_email else message.text.encode(),
            now=now,
        )


# Reading back

_STORED: Final = (
    "SELECT id, communication_id, channel, sender, recipients, raw, created_at FROM sandbox_messages WHERE tenant_id = :tenant_id"
)


class Shelf(msgspec.Struct, frozen=True):
    """A page of kept messages and how many there are in all."""

    rows: list[Stored]
    total: int


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """Which of the kept messages: all that is given must hold. `to` is a whole address, in any case."""

    to: str | None = None
    channel: str | None = None
    communication_id: int | None = None


def page(tx: Tx, tenant_id: int, filters: Filters, *, page: int = 1, limit: int = 25) -> Shelf:
    """Kept messages, newest first."""
    rows: LiteralString = _STORED
    count: LiteralString = "SELECT COUNT(*) FROM sandbox_messages WHERE tenant_id = :tenant_id"
    wanted: LiteralString = ""
    params: dict[str, int | str] = {"tenant_id": tenant_id}
    if filters.to is not None:
        wanted += " AND lower(recipients) LIKE :recipient ESCAPE '!'"
        params["recipient"] = _pattern(filters.to)
    if filters.channel is not None:
        wanted += " AND channel = :channel"
        params["channel"] = filters.channel
    if filters.communication_id is not None:
        wanted += " AND communication_id = :communication_id"
        params["communication_id"] = filters.communication_id
    rows += wanted + " ORDER BY id DESC LIMIT :limit OFFSET :offset"
    count += wanted
    return Shelf(tx.all(Stored, rows, **params, limit=limit, offset=(page - 1) * limit), tx.value(count, **params))


def get(tx: Tx, tenant_id: int, stored_id: int) -> Stored:
    """One kept message. Raises NotFound."""
    sql = _STORED + " AND id = :stored_id"
    found = tx.one(Stored, sql, tenant_id=tenant_id, stored_id=stored_id)
    if found is None:
        raise NotFound("Sandbox message not found")
    return found


def clear(tx: Tx, tenant_id: int) -> int:
    """Throws away whatever the tenant's sandbox keeps; answers how many messages that were."""
    return tx.run("DELETE FROM sandbox_messages WHERE tenant_id = :tenant_id", tenant_id=tenant_id)


def _pattern(address: str) -> str:
    """LIKE for an element of the JSON array that is exactly this address."""
    literal = msgspec.json.encode(address.lower()).decode()
    for special in "!%_":
        literal = literal.replace(special, f"!{special}")
    return f"%{literal}%"
