"""DKIM signatures (RFC 6376, relaxed/relaxed): rsa-sha256 and ed25519-sha256 (RFC 8463), over messages already built."""

import base64
import hashlib
import re
from collections.abc import Iterator

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tidings.errors import Invalid

_SIGNED = tuple(
    name.encode()
    for name in (
        "from to cc reply-to subject date message-id in-reply-to references mime-version content-type content-transfer-encoding "
        "list-unsubscribe list-unsubscribe-post"
    ).split()
)
_SPACES = re.compile(rb"[ \t]+")
_LINE_SPACES = re.compile(rb"[ \t]+(?=\r\n)")
_FOLD = re.compile(rb"\r\n(?=[ \t])")
_LARGE = 1024 * 1024
_PIECE = 64 * 1024
_WIDTH = 72


class Signature:
    """A domain's key. `signed` puts the DKIM-Signature line in front of a message. Raises Invalid for a key that cannot be used."""

    def __init__(self, domain: str, selector: str, private_key: str) -> None:
        try:
            key = load_pem_private_key(private_key.encode(), password=None)
        except (ValueError, TypeError) as error:
            raise Invalid(f"The DKIM key of {domain} is not an unencrypted PEM private key") from error
        if not isinstance(key, RSAPrivateKey | Ed25519PrivateKey):
            raise Invalid(f"The DKIM key of {domain} is neither RSA nor Ed25519")
        self._key = key
        self._algorithm = "rsa-sha256" if isinstance(key, RSAPrivateKey) else "ed25519-sha256"
        self._domain = domain
        self._selector = selector

    def signed(self, raw: bytes, seconds: int) -> bytes:
        """`raw` (CRLF line ends) with its signature in front; `seconds` since 1970 is the time in `t=`."""
        head, _, body = raw.partition(b"\r\n\r\n")
        fields = _fields(head)
        covered = [name for name in _SIGNED if name in fields]
        digest = base64.b64encode(hashlib.sha256(relaxed_body(body)).digest()).decode()
        # From is named once more than it occurs, so that nobody can add a second one (RFC 6376, section 8.15).
        names = ":".join(name.decode() for name in [*covered, b"from"])
        line = (
            f"DKIM-Signature: v=1; a={self._algorithm}; c=relaxed/relaxed; d={self._domain};\r\n s={self._selector}; t={seconds};\r\n"
            f" h={_folded(names, ':')};\r\n bh={digest};\r\n b="
        ).encode()
        hashed = b"".join(relaxed_header(fields[name]) + b"\r\n" for name in covered) + relaxed_header(line)
        signature = base64.b64encode(self._sign(hashed)).decode()
        return line + "\r\n ".join(signature[at : at + _WIDTH] for at in range(0, len(signature), _WIDTH)).encode() + b"\r\n" + raw

    def _sign(self, hashed: bytes) -> bytes:
        if isinstance(self._key, RSAPrivateKey):
            return self._key.sign(hashed, PKCS1v15(), hashes.SHA256())
        # RFC 8463: Ed25519 signs the SHA-256 of the data, not the data.
        return self._key.sign(hashlib.sha256(hashed).digest())


def relaxed_header(field: bytes) -> bytes:
    """RFC 6376, section 3.4.2: name in lower case, unfolded, white space runs one space, none around the colon or at the end."""
    name, _, value = field.partition(b":")
    return name.strip().lower() + b":" + _SPACES.sub(b" ", _FOLD.sub(b"", value)).strip()


def relaxed_body(body: bytes) -> bytes:
    """RFC 6376, section 3.4.4: white space runs one space, none at line ends, no empty lines at the end, one line end if not empty."""
    relaxed = _relaxed(body) if len(body) < _LARGE else b"".join(_relaxed_piece(piece) for piece in _pieces(body))
    lines = relaxed.rstrip(b" \t").rstrip(b"\r\n")
    return lines + b"\r\n" if lines else b""


def _relaxed(lines: bytes) -> bytes:
    return _LINE_SPACES.sub(b"", _SPACES.sub(b" ", lines))


def _pieces(body: bytes) -> Iterator[bytes]:
    """The body cut behind line ends: one expression over a large file in base64 would hold up every other thread for seconds."""
    start = 0
    while start < len(body):
        end = body.find(b"\n", start + _PIECE) + 1 or len(body)
        yield body[start:end]
        start = end


def _relaxed_piece(lines: bytes) -> bytes:
    # base64 has no white space, and nearly all of a large body is base64
    return _relaxed(lines) if b" " in lines or b"\t" in lines else lines


def _fields(head: bytes) -> dict[bytes, bytes]:
    """Header fields by lower-case name, folds kept; the last of a name, which is the one a verifier looks at first."""
    fields: dict[bytes, bytes] = {}
    for field in re.split(rb"\r\n(?![ \t])", head):
        fields[field.partition(b":")[0].strip().lower()] = field
    return fields


def _folded(names: str, separator: str) -> str:
    out, width = list[str](), 3
    for position, name in enumerate(names.split(separator)):
        piece = name if not position else separator + name
        if width + len(piece) > _WIDTH:
            piece, width = f"{separator}\r\n {name}", 1
        width += len(piece)
        out.append(piece)
    return "".join(out)
