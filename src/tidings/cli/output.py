"""How commands show what they found: a table for people, JSON for scripts."""

import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec
import typer

LONGEST_WORD = 40
"""What is no longer, an id or a date, is never cut; a longer word, such as a URL, goes on in the next line of a narrow terminal."""

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


def print_json(value: Any) -> None:
    """One JSON document on stdout; records are written field by field."""
    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Aligned columns with a heading; every cell as it is, whatever it contains.

    On a terminal cells are wrapped between words, and lines that are still too long run over; anywhere else a row is a line.
    """
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # asked of the stream itself: a console that is made to be colourful takes a pipe for a terminal
    room = Console().width if sys.stdout.isatty() else None
    gap, widths = _widths([[heading, *(row[index] for row in rows)] for index, heading in enumerate(columns)], room, cell_len)
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0))
    for heading, width in zip(columns, widths, strict=True):
        table.add_column(Text(heading), width=width)
    for row in rows:
        table.add_row(*(Text(cell, overflow="fold") for cell in row))
    console = Console(width=max(room or 0, sum(widths) + gap * len(widths)))
    console.print(table)


def _widths(columns: Sequence[Sequence[str]], room: int | None, measure: Callable[[str], int]) -> tuple[int, list[int]]:
    """What is between columns, and how wide each is: as its longest line or, where there is no `room` for all, narrower, down to its longest word."""
    widths = [max((measure(line) for cell in cells for line in cell.splitlines()), default=0) for cells in columns]
    if room is None:
        return 2, widths
    words = [min(LONGEST_WORD, max((measure(word) for cell in cells for word in cell.split()), default=0)) for cells in columns]
    gap = 2 if sum(words) + 2 * (len(words) - 1) <= room else 1
    while sum(widths) + gap * (len(widths) - 1) > room and (wider := [index for index, width in enumerate(widths) if width > words[index]]):
        widths[max(wider, key=widths.__getitem__)] -= 1
    return gap, widths
