"""What every carrier of messages looks like from inside. One file per carrier beside this one; nothing here knows any of them."""

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

from tidings.message.outgoing import Outcome, Sealed

Channel = Literal["email", "sms"]

Report = Callable[[int, Outcome], None]
"""Told once for every message of a batch, as soon as its outcome is known: (communication id, outcome)."""


class Provider(Protocol):
    """A carrier. `send` reports every message of the batch exactly once before it returns, and raises only for bugs.

    A cancelled `send` may leave messages unreported; their lease then decides. `send` may be called again while an
    earlier call is under way; the provider bounds its own connections.
    """

    kind: str

    async def send(self, batch: Sequence[Sealed], report: Report) -> None: ...

    async def close(self) -> None: ...
