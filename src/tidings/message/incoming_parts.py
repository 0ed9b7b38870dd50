"""Which parts of a mail are its words, and which are files that came with it."""

import re
import unicodedata

import msgspec

from tidings.message import incoming_headers as headers
from tidings.message.incoming_charsets import decode, storable
from tidings.message.parse import DEEPEST, Part, structure

_NAME_LENGTH = 200
_FORBIDDEN = re.compile('[\x00-\x1f\x7f-\x9f"*:<>?|\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]')
"""What file systems refuse, and marks of direction, with which `exe.pdf` is made of `fdp.exe`."""
_NAMES = {
    "text/plain": "text.txt", "text/html": "text.html", "text/calendar": "invite.ics", "text/vcard": "contact.vcf", "text/csv": "table.csv",
    "text/rfc822-headers": "headers.txt", "message/delivery-status": "delivery-status.txt", "message/feedback-report": "report.txt",
    "message/disposition-notification": "disposition.txt", "image/png": "image.png", "image/jpeg": "image.jpg", "image/gif": "image.gif",
    "image/webp": "image.webp", "image/svg+xml": "image.svg", "application/pdf": "document.pdf", "application/ms-tnef": "winmail.dat",
    "application/pkcs7-signature": "smime.p7s", "application/x-pkcs7-signature": "smime.p7s", "application/pkcs7-mime": "smime.p7m",
    "application/x-pkcs7-mime": "smime.p7m", "application/pgp-signature": "signature.asc", "application/pgp-encrypted": "version.txt",
    "application/zip": "archive.zip", "audio/mpeg": "audio.mp3", "video/mp4": "video.mp4",
}  # fmt: skip
_SKIPPED = frozenset({"text/x-amp-html", "text/watch-html"})
"""The same again for other readers; they stand beside text and HTML."""
_MESSAGES = frozenset({"message/rfc822", "message/global", "message/news"})
_QUOTES = re.compile(r">*")

Block = tuple[str, str]
"""A piece of the mail's words: as text, as HTML; one of them may be ""."""


class File(msgspec.Struct, frozen=True):
    """A file that came with a mail. `filename` is never empty and safe to write; `content_id` is without its brackets (RFC 2392).

    `inline` tells that the HTML shows it.
    """

    filename: str
    content_type: str
    content: bytes
    content_id: str | None = None
    inline: bool = False


def file(name: str, kind: str, content: bytes, content_id: str = "") -> File:
    """A file of a mail that somebody else has taken apart; its name made as safe as `collect` makes one, its `kind` may have parameters."""
    bare = content_id.strip().removeprefix("<").removesuffix(">")[: headers.ID_LENGTH]
    kind = headers.parameters(kind.encode())[0] or "application/octet-stream"
    return File(_safe(name) or _NAMES.get(kind, "file.bin"), kind, content, storable(bare) or None)


def collect(root: Part) -> tuple[list[Block], list[File]]:
    """The words of a mail in order, and its files. A mail that is nothing but a named text has that as its words."""
    blocks, files = _gather(root, named=not root.parts)
    return blocks, files


def _gather(part: Part, *, named: bool = False) -> tuple[list[Block], list[File]]:
    if part.kind == "multipart/alternative":
        return _alternatives(part)
    if part.parts:
        blocks: list[Block] = []
        files: list[File] = []
        for child in part.parts:
            more, others = _gather(child, named=part.kind == "multipart/related" and child is part.parts[0])
            blocks += more
            files += others
        return blocks, files
    return _leaf(part, named=named)


def _alternatives(part: Part) -> tuple[list[Block], list[File]]:
    """One block of the first text and the last, richest HTML. Images of the HTML and invitations are files."""
    texts, htmls = "", ""
    files: list[File] = []
    for child in part.parts:
        blocks, more = _gather(child, named=True)
        files += more
        plain = blocks[0][0] if len(blocks) == 1 else "\n\n".join(text.strip("\n") for text, html in blocks if text and not html)
        rich = "\n".join(html for _, html in blocks if html)
        texts = texts if texts.strip() or rich else plain
        htmls = rich or htmls
    return [(texts, htmls)], files


def _leaf(part: Part, *, named: bool) -> tuple[list[Block], list[File]]:
    if part.kind in _SKIPPED:
        return [], []
    shown, parameters = headers.parameters(part.field("content-disposition") or b"")
    filename = _filename(part, parameters)
    if part.kind in ("text/plain", "text/html") and shown != "attachment" and (named or not filename):
        text = part.text()
        return [("", text)] if part.kind == "text/html" else [(_unflowed(part, text), "")], []
    return [], [_file(part, filename)]


def _file(part: Part, filename: str) -> File:
    content = part.content()
    if part.kind in _MESSAGES and not filename:
        subject = headers.text(structure(content[:65_536]).field("subject") or b"")
        filename = _safe(f"{subject[:80].rstrip()}.eml") if subject else "message.eml"
    if part.kind.startswith("multipart/"):
        filename = filename or f"deeper than {DEEPEST} levels.txt"
    ids = headers.message_ids(part.field("content-id") or b"", 1)
    bare = headers.text(part.field("content-id") or b"").strip("<> ")[: headers.ID_LENGTH]
    return File(filename or _NAMES.get(part.kind, "file.bin"), part.kind, content, (ids[0][1:-1] if ids else bare) or None)


def _filename(part: Part, disposition: dict[str, bytes]) -> str:
    for raw in (disposition.get("filename"), part.parameters.get("name")):
        if raw:
            # Encoded words have no place in parameters (RFC 2047, section 5), and yet are what half of the mailers use.
            name = _safe(headers.words(decode(raw)))
            if name:
                return name
    return ""


def _safe(name: str) -> str:
    """The last part of a path, without characters that file systems refuse or that deceive, its ending kept when it is cut."""
    name = unicodedata.normalize("NFC", storable(name)).replace("\\", "/").rpartition("/")[2]
    name = _FORBIDDEN.sub("", name).strip(" .")
    if len(name) > _NAME_LENGTH:
        stem, dot, ending = name.rpartition(".")
        name = f"{stem[: _NAME_LENGTH - 21]}.{ending}" if dot and 0 < len(ending) <= 20 else name[:_NAME_LENGTH]
    return name


def _unflowed(part: Part, text: str) -> str:
    """`text` with the soft breaks of format=flowed undone (RFC 3676)."""
    if part.parameter("format").lower() != "flowed":
        return text
    glue = part.parameter("delsp").lower() == "yes"
    out: list[str] = []
    open_depth = -1
    for line in text.split("\n"):
        marks = _QUOTES.match(line)
        depth = marks.end() if marks else 0
        content = line[depth:].removeprefix(" ")
        if open_depth == depth and content != "-- ":
            out[-1] += content
        else:
            out.append(f"{'>' * depth} {content}" if depth else content)
        soft = content.endswith(" ") and content != "-- "
        open_depth = depth if soft else -1
        if soft and glue:
            out[-1] = out[-1][:-1]
    return "\n".join(out)
