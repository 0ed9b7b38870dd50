"""What an SMSC delivers to us: texts, parts of texts and receipts, each answered once it is safe. An SMSC sends again what was not."""

import asyncio
from collections.abc import Iterable
from itertools import groupby

import msgspec
import structlog

from tidings.clock import Clock
from tidings.errors import Invalid, Malformed, TidingsError
from tidings.message import phone
from tidings.message.heard import Notice
from tidings.message.pieces import Piece, Safe, joined
from tidings.providers.base import Hear
from tidings.providers.smpp import alphabet, codes, pdu, receipts
from tidings.providers.smpp.alphabet import Place
from tidings.providers.smpp.pdu import Message, Number, Packet
from tidings.providers.smpp.settings import SmppSettings
from tidings.providers.smpp.strangers import Strangers
from tidings.providers.smpp.turns import LANES, Turns
from tidings.providers.smpp.wire import Connection

MOST_WAITING = 1_000
"""Deliveries that wait to be stored; more are sent back to come again."""
LONGEST_PART = 254
"""Octets; on the air it is 140. What is longer came as a whole."""
REACHED = 10.0
"""Seconds that a connection has to outlive an answer for it to have arrived."""
_INTERNATIONAL, _ALPHANUMERIC, _UNKNOWN = 1, 5, 0
_WHOLE = Place(0, 1, 1)
_SETTLING = (0.0, 0.25, 0.75)
"""Seconds after which a name in a receipt is looked for: an SMSC can be quicker with a receipt than we with writing down what it took."""

log = structlog.get_logger("smpp")


class _Asked(msgspec.Struct, frozen=True):
    """One delivery, and where its answer goes."""

    connection: Connection
    packet: Packet

    def answer(self, status: int) -> bool:
        return self.connection.respond(self.packet, status)


class _Answered(msgspec.Struct, frozen=True):
    """A text by its name, and when (loop time) and where its sender was told that it is safe."""

    name: str
    connection: Connection
    at: float

    @property
    def is_known(self) -> bool:
        """Whether the answer has arrived, as far as can be told."""
        return not self.connection.over or self.connection.lost_at - self.at >= REACHED


class Incoming:
    """Takes the deliveries of every connection of one provider, and hands them to `hear`."""

    def __init__(self, settings: SmppSettings, hear: Hear, now: Clock) -> None:
        self._settings, self._hear, self._now = settings, hear, now
        self._loop = asyncio.get_running_loop()
        self._turns = Turns()
        self._several = asyncio.Semaphore(LANES)
        self._answered: list[_Answered] = []
        self._telling: asyncio.TimerHandle | None = None
        self._strangers = Strangers()
        self._closed = False

    def __call__(self, connection: Connection, packet: Packet) -> None:
        """A deliver_sm has come; it is answered by and by."""
        asked = _Asked(connection, packet)
        try:
            message = pdu.message(packet.body)
        except Malformed as broken:
            log.warning("a delivery cannot be read", smsc=self._settings.place, reason=broken.message)
            asked.answer(codes.PERMANENT)
            return
        if self._closed or len(self._turns) >= MOST_WAITING:
            asked.answer(codes.TEMPORARY)
        else:
            # receipts have no order, and one that waits for its message shall not keep others waiting
            who = None if receipts.is_receipt(message) else message.source.digits
            self._turns.start(who, self._take(asked, message), lambda: asked.answer(codes.TEMPORARY))

    async def close(self) -> None:
        """Stores what came, and takes no more."""
        self._closed = True
        await self._turns.done()
        if self._telling is not None:
            self._telling.cancel()
        await self._tell(self._answered)

    async def _take(self, asked: _Asked, message: Message) -> None:
        if receipts.is_receipt(message):
            asked.answer(await self._receipt(message))
            return
        place, data = alphabet.unwrapped(message.data) if message.esm_class & pdu.UDHI else (_told_beside(message), message.data)
        if place is None or len(data) > LONGEST_PART:
            place = _WHOLE
        piece = Piece(
            sender=_spelt(message.source),
            recipient=_spelt(message.destination),
            charset=alphabet.charset(message.data_coding, self._settings.alphabet),
            data=data,
            connection=asked.connection.name,
            at=self._now(),
            reference=place.reference,
            total=place.total,
            sequence=place.sequence,
        )
        if await self._told(piece) is None:
            asked.answer(codes.TEMPORARY)
        elif asked.answer(codes.OK) and place is _WHOLE:
            self._remember(piece.name, asked.connection)

    async def _told(self, heard: Piece | Notice | Safe) -> bool | None:
        """None where it could not be taken now."""
        try:
            return await self._hear(heard)
        except TidingsError as error:
            log.warning("a delivery was not taken", smsc=self._settings.place, reason=error.message)
            return None

    # Whoever writes the same twice has written twice, unless the SMSC may not have heard our first answer

    def _remember(self, name: str, connection: Connection) -> None:
        self._answered.append(_Answered(name, connection, self._loop.time()))
        if self._telling is None and not self._closed:
            self._telling = self._loop.call_later(REACHED, self._look)

    def _look(self) -> None:
        since = self._loop.time() - REACHED
        ripe = [answered for answered in self._answered if answered.at <= since]
        self._answered = self._answered[len(ripe) :]
        self._telling = self._loop.call_later(REACHED, self._look) if self._answered else None
        self._turns.start(None, self._tell(ripe), lambda: None)

    async def _tell(self, answered: Iterable[_Answered]) -> None:
        """Those whose answer got lost are left to come again."""
        known = [one for one in answered if one.is_known]
        for connection, several in groupby(known, key=lambda one: one.connection.name):
            await self._told(Safe(connection, tuple(one.name for one in several)))

    # Receipts

    async def _receipt(self, message: Message) -> int:
        words = joined({1: (alphabet.charset(message.data_coding, self._settings.alphabet), message.data)}, 1)
        notice = receipts.notice(message, words, self._now())
        if notice is None:
            return codes.OK
        for delay in _SETTLING:
            await asyncio.sleep(delay)
            for name in receipts.spellings(notice.provider_id, self._settings.message_ids):
                async with self._several:
                    known = await self._told(msgspec.structs.replace(notice, provider_id=name))
                if known is None:
                    return codes.TEMPORARY
                if known:
                    self._strangers.forget(notice.provider_id)
                    return codes.OK
        if self._strangers.is_strange(notice.provider_id, self._loop.time()):
            log.warning("a receipt for a message nobody knows", smsc=self._settings.place, name=notice.provider_id)
            return codes.OK
        return codes.TEMPORARY


def _told_beside(message: Message) -> Place | None:
    """Which part it is, where optional parameters tell (5.3.2.22 to 24)."""
    values = [message.extras.get(tag) for tag in (pdu.SAR_REFERENCE, pdu.SAR_TOTAL, pdu.SAR_SEQUENCE)]
    reference, total, sequence = (int.from_bytes(value) if value else 0 for value in values)
    return alphabet.checked(reference, total, sequence)


def _spelt(number: Number) -> str:
    """In E.164 where it is a number of the world; short codes and names as they are."""
    digits = number.digits.replace("\0", "").strip()
    if number.ton not in (_INTERNATIONAL, _UNKNOWN) or not digits.removeprefix("+").isdecimal():
        return digits
    try:
        return phone.normalise("+" + digits.removeprefix("+").removeprefix("00" if number.ton == _INTERNATIONAL else ""))
    except Invalid:
        return digits.removeprefix("+")
