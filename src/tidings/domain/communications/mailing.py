"""One mail to every contact of a list, each a communication of its own that names nobody else: the first of them at once, the rest as a job."""

from collections.abc import Sequence
from typing import Final

import msgspec

from tidings.database import Tx
from tidings.domain import jobs, templates
from tidings.domain.communications.accept import Draft, accept
from tidings.domain.jobs import Job, Progress
from tidings.errors import Conflict
from tidings.message.outgoing import Address

KIND: Final = "mailing"
CHUNK = 500
"""Members of a list that are written to in one transaction."""
_LAST = 2**63 - 1


class Mailing(msgspec.Struct, frozen=True):
    """What the job is given: the members behind `after`. `draft` names nobody, and of its content only id and subject are there; `addressed`
    (lower case) got the mail by name already.
    """

    draft: Draft
    addressed: Sequence[str]
    after: int = 0


class _Member(msgspec.Struct, frozen=True):
    id: int
    email: str
    email_key: str
    first_name: str
    last_name: str


class _Step(msgspec.Struct, frozen=True):
    """What a chunk came to: the communications made, the members it went past, and the last of them, None at the list's end."""

    made: list[int]
    seen: int
    last: int | None


def begin_mailing(tx: Tx, draft: Draft, *, now: int) -> list[int]:
    """Writes to the first members of the draft's list, and lays a job for those who are left; answers the communications made.

    Whoever the draft names gets none of his own (that mail is the caller's to accept), nor does who has no address or denied consent.
    Members are in the order of their ids; the job is continued by `continue_mailing`.
    """
    assert draft.list_id is not None
    content_id = draft.content.id or templates.store_content(tx, draft.content, draft.content_hash, now=now)
    # the subject stays: a conversation is named after it
    bare = msgspec.structs.replace(draft.content, id=content_id, source="", html="", text="", links="[]", variables="[]")
    private = msgspec.structs.replace(draft, content=bare, content_hash="", to=(), cc=(), bcc=())
    mailing = Mailing(private, sorted({entry.email.lower() for entry in draft.to}))
    step = _write(tx, mailing, draft.list_id, 0, now)
    if step.last is not None:
        rest = msgspec.structs.replace(mailing, after=step.last)
        left = _members(tx, draft.tenant_id, draft.list_id, step.last, _LAST)
        jobs.create(tx, draft.tenant_id, KIND, msgspec.json.encode(rest).decode(), total=left, now=now)
    return step.made


def continue_mailing(tx: Tx, job: Job, before: Progress, *, now: int, lease_ms: int) -> Progress | None:
    """Writes to the next members, in the transaction that moves the job on; None when that was the last of them and the job is done.

    `done` counts communications, `rejected` the members passed over. Raises Conflict when the lease is lost, which undoes the chunk.
    """
    mailing = msgspec.json.decode(job.params, type=Mailing)
    assert mailing.draft.list_id is not None
    step = _write(tx, mailing, mailing.draft.list_id, int(before.cursor or mailing.after), now)
    done, rejected = before.done + len(step.made), before.rejected + step.seen - len(step.made)
    # who joined or left the list meanwhile makes the total another one
    total = done + rejected if step.last is None else max(before.total, done + rejected)
    progress = Progress(before.cursor if step.last is None else str(step.last), done, rejected, total)
    if not jobs.advance(tx, job, progress, now=now, lease_ms=lease_ms):
        raise Conflict("The lease of this job was lost.")
    if step.last is None:
        jobs.finish(tx, job, now=now)
        return None
    return progress


def _write(tx: Tx, mailing: Mailing, list_id: int, after: int, now: int) -> _Step:
    tenant_id = mailing.draft.tenant_id
    # held until the end of this transaction: who is deleted at this moment was written to before, or is passed over
    members = tx.all(
        _Member,
        "SELECT c.id, c.email, c.email_key, c.first_name, c.last_name FROM list_members m JOIN contacts c ON c.tenant_id = m.tenant_id"
        " AND c.id = m.contact_id WHERE m.tenant_id = :tenant_id AND m.list_id = :list_id AND m.contact_id > :after AND c.email IS NOT NULL"
        " AND c.email_denied_at IS NULL ORDER BY m.contact_id LIMIT :limit FOR SHARE OF c",
        tenant_id=tenant_id,
        list_id=list_id,
        after=after,
        limit=CHUNK + 1,
    )
    last = members[CHUNK - 1].id if len(members) > CHUNK else None
    addressed = set(mailing.addressed)
    made = [accept(tx, _copy(mailing.draft, member), now=now).id for member in members[:CHUNK] if member.email_key not in addressed]
    return _Step(made, _members(tx, tenant_id, list_id, after, last or _LAST), last)


def _members(tx: Tx, tenant_id: int, list_id: int, after: int, last: int) -> int:
    """How many contacts are in the list, from behind `after` up to `last`."""
    return tx.value(
        "SELECT COUNT(*) FROM list_members WHERE tenant_id = :tenant_id AND list_id = :list_id AND contact_id > :after AND contact_id <= :last",
        tenant_id=tenant_id,
        list_id=list_id,
        after=after,
        last=last,
    )


def _copy(draft: Draft, member: _Member) -> Draft:
    name = f"{member.first_name} {member.last_name}".strip()
    return msgspec.structs.replace(draft, to=(Address(member.email, name),), contact_id=member.id)
