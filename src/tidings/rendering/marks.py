"""The characters with which prepared templates mark places: link slots, the pixel, tokens. From the last private-use plane, where nobody writes."""

import re

OPEN, CLOSE = "\U0010f000", "\U0010f001"
"""Around a link's index: the place of a link target."""
PIXEL = f"{OPEN}p{CLOSE}"
TOKEN = "\U0010f002"
"""The place of a communication's token within a tracked URL."""
DELIMITER = "\U0010f003"
"""Between the rendered segments of one template."""

SLOT = re.compile(f"{OPEN}([0-9]+){CLOSE}")
_ANY = re.compile(f"[{OPEN}{CLOSE}{TOKEN}{DELIMITER}]")


def slot(index: int) -> str:
    """The mark of link `index`."""
    return f"{OPEN}{index}{CLOSE}"


def strip(text: str) -> str:
    """`text` without any of our marks, so that nobody writes one who should not."""
    return _ANY.sub("", text)
