"""People and machines who answer: their mails as bytes, their texts, and the one door they all come through."""

import itertools
from pathlib import Path
from typing import Any

import msgspec

from tests.support.walk import SIGNER, House
from tidings.domain.communications import Communication
from tidings.domain.threads import Conversation, Inbound, Taken
from tidings.domain.threads.record import CONVERSATION, INBOUND
from tidings.inbound import receive
from tidings.inbound.receive import PLAIN, Desk, Envelope
from tidings.message.heard import Notice, Text
from tidings.storage import Folder

_NUMBERS = itertools.count(1)


def mail(sender: str = "Ann Bell <ann@example.com>", body: str = "Yes, please", to: str = "news@acme.example", **headers: str) -> bytes:
    """A mail as a person's program sends it; further headers by name, `_` for `-`. Its Message-ID is new unless given."""
    lines = {"from": sender, "to": to, "subject": "Re: Hello", "date": "Mon, 17 Feb 2025 03:00:00 +0000"}
    lines["message-id"] = f"<{next(_NUMBERS)}@mail.example.com>"
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{head}Content-Type: text/plain; charset=utf-8\r\n\r\n{body}\r\n".encode()


def bounce(recipient: str, status: str = "5.1.1", *, message_id: str = "", to: str = "news@acme.example", action: str = "failed") -> bytes:
    """A delivery report (RFC 3464) about our mail of that Message-ID."""
    return report(
        "delivery-status",
        f"Reporting-MTA: dns; mx.example.com\r\n\r\nFinal-Recipient: rfc822; {recipient}\r\nAction: {action}\r\nStatus: {status}\r\n"
        f"Diagnostic-Code: smtp; 550 {status} no such user\r\n",
        message_id,
        to,
    )


def complaint(message_id: str, recipient: str = "") -> bytes:
    """A complaint (RFC 5965) about our mail of that Message-ID."""
    said = f"Original-Rcpt-To: {recipient}\r\n" if recipient else ""
    return report("feedback-report", f"Feedback-Type: abuse\r\nVersion: 1\r\nUser-Agent: x/1\r\n{said}", message_id, "abuse@acme.example")


def report(kind: str, facts: str, message_id: str, to: str) -> bytes:
    return (
        f"From: MAILER-DAEMON@mx.example.com\r\nTo: {to}\r\nSubject: Report\r\nMessage-ID: <r{next(_NUMBERS)}@mx.example.com>\r\n"
        f'MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type="{kind}"; boundary="b"\r\n\r\n'
        f"--b\r\nContent-Type: text/plain\r\n\r\nA report.\r\n--b\r\nContent-Type: message/{kind}\r\n\r\n{facts}\r\n"
        f"--b\r\nContent-Type: text/rfc822-headers\r\n\r\nMessage-ID: {message_id}\r\n\r\n--b--\r\n"
    ).encode()


class Post:
    """Brings mail and texts to the door of a house, and looks at what became of them."""

    def __init__(self, house: House, folder: Path) -> None:
        self.house = house
        self.desk = Desk(house.db, Folder(folder), SIGNER, house.clock)

    async def mail(self, raw: bytes, envelope: Envelope = PLAIN, tenant_id: int = 0) -> Taken:
        return await receive.mail(self.desk, tenant_id or self.house.tenant_id, raw, envelope)

    async def text(self, text: str, sender: str = "+41791230001", **fields: Any) -> Taken:
        plain = Text(f"SM{next(_NUMBERS)}", sender, "+41790000000", text, self.house.now)
        heard = msgspec.structs.replace(plain, **fields)
        return await receive.text(self.desk, self.house.tenant_id, "twilio:1", heard)

    async def notice(self, **fields: Any) -> bool:
        heard = msgspec.structs.replace(Notice("", "delivered", self.house.now), **fields)
        return await receive.notice(self.desk, self.house.tenant_id, 1, heard)

    def named(self, row: Communication) -> str:
        """The Message-ID of one of our mails."""
        return self.house.composer.message_id(row.tenant_id, row.id, row.serial)

    async def inbound(self) -> list[Inbound]:
        return await self.house.db.read(lambda tx: tx.all(Inbound, INBOUND + " ORDER BY i.id", tenant_id=self.house.tenant_id))

    async def conversations(self) -> list[Conversation]:
        return await self.house.db.read(lambda tx: tx.all(Conversation, CONVERSATION + " ORDER BY id", tenant_id=self.house.tenant_id))

    async def suppressed(self) -> list[tuple[str, str, str]]:
        """(channel, address, reason)."""
        sql = "SELECT channel, address, reason FROM suppressions WHERE tenant_id = :t ORDER BY id"
        return await self.house.db.read(lambda tx: tx.rows(sql, t=self.house.tenant_id))
