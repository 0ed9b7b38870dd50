"""What Twilio calls us for: a text that came in, and what became of one it took. Believed only when signed with the account's auth token.

https://www.twilio.com/docs/usage/security#validating-requests
https://www.twilio.com/docs/messaging/guides/webhook-request
https://www.twilio.com/docs/messaging/guides/track-outbound-message-status
"""

import base64
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from tidings.errors import Malformed, Unauthorized
from tidings.message.heard import Notice, Text
from tidings.providers.base import Callback, Heard
from tidings.providers.twilio.answers import is_hard, reason_of, worded

TWIML = b'<?xml version="1.0" encoding="UTF-8"?><Response/>'
"""The answer that asks Twilio to do nothing about it."""
_XML = "text/xml"
_FORM = "application/x-www-form-urlencoded"
_MOST_FIELDS = 500
_MOST_MEDIA = 10
_PORTS = {"http": 80, "https": 443}


def hear(callback: Callback, auth_token: str) -> Heard:
    """What a callback tells. Raises Unauthorized when it is not Twilio's, Malformed when it cannot be read."""
    signature = callback.headers.get("x-twilio-signature", "")
    if callback.headers.get("content-type", _FORM).partition(";")[0].strip().lower() != _FORM:
        if not verify_body(auth_token, callback.url, callback.body, signature):
            raise Unauthorized
        raise Malformed("This is no form: Twilio tells of messages in forms")
    try:
        # as bytes, for what is signed is what was sent, whether it is UTF-8 or not
        spelt = parse_qsl(callback.body.decode("latin-1"), keep_blank_values=True, encoding="latin-1", max_num_fields=_MOST_FIELDS)
    except ValueError as error:
        raise Malformed("The form has too many fields") from error
    pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in spelt]
    if not verify(auth_token, callback.url, pairs, signature):
        raise Unauthorized
    said = {name.decode("utf-8", "replace"): value.decode("utf-8", "replace").replace("\0", "") for name, value in pairs}
    if "MessageStatus" in said:
        notice = _notice(said, callback)
        answer = (b"", "") if callback.communication_id else (TWIML, _XML)
        return Heard((), (notice,) if notice else (), *answer)
    if callback.communication_id or not said.get("From"):
        raise Malformed("This tells neither of a text nor what became of one")
    return Heard((_text(said, callback.at),), (), TWIML, _XML)


def verify(auth_token: str, url: str, params: Iterable[tuple[bytes, bytes]], signature: str) -> bool:
    """Whether Twilio signed this request for a form: its whole URL and every field, sorted, none of them told apart from the next."""
    signed = b"".join(name + value for name, value in sorted(set(params)))
    return any(_matches(auth_token, spelling.encode() + signed, signature) for spelling in _spellings(url))


def verify_body(auth_token: str, url: str, body: bytes, signature: str) -> bool:
    """Whether Twilio signed this request with any other body, whose SHA-256 stands in the URL as `bodySHA256`."""
    told = dict(parse_qsl(urlsplit(url).query)).get("bodySHA256", "")
    if not hmac.compare_digest(hashlib.sha256(body).hexdigest().encode(), told.lower().encode()):
        return False
    return any(_matches(auth_token, spelling.encode(), signature) for spelling in _spellings(url))


def _matches(auth_token: str, signed: bytes, signature: str) -> bool:
    expected = base64.b64encode(hmac.new(auth_token.encode(), signed, hashlib.sha1).digest())
    return bool(auth_token) and hmac.compare_digest(expected, signature.encode("utf-8", "replace"))


def _spellings(url: str) -> list[str]:
    """The URL as it is, and with the usual port said or left out: Twilio signs either, by what is in front of a server."""
    parts = urlsplit(url)
    usual = _PORTS.get(parts.scheme)
    if usual is None or parts.port not in (None, usual):
        return [url]
    bare = parts.netloc.removesuffix(f":{usual}")
    return [urlunsplit(parts._replace(netloc=netloc)) for netloc in (bare, f"{bare}:{usual}")]


def _notice(said: Mapping[str, str], callback: Callback) -> Notice | None:
    """What became of a message; None for a step on its way (queued, sending, sent)."""
    sid = said.get("MessageSid") or said.get("SmsSid") or ""
    match said["MessageStatus"]:
        case "delivered" | "read":
            return Notice(sid, "delivered", callback.at, communication_id=callback.communication_id)
        case "undelivered" | "failed":
            code = said.get("ErrorCode", "")
            number = int(code) if code.isascii() and code.isdigit() and len(code) < 10 else 0
            return Notice(
                sid,
                "bounced",
                callback.at,
                hard=is_hard(number),
                reason=reason_of(number),
                code=str(number or ""),
                detail=worded(number, said.get("ErrorMessage", "")),
                communication_id=callback.communication_id,
            )
        case _:
            return None


def _text(said: Mapping[str, str], at: int) -> Text:
    sid = said.get("MessageSid") or said.get("SmsSid") or ""
    if not sid:
        raise Malformed("The text has no MessageSid")
    count = said.get("NumMedia", "0")
    media = min(int(count), _MOST_MEDIA) if count.isascii() and count.isdigit() and len(count) < 4 else 0
    urls = [url for index in range(media) if (url := said.get(f"MediaUrl{index}"))]
    lines = [said.get("Body", ""), *(f"[media] {url}" for url in urls)]
    return Text(sid, said["From"], said.get("To", ""), "\n".join(line for line in lines if line), at)
