"""Phone numbers in E.164, how many segments a text message takes, and how to have it take fewer. Splitting for the wire is the SMS provider's matter."""

import re
import unicodedata
from functools import cache
from types import ModuleType
from typing import Literal

import msgspec

from tidings.errors import Invalid

Encoding = Literal["GSM-7", "UCS-2"]

# 3GPP TS 23.038, section 6.2.1: the default alphabet, and the extension table whose characters take an escape before them.
_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENSION = frozenset("\f^{}\\[~]|€")
_ALPHABET = _BASIC | _EXTENSION
_LIMITS: dict[Encoding, tuple[int, int]] = {"GSM-7": (160, 153), "UCS-2": (70, 67)}
"""Units in a message alone, and in each part of several (the rest is the concatenation header of 3GPP TS 23.040)."""
_TYPOGRAPHY: dict[str, str] = {
    "'": "\u2018\u2019\u201a\u201b\u2032\u2035\u2039\u203a\u02b9\u02bb\u02bc\u02bd\u02c8\u275b\u275c\u00b4\u0060",
    '"': "\u201c\u201d\u201e\u201f\u2033\u2036\u00ab\u00bb\u02ba\u301d\u301e\u301f\u275d\u275e",
    "-": "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u2043\u2e3a\u2e3b\ufe58\ufe63",
    "*": "\u2022\u2023\u25cf\u25e6\u25aa\u25ab\u25cb\u2219\u00b7\u2217\u204e",
    " ": "\t\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000",
    "\n": "\u0085\u2028\u2029",
    "": "\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff",
    "...": "\u2026",
    "..": "\u2025",
    "!!": "\u203c",
    "/": "\u2044\u2215",
    "|": "\u00a6",
    "~": "\u02dc\u223c",
    "^": "\u02c6",
    "<": "\u2329\u3008",
    ">": "\u232a\u3009",
}
# Latin ligatures and the full-width forms of ASCII are the same letters to Unicode too.
_SAME = {code: unicodedata.normalize("NFKC", chr(code)) for code in (*range(0xFB00, 0xFB07), *range(0xFF01, 0xFF5F), 0x132, 0x133)}
_PLAINER = _SAME | {ord(char): plain for plain, chars in _TYPOGRAPHY.items() for char in chars}
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")


class Segments(msgspec.Struct, frozen=True):
    """What a text costs: `units` are septets (GSM-7) or 16-bit units (UCS-2), `remaining` those still free in the last segment."""

    encoding: Encoding
    units: int
    count: int
    remaining: int


def normalise(text: str, region: str | None = None, field: str = "phone") -> str:
    """A phone number in E.164 (`+` and digits). `region` (ISO 3166, as `NL`) reads national numbers. Raises Invalid naming `field`."""
    lib = _phonenumbers()
    try:
        number = lib.parse(text, region.upper() if region else None)
    except lib.NumberParseException as error:
        hint = "" if region or text.strip().startswith("+") else "; write it with + and the country code"
        raise Invalid.field(field, f"is not a phone number: {text[:40]!a}{hint}") from error
    if not lib.is_possible_number(number) or not lib.is_valid_number(number):
        raise Invalid.field(field, f"is not a phone number in use: {text[:40]!a}")
    return str(lib.format_number(number, lib.PhoneNumberFormat.E164))


def smart(text: str) -> str:
    """The text with typographic characters (curly quotes, dashes, ellipses, odd spaces …) written as GSM-7 has them.

    Only where that makes the whole text GSM-7: where something else needs UCS-2 anyway, nothing would be gained, and it stays as it is.
    """
    if _ALPHABET.issuperset(text):
        return text
    plainer = unicodedata.normalize("NFC", text).translate(_PLAINER)
    return plainer if _ALPHABET.issuperset(plainer) else text


def is_e164(text: str) -> bool:
    """Whether `text` has the form of E.164; says nothing of whether the number is in use."""
    return _E164.fullmatch(text) is not None


def segments(text: str) -> Segments:
    """How many segments `text` takes. No escape pair (GSM-7) and no surrogate pair (UCS-2) is divided between two segments."""
    encoding: Encoding = "GSM-7" if _ALPHABET.issuperset(text) else "UCS-2"
    alone, part = _LIMITS[encoding]
    widths = [2 if char in _EXTENSION else 1 for char in text] if encoding == "GSM-7" else [2 if char > "\uffff" else 1 for char in text]
    units = sum(widths)
    if units <= alone:
        return Segments(encoding, units, 1 if units else 0, alone - units)
    count, filled = 1, 0
    for width in widths:
        if filled + width > part:
            count, filled = count + 1, 0
        filled += width
    return Segments(encoding, units, count, part - filled)


def parts(text: str, encoding: Encoding | None = None) -> list[str]:
    """The text cut where `segments` counts it cut: as many pieces as segments. `encoding` is the one it will travel in, None for its own."""
    encoding = encoding or ("GSM-7" if _ALPHABET.issuperset(text) else "UCS-2")
    alone, part = _LIMITS[encoding]
    wide = _EXTENSION.__contains__ if encoding == "GSM-7" else "\uffff".__lt__
    widths = [2 if wide(char) else 1 for char in text]
    if sum(widths) <= alone:
        return [text] if text else []
    pieces: list[str] = []
    begin = filled = 0
    for index, width in enumerate(widths):
        if filled + width > part:
            pieces.append(text[begin:index])
            begin, filled = index, 0
        filled += width
    return [*pieces, text[begin:]]


@cache
def _phonenumbers() -> ModuleType:
    # Its metadata takes a tenth of a second to import, which a command that never meets a phone number should not pay.
    import phonenumbers

    return phonenumbers
