"""The contract's page taken at its word: its endpoint and both of its headers, sent by curl to a real server, and its sample compared key by key.

The page shows no command line of its own, and one message where its words promise a list: the list is the contract's decision.
"""

import asyncio
import base64
import shutil
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from tests.contracts.rocketcoms.story import Story
from tests.support import missing
from tests.support.api import Api
from tests.support.served import Served, serving
from tidings import ids

ENDPOINT = "GET /v1/recipients/{recipientId}/messages"
HEADERS = ("Authorization: Bearer <access_token>", "Authorization: Basic <encodedString>")
MESSAGE = {
    "id": "ba68bc22-d512-4467-8a54-e92d8e8a9c53",
    "direction": "OUTGOING",
    "messageText": "Spring Sale Starts Today",
    "campaignId": "d7b0e25f-30c9-456b-b287-6b3dcaa4b8f7",
    "campaignName": "Spring Campaign",
    "status": "DELIVERED",
}
SAMPLE = {"status": "string", "result": MESSAGE, "message": "string"}


@pytest.fixture
async def served(api: Api) -> AsyncIterator[Served]:
    if shutil.which("curl") is None:
        missing("curl is not installed (Debian: apt-get install curl)")
    async with serving(api) as server:
        yield server


async def curl(url: str, header: str, *more: str) -> tuple[int, Any]:
    method, path = ENDPOINT.split(" ")
    assert path.endswith("/messages")
    process = await asyncio.create_subprocess_exec(
        "curl", "-sS", "-X", method, url, "-H", header, "-w", "\n%{http_code}", *more, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    body, _, status = out.rpartition(b"\n")
    return int(status), msgspec.json.decode(body)


async def test_the_pages_request_with_either_header_gets_the_pages_answer(api: Api, served: Served):
    story = await Story(api).begin()
    spring = await story.campaign("Spring Campaign")
    await story.sent("Spring Sale Starts Today", "delivered", campaign=spring)
    url = served.url + ENDPOINT.split(" ")[1].replace("{recipientId}", ids.uuid("contact", story.contact_id))
    encoded = base64.b64encode(f"{api.key.key}:{api.key.secret}".encode()).decode()
    for header in HEADERS:
        status, answer = await curl(url, header.replace("<access_token>", api.key.token).replace("<encodedString>", encoded))
        assert (status, list(answer)) == (200, list(SAMPLE))
        (message,) = answer["result"]["content"]
        assert list(message) == list(MESSAGE)
        assert [type(value) for value in message.values()] == [type(value) for value in MESSAGE.values()]
        told = ("direction", "messageText", "campaignName", "status")
        assert [message[name] for name in told] == [MESSAGE[name] for name in told]
        assert all(ids.is_uuid(message[name]) for name in ("id", "campaignId"))


async def test_the_pages_sample_recipient_is_nobodys_here(api: Api, served: Served):
    url = served.url + ENDPOINT.split(" ")[1].replace("{recipientId}", MESSAGE["id"])
    status, answer = await curl(url, f"Authorization: Bearer {api.key.token}")
    assert (status, answer["status"], answer["message"]) == (404, "0404", "Recipient not found")
    status, answer = await curl(served.url + ENDPOINT.split(" ")[1], HEADERS[0], "--globoff")
    assert (status, answer["status"], answer["message"]) == (401, "0401", "Unauthorized")


async def test_every_parameter_of_the_page_at_once(api: Api, served: Served):
    story = await Story(api).begin()
    spring = await story.campaign("Spring Campaign")
    await story.sent("Spring Sale Starts Today", "delivered", campaign=spring)
    url = (
        served.url
        + story.path
        + "?from=2025-06-18&to=2025-06-18&status=DELIVERED&messageText=sale&sortBy=id&sortDir=desc&page=0&pageSize=5"
    )
    status, answer = await curl(f"{url}&campaigns={ids.uuid('campaign', spring)}", f"Authorization: Bearer {api.key.token}")
    assert (status, answer["result"]["total"], len(answer["result"]["content"])) == (200, 1, 1)
