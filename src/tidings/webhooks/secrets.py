"""What only an endpoint's owner and we know: secrets that sign (Standard Webhooks 1.0), and user names with passwords. Sealed for storage.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md#signature-scheme
"""

import base64
import hashlib
import hmac
import os

import msgspec

from tidings.domain.endpoints import Endpoint
from tidings.errors import Invalid
from tidings.signing import Vault

PREFIX = "whsec_"
LONGEST = 255
"""Characters of a user name, and of a password: they are sent with every request."""
_BYTES = 32
"""The specification wants 24 to 64."""


def new_secret() -> str:
    """A secret as its owner is shown it: `whsec_` and base64."""
    return PREFIX + base64.b64encode(os.urandom(_BYTES)).decode()


def seal(vault: Vault, secret: str) -> str:
    """A secret for the store."""
    return vault.seal(secret.encode())


def signature(secret: str, identity: str, timestamp: int, body: bytes) -> str:
    """`v1,` and the base64 of the HMAC-SHA256 of id, seconds since 1970 and body. `secret` as `new_secret` made it."""
    key = base64.b64decode(secret.removeprefix(PREFIX))
    signed = f"{identity}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def signatures(vault: Vault, endpoint: Endpoint, identity: str, body: bytes, *, now: int) -> str | None:
    """The header `webhook-signature`: one by each secret that is good now, the new one's first; None for an endpoint without any.

    Raises Invalid when the server's secret key is not the one that sealed them.
    """
    sealed = [endpoint.secret]
    if endpoint.old_until is not None and now < endpoint.old_until:
        sealed.append(endpoint.old_secret)
    found = [signature(vault.open(each).decode(), identity, now // 1000, body) for each in sealed if each is not None]
    return " ".join(found) or None


def seal_basic(vault: Vault, username: str, password: str) -> str:
    """A user name and password for the store. Raises Invalid for what HTTP's Basic cannot carry (RFC 7617, section 2)."""
    if ":" in username:
        raise Invalid.field("auth.username", "must not contain a colon")
    if max(len(username), len(password)) > LONGEST:
        raise Invalid.field("auth", f"must be a user name and a password of at most {LONGEST} characters each")
    if not (username + password).isprintable():
        raise Invalid.field("auth", "must not contain control characters")
    return vault.seal(msgspec.json.encode((username, password)))


def open_basic(vault: Vault, auth: str | None) -> tuple[str, str] | None:
    """(user name, password) of what was sealed, None for nothing. Raises Invalid when it was sealed with another key."""
    return None if auth is None else msgspec.json.decode(vault.open(auth), type=tuple[str, str])


def basic(vault: Vault, auth: str | None) -> str | None:
    """The header `authorization`, None where none is wanted."""
    known = open_basic(vault, auth)
    return None if known is None else "Basic " + base64.b64encode(":".join(known).encode()).decode()
