"""The bytes of a file inside a mail: its MIME part in base64 (RFC 2045), its name (RFC 2183, 2231), and the frame around body and files. Pure."""

import binascii
import re
import unicodedata
from collections.abc import Iterable

BOUNDARY = "=_tidings-mixed"
"""`=_` occurs in no base64 and in no quoted-printable text (RFC 2045, section 6.7), and no body's own boundary begins like this one."""
_LINE = 76
_STEP = _LINE * 4096
_PIECE = 60
"""Characters of one section of a long name; a line with its header's fold stays below 78."""
_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_TYPE = re.compile(rf'{_TOKEN}/{_TOKEN}(?:\s*;\s*{_TOKEN}=(?:{_TOKEN}|"[ !#-\[\]-~]*"))*')
_LONGEST_TYPE = 200
_PLAIN_NAME = re.compile(r"(?!.*=\?)[ -~]{1,60}")
"""Short, printable ASCII, and nothing that readers take for an encoded word (RFC 2047), which they do inside quotes too."""
_SAFE = frozenset(b"!#$&+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_NAME_PARAMETER = re.compile(r";\s*name\*?[0-9*]*=", re.IGNORECASE)


def is_content_type(text: str) -> bool:
    """Whether `text` is a media type as a header may carry it: type/subtype and parameters (RFC 2045, section 5.1), no comments."""
    return len(text) <= _LONGEST_TYPE and _TYPE.fullmatch(text) is not None


def part(filename: str, content_type: str, data: bytes) -> bytes:
    """One file as a body part, from its first header line to the last line of its base64, all lines ended.

    `content_type` must be one (`is_content_type`). A message or a multipart may not be sent as base64 (RFC 2046, section 5.2.1), and base64
    alone keeps every byte: such a file goes as a stream of octets and keeps its name.
    """
    kind = content_type if _may_be_base64(content_type) else "application/octet-stream"
    # whoever reads only the older place of a name finds there what ASCII can say of it
    name = "" if _NAME_PARAMETER.search(kind) else f';\r\n name="{_escaped(ascii_name(filename))}"'
    head = (
        f"Content-Type: {kind}{name}\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment{disposition(filename)}\r\n\r\n"
    )
    return head.encode("ascii") + _base64_lines(data)


def mixed(line: bytes, body: bytes, parts: Iterable[bytes]) -> list[bytes]:
    """A body (`line` are its Content- header lines) and files as multipart/mixed, in pieces to be joined: from its Content-Type line on."""
    mark = b"--" + BOUNDARY.encode()
    kind = f'Content-Type: multipart/mixed; boundary="{BOUNDARY}"\r\n\r\n'.encode()
    pieces = [kind, mark, b"\r\n", line, b"\r\n", body, b"\r\n"]
    for piece in parts:
        pieces += [mark, b"\r\n", piece]
    pieces += [mark, b"--\r\n"]
    return pieces


def disposition(filename: str) -> str:
    """The `filename` parameter with the semicolon and fold before it; in UTF-8 sections (RFC 2231) where plain ASCII does not do."""
    if _PLAIN_NAME.fullmatch(filename):
        return f';\r\n filename="{_escaped(filename)}"'
    pieces, piece = list[str](), "utf-8''"
    for byte in filename.encode("utf-8", "replace"):
        character = chr(byte) if byte in _SAFE else f"%{byte:02X}"
        if len(piece) + len(character) > _PIECE:
            pieces.append(piece)
            piece = ""
        piece += character
    if not pieces:
        return f";\r\n filename*={piece}"
    return "".join(f";\r\n filename*{number}*={text}" for number, text in enumerate([*pieces, piece]))


def ascii_name(filename: str) -> str:
    """The name in at most 60 characters of ASCII, its ending kept, for those who understand nothing else: `Übersicht.pdf` is `Ubersicht.pdf`."""
    flat = unicodedata.normalize("NFKD", filename).encode("ascii", "ignore").decode()
    flat = "".join(character for character in flat if character.isprintable()).replace("=?", "__").strip()
    stem, dot, ending = flat.rpartition(".")
    if not dot:
        stem, ending = flat, ""
    ending = f"{dot}{ending}"[:16]
    return (stem.strip() or "file")[: 60 - len(ending)] + ending


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _may_be_base64(content_type: str) -> bool:
    return content_type.partition("/")[0].lower() not in {"message", "multipart"}


def _base64_lines(data: bytes) -> bytes:
    """In steps, so that other threads get their turn while a large file is encoded."""
    pieces: list[bytes] = []
    step = _STEP // 4 * 3
    for start in range(0, len(data), step):
        encoded = binascii.b2a_base64(data[start : start + step], newline=False)
        pieces += [encoded[at : at + _LINE] for at in range(0, len(encoded), _LINE)]
    # the last element ends the last line
    return b"\r\n".join([*pieces, b""])
