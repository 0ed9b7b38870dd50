"""Everything that is known of one contact, as a ZIP: what is stored as JSON, and messages as the mails and texts they are.

It is made while it is read, a message at a time, so that it costs no more memory than its largest message.
"""

import asyncio
import zipfile
from collections.abc import AsyncIterator, Iterator
from typing import Any, LiteralString

import msgspec

from tidings.api.native.contacts import shown
from tidings.api.wire import House, moment
from tidings.database import Tx
from tidings.domain import attachments, audit, communications, contacts, suppressions, templates, threads
from tidings.domain.attachments import Attachment
from tidings.domain.communications import Communication, Due
from tidings.domain.contacts import Contact
from tidings.domain.templates import Content
from tidings.domain.threads import Inbound
from tidings.errors import Invalid, NotFound, Unavailable
from tidings.message import enclosed
from tidings.message.outgoing import Email

STEP = 50
"""Messages that are read at a time."""
README = """\
Everything stored about one contact.

contact.json         the contact with its attributes and its consent
lists.json           the lists it is in
enrollments.json     the campaigns it walks or has walked through
suppressions.json    whether its addresses must not be written to, and why
interactions.json    what happened to the messages sent to it: deliveries, opens, clicks, bounces
audit.json           who has read, changed or exported it here
communications/      the messages sent to it: what is known of each (.json), and the message itself (.eml, .txt),
                     composed again as it went out. Of some there is no message: what they said is not kept any more.
inbound/             the messages received from it: what was read of each (.json), and the message itself (.eml)

Instants are UTC.
"""


class _Sink:
    """A file that is only written to, and emptied by who reads."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: Any) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """There is nothing to wait for."""

    def close(self) -> None:
        """There is nothing to close."""

    def taken(self) -> bytes:
        """What was written since the last time."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


class Sent(msgspec.Struct, frozen=True):
    """A message with what it takes to compose it again."""

    row: Communication
    due: Due | None
    content: Content | None
    files: list[Attachment]


async def archive(house: House, tenant_id: int, contact_id: int) -> AsyncIterator[bytes]:
    """The ZIP in chunks. Raises NotFound before the first, Unavailable when a file cannot be had."""
    contact = await house.db.read(contacts.get, tenant_id, contact_id)
    if contact is None:
        raise NotFound("Contact not found")
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in (await house.db.read(_tables, contact)).items():
            packed.writestr(name, data)
        yield sink.taken()
        async for name, data in _messages(house, contact):
            await asyncio.to_thread(packed.writestr, name, data)
            yield sink.taken()
    yield sink.taken()


async def _messages(house: House, contact: Contact) -> AsyncIterator[tuple[str, bytes]]:
    after = 0
    while sent := await house.db.read(_sent, contact, after):
        after = sent[-1].row.id
        for message in sent:
            name = f"communications/{house.signer.communication(contact.tenant_id, message.row.id)}"
            composed = await _composed(house, message)
            yield f"{name}.json", _json(message.row)
            if composed is not None:
                yield name + (".eml" if message.row.channel == "email" else ".txt"), composed
    last = 0
    while received := await house.db.read(_received, contact, last):
        last = received[-1].id
        for inbound in received:
            name = f"inbound/{inbound.id}"
            yield f"{name}.json", _json(inbound)
            if inbound.raw_hash is not None:
                try:
                    yield f"{name}.eml", await house.store.get(contact.tenant_id, inbound.raw_hash)
                except NotFound:
                    continue  # removed meanwhile


async def _composed(house: House, sent: Sent) -> bytes | None:
    """The message as it went out; None for one that did not, or of which nothing is kept."""
    if sent.due is None or sent.content is None or sent.due.emptied or sent.row.sent_at is None:
        return None
    try:
        parts = [
            enclosed.part(file.filename, file.content_type, await house.store.get(sent.row.tenant_id, file.hash)) for file in sent.files
        ]
        sealed = await asyncio.to_thread(house.composer.compose, sent.due, sent.content, sent.row.sent_at, attached=parts)
    except (Invalid, NotFound):
        return None
    except Unavailable as error:
        raise Unavailable(f"A file of a message cannot be had at this moment: {error.message}") from error
    return sealed.raw if isinstance(sealed, Email) else sealed.text.encode()


def _tables(tx: Tx, contact: Contact) -> dict[str, bytes]:
    found = [
        suppressions.find(tx, contact.tenant_id, channel, address)
        for channel, address in (("email", contact.email), ("sms", contact.phone))
        if address
    ]
    return {
        "README.txt": README.encode(),
        "contact.json": msgspec.json.format(msgspec.json.encode(shown(contact)), indent=2),
        "lists.json": _rows(
            tx,
            contact,
            ("list", "added_at"),
            "SELECT l.name, m.added_at FROM list_members m JOIN lists l ON l.tenant_id = m.tenant_id AND l.id = m.list_id"
            " WHERE m.tenant_id = :tenant_id AND m.contact_id = :contact_id ORDER BY l.id",
        ),
        "enrollments.json": _rows(
            tx,
            contact,
            ("id", "campaign", "position", "due_at", "enrolled_at", "completed_at", "stopped_by"),
            "SELECT e.id, k.name, e.position, e.due_at, e.enrolled_at, e.completed_at, e.stopped_by FROM enrollments e"
            " JOIN campaigns k ON k.tenant_id = e.tenant_id AND k.id = e.campaign_id"
            " WHERE e.tenant_id = :tenant_id AND e.contact_id = :contact_id ORDER BY e.id",
        ),
        "suppressions.json": _pretty([_plain(msgspec.structs.asdict(row)) for row in found if row is not None]),
        "interactions.json": _rows(
            tx,
            contact,
            ("communication_id", "kind", "at", "link", "detail", "reason", "code", "user_agent", "ip", "by_machine"),
            "SELECT i.communication_id, i.kind, i.at, i.link_index, i.detail, i.reason, i.code, i.user_agent, i.ip, i.bot"
            " FROM communications c JOIN interactions i ON i.tenant_id = c.tenant_id AND i.communication_id = c.id"
            " WHERE c.tenant_id = :tenant_id AND c.contact_id = :contact_id ORDER BY i.at, i.id",
        ),
        "audit.json": _pretty(
            [
                _plain({name: getattr(entry, name) for name in ("at", "author", "action", "operation", "subject", "status")})
                for entry in _audited(tx, contact)
            ]
        ),
    }


def _audited(tx: Tx, contact: Contact) -> Iterator[audit.Entry]:
    page, limit = 1, 1000
    while rows := audit.page(tx, contact.tenant_id, audit.Filters(contact_id=contact.id), page=page, limit=limit).rows:
        yield from rows
        page += 1


def _rows(tx: Tx, contact: Contact, names: tuple[str, ...], sql: LiteralString) -> bytes:
    rows = tx.rows(sql, tenant_id=contact.tenant_id, contact_id=contact.id)
    return _pretty([_plain(dict(zip(names, row, strict=True))) for row in rows])


def _sent(tx: Tx, contact: Contact, after: int) -> list[Sent]:
    ids = [
        row[0]
        for row in tx.rows(
            "SELECT id FROM communications WHERE tenant_id = :tenant_id AND contact_id = :contact_id AND id > :after ORDER BY id LIMIT :limit",
            tenant_id=contact.tenant_id,
            contact_id=contact.id,
            after=after,
            limit=STEP,
        )
    ]
    rows = sorted(communications.several(tx, contact.tenant_id, ids), key=lambda row: row.id)
    dues = {due.id: due for due in communications.dues(tx, contact.tenant_id, ids)}
    contents = {content.id: content for content in templates.contents(tx, contact.tenant_id, [row.content_id for row in rows])}
    files = attachments.several(tx, contact.tenant_id, ids)
    return [Sent(row, dues.get(row.id), contents.get(row.content_id), files.get(row.id, [])) for row in rows]


def _received(tx: Tx, contact: Contact, after: int) -> list[Inbound]:
    ids = [
        row[0]
        for row in tx.rows(
            "SELECT id FROM inbound_messages WHERE tenant_id = :tenant_id AND contact_id = :contact_id AND id > :after ORDER BY id LIMIT :limit",
            tenant_id=contact.tenant_id,
            contact_id=contact.id,
            after=after,
            limit=STEP,
        )
    ]
    return sorted(threads.received(tx, contact.tenant_id, ids), key=lambda row: row.id)


def _json(record: msgspec.Struct) -> bytes:
    return _pretty(_plain(msgspec.structs.asdict(record)))


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    """The record as people read it: instants as such, and no tenant."""
    return {
        name: moment(value) if isinstance(value, int) and (name == "at" or name.endswith("_at")) else value
        for name, value in record.items()
        if name != "tenant_id"
    }


def _pretty(value: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2)
