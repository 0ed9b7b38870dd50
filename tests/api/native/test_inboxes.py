"""Inboxes over HTTP: set up, shown without their secrets, changed, read at once, removed."""

import json
from typing import Any

import pytest

from tests.inbound.carriers import PUBLIC_KEY
from tests.support.api import PUBLIC_URL, Api, page_of
from tidings.domain import inboxes
from tidings.inbound import sources

PATH = "/api/v1/inboxes"
IMAP = {"host": "imap.example.com", "username": "help@example.com", "password": "hush-hush"}


async def make(api: Api, **fields: Any) -> dict[str, Any]:
    answer = await api.client.post(PATH, json={"name": "Help", "kind": "imap", "settings": IMAP} | fields)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_a_mailbox_is_due_at_once_and_shown_without_its_password(api: Api):
    made = await make(api)
    assert made["id"].startswith("inbx_")
    assert made["settings"] == {
        "host": "imap.example.com",
        "username": "help@example.com",
        "port": 0,
        "tls": "tls",
        "verify": True,
        "folder": "INBOX",
        "after": "leave",
        "move_to": "",
        "interval": 60,
        "from_beginning": False,
    }
    assert (made["state"], made["due_at"], made["url"], made["address"]) == ("ok", "2025-06-18T12:00:00Z", None, None)
    listed = await api.client.get(PATH)
    assert listed.json()["inboxes"] == [made]
    assert page_of(listed)["total"] == 1
    assert (await api.client.get(f"{PATH}/{made['id']}")).json() == made
    assert "hush" not in listed.text
    ((stored,),) = await api.rows("SELECT settings FROM inboxes")
    assert "hush" not in stored
    opened = sources.opened(api.house.vault, "imap", stored)
    assert isinstance(opened, sources.Mailbox)
    assert opened.password == "hush-hush"
    assert "hush" not in repr(opened)


async def test_an_address_or_a_domain_is_taken_in_one_form_and_once(api: Api):
    made = await make(api, kind="address", address=" Help@BÜCHER.example ", settings={})
    assert (made["address"], made["settings"], made["due_at"]) == ("help@xn--bcher-kva.example", {}, None)
    again = await api.client.post(PATH, json={"name": "Other", "kind": "address", "address": "help@bücher.example"})
    assert (again.status_code, again.json()) == (409, {"error": "help@xn--bcher-kva.example has an inbox already"})
    rival = await api.rival()
    theirs = await rival.post(PATH, json={"name": "Help", "kind": "address", "address": "bücher.example"})
    assert (theirs.status_code, theirs.json()) == (409, {"error": "help@xn--bcher-kva.example is another tenant's"})
    assert (await make(api, name="All", kind="address", address="@bücher.example", settings={}))["address"] == "xn--bcher-kva.example"
    await rival.aclose()


@pytest.mark.parametrize(
    ("kind", "settings", "shown"),
    [
        ("postmark", {"username": "us", "password": "hush"}, {"username": "us"}),
        ("mailgun", {"signing_key": "hush"}, {}),
        ("sendgrid", {"public_key": PUBLIC_KEY}, {"public_key": PUBLIC_KEY, "event_public_key": ""}),
        ("resend", {"signing_secret": "whsec_aHVzaA==", "api_key": "hush"}, {}),
    ],
)
async def test_a_carriers_webhook_gets_a_url_that_nobody_can_guess(api: Api, kind: str, settings: dict[str, str], shown: dict[str, str]):
    made = await make(api, kind=kind, settings=settings)
    token = made["url"].removeprefix(f"{PUBLIC_URL}/api/v1/inbound/{kind}/")
    assert len(token) == 43
    assert made["settings"] == shown
    found = await api.db.read(inboxes.by_token, token)
    assert found is not None
    assert (found.tenant_id, found.kind) == (api.tenant.id, kind)
    assert await api.db.read(inboxes.by_token, token.swapcase()) is None


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({"name": "", "kind": "imap", "settings": IMAP}, "name must be one line of 1 to 100 characters"),
        ({"name": "x", "kind": "pop3"}, "kind must be one of imap, address, postmark, mailgun, sendgrid, resend, ses, not 'pop3'"),
        ({"name": "x", "kind": "imap"}, "settings.host is required; settings.username is required; settings.password is required"),
        ({"name": "x", "kind": "imap", "settings": IMAP | {"hots": "x"}}, "settings.hots is not a known field"),
        ({"name": "x", "kind": "imap", "settings": IMAP | {"host": "a:b/c"}}, "settings.host must be the name or the address of a server"),
        ({"name": "x", "kind": "imap", "settings": IMAP | {"password": ""}}, "settings.password must not be empty"),
        ({"name": "x", "kind": "imap", "settings": IMAP | {"port": 70000}}, "settings.port must be a number from 1 to 65535"),
        ({"name": "x", "kind": "imap", "settings": IMAP | {"username": "a\r\nb"}}, "settings.username must be one line"),
        ({"name": "x", "kind": "imap", "settings": IMAP | {"interval": 1}}, "settings.interval must be 10 to 86400 seconds"),
        ({"name": "x", "kind": "imap", "settings": IMAP | {"after": "move"}}, "settings.move_to must name the folder"),
        ({"name": "x", "kind": "imap", "settings": IMAP | {"move_to": "Done"}}, "settings.move_to must name the folder"),
        (
            {"name": "x", "kind": "imap", "settings": IMAP | {"after": "move", "move_to": "INBOX"}},
            "settings.move_to must be another folder",
        ),
        ({"name": "x", "kind": "imap", "settings": IMAP, "address": "a@b.example"}, "address is for an inbox of kind address alone"),
        ({"name": "x", "kind": "address"}, "address is required: one address or a whole domain"),
        ({"name": "x", "kind": "address", "address": "nowhere"}, "address is neither an email address nor a domain: 'nowhere'"),
        ({"name": "x", "kind": "mailgun", "settings": {}}, "settings.signing_key is required"),
    ],
)
async def test_what_is_wrong_is_said_in_one_sentence(api: Api, body: dict[str, Any], complaint: str):
    answer = await api.client.post(PATH, json=body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["error"].startswith(complaint)
    assert await api.rows("SELECT id FROM inboxes") == []


async def test_names_are_told_apart_and_requests_said_twice_are_done_once(api: Api):
    first = await api.client.post(PATH, json={"name": "Help", "kind": "imap", "settings": IMAP}, headers={"idempotency-key": "1"})
    again = await api.client.post(PATH, json={"name": "Help", "kind": "imap", "settings": IMAP}, headers={"idempotency-key": "1"})
    assert (first.status_code, again.status_code, again.json()) == (201, 201, first.json())
    taken = await api.client.post(PATH, json={"name": "Help", "kind": "imap", "settings": IMAP})
    assert (taken.status_code, taken.json()) == (409, {"error": "There is an inbox named Help already"})


async def test_a_change_keeps_what_is_not_named_and_another_folder_begins_anew(api: Api):
    made = await make(api)
    await api.run("UPDATE inboxes SET cursor = :cursor, error = 'x', failing_since = 1, attempts = 3", cursor="{}")
    assert (await api.client.get(f"{PATH}/{made['id']}")).json()["state"] == "failing"
    changed = (await api.client.patch(f"{PATH}/{made['id']}", json={"name": "Desk", "settings": {"interval": 30}})).json()
    assert (changed["name"], changed["settings"]["interval"], changed["settings"]["host"]) == ("Desk", 30, "imap.example.com")
    assert (changed["state"], changed["error"]) == ("ok", None)
    ((cursor, sealed),) = await api.rows("SELECT cursor, settings FROM inboxes")
    assert cursor == "{}"
    assert json.loads(api.house.vault.open(sealed))["password"] == "hush-hush"
    await api.client.patch(f"{PATH}/{made['id']}", json={"settings": {"folder": "Replies", "interval": None}})
    assert await api.rows("SELECT cursor FROM inboxes") == [("",)]
    assert (await api.client.get(f"{PATH}/{made['id']}")).json()["settings"]["interval"] == 60
    wrong = await api.client.patch(f"{PATH}/{made['id']}", json={"settings": {"password": None}})
    assert (wrong.status_code, wrong.json()["error"]) == (422, "settings.password is required")
    other = await make(api, name="Other")
    clash = await api.client.patch(f"{PATH}/{other['id']}", json={"name": "Desk"})
    assert clash.status_code == 409


async def test_a_mailbox_is_read_on_demand_and_nothing_else_is(api: Api):
    made = await make(api)
    held = await api.db.write(inboxes.claim, now=api.at, lease_ms=60_000)
    assert held is not None
    api.at += 1000
    polled = await api.client.post(f"{PATH}/{made['id']}/poll")
    assert (polled.status_code, polled.json()["due_at"]) == (200, "2025-06-18T12:00:01Z")
    assert not await api.db.write(inboxes.progressed, held, "{}", error=None, now=api.at), "whoever held it settles nothing"
    address = await make(api, name="Desk", kind="address", address="desk@acme.test", settings={})
    refused = await api.client.post(f"{PATH}/{address['id']}/poll")
    assert (refused.status_code, refused.json()) == (409, {"error": "Desk is not polled: mail comes to it by itself"})


async def test_a_removed_one_is_gone_and_anothers_was_never_there(api: Api):
    made = await make(api)
    rival = await api.rival()
    for method, path in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/poll")):
        answer = await rival.request(method, f"{PATH}/{made['id']}{path}", json={} if method == "PATCH" else None)
        assert (answer.status_code, answer.json()) == (404, {"error": "Inbox not found"})
    assert (await rival.get(PATH)).json()["inboxes"] == []
    await rival.aclose()
    assert (await api.client.delete(f"{PATH}/{made['id']}")).status_code == 204
    assert (await api.client.delete(f"{PATH}/{made['id']}")).status_code == 404
    assert (await api.client.get(f"{PATH}/nonsense")).status_code == 404


async def test_only_administrators_may(api: Api):
    key = await api.new_key(api.tenant, "communications:read", "admin:read")
    client = api.client_for(key)
    assert (await client.get(PATH)).status_code == 200
    assert (await client.post(PATH, json={"name": "x", "kind": "sendgrid"})).status_code == 403
    await client.aclose()
