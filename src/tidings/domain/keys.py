"""API keys: a key id and a secret that stand for one tenant, with scopes. Only the secret's hash is kept."""

import hashlib
import hmac
import secrets
import string
from collections.abc import Sequence

import msgspec

from tidings.database import Tx
from tidings.domain.page import Page
from tidings.errors import Invalid

AREAS = ("contacts", "templates", "campaigns", "communications", "reports", "admin")
SCOPES = ("*", *(f"{area}:{verb}" for area in AREAS for verb in ("read", "write")))
"""What a key may be limited to; `*` is everything."""

_ALPHABET = string.ascii_letters + string.digits
_KEY_PREFIX, _SECRET_PREFIX = "tk_", "ts_"
"""Prefixes let a scanner of repositories recognise a leaked one."""
_NAME_LIMIT = 200


class Key(msgspec.Struct, frozen=True):
    """A key as it may be shown: never its secret."""

    id: int
    tenant_id: int
    key: str
    name: str
    scopes: tuple[str, ...]
    created_at: int
    revoked_at: int | None


class NewKey(msgspec.Struct, frozen=True):
    """A key just made, the only time its secret is seen. `key` and `secret` are Basic's user name and password, `token` is Bearer's."""

    id: int
    key: str
    secret: str
    token: str


class Known(msgspec.Struct, frozen=True):
    """What authentication needs of a key: whom it stands for, what it may, and the hash its secret must have.

    `watched` tells that its tenant's audit has whoever reads personal data, too.
    """

    id: int
    tenant_id: int
    name: str
    scopes: frozenset[str]
    secret_hash: str
    watched: bool = False

    def opens(self, secret: str) -> bool:
        """Whether this is its secret; takes the same time for every wrong one."""
        return hmac.compare_digest(hashed(secret), self.secret_hash)


def create(tx: Tx, tenant_id: int, *, name: str, scopes: Sequence[str], now: int) -> NewKey:
    """A new key. No scopes at all mean every scope. Raises Invalid for an unknown scope or an unprintable name."""
    wanted = tuple(dict.fromkeys(scopes)) or ("*",)
    unknown = [scope for scope in wanted if scope not in SCOPES]
    if unknown:
        raise Invalid("Unknown scope", {"scopes": [f"{scope} is not a scope; there are {', '.join(SCOPES)}" for scope in unknown]})
    if len(name) > _NAME_LIMIT or not name.isprintable():
        raise Invalid.field("name", f"must be one line of at most {_NAME_LIMIT} characters")
    # 22 and 43 letters of 62: 130 bits that name it, 256 that guard it; random enough for a plain hash
    key, secret = _KEY_PREFIX + _random(22), _SECRET_PREFIX + _random(43)
    identity = tx.value(
        """INSERT INTO api_keys (tenant_id, key, secret_hash, name, scopes, created_at)
           VALUES (:tenant_id, :key, :secret_hash, :name, :scopes, :now) RETURNING id""",
        tenant_id=tenant_id,
        key=key,
        secret_hash=hashed(secret),
        name=name,
        scopes=msgspec.json.encode(wanted).decode(),
        now=now,
    )
    return NewKey(identity, key, secret, f"{key}.{secret}")


def split(token: str) -> tuple[str, str] | None:
    """(key, secret) of a bearer token, or None when it cannot be one."""
    key, dot, secret = token.partition(".")
    return (key, secret) if dot and key and secret else None


def lookup(tx: Tx, key: str) -> Known | None:
    """The key of this name unless it was revoked; its tenant is not known before this answers."""
    row = tx.row(
        "SELECT k.id, k.tenant_id, k.name, k.scopes, k.secret_hash, t.audit_reads FROM api_keys k JOIN tenants t ON t.id = k.tenant_id"
        " WHERE k.key = :key AND k.revoked_at IS NULL",
        key=key,
    )
    if row is None:
        return None
    identity, tenant_id, name, scopes, secret_hash, watched = row
    # what is done with a key that has no name has an author all the same
    return Known(identity, tenant_id, name or key, frozenset(msgspec.json.decode(scopes, type=list[str])), secret_hash, bool(watched))


def authenticate(tx: Tx, key: str, secret: str) -> Known | None:
    """The key, when it exists, was not revoked and this is its secret."""
    known = lookup(tx, key)
    return known if known is not None and known.opens(secret) else None


def page(tx: Tx, tenant_id: int, *, limit: int, page: int) -> Page[Key]:
    """A tenant's keys, revoked ones too, newest first; `page` from 1."""
    rows = tx.rows(
        """SELECT id, tenant_id, key, name, scopes, created_at, revoked_at FROM api_keys
           WHERE tenant_id = :tenant_id ORDER BY id DESC LIMIT :limit OFFSET :offset""",
        tenant_id=tenant_id,
        limit=limit,
        offset=(page - 1) * limit,
    )
    total = tx.value("SELECT COUNT(*) FROM api_keys WHERE tenant_id = :tenant_id", tenant_id=tenant_id)
    return Page([_key(*row) for row in rows], total)


def get(tx: Tx, tenant_id: int, key_id: int) -> Key | None:
    """One key of this tenant, or None."""
    row = tx.row(
        "SELECT id, tenant_id, key, name, scopes, created_at, revoked_at FROM api_keys WHERE tenant_id = :tenant_id AND id = :key_id",
        tenant_id=tenant_id,
        key_id=key_id,
    )
    return _key(*row) if row else None


def revoke(tx: Tx, tenant_id: int, key_id: int, *, now: int) -> bool:
    """Ends a key for good; whoever caches keys is told at the commit. Answers whether there was one to end."""
    changed = tx.run(
        "UPDATE api_keys SET revoked_at = :now WHERE tenant_id = :tenant_id AND id = :key_id AND revoked_at IS NULL",
        tenant_id=tenant_id,
        key_id=key_id,
        now=now,
    )
    tx.notify("keys")
    return changed == 1


def hashed(secret: str) -> str:
    """SHA-256 in hexadecimal: secrets are random and long, a slow hash would only slow every request."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _key(identity: int, tenant_id: int, key: str, name: str, scopes: str, created_at: int, revoked_at: int | None) -> Key:
    return Key(identity, tenant_id, key, name, tuple(msgspec.json.decode(scopes, type=list[str])), created_at, revoked_at)
