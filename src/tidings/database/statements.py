"""Turning one SQL text into each database's spelling. The text is literal by type, so the answers are kept for good.

Two things differ: placeholders (`:name`) and batches. `:rows(id bigint, reason text)` stands for a table made of a list of
tuples: arrays through `unnest` on PostgreSQL, `json_each` on SQLite. `SKIP LOCKED` goes away where there is one writer.
"""

import re
from functools import lru_cache
from typing import NamedTuple

_PLACEHOLDER = re.compile(r"(?<![:\w]):([a-z_][a-z0-9_]*)(\([^()]*\))?")
_LOCK_CLAUSE = re.compile(r"\s+FOR (?:UPDATE|SHARE)(?: OF \w+)?(?: SKIP LOCKED)?")


class Statement(NamedTuple):
    """`text` in the database's own spelling; `batches` maps a batch parameter to its number of columns."""

    text: str
    batches: dict[str, int]


def _columns(declared: str) -> list[tuple[str, str]]:
    columns: list[tuple[str, str]] = []
    for part in declared.strip("()").split(","):
        name, kind = part.split()
        columns.append((name, kind))
    return columns


@lru_cache(maxsize=None)
def for_sqlite(sql: str) -> Statement:
    """The statement as sqlite3 takes it; a batch parameter is one JSON array of arrays."""
    batches: dict[str, int] = {}

    def placeholder(match: re.Match[str]) -> str:
        name, declared = match.group(1), match.group(2)
        if declared is None:
            return f":{name}"
        columns = _columns(declared)
        batches[name] = len(columns)
        fields = ", ".join(f"value ->> {index} AS {column}" for index, (column, _) in enumerate(columns))
        return f"(SELECT {fields} FROM json_each(:{name}))"

    return Statement(_PLACEHOLDER.sub(placeholder, _LOCK_CLAUSE.sub("", sql)), batches)


@lru_cache(maxsize=None)
def for_postgres(sql: str) -> Statement:
    """The statement as psycopg takes it; a batch parameter becomes one array per column, named `<name>_<index>`."""
    batches: dict[str, int] = {}

    def placeholder(match: re.Match[str]) -> str:
        name, declared = match.group(1), match.group(2)
        if declared is None:
            return f"%({name})s"
        columns = _columns(declared)
        batches[name] = len(columns)
        arrays = ", ".join(f"%({name}_{index})s::{kind}[]" for index, (_, kind) in enumerate(columns))
        names = ", ".join(column for column, _ in columns)
        return f"(SELECT * FROM unnest({arrays}) AS batch({names}))"

    return Statement(_PLACEHOLDER.sub(placeholder, sql.replace("%", "%%")), batches)
