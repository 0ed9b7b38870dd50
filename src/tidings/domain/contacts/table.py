"""A CSV file of contacts as records: which encoding, delimiter and header it has, and its rows with the lines they stand on."""

import csv
import io
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from tidings.domain.contacts.columns import Columns, known_columns
from tidings.domain.contacts.source import Source
from tidings.errors import Invalid

SAMPLE = 64 * 1024
LINE_LENGTH = 1024 * 1024
"""Characters of one line that are looked at together: a file without line ends must not fill the memory."""

_AS_CSV = 'save it as "CSV UTF-8" and import that'
_SIGNS = (
    (b"PK\x03\x04", f"This is a spreadsheet or another ZIP file, not CSV: {_AS_CSV}."),
    (b"\xd0\xcf\x11\xe0", f"This is an old Excel file, not CSV: {_AS_CSV}."),
    (b"\x1f\x8b", "This file is compressed (gzip): unpack it and import what is inside."),
    (b"%PDF", "This is a PDF file, not CSV."),
    (b"\xff\xfe", f"This file is UTF-16, not UTF-8: {_AS_CSV}."),
    (b"\xfe\xff", f"This file is UTF-16, not UTF-8: {_AS_CSV}."),
)


class Record(NamedTuple):
    """One row: the line it begins on (from 1), its cells, and what is wrong with its quoting ("" when nothing is)."""

    line: int
    cells: list[str]
    problem: str


class Table:
    """A file whose header is understood. `header` is the names as they stand in the file."""

    def __init__(self, path: Path, source: Source) -> None:
        """Reads the beginning of the file. Raises Invalid, in one sentence, when it is no CSV of contacts; OSError when it cannot be read."""
        self.path = path
        self._encoding = "utf-8-sig" if source.encoding == "utf-8" else source.encoding
        with path.open("rb") as file:
            _refuse_foreign(file.read(SAMPLE))
        with self._text() as text:
            first = text.readline(LINE_LENGTH)
            hint = _delimiter_hint(first)
            self._hinted = bool(hint)
            head = "" if hint else first
            while not head.strip() and (line := text.readline(LINE_LENGTH)):
                head = line
            self.delimiter = source.delimiter or hint or _likely_delimiter(head)
        opening = next(self._records(), None)
        if opening is None:
            raise Invalid("The file is empty.")
        if opening.problem:
            raise Invalid(f"The first line cannot be read: {opening.problem}.")
        self.header = opening.cells
        self.columns = Columns(self.header, source.region or None)

    def records(self, *, skip: int = 0) -> Iterator[Record]:
        """The rows below the header, without blank lines, but for the first `skip`. The file is closed when they are through."""
        return itertools.islice(self._records(), 1 + skip, None)

    def count(self) -> int:
        """How many rows there are; reads the whole file."""
        return sum(1 for _ in self.records())

    def _text(self) -> io.TextIOWrapper:
        # what is not in the encoding is kept as surrogates: the row is refused when it is looked at, not the file
        return self.path.open(encoding=self._encoding, errors="surrogateescape", newline="")

    def _records(self) -> Iterator[Record]:
        with self._text() as text:
            if self._hinted:
                text.readline(LINE_LENGTH)
            yield from read_records(iter(lambda: text.readline(LINE_LENGTH), ""), self.delimiter, line=2 if self._hinted else 1)


def read_records(lines: Iterable[str], delimiter: str, *, line: int = 1) -> Iterator[Record]:
    """Rows out of lines that keep their ends, the first of them being number `line`.

    A quote that is never closed, or stands where none belongs, costs its own line and no other: the lines it has
    swallowed are read again one by one.
    """
    held: list[str] = []

    def fed() -> Iterator[str]:
        for text in lines:
            held.append(text)
            yield text

    reader = csv.reader(fed(), delimiter=delimiter, strict=True, skipinitialspace=True)
    while True:
        held.clear()
        begun = line + reader.line_num
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield from _one_by_one(held, delimiter, begun)
            continue
        if cells:
            yield Record(begun, cells, "")


def _one_by_one(lines: list[str], delimiter: str, begun: int) -> Iterator[Record]:
    for number, text in enumerate(lines, begun):
        try:
            rows = list(csv.reader([text], delimiter=delimiter, strict=True, skipinitialspace=True))
        except csv.Error as error:
            yield Record(number, [text.rstrip("\r\n")], _in_words(str(error)))
        else:
            yield from (Record(number, cells, "") for cells in rows if cells)


def _in_words(complaint: str) -> str:
    if "limit" in complaint:
        return f"a cell is longer than {csv.field_size_limit()} characters"
    return "a quote is opened and not closed" if "end of data" in complaint else "a quote stands where none belongs"


def _refuse_foreign(sample: bytes) -> None:
    if not sample.strip(b" \t\r\n\xef\xbb\xbf"):
        raise Invalid("The file is empty.")
    for sign, sentence in _SIGNS:
        if sample.startswith(sign):
            raise Invalid(sentence)
    if b"\0" in sample:
        raise Invalid("This is a binary file, not CSV.")


def _delimiter_hint(first: str) -> str:
    """The delimiter in `sep=;`, a first line that Excel writes and reads."""
    text = first.rstrip("\r\n")
    return text[4] if len(text) == 5 and text.lower().startswith("sep=") else ""


def _likely_delimiter(head: str) -> str:
    """The one that makes most sense of the header."""

    def sense(delimiter: str) -> tuple[int, int]:
        cells = next(csv.reader([head], delimiter=delimiter, skipinitialspace=True), list[str]())
        return known_columns(cells), len(cells)

    return max(",;\t|", key=sense)
