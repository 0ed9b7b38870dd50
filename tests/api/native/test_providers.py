"""Providers over HTTP: set up, chosen, paused and resumed; what is secret goes in and never comes out."""

from typing import Any

import msgspec
import pytest

from tests.api.conftest import SECRET, Api, page_of
from tidings import ids
from tidings.domain import carriers
from tidings.signing import Vault

PATH = "/api/v1/providers"
RELAY: dict[str, Any] = {
    "name": "Relay",
    "channel": "email",
    "kind": "smtp",
    "settings": {"host": "mail.example.com", "port": 587, "username": "acme", "password": "hunter2!", "tls": "starttls", "connections": 4},
}


async def made(api: Api, **fields: Any) -> dict[str, Any]:
    answer = await api.client.post(PATH, json={**RELAY, **fields})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def stored(api: Api, provider: dict[str, Any]) -> dict[str, Any]:
    """The settings as they lie in the store, opened."""
    rows = await api.rows("SELECT settings FROM providers WHERE tenant_id = :t AND name = :n", t=api.tenant.id, n=provider["name"])
    return msgspec.json.decode(Vault(SECRET).open(rows[0][0]))


async def test_a_tenant_begins_with_the_servers_own(api: Api):
    answer = await api.client.get(PATH)
    assert [(row["channel"], row["kind"], row["chosen"], row["settings"]) for row in answer.json()["providers"]] == [
        ("email", "system", True, {}), ("sms", "system", True, {}),
    ]  # fmt: skip
    assert page_of(answer)["total"] == 2


async def test_a_password_goes_in_and_never_comes_out(api: Api):
    provider = await made(api)
    path = f"{PATH}/{provider['id']}"
    assert provider["settings"] == {name: value for name, value in RELAY["settings"].items() if name != "password"}
    answers = [
        await api.client.get(PATH),
        await api.client.get(path),
        await api.client.patch(path, json={"name": "Other"}),
        await api.client.post(f"{path}/choose"),
        await api.client.post(f"{path}/resume"),
    ]
    assert all(answer.status_code == 200 and "hunter2" not in answer.text for answer in answers)
    rows = await api.rows("SELECT settings FROM providers WHERE tenant_id = :t AND name = 'Other'", t=api.tenant.id)
    assert "hunter2" not in rows[0][0]
    assert "mail.example.com" not in rows[0][0]


async def test_a_patch_of_one_setting_keeps_the_others_and_the_password(api: Api):
    provider = await made(api)
    answer = await api.client.patch(f"{PATH}/{provider['id']}", json={"settings": {"host": "relay.example.com", "port": None}})
    assert (answer.json()["settings"]["host"], answer.json()["settings"]["port"]) == ("relay.example.com", None)
    assert await stored(api, provider) == {**RELAY["settings"], "host": "relay.example.com", "port": None}


async def test_choosing_moves_the_channel_over(api: Api):
    provider = await made(api)
    assert not provider["chosen"]
    assert (await api.client.post(f"{PATH}/{provider['id']}/choose")).json()["chosen"]
    listed = (await api.client.get(PATH, params={"channel": "email"})).json()["providers"]
    assert [(row["name"], row["chosen"]) for row in listed] == [("default-email", False), ("Relay", True)]
    assert (await made(api, name="Second", chosen=True))["chosen"]


async def test_the_chosen_one_is_not_deleted_another_is(api: Api):
    provider = await made(api, chosen=True)
    path = f"{PATH}/{provider['id']}"
    assert (await api.client.delete(path)).status_code == 409
    system = (await api.client.get(PATH)).json()["providers"][0]
    await api.client.post(f"{PATH}/{system['id']}/choose")
    assert (await api.client.delete(path)).status_code == 204
    assert (await api.client.get(path)).status_code == 404


async def test_a_pause_is_shown_with_its_reason_and_ended_by_resume_or_new_settings(api: Api):
    provider = await made(api)
    path, carrier_id = f"{PATH}/{provider['id']}", ids.parse("provider", provider["id"])
    assert carrier_id
    for end in (lambda: api.client.post(f"{path}/resume"), lambda: api.client.patch(path, json={"settings": {"password": "right"}})):
        await api.db.write(carriers.pause, api.tenant.id, carrier_id, "535 5.7.8 authentication failed", until=api.at + 300_000, now=api.at)
        assert (await api.client.get(path)).json()["paused"] == {
            "at": "2025-06-18T12:00:00Z", "until": "2025-06-18T12:05:00Z", "reason": "535 5.7.8 authentication failed",
        }  # fmt: skip
        assert (await end()).json()["paused"] is None


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"kind": "pigeon"}, "kind"),
        ({"channel": "sms"}, "kind"),
        ({"name": ""}, "name"),
        ({"settings": {}}, "settings.host"),
        ({"settings": {"host": "a b"}}, "settings.host"),
        ({"settings": {"host": "x\r\nMAIL"}}, "settings.host"),
        ({"settings": {"host": "x", "port": 0}}, "settings.port"),
        ({"settings": {"host": "x", "port": "25"}}, "settings.port"),
        ({"settings": {"host": "x", "tls": "maybe"}}, "settings.tls"),
        ({"settings": {"host": "x", "connections": 1000}}, "settings.connections"),
        ({"settings": {"host": "x", "username": "u"}}, "settings.password"),
        ({"settings": {"host": "x", "password": "p"}}, "settings.username"),
        ({"settings": {"host": "x", "ca": "/etc/passwd"}}, "settings.ca"),
        ({"kind": "sandbox", "settings": {"host": "x"}}, "settings.host"),
        ({"kind": "system", "settings": {"host": "x"}}, "settings"),
    ],
)
async def test_a_wrong_field_is_named(api: Api, fields: dict[str, Any], field: str):
    answer = await api.client.post(PATH, json={**RELAY, **fields})
    assert (answer.status_code, list(answer.json()["errors"])) == (422, [field]), answer.text
    assert len((await api.client.get(PATH)).json()["providers"]) == 2


async def test_a_sandbox_carries_both_channels(api: Api):
    for channel in ("email", "sms"):
        provider = await made(api, name=f"Box {channel}", channel=channel, kind="sandbox", settings={})
        assert (provider["kind"], provider["settings"]) == ("sandbox", {})


async def test_names_are_unique(api: Api):
    await made(api)
    assert (await api.client.post(PATH, json=RELAY)).status_code == 409


async def test_another_tenants_provider_is_not_found(api: Api):
    provider = await made(api)
    rival = await api.rival()
    path = f"{PATH}/{provider['id']}"
    for method, more in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/choose"), ("POST", "/resume")):
        assert (await rival.request(method, path + more, json={} if method == "PATCH" else None)).status_code == 404
    for spelling in ("1", "prov_x", "tmpl_AAAAAAAAAAAAAAAAAA"):
        assert (await api.client.get(f"{PATH}/{spelling}")).status_code == 404


async def test_only_a_key_that_may_administer_sees_providers(api: Api):
    other = api.client_for(await api.new_key(api.tenant, "campaigns:write", "campaigns:read"))
    assert (await other.get(PATH)).status_code == 403


async def test_what_waited_for_a_mended_provider_is_due_at_once(api: Api):
    path = f"{PATH}/{(await made(api, chosen=True))['id']}"
    waiting = "UPDATE communications SET due_at = :later WHERE tenant_id = :t"
    for mend in (lambda: api.client.post(f"{path}/resume"), lambda: api.client.patch(path, json={"settings": {"password": "right"}})):
        await api.send()
        await api.run(waiting, later=api.at + 60_000, t=api.tenant.id)
        await api.run(
            "UPDATE providers SET paused_at = :now, paused_until = :until, paused_reason = 'wrong password' WHERE tenant_id = :t AND name = 'Relay'",
            now=api.at,
            until=api.at + 60_000,
            t=api.tenant.id,
        )
        assert (await mend()).status_code == 200
        assert {row[0] for row in await api.rows("SELECT due_at FROM communications WHERE tenant_id = :t", t=api.tenant.id)} == {api.at}
