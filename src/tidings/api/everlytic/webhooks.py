"""everlytic's webhooks: telling an address of what happens to text messages. They are endpoints like all others, in everlytic's words."""

from typing import Any, Literal, cast

import msgspec

from tidings import ids
from tidings.api import idempotency
from tidings.api.everlytic.reports import read
from tidings.api.wire import Call, Reply, Route, ok
from tidings.database import Tx
from tidings.domain import endpoints
from tidings.domain.endpoints import Endpoint, Filters, New
from tidings.errors import Invalid
from tidings.webhooks import address, secrets

Type = Literal["sent", "delivered", "failed", "reply", "unsubscribe"]
Verb = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Status = Literal["enabled", "disabled"]
TYPES = ("sent", "delivered", "failed", "reply", "unsubscribe")
VERBS = ("GET", "POST", "PUT", "PATCH", "DELETE")
STATUSES = ("enabled", "disabled")
_LONGEST = 255


class Details(msgspec.Struct, frozen=True):
    """Whom we say we are: Basic authentication (RFC 7617), so a username has no colon."""

    username: str
    password: str


class Webhook(msgspec.Struct, frozen=True):
    """What is asked for. `verb` is taken in any case."""

    event_types: list[Type]
    verb: str
    url: str
    auth_details: Details | None = None
    auth_type: Literal["basic"] | None = None
    status: Status | None = "enabled"


class Creation(msgspec.Struct, frozen=True):
    """The body."""

    webhook: Webhook


class Named(msgspec.Struct, frozen=True):
    """Details as they may be shown."""

    username: str


class Made(msgspec.Struct, frozen=True):
    """A webhook as it is shown; `id` is a UUID."""

    id: str
    event_types: list[Type]
    verb: Verb
    url: str
    auth_details: Named | None
    auth_type: Literal["basic"] | None
    status: Status


class Created(msgspec.Struct, frozen=True):
    """What success looks like."""

    status: Literal["success"]
    message: str
    data: Made


async def create(call: Call) -> Reply:
    """Makes a webhook for text messages."""
    wanted = _wanted(read(call.body), allow_private=call.house.allow_private)
    details = wanted.auth_details
    new = New(
        url=wanted.url,
        kinds=endpoints.everlytic_kinds(list(wanted.event_types)),
        style="everlytic",
        verb=cast(Verb, wanted.verb),
        filters=Filters(channel="sms"),
        auth=secrets.seal_basic(call.house.vault, details.username, details.password) if details else None,
        enabled=wanted.status == "enabled",
    )

    def made(tx: Tx) -> Reply:
        return ok(Created("success", "Webhook created.", _shown(endpoints.create(tx, call.tenant_id, new, now=call.now), wanted)))

    return await idempotency.once_said(call, made)


def _shown(endpoint: Endpoint, wanted: Webhook) -> Made:
    return Made(
        id=ids.uuid("webhook", endpoint.id),
        event_types=wanted.event_types,
        verb=endpoint.verb,
        url=endpoint.url,
        auth_details=Named(wanted.auth_details.username) if wanted.auth_details else None,
        auth_type="basic" if wanted.auth_details else None,
        status="enabled" if endpoint.disabled_at is None else "disabled",
    )


def _wanted(body: dict[str, Any], *, allow_private: bool) -> Webhook:
    """Raises Invalid: of all that is wrong the first, in the order of the fields of `Webhook`."""
    given = body.get("webhook")
    if given is None:
        raise Invalid("webhook is required")
    if not isinstance(given, dict):
        raise Invalid("webhook must be an object")
    fields = cast(dict[str, Any], given)
    return Webhook(
        event_types=_types(fields.get("event_types")),
        verb=_verb(fields.get("verb")),
        url=address.check(_text(fields.get("url"), "url"), allow_private=allow_private),
        auth_details=_details(fields),
        auth_type=_auth_type(fields),
        status=cast(Status, _word("enabled" if fields.get("status") is None else fields["status"], "status", STATUSES)),
    )


def _types(given: Any) -> list[Type]:
    if given is None:
        raise Invalid("event_types is required")
    if not isinstance(given, list) or not given:
        raise Invalid(f"event_types must be a list of one or more of {', '.join(TYPES)}")
    words = [_word(word, "event_types", TYPES) for word in cast(list[Any], given)]
    return [cast(Type, word) for word in dict.fromkeys(words)]


def _verb(given: Any) -> str:
    return _word(_text(given, "verb").upper(), "verb", VERBS)


def _details(fields: dict[str, Any]) -> Details | None:
    given = fields.get("auth_details")
    if given is None:
        return None
    if not isinstance(given, dict):
        raise Invalid("auth_details must be an object")
    details = cast(dict[str, Any], given)
    username, password = _text(details.get("username"), "auth_details.username"), _text(details.get("password"), "auth_details.password")
    if ":" in username:
        raise Invalid("auth_details.username must not contain a colon")
    for name, text in (("username", username), ("password", password)):
        if len(text) > _LONGEST or not text.isprintable():
            raise Invalid(f"auth_details.{name} must be one line of at most {_LONGEST} characters")
    return Details(username, password)


def _auth_type(fields: dict[str, Any]) -> Literal["basic"] | None:
    given, details = fields.get("auth_type"), fields.get("auth_details")
    if given is None:
        if details is not None:
            raise Invalid("auth_type is required with auth_details")
        return None
    if given != "basic":
        raise Invalid("auth_type must be basic")
    if details is None:
        raise Invalid("auth_details is required with auth_type")
    return "basic"


def _text(given: Any, name: str) -> str:
    if given is None or given == "":
        raise Invalid(f"{name} is required")
    if not isinstance(given, str):
        raise Invalid(f"{name} must be text")
    return given


def _word(given: Any, name: str, words: tuple[str, ...]) -> str:
    if not isinstance(given, str) or given not in words:
        raise Invalid(f"{name} must be one of {', '.join(words)}")
    return given


ROUTES: list[Route] = [
    Route(
        "POST",
        "/api/2.0/production/sms/webhooks/create",
        create,
        "admin:write",
        "Tell an address of what happens to text messages",
        takes=Creation,
        gives=Created,
        idempotent=True,
    )
]
