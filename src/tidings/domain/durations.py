"""Lengths of time as people write them: `0s`, `90m`, `2h`, `3d`. Inside they are milliseconds."""

import re

from tidings.clock import DAY, HOUR, MINUTE, SECOND
from tidings.errors import Invalid

LONGEST = 3650 * DAY

_UNITS = {"d": DAY, "h": HOUR, "m": MINUTE, "s": SECOND}
_DURATION = re.compile(r"([0-9]{1,12})\s*([dhms])")


def parse(text: str, field: str) -> int:
    """Milliseconds of a whole number and a unit (s, m, h, d), ten years at most. Raises Invalid naming `field`."""
    found = _DURATION.fullmatch(text.strip().lower())
    if found is None:
        raise Invalid.field(field, 'must be a whole number and a unit: "0s", "90m", "2h" or "3d"')
    length = int(found[1]) * _UNITS[found[2]]
    if length > LONGEST:
        raise Invalid.field(field, "must be ten years at most")
    return length


def spell(length: int) -> str:
    """Milliseconds in the largest unit that leaves nothing over; what is below a second is dropped."""
    for unit, size in _UNITS.items():
        if length and length % size == 0:
            return f"{length // size}{unit}"
    return f"{length // SECOND}s"
