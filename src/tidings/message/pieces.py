"""Short messages as an SMSC delivers them: a text, or a part of one. Put together here, kept elsewhere."""

import hashlib
from collections.abc import Mapping
from itertools import groupby

import msgspec

from tidings.message import gsm

GSM = "gsm"
"""The one charset that Python has no name for."""
GAP = "[…]"
"""Stands where parts never came."""


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """One short message that came in. `sequence` counts from 1 to `total`, under a `reference` the sender chose; 1 of 1 is a whole text.

    `sender` and `recipient` are in E.164 (a short code or an alphanumeric sender as it is), `charset` is GSM or a name of Python's,
    `connection` names the one it came over, `at` is in milliseconds.
    """

    sender: str
    recipient: str
    charset: str
    data: bytes
    connection: str
    at: int
    reference: int = 0
    total: int = 1
    sequence: int = 1

    @property
    def name(self) -> str:
        """The same for all parts of one text; and for texts of the same words, for there is no other name on the wire."""
        words = (self.charset, self.data.hex()) if self.total == 1 else ("", "")
        return hashlib.sha256(msgspec.json.encode([self.sender, self.recipient, self.reference, self.total, *words])).hexdigest()


class Safe(msgspec.Struct, frozen=True):
    """The SMSC has been told over this connection that these texts (by `Piece.name`) are safe, and does not send them again."""

    connection: str
    names: tuple[str, ...]


def joined(parts: Mapping[int, tuple[str, bytes]], total: int) -> str:
    """The text of `parts`, (charset, octets) by sequence, with a mark where one is missing.

    Octets are joined before they are read: some senders cut within a character. What cannot be read shows as U+FFFD.
    """
    pieces = [parts.get(sequence) for sequence in range(1, total + 1)]
    runs = groupby(pieces, key=lambda piece: piece and piece[0])
    return "".join(GAP if charset is None else _read(b"".join(piece[1] for piece in run if piece), charset) for charset, run in runs)


def _read(data: bytes, charset: str) -> str:
    return gsm.read(data) if charset == GSM else data.decode(charset, "replace")
