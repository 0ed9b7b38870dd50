"""The walk of due messages, its second half: a claimed batch is composed, sent and settled. What each step means lives in its room."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import msgspec
import structlog

from tidings.clock import Clock
from tidings.database import Database, Tx
from tidings.delivery import cargo, retry
from tidings.domain import carriers, communications, counters, enrollments
from tidings.domain.attachments import Attachment
from tidings.domain.carriers import Carrier
from tidings.domain.communications import Due, Settled
from tidings.domain.counters import Tally
from tidings.domain.templates import Content
from tidings.domain.threads import Lineage
from tidings.errors import Invalid, NotFound, Unavailable
from tidings.message.outgoing import Outcome, Sealed, deferred, refused, unknown, untried
from tidings.providers.base import Provider
from tidings.rendering.compose import Composer
from tidings.storage import Store

FLUSH = 0.1
"""Seconds after which outcomes are settled though the batch goes on: what a crash can double is no older than that."""
BREATH = 25
"""Messages composed before others of this process get their turn."""

log = structlog.get_logger("dispatch")


class Registry(Protocol):
    """Where the provider of a carrier is had (see `providers.registry`)."""

    async def get(self, carrier: Carrier) -> Provider: ...


class Tools(NamedTuple):
    """What every flight works with. `cut` is set when a stopping worker can wait no longer, `loads` bounds what is in memory of files."""

    db: Database
    composer: Composer
    registry: Registry
    store: Store
    now: Clock
    cut: asyncio.Event
    loads: asyncio.Semaphore


class Taken(msgspec.Struct, frozen=True):
    """A claimed batch of one tenant: what carries it, the messages, the contents not seen before, and by message its files and what it answers."""

    carrier: Carrier
    hold_unknown: bool
    dues: list[Due]
    contents: list[Content]
    files: dict[int, list[Attachment]] = {}
    lineages: dict[int, Lineage] = {}


class Flight:
    """One batch on its way. `contents` has every content its messages need, as far as there are any."""

    def __init__(self, tools: Tools, tenant_id: int, taken: Taken, contents: dict[int, Content], lease: int) -> None:
        self._db, self._composer, self._registry, self._store, self._now, self._cut, self._loads = tools
        self._tenant_id, self._taken, self._contents, self._lease = tenant_id, taken, contents, lease
        self._open = {due.id: due for due in taken.dues}
        self._done: list[Settled] = []
        self._paused: Outcome | None = None
        self._grounded: Outcome | None = None
        self._unsent: set[int] = set()

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
        """Everything but what has files with it: that is composed load by load, when it is its turn."""
        sealed: list[Sealed] = []
        for index, due in enumerate(self._taken.dues):
            if index % BREATH == BREATH - 1:
                await asyncio.sleep(0)
            if due.suppressed:
                self._settle_as(Settled(due.id, "suppressed", error=f"{due.address} must not be written to: {due.suppressed}"))
            elif due.attached:
                self._unsent.add(due.id)
            else:
                self._take_up(due, self._made(due, ()), sealed)
        return sealed

    def _made(self, due: Due, attached: Sequence[bytes]) -> Sealed | Outcome:
        """One message, or why it cannot be made. Runs in a thread where files are attached: it touches nothing of the flight's."""
        try:
            content = self._contents.get(due.content_id)
            if content is None:
                raise NotFound("Its content is gone.")
            return self._composer.compose(due, content, self._now(), attached=attached, lineage=self._taken.lineages.get(due.id))
        except (Invalid, NotFound) as error:
            return refused(error.message)
        except Exception as error:  # one message must not stop a batch
            log.exception("compose failed", tenant=due.tenant_id, communication=due.id)
            return refused(f"Could not be composed: {error}")

    def _take_up(self, due: Due, made: Sealed | Outcome, sealed: list[Sealed]) -> None:
        if isinstance(made, Outcome):
            self.report(due.id, made)
        else:
            self._unsent.add(due.id)
            sealed.append(made)

    async def _send(self, sealed: list[Sealed]) -> None:
        if not self._unsent:
            return
        provider = await self._registry.get(self._taken.carrier)
        await self._offer(provider, sealed)
        if self._unsent:
            await self._send_loads(provider)

    async def _offer(self, provider: Provider, sealed: list[Sealed]) -> None:
        """From here on it is the provider who knows what has left."""
        self._unsent.difference_update(one.communication_id for one in sealed)
        if sealed:
            await provider.send(sealed, self.report)

    async def _send_loads(self, provider: Provider) -> None:
        """What has files with it, as much at a time as memory shall hold. Once the provider cannot work, the rest is handed back untried."""
        hold = cargo.Hold(self._store, self._tenant_id)
        waiting = [due for due in self._taken.dues if due.id in self._unsent]
        for load in cargo.loads(waiting, self._taken.files):
            async with self._loads:
                if self._grounded is None:
                    hold.keep_only(attachment for due in load for attachment in self._taken.files.get(due.id, ()))
                    await self._send_load(provider, hold, load)
            if self._grounded is not None:
                for communication_id in list(self._unsent):
                    self.report(communication_id, self._grounded)
                return

    async def _send_load(self, provider: Provider, hold: cargo.Hold, load: list[Due]) -> None:
        sealed: list[Sealed] = []
        for due, made in zip(load, await asyncio.gather(*(self._loaded(hold, due) for due in load)), strict=True):
            self._take_up(due, made, sealed)
        await self._offer(provider, sealed)

    async def _loaded(self, hold: cargo.Hold, due: Due) -> Sealed | Outcome:
        """One message with its files. A store that is away puts it off; a file that is gone is its end."""
        files = self._taken.files.get(due.id, [])
        if not files:
            return refused("Its attachments are gone.")
        try:
            return await asyncio.to_thread(self._made, due, await hold.parts(files))
        except Unavailable as error:
            return deferred(error.message)
        except NotFound as error:
            return refused(error.message)

    def report(self, communication_id: int, outcome: Outcome) -> None:
        """Takes a message's outcome; the first word counts."""
        due = self._open.get(communication_id)
        if due is None:
            return
        if outcome.kind == "paused":
            self._paused = self._grounded = outcome
        self._settle_as(retry.settled(due, outcome, hold_unknown=self._taken.hold_unknown, now=self._now()))

    def _settle_as(self, settled: Settled) -> None:
        del self._open[settled.id]
        self._unsent.discard(settled.id)
        self._done.append(settled)

    def _close(self, sending: asyncio.Task[None]) -> None:
        """Gives an outcome to whatever the provider left without one; what it was never given is due again."""
        if sending.cancelled():
            for communication_id in list(self._unsent):
                self.report(communication_id, untried())
            left = unknown("The worker was stopped while this was being sent; it may have gone out.")
        elif (error := sending.exception()) is not None:
            log.error("provider failed", provider=self._taken.carrier.kind, error=repr(error), exc_info=error)
            for communication_id in list(self._unsent):
                self.report(communication_id, deferred(f"The provider failed: {error}"))
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
