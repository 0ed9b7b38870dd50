"""Who asks for what is not theirs, with another tenant's key or with none: every operation of alpha, from its route table."""

import base64
from typing import Any, NamedTuple

import httpx2
import pytest

from tests.contracts.alpha.page import ERROR, differences
from tests.support import replies
from tests.support.api import Api, basic
from tidings.api import alpha
from tidings.api.tracking import Tracking
from tidings.api.wire import Route
from tidings.clock import MINUTE
from tidings.domain import keys
from tidings.domain.keys import SCOPES

BELOW = "/api/v1/communications/"
SECRET_WORD = "heliotrope"
"""In everything that the owner has, and in nothing that a stranger may get."""
MAIL = {"body": "x", "subject": "x", "recipients": ["eve@example.test"]}
LATER = {"scheduledAt": "2026-01-01T00:00:00Z"}
TABLES = (
    "communications interactions contents contacts templates template_versions lists list_members conversations inbound_messages attachments"
    " blobs audit counters suppressions"
).split()
KEPT = [route for route in alpha.ROUTES if not route.public]


class Strange(NamedTuple):
    """One request of another tenant's: `path` and values may hold {names} of what the owner has. `status` is what it has to get.

    With 404 the owner's thing is not there; with 200 or 204 the operation passes over it, or looks only at what is the stranger's own.
    """

    status: int
    path: str
    query: dict[str, str] | None = None
    body: dict[str, Any] | str | None = None


STRANGE: dict[str, list[Strange]] = {
    "POST send": [
        Strange(404, "send", body=MAIL | {"templateId": "{template}"}),
        Strange(404, "send", body=MAIL | {"recipientListId": "{list}"}),
        Strange(404, "send", body=MAIL | {"conversationId": "{thread}"}),
        Strange(404, "send", body=MAIL | {"conversationId": "{conversation}"}),
    ],
    "POST schedule": [
        Strange(404, "schedule", body=MAIL | LATER | {"templateId": "{template}"}),
        Strange(404, "schedule", body=MAIL | LATER | {"recipientListId": "{list}"}),
        Strange(404, "schedule", body=MAIL | LATER | {"conversationId": "{thread}"}),
        Strange(404, "schedule", body=MAIL | LATER | {"conversationId": "{conversation}"}),
    ],
    "POST send-template/{templateId}": [
        Strange(404, "send-template/{template}", body={"recipients": ["eve@example.test"]}),
        Strange(404, "send-template/{own_template}", body={"recipients": [], "recipientListId": "{list}"}),
        Strange(404, "send-template/{own_template}", body={"recipients": ["eve@example.test"], "conversationId": "{thread}"}),
        Strange(404, "send-template/{own_template}", body={"recipients": ["eve@example.test"], "conversationId": "{conversation}"}),
    ],
    "GET find/{id}": [Strange(404, "find/{sent}"), Strange(404, "find/{waiting}")],
    "GET find": [Strange(200, "find", {"ids": "{sent},{waiting}"})],
    "GET find-list": [Strange(200, "find-list", {"ids": "{sent},{waiting}"})],
    "GET find-all": [Strange(200, "find-all")],
    "GET scheduled": [Strange(200, "scheduled")],
    "GET page": [Strange(200, "page"), Strange(200, "page", {"search": SECRET_WORD})],
    "GET dynamic-search": [
        Strange(200, "dynamic-search"),
        Strange(200, "dynamic-search", {"search": f"subject:{SECRET_WORD}"}),
        Strange(200, "dynamic-search", {"filters": "id:{sent}"}),
        Strange(200, "dynamic-search", {"filters": "templateId:{template}"}),
        Strange(200, "dynamic-search", {"filters": "tenantId:{tenant}"}),
    ],
    "POST dynamic-search": [
        Strange(200, "dynamic-search", body={"search": [f"body:{SECRET_WORD}"]}),
        Strange(200, "dynamic-search", body={"filters": {"id": "{sent}"}}),
        Strange(200, "dynamic-search", body={"filters": {"conversationId": "{thread}"}}),
    ],
    "GET csv-export": [Strange(200, "csv-export"), Strange(200, "csv-export", {"filters": "id:{sent}"})],
    "GET analytics": [Strange(200, "analytics")],
    "GET by-entity": [Strange(200, "by-entity", {"entityType": "Deal", "entityId": "7"})],
    "GET {id}/thread": [Strange(404, "{sent}/thread")],
    "GET {id}/attachments": [Strange(404, "{sent}/attachments")],
    "GET {id}/attachments/{attachmentId}": [Strange(404, "{sent}/attachments/{file}"), Strange(404, "{own}/attachments/{file}")],
    "POST {id}/cancel": [Strange(404, "{waiting}/cancel")],
    "POST {id}/resend": [Strange(404, "{sent}/resend")],
    "POST {id}/comment": [Strange(404, "{sent}/comment", body="mine now")],
    "DELETE {id}": [Strange(404, "{sent}"), Strange(404, "{waiting}")],
    "DELETE delete-list": [Strange(204, "delete-list", {"ids": "{sent},{waiting}"})],
}


def named(route: Route) -> str:
    return f"{route.method} {route.path.removeprefix(BELOW)}"


class Neighbours:
    """Two tenants: an owner with one of everything, and a stranger who has learned all its ids."""

    def __init__(self, api: Api, stranger: httpx2.AsyncClient) -> None:
        self.api, self.stranger = api, stranger
        self.names: dict[str, str] = {}

    async def furnish(self) -> None:
        owner, word = self.api.client, SECRET_WORD
        template = {"name": word, "channel": "email", "subject": word, "body": f"<p>{word}</p>"}
        contact = await self._made(owner, "/api/v1/contacts", {"email": f"{word}@example.test"})
        crowd = await self._made(owner, "/api/v1/lists", {"name": word})
        await self._made(owner, f"/api/v1/lists/{crowd['id']}/contacts", {"contact_ids": [contact["id"]]})
        mail = {"body": f"<p>{word}</p>", "subject": word, "recipients": [f"{word}@example.test"]}
        file = {"filename": f"{word}.txt", "content": base64.b64encode(word.encode()).decode()}
        about = {"relatedEntityType": "Deal", "relatedEntityId": "7", "attachments": [file]}
        sent = await self._made(owner, f"{BELOW}send", mail | about)
        await self._made(owner, f"{BELOW}send", mail | {"conversationId": sent["conversationId"]})
        await self.api.dispatch()
        waiting = await self._made(owner, f"{BELOW}schedule", mail | LATER)
        conversation_id = (await self.api.rows("SELECT MAX(id) FROM conversations WHERE tenant_id = :t", t=self.api.tenant.id))[0][0]
        await replies.receive(self.api.db, self.api.tenant.id, conversation_id, now=self.api.at, text=word)
        files = (await owner.get(f"{BELOW}{sent['id']}/attachments")).json()
        self.names = {
            "template": (await self._made(owner, "/api/v1/templates", template))["id"],
            "list": crowd["id"],
            "sent": sent["id"],
            "waiting": waiting["id"],
            "thread": sent["conversationId"],
            "conversation": (await self.api.find(waiting["id"]))["conversationId"],
            "file": files[0]["id"],
            "tenant": sent["tenantId"],
            "own_template": (await self._made(self.stranger, "/api/v1/templates", template | {"subject": "x", "body": "x"}))["id"],
            "own": (await self._made(self.stranger, f"{BELOW}send", MAIL))["id"],
        }

    async def _made(self, client: httpx2.AsyncClient, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await client.post(path, json=body)
        assert answer.is_success, answer.text
        return answer.json()

    async def ask(self, method: str, strange: Strange) -> httpx2.Response:
        body = self._filled(strange.body)
        sending = {"content": body} if isinstance(body, str) else {"json": body} if body is not None else {}
        query = self._filled(strange.query)
        return await self.stranger.request(method, BELOW + self._filled(strange.path), params=query, **sending)

    def _filled(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._filled(inner) for key, inner in value.items()}
        return value.format(**self.names) if isinstance(value, str) and "{" in value else value

    async def owned(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every row of the owner's."""
        tenant_id = self.api.tenant.id
        found = {name: await self.api.rows(f"SELECT * FROM {name} WHERE tenant_id = :t", t=tenant_id) for name in TABLES}
        return {name: sorted(rows, key=repr) for name, rows in found.items()}


@pytest.fixture
async def neighbours(api: Api) -> Neighbours:
    found = Neighbours(api, await api.rival())
    await found.furnish()
    return found


def test_every_operation_has_its_strangers(api: Api):
    assert STRANGE.keys() == {named(route) for route in KEPT}
    public = {route.path.removeprefix(BELOW) for route in Tracking(api.house).routes() if route.path.startswith(BELOW)}
    assert public == {"track/{id}", "link/{id}/{index}"}


@pytest.mark.parametrize("operation", STRANGE)
async def test_what_is_another_tenants_is_not_there_and_stays_as_it_is(neighbours: Neighbours, operation: str):
    before = await neighbours.owned()
    for strange in STRANGE[operation]:
        answer = await neighbours.ask(operation.partition(" ")[0], strange)
        assert answer.status_code == strange.status, (strange, answer.text)
        assert SECRET_WORD not in answer.text, strange
        if strange.status == 404:
            assert differences(answer.json(), ERROR) == []
            assert answer.json()["title"] == "Not Found"
        await neighbours.api.dispatch()
    assert await neighbours.owned() == before


async def test_the_owner_is_told_what_the_stranger_is_not(neighbours: Neighbours):
    """Or the test above would pass for want of anything to see."""
    owner = neighbours.api.client
    for operation, (strange, *_) in STRANGE.items():
        if operation.startswith("GET ") and operation not in {"GET analytics", "GET {id}/attachments/{attachmentId}"}:
            path = strange.path.format(**neighbours.names)
            query = {key: value.format(**neighbours.names) for key, value in (strange.query or {}).items()}
            assert SECRET_WORD in (await owner.get(BELOW + path, params=query)).text, operation


def filled(route: Route) -> str:
    return route.path.replace("{", "").replace("}", "")


@pytest.mark.parametrize("route", KEPT, ids=named)
async def test_who_has_no_good_key_is_told_how_to_show_one(api: Api, route: Route):
    revoked = await api.new_key(api.tenant)
    await api.db.write(keys.revoke, api.tenant.id, revoked.id, now=api.at)
    for header in (
        None,
        "",
        "Bearer",
        f"Bearer {revoked.token}",
        f"Bearer {api.key.key}",
        f"Bearer {api.key.token}x",
        f"Token {api.key.token}",
        f"Digest {api.key.token}",
        api.key.token,
        basic(api.key.key, "wrong"),
        basic(revoked.key, revoked.secret),
        "Basic nonsense",
    ):
        headers = {} if header is None else {"authorization": header}
        answer = await api.stranger.request(route.method, filled(route), headers=headers)
        assert answer.status_code == 401, header
        assert answer.json() == {"detail": "Unauthorized.", "time": "2025-06-18T12:00:00.000Z", "title": "Unauthorized"}
        assert answer.headers["www-authenticate"].startswith("Bearer ")
        assert "Basic " in answer.headers["www-authenticate"]


@pytest.mark.parametrize("route", KEPT, ids=named)
async def test_a_key_without_the_scope_is_told_which_it_lacks(api: Api, route: Route):
    others = [scope for scope in SCOPES if scope not in {"*", route.scope}]
    limited = api.client_for(await api.new_key(api.tenant, *others))
    answer = await limited.request(route.method, filled(route))
    await limited.aclose()
    assert (answer.status_code, answer.json()["title"]) == (403, "Forbidden")
    assert answer.json()["detail"] == f"This key lacks the scope {route.scope}."
    fitting = api.client_for(await api.new_key(api.tenant, route.scope))
    assert (await fitting.request(route.method, filled(route))).status_code not in {401, 403}
    await fitting.aclose()


async def test_either_way_of_showing_a_key_will_do(api: Api):
    record = await api.send()
    for header in (f"Bearer {api.key.token}", f"bearer  {api.key.token}", basic(api.key.key, api.key.secret)):
        answer = await api.stranger.get(f"{BELOW}find/{record['id']}", headers={"authorization": header})
        assert answer.json() == record


async def test_pixel_and_link_need_no_key_and_take_no_name_that_was_not_signed(api: Api):
    record = await api.send(body='<a href="https://shop.test/">x</a>')
    token = record["id"]
    forged = token[:-1] + ("A" if token[-1] != "A" else "B")
    for name in (forged, token + "A", token.swapcase(), "1", "string", "%00"):
        for path in (f"track/{name}", f"link/{name}/0"):
            answer = await api.stranger.get(BELOW + path)
            assert (answer.status_code, differences(answer.json(), ERROR)) == (404, []), path
    for index in ("1", "-1", "01", "x", "0.0", "99999999999999999999"):
        assert (await api.stranger.get(f"{BELOW}link/{token}/{index}")).status_code == 404
    await api.client.delete(f"{BELOW}{token}")
    for path in (f"track/{token}", f"link/{token}/0"):
        assert (await api.stranger.get(BELOW + path)).status_code == 404
    api.at += MINUTE
    assert await api.dispatch() == []
