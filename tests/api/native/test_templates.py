"""Templates over HTTP: versions, previews, and what is said of a template that cannot be used."""

from typing import Any

import pytest

from tests.api.conftest import Api, page_of
from tidings import ids

WELCOME: dict[str, Any] = {
    "name": "Welcome",
    "channel": "email",
    "subject": "Hello {{ first_name }}",
    "body": '<p>Hi {{ first_name }}, <a href="https://acme.test/start?a=1&amp;b={{ plan }}">start</a></p>',
    "variables": [{"name": "plan", "required": True, "default": "free"}],
}


async def made(api: Api, **fields: Any) -> dict[str, Any]:
    answer = await api.client.post("/api/v1/templates", json={**WELCOME, **fields})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def refused(api: Api, status: int = 422, **fields: Any) -> dict[str, Any]:
    answer = await api.client.post("/api/v1/templates", json={**WELCOME, **fields})
    assert answer.status_code == status, answer.text
    return answer.json()


async def test_a_new_template_is_answered_whole_and_found_again(api: Api):
    template = await made(api)
    assert ids.parse("template", template["id"])
    assert template["version"] == 1
    assert template["format"] == "html"
    assert template["body"] == WELCOME["body"]
    assert template["variables"] == WELCOME["variables"]
    assert "https://acme.test/start?a=1&b={{ plan }}" in template["text"]
    assert template["created_at"] == "2025-06-18T12:00:00Z"
    assert (await api.client.get(f"/api/v1/templates/{template['id']}")).json() == template


async def test_an_sms_template_is_text(api: Api):
    template = await made(api, name="Text", channel="sms", subject="", body="Hi {{ first_name }}: https://acme.test/x")
    assert (template["format"], template["text"]) == ("text", "Hi {{ first_name }}: https://acme.test/x")


async def test_mjml_is_compiled_and_kept_as_it_was_written(api: Api):
    body = "<mjml><mj-body><mj-section><mj-column><mj-text>Hi {{ first_name }}</mj-text></mj-column></mj-section></mj-body></mjml>"
    template = await made(api, format="mjml", body=body)
    assert template["body"] == body
    shown = (await api.client.post(f"/api/v1/templates/{template['id']}/preview", json={"variables": {"first_name": "Bo"}})).json()
    assert "<table" in shown["html"]
    assert "Hi Bo" in shown["html"]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": " "}, "name"),
        ({"name": "a\r\nb"}, "name"),
        ({"channel": "fax"}, "channel"),
        ({"body": "  "}, "body"),
        ({"subject": "Hi\r\nBcc: all@example.com"}, "subject"),
        ({"format": "mjml", "channel": "sms"}, "format"),
        ({"variables": [{"name": "not a name"}]}, "variables"),
        ({"bodi": "x"}, "bodi"),
        ({"body": 7}, "body"),
    ],
)
async def test_a_wrong_field_is_named(api: Api, fields: dict[str, Any], field: str):
    assert list((await refused(api, **fields))["errors"]) == [field]


async def test_a_template_that_does_not_compile_is_refused_with_its_line(api: Api):
    body = await refused(api, body="<p>one</p>\n<p>{% if x %}two</p>\n<p>{{ oops </p>")
    assert list(body["errors"]) == ["body"]
    assert "line 3" in body["errors"]["body"][0]


async def test_mjml_that_does_not_compile_is_refused_with_its_line(api: Api):
    body = await refused(api, format="mjml", body="<mjml>\n<mj-body>\n<mj-section></mj-column></mj-section></mj-body></mjml>")
    assert "line 3" in body["errors"]["body"][0]


async def test_strict_refuses_a_variable_nobody_defined_with_its_line(api: Api):
    body = await refused(api, body="<p>\n{{ colour }}</p>", strict=True)
    assert body["errors"] == {"body": ["line 2: colour is not defined"]}
    await made(api, body="<p>{{ colour }}</p>", name="Lenient")


async def test_two_live_templates_cannot_share_a_name(api: Api):
    first = await made(api)
    assert (await refused(api, 409))["error"] == "There is a template named Welcome already"
    assert (await api.client.delete(f"/api/v1/templates/{first['id']}")).status_code == 204
    assert (await made(api))["id"] != first["id"]
    assert (await api.client.get(f"/api/v1/templates/{first['id']}")).status_code == 404


async def test_a_patch_makes_a_version_and_the_old_one_can_still_be_read(api: Api):
    template = await made(api)
    path = f"/api/v1/templates/{template['id']}"
    changed = (await api.client.patch(path, json={"subject": "Hey"})).json()
    assert (changed["version"], changed["subject"], changed["body"]) == (2, "Hey", template["body"])
    versions = await api.client.get(f"{path}/versions")
    assert [(row["version"], row["subject"], row["created_by"]) for row in versions.json()["versions"]] == [
        (2, "Hey", "test"), (1, WELCOME["subject"], "test"),
    ]  # fmt: skip
    assert page_of(versions)["total"] == 2


async def test_a_new_name_alone_makes_no_version(api: Api):
    template = await made(api)
    path = f"/api/v1/templates/{template['id']}"
    assert (await api.client.patch(path, json={"name": "Hello"})).json()["version"] == 1
    assert (await api.client.get(path)).json()["name"] == "Hello"
    await made(api)
    assert (await api.client.patch(path, json={"name": "Welcome", "subject": "x"})).status_code == 409
    assert (await api.client.get(path)).json()["subject"] == WELCOME["subject"]


async def test_a_text_part_made_from_the_body_follows_it_and_one_that_was_given_stays(api: Api):
    follows, stays = await made(api), await made(api, name="Own", text="Plain {{ first_name }} https://acme.test/own")
    change = {"body": "<p>Other words</p>"}
    assert (await api.client.patch(f"/api/v1/templates/{follows['id']}", json=change)).json()["text"].strip() == "Other words"
    kept = (await api.client.patch(f"/api/v1/templates/{stays['id']}", json=change)).json()
    assert kept["text"] == "Plain {{ first_name }} https://acme.test/own"
    anew = (await api.client.patch(f"/api/v1/templates/{stays['id']}", json={"text": None})).json()
    assert anew["text"].strip() == "Other words"


async def test_a_list_is_newest_first_and_can_be_of_one_channel(api: Api):
    for name in ("One", "Two"):
        await made(api, name=name)
    await made(api, name="Text", channel="sms", body="Hi")
    answer = await api.client.get("/api/v1/templates", params={"channel": "email", "limit": 1})
    assert [row["name"] for row in answer.json()["templates"]] == ["Two"]
    assert page_of(answer) == {"page": 1, "limit": 1, "total": 2, "total_pages": 2}
    assert (await api.client.get("/api/v1/templates", params={"channel": "fax"})).status_code == 422


async def test_a_preview_is_filled_in_for_a_contact_and_tracks_nothing(api: Api):
    template = await made(api)
    path = f"/api/v1/templates/{template['id']}/preview"
    contact_id = ids.spell("contact", await api.contact(first_name="Zoë"))
    shown = (await api.client.post(path, json={"contact_id": contact_id, "variables": {"plan": "pro"}})).json()
    assert shown["subject"] == "Hello Zoë"
    assert "Hi Zoë" in shown["html"]
    assert 'href="https://acme.test/start?a=1&amp;b=pro"' in shown["html"]
    assert "https://acme.test/start?a=1&b=pro" in shown["text"]
    assert "/track/" not in shown["html"]
    assert shown["segments"] is None
    assert shown["smart_segments"] is None
    nobody = (await api.client.post(path, json={})).json()
    assert nobody["subject"] == "Hello"
    assert "b=free" in nobody["html"]


async def test_a_preview_of_an_sms_counts_its_segments(api: Api):
    template = await made(api, name="Text", channel="sms", body="{{ word }}")
    path = f"/api/v1/templates/{template['id']}/preview"
    shown = (await api.client.post(path, json={"variables": {"word": "x" * 161}})).json()
    assert shown["segments"] == {"encoding": "GSM-7", "units": 161, "count": 2, "remaining": 145}
    assert shown["smart_segments"] == shown["segments"]
    curly = (await api.client.post(path, json={"variables": {"word": "\u201cHi\u201d \u2013 \u2026" + "y" * 100}})).json()
    assert (curly["segments"]["encoding"], curly["segments"]["count"]) == ("UCS-2", 2)
    assert (curly["smart_segments"]["encoding"], curly["smart_segments"]["count"]) == ("GSM-7", 1)
    assert "\u201cHi\u201d" in curly["text"]
    assert (await api.client.post(path, json={"variables": {"word": "я" * 71}})).json()["segments"]["encoding"] == "UCS-2"


async def test_a_strict_preview_refuses_what_is_not_defined(api: Api):
    template = await made(api, body="<p>{{ plan }} {{ colour }}</p>")
    path = f"/api/v1/templates/{template['id']}/preview"
    answer = await api.client.post(path, json={"strict": True})
    assert (answer.status_code, answer.json()["errors"]) == (422, {"body": ["line 1: colour is not defined"]})
    assert (await api.client.post(path, json={"strict": True, "variables": {"colour": "red"}})).status_code == 200


async def test_a_template_without_end_is_a_422_and_not_a_stuck_server(api: Api):
    template = await made(api, body="{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}")
    answer = await api.client.post(f"/api/v1/templates/{template['id']}/preview", json={})
    assert (answer.status_code, list(answer.json()["errors"])) == (422, ["body"])


@pytest.mark.parametrize("spelling", ["1", "tmpl_x", "camp_AAAAAAAAAAAAAAAAAA", "00000000-0000-8000-8000-000000000000"])
async def test_another_spelling_is_nobodys_template(api: Api, spelling: str):
    for method, path in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("GET", "/versions"), ("POST", "/preview")):
        answer = await api.client.request(method, f"/api/v1/templates/{spelling}{path}", json={} if method in {"PATCH", "POST"} else None)
        assert (answer.status_code, "error" in answer.json()) == (404, True), (method, path)


async def test_another_tenants_template_or_contact_is_not_found(api: Api):
    template = await made(api)
    rival = await api.rival()
    path = f"/api/v1/templates/{template['id']}"
    for method, more in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("GET", "/versions"), ("POST", "/preview")):
        body = {"subject": "mine"} if method == "PATCH" else {} if method == "POST" else None
        assert (await rival.request(method, path + more, json=body)).status_code == 404
    theirs = (await rival.post("/api/v1/templates", json=WELCOME)).json()
    contact_id = ids.spell("contact", await api.contact())
    assert (await rival.post(f"/api/v1/templates/{theirs['id']}/preview", json={"contact_id": contact_id})).status_code == 404
    assert (await api.client.get(path)).json() == template


async def test_scopes_are_asked_for(api: Api):
    reader = api.client_for(await api.new_key(api.tenant, "templates:read"))
    assert (await reader.get("/api/v1/templates")).status_code == 200
    assert (await reader.post("/api/v1/templates", json=WELCOME)).status_code == 403
    assert (await api.stranger.get("/api/v1/templates")).status_code == 401
