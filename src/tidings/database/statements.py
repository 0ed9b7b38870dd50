"""Turning one SQL text into each database's spelling. The text is literal by type, so the answers are kept; a bounded number of them, for
a search puts its statement together of pieces.

Placeholders (`:name`) differ, and batches. `:rows(id bigint, reason text)` stands for a table made of a list of tuples: arrays
through `unnest` on PostgreSQL, `json_each` on SQLite. `IN :ids[bigint]` asks whether a value is in a list: `= ANY(array)`, which
PostgreSQL answers by the index whatever it believes of the table, or `json_each` again. `SKIP LOCKED` goes away where there is one writer.
"""

import re
from functools import lru_cache
from typing import NamedTuple

_PLACEHOLDER = re.compile(r"(?<![:\w]):([a-z_][a-z0-9_]*)(\([^()]*\))?")
_MEMBER = re.compile(r"\bIN :([a-z_][a-z0-9_]*)\[(\w+)\]")
_MEMBER_SPELLED = re.compile(r"\bIN %\(([a-z_][a-z0-9_]*)\)s\[(\w+)\]")
_LOCK_CLAUSE = re.compile(r"\s+FOR (?:UPDATE|SHARE)(?: OF \w+)?(?: SKIP LOCKED)?")


class Statement(NamedTuple):
    """`text` in the database's own spelling; `batches` maps a batch parameter to its number of columns, `lists` names those of `IN`."""

    text: str
    batches: dict[str, int]
    lists: tuple[str, ...]


def _columns(declared: str) -> list[tuple[str, str]]:
    columns: list[tuple[str, str]] = []
    for part in declared.strip("()").split(","):
        name, kind = part.split()
        columns.append((name, kind))
    return columns


@lru_cache(maxsize=4096)
def for_sqlite(sql: str) -> Statement:
    """The statement as sqlite3 takes it; a batch parameter is one JSON array of arrays."""
    batches: dict[str, int] = {}

    def placeholder(match: re.Match[str]) -> str:
        name, declared = match.group(1), match.group(2)
        if declared is None:
            return f":{name}"
        columns = _columns(declared)
        batches[name] = len(columns)
        fields = ", ".join(f"json_extract(value, '$[{index}]') AS {column}" for index, (column, _) in enumerate(columns))
        # the LIMIT keeps SQLite from reading the JSON anew for every row that the batch is joined with
        return f"(SELECT {fields} FROM json_each(:{name}) LIMIT -1)"

    lists = tuple(dict.fromkeys(name for name, _ in _MEMBER.findall(sql)))
    text = _MEMBER.sub(r"IN (SELECT value FROM json_each(:\1))", _LOCK_CLAUSE.sub("", sql))
    return Statement(_PLACEHOLDER.sub(placeholder, text), batches, lists)


@lru_cache(maxsize=4096)
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

    lists = tuple(dict.fromkeys(name for name, _ in _MEMBER.findall(sql)))
    text = _PLACEHOLDER.sub(placeholder, sql.replace("%", "%%"))
    return Statement(_MEMBER_SPELLED.sub(r"= ANY(%(\1)s::\2[])", text), batches, lists)
