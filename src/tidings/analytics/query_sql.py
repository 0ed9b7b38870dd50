"""A `Query` as SQL: literal pieces put together, every text of the caller's a parameter. The same statement for both databases."""

import re
from typing import LiteralString

from tidings.analytics.query import Condition, Order, Query, Scalar, Wanted, known
from tidings.analytics.query_fields import VARIABLES, Field
from tidings.database.gate import Param

_DIGITS: tuple[LiteralString, ...] = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
_KEYS: tuple[LiteralString, ...] = ("k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7")
_COMPARED: dict[str, LiteralString] = {"gt": " > ", "gte": " >= ", "lt": " < ", "lte": " <= "}
_SPECIAL = re.compile(r"[%_\\]")
TRIGRAM = 3
_UNSURE = re.compile(r"[^a-z0-9.@<>()+,:;!?= -]+")
_SAID: dict[str, LiteralString] = {"subject": "w.subject", "body": "w.body", "originalBody": "w.body"}
_LISTED: dict[str, LiteralString] = {
    "recipients": "listed(c.recipients, 'to')",
    "cc": "listed(c.recipients, 'cc')",
    "bcc": "listed(c.recipients, 'bcc')",
}
_TEXTS = frozenset({"text", "said", "listed", "conversation", "variable"})
_RANK: LiteralString = (
    "CASE c.state WHEN 'canceled' THEN 0 WHEN 'failed' THEN 1 WHEN 'bounced' THEN 1 WHEN 'suppressed' THEN 1 WHEN 'pending' THEN 2"
    " WHEN 'in_process' THEN 2 WHEN 'unknown' THEN 2 WHEN 'scheduled' THEN 3 ELSE 4 END"
)
"""The order of states, those that have one status word in alpha together: canceled, failed, pending, scheduled, sent."""

_ANY: LiteralString = "SELECT c.id FROM communications c WHERE c.tenant_id = :tenant_id"
_SHARED: LiteralString = (
    "SELECT c.id FROM contents_said w JOIN communications c ON c.tenant_id = w.tenant_id AND c.content_id = w.id AND c.worded = 0"
    " WHERE w.tenant_id = :tenant_id"
)
_OWN: LiteralString = "SELECT w.id FROM renderings_said w WHERE w.tenant_id = :tenant_id"
_SEVERAL: LiteralString = (
    "SELECT c.id FROM addressed_said w JOIN communications c ON c.tenant_id = w.tenant_id AND c.id = w.id"
    " WHERE w.tenant_id = :tenant_id AND w.recipients IS NOT NULL"
)
_BARE: LiteralString = "SELECT w.id FROM addressed_said w WHERE w.tenant_id = :tenant_id AND w.recipients IS NULL"
_OF_CAMPAIGNS: LiteralString = (
    "SELECT c.id FROM contacts p JOIN communications c ON c.tenant_id = p.tenant_id AND c.contact_id = p.id"
    " AND c.campaign_id IS NOT NULL AND c.recipients IS NULL WHERE p.tenant_id = :tenant_id"
)


class Pieces:
    """Collects the parameters of one statement while its pieces are made."""

    def __init__(self, tenant_id: int) -> None:
        self.params: dict[str, Param] = {"tenant_id": tenant_id}
        self._count = 0

    def slot(self, value: Param) -> LiteralString:
        """The placeholder of a value."""
        number = self._count
        self._count += 1
        name = "v" + _DIGITS[number // 1000 % 10] + _DIGITS[number // 100 % 10] + _DIGITS[number // 10 % 10] + _DIGITS[number % 10]
        self.params[name] = value
        return ":" + name

    def found(self, query: Query) -> LiteralString:
        """A SELECT of the ids that any entry of the search finds, each once."""
        pieces: list[LiteralString] = []
        scanned: list[LiteralString] = []
        addressed: dict[str, list[Wanted]] = {}
        for entry in query.search:
            if entry.field in _LISTED:
                addressed.setdefault(entry.field, []).append(entry)
            elif entry.field in _SAID:
                pieces += self._said(_SAID[entry.field], entry.words)
            else:
                scanned.append(self._scanned(entry))
        for field, entries in addressed.items():
            pieces += self._addressed(field, entries)
        if scanned:
            pieces.append(_ANY + " AND (" + " OR ".join(scanned) + ")")
        # what one entry finds here and there is not the same: a communication either has a rendering or has none
        return (" UNION ALL " if len(query.search) == 1 else " UNION ").join(pieces)

    def filters(self, query: Query) -> LiteralString:
        """Every condition of the query with its AND, on a row `c` of communications."""
        sql: LiteralString = ""
        for condition in query.filters:
            sql += " AND " + self._condition(condition)
        return sql

    def keys(self, query: Query) -> LiteralString:
        """What the query sorts by as columns, with the comma before each; none for the id, which is always there."""
        sql: LiteralString = ""
        for number, order in enumerate(sorts(query)):
            sql += ", " + self._key(order) + " AS " + _KEYS[number]
        return sql

    def behind(self, query: Query, cursor: tuple[int | str, ...]) -> LiteralString:
        """The condition that a row `m` comes after the one with these keys and id."""
        names: list[tuple[LiteralString, bool]] = [(_KEYS[number], order.descending) for number, order in enumerate(sorts(query))]
        alternatives: list[LiteralString] = []
        before: LiteralString = ""
        names.append(("id", id_descends(query)))
        for (name, descending), value in zip(names, cursor, strict=True):
            alternatives.append("(" + before + "m." + name + (" < " if descending else " > ") + self.slot(value) + ")")
            before += "m." + name + " = " + self.slot(value) + " AND "
        return "(" + " OR ".join(alternatives) + ")"

    def _said(self, column: LiteralString, words: tuple[str, ...]) -> list[LiteralString]:
        """Two SELECTs by the index of words: of what says the same as its content, and of what says something of its own."""
        shared: LiteralString = _SHARED + self._all(column, words)
        own: LiteralString = _OWN + self._all(column, words)
        return [shared, own]

    def _addressed(self, field: str, entries: list[Wanted]) -> list[LiteralString]:
        """SELECTs of what is addressed in the words of any of the entries: where names or several addresses are kept, and to bare ones."""
        pieces: list[LiteralString] = []
        for entry in entries:
            pieces.append(self._several(entry))
        if field != "recipients":
            return pieces
        for entry in entries:
            pieces.append(_BARE + self._all("w.address", entry.words))
        # the contact may have got another address since
        by_email = _OF_CAMPAIGNS + " AND c.channel = 'email' AND p.email_key IS NOT NULL" + self._any("p.email_key", entries)
        by_phone = _OF_CAMPAIGNS + " AND c.channel = 'sms' AND p.phone IS NOT NULL" + self._any("p.phone", entries)
        pieces.append(by_email + self._any("lower(c.address)", entries))
        pieces.append(by_phone + self._any("lower(c.address)", entries))
        return pieces

    def _several(self, entry: Wanted) -> LiteralString:
        """A SELECT of what has the words in a list of addressees. The JSON that it is kept in is looked through before it is read."""
        sql: LiteralString = _SEVERAL
        for word in entry.words:
            # what JSON may write in another way, and what is no ASCII and may be in either case, is left out
            longest = max(_UNSURE.split(word), key=len)
            if len(longest) >= TRIGRAM:
                sql += " AND w.recipients LIKE " + self.slot("%" + longest + "%")
        return sql + self._all("fold(" + _LISTED[entry.field] + ")", entry.words)

    def _any(self, column: LiteralString, entries: list[Wanted]) -> LiteralString:
        return " AND (" + " OR ".join(["(true" + self._all(column, entry.words) + ")" for entry in entries]) + ")"

    def _scanned(self, entry: Wanted) -> LiteralString:
        """The condition that a row `c` has the words in a field without an index."""
        field = known(entry.field, "search")
        if field.kind == "state":
            return "c.state IN " + self.slot(list(entry.words)) + "[text]"
        if field.kind == "id":
            return field.sql + " IN " + self.slot([int(word) for word in entry.words]) + "[bigint]"
        return "(true" + self._all("fold(" + self._column(entry.field, field) + ")", entry.words) + ")"

    def _all(self, column: LiteralString, words: tuple[str, ...]) -> LiteralString:
        sql: LiteralString = ""
        for word in words:
            sql += " AND " + self.contains(column, word)
        return sql

    def contains(self, column: LiteralString, word: str) -> LiteralString:
        """The condition that a word occurs in a column, as it stands.

        Neither database has the same way to escape a pattern, and an escaped one goes by no index on SQLite: what would be a wildcard
        parts the word, and what is found by its parts is looked at once more. Fewer than three characters in a row help no index of
        trigrams, and SQLite 3.40 crashes over them where they are three bytes or more and something follows.
        """
        indexed = [part for part in _SPECIAL.split(word) if len(part) >= TRIGRAM]
        like = column + " LIKE " + self.slot("%" + "%".join(indexed) + "%") if indexed else ""
        if indexed and not _SPECIAL.search(word):
            return like
        held = "replace(" + column + ", " + self.slot(word) + ", '') <> " + column
        return like + " AND " + held if indexed else held

    def _column(self, name: str, field: Field) -> LiteralString:
        if field.kind != "variable":
            return field.sql
        return field.sql.replace(":path", self.slot(name.removeprefix(VARIABLES)))

    def _condition(self, condition: Condition) -> LiteralString:
        field = known(condition.field, "filters")
        column = self._column(condition.field, field)
        operator, values = condition.operator, condition.values
        match operator:
            case "exists":
                there = "COALESCE(" + column + ", '') <> ''" if field.kind in _TEXTS else column + " IS NOT NULL"
                return there if values[0] else "NOT (" + there + ")"
            case "like":
                return self._like(condition, field, column)
            case "eq" | "in":
                return self._equal(field, column, values)
            case "ne" | "nin":
                return "NOT COALESCE(" + self._equal(field, column, values) + ", false)"
            case _:
                return self._compared(field, column, _COMPARED[operator], values[0])

    def _like(self, condition: Condition, field: Field, column: LiteralString) -> LiteralString:
        word = str(condition.values[0])
        if field.kind == "said":
            pieces = self._said(_SAID[condition.field], (word,))
            return "c.id IN (" + " UNION ALL ".join(pieces) + ")"
        return "(" + self.contains("fold(" + column + ")", word) + ")"

    def _equal(self, field: Field, column: LiteralString, values: tuple[Scalar, ...]) -> LiteralString:
        match field.kind:
            case "number" | "instant" | "flag" | "id":
                return "(" + column + " IN " + self.slot([int(value) for value in values]) + "[bigint])"
            case "listed":
                # an entry is an address, or has one between angle brackets behind a name
                lines = "('\n' || fold(" + column + ") || '\n')"
                wanted = [piece for value in values for piece in (f"\n{value}\n", f"<{value}>\n")]
                return "(" + " OR ".join([self.contains(lines, piece) for piece in wanted]) + ")"
            case "conversation":
                keys = [value for value in values if isinstance(value, str)]
                own = [value for value in values if isinstance(value, int)]
                by_key = column + " IN " + self.slot(keys) + "[text]"
                return "(" + by_key + " OR (c.conversation_id IS NULL AND c.id IN " + self.slot(own) + "[bigint]))"
            case _:
                return "(" + column + " IN " + self.slot([str(value) for value in values]) + "[text])"

    def _compared(self, field: Field, column: LiteralString, sign: LiteralString, value: Scalar) -> LiteralString:
        if isinstance(value, float):
            return "as_number(" + column + ")" + sign + self.slot(value)
        binary: LiteralString = ' COLLATE "binary"' if field.kind in _TEXTS else ""
        return column + binary + sign + self.slot(value)

    def _key(self, order: Order) -> LiteralString:
        """The value that a row is sorted by; what is not there comes before everything that is."""
        field = known(order.field, "sort")
        if field.kind == "state":
            return _RANK
        if field.kind in _TEXTS:
            return "COALESCE(" + field.sql + ", '')" + ' COLLATE "binary"'
        return "COALESCE(" + field.sql + ", -1)"


def sorts(query: Query) -> tuple[Order, ...]:
    """What is sorted by before the id: nothing behind it can matter."""
    names = [order.field for order in query.sort]
    return query.sort[: names.index("id")] if "id" in names else query.sort


def id_descends(query: Query) -> bool:
    """Whether of equals the newer comes first: as its own key says, else as the last one, else (in no order at all) it does."""
    named = [order.descending for order in query.sort if order.field == "id"]
    if named:
        return named[0]
    return query.sort[-1].descending if query.sort else True


def order_by(query: Query) -> LiteralString:
    """The ORDER BY of rows `m`."""
    sql: LiteralString = " ORDER BY "
    for number, order in enumerate(sorts(query)):
        sql += "m." + _KEYS[number] + (" DESC, " if order.descending else ", ")
    return sql + ("m.id DESC" if id_descends(query) else "m.id")
