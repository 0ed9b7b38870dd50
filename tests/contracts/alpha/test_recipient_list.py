"""Sending to `recipientListId`: each member alone, the answer is the first record, and nobody is lost or written to twice."""

import asyncio
from typing import Any

import pytest

from tests.support.api import Api
from tidings.clock import DAY
from tidings.delivery.mailing import LEASE, run_mailing
from tidings.domain import jobs
from tidings.domain.communications import mailing
from tidings.providers.registry import Registry
from tidings.worker import work

PATH = "/api/v1/communications"
LEFT = (
    "SELECT (SELECT COUNT(*) FROM jobs WHERE tenant_id = :t AND finished_at IS NULL),"
    " (SELECT COUNT(*) FROM idempotency_keys WHERE tenant_id = :t)"
)
MAIL: dict[str, Any] = {"body": "<p>Hello</p>", "subject": "Hello", "recipients": []}


@pytest.fixture(autouse=True)
def _two_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailing, "CHUNK", 2)


async def listed(api: Api, *emails: str) -> str:
    contact_ids = [(await api.client.post("/api/v1/contacts", json={"email": email})).json()["id"] for email in emails]
    list_id = (await api.client.post("/api/v1/lists", json={"name": "Fair"})).json()["id"]
    if contact_ids:
        await api.client.post(f"/api/v1/lists/{list_id}/contacts", json={"contact_ids": contact_ids})
    return list_id


async def drain(api: Api) -> None:
    """What the worker does."""
    while (job := await api.db.write(jobs.claim, now=api.at, lease_ms=LEASE)) is not None:
        await run_mailing(api.db, lambda: api.at, job, asyncio.Event())


async def recipients(api: Api) -> list[str]:
    return [row[0] for row in await api.rows("SELECT address FROM communications WHERE tenant_id = :t ORDER BY id", t=api.tenant.id)]


async def test_every_member_gets_a_mail_that_names_nobody_else(api: Api):
    list_id = await listed(api, *(f"r{number}@example.test" for number in range(5)))
    sent = await api.send(recipients=[], recipientListId=list_id)
    assert (sent["recipients"], sent["cc"], sent["recipientListId"]) == (["r0@example.test"], [], list_id)
    await drain(api)
    out = await api.dispatch()
    assert sorted(mail.recipients for mail in out) == [(f"r{number}@example.test",) for number in range(5)]  # pyright: ignore
    shown = (await api.client.get("/api/v1/jobs", params={"kind": "mailing"})).json()["jobs"]
    assert [(job["state"], job["done"], job["rejected"], job["total"]) for job in shown] == [("done", 3, 0, 3)]


@pytest.mark.parametrize("name", ["cc", "bcc"])
async def test_a_copy_of_a_mail_that_goes_to_a_list_alone_is_refused(api: Api, name: str):
    list_id = await listed(api, "ann@example.test")
    body = {"body": "x", "subject": "x", "recipients": [], name: ["boss@example.test"], "recipientListId": list_id}
    answer = await api.client.post("/api/v1/communications/send", json=body)
    sentence = f"{name} goes with recipients: each member of a recipient list gets a mail of its own, without any."
    assert (answer.status_code, answer.json()["detail"]) == (400, sentence)
    assert await recipients(api) == []
    sent = await api.send(recipients=["zoe@example.test"], recipientListId=list_id, **{name: ["boss@example.test"]})
    assert sent[name] == ["boss@example.test"]


async def test_who_is_named_and_on_the_list_gets_one(api: Api):
    list_id = await listed(api, "ann@example.test", "bob@example.test", "eve@example.test")
    sent = await api.send(recipients=["ANN@example.test", "zoe@example.test"], recipientListId=list_id)
    assert sent["recipients"] == ["ANN@example.test", "zoe@example.test"]
    await drain(api)
    assert await recipients(api) == ["ANN@example.test", "bob@example.test", "eve@example.test"]


async def test_a_list_with_nobody_to_write_to_is_a_400_and_stores_nothing(api: Api):
    list_id = await listed(api)
    answer = await api.client.post(f"{PATH}/send", json={**MAIL, "recipientListId": list_id})
    assert (answer.status_code, answer.json()["detail"]) == (400, "recipientListId names a list without anybody to write to.")
    assert await api.rows("SELECT 1 FROM contents WHERE tenant_id = :t", t=api.tenant.id) == []


@pytest.mark.parametrize("path", ["send", "schedule"])
async def test_an_unknown_list_or_another_tenants_is_a_404(api: Api, path: str):
    list_id = await listed(api, "ann@example.test")
    body = {**MAIL, "recipientListId": list_id, "scheduledAt": "2025-07-01T00:00:00Z"}
    async with await api.rival() as rival:
        theirs = await rival.post(f"{PATH}/{path}", json=body)
    unknown = await api.client.post(f"{PATH}/{path}", json={**body, "recipientListId": "list_nobody"})
    assert [(answer.status_code, answer.json()["detail"]) for answer in (theirs, unknown)] == [(404, "Recipient list not found.")] * 2


async def test_a_repeated_request_writes_to_the_list_once(api: Api):
    list_id = await listed(api, *(f"r{number}@example.test" for number in range(7)))
    body = {**MAIL, "recipientListId": list_id}
    answers = await asyncio.gather(*(api.client.post(f"{PATH}/send", json=body, headers={"idempotency-key": "fair"}) for _ in range(5)))
    assert len({answer.content for answer in answers}) == 1
    await drain(api)
    assert await recipients(api) == [f"r{number}@example.test" for number in range(7)]


async def test_the_worker_writes_to_the_rest_and_forgets_the_keys_of_yesterday(api: Api):
    list_id = await listed(api, *(f"r{number}@example.test" for number in range(7)))
    body = {**MAIL, "recipientListId": list_id, "scheduledAt": "2025-07-01T00:00:00Z"}
    answer = await api.client.post(f"{PATH}/schedule", json=body, headers={"idempotency-key": "fair"})
    assert answer.status_code == 200
    api.at += DAY
    stop, registry = asyncio.Event(), Registry(api.db, api.house.vault, api.house.clock, {})
    working = asyncio.create_task(work(api.house, registry, stop=stop, embedded=True))
    try:
        while await api.rows(LEFT, t=api.tenant.id) != [(0, 0)]:
            assert not working.done()
            await asyncio.sleep(0.01)
    finally:
        stop.set()
        await working
    assert await recipients(api) == [f"r{number}@example.test" for number in range(7)]


async def test_files_and_conversation_are_the_same_for_everybody(api: Api):
    list_id = await listed(api, *(f"r{number}@example.test" for number in range(5)))
    file = {"filename": "offer.txt", "contentType": "text/plain", "content": "SGVsbG8="}
    await api.send(recipients=[], recipientListId=list_id, attachments=[file], conversationId="fair-2025")
    await drain(api)
    sql = (
        "SELECT v.key, v.subject, c.attached, COUNT(*) FROM communications c JOIN conversations v ON v.tenant_id = c.tenant_id"
        " AND v.id = c.conversation_id WHERE c.tenant_id = :t GROUP BY v.key, v.subject, c.attached"
    )
    assert await api.rows(sql, t=api.tenant.id) == [("fair-2025", "Hello", 1, 5)]
    assert [mail.raw.count(b"offer.txt") > 0 for mail in await api.dispatch()] == [True] * 5  # pyright: ignore


async def test_a_template_goes_to_a_list_later(api: Api):
    template = {"name": "Offer", "channel": "email", "subject": "Hi", "body": "<p>{{ price }}</p>", "variables": [{"name": "price"}]}
    template_id = (await api.client.post("/api/v1/templates", json=template)).json()["id"]
    body = {
        "recipients": [],
        "recipientListId": await listed(api, *(f"r{number}@example.test" for number in range(5))),
        "variables": {"price": 7},
        "scheduledAt": "2025-06-18T13:00:00Z",
    }
    answer = await api.client.post(f"{PATH}/send-template/{template_id}", json=body)
    assert answer.json()["status"] == "SCHEDULED"
    await drain(api)
    assert await api.dispatch() == []
    api.at += 3_600_000
    assert len(await api.dispatch()) == 5


async def deny(api: Api, *emails: str) -> None:
    for email in emails:
        (contact,) = (await api.client.get("/api/v1/contacts", params={"email": email})).json()["contacts"]
        answer = await api.client.patch(f"/api/v1/contacts/{contact['id']}", json={"consent": {"email": "denied"}})
        assert answer.status_code == 200


async def test_who_denies_consent_before_the_day_is_not_written_to(api: Api):
    list_id = await listed(api, "ann@example.test", "bob@example.test", "eve@example.test")
    # of one a name is known: such a mail is kept in another way
    await api.run("UPDATE contacts SET first_name = 'Bob' WHERE tenant_id = :t AND email_key = 'bob@example.test'", t=api.tenant.id)
    body = {**MAIL, "recipientListId": list_id, "scheduledAt": "2025-06-18T13:00:00Z"}
    assert (await api.client.post(f"{PATH}/schedule", json=body)).status_code == 200
    await drain(api)
    api.at += 60_000
    await deny(api, "ann@example.test", "bob@example.test")
    api.at += 3_600_000
    assert [mail.recipients for mail in await api.dispatch()] == [("eve@example.test",)]  # pyright: ignore
    rows = await api.rows("SELECT state, error FROM communications WHERE tenant_id = :t AND state <> 'sent' ORDER BY id", t=api.tenant.id)
    assert rows == [("suppressed", f"{name}@example.test must not be written to: no consent") for name in ("ann", "bob")]


async def test_who_is_named_along_with_a_list_is_written_to_without_consent_and_so_are_the_others(api: Api):
    list_id = await listed(api, "ann@example.test", "bob@example.test", "eve@example.test")
    await deny(api, "ann@example.test")
    api.at += 60_000
    await api.send(recipients=["ann@example.test"], recipientListId=list_id)
    later = {
        **MAIL,
        "recipients": ["bob@example.test", "zoe@example.test"],
        "recipientListId": list_id,
        "scheduledAt": "2025-06-18T13:00:00Z",
    }
    assert (await api.client.post(f"{PATH}/schedule", json=later)).status_code == 200
    await drain(api)
    out = await api.dispatch()
    assert sorted(mail.recipients for mail in out) == [(f"{name}@example.test",) for name in ("ann", "bob", "eve")]  # pyright: ignore
    await deny(api, "bob@example.test")
    api.at += 3_600_000
    assert sorted(mail.recipients for mail in await api.dispatch()) == [  # pyright: ignore
        ("bob@example.test", "zoe@example.test"),
        ("eve@example.test",),
    ]
