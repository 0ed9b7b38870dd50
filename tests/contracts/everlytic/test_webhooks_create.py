"""Webhooks for texts: what making one takes and answers, and that it then really fires."""

import asyncio
import base64
import json
import shutil
import uuid
from typing import Any

import httpx2
import msgspec

from tests.support import missing
from tests.support.api import Api, basic
from tests.support.receiving import receiving
from tests.support.served import serving
from tidings import ids
from tidings.api.auth import CHALLENGE
from tidings.domain import endpoints
from tidings.web import create_app
from tidings.webhooks.post import Courier, Poster
from tidings.webhooks.wire import Caller

PATH = "/api/2.0/production/sms/webhooks/create"
PAGE = (
    '{ "webhook": { "event_types": [ "sent" ], "verb": "POST", "url": "https://webhook.site/f0fc8147-0a1a-4e6b-b070-b872812d6649",'
    ' "auth_details": { "username": "username", "password": "password" }, "auth_type": "basic", "status": "enabled" } }'
)
"""As it stands on the contract's page."""
GOOD: dict[str, Any] = json.loads(PAGE)["webhook"]
DETAILS = GOOD["auth_details"]
WORDS, VERBS = "sent, delivered, failed, reply, unsubscribe", "GET, POST, PUT, PATCH, DELETE"
LIST, WORD = f"event_types must be a list of one or more of {WORDS}", f"event_types must be one of {WORDS}"
WRONG: list[tuple[str, list[Any], str]] = [
    ("event_types", [..., None], "event_types is required"),
    ("event_types", [[], "sent", {}, 1], LIST),
    ("event_types", [["Sent"], ["sent", "opened"], [1], [None], [[]]], WORD),
    ("verb", [..., None, ""], "verb is required"),
    ("verb", [1, ["POST"]], "verb must be text"),
    ("verb", ["HEAD", "POST ", "OPTIONS"], f"verb must be one of {VERBS}"),
    ("url", [..., None, ""], "url is required"),
    ("url", [1, ["https://x.test/"]], "url must be text"),
    ("url", ["ftp://x.test/", "x", "//x.test/", "https://", "javascript:alert(1)", "http://[::1"], "url must be an http or https URL"),
    ("auth_details", ["x", [], 1, True], "auth_details must be an object"),
    ("auth_details", [{}, {"password": "x"}, {"username": "", "password": "x"}], "auth_details.username is required"),
    ("auth_details", [{"username": "x"}, {"username": "x", "password": None}], "auth_details.password is required"),
    ("auth_details", [{"username": 1, "password": "x"}], "auth_details.username must be text"),
    ("auth_details", [{"username": "a:b", "password": "x"}], "auth_details.username must not contain a colon"),
    ("auth_details", [{"username": "a\nb", "password": "x"}], "auth_details.username must be one line of at most 255 characters"),
    ("auth_details", [{"username": "a", "password": "x" * 256}], "auth_details.password must be one line of at most 255 characters"),
    ("auth_details", [..., None], "auth_details is required with auth_type"),
    ("auth_type", [..., None], "auth_type is required with auth_details"),
    ("auth_type", ["", "Basic", "bearer", 1, []], "auth_type must be basic"),
    ("status", ["on", "Enabled", True, 1, []], "status must be one of enabled, disabled"),
]
PRIVATE = [
    "http://127.0.0.1/",
    "http://10.0.0.1:8080/x",
    "https://[::1]/",
    "http://169.254.169.254/",
    "http://localhost/",
    "http://0x7f000001/",
]


def webhook(**fields: Any) -> dict[str, Any]:
    return {"webhook": {name: value for name, value in (GOOD | fields).items() if value is not ...}}


async def make(api: Api, client: httpx2.AsyncClient | None = None, **fields: Any) -> dict[str, Any]:
    """What one that was made is told as."""
    answer = await (client or api.client).post(PATH, json=webhook(**fields))
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (list(body), body["status"], body["message"]) == (["status", "message", "data"], "success", "Webhook created.")
    return body["data"]


def refusal(answer: httpx2.Response, status: int = 400) -> str:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json"), answer.text
    body: dict[str, Any] = answer.json()
    assert (list(body), body["status"]) == (["status", "message"], "error")
    return body["message"]


async def test_the_pages_command_makes_one(api: Api):
    if shutil.which("curl") is None:
        missing("curl is not installed (Debian: apt-get install curl)")
    async with serving(api) as served:

        async def curl(*more: str) -> tuple[str, Any]:
            command = ("curl", "-sS", "--location", f"{served.url}{PATH}", "--data", PAGE, "-w", "\n%{http_code}", *more)
            process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
            body, _, status = (await process.communicate())[0].rpartition(b"\n")
            return status.decode(), msgspec.json.decode(body)

        assert await curl() == ("401", "Invalid credentials.")
        status, answer = await curl("--user", f"{api.key.key}:{api.key.secret}")
    identity = answer["data"].pop("id")
    assert (status, answer) == (
        "200",
        {"status": "success", "message": "Webhook created.", "data": {**GOOD, "auth_details": {"username": "username"}}},
    )
    assert str(uuid.UUID(identity)) == identity
    assert list(answer["data"]) == ["event_types", "verb", "url", "auth_details", "auth_type", "status"]


async def test_what_is_made_is_an_endpoint_for_texts_whose_password_nobody_sees(api: Api):
    for key in (None, "once"):
        answer = await api.client.post(PATH, json=webhook(), headers={"idempotency-key": key} if key else {})
        assert "password" not in answer.text
    made = ids.parse_uuid("webhook", answer.json()["data"]["id"])
    assert made is not None
    endpoint = await api.db.read(endpoints.get, api.tenant.id, made)
    assert (endpoint.style, endpoint.verb, endpoint.kinds, endpoint.filters.channel) == ("everlytic", "POST", ("sent",), "sms")
    assert "password" not in (endpoint.auth or "password")
    assert (await api.client.get(f"/api/v1/webhooks/{ids.spell('webhook', made)}")).json()["url"] == GOOD["url"]


async def test_every_verb_in_any_case_and_every_type_once(api: Api):
    for verb in ("GET", "post", "Put", "pAtCh", "delete"):
        assert (await make(api, verb=verb))["verb"] == verb.upper()
    types = ["unsubscribe", "reply", "failed", "delivered", "sent"]
    assert (await make(api, event_types=[*types, "sent", "reply"]))["event_types"] == types
    made = await make(api, auth_details=None, auth_type=..., status=None)
    assert (made["auth_details"], made["auth_type"], made["status"]) == (None, None, "enabled")
    assert (await make(api, status="disabled"))["status"] == "disabled"


async def test_what_is_wrong_is_named_and_nothing_is_made(api: Api):
    for name, values, message in WRONG:
        for value in values:
            assert (name, value, refusal(await api.client.post(PATH, json=webhook(**{name: value})))) == (name, value, message)
    for content in (b"", b"{", b"[]", b"webhook=x", b"\xff"):
        assert refusal(await api.client.post(PATH, content=content)) == "Request body is not formatted properly"
    assert refusal(await api.client.post(PATH, json={})) == "webhook is required"
    assert refusal(await api.client.post(PATH, json={"webhook": []})) == "webhook must be an object"
    assert (await api.rows("SELECT COUNT(*) FROM endpoints WHERE tenant_id = :t", t=api.tenant.id)) == [(0,)]


async def test_of_much_that_is_wrong_the_first_is_named(api: Api):
    wrong: dict[str, Any] = {"event_types": [], "verb": "x", "url": "x", "auth_details": "x", "auth_type": "x", "status": "x"}
    for number, name in enumerate(wrong):
        bad = {later: wrong[later] for later in list(wrong)[number:]}
        assert refusal(await api.client.post(PATH, json=webhook(**bad))).startswith(name)


async def test_a_private_address_is_refused_unless_the_server_allows_it(api: Api):
    for url in PRIVATE:
        assert refusal(await api.client.post(PATH, json=webhook(url=url))).startswith("url "), url
    async with allowing(api) as client:
        assert (await make(api, client, url="http://127.0.0.1:8080/x"))["url"] == "http://127.0.0.1:8080/x"


async def test_keys_scopes_and_methods(api: Api):
    for header in (None, "Basic x", basic("username", "password"), f"Digest {api.key.token}"):
        answer = await api.stranger.post(PATH, content=b"{", headers={"authorization": header} if header else {})
        assert (answer.status_code, answer.json(), answer.headers["www-authenticate"]) == (401, "Invalid credentials.", CHALLENGE)
    for scope, status in (("reports:read", 403), ("admin:write", 200)):
        async with api.client_for(await api.new_key(api.tenant, scope)) as client:
            answer = await client.post(PATH, json=webhook())
            assert answer.status_code == status
            if status == 403:
                assert refusal(answer, 403) == "This key lacks the scope admin:write"
    answer = await api.client.get(PATH)
    assert (refusal(answer, 405), answer.headers["allow"]) == ("Method not allowed", "POST")
    assert refusal(await api.client.post(PATH, content=b" " * (10 * 1024 * 1024 + 1)), 413) == "The request body is larger than 10 MiB"


async def test_it_fires_for_texts_with_the_verb_and_the_password_it_was_given(api: Api):
    async with receiving() as receiver, allowing(api) as client:
        for verb, status, url in (("PUT", "enabled", "/put"), ("GET", "enabled", "/get?a=b"), ("POST", "disabled", "/off")):
            await make(api, client, verb=verb, status=status, url=f"http://127.0.0.1:{receiver.port}{url}")
        await api.client.post("/api/v1/instant_messages", json={"email": "ann@example.test", "subject": "Hi", "body": "A mail"})
        await api.client.post(
            "/api/v1/instant_messages",
            json={"phone": "+31612345678", "email": "bob@example.test", "send_sms": True, "send_email": False, "body": "A text"},
        )
        assert len(await api.dispatch()) == 2
        await post(api)
        told = sorted(receiver.got, key=lambda request: request.verb)
        assert [request.verb for request in told] == ["GET", "PUT"]
        encoded = "Basic " + base64.b64encode(b"username:password").decode()
        assert {request.headers["authorization"] for request in told} == {encoded}
        said = msgspec.json.decode(told[1].body)
        assert (told[1].target, said["event_type"], said["mobile_number"]) == ("/put", "sent", "+31612345678")
        asked = httpx2.URL(told[0].target).params
        assert (asked["a"], asked["event_type"], asked["mobile_number"]) == ("b", "sent", "+31612345678")


def allowing(api: Api) -> httpx2.AsyncClient:
    """A client of the same house, but for its being allowed to post to private addresses."""
    api.app = create_app(msgspec.structs.replace(api.house, allow_private=True))
    return api.client_for(api.key)


async def post(api: Api) -> None:
    """Posts whatever is due."""
    caller = Caller(allow_private=True, deadline=5.0)
    await Poster(api.db, Courier(api.house.vault, api.signer, lambda: api.at, caller), lambda: api.at).turn()
    await caller.close()
