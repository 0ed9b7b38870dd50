"""The contract's page taken at its word: its own JSON bodies, sent by curl with a user name and a key, and its answers compared key by key."""

import asyncio
import base64
import shutil
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from tests.contracts.everlytic.log import Log
from tests.support import missing
from tests.support.api import Api
from tests.support.served import Served, serving

ENDPOINT = "https://[Your URL]/api/3.0/messages/interaction-data/:messageId"
REQUEST = '{ "interactionType": "sends", "fromDate": "1972-01-01", "toDate": "2023-12-31", "pageNumber": 1, "order": "desc" }'
FIRST = '{ "interactionType": "sends", "fromDate": "1972-01-01", "toDate": "2023-12-31", "pageNumber": 1, "order": "asc" }'
SECOND = '{ "interactionType": "sends", "fromDate": "1972-01-01", "toDate": "2023-12-31", "pageNumber": 2, "order": "asc" }'
WRONG = '{ "interactionType": "sends", "fromDate": "1972-01-01", "toDate": "2023-12-31", "pageNumber": "x", "order": "asc" }'
ROW: dict[str, Any] = {
    "contact_id": 111111,
    "contact_email": "[email protected]",
    "send_date": "2023-05-15 20:04:59",
    "interaction_type": "sends",
    "interaction_date": "2023-05-15 20:04:59",
    "message_id": 123,
    "page_number": 1,
}
ANSWER_1: dict[str, Any] = {"result": "success", "page_size": 100, "total_pages": 4, "total_rows": 450, "data": [ROW]}
ANSWER_2: dict[str, Any] = {"result": "success", "data": [ROW | {"page_number": 2}]}
REFUSAL = {"result": "error", "status": "pageNumber is not numeric", "code": 400}
AT = 1_684_181_099_000
"""2023-05-15T20:04:59Z."""


@pytest.fixture
async def served(api: Api) -> AsyncIterator[Served]:
    if shutil.which("curl") is None:
        missing("curl is not installed (Debian: apt-get install curl)")
    async with serving(api) as server:
        yield server


async def curl(url: str, data: str, header: str) -> tuple[int, Any]:
    """As the page's own command line does it: `--location`, `--data`, and so the Content-Type of a form."""
    command = ("curl", "-sS", "--location", url, "--data", data, "-H", f"Authorization: {header}", "-w", "\n%{http_code}")
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    body, _, status = out.rpartition(b"\n")
    return int(status), msgspec.json.decode(body)


def keys_of(api: Api) -> str:
    return "Basic " + base64.b64encode(f"{api.key.key}:{api.key.secret}".encode()).decode()


async def test_the_pages_requests_get_the_pages_answers(api: Api, served: Served):
    log = Log(api, 123)
    contact = await api.contact("[email protected]")
    await log.many("sent", [(AT, contact)] * 110)
    url = ENDPOINT.replace("https://[Your URL]", served.url).replace(":messageId", "123")
    for body, sample, count in ((FIRST, ANSWER_1, 100), (REQUEST, ANSWER_1, 100), (SECOND, ANSWER_2, 10)):
        status, answer = await curl(url, body, keys_of(api))
        assert (status, list(answer)) == (200, list(sample))
        wanted = sample["data"][0] | {"contact_id": contact}
        assert answer["data"] == [wanted] * count
        assert all(list(row) == list(ROW) for row in answer["data"])
        if "total_rows" in sample:
            assert (answer["page_size"], answer["total_rows"], answer["total_pages"]) == (100, 110, 2)
    assert await curl(url, WRONG, keys_of(api)) == (400, REFUSAL)
    for header in ("Basic dXNlcm5hbWU6cGFzc3dvcmQ=", ""):
        assert await curl(url, FIRST, header) == (401, {"result": "error", "status": "Invalid credentials", "code": 401})
