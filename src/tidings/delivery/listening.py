"""Keeps connected to the carriers that tell us things over a connection: texts and receipts come whether or not anything is sent."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from tidings import clock
from tidings.database import Database
from tidings.domain import carriers
from tidings.errors import Unavailable
from tidings.inbound import receive
from tidings.inbound.receive import Desk
from tidings.message.heard import Notice, Text
from tidings.providers import registry
from tidings.providers.registry import Registry, Row

LOOK = 5.0
"""Seconds until a provider that was set up, changed or deleted is noticed."""

log = structlog.get_logger("listening")


async def listen(db: Database, providers: Registry, stop: asyncio.Event) -> None:
    """Listens until `stop`. While the database is away, whoever is connected stays so."""
    while not stop.is_set():
        try:
            await providers.listen(await db.read(carriers.of_kinds, registry.LISTENING))
        except Unavailable as error:
            log.warning("providers not read", reason=error.message)
        await clock.first(LOOK, stop)


def at(desk: Desk) -> Callable[[Row, Text | Notice], Awaitable[bool]]:
    """What a registry gives its providers to be heard by: everything goes through the one door of what comes in."""

    async def hear(row: Row, heard: Text | Notice) -> bool:
        if isinstance(heard, Notice):
            return await receive.notice(desk, row.tenant_id, row.id, heard)
        await receive.text(desk, row.tenant_id, f"{row.kind}:{row.id}", heard)
        return True

    return hear
