"""The application behind its real server, over a real socket: start, stop, refusals and long bodies."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from tests.api.conftest import Api
from tests.support.served import Served, serving
from tidings.errors import Unavailable
from tidings.web import serve


@pytest.fixture
async def served(api: Api) -> AsyncIterator[Served]:
    async with serving(api) as running:
        running.client.headers["authorization"] = f"Bearer {api.key.token}"
        yield running


async def test_requests_are_answered_over_a_socket(api: Api, served: Served):
    assert (await served.client.get("/healthz")).json()["status"] == "ok"
    body = {"body": "<p>é</p>", "subject": "Grüße", "recipients": ["ann@example.test"]}
    record = (await served.client.post("/api/v1/communications/send", json=body)).json()
    assert record["subject"] == "Grüße"
    assert (await served.client.get(f"/api/v1/communications/find/{record['id']}")).json() == record
    pixel = await served.client.get(f"/api/v1/communications/track/{record['id']}")
    assert pixel.headers["content-type"] == "image/gif"
    head = await served.client.head("/api/v1/communications")
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["content-length"]) > 0
    unknown = await served.client.get("/nowhere%2F%00%ff")
    assert (unknown.status_code, unknown.json()) == (404, {"error": "Not found"})


async def test_an_oversize_body_is_refused_so_that_its_sender_can_read_it(served: Served):
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(12):
            yield b"x" * 1024 * 1024

    for content in (b"x" * 11 * 1024 * 1024, chunks()):
        answer = await served.client.post("/api/v1/enrollments", content=content)
        assert (answer.status_code, answer.json()) == (413, {"error": "The request body is larger than 10 MiB"})
    assert (await served.client.get("/api/v1/enrollments")).status_code == 200


async def test_a_delete_has_no_body_and_the_connection_goes_on(api: Api, served: Served):
    made = (await served.client.post("/api/v1/keys", json={"name": "x"})).json()
    assert (await served.client.delete(f"/api/v1/keys/{made['id']}")).status_code == 204
    assert (await served.client.get("/api/v1/keys")).status_code == 200


async def test_stopping_finishes_what_is_under_way(api: Api):
    async with serving(api) as running:
        release = asyncio.Event()
        read = api.db.read

        async def slow(*args: object, **kwargs: object) -> object:
            await release.wait()
            return await read(*args, **kwargs)  # pyright: ignore[reportCallIssue, reportArgumentType]

        api.db.read = slow  # pyright: ignore[reportAttributeAccessIssue]
        asking = asyncio.create_task(running.client.get("/readyz"))
        await asyncio.wait({asking}, timeout=0.3)
        running.stop.set()
        await asyncio.wait({running.task}, timeout=0.3)
        assert not running.task.done()
        release.set()
        assert (await asking).status_code == 200
        await asyncio.wait_for(running.task, 5)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", int(running.url.rpartition(":")[2]))


async def test_a_port_that_is_taken_is_one_clear_error(api: Api):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Unavailable, match=f"Cannot listen on 127.0.0.1:{port}: Address already in use"):
            await serve(api.app, "127.0.0.1", port, stop=asyncio.Event())
    async with serving(api) as running:
        port = int(running.url.rpartition(":")[2])
        with pytest.raises(Unavailable, match="Address already in use"):
            await serve(api.app, "127.0.0.1", port, stop=asyncio.Event())


async def test_an_address_that_is_not_ours_is_one_clear_error(api: Api):
    for host, port in (("192.0.2.1", 0), ("127.0.0.1", 99999)):
        with pytest.raises(Unavailable, match=f"Cannot listen on {host}:{port}"):
            await serve(api.app, host, port, stop=asyncio.Event())
