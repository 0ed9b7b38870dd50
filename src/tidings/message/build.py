"""The bytes of a mail: header lines (RFC 5322, 2047), quoted-printable pieces (RFC 2045) that may be joined, MIME frames. Pure; no templates here."""

import base64
import binascii
import re
from collections.abc import Iterable, Sequence
from email.utils import formatdate
from functools import lru_cache

from tidings.message.outgoing import Address

_PLAIN_VALUE = re.compile(rb"[!-\-/-<>-~][ -<>-~]{0,70}")
"""Printable ASCII without `=`, short enough to share a line with its soft break, and no dot in front."""
_NEWLINE = re.compile(r"\r\n|\r|\n")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]+(?: [A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]+)*")
_FOLDABLE = re.compile(r"[!-~]{1,60}(?: [!-~]{1,60})*")
_LINE = 78
_QUOTED_LINE = 76
_WORD_BYTES = 45
"""Bytes of UTF-8 in an encoded word: 60 of base64 and 12 of frame are 72, within the 75 of RFC 2047."""
SOFT_BREAK = b"=\r\n"
VERSION = b"MIME-Version: 1.0\r\n"
"""Once, at the top of a mail (RFC 2045, section 4)."""


def quoted(text: str) -> bytes:
    r"""`text` in quoted-printable, lines at most 76, line ends CRLF; begins at a line's start, leaves off anywhere.

    No encoded line begins with a dot, so that an SMTP client has nothing to stuff.
    """
    raw = _NEWLINE.sub("\r\n", text).encode("utf-8", "replace")
    # b2a_qp breaks long lines with whatever line end the text uses, and with a bare LF when it uses none.
    encoded = binascii.b2a_qp(raw, istext=True).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    if not encoded.startswith(b".") and b"\n." not in encoded:
        return encoded
    return b"\r\n".join(_without_dot(line) for line in encoded.split(b"\r\n"))


def quoted_value(text: str) -> bytes:
    """A value for splicing between two `quoted` pieces: it stands on a line of its own, closed by a soft break."""
    raw = text.encode("utf-8", "replace")
    if not raw:
        return raw
    if _PLAIN_VALUE.fullmatch(raw):
        return raw + SOFT_BREAK
    return open_ended(quoted(text))


def open_ended(encoded: bytes) -> bytes:
    """A `quoted` piece made joinable: whatever follows it begins on a fresh line, and nothing is added to the text."""
    if not encoded or encoded.endswith(b"\r\n"):
        return encoded
    if len(encoded) - encoded.rfind(b"\n") - 1 >= _QUOTED_LINE:
        # A full line has no room for the break's `=`; its last character moves on.
        last = -3 if encoded[-3:-2] == b"=" else -1
        encoded = encoded[:last] + SOFT_BREAK + encoded[last:]
    return encoded + SOFT_BREAK


def header(name: str, text: str) -> bytes:
    """An unstructured header line (a Subject) with its CRLF, folded; encoded words where ASCII does not do. `text` must be one line."""
    return f"{name}: {_unstructured(text, len(name) + 2)}\r\n".encode("ascii")


def address_header(name: str, addresses: Iterable[Address]) -> bytes:
    """A header line of mailboxes with its CRLF, one mailbox a line where they do not fit. UTF-8 only in local parts (RFC 6532)."""
    line, lines = f"{name}:", list[str]()
    boxes = [mailbox(address) for address in addresses]
    for position, box in enumerate(boxes):
        comma = "," if position < len(boxes) - 1 else ""
        first, *folded = box.split("\r\n")
        if len(line) + len(first) + 2 > _LINE and line.strip() != f"{name}:":
            lines.append(line)
            line = ""
        line = f"{line} {first}"
        for piece in folded:
            lines.append(line)
            line = piece
        line += comma
    return ("\r\n".join([*lines, line]) + "\r\n").encode()


def lineage_headers(message_ids: Sequence[str]) -> bytes:
    """In-Reply-To and References (RFC 5322, 3.6.4) of a mail that answers the last of these Message-IDs, angle brackets included.

    References has one id a line: only a single id that is very long makes a line longer than 78.
    """
    if not message_ids:
        return b""
    references = "\r\n ".join(message_ids)
    return f"In-Reply-To: {message_ids[-1]}\r\nReferences: {references}\r\n".encode("ascii")


@lru_cache(maxsize=4096)
def mailbox(address: Address) -> str:
    """`Name <a@b>` as it stands in a header; the name quoted or in encoded words as it needs, maybe folded."""
    name = address.name
    if not name:
        return address.email
    if len(name) <= 60 and name.isascii() and name.isprintable() and "=?" not in name:
        if not _ATOMS.fullmatch(name):
            name = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
        return f"{name} <{address.email}>" if len(name) + len(address.email) <= _LINE - 16 else f"{name}\r\n <{address.email}>"
    return f"{_encoded_words(name)}\r\n <{address.email}>"


@lru_cache(maxsize=64)
def date(seconds: int) -> str:
    """A Date header's value for an instant in whole seconds, in UTC (`+0000`: `-0000` would say the zone is unknown)."""
    return formatdate(seconds, usegmt=False, localtime=False).replace("-0000", "+0000")


def content_lines(kind: str) -> bytes:
    """The header lines of a part or a whole body in quoted-printable UTF-8; `kind` is `plain` or `html`."""
    return f"Content-Type: text/{kind}; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n".encode()


def frame(boundary: str) -> tuple[bytes, bytes, bytes, bytes]:
    """A multipart/alternative of text and HTML: its header line, then what stands before the text, between the two, and after the HTML.

    A boundary with `=_` in it cannot occur in quoted-printable text (RFC 2045, section 6.7), so no body need be searched for it.
    """
    line = f'Content-Type: multipart/alternative; boundary="{boundary}"\r\n'.encode()
    mark = b"--" + boundary.encode()
    before = mark + b"\r\n" + content_lines("plain") + b"\r\n"
    between = b"\r\n" + mark + b"\r\n" + content_lines("html") + b"\r\n"
    return line, before, between, b"\r\n" + mark + b"--\r\n"


def _without_dot(line: bytes) -> bytes:
    if not line.startswith(b"."):
        return line
    # One byte becomes three; where the line has no room for them, the rest goes to a line of its own.
    if len(line) <= 74:
        return b"=2E" + line[1:]
    return b"=2E=\r\n" + _without_dot(line[1:])


def _unstructured(text: str, used: int) -> str:
    if text.isascii() and text.isprintable() and "=?" not in text:
        if len(text) + used <= _LINE and text == text.strip():
            return text
        if _FOLDABLE.fullmatch(text):
            return _folded(text.split(" "), used)
    return _encoded_words(text)


def _folded(words: list[str], used: int) -> str:
    out = [words[0]]
    width = used + len(words[0])
    for word in words[1:]:
        if width + 1 + len(word) > _LINE:
            out.append("\r\n")
            width = 0
        out.append(" " + word)
        width += 1 + len(word)
    return "".join(out)


def _encoded_words(text: str) -> str:
    words: list[str] = []
    chunk = b""
    for char in text:
        encoded = char.encode("utf-8", "replace")
        if len(chunk) + len(encoded) > _WORD_BYTES:
            words.append(_encoded_word(chunk))
            chunk = b""
        chunk += encoded
    words.append(_encoded_word(chunk))
    return "\r\n ".join(words)


def _encoded_word(chunk: bytes) -> str:
    return f"=?utf-8?b?{base64.b64encode(chunk).decode()}?="
