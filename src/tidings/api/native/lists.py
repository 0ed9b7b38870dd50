"""Recipient lists over HTTP, and who is in them."""

import msgspec

from tidings import ids
from tidings.api.idempotency import once_said
from tidings.api.native.contacts import ContactAnswer
from tidings.api.native.contacts import shown as contact_shown
from tidings.api.wire import PAGED, Call, Reply, Route, created, instant, listing, no_content, ok
from tidings.database import Tx
from tidings.domain import lists
from tidings.domain.lists import RecipientList
from tidings.errors import Invalid, NotFound

AT_ONCE = 10_000
"""Contacts of one request to add or remove."""


class Named(msgspec.Struct, forbid_unknown_fields=True):
    """A list as a request has it."""

    name: str


class Chosen(msgspec.Struct, forbid_unknown_fields=True):
    """Contacts by their ids (`cont_…`)."""

    contact_ids: list[str]


class ListAnswer(msgspec.Struct):
    """A list; `members` is how many contacts are in it."""

    id: str
    uuid: str
    number: int
    name: str
    members: int
    created_at: str
    updated_at: str


class AddedAnswer(msgspec.Struct):
    """How many were not in the list before, and how many are in it now."""

    added: int
    members: int


class RemovedAnswer(msgspec.Struct):
    """How many were in the list, and how many are left."""

    removed: int
    members: int


async def create(call: Call) -> Reply:
    """201; 409 when there is a list of this name."""
    name = lists.name_of(call.json(Named).name)
    return await once_said(call, lambda tx: created(_shown(lists.create(tx, call.tenant_id, name, now=call.now))))


async def index(call: Call) -> Reply:
    """Newest first."""
    page, limit = call.page_limit()
    found = await call.db.read(lists.page, call.tenant_id, limit=limit, page=page)
    return listing("lists", [_shown(row) for row in found.rows], page, limit, found.total)


async def show(call: Call) -> Reply:
    """One list."""
    return ok(_shown(await _found(call)))


async def rename(call: Call) -> Reply:
    """The list under its new name; 409 when another has it."""
    name = lists.name_of(call.json(Named).name)
    return ok(_shown(await call.db.write(lists.rename, call.tenant_id, _id(call), name, now=call.now)))


async def delete(call: Call) -> Reply:
    """The list goes, its contacts stay."""
    list_id = _id(call)

    def work(tx: Tx) -> Reply:
        if not lists.delete(tx, call.tenant_id, list_id):
            raise NotFound("List not found")
        return no_content()

    return await call.db.write(work)


async def members(call: Call) -> Reply:
    """The contacts in it, newest first."""
    page, limit = call.page_limit()
    found = await call.db.read(lists.members, call.tenant_id, _id(call), limit=limit, page=page)
    return listing("contacts", [contact_shown(contact) for contact in found.rows], page, limit, found.total)


async def add(call: Call) -> Reply:
    """All of them or, when one is unknown, none."""
    list_id, contact_ids = _id(call), _contact_ids(call)

    def work(tx: Tx) -> Reply:
        added = lists.add(tx, call.tenant_id, list_id, contact_ids, now=call.now)
        return ok(AddedAnswer(added, _get(tx, call.tenant_id, list_id).members))

    return await once_said(call, work)


async def remove(call: Call) -> Reply:
    """Contacts that are not in it are passed over."""
    list_id, contact_ids = _id(call), _contact_ids(call)

    def work(tx: Tx) -> Reply:
        removed = lists.remove(tx, call.tenant_id, list_id, contact_ids)
        return ok(RemovedAnswer(removed, _get(tx, call.tenant_id, list_id).members))

    return await call.db.write(work)


async def remove_one(call: Call) -> Reply:
    """204; 404 when the contact is not in it."""
    list_id, contact_id = _id(call), ids.parse("contact", call.path["contact_id"])

    def work(tx: Tx) -> Reply:
        if contact_id is None or not lists.remove(tx, call.tenant_id, list_id, [contact_id]):
            raise NotFound("The contact is not in this list")
        return no_content()

    return await call.db.write(work)


async def _found(call: Call) -> RecipientList:
    return await call.db.read(_get, call.tenant_id, _id(call))


def _get(tx: Tx, tenant_id: int, list_id: int) -> RecipientList:
    found = lists.get(tx, tenant_id, list_id)
    if found is None:
        raise NotFound("List not found")
    return found


def _id(call: Call) -> int:
    found = ids.parse("list", call.path["id"])
    if found is None:
        raise NotFound("List not found")
    return found


def _contact_ids(call: Call) -> list[int]:
    given = call.json(Chosen).contact_ids
    if not 1 <= len(given) <= AT_ONCE:
        raise Invalid.field("contact_ids", f"must be 1 to {AT_ONCE} ids")
    found = {text: ids.parse("contact", text) for text in given}
    if wrong := [text for text, identity in found.items() if identity is None]:
        named = [f"{text[:40]!a} is not a contact" for text in wrong]
        raise Invalid(f"contact_ids: {'; '.join(named[:10])}", {"contact_ids": named})
    return [identity for identity in found.values() if identity is not None]


def _shown(row: RecipientList) -> ListAnswer:
    return ListAnswer(
        id=ids.spell("list", row.id),
        uuid=ids.uuid("list", row.id),
        number=row.id,
        name=row.name,
        members=row.members,
        created_at=instant(row.created_at),
        updated_at=instant(row.updated_at),
    )


ROUTES: list[Route] = [
    Route("GET", "/api/v1/lists", index, "contacts:read", "List recipient lists", gives=ListAnswer, lists="lists", query=PAGED),
    Route("POST", "/api/v1/lists", create, "contacts:write", "Make a list", Named, ListAnswer, status=201, idempotent=True),
    Route("GET", "/api/v1/lists/{id}", show, "contacts:read", "One list", gives=ListAnswer),
    Route("PATCH", "/api/v1/lists/{id}", rename, "contacts:write", "Rename a list", Named, ListAnswer, refuses=(409,)),
    Route("DELETE", "/api/v1/lists/{id}", delete, "contacts:write", "Remove a list, not its contacts", status=204),
    Route(
        "GET",
        "/api/v1/lists/{id}/contacts",
        members,
        "contacts:read",
        "Who is in a list",
        gives=ContactAnswer,
        lists="contacts",
        query=PAGED,
    ),
    Route("POST", "/api/v1/lists/{id}/contacts", add, "contacts:write", "Add contacts to a list", Chosen, AddedAnswer, idempotent=True),
    Route("DELETE", "/api/v1/lists/{id}/contacts", remove, "contacts:write", "Take contacts out of a list", Chosen, RemovedAnswer),
    Route("DELETE", "/api/v1/lists/{id}/contacts/{contact_id}", remove_one, "contacts:write", "Take one contact out of a list", status=204),
]
