"""Webhooks over HTTP: set up, shown without their secrets, tried, looked into, replayed; and told of what really happens."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import pytest
import standardwebhooks

from tests.support.api import Api, page_of
from tests.support.receiving import OK, Receiver, receiving, status, verified
from tidings import clock, ids
from tidings.clock import DAY, MINUTE
from tidings.database import Tx
from tidings.domain import endpoints, threads
from tidings.domain.threads import Arrival, Incoming
from tidings.inbound import receive
from tidings.message.outgoing import refused
from tidings.providers.registry import Registry
from tidings.web import create_app
from tidings.webhooks.post import Courier, Poster
from tidings.webhooks.wire import Caller
from tidings.worker import work

PATH = "/api/v1/webhooks"
SHOP = {"url": "https://hooks.shop.test/in"}


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as found:
        yield found


@pytest.fixture
async def open_api(api: Api) -> Api:
    """The house, where private addresses are allowed, at the real time: the verifier knows no other."""
    api.at = clock.now()
    api.house = msgspec.structs.replace(api.house, allow_private=True)
    api.app = create_app(api.house)
    api.client = api.client_for(api.key)
    return api


async def make(api: Api, **fields: Any) -> dict[str, Any]:
    answer = await api.client.post(PATH, json=SHOP | fields)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def post_all(api: Api) -> None:
    caller = Caller(allow_private=True)
    await Poster(api.db, Courier(api.house.vault, api.signer, lambda: api.at, caller), lambda: api.at).turn()
    await caller.close()


async def test_a_webhook_shows_its_secret_once_and_its_password_never(api: Api):
    asked = {"name": "Shop", "events": ["communication.clicked"], "auth": {"username": "us", "password": "hush-hush"}}
    campaign = ids.spell("campaign", await api.campaign())
    made = await make(api, **asked, filters={"channel": "email", "campaigns": [campaign], "types": ["NEWS"], "humans_only": True})
    assert made["id"].startswith("hook_")
    assert standardwebhooks.Webhook(made.pop("secret"))
    assert made["filters"] == {"channel": "email", "campaigns": [campaign], "templates": [], "types": ["NEWS"], "humans_only": True}
    assert (made["state"], made["style"], made["verb"], made["auth"]) == ("ok", "standard", "POST", {"username": "us"})
    listed = await api.client.get(PATH)
    assert listed.json()["webhooks"] == [made]
    assert page_of(listed)["total"] == 1
    assert (await api.client.get(f"{PATH}/{made['id']}")).json() == made
    assert "hush" not in listed.text
    assert "whsec" not in listed.text
    ((secret, auth),) = await api.rows("SELECT secret, auth FROM endpoints")
    assert "whsec" not in secret
    assert "hush" not in auth


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"url": "http://127.0.0.1/"}, "url must not lead to 127.0.0.1: webhooks are sent to public addresses alone"),
        ({"url": "http://[::1]/"}, "url must not lead to ::1: webhooks are sent to public addresses alone"),
        ({"url": "https://u:p@hooks.shop.test/"}, "url must not contain a user name or password: give them as auth"),
        ({"url": "hooks"}, "url must be an http or https URL"),
        ({"url": "https://hooks.shop.test/\0"}, None),
        ({"events": ["sent"]}, None),
        ({"events": ["webhook.test"]}, None),
        ({"verb": "GET"}, "verb must be POST: the Standard Webhooks are posted"),
        ({"filters": {"campaigns": ["camp_x"]}}, "filters.campaigns must be ids of campaigns"),
        ({"filters": {"channel": "fax"}}, None),
        ({"filters": {"types": ["N" * 201]}}, "filters.types must have at most 200 characters each"),
        ({"auth": {"username": "us", "password": "p" * 256}}, "auth must be a user name and a password of at most 255 characters each"),
        ({"auth": {"username": "a:b", "password": ""}}, "auth.username must not contain a colon"),
        ({"secret": "whsec_mine"}, None),
    ],
)
async def test_what_cannot_be_is_refused_with_the_field(api: Api, fields: dict[str, Any], complaint: str | None):
    answer = await api.client.post(PATH, json=SHOP | fields)
    assert answer.status_code in {400, 422}
    assert complaint is None or answer.json()["error"] == complaint
    assert await api.rows("SELECT id FROM endpoints") == []


async def test_what_is_not_named_stays_as_it_is(api: Api):
    made = await make(api, name="Shop", events=["communication.sent"], auth={"username": "us", "password": "p"})
    path = f"{PATH}/{made['id']}"
    changed = (await api.client.patch(path, json={"url": "https://other.test/in"})).json()
    del made["secret"]
    assert changed == made | {"url": "https://other.test/in", "updated_at": changed["updated_at"]}
    assert (await api.client.patch(path, json={"auth": None, "events": []})).json()["auth"] is None
    assert (await api.client.patch(path, json={"url": "http://10.0.0.1/"})).status_code == 422
    assert (await api.client.patch(path, json={"verb": "PUT"})).status_code == 422
    off = (await api.client.post(f"{path}/disable")).json()
    assert (off["state"], off["disabled_reason"]) == ("disabled", "Switched off by its owner")
    assert (await api.client.post(f"{path}/replay", json={})).status_code == 409
    assert (await api.client.post(f"{path}/enable")).json()["state"] == "ok"
    assert (await api.client.delete(path)).status_code == 204
    assert (await api.client.get(path)).status_code == 404


async def test_another_tenants_webhook_is_none(api: Api):
    made = await make(api)
    rival = await api.rival()
    for method, below in [
        ("GET", ""), ("DELETE", ""), ("POST", "/rotate"), ("POST", "/test"), ("POST", "/enable"), ("POST", "/disable"), ("GET", "/deliveries"),
    ]:  # fmt: skip
        assert (await rival.request(method, f"{PATH}/{made['id']}{below}")).status_code == 404, below
    assert (await rival.patch(f"{PATH}/{made['id']}", json={"name": "Mine"})).status_code == 404
    assert (await rival.post(f"{PATH}/{made['id']}/replay", json={})).status_code == 404
    assert (await rival.get(PATH)).json()["webhooks"] == []
    await rival.aclose()


async def test_what_happens_to_a_mail_is_told_in_order_and_logged(open_api: Api, receiver: Receiver):
    api = open_api
    made = await make(api, url=receiver.url)
    sent = await api.send(body='<a href="https://shop.test/sale">Sale</a>')
    await api.dispatch()
    api.at += 5000
    assert (await api.stranger.get(f"/api/v1/communications/link/{sent['id']}/0")).status_code == 302
    desk = receive.Desk(api.db, api.house.store, api.signer, lambda: api.at)
    reply = f"From: Ann <ann@example.test>\r\nIn-Reply-To: {sent['internetMessageId']}\r\nSubject: Re: Hello\r\n\r\nYes, please\r\n"
    await receive.mail(desk, api.tenant.id, reply.encode())
    await post_all(api)
    said = [verified(each, made["secret"]) for each in receiver.got]
    ours = [each for each in said if each["data"].get("alpha_id") == sent["id"]]
    assert [each["type"].partition(".")[2] for each in ours] == ["sent", "opened", "clicked", "replied"]
    assert (ours[2]["data"]["url"], ours[2]["data"]["link_index"]) == ("https://shop.test/sale", 0)
    (heard,) = [each["data"] for each in said if each["type"] == "inbound_message.received"]
    assert (heard["from"], heard["from_name"], heard["text"].strip()) == ("ann@example.test", "Ann", "Yes, please")
    assert heard["communication_id"] == ours[0]["data"]["communication_id"]
    log = await api.client.get(f"{PATH}/{made['id']}/deliveries", params={"event": "communication.clicked", "state": "delivered"})
    (entry,) = log.json()["deliveries"]
    assert (entry["event"], entry["attempts"], entry["log"][0]["status"], entry["log"][0]["answer"]) == (
        "communication.clicked",
        1,
        200,
        "ok",
    )
    assert (await api.client.get(f"{PATH}/{made['id']}/deliveries/{entry['id']}")).json() == entry
    assert page_of(await api.client.get(f"{PATH}/{made['id']}/deliveries"))["total"] == 5
    later = await api.client.get(f"{PATH}/{made['id']}/deliveries", params={"since": "2199-01-01"})
    assert later.json()["deliveries"] == []
    assert (await api.client.get(f"{PATH}/{made['id']}/deliveries", params={"since": "soon"})).status_code == 422
    assert (await api.client.get(f"{PATH}/{made['id']}/deliveries", params={"state": "lost"})).status_code == 422


async def test_a_failure_is_told_with_its_reason_and_replayed_on_demand(open_api: Api, receiver: Receiver):
    api = open_api
    made = await make(api, url=receiver.url, events=["communication.failed"])
    api.carrying.answer = lambda _: refused("no such user", "5.1.1")
    await api.send()
    await api.dispatch()
    receiver.plan = [status(500), OK]
    await post_all(api)
    path = f"{PATH}/{made['id']}"
    failing = (await api.client.get(path)).json()
    assert (failing["state"], failing["error"]) == ("failing", "The answer was 500")
    (entry,) = (await api.client.get(f"{path}/deliveries")).json()["deliveries"]
    assert (entry["state"], entry["error"]) == ("waiting", "The answer was 500")
    again = await api.client.post(f"{path}/deliveries/{entry['id']}/replay")
    assert (again.status_code, again.json()["attempts"]) == (200, 0)
    await post_all(api)
    assert [verified(each, made["secret"])["data"]["detail"] for each in receiver.got] == ["no such user (5.1.1)"] * 2
    assert {each.headers["webhook-id"] for each in receiver.got} == {entry["id"]}
    assert (await api.client.get(path)).json()["state"] == "ok"
    assert (await api.client.post(f"{path}/replay", json={"since": "2025-01-01", "event": "communication.failed"})).json() == {
        "replayed": 0
    }
    assert (await api.client.post(f"{path}/deliveries/dlv_x/replay")).status_code == 404


async def test_a_test_answers_with_what_came_back(open_api: Api, receiver: Receiver):
    api = open_api
    made = await make(api, url=receiver.url, enabled=False)
    receiver.plan = [status(418, body="teapot")]
    tried = (await api.client.post(f"{PATH}/{made['id']}/test")).json()
    assert (tried["event"], tried["state"], tried["error"]) == ("webhook.test", "failed", "The answer was 418")
    assert (tried["log"][0]["status"], tried["log"][0]["answer"]) == (418, "teapot")
    tried = (await api.client.post(f"{PATH}/{made['id']}/test")).json()
    assert tried["state"] == "delivered"
    assert verified(receiver.got[1], made["secret"])["type"] == "webhook.test"
    assert (await api.client.post(f"{PATH}/{made['id']}/deliveries/{tried['id']}/replay")).status_code == 409


async def test_a_rotated_secret_signs_beside_the_old_one_for_a_day(open_api: Api, receiver: Receiver):
    api = open_api
    made = await make(api, url=receiver.url)
    turned = (await api.client.post(f"{PATH}/{made['id']}/rotate")).json()
    assert turned["secret"] != made["secret"]
    assert turned["rotating_until"] is not None
    await api.client.post(f"{PATH}/{made['id']}/test")
    assert verified(receiver.got[0], made["secret"]) == verified(receiver.got[0], turned["secret"])
    api.at += DAY
    assert (await api.client.get(f"{PATH}/{made['id']}")).json()["rotating_until"] is None


@pytest.mark.parametrize("verb", ["GET", "POST", "PUT", "PATCH", "DELETE"])
async def test_the_other_style_says_the_same_flat_by_the_verb_asked_for(open_api: Api, receiver: Receiver, verb: str):
    api = open_api
    auth = {"username": "us", "password": "hush:hush"}
    made = await make(api, url=f"{receiver.url}?key=1", style="everlytic", verb=verb, auth=auth, filters={"channel": "sms"})
    assert made["secret"] is None
    await api.client.post("/api/v1/instant_messages", json={"phone": "+31612345678", "first_name": "Bo", "send_sms": True, "body": "Hello"})
    await api.send()
    await api.dispatch()
    await post_all(api)
    (got,) = receiver.got
    assert got.verb == verb
    assert got.headers["authorization"] == "Basic dXM6aHVzaDpodXNo"
    target, _, query = got.target.partition("?")
    if got.body:
        fields = {name: str(value) for name, value in json.loads(got.body).items()}
        assert (target, query) == ("/hook", "key=1")
    else:
        fields = dict(parse_qsl(query))
        assert fields.pop("key") == "1"
    assert (fields["event_type"], fields["mobile_number"]) == ("sent", "+31612345678")
    assert fields["webhook_id"] == ids.uuid("webhook", ids.parse("webhook", made["id"]) or 0)
    assert (await api.client.post(f"{PATH}/{made['id']}/rotate")).status_code == 409


TEXTED = [
    "communication.sent",
    "communication.delivered",
    "communication.failed",
    "communication.bounced",
    "inbound_message.received",
    "communication.unsubscribed",
]


async def text_and_reply(api: Api) -> None:
    """A mail that is opened, and a text that is answered."""
    mail = await api.send()
    phone = "+31612345678"
    await api.client.post("/api/v1/instant_messages", json={"phone": phone, "first_name": "Bo", "send_sms": True, "body": "Hello"})
    await api.dispatch()
    assert (await api.stranger.get(f"/api/v1/communications/track/{mail['id']}")).status_code == 200
    incoming = Incoming(source="test", source_id="1", channel="sms", contact_id=0, received_at=api.at, sender=phone, text="Yes")
    await api.db.write(threads.take, api.tenant.id, Arrival(incoming=incoming), now=api.at)


@pytest.mark.parametrize("changed", [None, {"events": [], "filters": {}}, {"events": TEXTED, "filters": {"channel": "sms"}}])
async def test_the_other_style_tells_of_texts_alone_and_of_a_reply_once(open_api: Api, receiver: Receiver, changed: dict[str, Any] | None):
    api = open_api
    made = await make(api, url=receiver.url, style="everlytic")
    if changed is not None:
        made = (await api.client.patch(f"{PATH}/{made['id']}", json=changed)).json()
    assert (made["events"], made["filters"]["channel"]) == (TEXTED, "sms")
    await text_and_reply(api)
    await post_all(api)
    said = [json.loads(each.body) for each in receiver.got]
    assert [(each["event_type"], each["mobile_number"]) for each in said] == [("sent", "+31612345678"), ("reply", "+31612345678")]


async def test_one_of_the_other_style_that_was_made_to_hear_everything_hears_no_more_than_it_can_say(open_api: Api, receiver: Receiver):
    api = open_api
    made = [await make(api, url=receiver.url, style="everlytic") for _ in range(2)]

    def widen(tx: Tx) -> None:
        for each, kinds in zip(made, ("[]", '["opened", "replied"]'), strict=True):
            tx.run(
                "UPDATE endpoints SET kinds = :kinds, filters = '{}' WHERE tenant_id = :tenant_id AND id = :id",
                tenant_id=api.tenant.id,
                id=ids.parse("webhook", each["id"]),
                kinds=kinds,
            )

    await api.db.write(widen)
    await text_and_reply(api)
    await post_all(api)
    assert [json.loads(each.body)["event_type"] for each in receiver.got] == ["sent", "reply"]


async def test_the_other_style_refuses_what_it_has_no_words_for(api: Api):
    made = await make(api, style="everlytic", events=["communication.delivered"])
    told = "the style everlytic tells of sent, delivered, failed, bounced, received, unsubscribed alone"
    for fields, complaint in (
        ({"events": ["communication.sent", "communication.opened"]}, f"events must not have opened: {told}"),
        ({"events": ["communication.replied"]}, f"events must not have replied: {told}"),
        ({"events": ["webhook.disabled"]}, f"events must not have disabled: {told}"),
        ({"filters": {"channel": "email"}}, "filters.channel must be sms: the style everlytic tells of texts alone"),
    ):
        for answer in (
            await api.client.post(PATH, json=SHOP | {"style": "everlytic"} | fields),
            await api.client.patch(f"{PATH}/{made['id']}", json=fields),
        ):
            assert (answer.status_code, answer.json()["error"]) == (422, complaint)
    shown = (await api.client.get(PATH)).json()["webhooks"]
    assert [(each["events"], each["filters"]["channel"]) for each in shown] == [(["communication.delivered"], "sms")]


async def test_the_only_worker_serves_at_its_start_what_a_killed_one_held(open_api: Api, receiver: Receiver):
    api = open_api
    await make(api, url=receiver.url)
    await api.send()
    await api.dispatch()
    (held,) = await api.db.write(endpoints.claim, now=api.at, until=api.at + MINUTE, sound=9, failing=9)
    stop, registry = asyncio.Event(), Registry(api.db, api.house.vault, api.house.clock, {})
    working = asyncio.create_task(work(api.house, registry, stop=stop, embedded=True))
    arrived = asyncio.create_task(receiver.arrived.wait())
    try:
        await asyncio.wait((working, arrived), timeout=30, return_when=asyncio.FIRST_COMPLETED)
    finally:
        arrived.cancel()
        stop.set()
        await working
    assert len(receiver.got) == 1
    assert not await api.db.write(endpoints.release, held), "the one that is dead holds nothing any more"


@pytest.mark.parametrize("done", ["erased", "deleted"])
async def test_what_happens_after_a_contact_is_gone_names_it_to_nobody(open_api: Api, receiver: Receiver, done: str):
    api = open_api
    sent = await api.send(body='<a href="https://shop.test/sale">Sale</a>')
    await api.dispatch()
    (contact,) = (await api.client.get("/api/v1/contacts")).json()["contacts"]
    made = await make(api, url=receiver.url)
    path = f"/api/v1/contacts/{contact['id']}"
    gone = await (api.client.post(f"{path}/erase") if done == "erased" else api.client.delete(path))
    assert gone.status_code in {200, 204}
    assert (await api.stranger.get(f"/api/v1/communications/track/{sent['id']}")).status_code == 200
    assert (await api.stranger.get(f"/api/v1/communications/link/{sent['id']}/0")).status_code == 302
    await post_all(api)
    log = (await api.client.get(f"{PATH}/{made['id']}/deliveries")).json()["deliveries"]
    assert {each["event"] for each in log} == {"communication.clicked", "communication.opened"}
    if done == "erased":
        assert receiver.got == []
        assert {(each["state"], each["error"]) for each in log} == {("failed", "What this tells of has been deleted")}
    else:
        said = [verified(each, made["secret"])["data"] for each in receiver.got]
        assert {(each["alpha_id"], each["contact_id"]) for each in said} == {(sent["id"], None)}
