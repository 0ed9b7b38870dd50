"""For how long a tenant keeps what, over HTTP. What goes in time, and what stays, is told in docs/privacy.md."""

import msgspec
from msgspec import UNSET, UnsetType

from tidings.api.wire import Call, Reply, Route, ok
from tidings.domain import tenants
from tidings.domain.tenants import Kept, Tenant


class Retention(msgspec.Struct, forbid_unknown_fields=True):
    """Days for which each part is kept, null for ever; what is left out stays as it is. `audit_reads`: whether reads are in the audit, too."""

    bodies: int | UnsetType | None = UNSET
    interactions: int | UnsetType | None = UNSET
    inbound: int | UnsetType | None = UNSET
    audit: int | UnsetType | None = UNSET
    audit_reads: bool | UnsetType = UNSET


class RetentionAnswer(msgspec.Struct):
    """Days for which each part is kept, null for ever."""

    bodies: int | None
    interactions: int | None
    inbound: int | None
    audit: int | None
    audit_reads: bool


async def show(call: Call) -> Reply:
    """What holds now."""
    return ok(_shown(await call.db.read(tenants.get, call.tenant_id)))


async def change(call: Call) -> Reply:
    """What holds from now on; a worker begins at once with what is older."""
    said = call.json(Retention)
    kept = Kept(said.bodies, said.interactions, said.inbound, said.audit, said.audit_reads)
    return ok(_shown(await call.db.write(tenants.keep, call.tenant_id, kept, now=call.now)))


def _shown(tenant: Tenant) -> RetentionAnswer:
    return RetentionAnswer(tenant.keep_bodies, tenant.keep_interactions, tenant.keep_inbound, tenant.keep_audit, bool(tenant.audit_reads))


ROUTES: list[Route] = [
    Route("GET", "/api/v1/retention", show, "admin:read", "How long what is kept", gives=RetentionAnswer),
    Route("PATCH", "/api/v1/retention", change, "admin:write", "Change how long what is kept", Retention, RetentionAnswer),
]
