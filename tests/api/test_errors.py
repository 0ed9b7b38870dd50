"""An error's body belongs to whoever owns the path: never to the framework, whatever went wrong."""

import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.api.conftest import Api
from tidings.api import faults
from tidings.errors import Unavailable

ALPHA, PLAIN, ROCKETCOMS = {"detail", "time", "title"}, {"error"}, {"status", "traceId", "message", "timestamp"}
OWNERS = [
    ("GET", "/api/v1/communications", faults.plain),
    ("HEAD", "/api/v1/communications/5", faults.plain),
    ("GET", "/api/v1/communications/5", faults.plain),
    ("GET", "/api/v1/communications/five", faults.plain),
    ("GET", "/api/v1/communications/send", faults.plain),
    ("POST", "/api/v1/communications", faults.plain),
    ("GET", "/api/v1/enrollments", faults.plain),
    ("PUT", "/api/v1/enrollments/5", faults.plain),
    ("GET", "/api/v1/enrollments/5/x", faults.plain),
    ("GET", "/api/v1/communications/analytics", faults.alpha),
    ("POST", "/api/v1/communications/5", faults.alpha),
    ("DELETE", "/api/v1/communications/5", faults.alpha),
    ("GET", "/api/v1/communications/find/5", faults.alpha),
    ("GET", "/api/v1/communications/5/thread", faults.alpha),
    ("POST", "/api/v1/communications/send", faults.alpha),
    ("POST", "/api/3.0/messages/interaction-data/1", faults.everlytic),
    ("POST", "/api/2.0/production/sms/webhooks/create", faults.everlytic),
    ("GET", "/v1/recipients/x/messages", faults.rocketcoms),
    ("GET", "/v1", faults.rocketcoms),
    ("GET", "/v12", faults.plain),
    ("GET", "/api/v1/contacts", faults.plain),
    ("GET", "/api/v1/communicationsx", faults.plain),
    ("GET", "/anything", faults.plain),
    ("GET", "/", faults.plain),
]


@pytest.mark.parametrize(("method", "path", "owner"), OWNERS)
def test_the_owner_of_an_error_is_told_by_the_path(method: str, path: str, owner: faults.Owner):
    assert faults.owner(method, path) is owner
    assert faults.owner(method, path.replace("/api", "//api", 1)) is owner


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/nowhere", {"error": "Not found"}),
        ("/api/v1/nowhere", {"error": "Not found"}),
        ("/api/v1/enrollments/1/more", {"error": "Not found"}),
        ("/api/3.0/nowhere", {"result": "error", "status": "Not found", "code": 404}),
        ("/api/2.0/production/nowhere", {"status": "error", "message": "Not found"}),
        ("/api/v1/communications/1/nothing", {"detail": "Not found.", "time": "2025-06-18T12:00:00.000Z", "title": "Not Found"}),
    ],
)
async def test_an_unknown_path_is_its_owners_404(api: Api, path: str, body: Any):
    for client in (api.client, api.stranger):
        answer = await client.get(path)
        assert (answer.status_code, answer.json()) == (404, body)
        assert answer.headers["content-type"] == "application/json"


async def test_rocketcoms_errors_carry_a_trace(api: Api):
    answer = await api.client.get("/v1/nowhere")
    body = answer.json()
    assert uuid.UUID(body.pop("traceId"))
    assert (answer.status_code, body) == (404, {"status": "0404", "message": "Not found", "timestamp": "2025-06-18T12:00:00.000Z"})


@pytest.mark.parametrize(
    "word", ["abc", "0", "01", "-1", "1.0", "9" * 19, "9" * 400, "csv", "send", "delete-list", "cont_x", "%31%00", "\uff11"]
)
async def test_a_communication_is_read_by_digits_alone(api: Api, word: str):
    for method in ("GET", "HEAD"):
        answer = await api.client.request(method, f"/api/v1/communications/{word}")
        assert answer.status_code == 404
    body = (await api.client.get(f"/api/v1/communications/{word}")).json()
    assert set(body) == PLAIN


@pytest.mark.parametrize(
    ("method", "path", "allow", "keys"),
    [
        ("POST", "/api/v1/communications", "GET, HEAD", PLAIN),
        ("PUT", "/api/v1/enrollments", "GET, HEAD, POST", PLAIN),
        ("PATCH", "/api/v1/enrollments/1", "DELETE, GET, HEAD", PLAIN),
        ("PUT", "/api/v1/communications/1", "DELETE, GET, HEAD", ALPHA),
        ("DELETE", "/api/v1/communications/send", "POST", ALPHA),
        ("POST", "/api/v1/communications/track/x", "GET, HEAD", ALPHA),
    ],
)
async def test_a_wrong_method_says_which_there_are(api: Api, method: str, path: str, allow: str, keys: set[str]):
    answer = await api.client.request(method, path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == allow
    assert set(answer.json()) == keys


async def test_head_is_wherever_get_is(api: Api):
    await api.send()
    for path in ("/api/v1/communications", "/api/v1/communications/1", "/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"):
        got, headed = await api.client.get(path), await api.client.head(path)
        assert (headed.status_code, headed.content) == (200, b"")
        assert headed.headers["content-type"] == got.headers["content-type"]
        if path not in {"/metrics"}:
            assert headed.headers["content-length"] == str(len(got.content))


async def test_a_trailing_slash_redirects_nowhere(api: Api):
    for path in ("/api/v1/communications/", "/api/v1/enrollments/", "/nowhere/"):
        assert (await api.client.get(path)).status_code in {200, 404}


async def test_an_oversize_body_is_a_413_declared_or_chunked(api: Api):
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(11):
            yield b" " * 1024 * 1024

    large = b" " * (10 * 1024 * 1024 + 1)
    for path, keys in (("/api/v1/enrollments", PLAIN), ("/api/v1/communications/x/comment", ALPHA)):
        for content in (large, chunks()):
            answer = await api.client.post(path, content=content)
            assert answer.status_code == 413
            assert set(answer.json()) == keys
    fits = await api.client.post("/api/v1/keys", content=large[1:])
    assert fits.status_code == 400


@pytest.mark.parametrize("content", [b"", b"{", b"nonsense", b'{"a": \xff}', b"[" * 100_000, b'{"a": 1} x'])
async def test_what_is_no_json_is_a_400(api: Api, content: bytes):
    plain = await api.client.post("/api/v1/keys", content=content)
    assert (plain.status_code, set(plain.json())) == (400, PLAIN)
    alphas = await api.client.post("/api/v1/communications/send", content=content)
    assert (alphas.status_code, set(alphas.json()), alphas.json()["title"]) == (400, ALPHA, "Bad Request")


@pytest.mark.parametrize(
    "content", [b"[]", b"1", b'"text"', b"null", b'{"name": "a\\u0000b"}', b'{"name": 1, "scopes": 123456789012345678901}']
)
async def test_json_of_the_wrong_kind_is_a_422_natively_and_a_400_for_alpha(api: Api, content: bytes):
    assert (await api.client.post("/api/v1/keys", content=content)).status_code == 422
    assert (await api.client.post("/api/v1/communications/send", content=content)).status_code == 400


async def test_a_database_that_cannot_take_it_is_a_503_with_a_time_to_come_back(api: Api, monkeypatch: pytest.MonkeyPatch):
    assert (await api.client.get("/api/v1/keys")).status_code == 200

    async def locked(*_: Any, **__: Any) -> Any:
        raise Unavailable("The database is locked.")

    monkeypatch.setattr(api.db, "read", locked)
    plain = await api.client.get("/api/v1/communications")
    assert (plain.status_code, plain.json()) == (503, {"error": "The database is locked."})
    assert plain.headers["retry-after"]
    alphas = await api.client.get(f"/api/v1/communications/find/{api.signer.communication(api.tenant.id, 1)}")
    assert (alphas.status_code, alphas.json()["title"]) == (503, "Service Unavailable")
    assert (await api.stranger.get("/readyz")).status_code == 503
    assert (await api.stranger.get("/healthz")).status_code == 200


async def test_a_bug_is_a_500_in_the_owners_words_and_its_story_is_in_the_log(
    api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert (await api.client.get("/api/v1/keys")).status_code == 200

    async def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("a secret of ours")

    monkeypatch.setattr(api.db, "read", broken)
    plain = await api.client.get("/api/v1/communications")
    assert (plain.status_code, plain.json()) == (500, {"error": "Internal server error"})
    log = capsys.readouterr().out
    assert plain.headers["x-trace-id"] in log
    assert "a secret of ours" in log
    alphas = await api.client.get(f"/api/v1/communications/find/{api.signer.communication(api.tenant.id, 1)}")
    assert (alphas.status_code, set(alphas.json())) == (500, ALPHA)
    assert "secret" not in alphas.text


async def test_a_host_header_the_framework_refuses_is_answered_in_the_owners_words(api: Api):
    answer = await api.client.get("/api/v1/communications", headers={"host": "a b"})
    assert answer.status_code in {200, 400}
    assert set(answer.json()) <= {"error", "communications", "pagination"}


async def test_a_byte_order_mark_before_json_is_no_error(api: Api):
    answer = await api.client.post("/api/v1/lists", content=b'\xef\xbb\xbf{"name": "Garden"}')
    assert (answer.status_code, answer.json()["name"]) == (201, "Garden")


async def test_who_asks_before_sending_too_much_is_refused_before_anything_is_sent(api: Api):
    asked: list[str] = []

    async def receive() -> Any:
        asked.append("the body")
        return {"type": "http.disconnect"}

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    headers = {"authorization": f"Bearer {api.key.token}", "content-length": str(11 * 1024 * 1024), "expect": "100-continue"}
    scope: Any = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "https",
        "method": "POST",
        "path": "/api/v1/lists",
        "raw_path": b"/api/v1/lists",
        "root_path": "",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("mail.example.test", 443),
    }
    await api.app(scope, receive, send)
    assert (sent[0]["status"], asked) == (413, [])
