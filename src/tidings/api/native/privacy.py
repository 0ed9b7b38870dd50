"""What the law gives a person, over HTTP: everything that is known of a contact, and its erasure."""

import msgspec

from tidings.api import erasing
from tidings.api.native import dossier
from tidings.api.native.contacts import contact_id_of
from tidings.api.wire import Call, Parameter, Reply, Route, ok
from tidings.domain import audit, contacts
from tidings.errors import Forbidden, NotFound


class ErasedAnswer(msgspec.Struct):
    """How much was erased: messages sent to the contact alone, messages to several out of which it was taken, messages received, and
    enrollments that ended. `suppressed` tells whether it stays noted that its addresses must not be written to, where that was so.
    """

    id: str
    communications: int
    shared: int
    inbound: int
    enrollments: int
    suppressed: bool


async def export(call: Call) -> Reply:
    """A ZIP, made while it is read. That it was asked for is in the audit, whether reads are or not."""
    _needs(call, "communications:read")
    contact_id = contact_id_of(call)
    headers = {"content-type": "application/zip", "content-disposition": f'attachment; filename="{call.path["id"]}.zip"'}
    if await call.db.read(contacts.get, call.tenant_id, contact_id) is None:
        raise NotFound("Contact not found")
    taken = [audit.Gone(contact_id, contact_id)]
    await call.db.write(audit.record, call.tenant_id, "export", "contact", taken, author=call.key_name, now=call.now, asked=call.asked)
    return Reply(200, dossier.archive(call.house, call.tenant_id, contact_id), headers)


async def erase(call: Call) -> Reply:
    """It cannot be undone. What was counted stays as it is."""
    _needs(call, "communications:write")
    contact_id = contact_id_of(call)
    lift = call.flag("lift") or False
    now = call.house.clock
    erased = await erasing.erase(call.db, call.tenant_id, contact_id, lift=lift, author=call.key_name, now=now, asked=call.asked)
    return ok(ErasedAnswer(call.path["id"], erased.communications, erased.shared, erased.inbound, erased.enrollments, not lift))


def _needs(call: Call, scope: str) -> None:
    """Raises Forbidden: what is said with a contact is read and removed along with it."""
    if "*" not in call.scopes and scope not in call.scopes:
        raise Forbidden(f"This key lacks the scope {scope}")


_LIFT = (Parameter("lift", "boolean", "drop also that its addresses must not be written to"),)

ROUTES: list[Route] = [
    Route(
        "GET",
        "/api/v1/contacts/{id}/export",
        export,
        "contacts:read",
        "Everything known of a contact, as a ZIP",
        media=("application/zip",),
        audits=True,
    ),
    Route("POST", "/api/v1/contacts/{id}/erase", erase, "contacts:write", "Erase a contact", gives=ErasedAnswer, query=_LIFT, audits=True),
]
