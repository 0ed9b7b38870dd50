"""The log of a webhook over HTTP: what it was told, what came back, and saying it again."""

import msgspec

from tidings import ids
from tidings.api.idempotency import once_said
from tidings.api.native import moments
from tidings.api.wire import PAGED, Call, Parameter, Reply, Route, instant, instant_or_none, listing, ok
from tidings.domain import endpoints
from tidings.domain.endpoints import Delivery, Range
from tidings.errors import Invalid, NotFound
from tidings.webhooks.payload import KINDS, TYPES, moment
from tidings.webhooks.rules import Attempt


class AttemptAnswer(msgspec.Struct):
    """One request: `status` of the answer, null where none came; `answer` is the beginning of its body."""

    at: str
    duration_ms: int
    status: int | None
    error: str | None
    answer: str


class DeliveryAnswer(msgspec.Struct):
    """A telling. `id` is the header `webhook-id`; `state` is `waiting` (for `due_at`), `delivered` or `failed`, since `ended_at`.

    `error` is what went wrong last. `at` is when it happened.
    """

    id: str
    event: str
    communication_id: int | None
    inbound_message_id: str | None
    at: str
    state: str
    due_at: str | None
    ended_at: str | None
    attempts: int
    error: str | None
    log: list[AttemptAnswer]


class Replay(msgspec.Struct, forbid_unknown_fields=True):
    """What has failed, of what happened from `since` up to `until`, of these `events`; what is left out does not matter."""

    since: str | None = None
    until: str | None = None
    event: str | None = None


class Replayed(msgspec.Struct):
    """How many deliveries are due again."""

    replayed: int


async def index(call: Call) -> Reply:
    """Newest first."""
    page, limit = call.page_limit()
    state, identity = call.query("state"), webhook_id(call)
    if state is not None and state not in endpoints.STATES:
        raise Invalid.field("state", f"must be one of {', '.join(endpoints.STATES)}")
    event = call.query("event")
    which = Range(
        state,
        "test" if event == TYPES["test"] else _kind(event),
        moments.asked(call, "since"),
        moments.asked(call, "until"),
    )
    await call.db.read(endpoints.get, call.tenant_id, identity)
    found = await call.db.read(endpoints.deliveries, call.tenant_id, identity, which, limit=limit, page=page)
    return listing("deliveries", [shown(row) for row in found.rows], page, limit, found.total)


async def show(call: Call) -> Reply:
    """One delivery."""
    return ok(shown(await call.db.read(endpoints.delivery, call.tenant_id, webhook_id(call), _delivery_id(call))))


async def replay(call: Call) -> Reply:
    """It is due at once, whatever became of it, under the same id. 409 for a webhook that is off."""
    identity, delivery = webhook_id(call), _delivery_id(call)
    return await once_said(call, lambda tx: ok(shown(endpoints.replay(tx, call.tenant_id, identity, delivery, now=call.now))))


async def replay_failed(call: Call) -> Reply:
    """What has failed is due at once. 409 for a webhook that is off."""
    asked, identity = call.json(Replay), webhook_id(call)
    since = None if asked.since is None else moments.read(asked.since, "since")
    until = None if asked.until is None else moments.read(asked.until, "until")
    which = Range(None, _kind(asked.event), since, until)
    return await once_said(call, lambda tx: ok(Replayed(endpoints.replay_failed(tx, call.tenant_id, identity, which, now=call.now))))


def shown(row: Delivery) -> DeliveryAnswer:
    """A delivery as it is shown."""
    return DeliveryAnswer(
        id=ids.spell("delivery", row.id),
        event=TYPES[row.kind],
        communication_id=row.communication_id,
        inbound_message_id=None if row.inbound_id is None else ids.spell("inbound", row.inbound_id),
        at=moment(row.at),
        state=row.state,
        due_at=instant_or_none(row.due_at),
        ended_at=instant_or_none(row.ended_at),
        attempts=row.attempts,
        error=row.error,
        log=[
            AttemptAnswer(instant(each.at), each.ms, each.status, each.error, each.answer)
            for each in msgspec.json.decode(row.log, type=list[Attempt])
        ],
    )


def webhook_id(call: Call) -> int:
    """The webhook that the path names. Raises NotFound for no spelling of one."""
    found = ids.parse("webhook", call.path["id"])
    if found is None:
        raise NotFound("Webhook not found")
    return found


def _delivery_id(call: Call) -> int:
    found = ids.parse("delivery", call.path["delivery_id"])
    if found is None:
        raise NotFound("Delivery not found")
    return found


def _kind(event: str | None) -> str | None:
    if event is not None and event not in KINDS:
        raise Invalid.field("event", f"must be one of {', '.join(KINDS)}")
    return None if event is None else KINDS[event]


_PATH = "/api/v1/webhooks/{id}"
_QUERY = (
    *PAGED,
    Parameter("state", summary="what became of it", words=endpoints.STATES),
    Parameter("event", summary="what was told", words=(*KINDS, TYPES["test"])),
    Parameter("since", form="date-time", summary="what happened then or later"),
    Parameter("until", form="date-time", summary="what happened before"),
)

ROUTES: list[Route] = [
    Route("GET", _PATH + "/deliveries", index, "admin:read", "What it was told", gives=DeliveryAnswer, lists="deliveries", query=_QUERY),
    Route("GET", _PATH + "/deliveries/{delivery_id}", show, "admin:read", "One delivery", gives=DeliveryAnswer),
    Route(
        "POST",
        _PATH + "/deliveries/{delivery_id}/replay",
        replay,
        "admin:write",
        "Tell it again",
        gives=DeliveryAnswer,
        refuses=(409,),
        idempotent=True,
    ),
    Route(
        "POST",
        _PATH + "/replay",
        replay_failed,
        "admin:write",
        "Tell again what has failed",
        Replay,
        Replayed,
        refuses=(409,),
        idempotent=True,
    ),
]
