"""What happened to messages of campaigns, put straight into the store, and asked for again as everlytic's clients do."""

from datetime import UTC, datetime
from typing import Any

import httpx2

from tests.support.api import NOON, Api
from tidings.database import Tx
from tidings.domain import marks
from tidings.domain.marks import Happening

PATH = "/api/3.0/messages/interaction-data"
KEYS = ["contact_id", "contact_email", "send_date", "interaction_type", "interaction_date", "message_id", "page_number"]
FIRST, LATER = ["result", "page_size", "total_pages", "total_rows", "data"], ["result", "data"]
ALWAYS: dict[str, Any] = {"interactionType": "sends", "fromDate": "1972-01-01", "toDate": "2099-12-31", "order": "asc"}


class Log:
    """A tenant's message 7, and what happens to it."""

    def __init__(self, api: Api, message_id: int = 7) -> None:
        self.api, self.message_id = api, message_id

    async def happened(self, kind: str, *instants: int, contact_id: int = 1, communication_id: int = 1, **fields: Any) -> None:
        """Interactions of one contact."""
        rows = [(kind, at, contact_id, communication_id) for at in instants]
        await self.api.db.write(_happen, fields.get("tenant_id", self.api.tenant.id), self.message_id, rows)

    async def many(self, kind: str, rows: list[tuple[int, int]]) -> None:
        """(instant, contact) of each."""
        await self.api.db.write(_happen, self.api.tenant.id, self.message_id, [(kind, at, contact, 1) for at, contact in rows])

    async def communication(self, contact_id: int, sent_at: int | None, **fields: Any) -> int:
        """One recipient's copy."""
        return await self.api.db.write(_communication, self.api.tenant.id, contact_id, sent_at, fields.get("state"))

    async def post(self, message_id: Any = None, client: httpx2.AsyncClient | None = None, **body: Any) -> httpx2.Response:
        """A request with everything that is required, but for what is given."""
        said = ALWAYS | body
        path = f"{PATH}/{self.message_id if message_id is None else message_id}"
        return await (client or self.api.client).post(path, json={name: value for name, value in said.items() if value is not ...})

    async def ask(self, message_id: Any = None, client: httpx2.AsyncClient | None = None, **body: Any) -> dict[str, Any]:
        """The report of a request that is granted."""
        answer = await self.post(message_id, client, **body)
        assert answer.status_code == 200, answer.text
        report = answer.json()
        assert report["result"] == "success"
        assert all(list(row) == KEYS for row in report["data"])
        return report

    async def told(self, **body: Any) -> list[tuple[int, str]]:
        """(contact, date) of each row of a page."""
        return [(row["contact_id"], row["interaction_date"]) for row in (await self.ask(**body))["data"]]


def spelt(at: int = NOON) -> str:
    return datetime.fromtimestamp(at // 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _happen(tx: Tx, tenant_id: int, message_id: int, rows: list[tuple[str, int, int, int]]) -> None:
    tx.run(
        "INSERT INTO interactions (tenant_id, communication_id, contact_id, campaign_id, message_id, kind, at)"
        " SELECT CAST(:tenant_id AS bigint), communication_id, contact_id, 1, CAST(:message_id AS bigint), kind, at"
        " FROM :rows(kind text, at bigint, contact_id bigint, communication_id bigint) r",
        tenant_id=tenant_id,
        message_id=message_id,
        rows=rows,
    )
    marks.written(tx, [Happening(tenant_id, message_id, kind, at) for kind, at, _, _ in rows])


def _communication(tx: Tx, tenant_id: int, contact_id: int, sent_at: int | None, state: str | None) -> int:
    return tx.value(
        "INSERT INTO communications (tenant_id, channel, state, lane, contact_id, content_id, type, address, track_opens, track_links, sent_at,"
        " created_at, updated_at)"
        " VALUES (:tenant_id, 'email', :state, 1, :contact_id, 1, 'CAMPAIGN', 'x@example.test', 1, 1, :sent_at, 0, 0) RETURNING id",
        tenant_id=tenant_id,
        contact_id=contact_id,
        sent_at=sent_at,
        state=state or ("failed" if sent_at is None else "sent"),
    )
