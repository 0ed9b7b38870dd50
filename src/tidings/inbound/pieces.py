"""Short messages of an SMSC on their way through the one door: in the transaction that makes a text whole, it is stored."""

import secrets
from collections.abc import Sequence

from tidings.database import Tx
from tidings.domain import tenants, threads
from tidings.domain.tenants import Tenant
from tidings.domain.threads import Whole
from tidings.inbound import receive
from tidings.inbound.receive import Desk
from tidings.message.heard import Text
from tidings.message.pieces import Piece, Safe


async def take(desk: Desk, tenant_id: int, provider_id: int, source: str, heard: Piece) -> None:
    """Takes a short message in; it is safe once this returns. `source` names the carrier's row, as `smpp:12`. Raises Unavailable."""
    await desk.db.write(_take, tenant_id, provider_id, source, heard, now=desk.clock())


async def forget(desk: Desk, tenant_id: int, provider_id: int, heard: Safe) -> None:
    """The SMSC will not send these again. Raises Unavailable."""
    await desk.db.write(threads.forget_pieces, tenant_id, provider_id, heard)


async def tidy(desk: Desk) -> None:
    """Stores, of every tenant, what has waited long enough for the rest of it. Raises Unavailable."""
    for tenant_id, provider_id, source in await desk.db.read(threads.untidy_pieces, now=desk.clock()):
        await desk.db.write(_tidy, tenant_id, provider_id, source, now=desk.clock())


def _take(tx: Tx, tenant_id: int, provider_id: int, source: str, heard: Piece, *, now: int) -> None:
    _store(tx, tenants.get(tx, tenant_id), source, threads.keep_piece(tx, tenant_id, provider_id, source, heard, now=now), now=now)


def _tidy(tx: Tx, tenant_id: int, provider_id: int, source: str, *, now: int) -> None:
    _store(tx, tenants.get(tx, tenant_id), source, threads.tidy_pieces(tx, tenant_id, provider_id, now=now), now=now)


def _store(tx: Tx, tenant: Tenant, source: str, texts: Sequence[Whole], *, now: int) -> None:
    for whole in texts:
        # an SMSC has no names for what it delivers
        name = f"{whole.at}-{secrets.token_hex(6)}"
        receive.take_text(tx, tenant, source, Text(name, whole.sender, whole.recipient, whole.text, whole.at), now=now)
