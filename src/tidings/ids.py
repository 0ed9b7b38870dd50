"""How a row's integer id is spelt on the wire: prefixed words, UUIDs and plain digits, each a reversible pure function of kind and id.

Nothing here is secret and nothing is looked up: a spelling hides the order of ids from a casual reader and refuses another kind's spelling
or a made-up one by its check bits. What must not be forged is signed in `signing`.
"""

import hashlib
import re
from functools import cache

MAX_ID = 2**63 - 1

PREFIXES = {
    "contact": "cont_",
    "campaign": "camp_",
    "list": "list_",
    "segment": "segm_",
    "template": "tmpl_",
    "job": "job_",
    "provider": "prov_",
    "sender": "send_",
    "key": "key_",
    "suppression": "supp_",
    "webhook": "hook_",
    "delivery": "dlv_",
    "conversation": "conv_",
    "thread": "thrd_",
    "inbound": "inbd_",
    "inbox": "inbx_",
    "attachment": "att_",
    "audit": "aud_",
    "tenant": "tnt_",
}

_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_VALUES = {digit: value for value, digit in enumerate(_DIGITS)}
_LENGTH = 18
_WORD_BITS = 106
"""The widest number of bits that eighteen base-62 digits can hold (62**18 is a little above 2**107; one bit is left over as a check)."""
_UUID_BITS = 122
"""128 bits of a UUID less four of version and two of variant (RFC 9562, section 5.8)."""
_ID_BITS = 63
_ODD = 0x9E3779B97F4A7C15F39CC0605CEDC835
"""2**128 divided by the golden ratio, made odd: the usual multiplier for spreading consecutive numbers (Knuth, TAOCP 3, 6.4)."""
_UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
_INTEGER = re.compile(r"[1-9][0-9]{0,18}")


def spell(kind: str, identity: int) -> str:
    """`cont_…` and its like: the kind's prefix and eighteen characters of [A-Za-z0-9]. KeyError for an unknown kind."""
    rest = _mix(_packed(kind, identity, _WORD_BITS), _WORD_BITS)
    digits: list[str] = []
    for _ in range(_LENGTH):
        rest, digit = divmod(rest, 62)
        digits.append(_DIGITS[digit])
    return PREFIXES[kind] + "".join(digits)


def parse(kind: str, text: str) -> int | None:
    """The id that `spell(kind, …)` wrote as `text`; None for anything else, another kind's spelling included."""
    prefix = PREFIXES[kind]
    if len(text) != len(prefix) + _LENGTH or not text.startswith(prefix):
        return None
    mixed = 0
    for digit in reversed(text[len(prefix) :]):
        value = _VALUES.get(digit)
        if value is None:
            return None
        mixed = mixed * 62 + value
    if mixed >> _WORD_BITS:
        return None
    return _unpacked(kind, _unmix(mixed, _WORD_BITS), _WORD_BITS)


def uuid(kind: str, identity: int) -> str:
    """A version 8 UUID (RFC 9562: bits of our own making), lower case. `kind` is any word; it need not have a prefix."""
    mixed = _mix(_packed(kind, identity, _UUID_BITS), _UUID_BITS)
    high, middle, low = mixed >> 74, mixed >> 62 & 0xFFF, mixed & (1 << 62) - 1
    digits = f"{high << 80 | 8 << 76 | middle << 64 | 2 << 62 | low:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def parse_uuid(kind: str, text: str) -> int | None:
    """The id that `uuid(kind, …)` wrote, in either case; None for anything else."""
    if not is_uuid(text):
        return None
    bits = int(text.replace("-", ""), 16)
    if bits >> 76 & 0xF != 8 or bits >> 62 & 3 != 2:
        return None
    mixed = bits >> 80 << 74 | (bits >> 64 & 0xFFF) << 62 | bits & (1 << 62) - 1
    return _unpacked(kind, _unmix(mixed, _UUID_BITS), _UUID_BITS)


def is_uuid(text: str) -> bool:
    """Whether `text` has the form of a UUID (8-4-4-4-12 hexadecimal digits), whoever made it: tells malformed from unknown."""
    return _UUID.fullmatch(text) is not None


def parse_int(text: str) -> int | None:
    """An id in plain digits: ASCII, 1 to 2**63-1, no sign, no leading zero (one id has one spelling); None for anything else."""
    if not _INTEGER.fullmatch(text):
        return None
    number = int(text)
    return number if number <= MAX_ID else None


def _packed(kind: str, identity: int, bits: int) -> int:
    if not 0 < identity <= MAX_ID:
        raise ValueError(f"{identity} is no id")
    room = bits - _ID_BITS
    return identity << room | _tag(kind, room)


def _unpacked(kind: str, packed: int, bits: int) -> int | None:
    room = bits - _ID_BITS
    if packed & (1 << room) - 1 != _tag(kind, room):
        return None
    return packed >> room or None


@cache
def _tag(kind: str, bits: int) -> int:
    return int.from_bytes(hashlib.blake2b(kind.encode(), digest_size=16, person=b"tidings kind").digest()) & (1 << bits) - 1


def _mix(number: int, bits: int) -> int:
    mask, half = (1 << bits) - 1, bits // 2
    number = number * _ODD & mask
    number ^= number >> half
    number = number * _ODD & mask
    return number ^ number >> half


def _unmix(number: int, bits: int) -> int:
    # A shift by half the width (both widths are even) undoes itself: the upper half is untouched by it.
    mask, half, inverse = (1 << bits) - 1, bits // 2, _inverse(bits)
    number = (number ^ number >> half) * inverse & mask
    return (number ^ number >> half) * inverse & mask


@cache
def _inverse(bits: int) -> int:
    return pow(_ODD, -1, 1 << bits)
