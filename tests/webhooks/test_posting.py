"""Posting over real sockets: what arrives, in which order, how often, and what becomes of endpoints that do not take it."""

import asyncio
import json
from email.utils import formatdate

import pytest

from tests.support.receiving import OK, Office, Receiver, receiving, status, verified
from tidings import ids
from tidings.clock import DAY, MINUTE, SECOND
from tidings.domain import endpoints
from tidings.domain.endpoints import Filters
from tidings.webhooks import post, rules, secrets, wire


async def test_what_happened_arrives_signed_with_all_it_is_about(office: Office, receiver: Receiver):
    endpoint, secret = await office.subscribe(receiver.url)
    sent = await office.walk.accept("ann@example.com", related_entity_type="Deal", related_entity_id="7")
    await office.happened(sent, "sent", "bounced", detail="No such user", code="5.1.1", reason="invalid")
    await office.poster.turn()
    first, second = receiver.got
    said = verified(first, secret)
    assert (first.verb, first.target, first.headers["content-type"]) == ("POST", "/hook", "application/json")
    assert said["type"] == "communication.sent"
    assert said["timestamp"].endswith("Z")
    about = said["data"]
    assert (about["communication_id"], about["to"], about["channel"], about["type"]) == (sent.id, "ann@example.com", "email", "OFFERTE")
    assert (about["related_entity_type"], about["related_entity_id"], about["campaign_id"]) == ("Deal", "7", None)
    assert about["alpha_id"] == office.signer.communication(office.tenant_id, sent.id)
    assert about["contact_id"] == ids.spell("contact", sent.contact_id)
    bounced = verified(second, secret)
    assert (bounced["type"], bounced["data"]["code"], bounced["data"]["reason"]) == ("communication.bounced", "5.1.1", "invalid")
    assert bounced["data"]["detail"] == "No such user"
    assert first.headers["webhook-id"] == ids.spell("delivery", (await office.log(endpoint))[0].id) != second.headers["webhook-id"]
    assert await office.states(endpoint) == ["delivered", "delivered"]
    assert (await office.endpoint(endpoint)).delivered_at == office.now


async def test_an_endpoint_hears_what_it_asked_for_and_nothing_else(office: Office, receiver: Receiver):
    await office.subscribe(receiver.url, "clicked", "opened", filters=Filters(channel="email", types=("NEWS",), humans_only=True))
    await office.subscribe(receiver.url, "sent", filters=Filters(campaigns=(7,)))
    await office.subscribe(receiver.url, "sent", enabled=False)
    news, other = await office.walk.accept(type="NEWS"), await office.walk.accept(type="OFFERTE")
    for one in (news, other):
        await office.happened(one, "sent", "updated", "opened", "clicked")
        await office.happened(one, "opened", bot=True)
    await office.poster.turn()
    assert [json.loads(each.body)["type"] for each in receiver.got] == ["communication.opened", "communication.clicked"]
    assert {json.loads(each.body)["data"]["communication_id"] for each in receiver.got} == {news.id}


async def test_a_failure_is_tried_again_on_schedule_under_the_same_id(office: Office, receiver: Receiver):
    endpoint, _ = await office.subscribe(receiver.url)
    await office.happened(await office.walk.accept(), "sent")
    receiver.otherwise = status(500, body="boom")
    begun, tried = office.now, []
    for number, delay in enumerate((*rules.DELAYS, 0), 1):
        await office.poster.turn()
        assert len(receiver.got) == number
        tried.append(office.now - begun)
        office.now += delay - 1
        await office.poster.turn()
        assert len(receiver.got) == number, "a millisecond early"
        office.now += 1
        # five days of nothing but failures are another story
        await office.run("UPDATE endpoints SET failing_since = NULL WHERE tenant_id = :tenant_id")
    assert [tried[2], tried[-1]] == [5 * SECOND + 5 * MINUTE, sum(rules.DELAYS)]
    assert len({each.headers["webhook-id"] for each in receiver.got}) == 1
    (row,) = await office.log(endpoint)
    assert (row.state, row.attempts, row.error) == ("failed", 10, "Given up after 10 attempts: The answer was 500")
    entries = json.loads(row.log)
    assert [entry["status"] for entry in entries] == [500] * 10
    assert (entries[0]["answer"], entries[0]["error"]) == ("boom", "The answer was 500")
    receiver.otherwise = OK
    await office.db.write(endpoints.replay, office.tenant_id, endpoint.id, row.id, now=office.now)
    await office.poster.turn()
    assert await office.states(endpoint) == ["delivered"]
    assert receiver.got[-1].headers["webhook-id"] == receiver.got[0].headers["webhook-id"]


async def test_a_retry_is_signed_anew(office: Office, receiver: Receiver):
    _, secret = await office.subscribe(receiver.url)
    await office.happened(await office.walk.accept(), "sent")
    receiver.plan = [status(503), OK]
    await office.poster.turn()
    office.now += 5 * SECOND
    await office.poster.turn()
    first, second = receiver.got
    assert verified(first, secret) == verified(second, secret)
    assert int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) == 5


@pytest.mark.parametrize("spelling", ["seconds", "date", "too long"])
async def test_retry_after_is_heeded(office: Office, receiver: Receiver, spelling: str):
    endpoint, _ = await office.subscribe(receiver.url)
    wait = {"seconds": 90 * SECOND, "date": 90 * SECOND, "too long": DAY}[spelling]
    text = {"seconds": "90", "date": formatdate((office.now + 90 * SECOND) / SECOND, usegmt=True), "too long": "9" * 5000}[spelling]
    receiver.plan = [status(429, f"Retry-After: {text}")]
    for _ in range(3):
        await office.happened(await office.walk.accept(), "sent")
    await office.poster.turn()
    asked = len(receiver.got)
    assert asked <= 3
    office.now += wait - 1
    await office.poster.turn()
    assert len(receiver.got) == asked, "asked to be left alone, it is"
    office.now += 1
    await office.poster.turn()
    assert await office.states(endpoint) == ["delivered"] * 3


async def test_a_redirect_is_a_failure_and_nobody_goes_there(office: Office, receiver: Receiver):
    endpoint, _ = await office.subscribe(receiver.url)
    await office.happened(await office.walk.accept(), "sent")
    async with receiving() as elsewhere:
        receiver.plan = [status(307, f"Location: {elsewhere.url}")]
        await office.poster.turn()
        assert elsewhere.got == []
    (row,) = await office.log(endpoint)
    assert (row.state, row.error) == ("waiting", "The answer was 307, and redirects are not followed")


async def endless(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"1000\r\n" + b"x" * 4096 + b"\r\n")
        await writer.drain()


async def dripping(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-Drip: 1\r\n")
        await writer.drain()
        await asyncio.sleep(0.02)


async def stalling(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome")
    await writer.drain()
    await asyncio.sleep(30)


async def silent(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(30)


async def hanging_up(writer: asyncio.StreamWriter) -> None:
    writer.close()


@pytest.mark.parametrize(
    ("say", "state", "error"),
    [
        (endless, "delivered", None),
        (stalling, "delivered", None),
        (dripping, "waiting", "There was no answer within 0.4 seconds"),
        (silent, "waiting", "There was no answer within 0.4 seconds"),
        (hanging_up, "waiting", "Server disconnected without sending a response."),
        (b"220 mail.example ESMTP\r\n\r\n", "waiting", "illegal status line: bytearray(b'220 mail.example ESMTP')"),
    ],
)
async def test_whoever_wastes_time_is_cut_off(office: Office, receiver: Receiver, say, state: str, error: str | None):
    endpoint, _ = await office.subscribe(receiver.url)
    await office.happened(await office.walk.accept(), "sent")
    receiver.plan = [say]
    await office.worker(deadline=0.4, linger=0.2).turn()
    (row,) = await office.log(endpoint)
    assert (row.state, row.error) == (state, error)
    if say is endless:
        assert len(json.loads(row.log)[0]["answer"]) == 500


async def test_a_body_that_outlasts_the_deadline_does_not_undo_the_answer(office: Office, receiver: Receiver):
    endpoint, _ = await office.subscribe(receiver.url)
    await office.happened(await office.walk.accept(), "sent")
    receiver.plan = [stalling]
    await office.worker(deadline=0.4, linger=0.8).turn()
    assert await office.states(endpoint) == ["delivered"]


async def test_what_cannot_be_reached_is_a_failure_in_words(office: Office):
    async with receiving() as gone:
        url = gone.url
    endpoint, _ = await office.subscribe(url)
    await office.happened(await office.walk.accept(), "sent")
    await office.poster.turn()
    assert (await office.log(endpoint))[0].error == f"127.0.0.1 cannot be reached on port {url.split(':')[2].split('/')[0]}"


async def test_later_news_of_a_communication_never_overtakes_earlier(office: Office, receiver: Receiver):
    endpoint, _ = await office.subscribe(receiver.url)
    one, other = await office.walk.accept(), await office.walk.accept()
    await office.happened(one, "sent")
    receiver.plan = [status(400)]
    await office.poster.turn()
    await office.happened(one, "delivered", "opened")
    await office.happened(other, "sent")
    office.now += 4 * SECOND
    await office.run("UPDATE endpoints SET rest_until = NULL, failures = 0 WHERE tenant_id = :tenant_id")
    await office.poster.turn()
    heard = [(body["data"]["communication_id"], body["type"]) for each in receiver.got if (body := json.loads(each.body))]
    assert heard == [(one.id, "communication.sent"), (other.id, "communication.sent")], "the other need not wait"
    receiver.plan = [status(400)]
    office.now += SECOND
    await office.poster.turn()
    office.now += 5 * MINUTE
    await office.poster.turn()
    heard = [json.loads(each.body)["type"] for each in receiver.got if json.loads(each.body)["data"]["communication_id"] == one.id]
    assert heard == [f"communication.{kind}" for kind in ("sent", "sent", "sent", "delivered", "opened")]
    assert await office.states(endpoint) == ["delivered"] * 4


async def test_a_worker_that_dies_before_settling_loses_nothing(office: Office, receiver: Receiver):
    endpoint, _ = await office.subscribe(receiver.url)
    await office.happened(await office.walk.accept(), "sent")
    (held,) = await office.db.write(endpoints.claim, now=office.now, until=office.now + post.LEASE, sound=9, failing=9)
    (due,) = await office.db.read(endpoints.take, held, now=office.now, limit=9)
    result = await office.courier.carry(held, due)
    assert result.answer.taken
    await office.poster.turn()
    assert len(receiver.got) == 1, "held by the one that is dead, as far as anybody knows"
    office.now += post.LEASE
    await office.poster.turn()
    first, again = receiver.got
    assert first.headers["webhook-id"] == again.headers["webhook-id"]
    assert await office.states(endpoint) == ["delivered"]
    outcome = rules.settled(result, now=office.now, jitter=0.0)
    health = rules.health(held, [result.answer], now=office.now)
    assert await office.db.write(endpoints.settle, held, [outcome], health, now=office.now, until=office.now) is None
    assert (await office.log(endpoint))[0].attempts == 1, "whoever comes back too late settles nothing"


def test_a_lease_outlives_the_longest_round_and_a_killed_worker_by_a_minute():
    assert post.ROUND + wire.DEADLINE + wire.LINGER + 20 < post.LEASE / SECOND <= 60


async def test_what_happens_to_mail_without_an_address_is_told_while_its_contact_is_there(office: Office, receiver: Receiver):
    await office.subscribe(receiver.url)
    one = await office.walk.accept()
    await office.run("UPDATE communications SET address = '' WHERE tenant_id = :tenant_id AND id = :id", id=one.id)
    await office.happened(one, "failed")
    await office.poster.turn()
    assert json.loads(receiver.got[0].body)["data"]["contact_id"] == ids.spell("contact", one.contact_id)


async def test_after_a_rotation_both_secrets_are_good_for_a_day(office: Office, receiver: Receiver):
    endpoint, old = await office.subscribe(receiver.url)
    fresh = secrets.new_secret()
    await office.db.write(endpoints.rotate, office.tenant_id, endpoint.id, secrets.seal(office.vault, fresh), now=office.now)
    one = await office.walk.accept()
    await office.happened(one, "sent")
    await office.poster.turn()
    assert verified(receiver.got[0], old) == verified(receiver.got[0], fresh)
    assert receiver.got[0].headers["webhook-signature"].count("v1,") == 2
    office.now += DAY
    await office.happened(one, "opened")
    await office.poster.turn()
    assert receiver.got[1].headers["webhook-signature"].count("v1,") == 1


async def test_what_was_deleted_meanwhile_is_told_to_nobody(office: Office, receiver: Receiver):
    endpoint, _ = await office.subscribe(receiver.url)
    one, other = await office.walk.accept(), await office.walk.accept()
    await office.happened(one, "opened", user_agent="Mail", ip="192.0.2.1")
    await office.happened(other, "opened")
    await office.run("DELETE FROM communications WHERE tenant_id = :tenant_id AND id = :id", id=one.id)
    await office.poster.turn()
    assert [json.loads(each.body)["data"]["communication_id"] for each in receiver.got] == [other.id]
    gone = (await office.log(endpoint))[0]
    assert (gone.state, gone.error) == ("failed", "What this tells of has been deleted")
    kept = await office.db.read(
        lambda tx: tx.value("SELECT data FROM deliveries WHERE tenant_id = :t AND id = :i", t=office.tenant_id, i=gone.id)
    )
    assert kept == "{}"
    assert await office.db.write(endpoints.forget, office.tenant_id, communication_ids=[one.id]) == 1
    assert len(await office.log(endpoint)) == 1


async def test_an_address_that_changed_is_told_as_it_is_now(office: Office, receiver: Receiver):
    await office.subscribe(receiver.url)
    one = await office.walk.accept()
    await office.happened(one, "sent")
    await office.run("UPDATE communications SET address = 'erased@erased.invalid' WHERE tenant_id = :tenant_id AND id = :id", id=one.id)
    await office.poster.turn()
    assert json.loads(receiver.got[0].body)["data"]["to"] == "erased@erased.invalid"


async def test_a_tenant_hears_of_its_own_alone(office: Office, receiver: Receiver):
    rival = await Office(office.db).settle_in("rival")
    await rival.subscribe(receiver.url)
    await office.happened(await office.walk.accept(), "sent")
    await office.poster.turn()
    assert receiver.got == []
    await rival.close()


async def test_what_is_changed_while_it_is_posted_goes_to_the_new_address(office: Office, receiver: Receiver):
    endpoint, _ = await office.subscribe(receiver.url)
    await office.happened(await office.walk.accept(), "sent")
    async with receiving() as moved:

        async def meanwhile(writer: asyncio.StreamWriter) -> None:
            await office.db.write(endpoints.update, office.tenant_id, endpoint.id, endpoints.Change(url=moved.url), now=office.now)
            writer.write(OK)

        receiver.plan = [meanwhile]
        await office.poster.turn()
        assert len(moved.got) == 1, "better twice than never"
    assert await office.states(endpoint) == ["delivered"]


async def test_a_test_tells_what_came_back_and_wakes_what_waits(office: Office, receiver: Receiver):
    endpoint, secret = await office.subscribe(receiver.url)
    receiver.plan = [status(500), status(503, body="soon")]
    await office.happened(await office.walk.accept(), "sent")
    await office.poster.turn()
    tried = await office.courier.test(office.db, endpoint)
    assert (tried.kind, tried.state, tried.error) == ("test", "failed", "The answer was 503")
    tried = await office.courier.test(office.db, endpoint)
    assert tried.state == "delivered"
    assert verified(receiver.got[-1], secret)["type"] == "webhook.test"
    await office.poster.turn()
    assert (await office.states(endpoint))[0] == "delivered"


async def test_the_log_forgets_after_a_month(office: Office, receiver: Receiver):
    endpoint, _ = await office.subscribe(receiver.url)
    await office.happened(await office.walk.accept(), "sent")
    await office.poster.turn()
    office.now += endpoints.KEPT - 1
    assert await office.db.write(endpoints.forget_old, now=office.now) == 0
    await office.happened(await office.walk.accept(), "sent")
    office.now += 1
    assert await office.db.write(endpoints.forget_old, now=office.now) == 1
    assert await office.states(endpoint) == ["waiting"]


async def test_the_loop_posts_when_it_is_rung_for_and_ends_when_told(office: Office, receiver: Receiver):
    endpoint, _ = await office.subscribe(receiver.url)
    stop = asyncio.Event()
    running = asyncio.create_task(office.poster.run(stop))
    await office.happened(await office.walk.accept(), "sent", "delivered")
    async with asyncio.timeout(20):
        while len(receiver.got) < 2:
            receiver.arrived.clear()
            await receiver.arrived.wait()
    stop.set()
    await running
    assert await office.states(endpoint) == ["delivered", "delivered"]
    assert (await office.endpoint(endpoint)).lease is None
