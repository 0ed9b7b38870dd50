"""Requests with an `Idempotency-Key`: done once however often they come, each time with the same answer. Who takes one says so in its Route.

The key is claimed, the work done and its answer kept in one transaction: a request that fails keeps nothing, and one that was
committed is answered from the store, also when its first answer was lost on the way.
"""

import asyncio
import hashlib
import zlib
from collections.abc import Callable, Iterable
from typing import TypeVar

import msgspec

from tidings.api.wire import Call, Reply, Route
from tidings.database import Tx
from tidings.domain import idempotency
from tidings.domain.idempotency import Kept
from tidings.errors import Conflict, Invalid

T = TypeVar("T")

REPLAYED = "idempotency-replayed"
"""The header of an answer that was given before."""
LARGE = 1024 * 1024
"""Bytes from which a body is digested in a thread."""
_encode = msgspec.json.Encoder().encode


def guarded(route: Route) -> Route:
    """The route, answering from the store what was done before. Asked first of all: what a request names may have changed since it was done.

    A streamed body is known only when it has been received: there the handler asks, by `once`.
    """
    if not route.idempotent or route.streams:
        return route

    async def handle(call: Call) -> Reply:
        key = call.idempotency_key
        if key is not None:
            kept = await call.db.read(idempotency.find, call.tenant_id, key, now=call.now)
            if kept is not None:
                return _again(call, kept, await _digest(call, call.body))
        return await route.handler(call)

    return msgspec.structs.replace(route, handler=handle)


async def once(call: Call, unit: Callable[[Tx], T], answer: Callable[[Tx, T], Reply], *, received: bytes | None = None) -> Reply:
    """Does `unit` in one transaction and says `answer`; a repetition of the request (its key, its body) gets the same answer and does nothing.

    The answer's body is JSON or nothing. `received` stands for the body where it was streamed. Raises Conflict when the key stands for
    another request, and what the unit raises.
    """
    key = call.idempotency_key
    if key is None:
        made = await call.db.write(unit)
        return await call.db.read(answer, made)
    request = await _digest(call, call.body if received is None else received)

    def work(tx: Tx) -> Reply:
        kept = idempotency.claim(tx, call.tenant_id, key, request, now=call.now)
        if kept is not None:
            return _again(call, kept, request)
        said = answer(tx, unit(tx))
        assert not said.headers
        body = b"" if said.body is None else _encode(said.body)
        # an answer with a mail in it is mostly markup, twice
        idempotency.keep(tx, call.tenant_id, key, said.status, call.house.vault.seal(zlib.compress(body, 1)))
        return said

    return await call.db.write(work)


async def once_said(call: Call, work: Callable[[Tx], Reply], *, received: bytes | None = None) -> Reply:
    """The same for work whose answer follows from what it made, without another look at the store."""
    if call.idempotency_key is None:
        return await call.db.write(work)
    return await once(call, work, lambda _, said: said, received=received)


def _again(call: Call, kept: Kept, request: str) -> Reply:
    if kept.request != request:
        raise Conflict("This Idempotency-Key was used for another request")
    try:
        body = zlib.decompress(call.house.vault.open(kept.answer))
    except Invalid as error:
        raise Conflict("This Idempotency-Key was used before the server's secret key was changed; its answer cannot be read") from error
    return Reply(kept.status, body or None, {REPLAYED: "true"})


async def _digest(call: Call, body: bytes) -> str:
    """SHA-256 of everything that makes two requests the same: what is asked, and what the asking key may do."""
    parts = (call.method.encode(), call.target, " ".join(sorted(call.scopes)).encode(), body)
    return _digested(parts) if len(body) < LARGE else await asyncio.to_thread(_digested, parts)


def _digested(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()
