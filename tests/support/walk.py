"""What a test of the walk needs: a tenant with contacts and a campaign, a carrier that answers as told, a clock that stands still."""

import asyncio
from collections.abc import Callable, Sequence
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

from tidings import clock
from tidings.database import Database
from tidings.delivery.dispatch import Dispatcher
from tidings.delivery.planner import Planner
from tidings.domain import campaigns, communications, contacts, counters, enrollments, tenants
from tidings.domain.carriers import Carrier
from tidings.domain.communications import Communication, Draft
from tidings.domain.templates import Content
from tidings.message.outgoing import Address, Outcome, Sealed, Sms, accepted
from tidings.providers.base import Provider, Report
from tidings.rendering.compose import Composer
from tidings.rendering.template import content_hash, prepare
from tidings.signing import Signer
from tidings.storage import Folder, Store

MORNING = 1_739_761_200_000  # 2025-02-17T03:00:00Z
SIGNER = Signer(b"0" * 32)
NO_FILES = Folder(Path("/nowhere"))
"""Where nothing is attached, nothing is asked for."""


class Carrying:
    """A provider that keeps what it was given and answers by `answer`; `gate` (when set up) holds it back until opened."""

    kind = "told"

    def __init__(self, answer: Callable[[Sealed], Outcome] = lambda sealed: accepted("ok")) -> None:
        self.answer = answer
        self.sent: list[Sealed] = []
        self.batches: list[int] = []
        self.gate: asyncio.Event | None = None
        self.reached = asyncio.Event()

    async def send(self, batch: Sequence[Sealed], report: Report) -> None:
        self.batches.append(len(batch))
        self.reached.set()
        if self.gate is not None:
            await self.gate.wait()
        for sealed in batch:
            self.sent.append(sealed)
            report(sealed.communication_id, self.answer(sealed))

    async def close(self) -> None:
        return None


class OneCarrier:
    """A registry with the same carrier for everybody."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider

    async def get(self, carrier: Carrier) -> Provider:
        return self.provider


class House:
    """A database with one tenant, and the parts of the worker, under a clock that moves when told."""

    def __init__(self, db: Database, store: Store | None = None) -> None:
        self.db = db
        self.store = store or NO_FILES
        self.now = MORNING
        self.carrying = Carrying()
        self.tenant_id = 0
        self.composer = Composer("https://t.example.com", SIGNER, "t.example.com")
        self.planner = Planner(db, self.clock)

    def clock(self) -> int:
        return self.now

    async def settle_in(self, slug: str = "acme") -> "House":
        tenant = await self.db.write(tenants.create, slug, name="Acme", sender_email="news@acme.example", now=self.now)
        self.tenant_id = tenant.id
        return self

    def dispatcher(self) -> Dispatcher:
        return Dispatcher(self.db, self.composer, OneCarrier(self.carrying), self.store, self.clock)

    async def contact(self, email: str | None = None, phone: str | None = None, **fields: Any) -> int:
        if email is not None:
            fields["email"] = email
        if phone is not None:
            fields["phone"] = phone
        contact, _ = await self.db.write(contacts.upsert, self.tenant_id, contacts.Fields(**fields), now=self.now)
        return contact.id

    def content(self, subject: str = "Hello", body: str = "<p>Hello {{ first_name }}</p>", *, channel: str = "email") -> Content:
        form = "html" if channel == "email" else "text"
        return prepare(tenant_id=self.tenant_id, channel=channel, format=form, subject=subject if channel == "email" else "", body=body)

    async def campaign(self, *steps: tuple[str, int], activate: bool = True, **settings: Any) -> int:
        """A campaign of (channel, delay in milliseconds) steps."""
        steps = steps or (("email", 0),)
        made = await self.db.write(campaigns.create, self.tenant_id, campaigns.Settings(name="Spring", **settings), now=self.now)
        for number, (channel, delay) in enumerate(steps, 1):
            content = self.content(f"Step {number}", f"<p>Step {number}</p>" if channel == "email" else f"Step {number}", channel=channel)
            await self.db.write(self._add_message, made.id, channel, delay, content)
        if activate:
            await self.db.write(campaigns.activate, self.tenant_id, made.id, now=self.now)
        return made.id

    def _add_message(self, tx: Any, campaign_id: int, channel: str, delay: int, content: Content) -> None:
        words = campaigns.Words(content=content, hash=content_hash(content))
        campaigns.add_message(tx, self.tenant_id, campaign_id, channel=channel, delay=delay, name="", words=words, now=self.now)

    async def enroll(self, campaign_id: int, *contact_ids: int) -> list[int]:
        return [
            (await self.db.write(enrollments.enroll, self.tenant_id, campaign_id, contact_id, now=self.now)).id
            for contact_id in contact_ids
        ]

    async def accept(self, email: str = "ann@example.com", **fields: Any) -> Communication:
        content = fields.pop("content", None) or self.content()
        draft = Draft(
            tenant_id=self.tenant_id,
            channel=content.channel,
            content=content,
            content_hash=content_hash(content),
            type=fields.pop("type", "OFFERTE"),
            to=fields.pop("to", (Address(email),) if content.channel == "email" else ()),
            **fields,
        )
        return await self.db.write(communications.accept, draft, now=self.now)

    async def dispatch(self) -> list[Sealed]:
        """Plans and sends whatever is due, to the end; answers what was sent by it."""
        before = len(self.carrying.sent)
        while await self.planner.turn():
            pass
        stop = asyncio.Event()
        dispatcher = self.dispatcher()
        running = asyncio.create_task(dispatcher.run(stop))
        while await self.db.read(self._is_due):
            if running.done():
                break
            await asyncio.sleep(0.005)
        stop.set()
        await running
        return self.carrying.sent[before:]

    def _is_due(self, tx: Any) -> bool:
        return bool(
            tx.value(
                "SELECT COUNT(*) FROM communications WHERE tenant_id = :tenant_id AND due_at IS NOT NULL AND (due_at <= :now OR state = 'in_process')",
                tenant_id=self.tenant_id,
                now=self.now,
            )
        )

    async def rows(self) -> list[Communication]:
        """Every communication, oldest first."""
        page = await self.db.read(communications.page, self.tenant_id, limit=10_000, page=1)
        return page.rows[::-1]

    async def states(self) -> list[str]:
        return [row.state for row in await self.rows()]

    async def counts(self) -> counters.Counts:
        return await self.db.read(counters.totals, self.tenant_id)

    async def interactions(self) -> list[tuple[int, str]]:
        """(communication, kind) in the order they were written."""
        return await self.db.read(
            lambda tx: tx.rows("SELECT communication_id, kind FROM interactions WHERE tenant_id = :t ORDER BY id", t=self.tenant_id)
        )

    def later(self, milliseconds: int) -> None:
        self.now += milliseconds


def text_of(sealed: Sealed) -> str:
    """What a reader of the message sees as plain text."""
    if isinstance(sealed, Sms):
        return sealed.text
    part = message_from_bytes(sealed.raw, policy=default).get_body(("plain",))
    assert part is not None
    return str(part.get_content())


def minutes(count: int) -> int:
    return count * clock.MINUTE
