"""CSV that people open in a spreadsheet: lines by RFC 4180, and cells that show what somebody wrote instead of running it. Pure."""

import re
from collections.abc import Iterable

_NUMBER = re.compile(r"[+-][0-9][0-9 .,()/-]*")
# a spreadsheet passes over what is blank or not seen at all, and takes the full-width signs of a Japanese keyboard for the others
_RUNS = re.compile(r"[\t\r\n]|[\s\u200b\u2060\ufeff\0]*[=+\-@\uff1d\uff0b\uff0d\uff20]")
# readers that trim what is not quoted keep the blanks at the ends
_QUOTED = re.compile(r"[\",\r\n]|^\s|\s$")


def neutral(cell: str, *, numbers: bool = False) -> str:
    """The cell with `'` before it when it begins like a formula. With `numbers`, those with a sign stay, phone numbers too."""
    if _RUNS.match(cell) is None or (numbers and _NUMBER.fullmatch(cell)):
        return cell
    return "'" + cell


def plain(cell: str) -> str:
    """The cell as it was before `neutral`."""
    return cell[1:] if cell[:1] == "'" and _RUNS.match(cell, 1) else cell


def line(cells: Iterable[str]) -> str:
    """One record, its end (CRLF) included."""
    return ",".join([_quoted(cell) if _QUOTED.search(cell) else cell for cell in cells]) + "\r\n"


def _quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"'
