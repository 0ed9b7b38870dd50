"""Functions that statements may call on both databases: here they are given to SQLite, on PostgreSQL a migration defines them.

`fold(text)` is a text in lower case; `listed(json, name)` the strings of an array in a JSON object, a line each; `member(json, path)`
the text of what stands in a JSON object at `a.b`; `as_number(text)` a text as a number. Each answers NULL where there is nothing.
"""

import re
import sqlite3
from typing import Any, cast

import msgspec

_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?")


def fold(text: str) -> str:
    """The text in lower case, each character for itself: a sigma at a word's end is as any other, for the word may be part of another."""
    return text.replace("\N{GREEK CAPITAL LETTER SIGMA}", "\N{GREEK SMALL LETTER SIGMA}").lower()


def literal(text: str) -> str:
    """A text for `LIKE … ESCAPE '!'` that matches itself alone."""
    return text.replace("!", "!!").replace("%", "!%").replace("_", "!_")


def install(connection: sqlite3.Connection) -> None:
    """Makes the functions known to a connection."""
    connection.create_function("fold", 1, _fold, deterministic=True)
    connection.create_function("listed", 2, _listed, deterministic=True)
    connection.create_function("member", 2, _member, deterministic=True)
    # SQLite has it from 3.43 on
    connection.create_function("octet_length", 1, _octet_length, deterministic=True)
    connection.create_function("as_number", 1, _as_number, deterministic=True)


def _fold(value: object) -> str | None:
    return None if value is None else fold(str(value))


def _listed(document: str | None, name: str) -> str | None:
    found = _at(document, [name])
    return "\n".join(cast(list[str], found)) if isinstance(found, list) and found else None


def _member(document: str | None, path: str) -> str | None:
    found = _at(document, path.split("."))
    if found is None or isinstance(found, str):
        return found
    return msgspec.json.encode(found).decode()


def _octet_length(value: object) -> int | None:
    return None if value is None else len(str(value).encode())


def _as_number(text: str | None) -> float | None:
    return float(text) if text is not None and _NUMBER.fullmatch(text) else None


def _at(document: str | None, path: list[str]) -> Any:
    # no text of PostgreSQL's holds a NUL, so neither database looks into a document that does
    found: Any = None if document is None or "\\u0000" in document else msgspec.json.decode(document)
    for name in path:
        if isinstance(found, dict):
            found = cast(dict[str, Any], found).get(name)
        elif isinstance(found, list) and name.isdecimal() and name.isascii() and len(name) < 6:
            entries = cast(list[Any], found)
            found = entries[int(name)] if int(name) < len(entries) else None
        else:
            return None
    return found
