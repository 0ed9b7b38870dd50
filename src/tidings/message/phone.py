"""Phone numbers in E.164, and how many segments a text message takes. Splitting for the wire is the SMS provider's matter."""

import re
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


@cache
def _phonenumbers() -> ModuleType:
    # Its metadata takes a tenth of a second to import, which a command that never meets a phone number should not pay.
    import phonenumbers

    return phonenumbers
