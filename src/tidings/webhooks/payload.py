"""What is said of a delivery, in each style: a whole request, but for where it goes. Pure; docs/webhooks.md shows what it looks like."""

from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit, urlunsplit

import msgspec

from tidings import ids
from tidings.domain import endpoints
from tidings.domain.endpoints import About, Data, Due, Endpoint, Heard
from tidings.signing import Signer, Vault
from tidings.webhooks import secrets

TYPES = {
    **{kind: f"communication.{kind}" for kind in endpoints.HAPPENED},
    "received": "inbound_message.received",
    "disabled": "webhook.disabled",
    "test": "webhook.test",
}
"""Kind → the `type` it is told by."""
KINDS = {name: kind for kind, name in TYPES.items() if kind != "test"}
"""The other way round, for what can be asked for."""
_EVERLYTIC_TYPES = {kind: name for name, kinds in endpoints.EVERLYTIC.items() for kind in kinds} | {"test": "test"}
_BODIES = frozenset({"POST", "PUT", "PATCH"})
_decode_data = msgspec.json.Decoder(Data).decode


class Posting(NamedTuple):
    """A request: `headers` as (name, value) of ASCII."""

    verb: str
    url: str
    headers: list[tuple[str, str]]
    body: bytes


def compose(endpoint: Endpoint, due: Due, signer: Signer, vault: Vault, *, now: int) -> Posting:
    """The request that tells an endpoint of a delivery, signed as of now. Raises Invalid when its secrets cannot be opened."""
    identity = ids.spell("delivery", due.id)
    url, body = endpoint.url, b""
    if endpoint.style == "standard":
        body = msgspec.json.encode(
            {"type": TYPES[due.kind], "timestamp": moment(due.at), "data": standard(endpoint.tenant_id, due, signer)}
        )
    else:
        fields = everlytic(endpoint, due)
        if endpoint.verb in _BODIES:
            body = msgspec.json.encode(fields)
        else:
            url = _asked(url, fields)
    headers = [("user-agent", "tidings"), ("webhook-id", identity), ("webhook-timestamp", str(now // 1000))]
    if body:
        headers.append(("content-type", "application/json"))
    if signed := secrets.signatures(vault, endpoint, identity, body, now=now):
        headers.append(("webhook-signature", signed))
    if authorization := secrets.basic(vault, endpoint.auth):
        headers.append(("authorization", authorization))
    return Posting(endpoint.verb, url, headers, body)


def standard(tenant_id: int, due: Due, signer: Signer) -> dict[str, Any]:
    """`data` of the style of the Standard Webhooks."""
    told = _decode_data(due.data)
    if due.kind == "test":
        return {"message": "This is a test: nothing has happened"}
    if due.kind == "disabled":
        return {"webhook_id": ids.spell("webhook", told.endpoint or 1), "url": told.url, "reason": told.detail}
    if due.heard is not None:
        return _heard(due.heard, due.communication_id)
    assert due.about is not None
    about = _about(due.about, signer, tenant_id)
    return about | _happened(due.kind, told, due.about.links)


def _happened(kind: str, told: Data, links: str | None) -> dict[str, Any]:
    said: dict[str, Any] = {"detail": told.detail, "code": told.code, "reason": told.reason, "author": told.author}
    if kind in {"opened", "clicked"}:
        said |= {"bot": told.bot, "ip": told.ip, "user_agent": told.user_agent}
    if kind == "clicked" and told.link_index is not None:
        known: list[str] = msgspec.json.decode(links, type=list[str]) if links else []
        said["link_index"] = told.link_index
        said["url"] = known[told.link_index] if told.link_index < len(known) else None
    return {name: value for name, value in said.items() if value is not None}


def _about(about: About, signer: Signer, tenant_id: int) -> dict[str, Any]:
    return {
        "communication_id": about.id,
        "alpha_id": signer.communication(tenant_id, about.id),
        "channel": about.channel,
        "to": about.address,
        "type": about.type,
        "contact_id": _spelt("contact", about.contact_id),
        "campaign_id": _spelt("campaign", about.campaign_id),
        "message_id": about.message_id,
        "enrollment_id": about.enrollment_id,
        "template_id": _spelt("template", about.template_id),
        "conversation_id": _spelt("conversation", about.conversation_id),
        "related_entity_type": about.related_entity_type,
        "related_entity_id": about.related_entity_id,
    }


def _heard(heard: Heard, communication_id: int | None) -> dict[str, Any]:
    recipients = msgspec.json.decode(heard.recipients, type=dict[str, list[str]])
    return {
        "inbound_message_id": ids.spell("inbound", heard.id),
        "channel": heard.channel,
        "from": heard.sender,
        "from_name": heard.sender_name,
        "to": recipients.get("to", []),
        "cc": recipients.get("cc", []),
        "subject": heard.subject,
        "text": heard.text,
        "reply": heard.reply,
        "automatic": bool(heard.automatic),
        "keyword": heard.keyword,
        "contact_id": ids.spell("contact", heard.contact_id),
        "conversation_id": ids.spell("conversation", heard.conversation_id),
        "communication_id": communication_id,
        "received_at": moment(heard.received_at),
    }


def everlytic(endpoint: Endpoint, due: Due) -> dict[str, Any]:
    """What is said in the other style: flat, so that it fits into a query string too, and in the words of that provider's reports."""
    told = _decode_data(due.data)
    fields: dict[str, Any] = {
        "event_type": _EVERLYTIC_TYPES.get(due.kind, due.kind),
        "event_id": ids.spell("delivery", due.id),
        "event_date": datetime.fromtimestamp(due.at // 1000, UTC).strftime("%Y-%m-%d %H:%M:%S"),
        "webhook_id": ids.uuid("webhook", endpoint.id),
    }
    if due.about is not None:
        fields |= {"sms_id": due.communication_id, "message_id": due.about.message_id, "contact_id": due.about.contact_id}
        fields |= {"mobile_number": due.about.address, "status_description": told.detail}
    if due.heard is not None:
        fields |= {"sms_id": due.communication_id, "contact_id": due.heard.contact_id}
        fields |= {"mobile_number": due.heard.sender, "reply_id": due.heard.id, "reply_message": due.heard.text}
    return fields


def moment(at: int) -> str:
    """An instant in milliseconds as ISO 8601 with `Z` and three digits of the second."""
    return datetime.fromtimestamp(at // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{at % 1000:03d}Z"


def _asked(url: str, fields: dict[str, Any]) -> str:
    """The URL with these in its query, behind what it brings along."""
    parts = urlsplit(url)
    asked = urlencode({name: "" if value is None else value for name, value in fields.items()})
    return urlunsplit(parts._replace(query=f"{parts.query}&{asked}" if parts.query else asked))


def _spelt(kind: str, identity: int | None) -> str | None:
    return None if identity is None else ids.spell(kind, identity)
