"""A post room for each test, on both databases: a tenant, what taking mail in needs, and what came in."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tidings import clock
from tidings.database import Database, Tx
from tidings.domain import inboxes, tenants
from tidings.domain.inboxes import Inbox
from tidings.inbound import sources
from tidings.inbound.receive import Desk
from tidings.signing import Signer, Vault
from tidings.storage import Folder

SECRET = b"a secret of thirty-two characters"


class PostRoom:
    """One database with tenant `acme`, under the real clock."""

    def __init__(self, db: Database, folder: Path) -> None:
        self.db = db
        self.signer, self.vault = Signer(SECRET), Vault(SECRET)
        self.desk = Desk(db, Folder(folder / "blobs"), self.signer, clock.now)
        self.tenant_id = 0

    async def tenant(self, slug: str) -> int:
        made = await self.db.write(tenants.create, slug, name=slug, sender_email=f"hello@{slug}.test", now=clock.now())
        return made.id

    async def address(self, address: str, tenant_id: int = 0) -> Inbox:
        new = inboxes.New("address", address, address=address)
        return await self.db.write(inboxes.create, tenant_id or self.tenant_id, new, now=clock.now())

    async def mailbox(self, box: sources.Mailbox, name: str = "box") -> Inbox:
        new = inboxes.New("imap", name, settings=sources.seal(self.vault, box))
        return await self.db.write(inboxes.create, self.tenant_id, new, now=clock.now())

    async def inbox(self, inbox_id: int) -> Inbox:
        return await self.db.read(inboxes.get, self.tenant_id, inbox_id)

    async def subjects(self, tenant_id: int = 0) -> list[str]:
        """What came in, in the order in which it came."""
        return await self.db.read(_subjects, tenant_id or self.tenant_id)

    async def raw(self) -> list[bytes]:
        """The messages as they came."""
        hashes = await self.db.read(lambda tx: [row[0] for row in tx.rows("SELECT raw_hash FROM inbound_messages ORDER BY id")])
        return [await self.desk.store.get(self.tenant_id, name) for name in hashes]


def _subjects(tx: Tx, tenant_id: int) -> list[str]:
    return [row[0] for row in tx.rows("SELECT subject FROM inbound_messages WHERE tenant_id = :t ORDER BY id", t=tenant_id)]


async def until(holds: Callable[[], Any], seconds: float = 30) -> None:
    """Waits until what is asked (and awaited) holds."""
    async with asyncio.timeout(seconds):
        # neither a mailbox nor a table tells a test that something is in it
        while not await holds():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@pytest.fixture
async def room(db: Database, tmp_path: Path) -> PostRoom:
    made = PostRoom(db, tmp_path)
    made.tenant_id = await made.tenant("acme")
    return made
