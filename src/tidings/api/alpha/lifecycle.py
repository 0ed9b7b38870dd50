"""What becomes of a communication by request through alpha: canceled, sent again, commented on, deleted."""

import asyncio

import msgspec

from tidings.api.alpha.lookup import identities, identity, told
from tidings.api.alpha.records import Record
from tidings.api.idempotency import once, once_said
from tidings.api.wire import JSON, Call, Parameter, Reply, Route, no_content, ok
from tidings.database import Tx
from tidings.domain import communications, counters, enrollments
from tidings.domain.audit import Asked
from tidings.domain.communications import Deleted
from tidings.domain.counters import Tally
from tidings.errors import Invalid, Malformed, NotFound, Unavailable

LONGEST_COMMENT = 20_000
"""Characters; every reading of the record carries it."""
LAST_WORD = 0.05
"""Seconds between looks at what was being sent when it was deleted; settling rings no bell."""
PATIENCE = 60.0
"""Seconds a DELETE waits for that: longer than a provider may take."""


class Nothing(msgspec.Struct, frozen=True):
    """`{}`: it is done, and there is no more to say."""


async def cancel(call: Call) -> Reply:
    """Takes back what waits. Once it is claimed, or was never waiting, a 409."""
    communication_id = identity(call)
    return await once(
        call,
        lambda tx: _cancel(tx, call.tenant_id, communication_id, author=call.key_name, now=call.now),
        lambda tx, _: ok(told(tx, call, communication_id)),
    )


async def resend(call: Call) -> Reply:
    """Sends the same record once more, with message ids of its own. What was neither sent nor failed is a 409."""
    communication_id = identity(call)
    return await once(
        call,
        lambda tx: _resend(tx, call.tenant_id, communication_id, author=call.key_name, now=call.now),
        lambda tx, _: ok(told(tx, call, communication_id)),
    )


async def comment(call: Call) -> Reply:
    """A remark for the record's events: raw text or a JSON string."""
    communication_id = identity(call)
    remark = _remark(call.body)

    def work(tx: Tx) -> Reply:
        communications.comment(tx, call.tenant_id, communication_id, remark, author=call.key_name, now=call.now)
        return ok(Nothing())

    return await once_said(call, work)


async def delete(call: Call) -> Reply:
    """One, for good. What waits never goes out; what is being sent is waited for, so that nothing goes out after the answer."""
    if not await _gone(call, [identity(call)]):
        raise NotFound
    return no_content()


async def delete_list(call: Call) -> Reply:
    """The same for several; unknown ids are skipped."""
    if not any(text.strip() for text in call.queries("ids")):
        raise Invalid.field("ids", "is required")
    await _gone(call, identities(call))
    return no_content()


async def _gone(call: Call, ids: list[int]) -> bool:
    """Deletes them; answers whether there was anything to delete. Raises Unavailable when a provider takes too long."""
    found = False
    try:
        async with asyncio.timeout(PATIENCE):
            while ids:
                deleted = await call.db.write(_delete, call.tenant_id, ids, author=call.key_name, now=call.now, asked=call.asked)
                ids = deleted.left
                found = found or deleted.gone > 0 or bool(ids)
                if ids:
                    await asyncio.sleep(LAST_WORD)
    except TimeoutError as error:
        raise Unavailable("It is still being sent; delete it again in a while") from error
    return found


def _cancel(tx: Tx, tenant_id: int, communication_id: int, *, author: str, now: int) -> None:
    tally = Tally()
    ending = communications.cancel(tx, tenant_id, communication_id, tally, author=author, now=now)
    enrollments.complete(tx, tenant_id, [], ending, tally, now=now)
    counters.fold(tx, tally)


def _resend(tx: Tx, tenant_id: int, communication_id: int, *, author: str, now: int) -> None:
    tally = Tally()
    communications.resend(tx, tenant_id, communication_id, tally, author=author, now=now)
    counters.fold(tx, tally)


def _delete(tx: Tx, tenant_id: int, ids: list[int], *, author: str, now: int, asked: Asked) -> Deleted:
    tally = Tally()
    deleted = communications.delete(tx, tenant_id, ids, tally, author=author, now=now, asked=asked)
    enrollments.complete(tx, tenant_id, [], deleted.ending, tally, now=now)
    counters.fold(tx, tally)
    return deleted


def _remark(body: bytes) -> str:
    """The text of a comment. A body that is a JSON string means what it says; anything else is meant as it stands, be it other JSON."""
    try:
        text = body.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise Malformed("The comment is not UTF-8") from error
    text = _unquoted(text).strip() if text.startswith('"') else text
    if not text:
        raise Invalid("The comment must not be empty")
    if "\0" in text:
        raise Invalid("The comment must not contain a NUL character")
    if len(text) > LONGEST_COMMENT:
        raise Invalid(f"The comment is longer than {LONGEST_COMMENT} characters")
    return text


def _unquoted(text: str) -> str:
    try:
        return msgspec.json.decode(text, type=str)
    except msgspec.DecodeError:
        return text  # no JSON: it only begins with a quotation mark


_IDS = (Parameter("ids", "string", "ids of communications: repeated, or comma-separated; at least one", repeated=True, required=True),)

ROUTES: list[Route] = [
    Route(
        "POST",
        "/api/v1/communications/{id}/cancel",
        cancel,
        "communications:write",
        "Take back a communication that waits",
        gives=Record,
        idempotent=True,
    ),
    Route(
        "POST",
        "/api/v1/communications/{id}/resend",
        resend,
        "communications:write",
        "Send a communication again",
        gives=Record,
        idempotent=True,
    ),
    Route(
        "POST",
        "/api/v1/communications/{id}/comment",
        comment,
        "communications:write",
        "Comment on a communication",
        takes=str,
        gives=Nothing,
        reads=("text/plain", *JSON),
        idempotent=True,
    ),
    Route("DELETE", "/api/v1/communications/{id}", delete, "communications:write", "Delete a communication", status=204, audits=True),
    Route(
        "DELETE",
        "/api/v1/communications/delete-list",
        delete_list,
        "communications:write",
        "Delete several communications",
        query=_IDS,
        status=204,
        audits=True,
    ),
]
