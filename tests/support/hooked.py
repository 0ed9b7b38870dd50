"""A webhook that leads nowhere, with something that it was not told, for tests of other things."""

from collections.abc import Awaitable, Callable
from typing import Any

from tests.support.api import Api
from tidings import ids

URL = "https://hooks.example.test/in"
INSERT = "INSERT INTO deliveries (tenant_id, endpoint_id, kind, at, state, ended_at) VALUES (:tenant_id, :id, 'disabled', 1, 'failed', 1)"


async def untold(api: Api) -> tuple[str, str]:
    """The ids of a webhook, which nobody can reach, and of its failed delivery."""
    answer = await api.client.post("/api/v1/webhooks", json={"url": URL})
    assert answer.status_code == 201, answer.text
    hook = answer.json()["id"]
    there = {"tenant_id": api.tenant.id, "id": ids.parse("webhook", hook)}
    await api.run("UPDATE endpoints SET url = 'http://127.0.0.1/' WHERE tenant_id = :tenant_id AND id = :id", **there)
    await api.run(INSERT, **there)
    rows = await api.rows("SELECT MAX(id) FROM deliveries WHERE tenant_id = :tenant_id AND endpoint_id = :id", **there)
    return hook, ids.spell("delivery", rows[0][0])


def hooked(verb: str) -> Callable[[Api], Awaitable[tuple[str, dict[str, Any]]]]:
    """Makes the request that does this to a webhook, which is such that it changes something."""

    async def prepare(api: Api) -> tuple[str, dict[str, Any]]:
        hook, delivery = await untold(api)
        if verb == "enable":
            await api.client.post(f"/api/v1/webhooks/{hook}/disable")
        return f"/api/v1/webhooks/{hook}/{verb.replace('{delivery_id}', delivery)}", {"json": {}} if verb == "replay" else {}

    return prepare
