"""What SMPP has no names for: which text is the same as one before, sent again, and which receipt is none of ours."""

import secrets
from collections import OrderedDict

import msgspec

from tidings.providers.smpp.wire import Connection

MOST = 10_000
_RETRIED = 900.0
"""Seconds within which the same text, whose answer may not have reached the SMSC, is the same and no second one."""
_REACHED = 10.0
"""Seconds that a connection has to outlive an answer for it to have arrived."""
_STRANGE = 60.0


class _Name(msgspec.Struct):
    """The id a text was given; `answered_at` (loop time) is when, and `connection` where, its sender was told that it is safe."""

    id: str
    since: float
    answered_at: float = 0.0
    connection: Connection | None = None

    def may_come_again(self, now: float) -> bool:
        if now - self.since > _RETRIED:
            return False
        connection = self.connection
        return connection is None or (connection.over and connection.lost_at - self.answered_at < _REACHED)


class Names:
    """Gives ids to texts that come without one. A person who writes the same twice is taken at his word: only where an answer of ours
    may have been lost, the same text is the one before.
    """

    def __init__(self) -> None:
        self._names: OrderedDict[int, _Name] = OrderedDict()

    def of(self, said: int, now: int, loop_time: float) -> str:
        """The id of a text (`said` is a hash of all it is told by): a new one, or that of the last try. `now` in milliseconds, `loop_time` in seconds."""
        known = self._names.get(said)
        if known is not None and known.may_come_again(loop_time):
            known.connection = None
            return known.id
        name = _Name(f"{now}-{secrets.token_hex(6)}", loop_time)
        self._names[said] = name
        self._names.move_to_end(said)
        if len(self._names) > MOST:
            self._names.popitem(last=False)
        return name.id

    def answered(self, said: int, connection: Connection, loop_time: float) -> None:
        """Its sender is being told that it is safe."""
        known = self._names.get(said)
        if known is not None:
            known.answered_at, known.connection = loop_time, connection

    def forget(self, said: int) -> None:
        """It is stored, and nobody waits to be told so: the same text after this is another."""
        self._names.pop(said, None)


class Strangers:
    """Names in receipts that nobody knows, and since when."""

    def __init__(self) -> None:
        self._since: OrderedDict[str, float] = OrderedDict()

    def is_strange(self, name: str, loop_time: float) -> bool:
        """Whether it has been unknown for so long that it will be: it belongs to another user of the account, or to what is deleted."""
        since = self._since.setdefault(name, loop_time)
        if len(self._since) > MOST:
            self._since.popitem(last=False)
        if loop_time - since < _STRANGE:
            return False
        self.forget(name)
        return True

    def forget(self, name: str) -> None:
        """It is known, or done with."""
        self._since.pop(name, None)
