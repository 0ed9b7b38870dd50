"""Campaigns over HTTP: settings, messages, states, and enrolling many at once."""

from typing import Any

import msgspec
import pytest

from tests.api.conftest import Api, page_of
from tidings import ids
from tidings.domain import lists

PATH = "/api/v1/campaigns"
INLINE: dict[str, Any] = {"channel": "email", "subject": "Hi {{ first_name }}", "body": "<p>Hi {{ first_name }}</p>"}


async def campaign(api: Api, **fields: Any) -> dict[str, Any]:
    answer = await api.client.post(PATH, json={"name": "Spring", **fields})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def message(api: Api, of: dict[str, Any], **fields: Any) -> dict[str, Any]:
    answer = await api.client.post(f"{PATH}/{of['id']}/messages", json={**INLINE, **fields})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def active(api: Api) -> dict[str, Any]:
    made = await campaign(api)
    await message(api, made)
    answer = await api.client.post(f"{PATH}/{made['id']}/activate")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def template(api: Api, **fields: Any) -> dict[str, Any]:
    answer = await api.client.post("/api/v1/templates", json={"name": "Welcome", **INLINE, **fields})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_a_new_campaign_is_a_draft_with_the_usual_settings(api: Api):
    made = await campaign(api)
    number = ids.parse("campaign", made["id"])
    assert number
    assert made == {
        "id": ids.spell("campaign", number), "uuid": ids.uuid("campaign", number), "number": number, "name": "Spring", "state": "draft",
        "stop_on_reply": True, "reenroll_after": "180d", "sender": None, "reply_to": None, "track_opens": True, "track_links": True,
        "messages": 0, "enrolled": 0, "completed": 0, "activated_at": None,
        "created_at": "2025-06-18T12:00:00Z", "updated_at": "2025-06-18T12:00:00Z",
    }  # fmt: skip
    assert (await api.client.get(f"{PATH}/{made['id']}")).json() == made


@pytest.mark.parametrize(
    ("sender", "shown"),
    [
        ("news@ACME.test", {"email": "news@acme.test", "name": None}),
        ("Acme News <news@acme.test>", {"email": "news@acme.test", "name": "Acme News"}),
        ({"email": "news@acme.test", "name": "Acme"}, {"email": "news@acme.test", "name": "Acme"}),
        (None, None),
    ],
)
async def test_a_sender_is_an_address_a_mailbox_or_an_object(api: Api, sender: Any, shown: Any):
    assert (await campaign(api, sender=sender))["sender"] == shown


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "Spring\r\nBcc: all@example.com"}, "name"),
        ({"name": 5}, "name"),
        ({"reenroll_after": "soon"}, "reenroll_after"),
        ({"reenroll_after": 180}, "reenroll_after"),
        ({"sender": "nobody"}, "sender"),
        ({"sender": {"email": "a@acme.test", "name": "x\r\nBcc: b@x.com"}}, "sender"),
        ({"sender": {"name": "Acme"}}, "sender"),
        ({"reply_to": "nobody"}, "reply_to"),
        ({"stop_on_reply": "yes"}, "stop_on_reply"),
        ({"quiet_hours": []}, "quiet_hours"),
    ],
)
async def test_a_wrong_setting_is_named(api: Api, fields: dict[str, Any], field: str):
    answer = await api.client.post(PATH, json={"name": "Spring", **fields})
    assert (answer.status_code, list(answer.json()["errors"])) == (422, [field]), answer.text
    made = await campaign(api)
    answer = await api.client.patch(f"{PATH}/{made['id']}", json=fields)
    assert (answer.status_code, list(answer.json()["errors"])) == (422, [field]), answer.text


async def test_settings_are_changed_and_taken_back(api: Api):
    made = await campaign(api, sender="a@acme.test", reply_to="b@acme.test")
    path = f"{PATH}/{made['id']}"
    changed = (await api.client.patch(path, json={"name": "Summer", "reenroll_after": "12h", "stop_on_reply": False})).json()
    assert (changed["name"], changed["reenroll_after"], changed["stop_on_reply"]) == ("Summer", "12h", False)
    assert (changed["sender"], changed["reply_to"]) == ({"email": "a@acme.test", "name": None}, "b@acme.test")
    bare = (await api.client.patch(path, json={"sender": None, "reply_to": None})).json()
    assert (bare["sender"], bare["reply_to"], bare["name"]) == (None, None, "Summer")


async def test_the_list_is_newest_first_and_filtered(api: Api):
    for name in ("One", "Two"):
        await campaign(api, name=name)
    running = await active(api)
    answer = await api.client.get(PATH, params={"limit": 2})
    assert [row["name"] for row in answer.json()["campaigns"]] == ["Spring", "Two"]
    assert page_of(answer) == {"page": 1, "limit": 2, "total": 3, "total_pages": 2}
    assert (await api.client.get(PATH, params={"state": "active"})).json()["campaigns"] == [running]
    assert [row["name"] for row in (await api.client.get(PATH, params={"name": "One"})).json()["campaigns"]] == ["One"]
    assert (await api.client.get(PATH, params={"state": "asleep"})).status_code == 422


async def test_messages_stand_in_the_order_they_were_added(api: Api):
    made = await campaign(api)
    first = await message(api, made, name="Start")
    second = await message(api, made, channel="sms", subject="", body="Hi {{ first_name }}", delay="90m")
    assert isinstance(first["id"], int)
    assert {name: first[name] for name in ("position", "name", "channel", "delay", "format", "subject", "body", "template_id")} == {
        "position": 1, "name": "Start", "channel": "email", "delay": "0s", "format": "html", "subject": "Hi {{ first_name }}",
        "body": "<p>Hi {{ first_name }}</p>", "template_id": None,
    }  # fmt: skip
    assert (second["position"], second["delay"], second["format"], second["text"]) == (2, "90m", "text", "Hi {{ first_name }}")
    path = f"{PATH}/{made['id']}/messages"
    assert (await api.client.get(path)).json() == {"messages": [first, second]}
    assert (await api.client.get(f"{path}/{second['id']}")).json() == second
    assert (await api.client.get(f"{PATH}/{made['id']}")).json()["messages"] == 2


async def test_a_message_from_a_template_tells_its_version(api: Api):
    made, welcome = await campaign(api), await template(api)
    added = (await api.client.post(f"{PATH}/{made['id']}/messages", json={"template_id": welcome["id"], "delay": "1d"})).json()
    assert (added["channel"], added["template_id"], added["template_version"]) == ("email", welcome["id"], 1)
    await api.client.patch(f"/api/v1/templates/{welcome['id']}", json={"subject": "New"})
    path = f"{PATH}/{made['id']}/messages/{added['id']}"
    assert (await api.client.get(path)).json()["subject"] == "Hi {{ first_name }}"
    newer = (await api.client.patch(path, json={"template_id": welcome["id"]})).json()
    assert (newer["subject"], newer["template_version"]) == ("New", 2)
    own = (await api.client.patch(path, json={"subject": "Mine"})).json()
    assert (own["subject"], own["body"], own["template_id"], own["template_version"]) == ("Mine", INLINE["body"], None, None)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"delay": "soon"}, "delay"),
        ({"delay": 5}, "delay"),
        ({"channel": "fax"}, "channel"),
        ({"channel": None}, "channel"),
        ({"body": None}, "body"),
        ({"body": "{{ oops"}, "body"),
        ({"subject": "Hi\r\nBcc: all@example.com"}, "subject"),
        ({"template_id": "tmpl_x"}, "template_id"),
        ({"position": 1}, "position"),
        ({"name": "a\nb"}, "name"),
    ],
)
async def test_a_wrong_message_field_is_named(api: Api, fields: dict[str, Any], field: str):
    made = await campaign(api)
    answer = await api.client.post(f"{PATH}/{made['id']}/messages", json={**INLINE, **fields})
    assert (answer.status_code, list(answer.json()["errors"])) == (422, [field]), answer.text
    assert (await api.client.get(f"{PATH}/{made['id']}/messages")).json() == {"messages": []}


async def test_a_template_of_another_channel_is_refused(api: Api):
    made, welcome = await campaign(api), await template(api)
    answer = await api.client.post(f"{PATH}/{made['id']}/messages", json={"template_id": welcome["id"], "channel": "sms"})
    assert list(answer.json()["errors"]) == ["template_id"]
    both = await api.client.post(f"{PATH}/{made['id']}/messages", json={"template_id": welcome["id"], "body": "x"})
    assert list(both.json()["errors"]) == ["template_id"]


async def test_messages_are_moved_changed_and_taken_out(api: Api):
    made = await campaign(api)
    first, second = await message(api, made), await message(api, made, name="Second")
    path = f"{PATH}/{made['id']}/messages"
    moved = (await api.client.patch(f"{path}/{second['id']}", json={"position": 1, "delay": "2h", "body": "<p>Other</p>"})).json()
    assert (moved["position"], moved["delay"], moved["body"], moved["text"].strip(), moved["subject"]) == (
        1, "2h", "<p>Other</p>", "Other", INLINE["subject"],
    )  # fmt: skip
    assert (await api.client.delete(f"{path}/{second['id']}")).status_code == 204
    assert [(row["id"], row["position"]) for row in (await api.client.get(path)).json()["messages"]] == [(first["id"], 1)]
    for method in ("GET", "PATCH", "DELETE"):
        body = {"name": "x"} if method == "PATCH" else None
        assert (await api.client.request(method, f"{path}/{second['id']}", json=body)).status_code == 404
        assert (await api.client.request(method, f"{path}/first", json=body)).status_code == 404


async def test_a_campaign_goes_through_its_states(api: Api):
    made = await campaign(api)
    path = f"{PATH}/{made['id']}"
    empty = await api.client.post(f"{path}/activate")
    assert (empty.status_code, empty.json()["error"]) == (409, "A campaign needs at least one message before it is activated")
    await message(api, made)
    for verb, status, state in (
        ("pause", 409, "draft"),
        ("activate", 200, "active"),
        ("activate", 409, "active"),
        ("pause", 200, "paused"),
        ("activate", 200, "active"),
        ("archive", 200, "archived"),
        ("activate", 409, "archived"),
        ("archive", 409, "archived"),
    ):
        answer = await api.client.post(f"{path}/{verb}")
        assert answer.status_code == status, (verb, answer.text)
        assert (await api.client.get(path)).json()["state"] == state
        if status == 200:
            assert answer.json()["state"] == state
    assert (await api.client.get(path)).json()["activated_at"] == "2025-06-18T12:00:00Z"


async def test_archiving_completes_its_enrollments(api: Api):
    running = await active(api)
    contact_id = ids.spell("contact", await api.contact())
    enrolled = (await api.client.post("/api/v1/enrollments", json={"campaign_id": running["id"], "contact_id": contact_id})).json()
    archived = (await api.client.post(f"{PATH}/{running['id']}/archive")).json()
    assert (archived["enrolled"], archived["completed"]) == (1, 1)
    assert (await api.client.get(f"/api/v1/enrollments/{enrolled['id']}")).json()["completed"]


async def test_enrolling_many_answers_a_job(api: Api):
    running = await active(api)
    number = await api.contact()
    asked: list[tuple[dict[str, Any], int, dict[str, Any]]] = [
        ({"all": True}, 0, {"all": True}),
        ({"contact_ids": [ids.spell("contact", number)]}, 1, {"contact_ids": [number]}),
    ]
    listed = await api.db.write(lists.create, api.tenant.id, "Friends", now=api.at)
    await api.db.write(lists.add, api.tenant.id, listed.id, [number], now=api.at)
    asked += [({"list": spelling}, 1, {"list_id": listed.id}) for spelling in ("Friends", ids.spell("list", listed.id))]
    for body, total, params in asked:
        answer = await api.client.post(f"{PATH}/{running['id']}/enroll", json=body)
        assert answer.status_code == 202, answer.text
        job = answer.json()
        assert (job["state"], job["done"], job["total"]) == ("waiting", 0, total)
        rows = await api.rows(
            "SELECT kind, params FROM jobs WHERE tenant_id = :t AND id = :id", t=api.tenant.id, id=ids.parse("job", job["id"])
        )
        assert (rows[0][0], msgspec.json.decode(rows[0][1])) == ("enroll", {"campaign_id": running["number"], **params})


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"all": False}, 422),
        ({"all": True, "list": "Friends"}, 422),
        ({"contact_ids": []}, 422),
        ({"contact_ids": ["cont_x", "7"]}, 422),
        ({"contact_ids": [ids.spell("contact", 99)]}, 422),
        ({"contact_ids": "everybody"}, 422),
        ({"list": "Nobody"}, 404),
        ({"list": ids.spell("list", 99)}, 404),
    ],
)
async def test_a_crowd_that_is_not_there_makes_no_job(api: Api, body: dict[str, Any], status: int):
    running = await active(api)
    answer = await api.client.post(f"{PATH}/{running['id']}/enroll", json=body)
    assert answer.status_code == status, answer.text
    assert await api.rows("SELECT id FROM jobs WHERE tenant_id = :t", t=api.tenant.id) == []


async def test_only_an_active_campaign_takes_anybody(api: Api):
    made = await campaign(api)
    answer = await api.client.post(f"{PATH}/{made['id']}/enroll", json={"all": True})
    assert (answer.status_code, answer.json()["error"]) == (409, "The campaign is draft, not active")


async def test_another_tenant_or_spelling_finds_nothing(api: Api):
    made = await active(api)
    added = (await api.client.get(f"{PATH}/{made['id']}/messages")).json()["messages"][0]
    rival = await api.rival()
    tries: list[tuple[str, str, Any]] = [
        ("GET", "", None), ("PATCH", "", {"name": "x"}), ("POST", "/activate", None), ("POST", "/pause", None), ("POST", "/archive", None),
        ("POST", "/enroll", {"all": True}), ("GET", "/messages", None), ("POST", "/messages", INLINE),
        ("GET", f"/messages/{added['id']}", None), ("PATCH", f"/messages/{added['id']}", {"name": "x"}), ("DELETE", f"/messages/{added['id']}", None),
    ]  # fmt: skip
    for method, more, body in tries:
        assert (await rival.request(method, f"{PATH}/{made['id']}{more}", json=body)).status_code == 404, (method, more)
        for spelling in (str(made["number"]), made["uuid"], "camp_x"):
            assert (await api.client.request(method, f"{PATH}/{spelling}{more}", json=body)).status_code == 404, (method, more)
    assert (await api.client.get(f"{PATH}/{made['id']}")).json() == made
