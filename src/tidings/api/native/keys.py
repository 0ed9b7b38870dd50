"""API keys over the API: made, listed, revoked. A key gives no more than it has."""

import msgspec

from tidings import ids
from tidings.api.idempotency import once_said
from tidings.api.wire import PAGED, Call, Reply, Route, created, instant, instant_or_none, listing, no_content, ok
from tidings.database import Tx
from tidings.domain import keys
from tidings.domain.keys import Key
from tidings.errors import Forbidden, NotFound


class NewKeyFields(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What POST takes. No scopes at all: as many as the asking key has."""

    name: str
    scopes: list[str] = []


class KeyBody(msgspec.Struct, frozen=True):
    """A key as it is shown: never its secret."""

    id: str
    key: str
    name: str
    scopes: tuple[str, ...]
    created_at: str
    revoked_at: str | None


class NewKeyBody(KeyBody, frozen=True):
    """A key just made. Secret and token are shown this once."""

    secret: str
    token: str


async def create(call: Call) -> Reply:
    """A new key of the same tenant."""
    wanted = call.json(NewKeyFields)
    scopes = wanted.scopes or sorted(call.scopes)
    beyond = [scope for scope in scopes if scope not in call.scopes and "*" not in call.scopes]
    if beyond:
        raise Forbidden(f"This key lacks {', '.join(beyond)} and cannot give it")

    def work(tx: Tx) -> Reply:
        made = keys.create(tx, call.tenant_id, name=wanted.name, scopes=scopes, now=call.now)
        shown = NewKeyBody(
            id=ids.spell("key", made.id),
            key=made.key,
            name=wanted.name,
            scopes=tuple(scopes),
            created_at=instant(call.now),
            revoked_at=None,
            secret=made.secret,
            token=made.token,
        )
        return created(shown)

    return await once_said(call, work)


async def list_keys(call: Call) -> Reply:
    """Revoked ones too, newest first."""
    page, limit = call.page_limit()
    found = await call.db.read(keys.page, call.tenant_id, limit=limit, page=page)
    return listing("keys", [_shown(key) for key in found.rows], page, limit, found.total)


async def retrieve(call: Call) -> Reply:
    """One key."""
    return ok(_shown(await _key(call)))


async def revoke(call: Call) -> Reply:
    """Ends a key; ending it again changes nothing."""
    key = await _key(call)
    await call.db.write(keys.revoke, call.tenant_id, key.id, now=call.now)
    return no_content()


async def _key(call: Call) -> Key:
    identity = ids.parse("key", call.path["id"])
    found = await call.db.read(keys.get, call.tenant_id, identity) if identity is not None else None
    if found is None:
        raise NotFound
    return found


def _shown(key: Key) -> KeyBody:
    return KeyBody(ids.spell("key", key.id), key.key, key.name, key.scopes, instant(key.created_at), instant_or_none(key.revoked_at))


ROUTES: list[Route] = [
    Route("GET", "/api/v1/keys", list_keys, "admin:read", "List API keys", gives=KeyBody, query=PAGED, lists="keys"),
    Route(
        "POST", "/api/v1/keys", create, "admin:write", "Make an API key", takes=NewKeyFields, gives=NewKeyBody, status=201, idempotent=True
    ),
    Route("GET", "/api/v1/keys/{id}", retrieve, "admin:read", "Retrieve an API key", gives=KeyBody),
    Route("DELETE", "/api/v1/keys/{id}", revoke, "admin:write", "Revoke an API key", status=204),
]
