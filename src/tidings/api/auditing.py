"""The audit of requests: which are entered, and as what. A change has its entry in its own transaction; a read has it before it is answered.

No body, no search word and no secret is in one: ids alone say what a request was about.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from tidings import ids
from tidings.api.idempotency import REPLAYED
from tidings.api.wire import Call, House, Reply, Route
from tidings.database import Batcher, Database, Tx
from tidings.domain import audit
from tidings.domain.audit import Act, Detail

P = ParamSpec("P")
R = TypeVar("R")

PERSONAL = frozenset({"contacts", "communications", "reports"})
"""Areas whose reading is reading about people."""
MOST = 100
"""Ids that one entry names."""
_PREFIXED = {prefix.rstrip("_"): kind for kind, prefix in ids.PREFIXES.items()}


class Book:
    """Where the requests of a house are entered."""

    def __init__(self, house: House) -> None:
        self._acts: Batcher[Act, bool] = Batcher(house.db, audit.note)

    def opened(self, route: Route, call: Call) -> Database:
        """The database for the handler of an authenticated request: one that changes something is entered by its first write.
        A handler that writes its entry itself finds what to say in `call.asked`.
        """
        if route.audits:
            call.asked = audit.Asked(route.summary, route.status, call.house.visitors.kept(call.client))
        return call.db if route.audits or not is_change(route, call.method) else Entering(call.db, route, call)

    async def enter(self, route: Route, call: Call, reply: Reply) -> None:
        """Enters a request that was authenticated and is answered so, unless its change was entered with it; what is not to be entered is
        passed over. Raises Unavailable.
        """
        if route.public or route.audits or reply.status >= 400 or REPLAYED in reply.headers:
            return
        changes = is_change(route, call.method)
        done = isinstance(call.db, Entering) and call.db.entered
        if (changes and not done) or (not changes and call.watched and route.scope.partition(":")[0] in PERSONAL):
            await self._acts.add(_act(route, call, reply))


class Entering(Database):
    """The house's database for one request: the first unit that is written has the entry in its transaction, so that there is the one if and
    only if there is the other. What a handler writes before it is certain of the change goes to `call.house.db`.
    """

    def __init__(self, db: Database, route: Route, call: Call) -> None:
        super().__init__()
        self.kind, self.url, self.entered = db.kind, db.url, False
        self._db, self._route, self._call = db, route, call

    async def write(self, unit: Callable[Concatenate[Tx, P], R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """As the gate says. A unit that raises is not entered, nor is the answer of a request that was done before."""
        if self.entered:
            return await self._db.write(unit, *args, **kwargs)

        def entered(tx: Tx) -> R:
            result = unit(tx, *args, **kwargs)
            if not (isinstance(result, Reply) and REPLAYED in result.headers):
                audit.enter(tx, _act(self._route, self._call, result))
            return result

        result = await self._db.write(entered)
        self.entered = True
        return result

    async def read(self, unit: Callable[Concatenate[Tx, P], R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """As the gate says."""
        return await self._db.read(unit, *args, **kwargs)

    async def close(self) -> None:
        """Nothing: the house's database goes on."""

    async def refresh(self) -> None:
        """As the gate says."""
        await self._db.refresh()

    async def maintain(self, now: int) -> None:
        """As the gate says."""
        await self._db.maintain(now)

    def bell(self, channel: str) -> asyncio.Event:
        """The house's."""
        return self._db.bell(channel)

    def drop_bell(self, channel: str, event: asyncio.Event) -> None:
        """The house's."""
        self._db.drop_bell(channel, event)


def is_change(route: Route, method: str) -> bool:
    """Whether a request may change something: a search by POST does not."""
    return method not in {"GET", "HEAD"} and not route.scope.endswith(":read")


def _act(route: Route, call: Call, result: object) -> Act:
    """The entry of what a request did. `result` is its answer, or what its unit answered: a row that was made names itself."""
    status, body = (result.status, result.body) if isinstance(result, Reply) else (route.status, result)
    named = list(_named(route, call)) or list(_answered(route, call, body))
    subject, subject_id = named[0] if named else ("", 0)
    several = tuple(identity for kind, identity in named if kind == subject)[:MOST]
    return Act(
        tenant_id=call.tenant_id,
        at=call.now,
        author=call.key_name,
        action="change" if is_change(route, call.method) else "read",
        operation=route.summary,
        status=status,
        ip=call.house.visitors.kept(call.client),
        subject=subject,
        subject_id=subject_id,
        contact_id=next((identity for kind, identity in named if kind == "contact"), None),
        detail=Detail(ids=several) if len(several) > 1 else audit.NOTHING,
    )


def _named(route: Route, call: Call) -> Iterator[tuple[str, int]]:
    """What the path speaks of: (kind, id) of each variable segment that is an id."""
    before = ""
    for segment in route.path.split("/"):
        if segment.startswith("{"):
            text = call.path.get(segment[1:-1], "")
            known = _read(call, _singular(before), text)
            if known is not None:
                yield known
        else:
            before = segment


def _answered(route: Route, call: Call, body: object) -> Iterator[tuple[str, int]]:
    """What the answer speaks of: the row it shows, or each of several. A bare number is of the last kind that the path names."""
    kind = next((singular for part in reversed(route.path.split("/")) if (singular := _singular(part))), "")
    rows: Sequence[object] = cast(list[object], body) if isinstance(body, list) else [body]
    for row in rows[:MOST]:
        known = _read(call, kind, str(_field(row, "id") or ""))
        if known is not None:
            yield known


def _field(row: object, name: str) -> Any:
    return cast(Mapping[str, Any], row).get(name) if isinstance(row, Mapping) else getattr(row, name, None)


def _read(call: Call, kind: str, text: str) -> tuple[str, int] | None:
    """(kind, id) of an id in any of its spellings: one of ours tells its kind itself, a bare number has that of the path."""
    prefixed = _PREFIXED.get(text.partition("_")[0])
    if prefixed is not None:
        found = ids.parse(prefixed, text)
        return None if found is None else (prefixed, found)
    if ids.is_uuid(text):
        found = ids.parse_uuid(kind, text) if kind else None
        return None if found is None else (kind, found)
    number = ids.parse_int(text)
    if number is not None:
        return (kind, number) if kind else None
    signed = call.house.signer.parse_communication(text)
    return ("communication", signed[1]) if signed is not None and signed[0] == call.tenant_id else None


def _singular(segment: str) -> str:
    """The kind that a segment of a path is named after: `contacts` hold contacts."""
    return segment.removesuffix("s") if segment.endswith("s") else ""
