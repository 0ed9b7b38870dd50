"""The walk of due messages, its second half: a claimed batch is composed, sent and settled. What each step means lives in its room."""

import asyncio
from typing import NamedTuple, Protocol

import msgspec
import structlog

from tidings.clock import Clock
from tidings.database import Database, Tx
from tidings.delivery import retry
from tidings.domain import carriers, communications, counters, enrollments
from tidings.domain.carriers import Carrier
from tidings.domain.communications import Due, Settled
from tidings.domain.counters import Tally
from tidings.domain.templates import Content
from tidings.errors import Invalid, NotFound, Unavailable
from tidings.message.outgoing import Outcome, Sealed, deferred, refused, unknown
from tidings.providers.base import Provider
from tidings.rendering.compose import Composer

FLUSH = 0.1
"""Seconds after which outcomes are settled though the batch goes on: what a crash can double is no older than that."""
BREATH = 25
"""Messages composed before others of this process get their turn."""

log = structlog.get_logger("dispatch")


class Registry(Protocol):
    """Where the provider of a carrier is had (see `providers.registry`)."""

    async def get(self, carrier: Carrier) -> Provider: ...


class Tools(NamedTuple):
    """What every flight works with. `cut` is set when a stopping worker can wait no longer."""

    db: Database
    composer: Composer
    registry: Registry
    now: Clock
    cut: asyncio.Event


class Taken(msgspec.Struct, frozen=True):
    """A claimed batch of one tenant: what carries it, the messages, and the contents not seen before."""

    carrier: Carrier
    hold_unknown: bool
    dues: list[Due]
    contents: list[Content]


class Flight:
    """One batch on its way. `contents` has every content its messages need, as far as there are any."""

    def __init__(self, tools: Tools, tenant_id: int, taken: Taken, contents: dict[int, Content], lease: int) -> None:
        self._db, self._composer, self._registry, self._now, self._cut = tools
        self._tenant_id, self._taken, self._contents, self._lease = tenant_id, taken, contents, lease
        self._open = {due.id: due for due in taken.dues}
        self._done: list[Settled] = []
        self._paused: Outcome | None = None

    async def fly(self) -> None:
        """Compose, send, settle: every message of the batch ends with an outcome or, at a crash, with its lease."""
        sealed = await self._compose()
        sending = asyncio.create_task(self._send(sealed))
        cut = asyncio.create_task(self._cut.wait())
        try:
            while not sending.done():
                await asyncio.wait({sending, cut}, timeout=FLUSH, return_when=asyncio.FIRST_COMPLETED)
                if self._cut.is_set():
                    sending.cancel()
                    await asyncio.wait({sending})
                await self._settle()
        finally:
            cut.cancel()
            # when settling broke down: what nobody can record must not go out
            sending.cancel()
        self._close(sending)
        await self._settle()

    async def _compose(self) -> list[Sealed]:
        sealed: list[Sealed] = []
        for index, due in enumerate(self._taken.dues):
            if index % BREATH == BREATH - 1:
                await asyncio.sleep(0)
            if due.suppressed:
                self._settle_as(Settled(due.id, "suppressed", error=f"{due.address} must not be written to: {due.suppressed}"))
                continue
            content = self._contents.get(due.content_id)
            try:
                if content is None:
                    raise NotFound("Its content is gone.")
                sealed.append(self._composer.compose(due, content, now=self._now()))
            except (Invalid, NotFound) as error:
                self.report(due.id, refused(error.message))
            except Exception as error:  # one message must not stop a batch
                log.exception("compose failed", tenant=due.tenant_id, communication=due.id)
                self.report(due.id, refused(f"Could not be composed: {error}"))
        return sealed

    async def _send(self, sealed: list[Sealed]) -> None:
        if not sealed:
            return
        carrier = self._taken.carrier
        provider = await self._registry.get(carrier)
        await provider.send(sealed, self.report)

    def report(self, communication_id: int, outcome: Outcome) -> None:
        """Takes a message's outcome; the first word counts."""
        due = self._open.get(communication_id)
        if due is None:
            return
        if outcome.kind == "paused":
            self._paused = outcome
        self._settle_as(retry.settled(due, outcome, hold_unknown=self._taken.hold_unknown, now=self._now()))

    def _settle_as(self, settled: Settled) -> None:
        del self._open[settled.id]
        self._done.append(settled)

    def _close(self, sending: asyncio.Task[None]) -> None:
        """Gives an outcome to whatever the provider left without one."""
        if sending.cancelled():
            left = unknown("The worker was stopped while this was being sent; it may have gone out.")
        elif (error := sending.exception()) is not None:
            log.error("provider failed", provider=self._taken.carrier.kind, error=repr(error), exc_info=error)
            left = unknown(f"The provider failed: {error}")
        else:
            left = deferred("The provider gave no answer.")
        for communication_id in list(self._open):
            self.report(communication_id, left)

    async def _settle(self) -> None:
        """Writes what is known so far. A database that cannot take it now is asked again: the lease is renewed meanwhile."""
        outcomes, self._done = self._done, []
        # once for each time the provider said so: an operator may have resumed it meanwhile
        paused, self._paused = self._paused, None
        if not outcomes:
            return
        wait = 0.1
        while True:
            try:
                await self._db.write(self._write, outcomes, paused, now=self._now())
                return
            except Unavailable as error:
                if self._cut.is_set() and wait > 1.0:
                    log.warning("outcomes not written; their leases decide", count=len(outcomes), reason=error.message)
                    return
                await asyncio.sleep(wait)
                wait = min(wait * 2, 5.0)

    def _write(self, tx: Tx, outcomes: list[Settled], paused: Outcome | None, *, now: int) -> None:
        tenant_id, carrier = self._tenant_id, self._taken.carrier
        tally = Tally()
        result = communications.settle(tx, tenant_id, self._lease, outcomes, tally, provider=carrier.kind, now=now)
        enrollments.complete(tx, tenant_id, result.ended, result.ending, tally, now=now)
        # last, for others wait who add to the same counts
        counters.fold(tx, tally)
        if paused is not None:
            until = now + (paused.retry_after or retry.PAUSE)
            carriers.pause(tx, tenant_id, carrier.id, retry.plain(paused.reason), until=until, now=now)
        elif carrier.paused_at is not None and any(outcome.state == "sent" for outcome in outcomes):
            carriers.resume(tx, tenant_id, carrier.id)
