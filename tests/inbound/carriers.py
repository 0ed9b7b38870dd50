"""Carriers of mail as they post to us: the samples of their documentation, signed as they sign; and Resend's API, which is asked back."""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tidings.inbound.hooks.sendgrid import SIGNATURE, TIMESTAMP

FOLDER = Path(__file__).parent / "samples"
BOUNDARY = "xYzZY"
MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"
URLENCODED = "application/x-www-form-urlencoded"
AT = 1_750_248_000_000
"""The instant, in milliseconds, at which everything here is signed unless said otherwise."""
SIGNING_KEY = "key-0123456789abcdef"
API_KEY = "re_123456789"
SECRET = "whsec_" + base64.b64encode(b"a secret of twenty-four!").decode()
EMAIL_ID = "56761188-7520-42d8-8898-ff6fc54ce618"
FILE_ID = "2a0c9ce0-3112-4728-976e-47ddcd16a318"
SENDGRID_KEY = ec.derive_private_key(0x1D4C2B3A, ec.SECP256R1())
PUBLIC_KEY = base64.b64encode(SENDGRID_KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


def sample(name: str, recipient: str = "hello@acme.test") -> bytes:
    """A sample; what it names as the recipient is `recipient`."""
    return (FOLDER / name).read_bytes().replace("…".encode(), recipient.encode())


def loaded(name: str, recipient: str = "hello@acme.test") -> Any:
    """The same, where it is JSON."""
    return json.loads(sample(name, recipient))


def mail(recipient: str = "hello@acme.test") -> bytes:
    """The whole mail, with CRLF."""
    return sample("mail.eml", recipient).replace(b"\n", b"\r\n")


def form(fields: Mapping[str, str | bytes], files: Mapping[str, tuple[str, bytes, str]] | None = None) -> bytes:
    """A multipart form."""
    out = bytearray()
    for name, value in fields.items():
        raw = value if isinstance(value, bytes) else value.encode()
        out += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + raw + b"\r\n"
    for name, (filename, content, kind) in (files or {}).items():
        out += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n'.encode()
        out += f"Content-Type: {kind}\r\n\r\n".encode() + content + b"\r\n"
    return bytes(out) + f"--{BOUNDARY}--\r\n".encode()


def mailgun_fields(
    *, at: int = AT, key: str = SIGNING_KEY, recipient: str = "hello@acme.test", **others: str | bytes | None
) -> dict[str, Any]:
    """The fields of Mailgun's sample, signed; None in `others` leaves one out, `_` in their names is `-`."""
    token = "06c96bafc3f42a66b9edd546347a2fe18dc23461fe80dc52f0"
    timestamp = str(at // 1000)
    signature = hmac.new(key.encode(), (timestamp + token).encode(), hashlib.sha256).hexdigest()
    fields = loaded("mailgun.json", recipient)["fields"] | {"timestamp": timestamp, "token": token, "signature": signature}
    fields |= {name.replace("_", "-"): value for name, value in others.items()}
    return {name: value for name, value in fields.items() if value is not None}


def mailgun_files() -> dict[str, tuple[str, bytes, str]]:
    """The files of Mailgun's sample."""
    return {name: (filename, text.encode(), kind) for name, (filename, text, kind) in loaded("mailgun.json")["files"].items()}


def sendgrid_form(recipient: str = "hello@acme.test") -> bytes:
    """SendGrid's sample, as it goes over the wire."""
    return sample("sendgrid.txt", recipient).replace(b"\n", b"\r\n")


def sendgrid_signed(body: bytes, *, at: int = AT, key: ec.EllipticCurvePrivateKey = SENDGRID_KEY) -> dict[str, str]:
    """The headers with which SendGrid signs."""
    timestamp = str(at // 1000)
    signature = key.sign(timestamp.encode() + body, ec.ECDSA(SHA256()))
    return {SIGNATURE: base64.b64encode(signature).decode(), TIMESTAMP: timestamp}


def resend_signed(
    body: bytes, *, at: int = AT, secret: str = SECRET, prefix: str = "svix", named: str = "msg_p5jXN8AQM9LWM0D4loKWxJek"
) -> dict[str, str]:
    """The headers with which Resend signs; `named` is the event's name."""
    timestamp = str(at // 1000)
    key = base64.b64decode(secret.removeprefix("whsec_"))
    code = hmac.new(key, f"{named}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    # a secret that is being changed gives two signatures
    both = f"v1,{base64.b64encode(b'another').decode()} v1,{base64.b64encode(code).decode()}"
    return {f"{prefix}-id": named, f"{prefix}-timestamp": timestamp, f"{prefix}-signature": both}


class ResendServer:
    """Resend's API and its store of files on the loopback: answers what `pages` say of a path, and keeps what it was asked."""

    def __init__(self) -> None:
        self.pages: dict[str, tuple[int, bytes]] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.under_way: dict[asyncio.StreamWriter, asyncio.Event] = {}
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def holds(self, whole: bytes | None = None, **changes: Any) -> None:
        """The mail of the sample, with a whole mail to download where there is one."""
        email = loaded("resend_email.json") | changes
        if whole is not None:
            email["raw"] = {"download_url": f"{self.url}/store/raw?signature=x", "expires_at": "2026-02-23T00:41:11Z"}
            self.pages["/store/raw?signature=x"] = (200, whole)
        self.pages[f"/emails/receiving/{EMAIL_ID}?html_format=cid"] = (200, json.dumps(email).encode())
        self.pages[f"/emails/receiving/{EMAIL_ID}/attachments/{FILE_ID}"] = (
            200,
            sample("resend_attachment.json", f"{self.url}/store/file"),
        )
        self.pages["/store/file"] = (200, b"not really a picture")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ended = self.under_way.setdefault(writer, asyncio.Event())
        # whoever is sent too much hangs up
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            path = lines[0].split(" ")[1]
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
            self.asked.append((path, headers.get("authorization")))
            status, body = self.pages.get(path, (404, b"{}"))
            writer.write(f"HTTP/1.1 {status} OK\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
            await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        ended.set()


@contextlib.asynccontextmanager
async def resend_server() -> AsyncIterator[ResendServer]:
    """One that is running."""
    ours = ResendServer()
    server = await asyncio.start_server(ours.serve, "127.0.0.1", 0)
    ours.port = server.sockets[0].getsockname()[1]
    try:
        yield ours
    finally:
        server.close()
        for ended in list(ours.under_way.values()):
            await ended.wait()
        await server.wait_closed()
