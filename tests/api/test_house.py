"""Health, figures, and the API's description of itself."""

import msgspec
import pytest

from tests.api.conftest import Api, Database
from tidings.api import routes
from tidings.api.health import Metrics


async def test_health_needs_no_key_and_no_database(api: Api):
    answer = await api.stranger.get("/healthz")
    assert answer.json()["status"] == "ok"


async def test_ready_says_how_many_providers_are_paused_and_nothing_of_whose_they_are(api: Api):
    assert (await api.stranger.get("/readyz")).json() == {
        "status": "ready",
        "database": "ok",
        "migrations": "current",
        "paused_providers": 0,
    }
    await api.run(
        "UPDATE providers SET paused_at = :now, paused_until = :until, paused_reason = 'wrong password' WHERE tenant_id = :t AND channel = 'email'",
        now=api.at,
        until=api.at + 60_000,
        t=api.tenant.id,
    )
    body = (await api.stranger.get("/readyz")).json()
    assert body == {"status": "ready", "database": "ok", "migrations": "current", "paused_providers": 1}


async def test_a_schema_that_is_behind_is_not_ready(api: Api):
    await api.run("DELETE FROM schema_migrations")
    answer = await api.stranger.get("/readyz")
    assert answer.status_code == 503
    assert "tidings migrate" in answer.json()["migrations"]


async def test_metrics_are_the_databases_own_counts(api: Api):
    record = await api.send()
    await api.send(recipients=["bob@example.test"])
    for reader in ("Thunderbird", "curl/8.1"):
        await api.stranger.get(f"/api/v1/communications/track/{record['id']}", headers={"user-agent": reader})
    answer = await api.stranger.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = answer.text.splitlines()
    assert 'tidings_communications{channel="email",state="accepted"} 2.0' in lines
    assert 'tidings_communications{channel="email",state="sent"} 0.0' in lines
    assert 'tidings_interactions{channel="email",kind="opens"} 2.0' in lines
    assert 'tidings_interactions{channel="email",kind="human_opens"} 1.0' in lines
    assert 'tidings_queue_depth{channel="email"} 2.0' in lines
    assert 'tidings_queue_due{channel="email"} 2.0' in lines
    assert 'tidings_http_request_seconds_count{method="POST",path="/api/v1/communications/send",status="200"} 2.0' in lines
    path = 'path="/api/v1/communications/track/{id}"'
    assert f'tidings_http_request_seconds_count{{method="GET",{path},status="200"}} 2.0' in lines


async def test_a_figure_that_can_fall_is_no_counter(api: Api):
    record = await api.send()
    await api.client.delete(f"/api/v1/communications/{record['id']}")
    lines = (await api.stranger.get("/metrics")).text.splitlines()
    assert 'tidings_communications{channel="email",state="accepted"} 0.0' in lines
    for name in ("communications", "interactions", "enrollments", "queue_depth", "queue_due"):
        assert f"# TYPE tidings_{name} gauge" in lines


async def test_the_description_names_every_operation_and_every_reference_in_it_leads_somewhere(api: Api, db: Database):
    document = (await api.stranger.get("/openapi.json")).json()
    assert document["openapi"] == "3.1.0"
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    own = {("GET", "/openapi.json"), ("GET", "/docs"), ("GET", "/")}
    assert described == {(route.method, route.path) for route in routes.collect(api.house, Metrics(db))} - own
    names = [operation["operationId"] for methods in document["paths"].values() for operation in methods.values()]
    assert len(names) == len(set(names))
    text = msgspec.json.encode(document).decode()
    for reference in {part.split('"')[0] for part in text.split('"$ref":"')[1:]}:
        _, _, kind, name = reference.split("/")
        assert name in document["components"][kind]


async def test_the_description_says_what_each_operation_may_refuse_and_in_whose_words(api: Api):
    document = (await api.stranger.get("/openapi.json")).json()
    told = {
        (method.upper(), path): {int(status): answer for status, answer in operation["responses"].items() if int(status) >= 400}
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    send = told["POST", "/api/v1/communications/send"]
    assert {400, 401, 403, 404, 413, 500, 503} <= set(send)
    assert 422 not in send
    assert send[400] == {"$ref": "#/components/responses/alpha_400"}
    assert set(told["GET", "/api/v1/lists"]) == {401, 403, 422, 500, 503}
    assert told["GET", "/api/v1/lists"][422] == {"$ref": "#/components/responses/plain_422"}
    assert set(told["GET", "/api/v1/communications/track/{id}"]) == {404, 500, 503}
    assert set(told["GET", "/healthz"]) == {500}
    shapes = document["components"]["responses"]
    assert set(shapes["alpha_404"]["content"]["application/json"]["schema"]["properties"]) == {"detail", "time", "title"}
    assert set(shapes["plain_422"]["content"]["application/json"]["schema"]["properties"]) == {"error", "errors"}
    assert "WWW-Authenticate" in shapes["alpha_401"]["headers"]


async def test_the_description_says_what_a_parameter_may_be(api: Api):
    document = (await api.stranger.get("/openapi.json")).json()
    parameters = {entry["name"]: entry for entry in document["paths"]["/api/v1/communications"]["get"]["parameters"]}
    assert parameters["limit"]["schema"] == {"type": "integer", "minimum": 1, "maximum": 100, "default": 25}
    assert parameters["type"]["schema"] == {"type": "string", "enum": ["email", "sms"]}
    ids = document["paths"]["/api/v1/communications/delete-list"]["delete"]["parameters"][0]
    assert (ids["required"], ids["schema"]) == (True, {"type": "array", "items": {"type": "string"}})
    number = document["paths"]["/api/v1/communications/{id}"]["get"]["parameters"][0]
    assert (number["in"], number["schema"]) == ("path", {"type": "integer", "minimum": 1})
    comment = document["paths"]["/api/v1/communications/{id}/comment"]["post"]["requestBody"]["content"]
    assert set(comment) == {"text/plain", "application/json"}
    pixel = document["paths"]["/api/v1/communications/track/{id}"]["get"]["responses"]["200"]["content"]
    assert set(pixel) == {"image/gif"}


async def test_the_page_to_browse_it_needs_nothing_from_elsewhere(api: Api):
    page = await api.stranger.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "http://" not in page.text
    assert "https://" not in page.text
    home = await api.stranger.get("/")
    assert (home.status_code, home.headers["location"]) == (302, "/docs")


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"])
async def test_the_houses_own_pages_are_read_only(api: Api, path: str):
    answer = await api.stranger.post(path)
    assert (answer.status_code, answer.headers["allow"], answer.json()) == (405, "GET, HEAD", {"error": "Method not allowed"})


async def test_requests_that_no_route_takes_are_counted_under_one_name(api: Api):
    for path in ("/nowhere", "/api/v1/nothing/at/all"):
        await api.stranger.get(path)
    await api.client.delete("/api/v1/communications")
    lines = (await api.stranger.get("/metrics")).text.splitlines()
    assert 'tidings_http_request_seconds_count{method="GET",path="unmatched",status="404"} 2.0' in lines
    assert 'tidings_http_request_seconds_count{method="DELETE",path="unmatched",status="405"} 1.0' in lines
    assert not any("nowhere" in line for line in lines)
