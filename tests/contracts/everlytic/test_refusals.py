"""What is refused, and in which words: of all that is wrong with a request the first, in the contract's order."""

import asyncio
from typing import Any

import httpx2
import msgspec
import pytest

from tests.contracts.everlytic.log import ALWAYS, PATH, Log
from tests.support.api import Api, basic
from tidings.api.auth import CHALLENGE
from tidings.errors import Unavailable

UNREADABLE = "Request body is not formatted properly"
ORDER = "order must be asc or desc"
NUMERIC, VALID = "pageNumber is not numeric", "pageNumber is not valid"
FORMAT = "fromDate is not in the format yyyy-mm-dd"
BAD: dict[str, tuple[list[Any], str]] = {
    "interactionType": (["", "sent", "Sends", 1, True, ["sends"], {}, "sends\0"], "interactionType is not valid"),
    "fromDate": (
        [
            *("", "2025-6-1", "01-02-2025", "2025-02-30", "2025-01-01 00:00:00", "20250101", "2025-W01-1", "0000-01-01", " 2025-01-01"),
            *("2025-01-01T00:00:00Z", "\uff12\uff10\uff12\uff15-01-01", 20250101, [], False),
        ],
        FORMAT,
    ),
    "toDate": (["tomorrow"], "toDate is not in the format yyyy-mm-dd"),
    "order": (["", "ASC", "up", 1, True, ["asc"], {}], ORDER),
}
PAGES: list[tuple[list[Any], str]] = [
    (["x", "", "1x", "one", True, [1], {}, "1e2", "\uff11", "1,0", "0x1", "--1"], NUMERIC),
    ([0, "0", -1, "-1", 1.5, "1.5", "0.0", -2.0, 1e300], VALID),
]
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"order": ...}, "order is required"),
    ({"fromDate": ...}, "fromDate is required"),
    ({"toDate": None}, "toDate is required"),
    ({"interactionType": ...}, "interactionType is required"),
    ({"fromDate": ..., "order": ...}, f"{UNREADABLE}. Missing: fromDate, order"),
    (
        {"order": ..., "toDate": ..., "interactionType": ..., "fromDate": None},
        f"{UNREADABLE}. Missing: interactionType, fromDate, toDate, order",
    ),
    ({"fromDate": "2025-01-02", "toDate": "2025-01-01"}, "fromDate is after toDate"),
    *[({name: value}, message) for name, (values, message) in BAD.items() for value in values],
    *[({"pageNumber": value}, message) for values, message in PAGES for value in values],
]
IN_ORDER = {
    "interactionType": ("x", "interactionType is not valid"),
    "fromDate": ("x", FORMAT),
    "toDate": ("x", "toDate is not in the format yyyy-mm-dd"),
    "pageNumber": ("x", NUMERIC),
    "order": ("x", ORDER),
}


@pytest.fixture
def log(api: Api) -> Log:
    return Log(api)


def refusal(answer: httpx2.Response, status: int = 400) -> str:
    """What a refusal in the contract's body says."""
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json"), answer.text
    assert (list(body), body["result"], body["code"]) == (["result", "status", "code"], "error", status)
    return body["status"]


async def test_what_is_wrong_is_named(log: Log):
    for body, message in WRONG:
        assert (body, refusal(await log.post(**body))) == (body, message)


async def test_a_body_that_is_no_object_is_not_formatted_properly(log: Log):
    for content in (
        b"",
        b"{",
        b"[]",
        b'"x"',
        b"null",
        b"interactionType=sends",
        b"\xff",
        b"[" * 100_000,
        b'{"a": NaN}',
        b"{}{}",
        b'{"a": 1' + b"0" * 9000,
    ):
        answer = await log.api.client.post(f"{PATH}/x", content=content)
        assert refusal(answer) == UNREADABLE, content[:20]
    assert (
        refusal(await log.api.client.post(f"{PATH}/x", content=b"{}")) == f"{UNREADABLE}. Missing: interactionType, fromDate, toDate, order"
    )


async def test_of_much_that_is_wrong_the_first_is_named(log: Log):
    names = list(IN_ORDER)
    for number, name in enumerate(names):
        wrong: dict[str, Any] = {later: IN_ORDER[later][0] for later in names[number:]}
        assert refusal(await log.post("x", **wrong)) == IN_ORDER[name][1]
    assert refusal(await log.post("x", fromDate="2025-01-02", toDate="2025-01-01", pageNumber="x", order="x")) == "fromDate is after toDate"
    assert refusal(await log.post("x", pageNumber=0, order="x")) == VALID
    assert refusal(await log.post("x")) == "messageId is not numeric"


async def test_a_message_is_named_by_digits_alone(log: Log):
    for text in ("x", "-1", "1.0", "1e3", "%EF%BC%91", "camp_x", "1 ", "0x1", "%00", "+1"):
        assert refusal(await log.post(text)) == "messageId is not numeric", text


async def test_without_a_good_key_nothing_is_said(log: Log):
    key = log.api.key
    for path in (f"{PATH}/7", f"{PATH}/x"):
        for header in (None, "Bearer x", "Basic x", basic("user", "password"), basic(key.key, "x"), f"Digest {key.token}", basic("", "")):
            answer = await log.api.stranger.post(path, content=b"{", headers={"authorization": header} if header else {})
            assert refusal(answer, 401) == "Invalid credentials"
            assert answer.headers["www-authenticate"] == CHALLENGE
    answer = await log.api.stranger.post(f"{PATH}/7", json=ALWAYS, headers={"authorization": basic(key.key, key.secret)})
    assert answer.status_code == 200


async def test_a_key_needs_the_scope(log: Log):
    for scope, status in (("communications:read", 403), ("reports:write", 403), ("reports:read", 200)):
        async with log.api.client_for(await log.api.new_key(log.api.tenant, scope)) as client:
            answer = await log.post(client=client)
            assert answer.status_code == status
            if status == 403:
                assert refusal(answer, 403) == "This key lacks the scope reports:read"


async def test_other_paths_and_methods_are_refused_in_its_words(log: Log):
    for path in ("/api/3.0", "/api/3.0/messages", PATH, f"{PATH}/7/8", "/api/3.0/contacts"):
        assert refusal(await log.api.client.post(path, json=ALWAYS), 404) == "Not found", path
    for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE"):
        answer = await log.api.client.request(method, f"{PATH}/7")
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
        if method != "HEAD":
            assert refusal(answer, 405) == "Method not allowed"
    for path in ("/api/2.0/production", "/api/2.0/production/sms/webhooks", "/api/2.0/production/sms/webhooks/create/1"):
        answer = await log.api.client.post(path)
        assert (answer.status_code, answer.json()) == (404, {"status": "error", "message": "Not found"})


async def test_a_body_that_is_too_large_is_refused_in_its_words(log: Log):
    assert (
        refusal(await log.api.client.post(f"{PATH}/7", content=b" " * (10 * 1024 * 1024 + 1)), 413)
        == "The request body is larger than 10 MiB"
    )


async def test_what_is_our_fault_is_told_in_its_words(log: Log, monkeypatch: pytest.MonkeyPatch):
    async def away(*_: object, **__: object) -> None:
        raise Unavailable("The database cannot be reached")

    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret")

    assert (await log.post()).status_code == 200
    monkeypatch.setattr(log.api.db, "read", away)
    answer = await log.post()
    assert (refusal(answer, 503), answer.headers["retry-after"]) == ("The database cannot be reached", "2")
    monkeypatch.setattr(log.api.db, "read", broken)
    answer = await log.post()
    assert refusal(answer, 500) == "Internal server error"
    assert answer.headers["x-trace-id"]


async def test_many_questions_at_once_are_all_answered(log: Log):
    await log.happened("sent", 0)
    answers = await asyncio.gather(*(log.post(body) for body in [7] * 20))
    assert {msgspec.json.encode(answer.json()) for answer in answers} == {answers[0].content}
