"""Requests with an Idempotency-Key: done once, answered alike, on every operation that makes or does something."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from tests.support.api import Api
from tests.support.hooked import hooked
from tidings import ids
from tidings.api import idempotency, openapi, routes
from tidings.api.health import Metrics
from tidings.api.wire import Route
from tidings.clock import DAY, HOUR
from tidings.database import Tx
from tidings.domain import idempotency as keys
from tidings.errors import Unavailable
from tidings.inbound import receive

ALPHA = "/api/v1/communications"
HOOKS = "/api/2.0/production/sms/webhooks/create"
MAIL = {"body": "<p>Hello</p>", "subject": "Hello", "recipients": ["ann@example.test"]}
LATER = "2025-07-01T00:00:00Z"
EXEMPT = {
    "/api/v1/communications/dynamic-search": "a question",
    "/api/v1/templates/{id}/preview": "a question",
    "/api/3.0/messages/interaction-data/{messageId}": "a question",
    "/unsubscribe/{token}": "public, and the same whenever it is asked",
    "/api/v1/callbacks/{token}": "public, and a provider's: no header of ours comes with it",
    "/api/v1/callbacks/{token}/{communication}": "the same",
    "/api/v1/inbound/{kind}/{token}": "the same; a mail that comes twice is stored once",
    "/api/v1/inbound/{kind}/{token}/mime": "the same",
    "/api/v1/contacts/{id}/erase": "done again it finds nobody, and nothing of what was erased may be kept to be answered again",
    "/api/v1/webhooks/{id}/test": "whoever tries twice wants to see twice what comes back",
    "/api/v1/sandbox/reply": "plays a person, who may well say the same twice",
}
Request = tuple[str, dict[str, Any]]
Prepare = Callable[[Api], Awaitable[Request]]


def table(api: Api) -> list[Route]:
    return routes.collect(api.house, Metrics(api.db))


async def made(api: Api, path: str, **body: Any) -> dict[str, Any]:
    answer = await api.client.post(path, json=body)
    assert answer.is_success, answer.text
    return answer.json()


async def contact(api: Api) -> str:
    return ids.spell("contact", await api.contact())


async def campaign(api: Api, state: str = "active") -> str:
    return ids.spell("campaign", await api.campaign(state))


async def mailing(api: Api) -> str:
    return (await made(api, "/api/v1/lists", name="Fair"))["id"]


async def template(api: Api) -> str:
    return (await made(api, "/api/v1/templates", name="Offer", channel="email", subject="Offer", body="<p>Offer</p>"))["id"]


async def provider(api: Api) -> str:
    return (await made(api, "/api/v1/providers", name="Second", channel="email", kind="sandbox"))["id"]


def plain(path: str, **body: Any) -> Prepare:
    async def prepare(_: Api) -> Request:
        return path, {"json": body}

    return prepare


async def upload(_: Api) -> Request:
    return "/api/v1/contacts/import", {"files": {"file": ("a.csv", b"email\nbob@example.test\n", "text/csv")}, "data": {"list": "New"}}


async def members(api: Api) -> Request:
    return f"/api/v1/lists/{await mailing(api)}/contacts", {"json": {"contact_ids": [await contact(api)]}}


async def activate(api: Api) -> Request:
    return f"/api/v1/campaigns/{await campaign(api, 'paused')}/activate", {}


async def pause(api: Api) -> Request:
    return f"/api/v1/campaigns/{await campaign(api)}/pause", {}


async def archive(api: Api) -> Request:
    return f"/api/v1/campaigns/{await campaign(api)}/archive", {}


async def enroll(api: Api) -> Request:
    return f"/api/v1/campaigns/{await campaign(api)}/enroll", {"json": {"all": True}}


async def rest(api: Api) -> Request:
    return f"/api/v1/campaigns/{await campaign(api)}/send_to_rest", {"json": {"contacts": "all"}}


async def step(api: Api) -> Request:
    return f"/api/v1/campaigns/{await campaign(api, 'draft')}/messages", {"json": {"channel": "sms", "body": "Hello"}}


async def choose(api: Api) -> Request:
    return f"/api/v1/providers/{await provider(api)}/choose", {}


async def resume(api: Api) -> Request:
    held = await provider(api)
    sql = "UPDATE providers SET paused_at = :at, paused_until = :until, paused_reason = 'busy' WHERE tenant_id = :tenant_id AND name = 'Second'"
    await api.run(sql, at=api.at, until=api.at + HOUR, tenant_id=api.tenant.id)
    return f"/api/v1/providers/{held}/resume", {}


async def enrollment(api: Api) -> Request:
    return "/api/v1/enrollments", {"data": {"campaign_id": await campaign(api), "contact_id": await contact(api)}}


async def from_template(api: Api) -> Request:
    return f"{ALPHA}/send-template/{await template(api)}", {"json": {"recipients": ["ann@example.test"]}}


async def cancel(api: Api) -> Request:
    return f"{ALPHA}/{(await made(api, f'{ALPHA}/schedule', **MAIL, scheduledAt=LATER))['id']}/cancel", {}


async def resend(api: Api) -> Request:
    sent = await api.send()
    await api.dispatch()
    return f"{ALPHA}/{sent['id']}/resend", {}


async def comment(api: Api) -> Request:
    return f"{ALPHA}/{(await api.send())['id']}/comment", {"content": b"Called back"}


async def answering(api: Api) -> Request:
    desk = receive.Desk(api.db, api.house.store, api.signer, lambda: api.at)
    taken = await receive.mail(desk, api.tenant.id, b"From: ann@example.test\r\nSubject: A question\r\n\r\nWhen?\r\n")
    assert taken.conversation_id is not None
    return f"/api/v1/conversations/{ids.spell('conversation', taken.conversation_id)}/reply", {"json": {"text": "Soon"}}


async def reading(api: Api) -> Request:
    path, _ = await answering(api)
    return f"{path.removesuffix('/reply')}/read", {}


async def poll(api: Api) -> Request:
    settings = {"host": "imap.example.test", "username": "help", "password": "hush-hush"}
    inbox = await made(api, "/api/v1/inboxes", name="Help", kind="imap", settings=settings)
    await api.run("UPDATE inboxes SET due_at = :later WHERE tenant_id = :tenant_id", later=api.at + HOUR, tenant_id=api.tenant.id)
    return f"/api/v1/inboxes/{inbox['id']}/poll", {}


REQUESTS: dict[str, Prepare] = {
    "/api/v1/webhooks": plain("/api/v1/webhooks", url="https://hooks.example.test/in"),
    "/api/v1/webhooks/{id}/rotate": hooked("rotate"),
    "/api/v1/webhooks/{id}/enable": hooked("enable"),
    "/api/v1/webhooks/{id}/disable": hooked("disable"),
    "/api/v1/webhooks/{id}/replay": hooked("replay"),
    "/api/v1/webhooks/{id}/deliveries/{delivery_id}/replay": hooked("deliveries/{delivery_id}/replay"),
    "/api/v1/conversations/{id}/reply": answering,
    "/api/v1/conversations/{id}/read": reading,
    "/api/v1/inboxes": plain("/api/v1/inboxes", name="Desk", kind="address", address="desk@example.test"),
    "/api/v1/inboxes/{id}/poll": poll,
    "/api/v1/contacts": plain("/api/v1/contacts", email="ann@example.test"),
    "/api/v1/contacts/import": upload,
    "/api/v1/lists": plain("/api/v1/lists", name="Fair"),
    "/api/v1/lists/{id}/contacts": members,
    "/api/v1/templates": plain("/api/v1/templates", name="Offer", channel="sms", body="Hello"),
    "/api/v1/campaigns": plain("/api/v1/campaigns", name="Spring"),
    "/api/v1/campaigns/{id}/activate": activate,
    "/api/v1/campaigns/{id}/pause": pause,
    "/api/v1/campaigns/{id}/archive": archive,
    "/api/v1/campaigns/{id}/enroll": enroll,
    "/api/v1/campaigns/{id}/send_to_rest": rest,
    "/api/v1/campaigns/{id}/messages": step,
    "/api/v1/suppressions": plain("/api/v1/suppressions", channel="email", address="no@example.test"),
    "/api/v1/providers": plain("/api/v1/providers", name="Second", channel="email", kind="sandbox"),
    "/api/v1/providers/{id}/choose": choose,
    "/api/v1/providers/{id}/resume": resume,
    "/api/v1/keys": plain("/api/v1/keys", name="crm"),
    "/api/v1/senders": plain("/api/v1/senders", address="example.com"),
    "/api/v1/enrollments": enrollment,
    "/api/v1/instant_messages": plain("/api/v1/instant_messages", email="ann@example.test", subject="Hello", body="Hello"),
    HOOKS: plain(HOOKS, webhook={"event_types": ["sent"], "verb": "POST", "url": "https://hooks.example.test/sms"}),
    f"{ALPHA}/send": plain(f"{ALPHA}/send", **MAIL),
    f"{ALPHA}/schedule": plain(f"{ALPHA}/schedule", **MAIL, scheduledAt=LATER),
    f"{ALPHA}/send-template/{{templateId}}": from_template,
    f"{ALPHA}/{{id}}/cancel": cancel,
    f"{ALPHA}/{{id}}/resend": resend,
    f"{ALPHA}/{{id}}/comment": comment,
}


async def everything(api: Api) -> dict[str, list[str]]:
    """Every row of every table."""
    return await api.db.read(_everything, api.db.kind)


def _everything(tx: Tx, kind: str) -> dict[str, list[str]]:
    names: Any = (
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        if kind == "sqlite"
        else "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema() AND table_type = 'BASE TABLE'"
    )
    found: dict[str, list[str]] = {}
    for (name,) in tx.rows(names):
        sql: Any = f"SELECT * FROM {name}"
        found[name] = sorted(map(repr, tx.rows(sql)))
    return found


async def post(api: Api, request: Request, key: str = "once", client: httpx2.AsyncClient | None = None) -> httpx2.Response:
    path, said = request
    return await (client or api.client).post(path, headers={"idempotency-key": key}, **said)


async def count(api: Api, of: str) -> int:
    sql: Any = f"SELECT COUNT(*) FROM {of} WHERE tenant_id = :tenant_id"
    return (await api.rows(sql, tenant_id=api.tenant.id))[0][0]


def files(folder: Path) -> int:
    """How many uploads are kept."""
    return len([path for path in folder.rglob("*.csv") if path.is_file()])


async def test_every_operation_that_makes_or_does_something_takes_a_key(api: Api):
    posts = {route.path: route for route in table(api) if route.method == "POST"}
    assert {path for path, route in posts.items() if not route.idempotent} == set(EXEMPT)
    assert {path for path, route in posts.items() if route.idempotent} == set(REQUESTS)


async def test_the_description_says_which_operations_take_a_key(api: Api):
    paths = openapi.document(table(api))["paths"]
    told = {
        (method, path)
        for path, operations in paths.items()
        for method, operation in operations.items()
        if any(parameter["in"] == "header" and parameter["name"] == "Idempotency-Key" for parameter in operation.get("parameters", []))
    }
    assert told == {("post", path) for path in REQUESTS}
    assert all("409" in paths[path]["post"]["responses"] for path in REQUESTS)


@pytest.mark.parametrize("path", REQUESTS)
async def test_a_repeated_request_is_answered_alike_and_does_nothing(api: Api, path: str):
    request = await REQUESTS[path](api)
    before = await everything(api)
    first = await post(api, request)
    assert first.is_success, first.text
    after = await everything(api)
    assert {name for name, rows in after.items() if rows != before[name]} - {"idempotency_keys"}
    api.at += HOUR
    second = await post(api, request)
    assert (second.status_code, second.content) == (first.status_code, first.content)
    assert first.headers["content-type"] == second.headers["content-type"] == "application/json"
    assert (first.headers.get("idempotency-replayed"), second.headers.get("idempotency-replayed")) == (None, "true")
    assert await everything(api) == after


async def test_an_upload_that_is_repeated_leaves_one_file(api: Api, tmp_path: Path):
    for _ in range(2):
        answer = await post(api, await upload(api))
        assert answer.status_code == 202
    assert files(tmp_path) == 1
    other = await api.client.post(
        "/api/v1/contacts/import", headers={"idempotency-key": "once"}, files={"file": ("a.csv", b"email\neve@example.test\n", "text/csv")}
    )
    assert other.status_code == 409
    assert files(tmp_path) == 1


@pytest.mark.parametrize("path", [f"{ALPHA}/send", "/api/v1/instant_messages", "/api/v1/contacts", "/api/v1/keys"])
async def test_ten_at_once_make_one_and_all_get_its_answer(api: Api, path: str):
    request = await REQUESTS[path](api)
    of = {f"{ALPHA}/send": "communications", "/api/v1/instant_messages": "communications", "/api/v1/contacts": "contacts"}.get(
        path, "api_keys"
    )
    before = await count(api, of)
    answers = await asyncio.gather(*(post(api, request) for _ in range(10)))
    assert len({(answer.status_code, answer.content) for answer in answers}) == 1
    assert answers[0].is_success
    assert sum("idempotency-replayed" in answer.headers for answer in answers) == 9
    assert await count(api, of) == before + 1


async def test_another_request_with_the_key_is_refused_in_its_owners_words(api: Api):
    await post(api, (f"{ALPHA}/send", {"json": MAIL}))
    other = await post(api, (f"{ALPHA}/send", {"json": {**MAIL, "subject": "Other"}}))
    assert other.status_code == 409
    assert other.json() == {
        "detail": "This Idempotency-Key was used for another request.",
        "time": "2025-06-18T12:00:00.000Z",
        "title": "Conflict",
    }
    elsewhere = await post(api, ("/api/v1/lists", {"json": {"name": "Fair"}}))
    assert elsewhere.status_code == 409
    assert elsewhere.json() == {"error": "This Idempotency-Key was used for another request"}
    asked = await post(api, (f"{ALPHA}/send?x=1", {"json": MAIL}))
    assert asked.status_code == 409
    assert (await count(api, "communications"), await count(api, "lists")) == (1, 0)


async def test_the_same_body_to_another_row_is_another_request(api: Api):
    first, second = (await api.send())["id"], (await api.send())["id"]
    assert (await post(api, (f"{ALPHA}/{first}/comment", {"content": b"Yes"}))).status_code == 200
    assert (await post(api, (f"{ALPHA}/{second}/comment", {"content": b"Yes"}))).status_code == 409


async def test_of_two_different_requests_at_once_one_is_done(api: Api):
    answers = await asyncio.gather(*(post(api, ("/api/v1/lists", {"json": {"name": f"List {number}"}})) for number in range(6)))
    assert sorted(answer.status_code for answer in answers) == [201, *[409] * 5]
    assert await count(api, "lists") == 1


async def test_what_failed_keeps_nothing_and_leaves_the_key_free(api: Api):
    assert (await post(api, ("/api/v1/lists", {"json": {"name": ""}}))).status_code == 422
    await made(api, "/api/v1/lists", name="Fair")
    assert (await post(api, ("/api/v1/lists", {"json": {"name": "Fair"}}))).status_code == 409
    assert (await post(api, (f"{ALPHA}/send-template/nobody", {"json": {"recipients": ["a@example.test"]}}))).status_code == 404
    assert await count(api, "idempotency_keys") == 0
    assert (await post(api, ("/api/v1/lists", {"json": {"name": "Other"}}))).status_code == 201


async def test_a_key_is_free_again_after_a_day(api: Api):
    request = ("/api/v1/contacts", {"json": {"email": "ann@example.test"}})
    first = await post(api, request)
    api.at += DAY - 1
    assert (await post(api, request)).content == first.content
    api.at += 1
    assert (await post(api, request)).status_code == 409  # the contact is there
    assert (await post(api, ("/api/v1/lists", {"json": {"name": "Fair"}}))).status_code == 201
    assert await count(api, "idempotency_keys") == 1


async def test_keys_of_yesterday_are_removed_and_others_are_not(api: Api):
    await post(api, ("/api/v1/lists", {"json": {"name": "Old"}}), "old")
    api.at += HOUR
    await post(api, ("/api/v1/lists", {"json": {"name": "New"}}), "new")
    api.at += DAY - HOUR
    assert await api.db.write(keys.forget, now=api.at) == 1
    assert await api.db.write(keys.forget, now=api.at) == 0
    assert await api.rows("SELECT key FROM idempotency_keys WHERE tenant_id = :tenant_id", tenant_id=api.tenant.id) == [("new",)]


async def test_an_answer_outlives_the_process_that_gave_it(api: Api, tmp_path: Path):
    request = (f"{ALPHA}/send", {"json": MAIL})
    first = await post(api, request)
    restarted = Api(api.db, tmp_path)
    async with restarted.client_for(api.key) as client:
        assert (await post(api, request, client=client)).content == first.content
    assert await count(api, "communications") == 1


async def test_another_tenants_key_of_the_same_name_is_another(api: Api):
    request = ("/api/v1/lists", {"json": {"name": "Fair"}})
    first = await post(api, request)
    async with await api.rival() as rival:
        theirs = await post(api, request, client=rival)
    assert (theirs.status_code, "idempotency-replayed" in theirs.headers) == (201, False)
    assert theirs.json()["id"] != first.json()["id"]


async def test_a_secret_is_told_again_but_lies_sealed(api: Api):
    request = ("/api/v1/keys", {"json": {"name": "crm"}})
    token = (await post(api, request)).json()["token"]
    assert (await post(api, request)).json()["token"] == token
    stored = (await api.rows("SELECT answer FROM idempotency_keys WHERE tenant_id = :tenant_id", tenant_id=api.tenant.id))[0][0]
    assert token.encode() not in stored.encode()
    assert msgspec.json.encode("crm") not in stored.encode()


async def test_a_key_that_may_less_is_not_told_what_a_key_that_may_more_was(api: Api):
    request = ("/api/v1/keys", {"json": {"name": "crm", "scopes": ["contacts:read"]}})
    assert (await post(api, request)).status_code == 201
    async with api.client_for(await api.new_key(api.tenant, "admin:write")) as lesser:
        assert (await post(api, request, client=lesser)).status_code == 409


async def test_a_request_is_answered_again_though_it_would_be_refused_by_now(api: Api):
    scheduled = (f"{ALPHA}/schedule", {"json": {**MAIL, "scheduledAt": "2025-06-18T12:30:00Z"}})
    named = await template(api)
    templated = (f"{ALPHA}/send-template/{named}", {"json": {"recipients": ["ann@example.test"]}})
    first, second = await post(api, scheduled, "1"), await post(api, templated, "2")
    api.at += HOUR
    await api.client.delete(f"/api/v1/templates/{named}")
    assert (await post(api, scheduled, "1")).content == first.content
    assert (await post(api, templated, "2")).content == second.content
    assert (await post(api, scheduled, "3")).status_code == 400
    assert (await post(api, templated, "4")).status_code == 404


@pytest.mark.parametrize("key", [b"", b"x" * 256, b"caf\xe9", b"a\tb"])
async def test_a_key_that_is_none_is_refused(api: Api, key: bytes):
    said = "Idempotency-Key must be 1 to 255 printable ASCII characters"
    native = await api.client.post("/api/v1/lists", headers={b"idempotency-key": key}, json={"name": "Fair"})
    assert (native.status_code, native.json()["error"]) == (422, said)
    alpha = await api.client.post(f"{ALPHA}/send", headers={b"idempotency-key": key}, json=MAIL)
    assert (alpha.status_code, alpha.json()["detail"]) == (400, f"{said}.")
    read = await api.client.get("/api/v1/lists", headers={b"idempotency-key": key})
    assert (read.status_code, read.json()["lists"]) == (200, [])


async def test_the_longest_key_with_every_printable_character_is_taken(api: Api):
    key = "".join(map(chr, range(33, 127))).ljust(255, "x")
    request = ("/api/v1/lists", {"json": {"name": "Fair"}})
    assert (await post(api, request, key)).status_code == 201
    assert (await post(api, request, key)).headers["idempotency-replayed"] == "true"


async def test_an_answer_sealed_with_a_secret_that_is_gone_is_a_conflict_and_nothing_is_done_again(api: Api):
    request = ("/api/v1/lists", {"json": {"name": "Fair"}})
    await post(api, request)
    await api.run("UPDATE idempotency_keys SET answer = :answer WHERE tenant_id = :tenant_id", answer="v1.AAAA", tenant_id=api.tenant.id)
    assert (await post(api, request)).status_code == 409
    assert await count(api, "lists") == 1


async def test_what_was_undone_leaves_nothing_behind_in_the_composer(api: Api, monkeypatch: pytest.MonkeyPatch):
    def full(*_: Any) -> None:
        raise Unavailable("The disk is full.")

    with monkeypatch.context() as patched:
        patched.setattr(idempotency.idempotency, "keep", full)
        assert (await post(api, (f"{ALPHA}/send", {"json": {**MAIL, "body": "<p>Undone</p>"}}))).status_code == 503
    assert await count(api, "communications") == 0
    # on SQLite its content has the id that the undone one had
    assert "Done" in (await api.send(body="<p>Done</p>"))["body"]
    assert b"Done" in (await api.dispatch())[0].raw  # pyright: ignore[reportAttributeAccessIssue]


async def test_a_mail_asked_for_twice_goes_out_once(api: Api):
    for _ in range(2):
        assert (await post(api, (f"{ALPHA}/send", {"json": MAIL}))).status_code == 200
    assert len(await api.dispatch()) == 1
