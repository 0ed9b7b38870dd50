"""The reviewrover contract, as a client written for its pages meets it."""

import asyncio
from typing import Any

import pytest

from tests.api.conftest import NOON, Api, page_of
from tidings import ids
from tidings.clock import DAY, HOUR

MOMENT = "2025-06-18T12:00:00Z"


async def enrolled(api: Api) -> dict[str, Any]:
    campaign, contact = await api.campaign(), await api.contact("bea@example.test")
    answer = await api.client.post(
        "/api/v1/enrollments", data={"campaign_id": ids.spell("campaign", campaign), "contact_id": ids.spell("contact", contact)}
    )
    assert answer.status_code == 201, answer.text
    return answer.json()


async def planned(api: Api, enrollment: dict[str, Any], state: str = "pending") -> int:
    """A communication of this enrollment, as the planner makes it."""
    await api.run(
        "INSERT INTO communications (tenant_id, channel, state, lane, due_at, lease, lease_until, contact_id, content_id, campaign_id, message_id,"
        " enrollment_id, type, address, track_opens, track_links, created_at, updated_at)"
        " VALUES (:tenant_id, 'email', :state, 1, :now, :lease, :lease, :contact, 1, :campaign, 1, :enrollment, 'CAMPAIGN', 'ann@example.test', 1, 1,"
        " :now, :now)",
        tenant_id=api.tenant.id,
        state=state,
        now=api.at,
        lease=api.at + HOUR if state == "in_process" else None,
        contact=ids.parse("contact", enrollment["contact_id"]),
        campaign=ids.parse("campaign", enrollment["campaign_id"]),
        enrollment=enrollment["id"],
    )
    return (await api.rows("SELECT MAX(id) FROM communications WHERE tenant_id = :tenant_id", tenant_id=api.tenant.id))[0][0]


async def test_a_communication_reads_as_the_page_shows_it(api: Api):
    await api.send()
    contact = (await api.rows("SELECT id FROM contacts WHERE tenant_id = :t", t=api.tenant.id))[0][0]
    shown = {
        "id": 1,
        "communication_type": "email",
        "sent": False,
        "sent_at": None,
        "clicked": False,
        "manual": True,
        "contact_id": ids.spell("contact", contact),
        "campaign_id": None,
        "enrollment_id": None,
        "created_at": MOMENT,
        "updated_at": MOMENT,
    }
    one = await api.client.get("/api/v1/communications/1")
    assert (one.status_code, one.json()) == (200, shown)
    assert one.headers["content-type"] == "application/json"
    listed = await api.client.get("/api/v1/communications")
    assert listed.json() == {"communications": [shown], "pagination": {"page": 1, "limit": 25, "total": 1, "total_pages": 1}}


async def test_a_sent_and_clicked_campaign_message_says_so(api: Api):
    enrollment = await enrolled(api)
    identity = await planned(api, enrollment)
    await api.run(
        "UPDATE communications SET state = 'bounced', due_at = NULL, sent_at = :now, clicked_at = :now WHERE tenant_id = :t AND id = :id",
        now=NOON + 34_567,
        t=api.tenant.id,
        id=identity,
    )
    shown = (await api.client.get(f"/api/v1/communications/{identity}")).json()
    assert (shown["sent"], shown["sent_at"], shown["clicked"], shown["manual"]) == (True, "2025-06-18T12:00:34Z", True, False)
    assert (shown["campaign_id"], shown["enrollment_id"]) == (enrollment["campaign_id"], enrollment["id"])


async def test_communications_come_newest_first_and_in_pages(api: Api):
    for _ in range(7):
        await api.send()
    first = await api.client.get("/api/v1/communications", params={"limit": 3})
    assert [row["id"] for row in first.json()["communications"]] == [7, 6, 5]
    assert page_of(first) == {"page": 1, "limit": 3, "total": 7, "total_pages": 3}
    last = await api.client.get("/api/v1/communications", params={"limit": 3, "page": 3})
    assert [row["id"] for row in last.json()["communications"]] == [1]
    past = await api.client.get("/api/v1/communications", params={"limit": 3, "page": 9})
    assert (past.status_code, past.json()["communications"]) == (200, [])
    assert page_of(past) == {"page": 9, "limit": 3, "total": 7, "total_pages": 3}


@pytest.mark.parametrize(
    ("given", "page", "limit"),
    [
        ({}, 1, 25),
        ({"limit": "0"}, 1, 1),
        ({"limit": "-5"}, 1, 1),
        ({"limit": "1000"}, 1, 100),
        ({"limit": "9" * 5000}, 1, 100),
        ({"limit": "ten"}, 1, 25),
        ({"limit": ""}, 1, 25),
        ({"limit": "1.5"}, 1, 25),
        ({"limit": "٣"}, 1, 25),
        ({"page": "0"}, 1, 25),
        ({"page": "-1"}, 1, 25),
        ({"page": "x"}, 1, 25),
        ({"page": "2", "limit": "7"}, 2, 7),
        ({"page": "9" * 30}, 10**9, 25),
    ],
)
async def test_a_page_out_of_range_is_clamped_and_garbage_is_the_default(api: Api, given: dict[str, str], page: int, limit: int):
    for path in ("/api/v1/communications", "/api/v1/enrollments"):
        answer = await api.client.get(path, params=given)
        assert answer.status_code == 200
        assert page_of(answer) == {"page": page, "limit": limit, "total": 0, "total_pages": 0}


async def test_communications_are_narrowed_by_type_sent_and_manual(api: Api):
    await api.send()
    enrollment = await enrolled(api)
    identity = await planned(api, enrollment)
    await api.run("UPDATE communications SET state = 'sent', due_at = NULL, sent_at = :now WHERE id = :id", now=api.at, id=identity)

    async def found(**params: str) -> list[int]:
        return [row["id"] for row in (await api.client.get("/api/v1/communications", params=params)).json()["communications"]]

    assert await found(sent="true") == [identity]
    assert await found(sent="FALSE") == [1]
    assert await found(manual="1") == [1]
    assert await found(manual="0") == [identity]
    assert await found(type="sms") == []
    assert await found(type="email", sent="true", manual="false") == [identity]


@pytest.mark.parametrize(
    ("path", "params", "field"),
    [
        ("communications", {"type": "fax"}, "type"),
        ("communications", {"type": ""}, "type"),
        ("communications", {"sent": "maybe"}, "sent"),
        ("communications", {"manual": "2"}, "manual"),
        ("communications", {"type": "a\0"}, "type"),
        ("enrollments", {"completed": "done"}, "completed"),
    ],
)
async def test_a_filter_that_means_nothing_is_a_422_naming_it(api: Api, path: str, params: dict[str, str], field: str):
    answer = await api.client.get(f"/api/v1/{path}", params=params)
    assert answer.status_code == 422
    assert list(answer.json()["errors"]) == [field]


async def test_an_enrollment_is_made_from_a_form_and_reads_as_the_page_shows_it(api: Api):
    made = await enrolled(api)
    assert made == {
        "id": 1,
        "campaign_id": ids.spell("campaign", 1),
        "contact_id": ids.spell("contact", 1),
        "enrolled_at": MOMENT,
        "completed": False,
        "created_at": MOMENT,
        "updated_at": MOMENT,
    }
    assert (await api.client.get("/api/v1/enrollments/1")).json() == made
    listed = (await api.client.get("/api/v1/enrollments")).json()
    assert listed == {"enrollments": [made], "pagination": {"page": 1, "limit": 25, "total": 1, "total_pages": 1}}


@pytest.mark.parametrize("kind", ["json", "json without a type", "form without a type", "multipart"])
async def test_an_enrollment_is_made_from_json_and_from_any_form(api: Api, kind: str):
    fields = {"campaign_id": ids.spell("campaign", await api.campaign()), "contact_id": ids.spell("contact", await api.contact())}
    form = f"campaign_id={fields['campaign_id']}&contact_id={fields['contact_id']}".encode()
    json = f' {{"campaign_id": "{fields["campaign_id"]}", "contact_id": "{fields["contact_id"]}", "note": null}}'.encode()
    sent = {
        "json": {"json": fields},
        "json without a type": {"content": json},
        "form without a type": {"content": form},
        "multipart": {"files": {name: (None, value) for name, value in fields.items()}},
    }[kind]
    answer = await api.client.post("/api/v1/enrollments", **sent)
    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize(
    ("given", "fields"),
    [
        ({}, ["campaign_id", "contact_id"]),
        ({"campaign_id": "", "contact_id": "  "}, ["campaign_id", "contact_id"]),
        ({"campaign_id": None, "contact_id": "x"}, ["campaign_id"]),
        ({"campaign_id": "x"}, ["contact_id"]),
    ],
)
async def test_a_missing_or_blank_field_is_a_422_naming_it(api: Api, given: dict[str, Any], fields: list[str]):
    answer = await api.client.post("/api/v1/enrollments", json=given)
    assert answer.status_code == 422
    assert sorted(answer.json()["errors"]) == fields
    assert all(name in answer.json()["error"] for name in fields)


async def test_an_unknown_campaign_or_contact_is_a_404_that_says_which(api: Api):
    campaign, contact = await api.campaign(), await api.contact()
    camp, cont = ids.spell("campaign", campaign), ids.spell("contact", contact)
    cases = [
        ({"campaign_id": ids.spell("campaign", 99), "contact_id": cont}, "Campaign not found"),
        ({"campaign_id": camp, "contact_id": ids.spell("contact", 99)}, "Contact not found"),
        ({"campaign_id": cont, "contact_id": cont}, "Campaign not found"),
        ({"campaign_id": str(campaign), "contact_id": cont}, "Campaign not found"),
        ({"campaign_id": camp, "contact_id": contact}, "Contact not found"),
        ({"campaign_id": camp, "contact_id": ids.uuid("contact", contact)}, "Contact not found"),
        ({"campaign_id": ["x"], "contact_id": {}}, "Campaign not found"),
    ]
    for given, complaint in cases:
        answer = await api.client.post("/api/v1/enrollments", json=given)
        assert (answer.status_code, answer.json()) == (404, {"error": complaint})


@pytest.mark.parametrize("state", ["draft", "paused", "archived"])
async def test_a_campaign_that_is_not_active_takes_nobody(api: Api, state: str):
    given = {"campaign_id": ids.spell("campaign", await api.campaign(state)), "contact_id": ids.spell("contact", await api.contact())}
    answer = await api.client.post("/api/v1/enrollments", json=given)
    assert answer.status_code == 422
    assert "active" in answer.json()["error"]


async def test_a_contact_is_not_enrolled_again_within_the_window(api: Api):
    made = await enrolled(api)
    given = {"campaign_id": made["campaign_id"], "contact_id": made["contact_id"]}
    again = await api.client.post("/api/v1/enrollments", json=given)
    assert (again.status_code, again.json()) == (422, {"error": "Contact was already enrolled in this campaign recently"})
    await api.run("UPDATE enrollments SET completed_at = :now, due_at = NULL WHERE tenant_id = :t", now=api.at, t=api.tenant.id)
    api.at += 180 * DAY - 1
    assert (await api.client.post("/api/v1/enrollments", json=given)).status_code == 422
    api.at += 2
    assert (await api.client.post("/api/v1/enrollments", json=given)).status_code == 201


async def test_a_deleted_enrollment_does_not_count_and_is_gone(api: Api):
    made = await enrolled(api)
    assert (await api.client.delete("/api/v1/enrollments/1")).status_code == 204
    assert (await api.client.get("/api/v1/enrollments/1")).status_code == 404
    assert (await api.client.delete("/api/v1/enrollments/1")).status_code == 404
    assert (await api.client.get("/api/v1/enrollments")).json()["pagination"]["total"] == 0
    again = await api.client.post("/api/v1/enrollments", json={name: made[name] for name in ("campaign_id", "contact_id")})
    assert again.status_code == 201


async def test_deleting_an_enrollment_cancels_what_is_pending(api: Api):
    identity = await planned(api, await enrolled(api))
    answer = await api.client.delete("/api/v1/enrollments/1")
    assert (answer.status_code, answer.content) == (204, b"")
    assert "content-length" not in answer.headers
    assert await api.rows("SELECT state, due_at FROM communications WHERE id = :id", id=identity) == [("canceled", None)]


async def test_deleting_an_enrollment_waits_for_what_is_being_sent(api: Api):
    identity = await planned(api, await enrolled(api), "in_process")
    deleting = asyncio.create_task(api.client.delete("/api/v1/enrollments/1"))
    await asyncio.wait({deleting}, timeout=0.4)
    assert not deleting.done()
    await api.run(
        "UPDATE communications SET state = 'sent', sent_at = :now, due_at = NULL, lease = NULL, lease_until = NULL WHERE id = :id",
        now=api.at,
        id=identity,
    )
    async with asyncio.timeout(5):
        assert (await deleting).status_code == 204


async def test_enrollments_are_narrowed_by_campaign_contact_and_completion(api: Api):
    made = await enrolled(api)

    async def total(**params: str) -> int:
        answer = await api.client.get("/api/v1/enrollments", params=params)
        assert answer.status_code == 200
        return page_of(answer)["total"]

    assert await total(campaign_id=made["campaign_id"], contact_id=made["contact_id"], completed="false") == 1
    assert await total(completed="true") == 0
    assert await total(campaign_id=ids.spell("campaign", 99)) == 0
    assert await total(contact_id="cont_nobody") == 0
    for params in ({"campaign_id": "1"}, {"contact_id": ids.uuid("contact", 1)}, {"contact_id": made["campaign_id"]}):
        assert (await api.client.get("/api/v1/enrollments", params=params)).status_code == 404


async def test_another_tenants_rows_are_not_there(api: Api):
    await planned(api, await enrolled(api))
    rival = await api.rival()
    for path in ("/api/v1/communications/1", "/api/v1/enrollments/1"):
        answer = await rival.get(path)
        assert (answer.status_code, answer.json()) == (404, {"error": "Not found"})
    assert (await rival.delete("/api/v1/enrollments/1")).status_code == 404
    for name in ("communications", "enrollments"):
        body = (await rival.get(f"/api/v1/{name}")).json()
        assert (body[name], body["pagination"]["total"]) == ([], 0)
    answer = await rival.post("/api/v1/enrollments", json={"campaign_id": ids.spell("campaign", 1), "contact_id": ids.spell("contact", 1)})
    assert (answer.status_code, answer.json()) == (404, {"error": "Campaign not found"})
    assert (await api.client.get("/api/v1/enrollments/1")).status_code == 200
    await rival.aclose()
