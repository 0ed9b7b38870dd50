"""Text messages over SMPP 3.4, out and in: one connection, bound as transceiver, shared by all sends. What happens on it is wire.py's.

What comes in (texts, receipts) is incoming.py's.
"""

import asyncio
import secrets
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import structlog

from tidings.clock import MINUTE, Clock
from tidings.message import phone
from tidings.message.outgoing import Outcome, Sealed, Sms, accepted, paused, refused, unknown, untried
from tidings.providers.base import Hear, Pace, Report, window
from tidings.providers.smpp import alphabet, codes, pdu
from tidings.providers.smpp.incoming import Incoming
from tidings.providers.smpp.open import Failure, open_bound
from tidings.providers.smpp.pdu import Message, Number, Packet
from tidings.providers.smpp.settings import SmppSettings
from tidings.providers.smpp.wire import Connection, Lost

_CLOSED = paused("the provider is closed")
_GOODBYE = 5.0
_BARREN_LIMIT = 3
"""So many connections in a row that ended with messages and without an answer to any: the SMSC is not going to take more."""
_TRIES = 5
"""How often a part is submitted while the SMSC is crowded, where parts before it are with it already."""
_CROWDED = 1.0
"""Seconds that everything waits after the SMSC said that it was too much."""
_MOST_PARTS = 255
_FIRST_BACKOFF, _LAST_BACKOFF = 1.0, 60.0

log = structlog.get_logger("smpp")


class Smpp:
    """An account at an SMSC as a provider. Of several sends under way each has its share of the window, so a single text never waits behind a batch."""

    kind = "smpp"

    def __init__(self, settings: SmppSettings, now: Clock, hear: Hear | None = None) -> None:
        """`hear` stores what comes in. Without it we bind as a transmitter, and the SMSC keeps what it has for us."""
        self._settings, self._now, self._hear = settings, now, hear
        self.window = window(settings.rate) if settings.rate else None
        self._incoming: Incoming | None = None
        self._pace = Pace(settings.rate) if settings.rate else None
        self._reference = secrets.randbelow(256)
        self._connection: Connection | None = None
        self._opening: asyncio.Task[Connection | Failure] | None = None
        self._listening: asyncio.Task[None] | None = None
        self._free_at = 0.0
        self._barren = 0
        self._closed = False

    async def send(self, batch: Sequence[Sealed], report: Report) -> None:
        """Hands over a batch of texts; see `Provider.send`."""
        texts: list[Sms] = []
        for message in batch:
            if not isinstance(message, Sms):
                raise TypeError(f"SMPP carries Sms, not {type(message).__name__}")
            texts.append(message)
        if not texts:
            return
        work = _Work(iter(texts), report)
        share = min(self._settings.window, len(texts))
        tasks = [asyncio.get_running_loop().create_task(self._carry(work)) for _ in range(share)]
        try:
            await asyncio.gather(*tasks)
        except asyncio.CancelledError:
            await _ended(tasks)
            for message in work.untouched():
                report(message.communication_id, untried())
            raise
        finally:
            await _ended(tasks)

    def listen(self) -> None:
        """See `Listener.listen`. Does nothing where nobody hears."""
        if self._hear is not None and self._listening is None and not self._closed:
            self._listening = asyncio.get_running_loop().create_task(self._stay())

    async def close(self) -> None:
        """Unbinds. What waits is handed back as paused; what is on its way, and what came in, gets a few seconds to end."""
        if self._closed:
            return
        self._closed = True
        for task in (self._opening, self._listening):
            if task is not None:
                task.cancel()
                await asyncio.wait({task})
        connection = self._connection
        try:
            async with asyncio.timeout(_GOODBYE):
                if self._incoming is not None:
                    await self._incoming.close()
                if connection is not None:
                    await connection.drained()
                    await connection.leave()
        except TimeoutError:
            log.warning("closed without a good-bye", smsc=self._settings.place)
        if connection is not None:
            connection.end("the provider is closed")

    # Messages

    async def _carry(self, work: "_Work") -> None:
        """Takes messages of a batch until there are no more. Once the SMSC cannot be worked with, the rest is handed back untried."""
        for message in work.waiting:
            work.in_hand[message.communication_id] = message
            outcome = work.grounded or await self._outcome(message, work)
            work.in_hand.pop(message.communication_id, None)
            if outcome.kind == "paused":
                work.grounded = outcome
            work.report(message.communication_id, outcome)

    async def _outcome(self, message: Sms, work: "_Work") -> Outcome:
        settings = self._settings
        text = phone.smart(message.text) if settings.smart_encoding else message.text
        self._reference = (self._reference + 1) % 256
        written = alphabet.written(text, settings.alphabet, self._reference)
        if not written.parts:
            return refused("the text is empty", "empty")
        if len(written.parts) > _MOST_PARTS:
            return refused(f"the text takes {len(written.parts)} parts, and {_MOST_PARTS} is the most", "too long")
        name = ""
        for index, data in enumerate(written.parts):
            turn = _Turn(work, message.communication_id, insist=index > 0)
            answer = await self._submitted(self._message(message, data, index, written), turn)
            if isinstance(answer, Packet):
                answer = _judged(answer, usual_sender=self._is_usual(message))
            if isinstance(answer, Outcome):
                return _of_part(answer, index, len(written.parts))
            name = answer
        return accepted(name)

    def _is_usual(self, message: Sms) -> bool:
        """Whether it goes out under the provider's own sender, and not under the number a conversation goes on under."""
        return message.sender in ("", self._settings.sender)

    def _message(self, message: Sms, data: bytes, index: int, written: alphabet.Written) -> bytes:
        settings = self._settings
        last = index == len(written.parts) - 1
        usual = self._is_usual(message)
        return Message(
            source=_number(settings.sender, settings.source_ton, settings.source_npi) if usual else _number(message.sender, None, None),
            destination=Number(1, 1, message.to.removeprefix("+")),
            data=data,
            esm_class=pdu.UDHI if len(written.parts) > 1 else 0,
            data_coding=written.data_coding,
            # one receipt for a message: of its last part, whose name is the message's
            registered=settings.receipts and last,
        ).encoded()

    async def _submitted(self, body: bytes, turn: "_Turn") -> str | Packet | Outcome:
        """One submit_sm: the SMSC's name for it, its answer where it was another, or what became of it without one."""
        tries = _TRIES if turn.insist else 1
        while True:
            connection = await self._connected()
            if isinstance(connection, Outcome):
                return connection
            await self._wait_for_turn()
            # from here on it may have left us
            turn.work.in_hand.pop(turn.communication_id, None)
            answer = await connection.submit(body)
            if isinstance(answer, Lost):
                if answer.left:
                    return unknown(f"{answer.reason}, after the message had been submitted")
                continue
            self._barren = 0
            if answer.status == codes.OK and answer.command == pdu.SUBMIT_SM | pdu.RESPONSE:
                return pdu.name(answer.body)
            tries -= 1
            if answer.status in codes.CROWDED:
                self._free_at = asyncio.get_running_loop().time() + _CROWDED
                if tries:
                    continue
            return answer

    async def _wait_for_turn(self) -> None:
        loop = asyncio.get_running_loop()
        if (wait := self._free_at - loop.time()) > 0:
            await asyncio.sleep(wait)
        if self._pace is not None:
            await self._pace.wait()

    # The connection

    async def _connected(self) -> Connection | Outcome:
        """The connection, opened if there is none; or why there is none."""
        if self._closed:
            return _CLOSED
        connection = self._connection
        if connection is not None and not connection.over:
            return connection
        if connection is not None:
            self._connection = None
            self._barren += connection.fruitless
        if self._barren >= _BARREN_LIMIT and connection is not None:
            self._barren = 0
            return paused(f"{self._settings.place}: {connection.reason}", MINUTE)
        if self._opening is None:
            self._opening = asyncio.get_running_loop().create_task(self._open())
        opening = self._opening
        # several wait for it, and one that is cancelled must not take it from the others
        await asyncio.wait({opening})
        if opening.cancelled():
            return _CLOSED
        opened = opening.result()
        return paused(opened.reason) if isinstance(opened, Failure) else opened

    async def _open(self) -> Connection | Failure:
        try:
            if self._hear is not None and self._incoming is None:
                self._incoming = Incoming(self._settings, self._hear, self._now)
            opened = await open_bound(self._settings, self._incoming)
        finally:
            self._opening = None
        if isinstance(opened, Connection):
            self._connection = opened
            log.info("bound", smsc=self._settings.place, system_id=self._settings.system_id)
        return opened

    async def _stay(self) -> None:
        backoff = _FIRST_BACKOFF
        while not self._closed:
            connection = await self._connected()
            if isinstance(connection, Connection):
                backoff = _FIRST_BACKOFF
                await asyncio.wait({connection.closed})
                log.warning("not bound any more", smsc=self._settings.place, reason=connection.reason)
            else:
                log.warning("not bound", smsc=self._settings.place, reason=connection.reason)
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, _LAST_BACKOFF)


class _Work:
    """One send: what waits, where its outcomes go, and why the rest of it is not tried any more."""

    def __init__(self, waiting: Iterator[Sms], report: Report) -> None:
        self.waiting = waiting
        self.report = report
        self.grounded: Outcome | None = None
        # taken up, and nothing of them submitted yet
        self.in_hand: dict[int, Sms] = {}

    def untouched(self) -> list[Sms]:
        """What has not been submitted, once nobody works on it any more."""
        return [*self.in_hand.values(), *self.waiting]


class _Turn(NamedTuple):
    """One part on its way. `insist`: it is tried again for a while where the SMSC is crowded, for parts before it are there."""

    work: _Work
    communication_id: int
    insist: bool


async def _ended(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _judged(answer: Packet, *, usual_sender: bool) -> Outcome:
    if answer.status == codes.OK:
        return unknown("the SMSC answered the message with something else")
    return codes.judged(answer.status, usual_sender=usual_sender)


def _of_part(outcome: Outcome, index: int, count: int) -> Outcome:
    """What a message comes to of which one part was not taken, and those before it were: nothing can bring them back.

    Refused for good, it is refused; otherwise nobody knows what its reader will see, and sending it again would send the first parts twice.
    """
    if not index:
        return outcome
    reason = f"part {index + 1} of {count}, after those before it were taken: {outcome.reason}"
    return refused(reason, outcome.code) if outcome.kind == "refused" else unknown(reason)


def _number(sender: str, ton: int | None, npi: int | None) -> Number:
    """A sender as an address: a number of the world, a short code, or a name."""
    if phone.is_e164(sender):
        usual, digits = (1, 1), sender.removeprefix("+")
    elif sender.isascii() and sender.isdigit():
        usual, digits = (3, 0), sender
    elif sender:
        usual, digits = (5, 0), sender
    else:
        usual, digits = (0, 0), ""
    return Number(usual[0] if ton is None else ton, usual[1] if npi is None else npi, digits)
