"""Removing what communications said long ago: their own words, values and files at once, and the contents that nobody else says once
nothing under way can be using them. Where links lead stays, for they stand in mailboxes.
"""

import re
from collections.abc import Sequence

import msgspec

from tidings import clock
from tidings.database import Tx
from tidings.domain import attachments, communications

GRACE = 10 * clock.MINUTE
"""Milliseconds in which whoever found a content before it was doomed has long written the communication that says it."""
_LINKED = re.compile(r"\{[{%].*?[}%]\}", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def spent(tx: Tx, tenant_id: int, *, before: int, after: tuple[int, int], limit: int) -> list[tuple[int, int]]:
    """The next communications behind (sent_at, id) that were sent before that instant and still say something: (sent_at, id)."""
    return tx.rows(
        "SELECT sent_at, id FROM communications WHERE tenant_id = :tenant_id AND sent_at IS NOT NULL AND sent_at < :before"
        " AND (sent_at, id) > (:at, :id) AND due_at IS NULL AND lease IS NULL AND worded <> 2 ORDER BY sent_at, id LIMIT :limit",
        tenant_id=tenant_id,
        before=before,
        at=after[0],
        id=after[1],
        limit=limit,
    )


def unsent(tx: Tx, tenant_id: int, *, before: int, after: tuple[int, int], limit: int) -> list[tuple[int, int]]:
    """The same of those that were accepted before that instant and came to their end without being sent: behind (since, id) are those with
    a larger id that have changed since. For one that waited for months was accepted long before it came to its end.
    """
    return tx.rows(
        "SELECT CAST(:since AS bigint), id FROM communications WHERE tenant_id = :tenant_id AND sent_at IS NULL AND due_at IS NULL AND created_at < :before"
        " AND updated_at >= :since AND id > :id AND lease IS NULL AND worded <> 2 ORDER BY id LIMIT :limit",
        tenant_id=tenant_id,
        before=before,
        since=after[0],
        id=after[1],
        limit=limit,
    )


def empty(tx: Tx, tenant_id: int, ids: Sequence[int], *, now: int, links: bool = True) -> int:
    """Takes from communications what they said; what somebody else is at is passed over. Answers how many it were.

    Of the values that they were filled in with, those stay that their links are made of, unless `links` is False.
    """
    rows: list[tuple[int, int, str | None]] = tx.rows(
        "SELECT id, content_id, variables FROM communications WHERE tenant_id = :tenant_id AND id IN :ids[bigint]"
        " AND due_at IS NULL AND lease IS NULL AND worded <> 2 ORDER BY id FOR UPDATE SKIP LOCKED",
        tenant_id=tenant_id,
        ids=list(ids),
    )
    if not rows:
        return 0
    found = [row[0] for row in rows]
    named = _names(tx, tenant_id, sorted({row[1] for row in rows})) if links else {}
    communications.forget_wording(tx, tenant_id, found)
    attachments.remove(tx, tenant_id, found)
    tx.run("DELETE FROM sandbox_messages WHERE tenant_id = :tenant_id AND communication_id IN :ids[bigint]", tenant_id=tenant_id, ids=found)
    tx.run(
        "UPDATE communications SET worded = 2, subject = NULL, variables = r_variables, attached = 0"
        " FROM :rows(r_id bigint, r_variables text) r WHERE tenant_id = :tenant_id AND id = r_id",
        tenant_id=tenant_id,
        rows=[(row[0], _left(row[2], named.get(row[1], frozenset()))) for row in rows],
    )
    doom(tx, tenant_id, sorted({row[1] for row in rows}), now=now)
    return len(rows)


def doom(tx: Tx, tenant_id: int, content_ids: Sequence[int], *, now: int) -> int:
    """Takes contents that nobody says any more off the book of contents, so that nobody new comes to say them; see `blank`."""
    return tx.run(
        "UPDATE contents SET doomed_at = :now, hash = 'doomed:' || CAST(id AS text) WHERE tenant_id = :tenant_id AND id IN :ids[bigint] AND doomed_at IS NULL"
        " AND said_subject || said_text || source <> '' AND NOT EXISTS (SELECT 1 FROM communications c WHERE c.tenant_id = contents.tenant_id"
        " AND c.content_id = contents.id AND c.worded = 0)"
        " AND NOT EXISTS (SELECT 1 FROM communications c WHERE c.tenant_id = contents.tenant_id AND c.content_id = contents.id AND c.worded = 1)"
        " AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.tenant_id = contents.tenant_id AND m.content_id = contents.id)"
        " AND NOT EXISTS (SELECT 1 FROM template_versions v WHERE v.tenant_id = contents.tenant_id AND v.content_id = contents.id)",
        tenant_id=tenant_id,
        ids=list(content_ids),
        now=now,
    )


def blank(tx: Tx, tenant_id: int, *, now: int, limit: int) -> int:
    """Removes the words of contents that have been doomed for GRACE and that still nobody says, all but their links; answers how many.

    Whoever had found one just before goes on saying it: that one is a content as any other again, though not found by who comes later.
    """
    jobs = tx.value(
        "SELECT 1 FROM jobs WHERE tenant_id = :tenant_id AND kind = 'mailing' AND finished_at IS NULL LIMIT 1", tenant_id=tenant_id
    )
    if jobs is not None:
        return 0  # a mailing under way names its content where no index knows it
    rows = tx.rows(
        "SELECT k.id, CASE WHEN EXISTS (SELECT 1 FROM communications c WHERE c.tenant_id = k.tenant_id AND c.content_id = k.id AND c.worded = 0)"
        " OR EXISTS (SELECT 1 FROM communications c WHERE c.tenant_id = k.tenant_id AND c.content_id = k.id AND c.worded = 1)"
        " OR EXISTS (SELECT 1 FROM messages m WHERE m.tenant_id = k.tenant_id AND m.content_id = k.id)"
        " OR EXISTS (SELECT 1 FROM template_versions v WHERE v.tenant_id = k.tenant_id AND v.content_id = k.id) THEN 1 ELSE 0 END"
        " FROM contents k WHERE k.tenant_id = :tenant_id AND k.doomed_at IS NOT NULL AND k.doomed_at <= :before ORDER BY k.doomed_at LIMIT :limit",
        tenant_id=tenant_id,
        before=now - GRACE,
        limit=limit,
    )
    tx.run(
        "UPDATE contents SET doomed_at = NULL WHERE tenant_id = :tenant_id AND id IN :ids[bigint]",
        tenant_id=tenant_id,
        ids=[identity for identity, said in rows if said],
    )
    return tx.run(
        "UPDATE contents SET subject = '', source = '', html = '', text = '', variables = '[]', said_subject = '', said_text = '',"
        " hash = 'gone:' || CAST(id AS text), doomed_at = NULL WHERE tenant_id = :tenant_id AND id IN :ids[bigint]",
        tenant_id=tenant_id,
        ids=[identity for identity, said in rows if not said],
    )


def _names(tx: Tx, tenant_id: int, content_ids: Sequence[int]) -> dict[int, frozenset[str]]:
    """The names that stand in the links of these contents, by content; those with none are left out."""
    rows: list[tuple[int, str]] = tx.rows(
        "SELECT id, links FROM contents WHERE tenant_id = :tenant_id AND id IN :ids[bigint] AND (links LIKE '%{{%' OR links LIKE '%{!%%' ESCAPE '!')",
        tenant_id=tenant_id,
        ids=list(content_ids),
    )
    return {identity: frozenset(name for part in _LINKED.findall(links) for name in _NAME.findall(part)) for identity, links in rows}


def _left(variables: str | None, names: frozenset[str]) -> str | None:
    """Those of the values that have one of the names, as they were; None when that is none."""
    if variables is None or not names:
        return None
    left = {name: value for name, value in msgspec.json.decode(variables, type=dict[str, msgspec.Raw]).items() if name in names}
    return msgspec.json.encode(left).decode() if left else None
