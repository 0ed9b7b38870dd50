"""Puts the parts of long incoming texts together, in whatever order they come, within bounds of memory. Decides; answers and timers are incoming.py's."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from itertools import groupby

import msgspec

MOST = 1_000
"""Texts that may be waiting for parts, and as many whole ones that are remembered."""
LONGEST_PART = 254
"""Octets; on the air it is 140. What is longer came as a whole."""
REMEMBERED = 600.0
"""Seconds within which a part of a whole text is taken for the same, sent again."""
GAP = "[…]"
"""Stands where parts never came."""

Key = tuple[Hashable, ...]
Read = Callable[[bytes, int], str]
"""(octets, data coding) as text."""


class Part(msgspec.Struct, frozen=True):
    """One part: `key` is whose and which text (sender, recipient, reference, count), `sequence` counts from 1 to `total`."""

    key: Key
    total: int
    sequence: int
    data: bytes
    data_coding: int = 0

    @property
    def piece(self) -> tuple[int, bytes]:
        """What is kept of it."""
        return self.data_coding, self.data


class Joiner:
    """What has come of texts that are not whole yet, and lately were."""

    def __init__(self) -> None:
        self._open: OrderedDict[Key, dict[int, tuple[int, bytes]]] = OrderedDict()
        self._whole: OrderedDict[Key, tuple[float, dict[int, int]]] = OrderedDict()

    def known(self, part: Part, at: float) -> bool:
        """Whether it belongs to a text that was whole lately: sent again, because our answer got lost. `at` in seconds, of any clock."""
        since, parts = self._whole.get(part.key, (0.0, {}))
        return parts.get(part.sequence) == hash(part.piece) and at - since < REMEMBERED

    def put(self, part: Part) -> bool:
        """Keeps a part, in the place of one that came before; True when the text is whole now."""
        parts = self._open.setdefault(part.key, {})
        parts[part.sequence] = part.piece
        return len(parts) == part.total

    def text(self, part: Part, read: Read) -> str:
        """The text as far as it is there, with a mark where it is not.

        Octets are joined before they are read: some senders cut within a character.
        """
        parts = self._open.get(part.key, {})
        pieces = (parts.get(sequence, (None, b"")) for sequence in range(1, part.total + 1))
        return "".join(
            GAP if coding is None else read(b"".join(data for _, data in run), coding)
            for coding, run in groupby(pieces, key=lambda piece: piece[0])
        )

    def done(self, part: Part, at: float) -> None:
        """The text is stored: its parts are let go, and remembered for a while."""
        self._whole[part.key] = at, {sequence: hash(piece) for sequence, piece in self._open.pop(part.key, {}).items()}
        self._whole.move_to_end(part.key)
        while len(self._whole) > MOST:
            self._whole.popitem(last=False)

    def oldest_beyond(self) -> Key | None:
        """Where too many are waiting, the text that waits longest."""
        return next(iter(self._open)) if len(self._open) > MOST else None
