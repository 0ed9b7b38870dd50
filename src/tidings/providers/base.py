"""What every carrier of messages looks like from inside. One file per carrier beside this one; nothing here knows any of them."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Literal, Protocol, runtime_checkable

import msgspec

from tidings.message.heard import Notice, Text
from tidings.message.outgoing import Outcome, Sealed
from tidings.message.pieces import Piece, Safe

Channel = Literal["email", "sms"]

Report = Callable[[int, Outcome], None]
"""Told once for every message of a batch, as soon as its outcome is known: (communication id, outcome)."""


class Provider(Protocol):
    """A carrier. `send` reports every message of the batch exactly once before it returns, and raises only for bugs.

    Cancelled, `send` reports as `untried` what it knows never to have handed over, before it ends; what it leaves unreported may have
    gone out. One that is paced must do so, for the most of what it holds waits for its turn. `send` may be called again while an earlier
    call is under way; the provider bounds its own connections.
    """

    kind: str

    async def send(self, batch: Sequence[Sealed], report: Report) -> None: ...

    async def close(self) -> None: ...


@runtime_checkable
class Paced(Protocol):
    """A provider that lets only so much through a second, however much it is given.

    `window` is how many messages of a queue it has use for at once, at least 1: about two seconds of its pace (see `window`). What it
    cannot send soon is better left unclaimed, where a pause, a cancelation and an unsubscribe still reach it. None: as much as is found
    out by measuring.
    """

    @property
    def window(self) -> int | None: ...


Hear = Callable[[Piece | Notice | Safe], Awaitable[bool]]
"""Stores what a carrier tells, and answers whether it was of any use: False for a notice of a message that nobody knows (yet).

Raises Unavailable when it cannot be stored now. Only after True may the carrier be told that it is safe with us; once it knows that a
whole text is, `Safe` is told, for until then the same text over another connection is the same one, sent again.
"""


@runtime_checkable
class Listener(Protocol):
    """A provider whose carrier speaks to us over the connection that we keep open."""

    def listen(self) -> None:
        """From now on stays connected, and connects again whenever that ends, until it is closed. Safe to repeat."""
        ...


class Callback(msgspec.Struct, frozen=True):
    """A request of a carrier to us: `url` whole and as it was told to the carrier, `headers` by lower-case name, `at` when it came in milliseconds.

    `communication_id` is the one that was signed into the URL, 0 for none.
    """

    url: str
    headers: Mapping[str, str]
    body: bytes
    at: int
    communication_id: int = 0


class Heard(msgspec.Struct, frozen=True):
    """What a callback told, and the answer the carrier wants to it: nothing, or `answer` of the type `media`."""

    texts: tuple[Text, ...] = ()
    notices: tuple[Notice, ...] = ()
    answer: bytes = b""
    media: str = ""


def window(rate: float) -> int:
    """How many messages a provider is worth that takes `rate` of them a second: two seconds of them."""
    return max(math.ceil(2 * rate), 1)


class Pace:
    """Lets so many units through a second, evenly, and whoever asked first first. Cancelled while waiting, nobody has gone through."""

    # A loop wakes a little late; what it is late by is made up for, but not more than this.
    _LATE = 0.1

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._free_at = 0.0
        self._turn = asyncio.Lock()

    async def wait(self, units: int = 1) -> None:
        """Returns when `units` more may go."""
        async with self._turn:
            now = asyncio.get_running_loop().time()
            if self._free_at > now:
                await asyncio.sleep(self._free_at - now)
            self._free_at = max(self._free_at, now - self._LATE) + units / self._rate
