"""Who answers which path below /api/v1/communications, and by which methods: the contract's rules of routing, operation by operation."""

import pytest

from tests.contracts.alpha.page import ERROR, differences
from tests.support.api import Api
from tidings.api import alpha
from tidings.api.wire import Route

BELOW = "/api/v1/communications/"
PATHS = sorted({route.path for route in alpha.ROUTES} | {f"{BELOW}track/{{id}}", f"{BELOW}link/{{id}}/{{index}}"})


@pytest.mark.parametrize("path", PATHS)
async def test_another_method_is_a_405_that_names_those_there_are(api: Api, path: str):
    """On the path of one communication the reading is another contract's, and is among them."""
    there = {route.method for route in alpha.ROUTES if route.path == path} or {"GET"}
    there |= {"GET"} if path == f"{BELOW}{{id}}" else set()
    there |= {"HEAD"} if "GET" in there else set()
    record = await api.send()
    named = path.replace("{id}", record["id"]).replace("{templateId}", "x").replace("{attachmentId}", "x").replace("{index}", "0")
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - there:
        answer = await api.client.request(method, named)
        single = method == "GET" and named.count("/") == BELOW.count("/")
        if single and path not in {f"{BELOW}delete-list"}:
            assert (answer.status_code, answer.json()) == (404, {"error": "Not found"})
        elif not single:
            assert answer.status_code == 405, (method, path)
            assert set(answer.headers["allow"].split(", ")) >= there
            assert differences(answer.json(), ERROR) == []


@pytest.mark.parametrize("route", [route for route in alpha.ROUTES if route.method == "GET"], ids=lambda route: route.path)
async def test_head_is_wherever_get_is(api: Api, route: Route):
    record = await api.send()
    path = route.path.replace("{id}", record["id"]).replace("{attachmentId}", "x")
    query = {"entityType": "Deal", "entityId": "7"}
    got = await api.client.get(path, params=query)
    headed = await api.client.head(path, params=query)
    assert (headed.status_code, headed.content) == (got.status_code, b"")
    assert headed.headers["content-type"] == got.headers["content-type"]


async def test_a_head_of_pixel_and_link_counts_nothing(api: Api):
    mail = await api.send(body='<a href="https://shop.test/">x</a>')
    pixel = await api.stranger.head(f"{BELOW}track/{mail['id']}")
    assert (pixel.status_code, pixel.headers["content-type"], pixel.content) == (200, "image/gif", b"")
    link = await api.stranger.head(f"{BELOW}link/{mail['id']}/0")
    assert (link.status_code, link.headers["location"]) == (302, "https://shop.test/")
    found = await api.find(mail["id"])
    assert (found["opened"], found["openCount"], found["clickedLinks"]) == (False, 0, [])


async def test_a_static_name_wins_over_an_id_and_digits_are_another_contracts(api: Api):
    record = await api.send()
    number = (await api.rows("SELECT MIN(id) FROM communications WHERE tenant_id = :t", t=api.tenant.id))[0][0]
    assert (await api.client.get(f"{BELOW}{number}")).json()["communication_type"] == "email"
    for word in ("analytics", "find", "find-all", "find-list", "page", "scheduled", "dynamic-search", "csv-export"):
        assert (await api.client.get(BELOW + word)).status_code == 200, word
    token = record["id"]
    assert (await api.client.get(BELOW + token)).json() == {"error": "Not found"}
    assert (await api.client.delete(f"{BELOW}{number}")).json()["title"] == "Not Found"
    assert (await api.client.delete(f"{BELOW}{token}")).status_code == 204


@pytest.mark.parametrize(
    "path",
    ["find/x/y", "1/nothing", "send/x", "track", "link", "link/x", "send-template", "x/cancel/now", "x/thread/1", "find-all/1", "x//y"],
)
async def test_an_unknown_path_below_is_alphas_404(api: Api, path: str):
    for method in ("GET", "POST", "DELETE"):
        answer = await api.client.request(method, BELOW + path)
        single = "/" not in path
        if not (single and method in {"GET", "DELETE"}):
            assert answer.status_code == 404, (method, path)
            assert differences(answer.json(), ERROR) == []


async def test_no_trailing_slash_is_led_elsewhere(api: Api):
    record = await api.send()
    for path in ("find-all/", f"find/{record['id']}/", "page/"):
        answer = await api.client.get(BELOW + path)
        assert answer.status_code in {200, 404}
        assert "location" not in answer.headers
