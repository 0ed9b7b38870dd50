"""What must not be forged or read by others: signed tokens in public URLs, and secrets sealed for storage. Keys come from one secret.

Tokens are checked without any I/O, so a forged one costs no query. Hashing of API keys and passwords lives with what they open.
"""

import base64
import binascii
import hashlib
import hmac
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from tidings.errors import Invalid

_MAC = 9
"""Bytes of authentication code in a token: 72 bits, far beyond guessing over a network, and a multiple of three for base64."""
LONGEST_REPLY = 32
"""Characters of the token in a reply address, for ids up to 2**35: nine bytes of code and eleven of ids, eight characters for five bytes."""
_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_", b"+/")
_SEALED = "v1."


def derive(secret: bytes, purpose: str) -> bytes:
    """A 32-byte key for one purpose; keys of different purposes say nothing about one another or the secret."""
    return hashlib.blake2b(purpose.encode(), key=hashlib.sha512(secret).digest(), digest_size=32, person=b"tidings subkey").digest()


class Signer:
    """Writes and checks the tokens of communications. Each purpose has its own key: a token of one is nothing to another."""

    def __init__(self, secret: bytes) -> None:
        self._communication = _keyed(secret, "communication")
        self._unsubscribe = _keyed(secret, "unsubscribe")
        self._reply = _keyed(secret, "reply")
        self._callback = _keyed(secret, "callback")

    def communication(self, tenant_id: int, communication_id: int) -> str:
        """The opaque spelling of a communication, which is its tracking token too: 'c' and URL-safe base64, never all digits."""
        return "c" + _token(self._communication, tenant_id, communication_id)

    def parse_communication(self, text: str) -> tuple[int, int] | None:
        """(tenant id, communication id) of a token this signer wrote, exactly so spelt; None for anything else."""
        return _parsed(self._communication, text[1:]) if text[:1] == "c" else None

    def unsubscribe(self, tenant_id: int, communication_id: int) -> str:
        """The token in a communication's unsubscribe URL: 'u' and URL-safe base64."""
        return "u" + _token(self._unsubscribe, tenant_id, communication_id)

    def parse_unsubscribe(self, text: str) -> tuple[int, int] | None:
        """(tenant id, communication id) of an unsubscribe token; None for anything else."""
        return _parsed(self._unsubscribe, text[1:]) if text[:1] == "u" else None

    def callback(self, tenant_id: int, provider_id: int) -> str:
        """The token in the URL that a provider calls: 'p' and URL-safe base64."""
        return "p" + _token(self._callback, tenant_id, provider_id)

    def parse_callback(self, text: str) -> tuple[int, int] | None:
        """(tenant id, provider id) of a callback token; None for anything else."""
        return _parsed(self._callback, text[1:]) if text[:1] == "p" else None

    def reply(self, tenant_id: int, communication_id: int) -> str:
        """The token for a reply address: lower-case base32, for some hosts fold the case of a local part."""
        payload = _varint(tenant_id) + _varint(communication_id)
        return base64.b32encode(payload + _mac(self._reply, payload)).rstrip(b"=").decode().lower()

    def parse_reply(self, text: str) -> tuple[int, int] | None:
        """(tenant id, communication id) of a reply token in any case; None for anything else."""
        if not text.isascii() or len(text) > 64:
            return None
        try:
            raw = base64.b32decode(text.upper() + "=" * (-len(text) % 8))
        except binascii.Error:
            return None
        found = _checked(self._reply, raw)
        return found if found and self.reply(*found) == text.lower() else None


class Vault:
    """Seals secrets (a provider's password, say) before they are stored, and opens them again. ChaCha20-Poly1305, a random nonce each."""

    def __init__(self, secret: bytes) -> None:
        self._cipher = ChaCha20Poly1305(derive(secret, "vault"))

    def seal(self, plain: bytes) -> str:
        """`plain` encrypted, as printable ASCII with a version in front; twice the same secret gives two different texts."""
        nonce = os.urandom(12)
        return _SEALED + base64.urlsafe_b64encode(nonce + self._cipher.encrypt(nonce, plain, None)).decode()

    def open(self, sealed: str) -> bytes:
        """What was sealed. Raises Invalid when it was sealed with another secret key, or is damaged."""
        if not sealed.startswith(_SEALED):
            raise Invalid("This is not a sealed secret of a version we know")
        try:
            raw = base64.urlsafe_b64decode(sealed[len(_SEALED) :].encode())
            return self._cipher.decrypt(raw[:12], raw[12:], None)
        except (InvalidTag, ValueError) as error:
            raise Invalid("The stored secret cannot be opened: it was sealed with another secret key, or is damaged") from error


def _keyed(secret: bytes, purpose: str) -> "hashlib.blake2b":
    return hashlib.blake2b(key=derive(secret, purpose), digest_size=_MAC)


def _token(keyed: "hashlib.blake2b", tenant_id: int, communication_id: int) -> str:
    payload = _varint(tenant_id) + _varint(communication_id)
    state = keyed.copy()
    state.update(payload)
    return _spelt(payload + state.digest()).decode()


def _spelt(raw: bytes) -> bytes:
    return binascii.b2a_base64(raw, newline=False).translate(_TO_URL).rstrip(b"=")


def _parsed(keyed: "hashlib.blake2b", text: str) -> tuple[int, int] | None:
    if not text.isascii() or len(text) > 40:
        return None
    spelt = text.encode()
    try:
        raw = binascii.a2b_base64(spelt.translate(_FROM_URL) + b"=" * (-len(spelt) % 4))
    except binascii.Error:
        return None
    # base64 has slack bits and its decoder is lenient; only the spelling we write ourselves is the token.
    return _checked(keyed, raw) if _spelt(raw) == spelt else None


def _checked(keyed: "hashlib.blake2b", raw: bytes) -> tuple[int, int] | None:
    payload, code = raw[:-_MAC], raw[-_MAC:]
    if not payload or not hmac.compare_digest(_mac(keyed, payload), code):
        return None
    tenant_id, used = _unvarint(payload, 0)
    communication_id, end = _unvarint(payload, used)
    return (tenant_id, communication_id) if end == len(payload) else None


def _mac(keyed: "hashlib.blake2b", payload: bytes) -> bytes:
    state = keyed.copy()
    state.update(payload)
    return state.digest()


def _varint(number: int) -> bytes:
    """Seven bits a byte, low ones first, the high bit says that more follow."""
    if number < 0:
        raise ValueError(f"{number} is no id")
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def _unvarint(raw: bytes, start: int) -> tuple[int, int]:
    number = shift = 0
    for position in range(start, len(raw)):
        number |= (raw[position] & 127) << shift
        if raw[position] < 128:
            return number, position + 1
        shift += 7
    return number, -1
