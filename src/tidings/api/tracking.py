"""What a mail's reader touches, without a key: the pixel, the links, and the way out of further mail. Tokens are checked before anything is asked."""

import base64
import html
import re
from pathlib import Path
from string import Template
from urllib.parse import quote

from tidings.api import robots
from tidings.api.wire import Call, House, Parameter, Reply, Route
from tidings.database import Batcher, Tx
from tidings.domain import communications, enrollments, templates, tenants
from tidings.domain.communications import Due, Hit
from tidings.domain.templates import Content
from tidings.errors import NotFound
from tidings.rendering.compose import UNSUBSCRIBE_PATH
from tidings.rendering.plan import LINK_PATH, TRACK_PATH

PIXEL = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
"""A transparent GIF of one pixel, 42 bytes."""
_PIXEL_HEADERS = {"content-type": "image/gif", "cache-control": "no-store"}
_PAGE_HEADERS = {
    "content-type": "text/html; charset=utf-8",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-robots-tag": "noindex",
}
_INDEX = re.compile(r"0|[1-9][0-9]{0,5}")
_TEMPLATED = re.compile(r"\{[{%]")
_INDEXED = (Parameter("index", "integer", "the link's place in the mail, from 0", least=0, most=999_999),)
_HTML = ("text/html",)
_UNSAFE = re.compile(r"[^\x21-\x7e]+")
_USER_AGENT_LIMIT = 400
_PAGE = Template((Path(__file__).parent / "unsubscribe.html").read_text(encoding="utf-8"))


class Tracking:
    """The public routes of a house. Hits that arrive together are written together, and each is answered once it is written."""

    def __init__(self, house: House) -> None:
        self._hits: Batcher[Hit, bool] = Batcher(house.db, communications.track)

    def routes(self) -> list[Route]:
        """What is served."""
        return [
            Route("GET", TRACK_PATH + "{id}", self.track, "", "The open pixel", public=True, media=("image/gif",)),
            Route("GET", LINK_PATH + "{id}/{index}", self.link, "", "A tracked link", public=True, status=302, variables=_INDEXED),
            Route("GET", UNSUBSCRIBE_PATH + "{token}", ask, "", "The page that asks before it unsubscribes", public=True, media=_HTML),
            Route("POST", UNSUBSCRIBE_PATH + "{token}", unsubscribe, "", "Unsubscribes at once (RFC 8058)", public=True, media=_HTML),
        ]

    async def track(self, call: Call) -> Reply:
        """The pixel; an open is counted, unless only the headers were asked for. A mail that was deleted has none any more."""
        tenant_id, identity = _token(call)
        if not (
            await self._hits.add(_hit(call, tenant_id, identity))
            if call.method == "GET"
            else await call.db.read(_known, tenant_id, identity)
        ):
            raise NotFound
        return Reply(200, PIXEL, _PIXEL_HEADERS)

    async def link(self, call: Call) -> Reply:
        """Sends the reader to what was stored, never to what the request says."""
        tenant_id, identity = _token(call)
        text = call.path["index"]
        if not _INDEX.fullmatch(text):
            raise NotFound
        target = await _target(call, tenant_id, identity, int(text))
        if call.method == "GET":
            await self._hits.add(_hit(call, tenant_id, identity, link_index=int(text)))
        return Reply(302, None, {"location": _located(target), "cache-control": "no-store"})


async def ask(call: Call) -> Reply:
    """A page with one button. A link scanner that follows the link changes nothing."""
    sender, address = await call.db.read(_subject, *_unsubscriber(call))
    return _page(
        f"Unsubscribe from {sender}?",
        f"{address} will get no more of these messages from {sender}.",
        '<form method="post"><button type="submit">Unsubscribe</button></form>',
    )


async def unsubscribe(call: Call) -> Reply:
    """Done at once, by a mail program's one click (RFC 8058) and by the page's button alike; doing it again changes nothing."""
    tenant_id, identity = _unsubscriber(call)
    if not await call.db.write(enrollments.unsubscribe, tenant_id, identity, now=call.now):
        raise NotFound
    sender, address = await call.db.read(_subject, tenant_id, identity)
    return _page("You are unsubscribed", f"{address} will get no more of these messages from {sender}.", "")


def _token(call: Call) -> tuple[int, int]:
    parsed = call.house.signer.parse_communication(call.path["id"])
    if parsed is None:
        raise NotFound
    return parsed


def _unsubscriber(call: Call) -> tuple[int, int]:
    parsed = call.house.signer.parse_unsubscribe(call.path["token"])
    if parsed is None:
        raise NotFound
    return parsed


async def _target(call: Call, tenant_id: int, identity: int, index: int) -> str:
    target = await call.db.read(communications.link_target, tenant_id, identity, index)
    if target is not None and _TEMPLATED.search(target):
        # a link with the reader's own values in its address is filled in as it was when it was sent
        made = await call.db.read(_made_of, tenant_id, identity)
        target = call.house.composer.link_target(*made, index) if made is not None else None
    if target is None:
        raise NotFound
    return target


def _made_of(tx: Tx, tenant_id: int, identity: int) -> tuple[Due, Content] | None:
    due = communications.due(tx, tenant_id, identity)
    content = templates.content(tx, tenant_id, due.content_id) if due is not None else None
    return (due, content) if due is not None and content is not None else None


def _known(tx: Tx, tenant_id: int, identity: int) -> bool:
    return communications.get(tx, tenant_id, identity) is not None


def _subject(tx: Tx, tenant_id: int, identity: int) -> tuple[str, str]:
    """(who writes, to whom) for the page. Raises NotFound."""
    reader = enrollments.reader(tx, tenant_id, identity)
    if reader is None:
        raise NotFound
    return reader.sender_name or tenants.get(tx, tenant_id).name or reader.sender_email, reader.address


def _located(target: str) -> str:
    """The target as a header can carry it: what is not printable ASCII is percent-encoded, the rest stays as it was stored."""
    return _UNSAFE.sub(lambda found: quote(found.group(), safe=""), target)


def _hit(call: Call, tenant_id: int, identity: int, *, link_index: int | None = None) -> Hit:
    """A click on that link, or an open. Machines are marked and answered like everybody else."""
    agent = call.headers.get("user-agent", "").replace("\0", "")[:_USER_AGENT_LIMIT]
    visitors = call.house.visitors
    return Hit(
        tenant_id,
        identity,
        "opened" if link_index is None else "clicked",
        call.now,
        link_index=link_index,
        user_agent=visitors.agent(agent),
        ip=visitors.kept(call.client),
        bot=robots.recognise(call.headers) is not None,
    )


def _page(title: str, text: str, form: str) -> Reply:
    page = _PAGE.substitute(title=html.escape(title), text=html.escape(text), form=form)
    return Reply(200, page.encode(), _PAGE_HEADERS)
