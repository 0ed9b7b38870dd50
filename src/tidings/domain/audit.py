"""What was done to rows that are no longer there to tell: who deleted which, and when. What happened to rows that are lives with them.

An entry keeps ids and nothing that names a person: who deletes a mail wants its words and addresses gone.
"""

from collections.abc import Sequence
from typing import Final, Literal, LiteralString

import msgspec

from tidings.database import Tx
from tidings.domain.page import Page

Action = Literal["delete"]
Kind = Literal["communication", "contact"]


class Detail(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an entry keeps of a communication: as much as its unsubscribe link, which is still in somebody's mailbox, needs to work."""

    channel: str | None = None
    campaign_id: int | None = None
    enrollment_id: int | None = None


NOTHING: Final = Detail()


class Gone(msgspec.Struct, frozen=True):
    """A row that something was done to."""

    subject_id: int
    contact_id: int | None = None
    detail: Detail = NOTHING


class Entry(msgspec.Struct, frozen=True):
    """A row of `audit`. `author` is the name of the API key, `subject` the kind of what `subject_id` was, `detail` JSON of a Detail."""

    id: int
    at: int
    author: str
    action: str
    subject: str
    subject_id: int
    contact_id: int | None
    detail: str | None

    def kept(self) -> Detail:
        """The detail, read."""
        return msgspec.json.decode(self.detail, type=Detail) if self.detail else NOTHING


_ENTRY: Final = "SELECT id, at, author, action, subject, subject_id, contact_id, detail FROM audit WHERE tenant_id = :tenant_id"


def record(tx: Tx, tenant_id: int, action: Action, subject: Kind, gone: Sequence[Gone], *, author: str, now: int) -> None:
    """Writes an entry for each, in the transaction of what is done to them."""
    if not gone:
        return
    tx.run(
        "INSERT INTO audit (tenant_id, at, author, action, subject, subject_id, contact_id, detail)"
        " SELECT CAST(:tenant_id AS bigint), CAST(:now AS bigint), CAST(:author AS text), CAST(:action AS text), CAST(:subject AS text),"
        " r.subject_id, r.contact_id, r.detail FROM :rows(subject_id bigint, contact_id bigint, detail text) r",
        tenant_id=tenant_id,
        now=now,
        author=author,
        action=action,
        subject=subject,
        rows=[
            (row.subject_id, row.contact_id, None if row.detail == NOTHING else msgspec.json.encode(row.detail).decode()) for row in gone
        ],
    )


def deleted(tx: Tx, tenant_id: int, subject: Kind, subject_id: int) -> Entry | None:
    """The entry of a row's deletion, or None: it is there still, or never was."""
    sql = _ENTRY + " AND subject = :subject AND subject_id = :subject_id AND action = 'delete' ORDER BY id DESC LIMIT 1"
    return tx.one(Entry, sql, tenant_id=tenant_id, subject=subject, subject_id=subject_id)


class Filters(msgspec.Struct, frozen=True):
    """Which entries: those that fit whatever is given. `kind` and `subject_id` name one row, `since` is included and `before` is not."""

    subject: str | None = None
    kind: str | None = None
    subject_id: int | None = None
    action: str | None = None
    author: str | None = None
    since: int | None = None
    before: int | None = None


def page(tx: Tx, tenant_id: int, filters: Filters, *, page: int, limit: int) -> Page[Entry]:
    """The newest first."""
    rows: LiteralString = _ENTRY
    count: LiteralString = "SELECT COUNT(*) FROM audit WHERE tenant_id = :tenant_id"
    wanted, params = _wanted(filters)
    # numbered in the order of their writing, so that no sorting is needed
    rows += wanted + " ORDER BY id DESC LIMIT :limit OFFSET :offset"
    count += wanted
    found = tx.all(Entry, rows, tenant_id=tenant_id, **params, limit=limit, offset=(page - 1) * limit)
    return Page(found, tx.value(count, tenant_id=tenant_id, **params))


def _wanted(filters: Filters) -> tuple[LiteralString, dict[str, int | str]]:
    pieces: dict[str, LiteralString] = {
        "subject": " AND subject = :subject",
        "kind": " AND subject = :kind",
        "subject_id": " AND subject_id = :subject_id",
        "action": " AND action = :action",
        "author": " AND author = :author",
        "since": " AND at >= :since",
        "before": " AND at < :before",
    }
    params: dict[str, int | str] = {name: value for name, value in msgspec.structs.asdict(filters).items() if value is not None}
    sql: LiteralString = ""
    for name in params:
        sql += pieces[name]
    return sql, params
