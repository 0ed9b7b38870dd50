"""What was said with one recipient, put straight into the store in whatever state a test wants it, and told again in plain Python."""

import itertools
from typing import Any

import httpx2
import msgspec

from tests.support.api import NOON, Api
from tests.support.replies import receive
from tidings import ids
from tidings.database import Tx
from tidings.domain import templates
from tidings.rendering.template import content_hash, prepare

KEYS = ["id", "direction", "messageText", "campaignId", "campaignName", "status"]
STATUS = {
    "scheduled": "PENDING",
    "pending": "PENDING",
    "in_process": "IN_PROCESS",
    "unknown": "IN_PROCESS",
    "sent": "SENT",
    "delivered": "DELIVERED",
    "failed": "FAILED",
    "bounced": "FAILED",
    "suppressed": "FAILED",
    "canceled": "CANCELED",
}
"""The contract's table."""
_NUMBERS = itertools.count(1)


class Said(msgspec.Struct, frozen=True):
    """One message as it should be shown (`shown`), and what it is found and put in order by."""

    shown: dict[str, Any]
    at: int
    inbound: int
    id: int
    sent_at: int | None
    created_at: int


class Story:
    """A contact of the tenant's, and everything said with it, in the order in which it was put there."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.said: list[Said] = []
        self.campaigns: dict[int, str] = {}

    async def begin(self, email: str = "ann@example.test") -> "Story":
        self.contact_id = await self.api.contact(email, "+31612345678")
        self.path = f"/v1/recipients/{ids.uuid('contact', self.contact_id)}/messages"
        return self

    async def campaign(self, name: str) -> int:
        """A campaign of that name; answers its id."""
        campaign_id = await self.api.campaign()
        await self.api.run(
            "UPDATE campaigns SET name = :name WHERE tenant_id = :t AND id = :id", t=self.api.tenant.id, id=campaign_id, name=name
        )
        self.campaigns[campaign_id] = name
        return campaign_id

    async def sent(self, text: str = "Hello", state: str = "sent", **fields: Any) -> Said:
        """A message from us. `body` (else the text) is what it was made from, `campaign` an id of one; instants as the row has them."""
        body, campaign = fields.pop("body", None), fields.pop("campaign", None)
        channel = fields.pop("channel", "email")
        created_at = fields.pop("created_at", NOON)
        sent_at = fields.pop("sent_at", created_at)
        if state not in {"sent", "delivered", "bounced"}:
            sent_at = None
        row: dict[str, Any] = {
            "channel": channel,
            "state": state,
            "contact_id": self.contact_id,
            "address": "ann@example.test" if channel == "email" else "+31612345678",
            "campaign_id": campaign,
            "message_id": campaign and 1,
            "enrollment_id": campaign and next(_NUMBERS),
            "scheduled_at": None,
            "sent_at": sent_at,
            "variables": None,
            "lease": 1 if state == "in_process" else None,
            "lease_until": 1 if state == "in_process" else None,
            "created_at": created_at,
        } | fields
        form = "html" if channel == "email" else "text"
        identity: int = await self.api.db.write(_sent, self.api.tenant.id, form, body or text, row)
        at = next(at for at in (row["sent_at"], row["scheduled_at"], row["created_at"]) if at is not None)
        shown = self._shown(ids.uuid("communication", identity), "OUTGOING", text, campaign, STATUS[state])
        return self._kept(Said(shown, at, 0, identity, sent_at, created_at))

    async def received(self, text: str = "Yes, please", answers: Said | None = None, **fields: Any) -> Said:
        """A message from them, in answer to one of ours or to none."""
        received_at = fields.pop("received_at", NOON)
        created_at = fields.pop("created_at", received_at)
        conversation_id: int = await self.api.db.write(_conversation, self.api.tenant.id, self.contact_id)
        fields = {"contact_id": self.contact_id, "text": text, "received_at": received_at} | fields
        answered = answers.id if answers else None
        identity = await receive(self.api.db, self.api.tenant.id, conversation_id, now=created_at, communication_id=answered, **fields)
        campaign = ids.parse_uuid("campaign", answers.shown["campaignId"]) if answers and answers.shown["campaignId"] else None
        shown = self._shown(ids.uuid("inbound", identity), "INCOMING", text, campaign, "DELIVERED")
        return self._kept(Said(shown, received_at, 1, identity, received_at, created_at))

    async def ask(self, query: dict[str, Any] | str = "", client: httpx2.AsyncClient | None = None) -> dict[str, Any]:
        """The result of a request that is granted."""
        text = query if isinstance(query, str) else str(httpx2.QueryParams(query))
        answer = await (client or self.api.client).get(f"{self.path}?{text}")
        assert answer.status_code == 200, (text, answer.text)
        body = answer.json()
        assert (list(body), body["status"], body["message"]) == (["status", "result", "message"], "0000", "Success")
        assert list(body["result"]) == ["content", "page", "total", "pageSize"]
        assert all(list(message) == KEYS for message in body["result"]["content"])
        return body["result"]

    async def texts(self, query: dict[str, Any] | str = "") -> list[str]:
        """The texts on the page, in its order."""
        return [message["messageText"] for message in (await self.ask(query))["content"]]

    def _shown(self, identity: str, direction: str, text: str, campaign: int | None, status: str) -> dict[str, Any]:
        values = (
            identity,
            direction,
            text,
            ids.uuid("campaign", campaign) if campaign else None,
            self.campaigns.get(campaign or 0),
            status,
        )
        return dict(zip(KEYS, values, strict=True))

    def _kept(self, said: Said) -> Said:
        self.said.append(said)
        return said


def _sent(tx: Tx, tenant_id: int, form: str, body: str, row: dict[str, Any]) -> int:
    content = prepare(
        tenant_id=tenant_id, channel=row["channel"], format=form, subject="Hi" if row["channel"] == "email" else "", body=body
    )
    content_id = templates.store_content(tx, content, content_hash(content), now=0)
    return tx.value(
        "INSERT INTO communications (tenant_id, channel, state, lane, contact_id, content_id, campaign_id, message_id, enrollment_id, type, address,"
        " variables, track_opens, track_links, scheduled_at, sent_at, lease, lease_until, created_at, updated_at)"
        " VALUES (:tenant_id, :channel, :state, 0, :contact_id, :content_id, :campaign_id, :message_id, :enrollment_id, 'OFFERTE', :address,"
        " :variables, 1, 1, :scheduled_at, :sent_at, :lease, :lease_until, :created_at, :created_at) RETURNING id",
        tenant_id=tenant_id,
        content_id=content_id,
        **row,
    )


def _conversation(tx: Tx, tenant_id: int, contact_id: int) -> int:
    return tx.value(
        "INSERT INTO conversations (tenant_id, key, channel, contact_id, last_at, created_at, updated_at)"
        " VALUES (:tenant_id, :key, 'email', :contact_id, 0, 0, 0) ON CONFLICT (tenant_id, key) DO UPDATE SET last_at = 0 RETURNING id",
        tenant_id=tenant_id,
        key=f"with {contact_id}",
        contact_id=contact_id,
    )
