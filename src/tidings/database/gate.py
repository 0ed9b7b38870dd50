"""The gate every unit of work goes through: `Database` runs plain functions in transactions, `Tx` is what they are handed.

A unit is `def accept(tx, …) -> …`: synchronous, no network, no slow work. `await db.write(accept, …)` runs it in a database
thread and answers once it is committed; `await db.read(find, …)` promises that nothing is changed.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Concatenate, LiteralString, ParamSpec, TypeVar

import msgspec

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T", bound=msgspec.Struct)

Param = int | float | str | bytes | None | Sequence[Sequence[int | float | str | None]] | Sequence[int] | Sequence[str]
"""What a statement may be given: a scalar, the rows of a batch, or the members of a list."""


class Tx(ABC):
    """One transaction. SQL is literal text with `:name` placeholders; `:rows(id bigint, …)` is a batch, `IN :ids[bigint]` a list (see `statements`).

    Records are msgspec structs whose fields stand in the order of the selected columns.
    """

    slot: int = 0
    """A number that differs between connections that write at the same time, 0 where there is but one: what many add to is spread by it."""

    def __init__(self) -> None:
        self.notified: set[str] = set()

    @abstractmethod
    def rows(self, sql: LiteralString, /, **params: Param) -> list[tuple[Any, ...]]:
        """Every row, bare."""

    @abstractmethod
    def run(self, sql: LiteralString, /, **params: Param) -> int:
        """Runs a statement; answers how many rows it changed (the changed row count is the lock)."""

    def all(self, record: type[T], sql: LiteralString, /, **params: Param) -> list[T]:
        """Every row as a record."""
        return [record(*row) for row in self.rows(sql, **params)]

    def one(self, record: type[T], sql: LiteralString, /, **params: Param) -> T | None:
        """The first row as a record, or None."""
        rows = self.rows(sql, **params)
        return record(*rows[0]) if rows else None

    def row(self, sql: LiteralString, /, **params: Param) -> tuple[Any, ...] | None:
        """The first row, bare, or None."""
        rows = self.rows(sql, **params)
        return rows[0] if rows else None

    def value(self, sql: LiteralString, /, **params: Param) -> Any:
        """The first column of the first row, or None."""
        rows = self.rows(sql, **params)
        return rows[0][0] if rows else None

    def notify(self, channel: LiteralString) -> None:
        """Wakes whoever waits for `channel`, in any process, once this transaction is committed."""
        self.notified.add(channel)


class Database(ABC):
    """A store. `url` is safe to show (no password)."""

    kind: str
    url: str

    def __init__(self) -> None:
        self._bells: dict[str, set[asyncio.Event]] = {}

    @abstractmethod
    async def write(self, unit: Callable[Concatenate[Tx, P], R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Runs the unit in one transaction and answers after its commit. Raises what the unit raises (and rolls back),
        `Unavailable` when the database cannot take it now.
        """

    @abstractmethod
    async def read(self, unit: Callable[Concatenate[Tx, P], R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Runs a unit that changes nothing."""

    @abstractmethod
    async def close(self) -> None:
        """Finishes what is under way and closes every connection."""

    @abstractmethod
    async def refresh(self) -> None:
        """Keeps the store's picture of its tables near the truth while they grow fast; cheap when there is nothing to do."""

    async def drop_months(self, before: int) -> list[str]:
        """Gives back at once the room of months of interactions that ended before that instant and are empty, where the store keeps months
        apart; answers their names. What cannot be had without waiting is left for the next time.
        """
        return []

    @abstractmethod
    async def maintain(self, now: int) -> None:
        """What the store wants done once a day: room for the coming months, fresh statistics."""

    def bell(self, channel: str) -> asyncio.Event:
        """An event set at every `tx.notify(channel)` that was committed; whoever waits clears it. Polling stays the fallback."""
        event = asyncio.Event()
        self._bells.setdefault(channel, set()).add(event)
        return event

    def drop_bell(self, channel: str, event: asyncio.Event) -> None:
        """Stops ringing `event`."""
        self._bells.get(channel, set()).discard(event)

    def ring(self, channels: set[str]) -> None:
        """Sets the bells of these channels; called in the event loop."""
        for channel in channels:
            for event in self._bells.get(channel, ()):
                event.set()
