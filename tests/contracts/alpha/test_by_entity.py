"""GET /by-entity: everything said around an entity of the caller's, both ways."""

from typing import Any

import pytest

from tests.support.api import Api
from tests.support.replies import receive
from tidings import ids
from tidings.api.alpha import thread
from tidings.domain import communications
from tidings.domain.communications import Draft
from tidings.message.outgoing import Address
from tidings.rendering.template import content_hash, prepare

PATH = "/api/v1/communications/by-entity"
DEAL = {"relatedEntityType": "Deal", "relatedEntityId": "7"}
MINUTE = 60_000
KEYS = "bodyHtml bodyText cc conversationId date direction fromEmail fromName id opened recipients status subject".split()


async def read(api: Api, kind: str = "Deal", entity: str = "7") -> list[dict[str, Any]]:
    answer = await api.client.get(PATH, params={"entityType": kind, "entityId": entity})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json"), answer.text
    return answer.json()


async def answered(api: Api, key: str, **fields: Any) -> str:
    rows = await api.rows("SELECT id FROM conversations WHERE tenant_id = :t AND key = :key", t=api.tenant.id, key=key)
    return ids.spell("inbound", await receive(api.db, api.tenant.id, rows[0][0], now=api.at, **fields))


async def test_a_mail_that_went_out_is_shown_as_its_recipient_reads_it(api: Api):
    record = await api.send(
        body='<p>Hello {{ name }}, <a href="https://shop.test/x">look</a></p>',
        subject="For {{ name }}",
        variables={"name": "Ann"},
        cc=["Bea <bea@example.test>"],
        recipients=["Ann <ann@example.test>"],
        **DEAL,
    )
    api.at += MINUTE
    await api.dispatch()
    (item,) = await read(api)
    assert sorted(item) == sorted(KEYS)
    assert item == {
        # neither pixel nor tracked link: whoever looks at it here is not the recipient
        "bodyHtml": '<p>Hello Ann, <a href="https://shop.test/x">look</a></p>\n',
        "bodyText": "Hello Ann, look (https://shop.test/x)\n",
        "cc": ['"Bea" <bea@example.test>'],
        "conversationId": record["conversationId"],
        "date": "2025-06-18T12:01:00.000Z",
        "direction": "OUTBOUND",
        "fromEmail": "hello@acme.test",
        "fromName": "Acme",
        "id": record["id"],
        "opened": False,
        "recipients": ['"Ann" <ann@example.test>'],
        "status": "SENT",
        "subject": "For Ann",
    }
    await api.stranger.get(f"/api/v1/communications/track/{record['id']}", headers={"user-agent": "Thunderbird"})
    assert (await read(api))[0]["opened"] is True


async def test_a_mail_that_came_in_is_shown_as_it_came(api: Api):
    await api.send(conversationId="deal", **DEAL)
    api.at += MINUTE
    came = await answered(
        api,
        "deal",
        sender="ann@example.test",
        sender_name="Ann",
        to=("hello@acme.test",),
        cc=("bea@example.test",),
        subject="Re: Hello",
        html="<p>Yes</p>",
        text="Yes",
        received_at=api.at + 5,
    )
    item = (await read(api))[0]
    assert item == {
        "bodyHtml": "<p>Yes</p>",
        "bodyText": "Yes",
        "cc": ["bea@example.test"],
        "conversationId": "deal",
        "date": "2025-06-18T12:01:00.005Z",
        "direction": "INBOUND",
        "fromEmail": "ann@example.test",
        "fromName": "Ann",
        "id": came,
        "opened": False,
        "recipients": ["hello@acme.test"],
        "status": "NEW",
        "subject": "Re: Hello",
    }


async def test_both_ways_newest_first_by_when_it_was_sent_will_be_or_was_received(api: Api):
    first = await api.send(conversationId="deal", **DEAL)
    await api.dispatch()
    later = {"body": "x", "recipients": ["ann@example.test"], "subject": "Later", "scheduledAt": "2025-06-18T14:00:00Z", **DEAL}
    scheduled = (await api.client.post("/api/v1/communications/schedule", json=later)).json()
    api.at += MINUTE
    came = await answered(api, "deal")
    api.at += MINUTE
    waiting = await api.send(**DEAL)
    items = await read(api)
    assert [(item["id"], item["status"], item["date"]) for item in items] == [
        (scheduled["id"], "SCHEDULED", "2025-06-18T14:00:00.000Z"),
        (waiting["id"], "PENDING", "2025-06-18T12:02:00.000Z"),
        (came, "NEW", "2025-06-18T12:01:00.000Z"),
        (first["id"], "SENT", "2025-06-18T12:00:00.000Z"),
    ]


async def test_a_conversation_that_is_linked_brings_all_that_was_said_in_it_once(api: Api):
    before = await api.send(conversationId="deal", subject="Before")
    api.at += MINUTE
    linking = await api.send(conversationId="deal", subject="Linking", **DEAL)
    api.at += MINUTE
    after = await api.send(conversationId="deal", subject="After")
    api.at += MINUTE
    came = await answered(api, "deal")
    api.at += MINUTE
    another = await api.send(conversationId="deal", relatedEntityType="Invoice", relatedEntityId="8")
    await api.send(subject="Elsewhere")
    assert [item["id"] for item in await read(api)] == [another["id"], came, after["id"], linking["id"], before["id"]]
    assert [item["id"] for item in await read(api, "Invoice", "8")] == [another["id"]]


async def test_what_came_in_for_the_entity_is_shown_wherever_it_came_in(api: Api):
    await api.send(conversationId="case")
    came = await answered(api, "case", related_entity_type="Deal", related_entity_id="7")
    assert [item["id"] for item in await read(api)] == [came]


async def test_text_messages_have_numbers_and_text_and_no_markup(api: Api):
    content = prepare(tenant_id=api.tenant.id, channel="sms", format="text", subject="", body="On my way")
    sms = Draft(
        tenant_id=api.tenant.id,
        channel="sms",
        content=content,
        content_hash=content_hash(content),
        type="SMS",
        phone="+31612345678",
        related_entity_type="Deal",
        related_entity_id="7",
    )
    await api.db.write(communications.accept, sms, now=api.at)
    wire = (await read(api))[0]["conversationId"]
    await api.send(conversationId=wire)
    api.at += MINUTE
    await answered(api, wire, channel="sms", sender="+31612345678", to=("+31687654321",), text="Fine")
    items = [item for item in await read(api) if item["recipients"][0].startswith("+")]
    names = ("direction", "recipients", "bodyText", "bodyHtml", "subject")
    assert [tuple(item[name] for name in names) for item in items] == [
        ("INBOUND", ["+31687654321"], "Fine", "", ""),
        ("OUTBOUND", ["+31612345678"], "On my way", "", ""),
    ]


async def test_what_cannot_be_rendered_is_shown_as_it_came(api: Api):
    content = prepare(tenant_id=api.tenant.id, channel="email", format="html", subject="Hi", body="<p>{{ 1 // 0 }}</p>")
    broken = Draft(
        tenant_id=api.tenant.id,
        channel="email",
        content=content,
        content_hash=content_hash(content),
        type="OFFERTE",
        to=(Address("ann@example.test"),),
        related_entity_type="Deal",
        related_entity_id="7",
    )
    await api.db.write(communications.accept, broken, now=api.at)
    await api.dispatch()
    (item,) = await read(api)
    assert (item["status"], item["subject"], item["bodyHtml"], item["bodyText"]) == ("FAILED", "Hi", "<p>{{ 1 // 0 }}</p>", "")


async def test_a_long_timeline_comes_complete_and_in_order(api: Api, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(thread, "PLACES", 5)
    monkeypatch.setattr(thread, "MAILS", 2)
    expected: list[tuple[int, int, int, str]] = []
    for number in range(11):
        # some at the same instant, on both sides of a step
        api.at += MINUTE * (number % 4 == 0)
        sent = (await api.send(conversationId="deal", **DEAL))["id"]
        expected.append((api.at, 0, number, sent))
        expected.append((api.at, 1, number, await answered(api, "deal")))
    assert [item["id"] for item in await read(api)] == [place[-1] for place in sorted(expected, reverse=True)]


async def test_an_entity_nobody_knows_has_nothing_said_around_it(api: Api):
    await api.send(**DEAL)
    for kind, entity in (("Deal", "8"), ("deal", "7"), ("Invoice", "7"), ("Deal", "%"), ("Deal' OR '1'='1", "7")):
        assert await read(api, kind, entity) == []
    rival = await api.rival()
    assert (await rival.get(PATH, params={"entityType": "Deal", "entityId": "7"})).json() == []
    await rival.aclose()


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("", "entityType"),
        ("entityId=7", "entityType"),
        ("entityType=Deal", "entityId"),
        ("entityType=Deal&entityId=", "entityId"),
        ("entityType=%20&entityId=7", "entityType"),
        ("entityType=Deal&entityId=7%00", "entityId"),
        (f"entityType=Deal&entityId={'x' * 201}", "entityId"),
    ],
)
async def test_both_parameters_are_required(api: Api, query: str, field: str):
    answer = await api.client.get(f"{PATH}?{query}")
    assert (answer.status_code, set(answer.json()), answer.json()["title"]) == (400, {"detail", "time", "title"}, "Bad Request")
    assert field in answer.json()["detail"]


async def test_it_needs_a_key_that_may_read(api: Api):
    assert (await api.stranger.get(PATH)).status_code == 401
    assert (await api.client_for(await api.new_key(api.tenant, "contacts:read")).get(PATH)).status_code == 403
    assert (await api.client.post(PATH, json={})).status_code == 405
