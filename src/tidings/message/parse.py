"""A raw message read back: subject, text, HTML and headers, for the sandbox and for showing what went out. Never raises on odd mail."""

from email import policy
from email.message import EmailMessage, Message
from email.parser import BytesParser

import msgspec

_PARSER = BytesParser(policy=policy.default)


class Parsed(msgspec.Struct, frozen=True):
    """What a reader of the message sees. `headers` are (name, decoded value) in order; text and html have bare LF line ends."""

    subject: str
    text: str
    html: str
    headers: tuple[tuple[str, str], ...]

    def header(self, name: str) -> str:
        """The first header of that name, in any case; "" when there is none."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), "")


def parse(raw: bytes) -> Parsed:
    """Reads an RFC 5322 message. A body in a charset nobody knows is read as UTF-8 with replacement characters."""
    message = _PARSER.parsebytes(raw)
    texts: dict[str, str] = {}
    for part in message.walk():
        kind = part.get_content_type()
        if kind in ("text/plain", "text/html") and kind not in texts and part.get_content_disposition() != "attachment":
            texts[kind] = _content(part)
    headers = tuple((name, str(value)) for name, value in message.items())
    return Parsed(str(message["subject"] or ""), texts.get("text/plain", ""), texts.get("text/html", ""), headers)


def _content(part: "Message[str, str] | EmailMessage") -> str:
    payload = part.get_payload(decode=True)
    raw = payload if isinstance(payload, bytes) else b""
    try:
        text = raw.decode(part.get_content_charset("utf-8"), "replace")
    except LookupError:
        text = raw.decode("utf-8", "replace")
    return text.replace("\r\n", "\n")
