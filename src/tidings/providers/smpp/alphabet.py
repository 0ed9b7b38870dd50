"""Texts as the octets of a short message, and back: the GSM alphabet with an octet a septet, Latin-1 and UCS-2, alone or as parts of several."""

import msgspec

from tidings.message import gsm, phone
from tidings.message.pieces import GSM
from tidings.providers.smpp.settings import Alphabet

DEFAULT, ASCII, LATIN1, UCS2 = 0x00, 0x01, 0x03, 0x08

# Data codings that name a character set (5.2.19); binary ones are read as Latin-1, which loses nothing.
_CHARSETS = {0x01: "latin-1", 0x03: "latin-1", 0x05: "shift_jis", 0x06: "iso8859-5", 0x07: "iso8859-8", 0x0A: "iso2022_jp", 0x0E: "euc_kr"}

# User data headers (3GPP TS 23.040, 9.2.3.24.1 and .8) that tell of parts, with the length of their reference.
_CONCATENATED = {0x00: 1, 0x08: 2}


class Written(msgspec.Struct, frozen=True):
    """A text as it goes out: the octets of each part, headers and all, and what they are to be read as."""

    parts: tuple[bytes, ...]
    data_coding: int


class Place(msgspec.Struct, frozen=True):
    """Which part of which text: `sequence` from 1 to `total`, under a `reference` the sender chose."""

    reference: int
    total: int
    sequence: int


def written(text: str, alphabet: Alphabet, reference: int) -> Written:
    """The text in the alphabet the SMSC has where that holds it, else in UCS-2. Several parts share the `reference`, 0 to 255."""
    coded = _in_default(text, alphabet)
    pieces = phone.parts(text, "GSM-7" if coded else "UCS-2")
    if not coded:
        octets, coding = [piece.encode("utf-16-be", "surrogatepass") for piece in pieces], UCS2
    elif alphabet == "latin1":
        octets, coding = [piece.encode("latin-1") for piece in pieces], LATIN1
    else:
        octets, coding = [gsm.written(piece) for piece in pieces], DEFAULT
    if len(octets) < 2:
        return Written(tuple(octets), coding)
    return Written(tuple(bytes((5, 0, 3, reference, len(octets), index)) + part for index, part in enumerate(octets, 1)), coding)


def charset(data_coding: int, alphabet: Alphabet) -> str:
    """What octets of a data coding are to be read as: GSM, or a name of Python's."""
    if data_coding & 0xF0 in (0x10, 0xF0):
        # 3GPP TS 23.038, section 4: with a message class, bits 2 and 3 tell the alphabet
        data_coding = {0x00: DEFAULT, 0x08: UCS2}.get(data_coding & (0x04 if data_coding & 0xE0 == 0xE0 else 0x0C), 0x02)
    if data_coding == UCS2:
        return "utf-16-be"
    if data_coding == DEFAULT and alphabet == "gsm":
        return GSM
    return _CHARSETS.get(data_coding, "latin-1")


def unwrapped(data: bytes) -> tuple[Place | None, bytes]:
    """A message with a user data header as (which part it is, the rest). A header that cannot be read is left where it is."""
    if not data or data[0] >= len(data):
        return None, data
    header, rest = data[1 : 1 + data[0]], data[1 + data[0] :]
    place: Place | None = None
    while len(header) >= 2:
        element, length, header = header[0], header[1], header[2:]
        value, header = header[:length], header[length:]
        width = _CONCATENATED.get(element)
        if width is not None and len(value) == width + 2:
            place = checked(int.from_bytes(value[:width], "big"), value[width], value[width + 1])
    return place, rest


def checked(reference: int, total: int, sequence: int) -> Place | None:
    """None for a part that is the whole, or of a count that cannot be."""
    return Place(reference, total, sequence) if 1 <= sequence <= total and total > 1 else None


def _in_default(text: str, alphabet: Alphabet) -> bool:
    if alphabet == "latin1" and any(char > "\xff" for char in text):
        return False
    return phone.segments(text).encoding == "GSM-7"
