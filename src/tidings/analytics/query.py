"""What can be asked of communications: words searched for, conditions, an order. Read here from the caller's texts, made SQL in `query_sql`."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import msgspec

from tidings.analytics.query_fields import FIELDS, NUMERIC, VARIABLES, Field
from tidings.database.functions import fold
from tidings.errors import Invalid

MOST_ENTRIES, MOST_WORDS, MOST_CONDITIONS, MOST_VALUES, MOST_SORTS = 20, 10, 20, 200, 8
LONGEST = 1000
"""Characters of a word, or of a value."""
OPERATORS = ("eq", "ne", "gt", "gte", "lt", "lte", "in", "nin", "like", "exists")
_COMPARISONS = frozenset({"gt", "gte", "lt", "lte"})
_FLAGS = {"true": 1, "false": 0, "1": 1, "0": 0}
_OPERATOR_LIKE = re.compile(r"[a-z]+")
_NUMBER = re.compile(r"-?\d{1,15}(\.\d{1,15})?")

Scalar = int | float | str


class Wanted(msgspec.Struct, frozen=True):
    """An entry of a search: all the words, folded, are to occur in the field. Of a status they are the states it may be, of an id the row."""

    field: str
    words: tuple[str, ...]


class Condition(msgspec.Struct, frozen=True):
    """A condition of a filter: `values` are in the type of the field's column; `exists` has 1 or 0, `in` and `nin` have several."""

    field: str
    operator: str
    values: tuple[Scalar, ...]


class Order(msgspec.Struct, frozen=True):
    """One key of the order."""

    field: str
    descending: bool = False


class Query(msgspec.Struct, frozen=True):
    """Communications for which any entry of `search` (when there is one) and every filter holds, in the order of `sort`.

    Between equals the id decides, in the direction of the last key; without `sort` the newest come first.
    """

    search: tuple[Wanted, ...] = ()
    filters: tuple[Condition, ...] = ()
    sort: tuple[Order, ...] = ()


class Reader(msgspec.Struct, frozen=True):
    """What the words of a contract mean: `identity` reads an id of a kind (communication, thread, template, list, tenant), `states` maps
    a status word to the states it stands for.
    """

    identity: Callable[[str, str], int | None]
    states: Mapping[str, Sequence[str]]

    def entry(self, text: str) -> Wanted:
        """`field:some words`. Raises Invalid naming what is wrong."""
        name, colon, rest = text.partition(":")
        if not colon:
            raise Invalid.field("search", f"must be field:words, not {text[:80]!a}")
        return self.wanted(name.strip(), rest)

    def wanted(self, name: str, text: str) -> Wanted:
        """All the words of a text in one field. Raises Invalid."""
        field = known(name, "search")
        if field.kind in {"number", "instant", "flag"}:
            raise Invalid.field("search", f"cannot look for words in {name}; use filters")
        given = [_sane(word, "search") for word in text.split()]
        words = tuple(dict.fromkeys(fold(word) for word in given))
        if not words:
            raise Invalid.field("search", f"has no words for {name}")
        if len(words) > MOST_WORDS:
            raise Invalid.field("search", f"takes at most {MOST_WORDS} words an entry")
        match field.kind:
            case "state":
                # the words of the contract are looked through, for the row has another
                return Wanted(name, tuple(state for word in self.states if _has(word, words) for state in self.states[word]))
            case "id":
                identity = self.identity(field.names, given[0]) if len(words) == 1 else None
                return Wanted(name, (str(identity or 0),))
            case _:
                return Wanted(name, words)

    def condition(self, text: str) -> Condition:
        """`field:value` or `field:operator:value`, split on the first two colons only. Raises Invalid.

        What stands between them is an operator when it looks like one; else (an instant, say) it belongs to the value.
        """
        name, colon, rest = text.partition(":")
        if not colon:
            raise Invalid.field("filters", f"must be field:value or field:operator:value, not {text[:80]!a}")
        operator, colon, value = rest.partition(":")
        if colon and _OPERATOR_LIKE.fullmatch(operator):
            values = value.split("|") if operator in {"in", "nin"} else [value]
            return self.compared(name.strip(), operator, values)
        return self.compared(name.strip(), "eq", [rest])

    def compared(self, name: str, operator: str, values: Sequence[str]) -> Condition:
        """A condition of parts. Raises Invalid naming the field, the operator or the value that is wrong."""
        field = known(name, "filters")
        if operator not in OPERATORS:
            raise Invalid.field("filters", f"has no operator {operator[:40]!a}; use field:eq:value where the value has a colon")
        if operator not in allowed(field):
            raise Invalid.field("filters", f"cannot compare {name} by {operator}")
        if not values or len(values) > MOST_VALUES:
            raise Invalid.field("filters", f"takes 1 to {MOST_VALUES} values for {name}")
        if operator == "exists":
            return Condition(name, operator, (_flag(name, values[0]),))
        read = tuple(found for value in values for found in self._values(name, field, operator, _sane(value, "filters")))
        return Condition(name, operator, read)

    def _values(self, name: str, field: Field, operator: str, text: str) -> Sequence[Scalar]:
        match field.kind:
            case "number" | "instant" | "flag":
                return [_READ[field.kind](name, text)]
            case "state":
                if text.upper() not in self.states:
                    raise Invalid.field("filters", f"has no {name} {text[:40]!a}: {', '.join(self.states)}")
                return self.states[text.upper()]
            case "id":
                # an id that is none is nobody's
                return [self.identity(field.names, text.strip()) or 0]
            case "conversation" if operator != "like":
                # outside of any conversation a communication goes by a name made of its own id
                identity = self.identity(field.names, text)
                return [text] if identity is None else [text, identity]
            case "variable" if operator in _COMPARISONS and _NUMBER.fullmatch(text):
                return [float(text)]
            case "said" | "listed":
                return [fold(text)]
            case _:
                return [fold(text)] if operator == "like" else [text]

    def order(self, text: str) -> Order:
        """`field`, `field:asc` or `field:desc`. Raises Invalid."""
        name, _, direction = text.strip().partition(":")
        if direction.lower() not in {"", "asc", "desc"}:
            raise Invalid.field("sort", f"goes asc or desc, not {direction[:40]!a}")
        return self.ordered(name, descending=direction.lower() == "desc")

    def ordered(self, name: str, *, descending: bool) -> Order:
        """A key of the order. Raises Invalid."""
        if not known(name, "sort").sorts:
            raise Invalid.field("sort", f"cannot go by {name}")
        return Order(name, descending)


def query(search: Sequence[Wanted] = (), filters: Sequence[Condition] = (), sort: Sequence[Order] = ()) -> Query:
    """The three together. Raises Invalid when they are too many."""
    for name, given, most in (("search", search, MOST_ENTRIES), ("filters", filters, MOST_CONDITIONS), ("sort", sort, MOST_SORTS)):
        if len(given) > most:
            raise Invalid.field(name, f"takes at most {most} entries")
    return Query(tuple(search), tuple(filters), tuple(sort))


def known(name: str, parameter: str) -> Field:
    """The field of that name, `variables.x` included. Raises Invalid."""
    field = FIELDS.get(name)
    if field is None and name.startswith(VARIABLES) and 0 < len(name) - len(VARIABLES) <= LONGEST and "\0" not in name:
        field = FIELDS[VARIABLES]
    if field is None or name == VARIABLES:
        raise Invalid.field(parameter, f"has no field {name[:80]!a}")
    return field


def allowed(field: Field) -> frozenset[str]:
    """The operators that make sense for a field."""
    match field.kind:
        case "number" | "instant":
            return frozenset(OPERATORS) - {"like"}
        case "flag" | "state" | "id":
            return frozenset(OPERATORS) - {"like"} - _COMPARISONS
        case "listed":
            return frozenset(OPERATORS) - _COMPARISONS
        case _:
            return frozenset(OPERATORS)


def _has(text: str, words: Sequence[str]) -> bool:
    return all(word in fold(text) for word in words)


def _sane(text: str, parameter: str) -> str:
    if "\0" in text:
        raise Invalid.field(parameter, "must not contain a NUL character")
    if len(text) > LONGEST:
        raise Invalid.field(parameter, f"takes at most {LONGEST} characters a word or value")
    return text


def _flag(name: str, text: str) -> int:
    if text.strip().lower() not in _FLAGS:
        raise Invalid.field("filters", f"needs true or false for {name}, not {text[:40]!a}")
    return _FLAGS[text.strip().lower()]


def _number(name: str, text: str) -> int:
    if not NUMERIC.fullmatch(text.strip()):
        raise Invalid.field("filters", f"needs a number for {name}, not {text[:40]!a}")
    return int(text)


def _instant(name: str, text: str) -> int:
    """Milliseconds of an ISO 8601 date and time; without a zone it is UTC, and a date is its beginning."""
    # a plus sign that nobody escaped in a URL arrives as a space
    text = re.sub(r" (\d\d:?\d\d)$", r"+\1", text.strip())
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = datetime.fromisoformat(f"{text}T00:00:00Z" if len(text) <= 10 else f"{text}Z")
        return round(moment.timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        raise Invalid.field("filters", f"needs a date and time such as 2030-01-31T09:00:00Z for {name}, not {text[:40]!a}") from error


_READ: dict[str, Callable[[str, str], Scalar]] = {"number": _number, "instant": _instant, "flag": _flag}
