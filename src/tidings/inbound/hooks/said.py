"""What a carrier's JSON says, read leniently: an event with a field that is missing or odd is still an event. Nothing here knows a carrier."""

import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any, NamedTuple, cast

from tidings.clock import DAY, SECOND
from tidings.errors import Malformed, TooLarge
from tidings.inbound.hooks.posted import addresses
from tidings.message.heard import Notice
from tidings.message.incoming_charsets import storable

OURS = "tidings"
"""The name under which a carrier is given our id for a message, where it hands such things back."""
LONGEST_URL = 2000
LARGEST = 2 * 1024 * 1024
"""Bytes of a post with one event, all of which may have to be read before its signature can be: SNS has 256 KB, escaped, the others less."""
MOST_BYTES = 8 * 1024 * 1024
"""Bytes of a post with many: SendGrid's have 768 KB. As objects it may take some thirty times as much."""
_EARLIEST = 946_684_800_000  # the year 2000: none of these carriers is older
_LONGEST = 500
_MOST = 10_000


class Events(NamedTuple):
    """What a carrier told of mail it took; `ignored` are those events that are none of ours to know. `token` is good for one use, under
    which it said `said`: "" where the carrier has no such thing.
    """

    notices: Sequence[Notice] = ()
    ignored: int = 0
    token: str = ""
    said: str = ""


class Said:
    """A JSON object. What is not there, or is something else, reads as empty."""

    def __init__(self, value: object) -> None:
        self.fields = cast(dict[str, Any], value) if isinstance(value, dict) else {}

    def text(self, *names: str, most: int = _LONGEST) -> str:
        """The first of these fields that is not empty, as storable text on one line or more; a number as its digits."""
        for name in names:
            value = self.fields.get(name)
            if isinstance(value, int | float) and not isinstance(value, bool):
                value = str(value)
            if isinstance(value, str) and value.strip():
                return storable(value).strip()[:most]
        return ""

    def inner(self, name: str) -> "Said":
        """An object in it."""
        return Said(self.fields.get(name))

    def every(self, name: str) -> "list[Said]":
        """The objects of a list in it."""
        value = self.fields.get(name)
        entries = cast(list[object], value)[:_MOST] if isinstance(value, list) else []
        return [found for entry in entries if (found := Said(entry)).fields]

    def texts(self, name: str) -> list[str]:
        """The texts of a list in it."""
        value = self.fields.get(name)
        entries = cast(list[object], value)[:_MOST] if isinstance(value, list) else []
        return [storable(entry)[:_LONGEST] for entry in entries if isinstance(entry, str)]

    def flag(self, name: str) -> bool:
        """Whether it is true."""
        return self.fields.get(name) is True

    def address(self, *names: str) -> str:
        """The first email address in these fields, "" when there is none."""
        return next((found for name in names for found in addresses(self.text(name, most=2000))), "")

    def seconds(self, name: str, now: int) -> int:
        """An instant told in seconds, whole or not, in milliseconds; `now` where it is none, or from a time that cannot be."""
        value = self.fields.get(name)
        if isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                return now
        if not isinstance(value, int | float) or isinstance(value, bool):
            return now
        try:
            return _plausible(float(value) * SECOND, now)
        except OverflowError:
            return now

    def instant(self, now: int, *names: str) -> int:
        """An instant in ISO 8601, in milliseconds; as `seconds`."""
        at = iso(self.text(*names))
        return now if at is None else _plausible(at, now)

    def ip(self, *names: str) -> str:
        """An IP address, "" for anything else."""
        text = self.text(*names)
        try:
            return str(ip_address(text))
        except ValueError:
            return ""


def iso(text: str) -> float | None:
    """An instant in ISO 8601 (in UTC where it says no zone), in milliseconds; None when it is none."""
    try:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * SECOND
    except (ValueError, OverflowError):
        return None


def decoded(body: bytes) -> Any:
    """The JSON in a body. Raises Malformed when it is none: NaN and Infinity are none (RFC 8259, section 6)."""
    try:
        # not msgspec's: mail with half a pair of surrogates in it is mail, and that one refuses it
        return json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"The request body is not valid JSON: {error}") from error


def limit(body: bytes, most: int) -> None:
    """Raises TooLarge for a body of more than `most` bytes."""
    if len(body) > most:
        raise TooLarge(f"The request body is larger than {most // (1024 * 1024)} MiB, which no carrier's events are")


def record(body: bytes) -> Said:
    """The JSON object in a body. Raises Malformed when it is none, TooLarge beyond LARGEST."""
    limit(body, LARGEST)
    value = decoded(body)
    if not isinstance(value, dict):
        raise Malformed("The request body must be a JSON object")
    return Said(cast(object, value))


def _refuse(name: str) -> object:
    raise ValueError(f"{name} is no number")


def _plausible(at: float, now: int) -> int:
    return int(at) if math.isfinite(at) and _EARLIEST <= at <= now + DAY else now
