"""POST /{id}/comment: a remark in the record's history."""

import uuid

import pytest

from tests.support.api import Api
from tidings.api.alpha import lifecycle
from tidings.domain import keys


def path(token: str) -> str:
    return f"/api/v1/communications/{token}/comment"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"string", "string"),
        (b'"a \\"quoted\\" remark\\nin two lines"', 'a "quoted" remark\nin two lines'),
        ("  Ann belde terug - ✓ \n".encode(), "Ann belde terug - ✓"),
        (b'"half a quotation', '"half a quotation'),
        (b'"yes" and "no"', '"yes" and "no"'),
        (b'{"text": "x"}', '{"text": "x"}'),
        (b"null", "null"),
        (b"x" * lifecycle.LONGEST_COMMENT, "x" * lifecycle.LONGEST_COMMENT),
    ],
)
async def test_raw_text_and_a_json_string_are_kept(api: Api, body: bytes, text: str):
    record = await api.send()
    api.at += 5_250
    answer = await api.client.post(path(record["id"]), content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()) == (200, {})
    found = await api.find(record["id"])
    event = found["events"][-1]
    assert uuid.UUID(event.pop("id"))
    assert event == {"authorId": "test", "date": "2025-06-18T12:00:05.250Z", "description": text, "type": "COMMENT"}
    assert (found["updated"], found["updatedBy"], found["status"]) == ("2025-06-18T12:00:05.250Z", "test", "PENDING")


async def test_the_history_is_in_the_order_it_was_made_and_names_who_did_what(api: Api):
    record = await api.send()
    colleague = api.client_for(await api.db.write(keys.create, api.tenant.id, name="Bea", scopes=(), now=api.at))
    for client, text in ((api.client, "one"), (colleague, "two"), (api.client, "three")):
        await client.post(path(record["id"]), content=text)
    await colleague.post(f"/api/v1/communications/{record['id']}/cancel")
    await colleague.aclose()
    events = (await api.find(record["id"]))["events"]
    assert [(event["type"], event["description"], event["authorId"]) for event in events] == [
        ("CREATE", "Communication created", "test"),
        ("COMMENT", "one", "test"),
        ("COMMENT", "two", "Bea"),
        ("COMMENT", "three", "test"),
        ("UPDATE", "Canceled", "Bea"),
    ]
    assert len({event["id"] for event in events}) == 5


async def test_what_recipients_do_is_no_part_of_that_history(api: Api):
    record = await api.send()
    await api.dispatch()
    await api.stranger.get(f"/api/v1/communications/track/{record['id']}")
    assert [event["type"] for event in (await api.find(record["id"]))["events"]] == ["CREATE"]


@pytest.mark.parametrize("body", [b"", b" \n", b'""', b'" "', b"\xff\xfe", b"a\0b", b'"a\\u0000b"', b"x" * (lifecycle.LONGEST_COMMENT + 1)])
async def test_an_empty_or_unreadable_one_is_a_400(api: Api, body: bytes):
    record = await api.send()
    answer = await api.client.post(path(record["id"]), content=body)
    assert (answer.status_code, set(answer.json())) == (400, {"detail", "time", "title"})
    assert await api.find(record["id"]) == record


async def test_what_is_not_there_or_anothers_is_a_404(api: Api):
    record = await api.send()
    rival = await api.rival()
    for client, token in ((api.client, "string"), (api.client, "1"), (rival, record["id"])):
        assert (await client.post(path(token), content="x")).status_code == 404
    await rival.aclose()
    assert await api.find(record["id"]) == record
    assert (await api.stranger.post(path(record["id"]), content="x")).status_code == 401
