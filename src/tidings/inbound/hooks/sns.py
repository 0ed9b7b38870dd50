"""Amazon SNS as it posts: that it is Amazon's (a signature, by a certificate of Amazon's), and the handshake before anything is told.

https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
https://docs.aws.amazon.com/sns/latest/dg/http-subscription-confirmation-json.html
https://docs.aws.amazon.com/sns/latest/dg/sns-large-payload-raw-message-delivery.html
"""

import asyncio
import binascii
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import httpx2
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256

from tidings.clock import DAY
from tidings.errors import Malformed, Unauthorized, Unavailable
from tidings.inbound.hooks.posted import AHEAD, Posted
from tidings.inbound.hooks.said import Said, iso, record

WINDOW = DAY
"""How old a message may be: SNS signs when it is published, and tries for an hour unless it is told otherwise."""
TIMEOUT = 10.0
"""Seconds that fetching from Amazon may take."""
_HOST = re.compile(r"sns\.[a-z]{2}(?:-[a-z]+){1,3}-\d{1,2}\.amazonaws\.com(?:\.cn)?")
_CERTIFICATE = re.compile(r"/SimpleNotificationService-[0-9A-Za-z]+\.pem")
_WORD = re.compile(r"[!-~]+")
_SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    "UnsubscribeConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}
_LARGEST = 64 * 1024
_KEPT = 32

Fetch = Callable[[str], Awaitable[bytes]]
"""What is at a URL of Amazon's; redirects are not followed. Raises Unavailable when there is nothing."""


class Certificates:
    """The public keys of Amazon's certificates by their URLs, each fetched once."""

    def __init__(self) -> None:
        self._keys: OrderedDict[str, RSAPublicKey] = OrderedDict()

    async def key(self, url: str, fetch: Fetch) -> RSAPublicKey:
        """The key in the certificate there. Raises Unavailable when it cannot be had."""
        known = self._keys.get(url)
        if known is not None:
            return known
        try:
            found = x509.load_pem_x509_certificate(await fetch(url)).public_key()
        except ValueError as error:
            raise Unavailable("What is at SigningCertURL is no certificate") from error
        if not isinstance(found, RSAPublicKey):
            raise Unavailable("The certificate at SigningCertURL is not for RSA")
        self._keys[url] = found
        while len(self._keys) > _KEPT:
            self._keys.popitem(last=False)
        return found


CERTIFICATES = Certificates()


async def fetched(url: str) -> bytes:
    """`Fetch` over the network."""
    try:
        async with asyncio.timeout(TIMEOUT), httpx2.AsyncClient(timeout=TIMEOUT, follow_redirects=False, trust_env=False) as client:
            found = bytearray()
            async with client.stream("GET", url) as answer:
                if answer.status_code != 200:
                    raise Unavailable(f"Amazon SNS answers {answer.status_code}")
                async for chunk in answer.aiter_bytes():
                    found += chunk
                    if len(found) > _LARGEST:
                        raise Unavailable("Amazon SNS answers more than was expected")
            return bytes(found)
    except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError) as error:
        raise Unavailable(f"Amazon SNS cannot be reached: {type(error).__name__}") from error


async def read(posted: Posted, topic_arn: str, fetch: Fetch, certificates: Certificates) -> str | None:
    """What was published, of the topic `topic_arn` ("" for any); None for a message about the subscription itself, which is confirmed.

    Raises Unauthorized when it is not Amazon's, or of another topic; Malformed; Unavailable when Amazon cannot be asked.
    """
    if posted.headers.get("x-amz-sns-rawdelivery", "").lower() == "true":
        raise Malformed("Raw message delivery is on for this subscription, which leaves the signature out; switch it off")
    said = record(posted.body)
    kind = _exact(said, "Type")
    if kind not in _SIGNED:
        raise Malformed("This is no message of Amazon SNS: its Type is none (is raw message delivery on?)")
    await _check(said, kind, fetch, certificates)
    if topic_arn and _exact(said, "TopicArn") != topic_arn:
        raise Unauthorized("This is not the topic that this inbox listens to")
    at = iso(_exact(said, "Timestamp"))
    if at is None or not -AHEAD <= posted.at - at <= WINDOW:
        raise Unauthorized("The message is too old")
    if kind == "Notification":
        return _exact(said, "Message")
    if kind == "SubscriptionConfirmation":
        await fetch(_amazons(_exact(said, "SubscribeURL"), "SubscribeURL"))
    return None


async def _check(said: Said, kind: str, fetch: Fetch, certificates: Certificates) -> None:
    version = said.text("SignatureVersion")
    if version not in ("1", "2"):
        raise Unauthorized("Only SignatureVersion 1 and 2 are known")
    url = _amazons(_exact(said, "SigningCertURL"), "SigningCertURL")
    parts = urlsplit(url)
    # the host is that of an API, which says after other paths, and with a query, what any of its users have stored there
    if not _CERTIFICATE.fullmatch(parts.path) or parts.query or parts.fragment:
        raise Unauthorized("SigningCertURL names no certificate")
    pairs = [(name, _exact(said, name)) for name in _SIGNED[kind] if name in said.fields or name != "Subject"]
    signed = "".join(f"{name}\n{value}\n" for name, value in pairs if name != "Subject" or said.fields["Subject"] is not None)
    key = await certificates.key(url, fetch)
    try:
        signature = binascii.a2b_base64(_exact(said, "Signature"))
        key.verify(signature, signed.encode("utf-8", "surrogatepass"), PKCS1v15(), SHA1() if version == "1" else SHA256())  # noqa: S303
    except (InvalidSignature, ValueError) as error:
        raise Unauthorized("The signature is not Amazon's") from error


def _exact(said: Said, name: str) -> str:
    """A field as it was signed."""
    value = said.fields.get(name)
    return value if isinstance(value, str) else ""


def _amazons(url: str, name: str) -> str:
    """The URL itself. Raises Unauthorized unless it is SNS's own: nothing else is fetched, whoever says so."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Unauthorized(f"{name} is not Amazon's") from error
    # urlsplit passes over blanks and line ends, on which others may stumble
    if (
        not _WORD.fullmatch(url)
        or parts.scheme != "https"
        or port not in (None, 443)
        or "@" in parts.netloc
        or not _HOST.fullmatch(parts.hostname or "")
    ):
        raise Unauthorized(f"{name} is not Amazon's")
    return url
