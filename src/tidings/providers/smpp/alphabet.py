"""Texts as the octets of a short message, and back: the GSM alphabet with an octet a septet, Latin-1 and UCS-2, alone or as parts of several."""

import msgspec

from tidings.message import phone
from tidings.providers.smpp.settings import Alphabet

DEFAULT, ASCII, LATIN1, UCS2 = 0x00, 0x01, 0x03, 0x08

_ESCAPE = 0x1B
# 3GPP TS 23.038, section 6.2.1; the escape stands where it does in the table.
_BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENSION = {"\f": 0x0A, "^": 0x14, "{": 0x28, "}": 0x29, "\\": 0x2F, "[": 0x3C, "~": 0x3D, "]": 0x3E, "|": 0x40, "€": 0x65}
_OCTETS = {char: bytes((code,)) for code, char in enumerate(_BASIC) if code != _ESCAPE} | {
    char: bytes((_ESCAPE, code)) for char, code in _EXTENSION.items()
}
_EXTENDED = {code: char for char, code in _EXTENSION.items()}
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
        octets, coding = [gsm(piece) for piece in pieces], DEFAULT
    if len(octets) < 2:
        return Written(tuple(octets), coding)
    return Written(tuple(bytes((5, 0, 3, reference, len(octets), index)) + part for index, part in enumerate(octets, 1)), coding)


def read(data: bytes, data_coding: int, alphabet: Alphabet) -> str:
    """The text of these octets. Whatever they are, there is one: what cannot be read shows as U+FFFD."""
    if data_coding & 0xF0 in (0x10, 0xF0):
        # 3GPP TS 23.038, section 4: with a message class, bits 2 and 3 tell the alphabet
        data_coding = {0x00: DEFAULT, 0x08: UCS2}.get(data_coding & (0x04 if data_coding & 0xE0 == 0xE0 else 0x0C), 0x02)
    if data_coding == UCS2:
        return data.decode("utf-16-be", "replace")
    if data_coding == DEFAULT:
        return ungsm(data) if alphabet == "gsm" else data.decode("latin-1")
    return data.decode(_CHARSETS.get(data_coding, "latin-1"), "replace")


def gsm(text: str) -> bytes:
    """The GSM alphabet, an octet a septet. Raises KeyError for what it does not have."""
    return b"".join([_OCTETS[char] for char in text])


def ungsm(data: bytes) -> str:
    """And back; an escape before what no table has reads as a space and the character (3GPP TS 23.038, 6.2.1.1)."""
    found: list[str] = []
    escaped = False
    for octet in data:
        if escaped:
            found.append(_EXTENDED.get(octet) or " " + _basic(octet))
            escaped = False
        elif octet == _ESCAPE:
            escaped = True
        else:
            found.append(_basic(octet))
    return "".join(found)


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


def _basic(octet: int) -> str:
    return _BASIC[octet].replace("\x1b", " ") if octet < len(_BASIC) else "\ufffd"


def _in_default(text: str, alphabet: Alphabet) -> bool:
    if alphabet == "latin1" and any(char > "\xff" for char in text):
        return False
    return phone.segments(text).encoding == "GSM-7"
