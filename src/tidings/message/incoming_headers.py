"""Header values as strangers write them: encoded words, parameters, mailboxes, message ids, dates. Linear in their length; never raises."""

import binascii
import calendar
import re
from datetime import datetime
from email.utils import parsedate_tz
from urllib.parse import unquote_to_bytes

from tidings.errors import Invalid
from tidings.message.address import is_plain, normalise, strip_control
from tidings.message.incoming_charsets import decode, storable
from tidings.message.outgoing import Address

ID_LENGTH = 500
"""Characters of a message id; the RFC's lines end at 998, and no mailer comes near half of that."""
_NAME_LENGTH = 300
_LONGEST_ADDRESS = 320
_MOST_ODD = 100
"""Addresses of one header that take a closer look, which costs twenty times as much as recognising a plain one."""
_HEADER_BYTES = 1 << 20
"""Of one header value; 10,000 mailboxes are half of it."""
_TEXT_BYTES = 65_536
"""Of one header value that is shown to readers."""
_FOLD = re.compile(rb"[\r\n]+(?=[ \t])")
_WORD = re.compile(r"=\?([^?\s]{1,60})\?([bBqQ])\?([^\n]{0,998}?)\?=")
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/=]+")
_MAILBOX_TOKEN = re.compile(r'=\?[^?\s]{1,60}\?[bBqQ]\?[^?]{0,998}\?=|\\.|["(),:;<>]|[^"\\(),:;<>=]+|.', re.DOTALL)
_BARE = re.compile(r"[^\s<>\"(),:;@\[\]]{1,64}@[^\s<>\"(),:;@\[\]]{1,255}")
_ID = re.compile(r"<([^<>\s]{1,498})>")
_BARE_ID = re.compile(r"[^<>\s@]{1,250}@[^<>\s@]{1,248}")
_PARAMETER = re.compile(rb"""[;\s]*([^\s=;"]{1,80})\s*=\s*("(?:[^"\\]|\\.)*"?|[^;]*)""", re.DOTALL)
_LOOSE = re.compile(rb"\s+[A-Za-z][\w-]{0,40}=")
_ESCAPED = re.compile(rb'\\(["\\])')
"""Nothing else: mailers of Windows write paths with single backslashes."""
_CONTINUED = re.compile(r"([^*]+)\*(\d{1,3})?(\*)?")
_MOST_PARAMETERS = 200


def unfolded(value: bytes) -> str:
    """A header value on one line, in Unicode; encoded words are left as they are."""
    return decode(_FOLD.sub(b"", value[:_HEADER_BYTES]))


def text(value: bytes) -> str:
    """A header value as a reader sees it: one line, encoded words decoded (RFC 2047), no control characters."""
    return _one_line(words(unfolded(value[:_TEXT_BYTES])))


def words(value: str) -> str:
    """`value` with its encoded words decoded. Neighbours in one charset are joined first: some mailers split a character."""
    if "=?" not in value:
        return value
    out: list[str] = []
    run, charset, end = b"", "", 0
    for found in _WORD.finditer(value):
        gap = value[end : found.start()]
        named = found[1].partition("*")[0].lower()
        if run and (gap.strip() or named != charset):
            out.append(decode(run, charset))
            run = b""
        if gap.strip() or not end:
            out.append(gap)
        charset, end = named, found.end()
        run += _word_bytes(found[2], found[3])
    out.append(decode(run, charset))
    return "".join(out) + value[end:]


def from_base64(raw: bytes) -> bytes:
    """Base64 as far as it goes: strange characters are skipped, what is cut off in the middle of a group is dropped."""
    kept = _NOT_BASE64.sub(b"", raw)
    pad = kept.find(b"=")
    kept = kept[:pad] if pad >= 0 else kept
    if len(kept) % 4 == 1:
        kept = kept[:-1]
    return binascii.a2b_base64(kept + b"=" * (-len(kept) % 4))


def parameters(value: bytes) -> tuple[str, dict[str, bytes]]:
    """`text/plain; charset=utf-8` as ("text/plain", {"charset": b"utf-8"}), lower-cased names, values raw but unquoted (RFC 2045).

    Continued and percent-encoded values (RFC 2231) are put together and brought to UTF-8.
    """
    value = _FOLD.sub(b"", value[:_HEADER_BYTES])
    loose = _LOOSE.search(value)
    semicolon = value.find(b";")
    cut = min((at for at in (semicolon, loose.start() if loose else -1) if at >= 0), default=len(value))
    plain: dict[str, bytes] = {}
    pieces: dict[str, dict[int, tuple[bool, bytes]]] = {}
    for count, found in enumerate(_PARAMETER.finditer(value, cut)):
        if count >= _MOST_PARAMETERS:
            break
        name, content = found[1].decode("latin-1").lower(), _unquoted(found[2].strip())
        continued = _CONTINUED.fullmatch(name)
        if continued:
            encoded = continued[3] is not None or continued[2] is None
            pieces.setdefault(continued[1], {}).setdefault(int(continued[2] or 0), (encoded, content))
        else:
            plain.setdefault(name, content)
    for name, numbered in pieces.items():
        plain[name] = _joined([numbered[number] for number in sorted(numbered)])
    return value[:cut].strip().decode("latin-1").lower(), plain


def mailboxes(value: bytes, most: int) -> tuple[list[Address], bool]:
    """The valid mailboxes among the first `most` of an address header, and whether there were more. Groups are taken apart.

    Of those that need a closer look (other scripts, what is no address at all) only the first _MOST_ODD get it.
    """
    line = unfolded(value)
    collector = _Mailboxes(most)
    for found in _MAILBOX_TOKEN.finditer(line):
        collector.take(found.group())
        if collector.full:
            return collector.found, True
    collector.close()
    if not collector.found:
        for found in _BARE.finditer(words(line)):
            collector.add(found.group(), "")
            if collector.full:
                break
    return collector.found, collector.full


def message_ids(value: bytes, most: int) -> tuple[str, ...]:
    """The ids in a Message-ID, In-Reply-To or References header as `<…>`, each once, in order; the last `most` of them.

    An id that somebody wrote without its brackets is taken too.
    """
    line = unfolded(value)
    ids = [found[1] for found in _ID.finditer(line)] or [found.group() for found in _BARE_ID.finditer(line)]
    once = dict.fromkeys(f"<{storable(name)}>" for name in ids if name.isprintable() and len(name) <= ID_LENGTH - 2)
    return tuple(once)[-most:]


def instant(value: bytes) -> int | None:
    """The milliseconds of a Date header; None for a date that is none, or lies before 1971 or after 2099."""
    try:
        parts = parsedate_tz(unfolded(value[:200]))
        if parts is None or not 1971 <= parts[0] <= 2099:
            return None
        datetime(parts[0], parts[1], parts[2], parts[3], parts[4], min(parts[5], 59))  # noqa: DTZ001  asks only whether the day exists
        offset = parts[9] or 0
        return (calendar.timegm((*parts[:6], 0, 0, 0)) - offset) * 1000 if abs(offset) < 86_400 else None
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


class _Mailboxes:
    """Puts tokens together to mailboxes: phrase <address> (comment), separated by commas."""

    def __init__(self, most: int) -> None:
        self.found: list[Address] = []
        self.full = False
        self._tried = self._odd = 0
        self._most = most
        self._quoted = False
        self._depth = 0
        self._fresh()

    def take(self, token: str) -> None:
        if self._quoted:
            self._quoted = token != '"'
            if self._quoted:
                self._phrase.append(token[1:] if len(token) == 2 and token[0] == "\\" else token)
        elif self._depth and token not in "()":
            self._comment.append(token)
        elif token in _HANDLERS:
            _HANDLERS[token](self)
        else:
            (self._phrase if self._inside is None or self._done else self._inside).append(token)

    def close(self) -> None:
        """What stands before a comma, a semicolon or the end is a mailbox, or nothing."""
        phrase, comment = "".join(self._phrase), "".join(self._comment)
        if self._inside is not None:
            self.add("".join(self._inside).rpartition(":")[2], phrase.strip() or comment)
        elif phrase.strip():
            shown = words(phrase)
            bare = _BARE.search(shown)
            if bare:
                self.add(bare.group(), (shown[: bare.start()] + shown[bare.end() :]).strip(" <>\t") or comment)
        self._fresh()

    def add(self, email: str, name: str) -> None:
        self._tried += 1
        self._odd += not is_plain(email.strip().lower())
        if self._tried > self._most or self._odd > _MOST_ODD:
            self.full = True
            return
        valid = _valid(email)
        if valid:
            shown = _one_line(words(name)).strip("\"' ")[:_NAME_LENGTH].strip()
            self.found.append(Address(valid, "" if shown.lower() == valid.lower() else shown))

    def separate(self) -> None:
        if self._inside is None or self._done:
            self.close()
        else:
            self._inside.append(",")

    def begin_group(self) -> None:
        if self._inside is not None and not self._done:
            self._inside.append(":")
        else:
            self._fresh()

    def open_angle(self) -> None:
        if self._inside is not None:
            self.close()
        self._inside = []

    def close_angle(self) -> None:
        self._done = self._inside is not None

    def quote(self) -> None:
        self._quoted = True

    def deeper(self) -> None:
        self._depth += 1

    def shallower(self) -> None:
        self._depth = max(0, self._depth - 1)

    def _fresh(self) -> None:
        self._phrase: list[str] = []
        self._comment: list[str] = []
        self._inside: list[str] | None = None
        self._done = False


_HANDLERS = {
    ",": _Mailboxes.separate, ";": _Mailboxes.separate, ":": _Mailboxes.begin_group, "<": _Mailboxes.open_angle,
    ">": _Mailboxes.close_angle, '"': _Mailboxes.quote, "(": _Mailboxes.deeper, ")": _Mailboxes.shallower,
}  # fmt: skip


def _valid(email: str) -> str:
    email = email.strip().strip("'\"")
    if not 3 <= len(email) <= _LONGEST_ADDRESS or "@" not in email or not email.isprintable():
        return ""
    try:
        return normalise(email)
    except Invalid:
        return ""


def _word_bytes(encoding: str, encoded: str) -> bytes:
    raw = encoded.encode("utf-8", "replace")
    return from_base64(raw) if encoding in "bB" else binascii.a2b_qp(raw.replace(b" ", b"_"), header=True)


def _unquoted(content: bytes) -> bytes:
    if not content.startswith(b'"'):
        return content
    return _ESCAPED.sub(rb"\1", content[1:].removesuffix(b'"'))


def _joined(pieces: list[tuple[bool, bytes]]) -> bytes:
    charset = ""
    if pieces[0][0] and pieces[0][1].count(b"'") >= 2:
        name, _, rest = pieces[0][1].split(b"'", 2)
        charset, pieces[0] = name.decode("latin-1"), (True, rest)
    raw = b"".join(unquote_to_bytes(content) if encoded else content for encoded, content in pieces)
    return decode(raw, charset).encode("utf-8", "replace")


def _one_line(value: str) -> str:
    return strip_control(storable(value))
