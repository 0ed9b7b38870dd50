"""A raw message read back, part by part (RFC 5322, 2045, 2046). Tolerates whatever mailers and gateways have broken; never raises on odd mail.

What a stranger's message means stands in `incoming`; here is its structure only.
"""

import binascii
import re
from itertools import islice

import msgspec

from tidings.message import incoming_headers as headers
from tidings.message.incoming_charsets import decode

DEEPEST = 30
"""Levels of multiparts in one another. What lies deeper is kept as one piece, unread."""
MOST_PARTS = 1000
_MOST_FIELDS = 2000
_HEAD_BYTES = 2 << 20
"""Of one part's headers; what is beyond either is not read."""
_EOL = rb"(?:\r{0,3}\n|\r(?!\r{0,2}\n))"
"""CRLF, a bare LF or a bare CR, and CRs that a gateway has doubled."""
_LINE_END = re.compile(_EOL)
_BLANK = re.compile(_EOL + _EOL)
_FIELD = re.compile(rb"([!-9;-~]{1,200})[ \t]*:")
_KNOWN = re.compile(
    rb"(?:from|to|cc|subject|date|message-id|in-reply-to|references|received|return-path|mime-version|content-[a-z-]+|x-[a-z-]+)[ \t]*:",
    re.I,
)
_GUESS = re.compile(rb"(?:\A|[\r\n])--([^\s][^\r\n]{0,199}?)[ \t]*" + _EOL + rb"Content-", re.IGNORECASE)
_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,100}/[a-z0-9!#$&^_.+-]{1,100}")
_NEWLINE = re.compile(r"\r\n|\r")
_CHARSET_IN_HTML = re.compile(rb"""<meta[^>]{0,200}charset\s*=\s*["']?([A-Za-z0-9_:.-]{1,40})""", re.IGNORECASE)
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/=\s]")
_BOMS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


class Part(msgspec.Struct, frozen=True):
    """One entity of a message. `kind` is its type in lower case; `fields` are its headers in order, values raw and still folded.

    The body is `raw[start:end]`, shared with the whole message. `parts` is empty for anything but a multipart that was taken apart.
    """

    kind: str
    parameters: dict[str, bytes]
    fields: tuple[tuple[str, bytes], ...]
    raw: bytes
    start: int
    end: int
    parts: tuple["Part", ...] = ()

    def field(self, name: str) -> bytes | None:
        """The first header of that (lower-case) name, raw; None when there is none."""
        return next((value for key, value in self.fields if key.lower() == name), None)

    def parameter(self, name: str) -> str:
        """A parameter of its Content-Type, decoded; "" when there is none."""
        return decode(self.parameters.get(name, b""))

    def content(self) -> bytes:
        """The body with its transfer encoding undone (RFC 2045, section 6), as far as it can be."""
        body = self.raw[self.start : self.end]
        encoding = (self.field("content-transfer-encoding") or b"").strip(b" \t\"';\r\n").lower()
        if encoding == b"base64" and not (self.kind.startswith("text/") and _is_prose(body)):
            return headers.from_base64(body)
        if encoding == b"quoted-printable":
            return binascii.a2b_qp(body)
        if encoding in (b"x-uuencode", b"uuencode", b"x-uue", b"uue"):
            return _uudecoded(body)
        return body

    def text(self) -> str:
        """The body as text with LF line ends, in the charset it names, or what is likelier."""
        raw = self.content()
        for mark, charset in _BOMS:
            if raw.startswith(mark):
                return _NEWLINE.sub("\n", decode(raw, charset)).lstrip("\ufeff")
        charset = self.parameter("charset")
        if not charset and self.kind == "text/html":
            found = _CHARSET_IN_HTML.search(raw[:4096])
            charset = found[1].decode("ascii") if found else ""
        return _NEWLINE.sub("\n", decode(raw, charset))


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
    """Reads a message for showing it: the first text and the first HTML that are no attachments."""
    root = structure(raw)
    texts: dict[str, str] = {}
    for part in leaves(root):
        if part.kind in ("text/plain", "text/html") and part.kind not in texts and disposition(part) != "attachment":
            texts[part.kind] = part.text()
    shown = tuple((name, headers.text(value)) for name, value in root.fields)
    subject = headers.text(root.field("subject") or b"")
    return Parsed(subject, texts.get("text/plain", ""), texts.get("text/html", ""), shown)


def structure(raw: bytes) -> Part:
    """The message as a tree of parts, at most DEEPEST levels and about MOST_PARTS parts; what is beyond stays in one opaque piece."""
    start = len(raw) - len(raw.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n"))
    return _Reader(raw).part(start, len(raw), "text/plain", 0)


def leaves(part: Part) -> list[Part]:
    """The parts that hold something themselves, in order."""
    return [leaf for child in part.parts for leaf in leaves(child)] if part.parts else [part]


def disposition(part: Part) -> str:
    """`attachment`, `inline` or what else Content-Disposition says (RFC 2183); "" when it says nothing."""
    return headers.parameters(part.field("content-disposition") or b"")[0]


class _Reader:
    """Takes one message apart; counts the parts it has made."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._left = MOST_PARTS

    def part(self, start: int, end: int, default: str, depth: int) -> Part:
        fields, body = _fields(self._raw, start, end)
        declared = next((value for name, value in fields if name.lower() == "content-type"), b"")
        kind, parameters = headers.parameters(declared)
        if not _TYPE.fullmatch(kind):
            kind = "text/plain" if declared.strip() else default
        parts: tuple[Part, ...] = ()
        if kind.startswith("multipart/") and depth < DEEPEST:
            inner = "message/rfc822" if kind == "multipart/digest" else "text/plain"
            parts = tuple(
                self.part(first, last, inner, depth + 1) if within else _opaque(self._raw, first, last)
                for first, last, within in self._spans(body, end, parameters.get("boundary", b""))
            )
            if not parts:
                # No boundary, or one that never comes: a reader is better served by the text than by nothing.
                kind = "text/plain"
        return Part(kind, parameters, fields, self._raw, body, end, parts)

    def _spans(self, start: int, end: int, boundary: bytes) -> list[tuple[int, int, bool]]:
        """Where the parts of a multipart's body are, and whether each may still be read (False for the rest beyond MOST_PARTS)."""
        marks = self._marks(start, end, boundary.rstrip()) if boundary.strip() else []
        if not marks:
            guessed = _GUESS.search(self._raw, start, end)
            marks = self._marks(start, end, guessed[1]) if guessed else []
        spans: list[tuple[int, int, bool]] = []
        for position, (_, first, closing) in enumerate(marks):
            if closing:
                break
            over = self._left <= 0
            last = end if over or position + 1 == len(marks) else marks[position + 1][0]
            spans.append((min(first, last), last, not over))
            self._left -= 1
            if over:
                break
        return spans

    def _marks(self, start: int, end: int, boundary: bytes) -> list[tuple[int, int, bool]]:
        """The lines `--boundary`: where what precedes them ends, where what follows begins, and whether it is the closing one."""
        name = re.escape(b"--" + boundary[:1000])
        # The literal comes first, so that the search skips to it; the look-behind then wants it at the start of a line.
        line = re.compile(name + rb"(?<![^\r\n]" + name + rb")(--)?[ \t]*(?:" + _EOL + rb"|\Z)")
        found: list[tuple[int, int, bool]] = []
        for mark in islice(line.finditer(self._raw, start, end), max(self._left, 0) + 2):
            before = mark.start()
            if before > start and self._raw[before - 1 : before] == b"\n":
                before -= 1
            while start < before and mark.start() - before < 4 and self._raw[before - 1 : before] == b"\r":
                before -= 1
            found.append((before, mark.end(), mark[1] is not None))
            if mark[1] is not None:
                break
        return found


def _opaque(raw: bytes, start: int, end: int) -> Part:
    return Part("application/octet-stream", {}, (), raw, start, end)


def _fields(raw: bytes, start: int, end: int) -> tuple[tuple[tuple[str, bytes], ...], int]:
    """The header fields from `start`, and where the body begins. Lines that are no header are skipped while known headers follow."""
    first = _LINE_END.match(raw, start, end)
    if first is not None:
        return (), first.end()
    blank = _BLANK.search(raw, start, end)
    stop, body = (blank.start(), blank.end()) if blank else (end, end)
    stop = min(stop, start + _HEAD_BYTES)
    found: list[tuple[str, list[bytes]]] = []
    last_known = -1
    at = start
    while at < stop and len(found) < _MOST_FIELDS:
        eol = _LINE_END.search(raw, at, stop)
        after = eol.end() if eol else stop
        line = raw[at:after]
        field = _FIELD.match(line)
        if line[:1] in (b" ", b"\t"):
            if found:
                found[-1][1].append(line)
        elif field is not None:
            found.append((field[1].decode("ascii"), [line[field.end() :]]))
        elif not line.startswith((b"From ", b">From ")):
            last_known = _last_known(raw, at, stop) if last_known < 0 else last_known
            if at > last_known:
                return tuple((name, b"".join(lines).strip()) for name, lines in found), at
        at = after
    return tuple((name, b"".join(lines).strip()) for name, lines in found), body


def _last_known(raw: bytes, start: int, end: int) -> int:
    last = 0
    for found in _LINE_END.finditer(raw, start, end):
        if _KNOWN.match(raw, found.end(), end):
            last = found.end()
    return last


def _is_prose(body: bytes) -> bool:
    """Whether text that claims base64 is not: words with spaces between them, or characters base64 has not."""
    sample = body[:4000].strip()
    words = sum(1 for line in sample.splitlines() if b" " in line.strip())
    return bool(sample) and (words * 2 > len(sample.splitlines()) or len(_NOT_BASE64.findall(sample)) * 10 > len(sample))


def _uudecoded(body: bytes) -> bytes:
    out: list[bytes] = []
    for line in body.splitlines():
        if line.strip() == b"end":
            break
        if line.startswith(b"begin ") or not line:
            continue
        try:
            out.append(binascii.a2b_uu(line))
        except binascii.Error:
            # Some encoders leave rubbish behind the length that the first character gives.
            size = (((line[0] - 32) & 63) * 4 + 5) // 3
            try:
                out.append(binascii.a2b_uu(line[:size]))
            except binascii.Error:
                continue
    return b"".join(out)
