"""The GSM alphabet (3GPP TS 23.038, section 6.2.1) with an octet for each septet. What a text costs in it is phone.py's."""

_ESCAPE = 0x1B
# The escape stands where it does in the table.
_BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENSION = {"\f": 0x0A, "^": 0x14, "{": 0x28, "}": 0x29, "\\": 0x2F, "[": 0x3C, "~": 0x3D, "]": 0x3E, "|": 0x40, "€": 0x65}
_OCTETS = {char: bytes((code,)) for code, char in enumerate(_BASIC) if code != _ESCAPE} | {
    char: bytes((_ESCAPE, code)) for char, code in _EXTENSION.items()
}
_EXTENDED = {code: char for char, code in _EXTENSION.items()}


def written(text: str) -> bytes:
    """The text as octets. Raises KeyError for what the alphabet does not have."""
    return b"".join([_OCTETS[char] for char in text])


def read(data: bytes) -> str:
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


def _basic(octet: int) -> str:
    return _BASIC[octet].replace("\x1b", " ") if octet < len(_BASIC) else "\ufffd"
