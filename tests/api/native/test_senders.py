"""Who a tenant may write as: its own address and domain, what was allowed besides, and nobody else."""

from typing import Any

import httpx2
import pytest

from tests.support.api import Api, page_of

PATH = "/api/v1/senders"
REFUSED = "must be an address of acme.test, or of a domain that was allowed: {} is not"


async def allow(api: Api, address: str) -> dict[str, Any]:
    answer = await api.client.post(PATH, json={"address": address})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def mail(api: Api, sender: str) -> httpx2.Response:
    body = {"body": "<p>Hello</p>", "subject": "Hello", "recipients": ["ann@example.test"], "senderEmail": sender}
    return await api.client.post("/api/v1/communications/send", json=body)


async def test_a_sender_is_allowed_listed_and_allowed_no_longer(api: Api):
    made = await allow(api, " Example.COM ")
    assert made == {"id": made["id"], "address": "example.com", "created_at": "2025-06-18T12:00:00Z"}
    assert made["id"].startswith("send_")
    second = await allow(api, "Ann@Partner.example")
    assert second["address"] == "ann@partner.example"
    listed = await api.client.get(PATH)
    assert listed.json()["senders"] == [second, made]
    assert page_of(listed) == {"page": 1, "limit": 25, "total": 2, "total_pages": 1}
    assert (await api.client.get(PATH, params={"limit": 1, "page": 2})).json()["senders"] == [made]
    assert (await api.client.delete(f"{PATH}/{made['id']}")).status_code == 204
    assert (await api.client.delete(f"{PATH}/{made['id']}")).status_code == 404
    assert (await api.client.get(PATH)).json()["senders"] == [second]


async def test_what_is_allowed_already_is_a_conflict_that_names_it(api: Api):
    made = await allow(api, "example.com")
    again = await api.client.post(PATH, json={"address": "EXAMPLE.com"})
    assert (again.status_code, again.json()) == (409, {"error": f"example.com is allowed already: {made['id']}"})


@pytest.mark.parametrize(
    "address",
    [
        "",
        "com",
        "exa mple.com",
        "@example.com",
        "a@",
        "*.example.com",
        "example.com\n",
        "a@b@example.com",
        "-x.com",
        "http://example.com",
        "x" * 300,
    ],
)
async def test_what_is_neither_a_domain_nor_an_address_is_refused(api: Api, address: str):
    answer = await api.client.post(PATH, json={"address": address})
    if address.strip() == "example.com":
        assert answer.status_code == 201
    else:
        assert (answer.status_code, list(answer.json()["errors"])) == (422, ["address"])


async def test_a_tenants_senders_are_its_own(api: Api):
    made = await allow(api, "example.com")
    async with await api.rival() as rival:
        assert (await rival.get(PATH)).json()["senders"] == []
        assert (await rival.delete(f"{PATH}/{made['id']}")).status_code == 404
        body = {"body": "Hello", "subject": "Hello", "recipients": ["ann@example.test"], "senderEmail": "a@example.com"}
        assert (await rival.post("/api/v1/communications/send", json=body)).status_code == 400


async def test_only_an_administrators_key_says_who_may_be_written_as(api: Api):
    async with api.client_for(await api.new_key(api.tenant, "communications:write", "admin:read")) as sender:
        assert (await sender.get(PATH)).status_code == 200
        assert (await sender.post(PATH, json={"address": "example.com"})).status_code == 403
        assert (await sender.delete(f"{PATH}/send_x")).status_code == 403


@pytest.mark.parametrize("sender", ["hello@acme.test", "HELLO@ACME.TEST", "sales@acme.test", "Sales@Acme.Test"])
async def test_the_own_address_and_everybody_at_its_domain_need_no_permission(api: Api, sender: str):
    assert (await mail(api, sender)).status_code == 200


@pytest.mark.parametrize(
    "sender", ["ceo@bank.example", "a@mail.acme.test", "a@xacme.test", "a@acme.test.evil.example", "acme.test@evil.example"]
)
async def test_a_foreign_sender_is_refused_and_nothing_is_stored(api: Api, sender: str):
    answer = await mail(api, sender)
    assert (answer.status_code, answer.json()["detail"]) == (400, f"senderEmail {REFUSED.format(sender)}.")
    assert await api.rows("SELECT 1 FROM communications WHERE tenant_id = :t", t=api.tenant.id) == []


async def test_an_allowed_domain_means_everybody_at_it_but_no_subdomain(api: Api):
    await allow(api, "example.com")
    assert (await mail(api, "anybody@EXAMPLE.com")).json()["senderEmail"] == "anybody@example.com"
    assert (await mail(api, "anybody@mail.example.com")).status_code == 400


async def test_an_allowed_address_means_nobody_else_at_its_domain(api: Api):
    await allow(api, "ann@example.com")
    assert (await mail(api, "Ann@example.com")).status_code == 200
    assert (await mail(api, "bob@example.com")).status_code == 400


@pytest.mark.parametrize(
    ("allowed", "sender"), [("bücher.example", "a@xn--bcher-kva.example"), ("xn--bcher-kva.example", "a@BÜCHER.example")]
)
async def test_both_spellings_of_an_international_domain_are_one(api: Api, allowed: str, sender: str):
    assert (await allow(api, allowed))["address"] == "xn--bcher-kva.example"
    assert (await mail(api, sender)).status_code == 200


async def test_what_was_accepted_goes_out_as_it_was_though_the_sender_is_gone(api: Api):
    made = await allow(api, "example.com")
    sent = (await mail(api, "sales@example.com")).json()
    await api.client.delete(f"{PATH}/{made['id']}")
    assert len(await api.dispatch()) == 1
    assert (await api.find(sent["id"]))["senderEmail"] == "sales@example.com"
    assert (await mail(api, "sales@example.com")).status_code == 400


@pytest.mark.parametrize("path", ["schedule", "send-template/{template}"])
async def test_every_way_of_sending_asks(api: Api, path: str):
    template = {"name": "Offer", "channel": "email", "subject": "Offer", "body": "<p>Offer</p>"}
    template_id = (await api.client.post("/api/v1/templates", json=template)).json()["id"]
    body = {
        "body": "x",
        "subject": "x",
        "recipients": ["a@example.test"],
        "scheduledAt": "2025-07-01T00:00:00Z",
        "senderEmail": "a@bank.example",
    }
    answer = await api.client.post(f"/api/v1/communications/{path.format(template=template_id)}", json=body)
    assert (answer.status_code, answer.json()["detail"]) == (400, f"senderEmail {REFUSED.format('a@bank.example')}.")


async def test_a_campaigns_sender_is_asked_for_when_it_is_made_or_changed(api: Api):
    refused = await api.client.post("/api/v1/campaigns", json={"name": "Spring", "sender": "a@bank.example"})
    assert (refused.status_code, refused.json()["errors"]) == (422, {"sender": [REFUSED.format("a@bank.example")]})
    allowed = await allow(api, "bank.example")
    made = await api.client.post("/api/v1/campaigns", json={"name": "Spring", "sender": "a@bank.example"})
    assert made.status_code == 201
    path = f"/api/v1/campaigns/{made.json()['id']}"
    await api.client.delete(f"{PATH}/{allowed['id']}")
    assert (await api.client.patch(path, json={"name": "Summer"})).status_code == 200
    assert (await api.client.patch(path, json={"sender": "b@bank.example"})).status_code == 422
    assert (await api.client.patch(path, json={"sender": "b@acme.test"})).json()["sender"] == {"email": "b@acme.test", "name": None}
