"""Who of a campaign should have got a message and has not, and why: counts of each reason, and the contacts page by page.

Each question reads what went wrong and what waits, by indexes that hold nothing else; never what arrived.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, LiteralString, get_args

import msgspec

from tidings.analytics import missed_sql as sql
from tidings.database import Tx
from tidings.database.gate import Param
from tidings.domain import campaigns
from tidings.domain.communications import rest
from tidings.domain.communications.rest import Reason

REASONS: Final[tuple[Reason, ...]] = get_args(Reason)
MOST = 50_000
"""Rows that are counted; where there are more, a count is the least it can be."""
LOOK = 5_000
"""Contacts that are looked at together for those who were never enrolled."""
LOOKS = 20
"""How many times that for one page: it may then be shorter than asked for, and the next one goes on."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Of which campaign, or one message of it; for which reasons; and whether those of a list, or of `everybody`, who were never enrolled."""

    campaign_id: int
    message_id: int | None = None
    reasons: frozenset[str] = frozenset(REASONS)
    list_id: int | None = None
    everybody: bool = False


class Missed(msgspec.Struct, frozen=True, kw_only=True):
    """One contact who has not got one message (None: any of them). `since` is when that came about, `due_at` when it will be sent.

    `detail` are the words of who refused it, `code` theirs too, `author` who canceled it.
    """

    contact_id: int
    email: str | None
    phone: str | None
    message_id: int | None
    reason: Reason
    since: int
    due_at: int | None = None
    detail: str | None = None
    code: str | None = None
    author: str | None = None
    communication_id: int | None = None


class Place(msgspec.Struct, frozen=True, array_like=True):
    """Where a page goes on: behind (`a`, `b`) of a stretch."""

    source: int = 0
    message_id: int = 0
    a: int = -1
    b: int = 0


class Found(msgspec.Struct, frozen=True):
    """A page, and where the next one begins: None when there is none."""

    rows: list[Missed]
    next: Place | None


class Counts(msgspec.Struct, frozen=True):
    """How many there are of each reason, each the least it can be when `complete` is False."""

    by_reason: dict[str, int]
    complete: bool


class Step(msgspec.Struct, frozen=True):
    """A message of the campaign, deleted ones too (their `position` is 0). `delay` in milliseconds."""

    id: int
    position: int
    delay: int
    name: str


class Plan(msgspec.Struct, frozen=True):
    """The campaign as far as the questions need it."""

    tenant_id: int
    asked: Asked
    state: str
    activated_at: int
    steps: tuple[Step, ...]

    def step(self, message_id: int | None) -> Step | None:
        """The message of this id, or None."""
        return next((step for step in self.steps if step.id == message_id), None)


Row = tuple[Missed, int, int]
"""Who missed it, and the place of that in its stretch."""
Source = Callable[[Tx, Plan, Place, int], list[Row]]


def plan(tx: Tx, tenant_id: int, asked: Asked) -> Plan:
    """What the other functions are asked with. Raises NotFound for an unknown campaign."""
    campaign = campaigns.get(tx, tenant_id, asked.campaign_id)
    steps = tx.all(
        Step,
        "SELECT id, CASE WHEN deleted_at IS NULL THEN position ELSE 0 END, delay, name FROM messages"
        " WHERE tenant_id = :tenant_id AND campaign_id = :campaign_id ORDER BY id",
        tenant_id=tenant_id,
        campaign_id=asked.campaign_id,
    )
    return Plan(tenant_id, asked, campaign.state, campaign.activated_at or 0, tuple(steps))


def page(tx: Tx, given: Plan, after: Place | None, *, limit: int) -> Found:
    """The next `limit` behind a place, or from the beginning. What is in motion meanwhile may be missing, or come twice."""
    rows: list[Missed] = []
    for source, message_id in _stretches(given):
        place = Place(source, message_id)
        if after is not None and (source, message_id) < (after.source, after.message_id):
            continue
        if after is not None and (source, message_id) == (after.source, after.message_id):
            place = after
        if source == _ABSENT:
            return _with_absent(tx, given, place, rows, limit)
        room = limit - len(rows)
        going: Place | None = None
        if source in _KINDS:
            found, going = _returned(tx, given, place, room + 1)
        else:
            found = _SOURCES[source](tx, given, place, room + 1)
        for missed, a, b in found[:room]:
            rows.append(missed)
            place = Place(source, message_id, a, b)
        if len(found) > room:
            return Found(rows, place)
        if going is not None:
            return Found(rows, going)
    return Found(rows, None)


def counts(tx: Tx, given: Plan) -> Counts:
    """How many there are of each reason asked for."""
    total: Counter[str] = Counter()
    room = MOST
    for source, message_id in _stretches(given):
        if source == _ABSENT:
            looked, many, _ = _count_absent(tx, given, room)
            found = [("not_enrolled", many)]
        elif source in _KINDS:
            looked, many = _count_returned(tx, given, Place(source, message_id), room)
            found = [(_KINDS[source], many)]
        else:
            found = _counted(tx, given, source, message_id, room)
            looked = sum(many for _, many in found)
        for reason, many in found:
            total[reason] += many if reason in given.asked.reasons else 0
        room -= looked
        if room <= 0:
            break
    return Counts({reason: total[reason] for reason in REASONS if total[reason]}, room > 0)


def _count_returned(tx: Tx, given: Plan, place: Place, most: int) -> tuple[int, int]:
    """How many times a carrier said so, and of how many communications it is the last word."""
    going: Place | None = place
    looked = many = 0
    while going is not None and looked < most:
        came, going = _came_back(tx, given, going, LOOK)
        looked, many = looked + (LOOK if going else len(came)), many + len(came)
    return looked, many


def _stretches(given: Plan) -> list[tuple[int, int]]:
    """What is gone through, in its order: (source, message), as far as it can give a reason that is asked for."""
    asked = given.asked
    messages = [step.id for step in given.steps if asked.message_id in (None, step.id)]
    living = any(step.position for step in given.steps if asked.message_id in (None, step.id))
    found: list[tuple[int, int]] = []
    for source, reasons in enumerate(_REASONS):
        if not asked.reasons & reasons:
            continue
        if source in _BY_MESSAGE:
            found += [(source, message_id) for message_id in messages]
        elif source == _ABSENT:
            found += [(source, 0)] if asked.list_id is not None or asked.everybody else []
        elif living or source == _WAITING:
            found.append((source, 0))
    return found


def _params(given: Plan, place: Place) -> dict[str, Param]:
    return {"tenant_id": given.tenant_id, "campaign_id": given.asked.campaign_id, "a": place.a, "reasons": sorted(given.asked.reasons)}


def _ended(tx: Tx, given: Plan, place: Place, limit: int) -> list[Row]:
    rows = tx.rows(sql.ENDED + sql.WANTED + sql.BY_ID, message_id=place.message_id, limit=limit, **_params(given, place))
    return _told(tx, given, [(row, row[0], 0) for row in rows])


def _waiting(tx: Tx, given: Plan, place: Place, limit: int) -> list[Row]:
    statement: LiteralString = sql.WAITING + sql.WANTED
    params = _params(given, place)
    if given.asked.message_id is not None:
        statement += " AND c.message_id = :message_id"
        params["message_id"] = given.asked.message_id
    rows = tx.rows(statement + sql.BY_ID, limit=limit, **params)
    return _told(tx, given, [(row, row[0], 0) for row in rows])


def _returned(tx: Tx, given: Plan, place: Place, limit: int) -> tuple[list[Row], Place | None]:
    """What came back, looked for among so many times that a carrier said so; and where to go on looking, None at the end."""
    going: Place | None = place
    rows: list[Row] = []
    # of what bounced nearly all is wanted, of what failed hardly anything: most of it never left
    for look in (100, 400, 1600, LOOK, LOOK):
        came, going = _came_back(tx, given, going or place, look)
        rows += _told(tx, given, came)
        if going is None or len(rows) >= limit:
            break
    return rows, going


def _came_back(tx: Tx, given: Plan, place: Place, look: int) -> tuple[list[tuple[tuple[Any, ...], int, int]], Place | None]:
    """The next `look` times that a carrier said so: rows of communications that this is the last word on, in the order it was said."""
    kind = _KINDS[place.source]
    came = rest.returned(tx, given.tenant_id, place.message_id, kind, after=(place.a, place.b), limit=look)
    rows = tx.rows(
        sql.RETURNED,
        tenant_id=given.tenant_id,
        campaign_id=given.asked.campaign_id,
        kind=kind,
        ids=sorted({communication_id for _, _, communication_id in came}),
    )
    stuck = {row[-1]: row[:-1] for row in rows}
    told = [(stuck[identity], at, identity) for at, identity, _ in came if identity in stuck]
    return told, Place(place.source, place.message_id, came[-1][0], came[-1][1]) if len(came) == look else None


def _told(tx: Tx, given: Plan, rows: Sequence[tuple[tuple[Any, ...], int, int]]) -> list[Row]:
    """Rows of communications, with what their history says of how it came about."""
    found = [(sql.Stuck(*row), a, b) for row, a, b in rows]
    ends: dict[int, sql.End] = {}
    for end in tx.all(sql.End, sql.ENDS, tenant_id=given.tenant_id, ids=[stuck.id for stuck, _, _ in found]):
        ends[end.communication_id] = end
    return [(_of(given, stuck, ends.get(stuck.id)), a, b) for stuck, a, b in found]


def _of(given: Plan, stuck: sql.Stuck, end: sql.End | None) -> Missed:
    waits = stuck.reason == "waiting" or stuck.due_at is not None
    canceled = stuck.reason in {"canceled", "stopped"}
    return Missed(
        contact_id=stuck.contact_id,
        email=stuck.email,
        phone=stuck.phone,
        message_id=stuck.message_id,
        reason=stuck.reason,
        since=stuck.created_at if stuck.reason == "waiting" else stuck.updated_at if end is None else end.at,
        due_at=stuck.due_at if stuck.due_at is not None and 0 < stuck.due_at < sql.PARKED else None,
        detail=sql.words(stuck, given.state, author=end.author if end is not None and canceled else None)
        if waits or canceled
        else stuck.error,
        code=stuck.error_code or (end.code if end is not None else None),
        author=end.author if end is not None and canceled else None,
        communication_id=stuck.id,
    )


def _not_due(tx: Tx, given: Plan, place: Place, limit: int) -> list[Row]:
    step = given.step(given.asked.message_id)
    position = step.position if step else max(one.position for one in given.steps)
    params = _params(given, place)
    del params["reasons"]
    rows = tx.all(sql.Walker, sql.NOT_DUE + sql.BY_DUE, b=place.b, position=position, limit=limit, **params)
    return [(_will(given, row, step), row.due_at, row.id) for row in rows]


def _will(given: Plan, row: sql.Walker, step: Step | None) -> Missed:
    """Somebody under way: the next message, or the one that is asked for and when its turn will be."""
    ahead = sorted((one for one in given.steps if one.position > row.position), key=lambda one: one.position)
    wanted = step if step is not None else ahead[0] if ahead else None
    between = [one for one in ahead[1:] if wanted is not None and one.position <= wanted.position]
    return Missed(
        contact_id=row.contact_id,
        email=row.email,
        phone=row.phone,
        message_id=None if wanted is None else wanted.id,
        reason="not_due",
        since=row.enrolled_at,
        due_at=row.due_at + sum(one.delay for one in between),
        detail="The campaign is paused." if given.state == "paused" else None,
    )


def _stopped(tx: Tx, given: Plan, place: Place, limit: int) -> list[Row]:
    params = _params(given, place)
    del params["reasons"]
    statement: LiteralString = sql.STOPPED
    if given.asked.message_id is None:
        statement += sql.NEXT
    else:
        statement += sql.CERTAIN
        params["message_id"] = given.asked.message_id
    return [
        (
            Missed(
                contact_id=row.contact_id,
                email=row.email,
                phone=row.phone,
                message_id=row.message_id,
                reason="stopped",
                since=row.completed_at,
                detail=sql.STOPPED_BY[row.stopped_by],
            ),
            row.id,
            0,
        )
        for row in tx.all(sql.Stopped, statement + sql.BY_WALK, limit=limit, **params)
    ]


def _counted(tx: Tx, given: Plan, source: int, message_id: int, most: int) -> list[tuple[str, int]]:
    """(reason, how many) of a stretch, of the first `most` of it."""
    params: dict[str, Param] = {"tenant_id": given.tenant_id, "campaign_id": given.asked.campaign_id, "a": -1, "most": most}
    statement: LiteralString
    if source == _NOT_DUE:
        step = given.step(given.asked.message_id)
        params["position"] = step.position if step else max(one.position for one in given.steps)
        params["b"] = 0
        statement = "SELECT 'not_due' AS reason FROM (" + sql.NOT_DUE + ") w"
    elif source == _STOPPED:
        statement = "SELECT 'stopped' AS reason FROM (" + sql.STOPPED
        statement += (sql.NEXT if given.asked.message_id is None else sql.CERTAIN) + ") w"
        params |= {} if given.asked.message_id is None else {"message_id": given.asked.message_id}
    else:
        inner: LiteralString = sql.ENDED if source == _ENDED else sql.WAITING
        if source == _WAITING and given.asked.message_id is not None:
            inner += " AND c.message_id = :message_id"
            params["message_id"] = given.asked.message_id
        elif source != _WAITING:
            params["message_id"] = message_id
        statement = "SELECT reason FROM (" + inner + ") w"
    return tx.rows("SELECT reason, COUNT(*) FROM (" + statement + " LIMIT :most) r GROUP BY reason", **params)


def _with_absent(tx: Tx, given: Plan, place: Place, rows: list[Missed], limit: int) -> Found:
    """Fills a page with those who were never enrolled, looking at so many contacts and no more."""
    after = max(place.a, 0)
    for _ in range(LOOKS):
        last = _last(tx, given, after)
        if last is None:
            return Found(rows, None)
        statement, params = _absent(given, after, last)
        found = tx.all(sql.Absent, statement + " ORDER BY s.id LIMIT :limit", limit=limit - len(rows), **params)
        rows += [_never(given, row) for row in found]
        if len(rows) == limit:
            return Found(rows, Place(_ABSENT, 0, found[-1].id if found else after))
        after = last
    return Found(rows, Place(_ABSENT, 0, after))


def _count_absent(tx: Tx, given: Plan, most: int) -> tuple[int, int, bool]:
    """How many contacts were looked at, how many of them were never enrolled, and whether that was everybody."""
    looked = absent = after = 0
    while looked < most:
        last = _last(tx, given, after)
        if last is None:
            return looked, absent, True
        statement, params = _absent(given, after, last)
        absent += tx.value("SELECT COUNT(*) FROM (" + statement + ") w", **params)
        looked, after = looked + LOOK, last
    return looked, absent, False


def _crowd(given: Plan) -> tuple[LiteralString, dict[str, Param]]:
    if given.asked.list_id is None:
        return sql.EVERYBODY, {"tenant_id": given.tenant_id}
    return sql.MEMBERS, {"tenant_id": given.tenant_id, "list_id": given.asked.list_id}


def _last(tx: Tx, given: Plan, after: int) -> int | None:
    source, params = _crowd(given)
    statement: LiteralString = "SELECT MAX(id) FROM (" + source + " ORDER BY id LIMIT :look) s"
    return tx.value(statement, after=after, look=LOOK, **params)


def _absent(given: Plan, after: int, last: int) -> tuple[LiteralString, dict[str, Param]]:
    source, params = _crowd(given)
    statement: LiteralString = "SELECT s.id, s.since, p.email, p.phone FROM (" + source + sql.NEVER
    return statement, params | {"after": after, "last": last, "campaign_id": given.asked.campaign_id}


def _never(given: Plan, row: sql.Absent) -> Missed:
    late = row.since > given.activated_at > 0
    return Missed(
        contact_id=row.id,
        email=row.email,
        phone=row.phone,
        message_id=given.asked.message_id,
        reason="not_enrolled",
        since=row.since,
        detail="Added after the campaign was activated." if late else "Was never enrolled.",
    )


_ENDED, _WAITING, _BOUNCED, _REJECTED, _NOT_DUE, _STOPPED, _ABSENT = range(7)
_KINDS: Final[dict[int, Literal["bounced", "failed"]]] = {_BOUNCED: "bounced", _REJECTED: "failed"}
_BY_MESSAGE = frozenset({_ENDED, _BOUNCED, _REJECTED})
_SOURCES: Final[dict[int, Source]] = {_ENDED: _ended, _WAITING: _waiting, _NOT_DUE: _not_due, _STOPPED: _stopped}
_REASONS: Final = (
    frozenset({"failed", "given_up", "no_address", "suppressed", "denied", "canceled", "stopped", "unknown"}),
    frozenset({"waiting", "unknown"}),
    frozenset({"bounced"}),
    frozenset({"failed"}),
    frozenset({"not_due"}),
    frozenset({"stopped"}),
    frozenset({"not_enrolled"}),
)
