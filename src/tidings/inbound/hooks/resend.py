"""Mail that Resend took in: an event that only announces it, signed as Standard Webhooks are; the mail is fetched.

https://resend.com/docs/webhooks/emails/received
https://resend.com/docs/api-reference/emails/retrieve-received-email
https://resend.com/docs/webhooks/verify-webhooks-requests
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import asyncio
import binascii
import hashlib
import hmac
import re
from typing import TypeVar
from urllib.parse import urlsplit

import httpx2
import msgspec

from tidings.clock import MINUTE
from tidings.errors import Malformed, TooLarge, Unauthorized, Unavailable
from tidings.inbound import sources
from tidings.inbound.hooks import resend_events
from tidings.inbound.hooks.posted import Arrived, Pieces, Posted, addresses, completed, head, is_fresh, pieced, whole
from tidings.inbound.hooks.said import Events, record
from tidings.inbound.sources import Resend
from tidings.message import incoming, incoming_parts
from tidings.message.incoming_parts import File

S = TypeVar("S", bound=msgspec.Struct)

API = "https://api.resend.com"
WINDOW = 5 * MINUTE
"""How old a signature may be; each try is signed anew."""
TIMEOUT = 30.0
"""Seconds that fetching a mail may take altogether."""
_EVENT = "email.received"
_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
_MOST_FILES = 200


class Data(msgspec.Struct, frozen=True):
    """What the event says of the mail, as far as it is read."""

    email_id: str = ""
    to: list[str] | None = None
    cc: list[str] | None = None
    bcc: list[str] | None = None


class Event(msgspec.Struct, frozen=True):
    """What is posted."""

    type: str
    data: Data = Data()


class Download(msgspec.Struct, frozen=True):
    """Where bytes can be fetched, for an hour."""

    download_url: str


class Enclosed(msgspec.Struct, frozen=True):
    """A file of the mail."""

    id: str = ""
    filename: str | None = ""
    content_type: str | None = ""
    content_id: str | None = ""


class Email(msgspec.Struct, frozen=True):
    """The mail as Resend has read it; of headers that come more than once all values are told."""

    sender: str = msgspec.field(default="", name="from")
    to: list[str] = []
    cc: list[str] | None = None
    reply_to: list[str] | None = None
    subject: str | None = ""
    message_id: str | None = ""
    text: str | None = ""
    html: str | None = ""
    headers: dict[str, str | list[str]] | None = None
    attachments: list[Enclosed] | None = None
    raw: Download | None = None


async def read(posted: Posted, settings: Resend) -> Arrived | Events:
    """The mail, or what became of one that went out.

    Raises Unauthorized, Malformed, TooLarge, Unavailable when it cannot be fetched now (Resend announces it again).
    """
    check(posted, settings.signing_secret)
    said = record(posted.body)
    try:
        event = msgspec.convert(said.fields, Event) if said.text("type") == _EVENT else Event(said.text("type"))
    except msgspec.ValidationError as error:
        raise Malformed(f"This is no event of Resend's: {error}") from error
    if not event.type:
        raise Malformed("This is no event of Resend's: it has no type")
    if event.type != _EVENT:
        return resend_events.read(said, posted)
    if not settings.api_key:
        raise Unavailable("This inbox has no api_key, without which the mail cannot be fetched from Resend")
    if not _ID.fullmatch(event.data.email_id):
        raise Malformed("The event names no email_id")
    people = [*(event.data.to or ()), *(event.data.cc or ()), *(event.data.bcc or ())]
    reached = tuple(email for text in people for email in addresses(text))
    try:
        async with asyncio.timeout(TIMEOUT), httpx2.AsyncClient(timeout=TIMEOUT) as client:
            return await _fetched(_Api(client, API, settings.api_key), event.data.email_id, reached)
    except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError) as error:
        raise Unavailable(f"The mail cannot be fetched from Resend: {type(error).__name__}") from error


def check(posted: Posted, secret: str) -> None:
    """Raises Unauthorized unless the request is signed with this secret (`whsec_` and base64), and not too long ago."""
    key = sources.signing_key(secret)
    if key is None:
        raise Unavailable("The signing secret in this inbox's settings is none")
    named, timestamp, signatures = (
        posted.headers.get(f"svix-{name}") or posted.headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature")
    )
    signed = f"{named}.{timestamp}.".encode("utf-8", "replace") + posted.body
    wanted = b"v1," + binascii.b2a_base64(hmac.new(key, signed, hashlib.sha256).digest(), newline=False)
    if not any(hmac.compare_digest(wanted, one.encode("utf-8", "replace")) for one in signatures.split(" ")):
        raise Unauthorized("The signature is not Resend's")
    if not is_fresh(timestamp, posted.at, WINDOW):
        raise Unauthorized("The signature is too old")


class _Api:
    """Asks Resend. The key goes to the API alone: files are fetched elsewhere, from URLs that are signed."""

    def __init__(self, client: httpx2.AsyncClient, base: str, key: str) -> None:
        self._client = client
        self._base = base
        self._headers = {"authorization": f"Bearer {key}", "accept": "application/json"}

    async def ask(self, path: str, kind: type[S]) -> S:
        """The answer to a GET, as `kind`. Raises Unavailable for a refusal: the mail is announced again."""
        answer = await self._client.get(f"{self._base}/emails/receiving/{path}", headers=self._headers)
        if answer.status_code != 200:
            raise Unavailable(f"Resend answers {answer.status_code} when it is asked for the mail")
        try:
            return msgspec.json.decode(answer.content, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Unavailable(f"Resend's answer cannot be read: {error}") from error

    async def download(self, url: str) -> bytes:
        """What is there. Raises TooLarge beyond what a mail may have, Unavailable when there is nothing, or it is not asked for in secret."""
        if urlsplit(url).scheme != "https" and not url.startswith(self._base):
            raise Unavailable("Resend named an address that cannot be trusted")
        found = bytearray()
        async with self._client.stream("GET", url) as answer:
            if answer.status_code != 200:
                raise Unavailable(f"Resend's store answers {answer.status_code}")
            async for chunk in answer.aiter_bytes():
                found += chunk
                if len(found) > incoming.LARGEST:
                    raise TooLarge(f"The message is longer than {incoming.LARGEST:,} bytes (25 MiB), which are the most that is taken")
        return bytes(found)


async def _fetched(api: _Api, email_id: str, reached: tuple[str, ...]) -> Arrived:
    # with cid: pictures stay files of the mail; without, they come again within the HTML
    email = await api.ask(f"{email_id}?html_format=cid", Email)
    if email.raw is not None:
        raw = await api.download(email.raw.download_url)
        return await asyncio.to_thread(whole, raw, reached=reached, sender=None)
    files: list[File] = []
    size = 0
    for entry in (email.attachments or [])[:_MOST_FILES]:
        where = await api.ask(f"{email_id}/attachments/{_checked(entry.id)}", Download)
        content = await api.download(where.download_url)
        size += len(content)
        if size > incoming.LARGEST:
            raise TooLarge(f"The message is longer than {incoming.LARGEST:,} bytes (25 MiB), which are the most that is taken")
        files.append(incoming_parts.file(entry.filename or "", entry.content_type or "", content, entry.content_id or ""))
    pieces = Pieces(_head(email), email.text or "", email.html or "", files)
    return await asyncio.to_thread(pieced, pieces, reached=reached)


def _checked(name: str) -> str:
    if not _ID.fullmatch(name):
        raise Unavailable("Resend names a file that cannot be asked for")
    return name


def _head(email: Email) -> bytes:
    lines = [(name, value) for name, values in (email.headers or {}).items() for value in ([values] if isinstance(values, str) else values)]
    own = [
        ("From", email.sender),
        ("To", ", ".join(email.to)),
        ("Cc", ", ".join(email.cc or [])),
        ("Reply-To", ", ".join(email.reply_to or [])),
        ("Subject", email.subject or ""),
        ("Message-ID", email.message_id or ""),
    ]
    return completed(head(lines), own)
