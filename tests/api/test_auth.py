"""Who gets in: every contract takes the same credentials, in the same two ways, and refuses the same things."""

import asyncio

import httpx2
import pytest

from tests.api.conftest import Api, basic
from tidings import ids
from tidings.api.auth import credentials
from tidings.domain import keys

DOORS = ["/api/v1/communications", "/api/v1/enrollments/1", "/api/v1/communications/find/x", "/api/v1/keys"]


async def knock(api: Api, path: str, authorization: str | None) -> httpx2.Response:
    return await api.stranger.get(path, headers={"authorization": authorization} if authorization is not None else {})


@pytest.mark.parametrize("path", DOORS)
async def test_a_token_and_a_key_with_its_secret_both_open_every_contract(api: Api, path: str):
    for authorization in (f"Bearer {api.key.token}", f"bearer  {api.key.token}", basic(api.key.key, api.key.secret)):
        answer = await knock(api, path, authorization)
        assert answer.status_code in {200, 404}, answer.text


@pytest.mark.parametrize("path", DOORS)
async def test_whatever_is_no_credential_is_a_401_that_says_how_to_authenticate(api: Api, path: str):
    wrong = [
        None,
        "",
        "Bearer",
        "Bearer nonsense",
        f"Bearer {api.key.key}.wrong",
        f"Bearer {api.key.key}",
        f"Token {api.key.token}",
        api.key.token,
        basic(api.key.key, "wrong"),
        basic("nobody", api.key.secret),
        basic(api.key.secret, api.key.key),
        "Basic !!!",
        "Basic " + "w" * 5,
        basic(f"{api.key.key}\0", api.key.secret),
        basic("né", "né"),
    ]
    for authorization in wrong:
        answer = await knock(api, path, authorization)
        assert answer.status_code == 401, authorization
        assert "Bearer" in answer.headers["www-authenticate"]
        assert "Basic" in answer.headers["www-authenticate"]


async def test_a_secret_is_stored_as_its_hash_alone(api: Api):
    rows = await api.rows("SELECT key, secret_hash, name, scopes FROM api_keys WHERE tenant_id = :tenant_id", tenant_id=api.tenant.id)
    assert api.key.secret not in str(rows)
    assert rows[0][:2] == (api.key.key, keys.hashed(api.key.secret))


async def test_authentication_costs_no_query_once_a_key_is_known(api: Api, monkeypatch: pytest.MonkeyPatch):
    asked: list[str] = []
    lookup = keys.lookup

    def counted(tx: object, key: str) -> object:
        asked.append(key)
        return lookup(tx, key)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(keys, "lookup", counted)
    for _ in range(20):
        assert (await api.client.get("/api/v1/keys")).status_code == 200
        assert (await knock(api, "/api/v1/keys", f"Bearer {api.key.key}.wrong")).status_code == 401
    assert asked == [api.key.key]


async def test_a_crowd_arriving_at_once_asks_once(api: Api, monkeypatch: pytest.MonkeyPatch):
    asked: list[str] = []
    lookup = keys.lookup

    def counted(tx: object, key: str) -> object:
        asked.append(key)
        return lookup(tx, key)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(keys, "lookup", counted)
    answers = await asyncio.gather(*(api.client.get("/api/v1/keys") for _ in range(10)))
    assert {answer.status_code for answer in answers} == {200}
    assert len(asked) == 1


async def test_a_revoked_key_is_refused_within_two_seconds_in_every_process(api: Api):
    other_process = Api(api.db, api.house.data_folder)
    client = other_process.client_for(api.key)
    assert (await api.client.get("/api/v1/keys")).status_code == 200
    assert (await client.get("/api/v1/keys")).status_code == 200
    assert await api.db.write(keys.revoke, api.tenant.id, api.key.id, now=api.at)
    async with asyncio.timeout(2):
        while (await api.client.get("/api/v1/keys")).status_code != 401 or (await client.get("/api/v1/keys")).status_code != 401:  # noqa: ASYNC110 - asking is the test
            await asyncio.sleep(0.01)
    await client.aclose()


async def test_without_a_bell_a_revocation_is_felt_once_the_memory_is_stale(api: Api):
    assert (await api.client.get("/api/v1/keys")).status_code == 200
    await api.run("UPDATE api_keys SET revoked_at = :now WHERE tenant_id = :tenant_id", now=api.at, tenant_id=api.tenant.id)
    async with asyncio.timeout(2):
        while (await api.client.get("/api/v1/keys")).status_code != 401:  # noqa: ASYNC110 - asking is the test
            await asyncio.sleep(0.05)


async def test_a_key_without_the_scope_is_a_403_in_the_owners_words(api: Api):
    narrow = api.client_for(await api.new_key(api.tenant, "contacts:read"))
    mine = await narrow.get("/api/v1/communications")
    assert (mine.status_code, mine.json()) == (403, {"error": "This key lacks the scope communications:read"})
    alphas = await narrow.post("/api/v1/communications/send", json={})
    assert alphas.status_code == 403
    assert alphas.json()["title"] == "Forbidden"
    assert set(alphas.json()) == {"detail", "time", "title"}
    await narrow.aclose()


async def test_reading_does_not_allow_writing(api: Api):
    reader = api.client_for(await api.new_key(api.tenant, "communications:read", "campaigns:read"))
    assert (await reader.get("/api/v1/communications")).status_code == 200
    assert (await reader.get("/api/v1/enrollments")).status_code == 200
    assert (await reader.post("/api/v1/enrollments", json={})).status_code == 403
    assert (await reader.post("/api/v1/instant_messages", json={})).status_code == 403
    await reader.aclose()


async def test_keys_are_made_listed_and_revoked_over_the_api(api: Api):
    made = (await api.client.post("/api/v1/keys", json={"name": "reports", "scopes": ["reports:read"]})).json()
    assert made["token"] == f"{made['key']}.{made['secret']}"
    shown = (await api.client.get("/api/v1/keys")).json()
    assert [key["name"] for key in shown["keys"]] == ["reports", "test"]
    assert made["secret"] not in str(shown)
    one = await api.client.get(f"/api/v1/keys/{made['id']}")
    assert one.json() == {key: value for key, value in made.items() if key not in {"secret", "token"}}
    for _ in range(2):
        assert (await api.client.delete(f"/api/v1/keys/{made['id']}")).status_code == 204
    assert (await knock(api, "/api/v1/keys", f"Bearer {made['token']}")).status_code == 401
    assert (await api.client.get(f"/api/v1/keys/{made['id']}")).json()["revoked_at"] == "2025-06-18T12:00:00Z"


async def test_a_key_gives_no_more_than_it_has(api: Api):
    admin = api.client_for(await api.new_key(api.tenant, "admin:write"))
    answer = await admin.post("/api/v1/keys", json={"name": "more", "scopes": ["*"]})
    assert answer.status_code == 403
    assert (await admin.post("/api/v1/keys", json={"name": "same"})).json()["scopes"] == ["admin:write"]
    await admin.aclose()


async def test_a_bad_request_for_a_key_names_what_is_wrong(api: Api):
    answer = await api.client.post("/api/v1/keys", json={"name": "x", "scopes": ["everything"]})
    assert answer.status_code == 422
    assert "scopes" in answer.json()["errors"]
    answer = await api.client.post("/api/v1/keys", json={"name": "x", "colour": "red"})
    assert answer.json()["errors"] == {"colour": ["is not a known field"]}
    answer = await api.client.post("/api/v1/keys", json={"name": "a\r\nb"})
    assert "name" in answer.json()["errors"]


async def test_another_tenants_key_is_not_there(api: Api):
    rival = await api.rival()
    path = f"/api/v1/keys/{ids.spell('key', api.key.id)}"
    assert (await rival.get(path)).status_code == 404
    assert (await rival.delete(path)).status_code == 404
    assert (await api.client.get(path)).json()["revoked_at"] is None
    await rival.aclose()


def test_credentials_are_read_from_either_scheme_in_any_case():
    assert credentials("BEARER a.b") == ("a", "b")
    assert credentials(basic("a", "b:c")) == ("a", "b:c")
    assert credentials("Bearer a") is None
    assert credentials("Digest a.b") is None
    assert credentials(None) is None
