"""GET /v1/recipients/{recipientId}/messages: what is shown, of both directions, page by page."""

import asyncio
from typing import Any

import pytest

from tests.contracts.rocketcoms.story import KEYS, STATUS, Story
from tests.support.api import NOON, Api, basic
from tidings import ids
from tidings.api.rocketcoms import STATUS as PROJECTED
from tidings.clock import DAY, HOUR
from tidings.domain import communications
from tidings.domain.communications import Draft
from tidings.message.outgoing import Address
from tidings.rendering.template import content_hash, prepare


@pytest.fixture
async def story(api: Api) -> Story:
    return await Story(api).begin()


async def test_a_message_of_a_campaign_and_its_answer_key_by_key(story: Story):
    spring = await story.campaign("Spring Campaign")
    mail = await story.sent("Spring Sale Starts Today", "delivered", campaign=spring)
    await story.received("Is it the blue one?\n> Spring Sale Starts Today", answers=mail, received_at=NOON + HOUR)
    answer = await story.api.client.get(story.path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == {
        "status": "0000",
        "result": {
            "content": [
                {
                    "id": ids.uuid("inbound", story.said[1].id),
                    "direction": "INCOMING",
                    # all that came, what it quotes included
                    "messageText": "Is it the blue one?\n> Spring Sale Starts Today",
                    "campaignId": ids.uuid("campaign", spring),
                    "campaignName": "Spring Campaign",
                    "status": "DELIVERED",
                },
                {
                    "id": ids.uuid("communication", story.said[0].id),
                    "direction": "OUTGOING",
                    "messageText": "Spring Sale Starts Today",
                    "campaignId": ids.uuid("campaign", spring),
                    "campaignName": "Spring Campaign",
                    "status": "DELIVERED",
                },
            ],
            "page": 0,
            "total": 1,
            "pageSize": 20,
        },
        "message": "Success",
    }


async def test_nothing_said_is_an_empty_list_of_no_pages(story: Story):
    assert await story.ask() == {"content": [], "page": 0, "total": 0, "pageSize": 20}
    assert await story.ask("page=7&pageSize=3") == {"content": [], "page": 7, "total": 0, "pageSize": 3}


async def test_every_state_has_the_contracts_word(story: Story):
    assert PROJECTED == STATUS
    for number, state in enumerate(STATUS):
        await story.sent(state, state, created_at=NOON + number)
    content = (await story.ask("sortBy=createdAt"))["content"]
    assert {message["messageText"]: message["status"] for message in content} == STATUS
    assert all(message["campaignId"] is message["campaignName"] is None for message in content)


async def test_a_mail_is_told_as_plain_text_as_its_recipient_reads_it(api: Api):
    fields = {"body": '<h1>Hello {{ name }}</h1><p><a href="https://shop.test/x">Look</a> &amp; buy</p>', "variables": {"name": "Ann"}}
    await api.send(**fields)
    (contact,) = (await api.client.get("/api/v1/contacts")).json()["contacts"]
    for _ in ("waiting", "sent"):
        answer = await api.client.get(f"/v1/recipients/{contact['uuid']}/messages")
        (message,) = answer.json()["result"]["content"]
        assert message["messageText"] == "Hello Ann\n\nLook (https://shop.test/x) & buy"
        await api.dispatch()
    assert message["status"] == "SENT"
    record = (await api.client.get("/api/v1/communications/page")).json()["content"][0]
    assert (record["opened"], record["clickedLinks"]) == (False, [])


async def test_a_text_is_told_to_the_letter_and_stands_in_one_list_with_mail(story: Story):
    await story.sent(" On my way \u2019til 8 ", channel="sms", created_at=NOON)
    await story.sent("A mail", created_at=NOON + 1)
    await story.received("Fine", channel="sms", sender="+31612345678", received_at=NOON + 2)
    assert await story.texts() == ["Fine", "A mail", " On my way \u2019til 8 "]


async def test_what_cannot_be_rendered_is_told_as_it_was_written(story: Story):
    await story.sent("{{ 1 // 0 }} apples", "failed", body="<p>{{ 1 // 0 }} <b>apples</b></p>")
    await story.sent("{{ 1 // 0 }} pears", "failed", channel="sms", created_at=NOON + 1)
    assert await story.texts() == ["{{ 1 // 0 }} pears", "{{ 1 // 0 }} apples"]
    assert await story.texts("messageText=apples") == ["{{ 1 // 0 }} apples"]


async def test_a_line_break_at_the_end_of_a_mail_is_not_told(story: Story):
    await story.received("Yes\r\n\r\nAnn\r\n", received_at=NOON)
    assert await story.texts() == ["Yes\r\n\r\nAnn"]


async def test_newest_first_by_when_it_was_sent_will_be_was_accepted_or_was_received(story: Story):
    await story.sent("sent late", created_at=NOON, sent_at=NOON + 5 * HOUR)
    await story.sent("accepted", "pending", created_at=NOON + 2 * HOUR)
    await story.sent("scheduled", "scheduled", created_at=NOON, scheduled_at=NOON + 4 * HOUR)
    await story.received("received", received_at=NOON + 3 * HOUR, created_at=NOON + 9 * HOUR)
    await story.sent("sent early", created_at=NOON, scheduled_at=NOON + 6 * HOUR, sent_at=NOON + HOUR)
    newest = ["sent late", "scheduled", "received", "accepted", "sent early"]
    assert await story.texts() == newest
    assert await story.texts("sortDir=desc") == newest
    assert await story.texts("sortDir=asc") == newest[::-1]


async def test_of_one_instant_what_came_in_stands_behind_what_it_may_answer(story: Story):
    for number in range(3):
        await story.sent(f"out {number}")
        await story.received(f"in {number}")
    assert await story.texts("sortDir=asc") == ["out 0", "out 1", "out 2", "in 0", "in 1", "in 2"]
    assert await story.texts() == ["in 2", "in 1", "in 0", "out 2", "out 1", "out 0"]


@pytest.mark.parametrize("query", ["", "sortBy=status", "sortBy=campaignId", "messageText=m", "sortBy=messageText&sortDir=desc"])
async def test_pages_put_together_are_the_whole_in_order(story: Story, query: str):
    for number in range(7):
        await story.sent(f"m{number}", created_at=NOON + number // 2)
        await story.received(f"m{number}", received_at=NOON + number // 2)
    whole = (await story.ask(f"{query}&pageSize=100"))["content"]
    assert sorted(message["id"] for message in whole) == sorted(said.shown["id"] for said in story.said)
    for size, pages in ((1, 14), (4, 4), (7, 2), (13, 2), (14, 1), (100, 1)):
        found: list[dict[str, Any]] = []
        for page in range(pages):
            result = await story.ask(f"{query}&pageSize={size}&page={page}")
            assert (result["page"], result["total"], result["pageSize"]) == (page, pages, size)
            found += result["content"]
        assert found == whole
        for page in (pages, pages + 1, 2**31 - 1):
            beyond = await story.ask(f"{query}&pageSize={size}&page={page}")
            assert beyond == {"content": [], "page": page, "total": pages, "pageSize": size}


async def test_an_incoming_message_is_of_the_campaign_that_it_answers_if_of_any(story: Story):
    spring = await story.campaign("Spring")
    campaign, manual = await story.sent("campaign", campaign=spring), await story.sent("manual")
    await story.received("to the campaign", answers=campaign)
    await story.received("to the other", answers=manual)
    await story.received("out of the blue")
    shown = {message["messageText"]: message["campaignName"] for message in (await story.ask())["content"]}
    assert shown == {"campaign": "Spring", "manual": None, "to the campaign": "Spring", "to the other": None, "out of the blue": None}
    assert await story.texts(f"campaigns={ids.uuid('campaign', spring)}") == ["to the campaign", "campaign"]


async def test_what_is_deleted_is_told_no_more_and_its_answer_is_of_no_campaign(story: Story):
    mail = await story.sent("gone", campaign=await story.campaign("Spring"))
    await story.received("Yes", answers=mail)
    token = story.api.signer.communication(story.api.tenant.id, mail.id)
    assert (await story.api.client.delete(f"/api/v1/communications/{token}")).status_code == 204
    (message,) = (await story.ask())["content"]
    assert (message["messageText"], message["campaignId"], message["campaignName"]) == ("Yes", None, None)


async def test_a_mail_to_several_is_in_the_list_of_the_first(api: Api):
    await api.send(recipients=["ann@example.test", "bob@example.test"])
    await api.send(recipients=["bob@example.test"])
    rows = (await api.client.get("/api/v1/contacts?limit=100")).json()["contacts"]
    for contact in rows:
        answer = await api.client.get(f"/v1/recipients/{contact['uuid']}/messages")
        assert len(answer.json()["result"]["content"]) == 1, contact["email"]


async def test_others_messages_are_not_in_it(api: Api):
    story = await Story(api).begin()
    await story.sent("to Ann")
    bob = await Story(api).begin("bob@example.test")
    await bob.sent("to Bob")
    await bob.received("from Bob")
    assert await story.texts() == ["to Ann"]
    assert await bob.texts("sortDir=asc") == ["to Bob", "from Bob"]


async def test_both_credentials_open_it_and_the_uuid_is_taken_in_either_case(story: Story):
    await story.sent("Hello")
    key = story.api.key
    for authorization in (f"Bearer {key.token}", basic(key.key, key.secret)):
        answer = await story.api.stranger.get(story.path, headers={"authorization": authorization})
        assert answer.status_code == 200, authorization
    shouted = story.path.replace(story.path.split("/")[3], story.path.split("/")[3].upper())
    assert (await story.api.client.get(shouted)).json() == (await story.api.client.get(story.path)).json()


async def test_head_says_what_get_would_and_nothing_more(story: Story):
    await story.sent("Hello")
    for path, status in ((story.path, 200), (f"{story.path}?page=-1", 400), (f"/v1/recipients/{ids.uuid('contact', 999)}/messages", 404)):
        answer = await story.api.client.head(path)
        assert (answer.status_code, answer.content, answer.headers["content-type"]) == (status, b"", "application/json")
    assert (await story.api.client.head(story.path)).headers["content-length"] == str(len((await story.api.client.get(story.path)).content))


async def test_the_schema_shows_what_is_answered(story: Story):
    document = (await story.api.stranger.get("/openapi.json")).json()
    operation = document["paths"]["/v1/recipients/{recipientId}/messages"]["get"]
    assert list(operation["responses"]) == ["200", "400", "401", "403", "404", "500", "503"]
    assert operation["responses"]["404"] == {"$ref": "#/components/responses/rocketcoms_404"}
    refused = document["components"]["responses"]["rocketcoms_404"]["content"]["application/json"]["schema"]
    assert refused["required"] == ["status", "traceId", "message", "timestamp"]
    assert list(document["components"]["schemas"]["Message"]["properties"]) == KEYS
    names = ["recipientId", "from", "to", "status", "campaigns", "messageText", "sortBy", "sortDir", "page", "pageSize"]
    assert [parameter["name"] for parameter in operation["parameters"]] == names


async def test_a_recipient_who_is_written_to_all_the_while_gets_whole_answers(story: Story):
    """A page, and a look through everything, while mail is accepted and sent."""
    for number in range(20):
        await story.sent(f"m{number}", created_at=NOON - DAY + number)
    content = prepare(tenant_id=story.api.tenant.id, channel="email", format="html", subject="Hi", body="<p>more</p>")
    draft = Draft(
        tenant_id=story.api.tenant.id,
        channel="email",
        content=content,
        content_hash=content_hash(content),
        type="OFFERTE",
        to=(Address("ann@example.test"),),
        contact_id=story.contact_id,
    )

    async def go_on() -> None:
        for _ in range(10):
            await story.api.db.write(communications.accept, draft, now=story.api.at)
            await story.api.dispatch()

    going = asyncio.create_task(go_on())
    while not going.done():
        for query in ("pageSize=100", "pageSize=100&messageText=m", "pageSize=100&sortBy=id"):
            texts = await story.texts(query)
            assert {f"m{number}" for number in range(20)} <= set(texts)
    await going
    assert len(await story.texts("pageSize=100")) == 30
