"""Where carriers call: a text that came in, and what became of a message. Public; the URL's token is ours, and the carrier has to sign."""

from collections.abc import Callable
from ipaddress import ip_address
from urllib.parse import urlsplit

from tidings.api.wire import Call, Reply, Route, no_content
from tidings.domain import carriers
from tidings.errors import NotFound
from tidings.inbound import receive
from tidings.providers import registry
from tidings.providers.base import Callback
from tidings.signing import Signer

PATH = "/api/v1/callbacks/"
_LIMIT = 1024 * 1024
"""Bytes of a body: a text of ten segments is a few kilobytes."""


def addressed(public_url: str, signer: Signer) -> Callable[[int, int, int], str]:
    """Makes the URL where a provider tells what became of a communication: (tenant, provider, communication id).

    It is "" where `public_url` is a name or address of this machine or its network: a carrier refuses a message with such a URL.
    """
    public = is_public(public_url)

    def url(tenant_id: int, provider_id: int, communication_id: int) -> str:
        if not public:
            return ""
        return f"{public_url}{path(signer, tenant_id, provider_id)}/{signer.communication(tenant_id, communication_id)}"

    return url


def path(signer: Signer, tenant_id: int, provider_id: int) -> str:
    """Where a provider tells of texts that come in."""
    return PATH + signer.callback(tenant_id, provider_id)


def is_public(url: str) -> bool:
    """Whether somebody elsewhere can be expected to reach it: neither a bare name, nor one for private use, nor such an address."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    try:
        return ip_address(host).is_global
    except ValueError:
        return "." in host and not host.endswith((".localhost", ".local", ".internal", ".test", ".invalid", ".home.arpa"))


async def incoming(call: Call) -> Reply:
    """A text that came in; what became of a message that names itself too."""
    return await _hear(call, None)


async def status(call: Call) -> Reply:
    """What became of one message."""
    parsed = call.house.signer.parse_communication(call.path["communication"])
    if parsed is None:
        raise NotFound
    return await _hear(call, parsed)


async def _hear(call: Call, told_of: tuple[int, int] | None) -> Reply:
    parsed = call.house.signer.parse_callback(call.path["token"])
    if parsed is None or (told_of is not None and told_of[0] != parsed[0]):
        raise NotFound
    tenant_id, provider_id = parsed
    communication_id = told_of[1] if told_of is not None else 0
    row = await call.db.read(carriers.get, tenant_id, provider_id)
    target = call.target.decode("latin-1").removesuffix("?")
    callback = Callback(call.house.public_url + target, call.headers, call.body, call.now, communication_id)
    heard = registry.hear(call.house.vault, row, callback)
    desk = receive.Desk(call.db, call.house.store, call.house.signer, call.house.clock)
    for text in heard.texts:
        await receive.text(desk, tenant_id, f"{row.kind}:{provider_id}", text)
    for notice in heard.notices:
        await receive.notice(desk, tenant_id, provider_id, notice)
    return Reply(200, heard.answer, {"content-type": heard.media}) if heard.answer else no_content()


_FORM = ("application/x-www-form-urlencoded",)
_XML = ("text/xml",)
_REFUSES = (400, 401, 413)

ROUTES: list[Route] = [
    Route(
        "POST",
        PATH + "{token}",
        incoming,
        "",
        "A carrier tells of a text that came in",
        public=True,
        reads=_FORM,
        media=_XML,
        refuses=_REFUSES,
        limit=_LIMIT,
    ),
    Route(
        "POST",
        PATH + "{token}/{communication}",
        status,
        "",
        "A carrier tells what became of a message",
        public=True,
        status=204,
        reads=_FORM,
        refuses=_REFUSES,
        limit=_LIMIT,
    ),
]
