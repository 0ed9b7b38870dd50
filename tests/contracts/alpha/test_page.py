"""GET /page: a page in the order of one field, of what has any of the words."""

from typing import Any

import httpx2
import pytest

from tests.support.api import Api

PATH = "/api/v1/communications/page"


async def page(client: httpx2.AsyncClient, **params: Any) -> dict[str, Any]:
    answer = await client.get(PATH, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def subjects(found: dict[str, Any]) -> list[str]:
    return [record["subject"] for record in found["content"]]


async def test_it_goes_by_the_id_fifty_at_a_time(api: Api):
    made = [await api.send(subject=f"{number}") for number in range(3)]
    sort = {"empty": False, "sorted": True, "unsorted": False}
    assert await page(api.client) == {
        "content": made,
        "empty": False,
        "first": True,
        "last": True,
        "number": 0,
        "numberOfElements": 3,
        "pageable": {"offset": 0, "pageNumber": 0, "pageSize": 50, "paged": True, "sort": sort, "unpaged": False},
        "size": 50,
        "sort": sort,
        "totalElements": 3,
        "totalPages": 1,
    }


async def test_pages_follow_each_other_in_either_direction(api: Api):
    for number in range(5):
        await api.send(subject=f"{number}")
    assert subjects(await page(api.client, pageSize=2, pageNumber=1)) == ["2", "3"]
    second = await page(api.client, pageSize=2, pageNumber=1, direction="DESC")
    assert (subjects(second), second["first"], second["last"], second["totalPages"]) == (["2", "1"], False, False, 3)
    last = await page(api.client, pageSize=2, pageNumber=2, direction="desc", sortBy="subject")
    assert (subjects(last), last["last"], last["numberOfElements"]) == (["0"], True, 1)
    assert (await page(api.client, pageSize=2, pageNumber=9))["content"] == []


async def test_any_of_the_words_will_do_in_subject_body_or_recipients(api: Api):
    await api.send(subject="Apples", body="<p>one</p>")
    await api.send(subject="two", body="<p>Green PEARS</p>")
    await api.send(subject="three", body="<p>three</p>", recipients=["plum@example.test"])
    await api.send(subject="four", body="<p>four</p>")
    found = await page(api.client, search="apple pear PLUM")
    assert (subjects(found), found["totalElements"]) == (["Apples", "two", "three"], 3)
    assert subjects(await page(api.client, search="e%")) == []
    assert (await page(api.client, search="  "))["totalElements"] == 4


async def test_text_messages_belong_to_it_as_well(api: Api):
    answer = await api.client.post("/api/v1/instant_messages", json={"phone": "+390612345678", "send_sms": True, "body": "Your code is 42"})
    assert answer.status_code == 201, answer.text
    assert (await page(api.client, search="code"))["totalElements"] == 1
    assert (await page(api.client, search="390612345678"))["totalElements"] == 1


@pytest.mark.parametrize(
    ("params", "word"),
    [
        ({"pageNumber": -1}, "pageNumber"),
        ({"pageNumber": "x"}, "pageNumber"),
        ({"pageSize": 0}, "pageSize"),
        ({"pageSize": -1}, "pageSize"),
        ({"pageSize": "many"}, "pageSize"),
        ({"direction": "UP"}, "direction"),
        ({"sortBy": "nope"}, "nope"),
        ({"sortBy": "events"}, "events"),
        ({"search": " ".join(map(str, range(11)))}, "10 words"),
    ],
)
async def test_what_is_out_of_range_is_a_400_that_names_it(api: Api, params: dict[str, Any], word: str):
    answer = await api.client.get(PATH, params=params)
    assert (answer.status_code, set(answer.json())) == (400, {"detail", "time", "title"})
    assert word in answer.json()["detail"]


@pytest.mark.parametrize("search", ["\U00049941\x0e\\íaP(\x02²\U000b0579%W", "\U00049941%hello", "é\\hello_W", "%\U00049941"])
async def test_short_parts_beyond_ascii_between_wildcards_are_text_as_well(api: Api, search: str):
    """Some versions of SQLite crash over such a pattern, and take the whole process with them."""
    await api.send()
    assert (await page(api.client, search=search))["totalElements"] == 0


async def test_a_size_beyond_a_thousand_is_a_thousand(api: Api):
    assert (await page(api.client, pageSize=1001))["size"] == 1000


async def test_another_tenants_are_not_in_it(api: Api):
    await api.send()
    rival = await api.rival()
    for search in ("", "hello"):
        assert (await page(rival, search=search))["totalElements"] == 0
    await rival.aclose()
    assert (await api.stranger.get(PATH)).status_code == 401
