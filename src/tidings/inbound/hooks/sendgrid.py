"""Mail of SendGrid's Inbound Parse: a multipart form, with the whole mail in it where "POST the raw, full MIME message" is on.

https://www.twilio.com/docs/sendgrid/for-developers/parsing-email/setting-up-the-inbound-parse-webhook
https://www.twilio.com/docs/sendgrid/for-developers/parsing-email/securing-your-parse-webhooks
"""

import binascii
from typing import TypeVar

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.hashes import SHA256

from tidings.clock import DAY
from tidings.errors import Malformed, Unauthorized, Unavailable
from tidings.inbound import sources
from tidings.inbound.hooks.posted import Arrived, Pieces, Posted, addresses, completed, is_fresh, pieced, whole
from tidings.inbound.sources import SendGrid
from tidings.message import incoming_parts
from tidings.message.incoming_charsets import decode
from tidings.message.incoming_parts import File

T = TypeVar("T")

SIGNATURE = "x-twilio-email-event-webhook-signature"
TIMESTAMP = "x-twilio-email-event-webhook-timestamp"
WINDOW = 4 * DAY
"""How old a signature may be: SendGrid tries for three days, and does not say whether it signs again."""


class Envelope(msgspec.Struct, frozen=True):
    """Who wrote to whom, as told in the SMTP dialogue; `from` is "" for bounces."""

    to: list[str] = []
    sender: str | None = msgspec.field(default=None, name="from")


class Info(msgspec.Struct, frozen=True):
    """What is known of a file beyond its content."""

    filename: str | None = ""
    name: str | None = ""
    kind: str | None = msgspec.field(default="", name="type")
    content_id: str | None = msgspec.field(default="", name="content-id")


def read(posted: Posted, settings: SendGrid) -> Arrived:
    """The mail. Raises Unauthorized, Malformed, TooLarge, Unavailable when the key in the settings is none."""
    if settings.public_key:
        check(posted, settings.public_key)
    envelope = _json(posted, "envelope", Envelope)
    reached = tuple(email for text in envelope.to for email in addresses(text))
    raw = posted.value("email")
    if raw is not None:
        return whole(raw, reached=reached, sender=envelope.sender)
    if posted.value("headers") is None:
        raise Malformed("This form holds no mail: neither headers nor email")
    charsets = _json(posted, "charsets", dict[str, str])

    def text(name: str) -> str:
        return decode(posted.value(name) or b"", charsets.get(name, "utf-8"))

    lines = completed(posted.value("headers") or b"", [(name, text(name)) for name in ("from", "to", "cc", "subject")])
    return pieced(Pieces(lines, text("text"), text("html"), _files(posted)), reached=reached, sender=envelope.sender)


def check(posted: Posted, public_key: str) -> None:
    """Raises Unauthorized unless SendGrid signed the time and the body with the key that belongs to this one (ECDSA, base64 of DER)."""
    key = sources.public_key(public_key)
    if key is None:
        raise Unavailable("The public key in this inbox's settings is none for ECDSA")
    timestamp = posted.headers.get(TIMESTAMP, "")
    try:
        signature = binascii.a2b_base64(posted.headers.get(SIGNATURE, ""))
        key.verify(signature, timestamp.encode() + posted.body, ECDSA(SHA256()))
    except (InvalidSignature, ValueError) as error:
        raise Unauthorized("The signature is not SendGrid's") from error
    if not is_fresh(timestamp, posted.at, WINDOW):
        raise Unauthorized("The signature is too old")


def _files(posted: Posted) -> list[File]:
    known = _json(posted, "attachment-info", dict[str, Info])
    files: list[File] = []
    for field in posted.files():
        info = known.get(field.name, Info())
        name = info.filename or info.name or field.filename or ""
        files.append(incoming_parts.file(name, info.kind or field.kind, field.value, info.content_id or ""))
    return files


def _json(posted: Posted, name: str, kind: type[T]) -> T:
    """A field that holds JSON, as `kind`; what an empty object is as one where the field is absent."""
    try:
        return msgspec.json.decode(posted.value(name) or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(f"{name} is not what was expected there: {error}") from error
