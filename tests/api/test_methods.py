"""What a path answers to methods it does not have."""

from tests.support.api import Api


async def test_a_path_tells_which_methods_it_takes(api: Api):
    asked = await api.client.options("/api/v1/enrollments")
    assert (asked.status_code, asked.headers["allow"], asked.content) == (204, "GET, HEAD, OPTIONS, POST", b"")
    refused = await api.client.put("/api/v1/enrollments")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, POST")
