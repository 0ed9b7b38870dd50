"""Where a page ended, as opaque text: for listings that go on behind a row and are never counted."""

import base64
import binascii
from typing import TypeVar

import msgspec

from tidings.api.wire import Call, Parameter
from tidings.errors import Invalid

P = TypeVar("P", bound=msgspec.Struct)

LONGEST = 200
"""Characters of such a text that are looked at."""
FURTHEST = 1 << 62
"""What no number in it exceeds."""
AFTER = Parameter("after", "string", "the `next` of the page before; without it the first page")


def spelt(place: msgspec.Struct | None) -> str | None:
    """The text, None at the end."""
    return None if place is None else base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def asked(call: Call, kind: type[P]) -> P | None:
    """The place that the parameter `after` names, None without it. Raises Invalid for anything that `spelt` did not write."""
    text = call.query("after")
    if text is None:
        return None
    try:
        raw = base64.urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4)) if len(text) <= LONGEST else b""
        place = msgspec.json.decode(raw, type=kind)
    except (binascii.Error, ValueError) as error:
        raise Invalid.field("after", "must be the `next` of a page before") from error
    if any(abs(number) > FURTHEST for number in msgspec.structs.astuple(place)):
        raise Invalid.field("after", "must be the `next` of a page before")
    return place
