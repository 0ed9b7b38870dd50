"""A whole house behind the HTTP application, in this process and on each database, and what tests of the API ask of it."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from tests.support import walk
from tidings.api.wire import House
from tidings.clock import DAY
from tidings.database import Database, Tx
from tidings.domain import keys, tenants
from tidings.domain.keys import NewKey
from tidings.domain.tenants import Tenant
from tidings.message.outgoing import Sealed
from tidings.rendering.compose import Composer
from tidings.signing import Signer, Vault
from tidings.storage import Folder
from tidings.web import create_app

NOON = 1_750_248_000_000
"""2025-06-18T12:00:00Z, in milliseconds."""
SECRET = b"a secret of thirty-two characters"
PUBLIC_URL = "https://mail.example.test"


class Api:
    """A tenant `acme` with a key that may everything, a client that carries it, and a clock that stands still until it is told."""

    def __init__(self, db: Database, folder: Path) -> None:
        self.db = db
        self.at = NOON
        self.carrying = walk.Carrying()
        self.signer = Signer(SECRET)
        composer = Composer(PUBLIC_URL, self.signer, "mail.example.test")
        self.house = House(
            db=db,
            clock=lambda: self.at,
            composer=composer,
            signer=self.signer,
            vault=Vault(SECRET),
            store=Folder(folder / "blobs"),
            public_url=PUBLIC_URL,
            data_folder=folder,
            allow_private=False,
            default_sender="house@example.test",
        )
        self.app = create_app(self.house)

    async def start(self) -> None:
        self.tenant = await self.new_tenant("acme")
        self.key = await self.new_key(self.tenant)
        self.client = self.client_for(self.key)
        self.stranger = self.client_for(None)

    async def new_tenant(self, slug: str) -> Tenant:
        return await self.db.write(tenants.create, slug, name=slug.capitalize(), sender_email=f"hello@{slug}.test", now=self.at)

    async def new_key(self, tenant: Tenant, *scopes: str) -> NewKey:
        return await self.db.write(keys.create, tenant.id, name="test", scopes=scopes, now=self.at)

    async def rival(self) -> httpx2.AsyncClient:
        """Another tenant's client."""
        return self.client_for(await self.new_key(await self.new_tenant("rival")))

    def client_for(self, key: NewKey | None) -> httpx2.AsyncClient:
        headers = {"authorization": f"Bearer {key.token}"} if key else {}
        transport = httpx2.ASGITransport(app=self.app, raise_app_exceptions=False)
        return httpx2.AsyncClient(transport=transport, base_url=PUBLIC_URL, headers=headers)

    def client_of(self, house: House) -> httpx2.AsyncClient:
        """A stranger at another house on the same store."""
        return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=create_app(house)), base_url=PUBLIC_URL)

    async def rows(self, sql: Any, **params: Any) -> list[tuple[Any, ...]]:
        """Whatever a test wants to see in the store."""
        return await self.db.read(_rows, sql, params)

    async def run(self, sql: Any, **params: Any) -> int:
        """Whatever a test needs to have happened."""
        return await self.db.write(_run, sql, params)

    async def contact(self, email: str | None = "ann@example.test", phone: str | None = None, first_name: str = "Ann") -> int:
        await self.run(
            "INSERT INTO contacts (tenant_id, email, email_key, phone, first_name, created_at, updated_at)"
            " VALUES (:tenant_id, :email, :key, :phone, :first_name, :now, :now)",
            tenant_id=self.tenant.id,
            email=email,
            key=email.lower() if email else None,
            phone=phone,
            first_name=first_name,
            now=self.at,
        )
        return (await self.rows("SELECT MAX(id) FROM contacts WHERE tenant_id = :tenant_id", tenant_id=self.tenant.id))[0][0]

    async def campaign(self, state: str = "active") -> int:
        """A campaign of one message."""
        now, tenant_id = self.at, self.tenant.id
        await self.run(
            "INSERT INTO campaigns (tenant_id, name, state, reenroll_after, stop_on_reply, track_opens, track_links, created_at, updated_at)"
            " VALUES (:tenant_id, 'Welcome', :state, :window, 1, 1, 1, :now, :now)",
            tenant_id=tenant_id,
            state=state,
            window=180 * DAY,
            now=now,
        )
        campaign_id = (await self.rows("SELECT MAX(id) FROM campaigns WHERE tenant_id = :tenant_id", tenant_id=tenant_id))[0][0]
        await self.run(
            "INSERT INTO messages (tenant_id, campaign_id, position, channel, delay, content_id, created_at, updated_at)"
            " VALUES (:tenant_id, :campaign_id, 1, 'email', 0, 1, :now, :now)",
            tenant_id=tenant_id,
            campaign_id=campaign_id,
            now=now,
        )
        return campaign_id

    async def send(self, **fields: Any) -> dict[str, Any]:
        """One mail accepted through alpha."""
        body = {"body": "<p>Hello</p>", "subject": "Hello", "recipients": ["ann@example.test"], **fields}
        answer = await self.client.post("/api/v1/communications/send", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def dispatch(self) -> list[Sealed]:
        """Sends whatever is due; answers what went out."""
        walking = walk.House(self.db, self.house.store)
        walking.now, walking.tenant_id, walking.carrying, walking.composer = self.at, self.tenant.id, self.carrying, self.house.composer
        return await walking.dispatch()

    async def find(self, token: str) -> dict[str, Any]:
        """alpha's record as it is now."""
        answer = await self.client.get(f"/api/v1/communications/find/{token}")
        assert answer.status_code == 200, answer.text
        return answer.json()


def _rows(tx: Tx, sql: Any, params: dict[str, Any]) -> list[tuple[Any, ...]]:
    return tx.rows(sql, **params)


def _run(tx: Tx, sql: Any, params: dict[str, Any]) -> int:
    return tx.run(sql, **params)


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def page_of(answer: httpx2.Response) -> dict[str, int]:
    return msgspec.json.decode(answer.content)["pagination"]


@pytest.fixture
async def api(db: Database, tmp_path: Path) -> AsyncIterator[Api]:
    """The house, open; runs on each database."""
    house = Api(db, tmp_path)
    await house.start()
    yield house
    await house.client.aclose()
    await house.stranger.aclose()
