"""Who read or changed what, and when: an entry for each request, and one for each row that is no longer there to tell.

An entry keeps ids and nothing that names a person: who deletes a mail wants its words and addresses gone.
"""

from collections.abc import Sequence
from typing import Any, Final, Literal, LiteralString

import msgspec

from tidings.database import Tx
from tidings.domain.page import Page

Action = Literal["delete", "erase", "export", "change", "read"]
"""Requests are `change` and `read`; the others are written by what is done, in its transaction."""
Kind = Literal["communication", "contact"]
COMMAND_LINE = "command line"
"""The author of what is changed on the command line."""


class Detail(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an entry keeps besides: of a deleted communication as much as its unsubscribe link, which is still in somebody's mailbox, needs
    to work; of a request the `ids` of what it was about, where that was several.
    """

    channel: str | None = None
    campaign_id: int | None = None
    enrollment_id: int | None = None
    ids: tuple[int, ...] = ()


NOTHING: Final = Detail()


class Gone(msgspec.Struct, frozen=True):
    """A row that something was done to."""

    subject_id: int
    contact_id: int | None = None
    detail: Detail = NOTHING


class Asked(msgspec.Struct, frozen=True):
    """What a request or a command hands down to what writes its own entries: as in an Act."""

    operation: str | None = None
    status: int | None = None
    ip: str | None = None


UNASKED: Final = Asked()


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """A request, or a command, as the audit has it. `operation` says in words what it was, `status` how it ended (as HTTP has it), `ip` from
    where it came, by the rule for addresses. `subject` and `subject_id` are what it was about, "" and 0 where that is no single row.
    """

    tenant_id: int
    at: int
    author: str
    action: Action
    operation: str
    status: int
    ip: str | None = None
    subject: str = ""
    subject_id: int = 0
    contact_id: int | None = None
    detail: Detail = NOTHING


class Entry(msgspec.Struct, frozen=True):
    """A row of `audit`. `author` is the name of the API key, `subject` the kind of what `subject_id` is or was ("" and 0: nothing in
    particular), `detail` JSON of a Detail. What comes after is known of requests and commands alone: see Act. Of an erasure that was begun and
    has not come to its end there is no `status`.
    """

    id: int
    at: int
    author: str
    action: str
    subject: str
    subject_id: int
    contact_id: int | None
    detail: str | None
    operation: str | None = None
    status: int | None = None
    ip: str | None = None

    def kept(self) -> Detail:
        """The detail, read."""
        return msgspec.json.decode(self.detail, type=Detail) if self.detail else NOTHING


_ENTRY: Final = (
    "SELECT id, at, author, action, subject, subject_id, contact_id, detail, operation, status, ip FROM audit WHERE tenant_id = :tenant_id"
)


def record(
    tx: Tx, tenant_id: int, action: Action, subject: Kind, gone: Sequence[Gone], *, author: str, now: int, asked: Asked = UNASKED
) -> None:
    """Writes an entry for each, in the transaction of what is done to them."""
    if not gone:
        return
    tx.run(
        "INSERT INTO audit (tenant_id, at, author, action, subject, subject_id, contact_id, detail, operation, status, ip)"
        " SELECT CAST(:tenant_id AS bigint), CAST(:now AS bigint), CAST(:author AS text), CAST(:action AS text), CAST(:subject AS text),"
        " r.subject_id, r.contact_id, r.detail, CAST(:operation AS text), CAST(:status AS integer), CAST(:ip AS text)"
        " FROM :rows(subject_id bigint, contact_id bigint, detail text) r",
        tenant_id=tenant_id,
        now=now,
        author=author,
        action=action,
        subject=subject,
        operation=asked.operation,
        status=asked.status,
        ip=asked.ip,
        rows=[(row.subject_id, row.contact_id, _written(row.detail)) for row in gone],
    )


def begin(tx: Tx, tenant_id: int, action: Action, subject: Kind, gone: Gone, *, author: str, now: int, asked: Asked) -> int:
    """Writes the entry of what takes several transactions, in the first of them; its status is said by `end`. Answers the entry's id."""
    return tx.value(
        "INSERT INTO audit (tenant_id, at, author, action, subject, subject_id, contact_id, detail, operation, ip) VALUES"
        " (:tenant_id, :now, :author, :action, :subject, :subject_id, :contact_id, :detail, :operation, :ip) RETURNING id",
        tenant_id=tenant_id,
        now=now,
        author=author,
        action=action,
        subject=subject,
        subject_id=gone.subject_id,
        contact_id=gone.contact_id,
        detail=_written(gone.detail),
        operation=asked.operation,
        ip=asked.ip,
    )


def end(tx: Tx, tenant_id: int, entry_id: int, *, asked: Asked) -> None:
    """Says in the entry that was begun how it ended, in the last of the transactions."""
    tx.run(
        "UPDATE audit SET status = :status WHERE tenant_id = :tenant_id AND id = :id", tenant_id=tenant_id, id=entry_id, status=asked.status
    )


def enter(tx: Tx, act: Act) -> None:
    """Writes the entry of one act, in the transaction of what it does."""
    values: dict[str, Any] = msgspec.structs.asdict(act) | {"detail": _written(act.detail)}
    tx.run(
        "INSERT INTO audit (tenant_id, at, author, action, subject, subject_id, contact_id, detail, operation, status, ip) VALUES"
        " (:tenant_id, :at, :author, :action, :subject, :subject_id, :contact_id, :detail, :operation, :status, :ip)",
        **values,
    )


def note(tx: Tx, acts: Sequence[Act]) -> list[bool]:
    """Writes an entry for each of the acts, of any tenants: a unit for a Batcher."""
    tx.run(
        "INSERT INTO audit (tenant_id, at, author, action, subject, subject_id, contact_id, detail, operation, status, ip)"
        " SELECT tenant_id, at, author, action, subject, subject_id, contact_id, detail, operation, status, ip FROM"
        " :rows(tenant_id bigint, at bigint, author text, action text, subject text, subject_id bigint, contact_id bigint, detail text,"
        " operation text, status integer, ip text) r",
        rows=[
            (
                act.tenant_id,
                act.at,
                act.author,
                act.action,
                act.subject,
                act.subject_id,
                act.contact_id,
                _written(act.detail),
                act.operation,
                act.status,
                act.ip,
            )
            for act in acts
        ],
    )
    return [True] * len(acts)


def _written(detail: Detail) -> str | None:
    return None if detail == NOTHING else msgspec.json.encode(detail).decode()


def forget(tx: Tx, tenant_id: int, *, before: int, limit: int) -> int:
    """Removes the oldest entries from before that instant, as many as `limit`; what links in deleted mail need stays. Answers how many."""
    return tx.run(
        "DELETE FROM audit WHERE tenant_id = :tenant_id AND id IN (SELECT a.id FROM audit a WHERE a.tenant_id = :tenant_id AND a.at < :before"
        " AND NOT (a.action = 'delete' AND a.subject = 'communication') ORDER BY a.id LIMIT :limit)",
        tenant_id=tenant_id,
        before=before,
        limit=limit,
    )


def deleted(tx: Tx, tenant_id: int, subject: Kind, subject_id: int) -> Entry | None:
    """The entry of a row's deletion, or None: it is there still, or never was."""
    sql = _ENTRY + " AND subject = :subject AND subject_id = :subject_id AND action = 'delete' ORDER BY id DESC LIMIT 1"
    return tx.one(Entry, sql, tenant_id=tenant_id, subject=subject, subject_id=subject_id)


class Filters(msgspec.Struct, frozen=True):
    """Which entries: those that fit whatever is given. `kind` and `subject_id` name one row, `since` is included and `before` is not.

    `contact_id` is a contact that they are about, whatever else they are about.
    """

    subject: str | None = None
    kind: str | None = None
    subject_id: int | None = None
    action: str | None = None
    author: str | None = None
    contact_id: int | None = None
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
        "contact_id": " AND contact_id = :contact_id",
        "since": " AND at >= :since",
        "before": " AND at < :before",
    }
    params: dict[str, int | str] = {name: value for name, value in msgspec.structs.asdict(filters).items() if value is not None}
    sql: LiteralString = ""
    for name in params:
        sql += pieces[name]
    return sql, params
