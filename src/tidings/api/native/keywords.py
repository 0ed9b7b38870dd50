"""The words that stop, start and help over HTTP: a tenant's own, beside the usual ones, and what is answered to them."""

import msgspec

from tidings.api.wire import Call, Reply, Route, ok
from tidings.database import Tx
from tidings.domain import tenants
from tidings.message import keywords
from tidings.message.keywords import Keywords


async def show(call: Call) -> Reply:
    """The tenant's own words and the answers in use."""
    tenant = await call.db.read(tenants.get, call.tenant_id)
    return ok(keywords.parse(tenant.keywords))


async def replace(call: Call) -> Reply:
    """All of it anew; what is left out is as usual."""
    wanted = keywords.checked(call.json(Keywords))

    def write(tx: Tx) -> Reply:
        tenants.set_keywords(tx, call.tenant_id, msgspec.json.encode(wanted).decode(), now=call.now)
        return ok(wanted)

    return await call.db.write(write)


_PATH = "/api/v1/keywords"

ROUTES: list[Route] = [
    Route("GET", _PATH, show, "admin:read", "The words that stop, start and help", gives=Keywords),
    Route("PUT", _PATH, replace, "admin:write", "Set them and their answers", Keywords, Keywords),
]
