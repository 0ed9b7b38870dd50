"""What state a campaign is in, and what follows from a change of it within the same transaction."""

from tidings.database import Tx
from tidings.domain import communications
from tidings.domain.campaigns.record import Campaign, State, figures, get, lock
from tidings.errors import Conflict


def activate(tx: Tx, tenant_id: int, campaign_id: int, *, now: int) -> Campaign:
    """Draft or paused → active; what a pause had set aside is due at once. Raises Conflict when it has no messages, or in another state."""
    lock(tx, tenant_id, campaign_id, "draft", "paused", verb="activated")
    if not figures(tx, tenant_id, [campaign_id])[campaign_id].messages:
        raise Conflict("A campaign needs at least one message before it is activated")
    _enter(tx, tenant_id, campaign_id, "active", now)
    communications.unpark(tx, tenant_id, campaign_id, now=now)
    tx.notify("plan")
    return get(tx, tenant_id, campaign_id)


def pause(tx: Tx, tenant_id: int, campaign_id: int, *, now: int) -> Campaign:
    """Active → paused, at once: what was waiting to be sent is set aside in the same transaction. Raises Conflict in another state."""
    lock(tx, tenant_id, campaign_id, "active", verb="paused")
    _enter(tx, tenant_id, campaign_id, "paused", now)
    communications.park(tx, tenant_id, campaign_id, now=now)
    return get(tx, tenant_id, campaign_id)


def archive(tx: Tx, tenant_id: int, campaign_id: int, *, now: int) -> Campaign:
    """Ends it for good: what was waiting is canceled. Raises Conflict when it is archived already.

    Its enrollments are completed by `enrollments.complete_of_campaign`, in the same transaction.
    """
    lock(tx, tenant_id, campaign_id, "draft", "active", "paused", verb="archived")
    _enter(tx, tenant_id, campaign_id, "archived", now)
    communications.cancel_of_campaign(tx, tenant_id, campaign_id, now=now)
    return get(tx, tenant_id, campaign_id)


def _enter(tx: Tx, tenant_id: int, campaign_id: int, state: State, now: int) -> None:
    tx.run(
        "UPDATE campaigns SET state = CAST(:state AS text), updated_at = :now,"
        " activated_at = CASE WHEN CAST(:state AS text) = 'active' THEN COALESCE(activated_at, :now) ELSE activated_at END"
        " WHERE tenant_id = :tenant_id AND id = :campaign_id",
        tenant_id=tenant_id,
        campaign_id=campaign_id,
        state=state,
        now=now,
    )
