"""What is refused, and in which words: every error of the contract, in its body."""

import uuid
from typing import Any

import httpx2
import pytest

from tests.contracts.rocketcoms.story import Story
from tests.support.api import Api
from tidings import ids
from tidings.api.auth import CHALLENGE
from tidings.errors import Unavailable

SORTS = "id, direction, messageText, campaignId, campaignName, status, sentAt, createdAt"
DATE = "must be a date such as 2025-06-18"
PAGE, SIZE = "page must be a whole number from 0 to 2147483647", "pageSize must be a whole number from 1 to 100"
STATUS = "status must be one of PENDING, IN_PROCESS, CANCELED, SENT, DELIVERED, FAILED"
SORT_BY, SORT_DIR = f"sortBy must be one of {SORTS}", "sortDir must be one of asc, desc"
UNKNOWN = ids.uuid("campaign", 999)
CONTACT = ids.uuid("contact", 1)
WRONG = [
    *[(f"from={text}", f"from {DATE}") for text in ("", "yesterday", "2025-02-30", "2025-6-1", "20250618", "2025-W25-3", "0000-01-01")],
    *[
        (f"from={text}", f"from {DATE}")
        for text in ("2025-06-18T00:00:00Z", "%2B2025-06-18", "2025-06-18%20", "18-06-2025", "\uff12\uff10\uff12\uff15-06-18")
    ],
    *[(f"to={text}", f"to {DATE}") for text in ("", "2025-13-01", "10000-01-01", "1e3")],
    ("from=2025-06-19&to=2025-06-18", "from is after to"),
    *[(f"status={text}", STATUS) for text in ("", "sent", "OPEN", "SENT,FAILED", "CANCELLED")],
    *[(f"sortBy={text}", SORT_BY) for text in ("", "ID", "date", "id,status", "at", "1")],
    *[(f"sortDir={text}", SORT_DIR) for text in ("", "ASC", "up")],
    *[(f"page={text}", PAGE) for text in ("", "-1", "1.0", "x", "2147483648", "9" * 400, "%2B1", "\uff11", "1e1", "NaN")],
    *[(f"pageSize={text}", SIZE) for text in ("", "0", "-1", "101", "ten", "99999999999", "5.5")],
    ("campaigns=", "campaigns has something that is not a UUID: ''"),
    ("campaigns=spring", "campaigns has something that is not a UUID: 'spring'"),
    (f"campaigns={UNKNOWN},", "campaigns has something that is not a UUID: ''"),
    (f"campaigns={ids.spell('campaign', 1)}", f"campaigns has something that is not a UUID: '{ids.spell('campaign', 1)}'"),
    (f"campaigns={UNKNOWN}", f"campaigns has one that is not known: {UNKNOWN}"),
    (f"campaigns={CONTACT}", f"campaigns has one that is not known: {CONTACT}"),
    ("campaigns=%00", "campaigns must not contain a NUL character"),
    ("messageText=a%00b", "messageText must not contain a NUL character"),
]


@pytest.fixture
async def story(api: Api) -> Story:
    return await Story(api).begin()


def refusal(answer: httpx2.Response, status: int) -> str:
    """The message of a refusal whose body is the contract's."""
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json"), answer.text
    assert list(body) == ["status", "traceId", "message", "timestamp"]
    assert (body["status"], body["timestamp"]) == (f"{status:04d}", "2025-06-18T12:00:00.000Z")
    assert str(uuid.UUID(body["traceId"])) == body["traceId"]
    return body["message"]


async def test_what_is_wrong_is_named(story: Story):
    for query, message in WRONG:
        answer = await story.api.client.get(f"{story.path}?{query}")
        assert (query, refusal(answer, 400)) == (query, message)


async def test_the_wrong_is_wrong_also_where_everything_is_looked_through(story: Story):
    for query, message in WRONG:
        if "messageText" not in query and "sortBy" not in query:
            answer = await story.api.client.get(f"{story.path}?messageText=x&{query}")
            assert (query, refusal(answer, 400)) == (query, message)
    answer = await story.api.client.get(f"/v1/recipients/{ids.uuid('contact', 999)}/messages?messageText=x")
    assert refusal(answer, 404) == "Recipient not found"


@pytest.mark.parametrize(
    "word", ["1", "x", ids.spell("contact", 1), CONTACT.replace("-", ""), f"{{{CONTACT}}}", f"{CONTACT}0", "%00", "%F0%9F%90%95", "..."]
)
async def test_a_recipient_that_is_no_uuid_is_malformed(story: Story, word: str):
    assert refusal(await story.api.client.get(f"/v1/recipients/{word}/messages"), 400) == "recipientId is not a UUID"


async def test_a_uuid_that_names_no_contact_is_not_found(story: Story):
    for text in (
        ids.uuid("contact", 999),
        ids.uuid("campaign", story.contact_id),
        ids.uuid("communication", story.contact_id),
        str(uuid.UUID(int=0)),
        "ba68bc22-d512-4467-8a54-e92d8e8a9c53",
    ):
        assert refusal(await story.api.client.get(f"/v1/recipients/{text}/messages"), 404) == "Recipient not found"


async def test_a_contact_that_was_deleted_is_not_found(story: Story):
    await story.sent("Hello")
    assert (await story.api.client.delete(f"/api/v1/contacts/{ids.spell('contact', story.contact_id)}")).status_code == 204
    assert refusal(await story.api.client.get(story.path), 404) == "Recipient not found"


async def test_what_is_another_tenants_is_not_there(story: Story):
    campaign = await story.campaign("Spring")
    await story.sent("Hello", campaign=campaign)
    rival = await story.api.rival()
    for query in ("", "?messageText=h", "?sortBy=id", f"?campaigns={ids.uuid('campaign', campaign)}"):
        assert refusal(await rival.get(story.path + query), 404) == "Recipient not found"
    made = (await rival.post("/api/v1/contacts", json={"email": "ann@example.test"})).json()
    own = f"/v1/recipients/{made['uuid']}/messages"
    assert (await rival.get(own)).json()["result"]["content"] == []
    for query in ("", "&messageText=h"):
        answer = await rival.get(f"{own}?campaigns={ids.uuid('campaign', campaign)}{query}")
        assert refusal(answer, 400) == f"campaigns has one that is not known: {ids.uuid('campaign', campaign)}"
    await rival.aclose()


async def test_without_a_good_key_nothing_is_said_of_the_recipient(story: Story):
    key = story.api.key
    for authorization in (None, "Bearer nonsense", "Basic nonsense", f"Digest {key.token}", "Bearer", f"Token {key.token}"):
        headers = {"authorization": authorization} if authorization else {}
        for path in (story.path, "/v1/recipients/x/messages", f"{story.path}?page=-1"):
            answer = await story.api.stranger.get(path, headers=headers)
            assert refusal(answer, 401) == "Unauthorized"
            assert answer.headers["www-authenticate"] == CHALLENGE


async def test_a_key_needs_the_scope(story: Story):
    for scopes, status in ((("contacts:read", "communications:write"), 403), (("communications:read",), 200)):
        client = story.api.client_for(await story.api.new_key(story.api.tenant, *scopes))
        answer = await client.get(story.path)
        assert answer.status_code == status
        if status == 403:
            assert refusal(answer, 403) == "This key lacks the scope communications:read"
        await client.aclose()


async def test_every_other_path_below_v1_is_not_found_in_its_words(story: Story):
    for path in (
        "/v1",
        "/v1/",
        "/v1/recipients",
        f"/v1/recipients/{CONTACT}",
        f"{story.path}/1",
        "/v1/recipients//messages",
        "/v1/messages",
    ):
        assert refusal(await story.api.client.get(path), 404) == "Not found", path
    assert (await story.api.client.get("/api" + story.path)).json() == {"error": "Not found"}


async def test_a_slash_at_the_end_leads_to_the_same_without_a_detour(story: Story):
    answer = await story.api.client.get(f"{story.path}/")
    assert (answer.status_code, answer.json()) == (200, (await story.api.client.get(story.path)).json())


async def test_other_methods_are_not_allowed_in_its_words(story: Story):
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        answer = await story.api.client.request(method, story.path)
        body = answer.json()
        assert (answer.status_code, answer.headers["allow"], body["status"]) == (405, "GET, HEAD", "0400")
        assert set(body) == {"status", "traceId", "message", "timestamp"}


async def test_a_database_that_is_away_is_told_as_ours(story: Story, monkeypatch: pytest.MonkeyPatch):
    async def away(*_: object, **__: object) -> None:
        raise Unavailable("The database cannot be reached")

    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret")

    assert (await story.api.client.get(story.path)).status_code == 200
    monkeypatch.setattr(story.api.db, "read", away)
    answer = await story.api.client.get(story.path)
    assert (answer.status_code, answer.json()["status"], answer.headers["retry-after"]) == (503, "0500", "2")
    monkeypatch.setattr(story.api.db, "read", broken)
    answer = await story.api.client.get(story.path)
    assert refusal(answer, 500) == "Internal server error"
    assert answer.headers["x-trace-id"] == answer.json()["traceId"]
