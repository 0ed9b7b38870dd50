"""Mail that a route of Mailgun's forwards: a form, with the whole mail in it where the URL ends in `mime`.

https://documentation.mailgun.com/docs/mailgun/user-manual/receive-forward-store/receive-http
https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/securing-webhooks
"""

import hashlib
import hmac

import msgspec

from tidings.clock import HOUR
from tidings.errors import Malformed, Unauthorized
from tidings.inbound.hooks.posted import Arrived, Pieces, Posted, addresses, completed, head, is_fresh, pieced, whole
from tidings.inbound.sources import Mailgun
from tidings.message import incoming_parts
from tidings.message.incoming_parts import File

WINDOW = 12 * HOUR
"""How old a signature may be: Mailgun tries for eight hours, and is said to sign once and for all of them."""


def read(posted: Posted, settings: Mailgun) -> Arrived:
    """The mail. Raises Unauthorized, Malformed, TooLarge."""
    check(posted, settings.signing_key)
    if posted.value("recipient") is None:
        raise Malformed("This form holds no mail: it names no recipient")
    reached = addresses(posted.text("recipient"))
    sender = posted.text("sender").strip(" <>") if posted.value("sender") is not None else None
    raw = posted.value("body-mime")
    if raw is not None:
        return whole(raw, reached=reached, sender=sender)
    if posted.value("message-url") is not None:
        raise Malformed("This was posted by the action store(), which leaves the files behind; use forward()")
    if posted.value("body-plain") is None and posted.value("body-html") is None:
        raise Malformed("This form holds no mail: neither body-plain nor body-html nor body-mime")
    lines = completed(head(_headers(posted)), [(name, posted.text(name)) for name in ("from", "subject")])
    return pieced(Pieces(lines, posted.text("body-plain"), posted.text("body-html"), _files(posted)), reached=reached, sender=sender)


def check(posted: Posted, signing_key: str) -> None:
    """Raises Unauthorized unless the form is signed with this key, and not too long ago.

    What is signed is the time and a random word, not the mail: whoever has seen one form can write others until it is too old.
    """
    check_signed(signing_key, posted.text("timestamp"), posted.text("token"), posted.text("signature"), posted.at)


def check_signed(signing_key: str, timestamp: str, token: str, signature: str, at: int) -> None:
    """Raises Unauthorized unless time and word are signed with this key, and the time is not long before `at`."""
    wanted = hmac.new(signing_key.encode(), f"{timestamp}{token}".encode("utf-8", "replace"), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(wanted.encode(), signature.encode("utf-8", "replace")):
        raise Unauthorized("The signature is not Mailgun's")
    if not is_fresh(timestamp, at, WINDOW):
        raise Unauthorized("The signature is too old")


def _headers(posted: Posted) -> list[tuple[str, str]]:
    try:
        return msgspec.json.decode(posted.value("message-headers") or b"[]", type=list[tuple[str, str]])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(f"message-headers is no list of names and values: {error}") from error


def _files(posted: Posted) -> list[File]:
    try:
        shown = msgspec.json.decode(posted.value("content-id-map") or b"{}", type=dict[str, str])
    except (msgspec.DecodeError, UnicodeDecodeError):
        # without it a picture is a file beside the text: no reason to refuse the mail
        shown = {}
    names = {field: content_id for content_id, field in shown.items()}
    return [incoming_parts.file(one.filename or "", one.kind, one.value, names.get(one.name, "")) for one in posted.files()]
