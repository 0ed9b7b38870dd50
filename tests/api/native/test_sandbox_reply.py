"""Playing the person who answers what the sandbox kept."""

from typing import Any

import pytest

from tests.api.conftest import Api
from tests.api.native.test_conversations import get
from tidings.domain import enrollments, tenants
from tidings.message.outgoing import Email, Outcome
from tidings.providers.sandbox import Sandbox

PATH = "/api/v1/sandbox/reply"


async def dispatched(api: Api) -> list[dict[str, Any]]:
    """What is due goes out and is kept; newest first."""
    for sealed in await api.dispatch():
        channel = "email" if isinstance(sealed, Email) else "sms"
        await Sandbox(api.db, lambda: api.at, channel).send([sealed], _unheard)
    return (await get(api, "/api/v1/sandbox/messages"))["messages"]


def _unheard(communication_id: int, outcome: Outcome) -> None:
    """What the sandbox answers is known already."""


async def play(api: Api, **fields: Any) -> dict[str, Any]:
    answer = await api.client.post(PATH, json=fields)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def inbound(api: Api, played: dict[str, Any]) -> dict[str, Any]:
    return await get(api, f"/api/v1/inbound_messages/{played['inbound_message_id']}")


async def test_a_mail_is_answered_by_its_recipient_with_what_it_answers_quoted(api: Api):
    sent = await api.send(body="<p>Hello Ann</p>")
    (kept,) = await dispatched(api)
    played = await play(api, message=kept["id"], text="Yes, please", html="<p>Yes, please</p>")
    assert (played["communication_id"], played["stopped"], played["keyword"], played["answered"]) == (
        kept["communication_id"],
        False,
        None,
        False,
    )
    came = await inbound(api, played)
    assert (came["from"], came["to"], came["subject"]) == ("ann@example.test", ["hello@acme.test"], "Re: Hello")
    assert came["in_reply_to"] == sent["internetMessageId"]
    assert came["reply"] == "Yes, please"
    assert "> Hello Ann" in came["text"]
    assert came["conversation_id"] == played["conversation_id"]
    thread = await get(api, f"/api/v1/communications/{sent['id']}/thread")
    assert [row["id"] for row in thread["inbound"]] == [played["inbound_message_id"]]


async def test_a_reply_address_is_honoured_and_somebody_else_may_answer(api: Api):
    await api.db.write(tenants.update, api.tenant, reply_address="reply@in.acme.test", now=api.at)
    await api.send()
    (kept,) = await dispatched(api)
    played = await play(api, communication_id=kept["communication_id"], html="<p>Me</p>", **{"from": "bob@example.test"})
    came = await inbound(api, played)
    assert came["from"] == "bob@example.test"
    assert came["to"][0].startswith("reply+")
    assert (came["reply"], played["communication_id"]) == ("Me", kept["communication_id"])


async def test_an_automatic_answer_stops_nothing_and_a_persons_stops_the_campaign(api: Api):
    await api.send()
    campaign = await api.campaign()
    await api.run(
        "INSERT INTO messages (tenant_id, campaign_id, position, channel, delay, content_id, created_at, updated_at)"
        " VALUES (:tenant_id, :campaign_id, 2, 'email', 3600000, 1, :now, :now)",
        tenant_id=api.tenant.id,
        campaign_id=campaign,
        now=api.at,
    )
    await api.db.write(enrollments.enroll, api.tenant.id, campaign, await api.contact("eve@example.test"), now=api.at)
    kept = next(row for row in await dispatched(api) if row["to"] == "eve@example.test")
    away = await play(api, message=kept["id"], text="Back on Monday", automatic=True)
    assert (away["stopped"], (await inbound(api, away))["automatic"]) == (False, True)
    assert not (await get(api, "/api/v1/conversations"))["conversations"][0]["unread"]
    assert (await play(api, message=kept["id"], text="Hi"))["stopped"]
    api.at += 3_600_001
    assert await api.dispatch() == []
    assert (await get(api, "/api/v1/conversations"))["conversations"][0]["unread"] == 1


async def test_a_text_is_answered_and_a_word_is_heeded(api: Api):
    hello = {"phone": "+41791230001", "body": "Hello", "send_sms": True}
    assert (await api.client.post("/api/v1/instant_messages", json=hello)).status_code == 201
    (kept,) = await dispatched(api)
    first = await play(api, message=kept["id"], text="Hi")
    assert (first["communication_id"], first["keyword"]) == (kept["communication_id"], None)
    stop = await play(api, message=kept["id"], text="Stop")
    assert (stop["keyword"], stop["answered"], stop["conversation_id"]) == ("stop", True, first["conversation_id"])
    confirmation = (await dispatched(api))[0]
    assert "unsubscribed" in confirmation["text"]
    assert (await api.client.post(PATH, json={"message": kept["id"], "html": "<p>x</p>"})).status_code == 422


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({}, 422),
        ({"text": "x"}, 422),
        ({"message": 1, "communication_id": 1, "text": "x"}, 422),
        ({"message": 1}, 422),
        ({"message": 99, "text": "x"}, 404),
        ({"communication_id": 99, "text": "x"}, 404),
        ({"message": 1, "text": "x", "from": "nobody"}, 422),
        ({"message": 1, "text": "x", "who": "me"}, 422),
        ({"message": 1, "text": "x" * 1_000_001}, 422),
    ],
)
async def test_what_answers_nothing_is_refused(api: Api, wrong: dict[str, Any], status: int):
    await api.send()
    (kept,) = await dispatched(api)
    if wrong.get("message") == 1:
        wrong = {**wrong, "message": kept["id"]}
    assert (await api.client.post(PATH, json=wrong)).status_code == status


async def test_another_tenants_messages_are_not_answered(api: Api):
    await api.send()
    (kept,) = await dispatched(api)
    rival = await api.rival()
    for named in ({"message": kept["id"]}, {"communication_id": kept["communication_id"]}):
        assert (await rival.post(PATH, json={**named, "text": "x"})).status_code == 404
    await rival.aclose()
