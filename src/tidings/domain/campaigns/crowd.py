"""Asking for many contacts to be enrolled: the job is made here, `enrollments` does it chunk by chunk."""

from typing import Any

import msgspec

from tidings import ids
from tidings.database import Tx
from tidings.domain import jobs, lists
from tidings.domain.campaigns.record import get
from tidings.domain.jobs import Job
from tidings.errors import Conflict, Invalid, NotFound


def enroll_later(
    tx: Tx, tenant_id: int, campaign_id: int, *, list_id: int | None = None, contact_ids: list[int] | None = None, now: int
) -> Job:
    """A job of kind `enroll` for a list, for these contacts, or without either for everybody.

    Its params are JSON: `campaign_id`, and `list_id`, `contact_ids` or `all` (true). Its total is 0 for everybody, whom only the job counts.
    Raises NotFound for an unknown campaign or list, Invalid naming unknown contacts, Conflict unless the campaign is active.
    """
    campaign = get(tx, tenant_id, campaign_id)
    if campaign.state != "active":
        raise Conflict(f"The campaign is {campaign.state}, not active")
    params: dict[str, Any] = {"campaign_id": campaign_id}
    total = 0
    if list_id is not None:
        found = lists.get(tx, tenant_id, list_id)
        if found is None:
            raise NotFound("List not found")
        params["list_id"], total = list_id, found.members
    elif contact_ids is not None:
        _refuse_unknown(tx, tenant_id, contact_ids)
        params["contact_ids"] = sorted(set(contact_ids))
        total = len(params["contact_ids"])
    else:
        params["all"] = True
    return jobs.create(tx, tenant_id, "enroll", msgspec.json.encode(params).decode(), total=total, now=now)


def _refuse_unknown(tx: Tx, tenant_id: int, contact_ids: list[int]) -> None:
    unknown = tx.rows(
        "SELECT i.id FROM :ids(id bigint) i LEFT JOIN contacts c ON c.tenant_id = :tenant_id AND c.id = i.id WHERE c.id IS NULL ORDER BY i.id",
        tenant_id=tenant_id,
        ids=[(contact_id,) for contact_id in contact_ids],
    )
    if unknown:
        names = [ids.spell("contact", contact_id) for (contact_id,) in unknown]
        raise Invalid(f"Unknown contacts: {', '.join(names[:10])}", {"contact_ids": [f"{name} is not a contact" for name in names]})
