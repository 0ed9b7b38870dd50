"""One bound SMPP connection: requests and their answers, a bounded number of them at a time, and whether the line is alive."""

import asyncio
import secrets
from collections.abc import Callable
from typing import cast

import msgspec

from tidings.errors import Malformed
from tidings.providers.smpp import codes, pdu
from tidings.providers.smpp.pdu import Packet

_LAST_SEQUENCE = 0x7FFFFFFF
_STALE = 5.0
"""Seconds of silence after which the line is tried with an enquire_link before a message is trusted to it."""
_AT_ONCE = 2.0
_TICKS = 8
"""How often within a time-out it is looked whether it is over."""


class Lost(msgspec.Struct, frozen=True):
    """There will be no answer, for this reason; `left` tells whether the request may have reached the other side."""

    reason: str
    left: bool = True


Answer = Packet | Lost
Heard = Callable[["Connection", Packet], None]
"""Given each deliver_sm; whoever takes it answers by `Connection.respond`."""


class Connection(asyncio.Protocol):
    """Requests out, answers in; what the other side asks is given to `heard`, which answers by `respond`.

    It ends once and for all: `closed` is done then, and every request without an answer is Lost. No other has its `name`.
    """

    def __init__(self, timeout: float, enquire: float, window: int, heard: "Heard | None" = None) -> None:
        """Seconds until a request is given up, and of silence until the line is asked; how many submits may be without an answer."""
        self._timeout, self._enquire = timeout, enquire
        self._loop = asyncio.get_running_loop()
        self._slots = asyncio.Semaphore(window)
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._sequence = 0
        self._outstanding: dict[int, tuple[float, bool, asyncio.Future[Answer]]] = {}
        self._checking: asyncio.Future[Answer] | None = None
        self._heard_at = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._reason = ""
        self._heard = heard
        self._settled = 0
        self._lost = 0
        self._since = self._heard_at
        self.closed: asyncio.Future[None] = self._loop.create_future()
        self.lost_at = 0.0
        self.name = secrets.token_hex(8)

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return bool(self._reason)

    @property
    def reason(self) -> str:
        """Why it ended."""
        return self._reason

    @property
    def fruitless(self) -> bool:
        """Whether it answered no submit, and ended with some under way or at once: such a connection is of no use."""
        return not self._settled and (self._lost > 0 or self.lost_at - self._since < _AT_ONCE)

    # Requests

    async def submit(self, body: bytes) -> Answer:
        """A submit_sm, as soon as the window has room and the line is known to live. Cancelled, its answer is waited for all the same."""
        if (ended := await self._alive()) is not None:
            return ended
        await self._slots.acquire()
        if self.over:
            self._slots.release()
            return Lost(self._reason, left=False)
        return await self._request(pdu.SUBMIT_SM, body, windowed=True)

    def request(self, command: int, body: bytes = b"") -> asyncio.Future[Answer]:
        """Any other request, at once."""
        return self._request(command, body, windowed=False)

    def respond(self, request: Packet, status: int = codes.OK) -> bool:
        """Answers a request of the other side; False when it cannot be told any more."""
        if self.over or self._transport is None:
            return False
        # the name in deliver_sm_resp is unused and empty, but has to be there (4.6.2)
        body = b"\0" if request.command == pdu.DELIVER_SM else b""
        self._transport.write(Packet(request.command | pdu.RESPONSE, status, request.sequence, body).encoded())
        return True

    async def drained(self) -> None:
        """Returns when every request has its answer, or is given up."""
        while self._outstanding and not self.over:
            await asyncio.wait([future for _, _, future in self._outstanding.values()])

    async def leave(self) -> None:
        """Unbinds (4.2) and ends."""
        if not self.over:
            await self.request(pdu.UNBIND)
        self.end("closed")

    def end(self, reason: str) -> None:
        """Ends at once."""
        if self.over:
            return
        self._reason = reason
        self.lost_at = self._loop.time()
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()
        waiting, self._outstanding = self._outstanding, {}
        self._lost = sum(windowed for _, windowed, _ in waiting.values())
        for _, windowed, future in waiting.values():
            self._settle(future, Lost(reason), windowed=windowed)
        if not self.closed.done():
            self.closed.set_result(None)

    async def _alive(self) -> Lost | None:
        if self.over:
            return Lost(self._reason, left=False)
        if self._checking is None and self._loop.time() - self._heard_at > _STALE and not self._outstanding:
            self._checking = self.request(pdu.ENQUIRE_LINK)
        if self._checking is not None:
            # several wait for the same answer, and one that is cancelled must not take it from the others
            checking = self._checking
            await asyncio.wait({checking})
            if self._checking is checking:
                self._checking = None
            if isinstance(answer := checking.result(), Lost):
                self.end(answer.reason)
        return Lost(self._reason, left=False) if self.over else None

    def _request(self, command: int, body: bytes, *, windowed: bool) -> asyncio.Future[Answer]:
        future: asyncio.Future[Answer] = self._loop.create_future()
        if self._transport is None or self.over:
            self._settle(future, Lost(self._reason or "not connected", left=False), windowed=windowed)
            return future
        self._sequence = self._sequence % _LAST_SEQUENCE + 1
        self._outstanding[self._sequence] = (self._loop.time(), windowed, future)
        self._transport.write(Packet(command, 0, self._sequence, body).encoded())
        return future

    def _settle(self, future: asyncio.Future[Answer], answer: Answer, *, windowed: bool) -> None:
        if windowed:
            self._slots.release()
        if not future.done():
            future.set_result(answer)

    # The line

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The transport is there; nothing has been said."""
        # uvloop's transports are none of asyncio's classes, but speak the same
        self._transport = cast(asyncio.Transport, transport)
        self._tick()

    def data_received(self, data: bytes) -> None:
        """Gives each whole packet to where it belongs."""
        self._heard_at = self._loop.time()
        self._buffer += data
        try:
            found = pdu.packets(self._buffer)
        except Malformed as broken:
            self.end(f"the SMSC does not speak SMPP: it sent {broken.message}")
            return
        for packet in found:
            if self.over:
                return
            if packet.command & pdu.RESPONSE:
                self._answered(packet)
            else:
                self._asked(packet)

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer, the network or we ended it."""
        self.end(f"the connection to the SMSC was lost{f': {exc}' if exc else ''}")

    def _answered(self, packet: Packet) -> None:
        known = self._outstanding.pop(packet.sequence, None)
        if known is not None:
            self._settled += known[1]
            self._settle(known[2], packet, windowed=known[1])

    def _asked(self, packet: Packet) -> None:
        match packet.command:
            case pdu.ENQUIRE_LINK:
                self.respond(packet)
            case pdu.UNBIND:
                self.respond(packet)
                self._end_soon("the SMSC ended the connection")
            case pdu.DELIVER_SM if self._heard is not None:
                self._heard(self, packet)
            case pdu.DELIVER_SM:
                self.respond(packet, codes.TEMPORARY)
            case pdu.ALERT_NOTIFICATION:
                pass  # has no answer (4.12)
            case _ if self._transport is not None:
                self._transport.write(Packet(pdu.GENERIC_NACK, codes.INVALID_COMMAND, packet.sequence).encoded())
            case _:
                pass

    def _end_soon(self, reason: str) -> None:
        """Lets what was written go out first."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None
        self.end(reason)

    def _tick(self) -> None:
        """Gives up what has waited too long, and asks a silent line whether it is alive."""
        now = self._loop.time()
        for sequence, (since, windowed, future) in list(self._outstanding.items()):
            if now - since < self._timeout:
                break
            del self._outstanding[sequence]
            self._settle(future, Lost(f"no answer from the SMSC within {self._timeout:g} s"), windowed=windowed)
        quiet = now - self._heard_at
        if quiet >= self._enquire + self._timeout:
            self.end(f"nothing heard from the SMSC for {quiet:.0f} s")
            return
        if quiet >= self._enquire and not self._outstanding:
            self.request(pdu.ENQUIRE_LINK)
        self._timer = self._loop.call_later(min(self._timeout, self._enquire) / _TICKS, self._tick)
