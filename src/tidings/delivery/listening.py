"""Keeps connected to the carriers that tell us things over a connection: texts and receipts come whether or not anything is sent."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from tidings import clock
from tidings.domain import carriers
from tidings.errors import Unavailable
from tidings.inbound import pieces, receive
from tidings.inbound.receive import Desk
from tidings.message.heard import Notice
from tidings.message.pieces import Piece, Safe
from tidings.providers import registry
from tidings.providers.registry import Registry, Row

LOOK = 5.0
"""Seconds until a provider that was set up, changed or deleted is noticed."""

log = structlog.get_logger("listening")


async def listen(desk: Desk, providers: Registry, stop: asyncio.Event) -> None:
    """Listens until `stop`, and stores what waits in vain for the rest of it. While the database is away, whoever is connected stays so."""
    while not stop.is_set():
        try:
            await providers.listen(await desk.db.read(carriers.of_kinds, registry.LISTENING))
            await pieces.tidy(desk)
        except Unavailable as error:
            log.warning("providers not read", reason=error.message)
        await clock.first(LOOK, stop)


def at(desk: Desk) -> Callable[[Row, Piece | Notice | Safe], Awaitable[bool]]:
    """What a registry gives its providers to be heard by: everything goes through the one door of what comes in."""

    async def hear(row: Row, heard: Piece | Notice | Safe) -> bool:
        match heard:
            case Notice():
                return await receive.notice(desk, row.tenant_id, row.id, heard)
            case Safe():
                await pieces.forget(desk, row.tenant_id, row.id, heard)
            case Piece():
                await pieces.take(desk, row.tenant_id, row.id, f"{row.kind}:{row.id}", heard)
        return True

    return hear
