"""Who is calling: credentials out of a header, keys remembered for a moment, scopes. Nothing here knows a contract or answers anything."""

import asyncio
import base64
import binascii
import time
from collections import OrderedDict
from typing import NamedTuple

from tidings.database import Database
from tidings.domain import keys
from tidings.domain.keys import Known
from tidings.errors import Forbidden, Unauthorized

FRESH = 1.5
"""Seconds a key is believed without asking again: another process's revocation is felt within them even when no bell rings."""
REMEMBERED = 10_000

CHALLENGE = 'Bearer realm="tidings", Basic realm="tidings", charset="UTF-8"'
"""The `WWW-Authenticate` of every 401 (RFC 7617, RFC 6750)."""


class _Seen(NamedTuple):
    asked_at: float
    known: Known


class Gatekeeper:
    """Turns an `Authorization` header into a key. A key in use costs one query every FRESH seconds, however many requests it makes."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._bell = db.bell("keys")
        self._seen: OrderedDict[str, _Seen] = OrderedDict()
        self._asking: dict[str, asyncio.Task[Known | None]] = {}

    def close(self) -> None:
        """Stops listening for revocations."""
        self._db.drop_bell("keys", self._bell)

    async def admit(self, authorization: str | None, scope: str) -> Known:
        """The key behind the header. Raises Unauthorized, or Forbidden when it lacks `scope` ("" asks for none)."""
        found = credentials(authorization)
        if found is None:
            raise Unauthorized
        known = await self._find(found[0])
        if known is None or not known.opens(found[1]):
            raise Unauthorized
        if scope and "*" not in known.scopes and scope not in known.scopes:
            raise Forbidden(f"This key lacks the scope {scope}")
        return known

    async def _find(self, key: str) -> Known | None:
        if self._bell.is_set():
            self._bell.clear()
            self._seen.clear()
            self._asking.clear()
        seen = self._seen.get(key)
        if seen is not None and time.monotonic() - seen.asked_at < FRESH:
            return seen.known
        # many requests at the moment a key grows stale ask once; a client that hangs up does not spoil the others' answer
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.create_task(self._ask(key))
        return await asyncio.shield(task)

    async def _ask(self, key: str) -> Known | None:
        asked_at, task = time.monotonic(), asyncio.current_task()
        try:
            known = await self._db.read(keys.lookup, key)
        finally:
            current = self._asking.get(key) is task
            if current:
                del self._asking[key]
        if known is None:
            self._seen.pop(key, None)
        elif current:
            # a bell that rang meanwhile has cleared `_asking`: what was read before it is not remembered
            self._seen[key] = _Seen(asked_at, known)
            self._seen.move_to_end(key)
            if len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)
        return known


def credentials(authorization: str | None) -> tuple[str, str] | None:
    """(key, secret) of `Bearer <token>` or `Basic base64(key:secret)`, the scheme in any case; None for anything else."""
    scheme, _, rest = (authorization or "").strip().partition(" ")
    rest = rest.strip()
    match scheme.lower():
        case "bearer":
            found = keys.split(rest)
        case "basic":
            found = _basic(rest)
        case _:
            found = None
    # no database takes a NUL, and no key has one
    return found if found is not None and found[0].isascii() and found[0].isprintable() else None


def _basic(encoded: str) -> tuple[str, str] | None:
    try:
        text = base64.b64decode(encoded, validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return None
    key, colon, secret = text.partition(":")
    return (key, secret) if colon and key and secret else None
