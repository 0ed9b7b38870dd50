"""What an SMSC delivers to us: texts, parts of texts and receipts, each answered once it is safe. An SMSC sends again what was not."""

import asyncio

import msgspec
import structlog

from tidings.clock import Clock
from tidings.errors import Invalid, Malformed, TidingsError
from tidings.message import phone
from tidings.message.heard import Notice, Text
from tidings.providers.base import Hear
from tidings.providers.smpp import alphabet, codes, pdu, receipts
from tidings.providers.smpp.alphabet import Place
from tidings.providers.smpp.joining import LONGEST_PART, Joiner, Key, Part
from tidings.providers.smpp.names import Names, Strangers
from tidings.providers.smpp.pdu import Message, Number, Packet
from tidings.providers.smpp.settings import SmppSettings
from tidings.providers.smpp.turns import LANES, Turns
from tidings.providers.smpp.wire import Connection

MOST_WAITING = 1_000
"""Deliveries that wait to be stored; more are sent back to come again."""
_INTERNATIONAL, _ALPHANUMERIC, _UNKNOWN = 1, 5, 0
_SETTLING = (0.0, 0.25, 0.75)
"""Seconds after which a name in a receipt is looked for: an SMSC can be quicker with a receipt than we with writing down what it took."""

log = structlog.get_logger("smpp")


class _Asked(msgspec.Struct, frozen=True):
    """One delivery, and where its answer goes."""

    connection: Connection
    packet: Packet

    def answer(self, status: int) -> bool:
        return self.connection.respond(self.packet, status)


class _Waiting(msgspec.Struct):
    """A text of which parts are missing: a delivery of it, those still without an answer, and when it is kept without the rest.

    `told` is set once a part was answered before the whole was safe: then it is ours alone to keep.
    """

    part: Part
    message: Message
    overdue: asyncio.TimerHandle
    held: list[_Asked]
    told: bool = False


class Incoming:
    """Takes the deliveries of every connection of one provider, and hands them to `hear`."""

    def __init__(self, settings: SmppSettings, hear: Hear, now: Clock) -> None:
        self._settings, self._hear, self._now = settings, hear, now
        self._loop = asyncio.get_running_loop()
        self._turns = Turns()
        self._several = asyncio.Semaphore(LANES)
        self._joiner = Joiner()
        self._waiting: dict[Key, _Waiting] = {}
        self._names = Names()
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
        """Stores what came. A text without all its parts too, if the SMSC was told that we have some; of others it sends all of them again."""
        self._closed = True
        for waiting in list(self._waiting.values()):
            waiting.overdue.cancel()
            if waiting.told:
                self._give_up(waiting)
        await self._turns.done()

    async def _take(self, asked: _Asked, message: Message) -> None:
        if receipts.is_receipt(message):
            asked.answer(await self._receipt(message))
            return
        place, data = alphabet.unwrapped(message.data) if message.esm_class & pdu.UDHI else (_told_beside(message), message.data)
        if place is not None and len(data) <= LONGEST_PART:
            key = (message.source, message.destination, place.reference, place.total)
            await self._part(asked, message, Part(key, place.total, place.sequence, data, message.data_coding))
        else:
            asked.answer(await self._text(asked, message, self._read(data, message.data_coding)))

    def _read(self, data: bytes, data_coding: int) -> str:
        return alphabet.read(data, data_coding, self._settings.alphabet)

    # Texts

    async def _text(self, asked: _Asked | None, message: Message, text: str) -> int:
        """Has a whole text stored; answers the status for whoever sent it."""
        said = hash((message.source, message.destination, text))
        name = self._names.of(said, self._now(), self._loop.time())
        heard = Text(name, _spelt(message.source), _spelt(message.destination), text, self._now())
        if await self._told(heard) is None:
            return codes.TEMPORARY
        if asked is None:
            self._names.forget(said)
        else:
            self._names.answered(said, asked.connection, self._loop.time())
        return codes.OK

    async def _told(self, heard: Text | Notice) -> bool | None:
        """None where it could not be taken now."""
        try:
            return await self._hear(heard)
        except TidingsError as error:
            log.warning("a delivery was not taken", smsc=self._settings.place, reason=error.message)
            return None

    # Parts

    async def _part(self, asked: _Asked, message: Message, part: Part) -> None:
        if self._joiner.known(part, self._loop.time()):
            asked.answer(codes.OK)
            return
        whole = self._joiner.put(part)
        waiting = self._waiting.get(part.key)
        if waiting is None:
            waiting = self._waiting[part.key] = _Waiting(part, message, self._overdue(part.key), [])
        waiting.held.append(asked)
        if whole:
            await self._store(waiting, asked)
            return
        self._loop.call_later(self._settings.hold, self._release, part.key, asked)
        if (oldest := self._joiner.oldest_beyond()) is not None:
            self._give_up(self._waiting[oldest])

    async def _store(self, waiting: _Waiting, asked: _Asked | None) -> None:
        """Has the text stored as far as it is there, and answers its parts. What is not safe stays, to be tried again."""
        part = waiting.part
        status = await self._text(asked, waiting.message, self._joiner.text(part, self._read))
        held, waiting.held = waiting.held, []
        if status == codes.OK:
            self._joiner.done(part, self._loop.time())
            waiting.overdue.cancel()
            self._waiting.pop(part.key, None)
        elif not self._closed:
            waiting.overdue.cancel()
            waiting.overdue = self._overdue(part.key)
        for one in held:
            one.answer(status)

    def _release(self, key: Key, asked: _Asked) -> None:
        """Lets an SMSC go on that sends the next part only after the answer to this one. From here on a crash of ours could lose the part."""
        waiting = self._waiting.get(key)
        if waiting is not None and asked in waiting.held:
            waiting.held.remove(asked)
            waiting.told |= asked.answer(codes.OK)

    def _overdue(self, key: Key) -> asyncio.TimerHandle:
        return self._loop.call_later(self._settings.wait_for_parts, lambda: self._give_up(self._waiting[key]))

    def _give_up(self, waiting: _Waiting) -> None:
        log.warning("a text is kept without all its parts", smsc=self._settings.place, sender=waiting.message.source.digits)
        self._turns.start(waiting.message.source.digits, self._store_rest(waiting), lambda: None)

    async def _store_rest(self, waiting: _Waiting) -> None:
        # the rest may have come while this waited for its turn
        if self._waiting.get(waiting.part.key) is waiting:
            await self._store(waiting, None)

    # Receipts

    async def _receipt(self, message: Message) -> int:
        notice = receipts.notice(message, self._read(message.data, message.data_coding), self._now())
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
