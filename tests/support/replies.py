"""Messages received, put straight into the store: what a mailbox or a provider would have brought."""

import itertools
from typing import Any

from tidings.database import Database
from tidings.domain import threads
from tidings.domain.threads import Incoming

_NUMBERS = itertools.count(1)


def incoming(**fields: Any) -> Incoming:
    """One of them; `source_id` is new each time unless given."""
    plain: dict[str, Any] = {
        "source": "test",
        "source_id": str(next(_NUMBERS)),
        "channel": "email",
        "contact_id": 1,
        "received_at": 0,
        "sender": "ann@example.test",
        "text": "Yes, please",
    }
    return Incoming(**plain | fields)


async def receive(db: Database, tenant_id: int, conversation_id: int, *, now: int, **fields: Any) -> int:
    """Stores one received `now` (unless `received_at` says otherwise); answers its id."""
    fields = {"received_at": now} | fields
    return (await db.write(threads.store_inbound, tenant_id, conversation_id, incoming(**fields), now=now))[0]
