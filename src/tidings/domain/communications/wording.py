"""What a communication says when that is not what its content says: rendered with variables, or under a subject of its own. For search alone.

`communications.worded` tells where that is: 0 in its content, 1 in its rendering, EMPTIED nowhere any more.
"""

from collections.abc import Sequence

from tidings.database import Tx
from tidings.database.functions import fold

EMPTIED = 2
"""Retention or erasure has removed what it said."""


def keep_wording(tx: Tx, tenant_id: int, communication_id: int, subject: str, text: str) -> None:
    """From now on the communication is found by this subject and this plain text, and no more by those of its content.

    To be called in the transaction that accepted it, once; deleting the communication deletes it.
    """
    tx.run(
        "INSERT INTO renderings (tenant_id, communication_id, subject, body) VALUES (:tenant_id, :id, :subject, :body)",
        tenant_id=tenant_id,
        id=communication_id,
        subject=fold(subject),
        body=fold(text),
    )
    tx.run("UPDATE communications SET worded = 1 WHERE tenant_id = :tenant_id AND id = :id", tenant_id=tenant_id, id=communication_id)


def forget_wording(tx: Tx, tenant_id: int, ids: Sequence[int]) -> None:
    """What the communications said of their own is gone; for their deletion."""
    tx.run("DELETE FROM renderings WHERE tenant_id = :tenant_id AND communication_id IN :ids[bigint]", tenant_id=tenant_id, ids=list(ids))
