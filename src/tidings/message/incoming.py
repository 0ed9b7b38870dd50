"""A stranger's mail read into one frozen record: who wrote what, in answer to what, with which files. Pure, and never at a loss.

Whatever is broken is mended or left out, and said in `notes`; the raw message remains the truth and is kept by whoever called.
What the mail is (an answer, a bounce) and which part of it is new is for `tidings.inbound` to tell.
"""

import re
from collections.abc import Sequence
from urllib.parse import unquote

import msgspec

from tidings.errors import TooLarge
from tidings.message import incoming_headers as headers
from tidings.message.incoming_charsets import storable
from tidings.message.incoming_html import tame
from tidings.message.incoming_parts import File, collect
from tidings.message.outgoing import Address
from tidings.message.parse import MOST_PARTS, Part, leaves, structure
from tidings.message.plaintext import from_html

LARGEST = 25 * 1024 * 1024
"""Bytes of a raw message."""
MOST_RECIPIENTS = 1000
"""Kept of each header that lists addresses."""
MOST_REFERENCES = 100
SUBJECT_LENGTH = 998
"""Characters; the longest line a header may have (RFC 5322, section 2.1.1)."""
_MOST_HEADERS = 500
_HEADER_LENGTH = 4000
_DELIVERED = ("delivered-to", "x-original-to", "envelope-to", "x-envelope-to", "x-forwarded-to", "to", "cc", "resent-to")
_CID = re.compile(r"""cid:([^"'\s<>()&]{1,500})""", re.IGNORECASE)
_NULL_PATH = re.compile(rb"\s*<\s*>")


class Incoming(msgspec.Struct, frozen=True):
    """One mail. Every address is valid and normalised, every text free of NUL and lone surrogates, with LF line ends.

    `sender.email` is "" where From (and Sender, Reply-To, Return-Path after it) name nobody. `date` is what the Date header claims, in
    milliseconds UTC, None without a valid one. Message ids stand in their angle brackets; `references` are the last MOST_REFERENCES.
    `recipients` are all addresses it may have reached us by, what the receiving server added first. `return_path` is "" for the null
    path of bounces (`<>`), None where the server kept none. `text` is made from the HTML when there is no other; `html` is balanced and
    bounded (`incoming_html`), and not sanitised. `headers` are those of the message itself, decoded.
    """

    sender: Address
    reply_to: tuple[Address, ...] = ()
    to: tuple[Address, ...] = ()
    cc: tuple[Address, ...] = ()
    recipients: tuple[str, ...] = ()
    return_path: str | None = None
    subject: str = ""
    date: int | None = None
    message_id: str | None = None
    in_reply_to: str | None = None
    references: tuple[str, ...] = ()
    # Exchange's thread (MS-OXOMSG 2.2.1.3): the first 22 bytes of this base64 are those of all its messages
    thread_index: str | None = None
    # known where the mail comes through Microsoft Graph, which tells it beside the message
    graph_conversation_id: str | None = None
    text: str = ""
    html: str = ""
    # whether `text` was made from `html`
    text_is_derived: bool = False
    files: tuple[File, ...] = ()
    content_type: str = "text/plain"
    report_type: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    size: int = 0
    notes: tuple[str, ...] = ()

    def header(self, name: str) -> str | None:
        """The first header of that name, in any case; None when there is none."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), None)


def read(raw: bytes) -> Incoming:
    """The mail in `raw` (RFC 5322 bytes, any line ends). Raises TooLarge beyond LARGEST, and nothing else."""
    if len(raw) > LARGEST:
        raise _too_large(len(raw))
    root = structure(raw)
    notes: list[str] = []
    people = {name: _people(root, name, notes) for name in dict.fromkeys(("from", "sender", "reply-to", *_DELIVERED))}
    parents = _ids(root, "in-reply-to")
    references = tuple(dict.fromkeys((*_ids(root, "references"), *parents[1:])))
    text, html, derived, files = _content(root, notes)
    path = root.field("return-path")
    return Incoming(
        sender=_sender(root, people),
        reply_to=people["reply-to"],
        to=people["to"],
        cc=people["cc"],
        recipients=tuple(dict.fromkeys(person.email for name in _DELIVERED for person in people[name])),
        return_path=None if path is None else _return_path(path),
        subject=_subject(root, notes),
        date=headers.instant(root.field("date") or b""),
        message_id=next(iter(_ids(root, "message-id")), None),
        in_reply_to=next(iter(parents), None),
        references=references[-MOST_REFERENCES:],
        thread_index=headers.text(root.field("thread-index") or b"")[:_HEADER_LENGTH].replace(" ", "") or None,
        text=text,
        html=html,
        text_is_derived=derived,
        files=files,
        content_type=root.kind,
        report_type=root.parameter("report-type").lower(),
        headers=tuple((name, headers.text(value[: 4 * _HEADER_LENGTH])[:_HEADER_LENGTH]) for name, value in root.fields[:_MOST_HEADERS]),
        size=len(raw),
        notes=tuple(notes),
    )


def assembled(head: bytes, text: str, html: str, files: Sequence[File]) -> Incoming:
    """A mail that somebody else has taken apart: its headers (RFC 5322, no body below them), its words, its files (`incoming_parts.file`).

    Raises TooLarge beyond LARGEST bytes of all of them, and nothing else.
    """
    size = len(head) + len(text) + len(html) + sum(len(file.content) for file in files)
    if size > LARGEST:
        raise _too_large(size)
    mail = read(head + b"\r\n\r\n")
    html = storable(tame(html)) if html.strip() else ""
    derived = not text.strip() and bool(html)
    text = from_html(html) if derived else storable(text).replace("\r\n", "\n").replace("\r", "\n")
    return msgspec.structs.replace(mail, text=text, html=html, text_is_derived=derived, files=_marked(html, files), size=size)


def _too_large(size: int) -> TooLarge:
    return TooLarge(f"The message is {size:,} bytes long; {LARGEST:,} bytes (25 MiB) are the most that is taken")


def _people(root: Part, name: str, notes: list[str]) -> tuple[Address, ...]:
    # A header that comes twice is against the rules for all but Delivered-To and its like; both are read.
    found: dict[str, Address] = {}
    more = False
    for key, value in root.fields:
        if key.lower() == name:
            people, cut = headers.mailboxes(value, MOST_RECIPIENTS - len(found))
            found |= {person.email: person for person in people if person.email not in found}
            more |= cut
    if more:
        notes.append(f"{name.title()} lists more than {MOST_RECIPIENTS:,} addresses; the first {MOST_RECIPIENTS:,} are kept")
    return tuple(found.values())


def _sender(root: Part, people: dict[str, tuple[Address, ...]]) -> Address:
    for name in ("from", "sender", "reply-to"):
        if people[name]:
            return people[name][0]
    path = root.field("return-path") or b""
    claimed = headers.text(root.field("from") or b"")[:300]
    back, _ = headers.mailboxes(path, 1)
    return Address(back[0].email if back else "", claimed)


def _return_path(value: bytes) -> str:
    if _NULL_PATH.match(value):
        return ""
    found, _ = headers.mailboxes(value, 1)
    return found[0].email if found else headers.text(value)[:_HEADER_LENGTH].strip("<>")


def _ids(root: Part, name: str) -> tuple[str, ...]:
    return headers.message_ids(root.field(name) or b"", MOST_REFERENCES)


def _subject(root: Part, notes: list[str]) -> str:
    subject = headers.text(root.field("subject") or b"")
    if len(subject) > SUBJECT_LENGTH:
        notes.append(f"The subject is longer than {SUBJECT_LENGTH} characters; those are kept")
    return subject[:SUBJECT_LENGTH].rstrip()


def _content(root: Part, notes: list[str]) -> tuple[str, str, bool, tuple[File, ...]]:
    """(text, html, whether the text is made from it, files)."""
    if len(leaves(root)) > MOST_PARTS:
        notes.append(f"The message has more than {MOST_PARTS:,} parts; those beyond are kept in one piece")
    blocks, files = collect(root)
    shown = [(plain, tame(html)) for plain, html in blocks if plain.strip() or html.strip()]
    html = "\n".join(rich or f'<div style="white-space: pre-wrap">{_escaped(plain)}</div>' for plain, rich in shown)
    html = storable(html) if any(rich for _, rich in shown) else ""
    texts = [plain if plain.strip() else from_html(rich) for plain, rich in shown]
    text = storable(texts[0] if len(texts) == 1 else "\n\n".join(piece.strip("\n") for piece in texts))
    return text, html, bool(shown) and not any(plain.strip() for plain, _ in shown), _marked(html, files)


def _marked(html: str, files: Sequence[File]) -> tuple[File, ...]:
    """The files, those that the HTML shows marked as such."""
    referred = {unquote(found[1]) for found in _CID.finditer(html)}
    return tuple(msgspec.structs.replace(file, inline=file.content_id is not None and file.content_id in referred) for file in files)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
