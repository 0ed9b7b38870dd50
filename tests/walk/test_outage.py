"""A database that goes away under a working server and comes back: what was in flight is settled, what waits goes out, all of it once."""

import asyncio
from collections.abc import Callable
from typing import Any

from tests.support.walk import House
from tidings.database import Database
from tidings.errors import Unavailable


class Leaving(Database):
    """A database that can be taken away: while `away`, whatever is asked is Unavailable."""

    def __init__(self, real: Database) -> None:
        super().__init__()
        self.real = real
        self.kind, self.url = real.kind, real.url
        self.away = False
        self.refused = asyncio.Event()

    def _ask(self) -> None:
        if self.away:
            self.refused.set()
            raise Unavailable("gone for a while")

    async def write(self, unit: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        self._ask()
        return await self.real.write(unit, *args, **kwargs)

    async def read(self, unit: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        self._ask()
        return await self.real.read(unit, *args, **kwargs)

    async def refresh(self) -> None:
        await self.real.refresh()

    async def maintain(self, now: int) -> None:
        await self.real.maintain(now)

    async def close(self) -> None:
        await self.real.close()


async def _sent(house: House, count: int) -> None:
    async with asyncio.timeout(30):
        # settling rings no bell: the ledger is asked
        while (await house.counts()).sent < count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_dispatcher_outlives_an_outage_and_sends_each_message_once(house: House) -> None:
    outside = house.db
    leaving = Leaving(outside)
    house.db = leaving
    dispatcher = house.dispatcher()
    house.db = outside
    house.carrying.gate = asyncio.Event()
    stop = asyncio.Event()
    await house.accept("in-flight@example.com")
    running = asyncio.create_task(dispatcher.run(stop))
    await house.carrying.reached.wait()

    leaving.away = True
    house.carrying.gate.set()
    await house.accept("meanwhile@example.com")
    await asyncio.wait_for(leaving.refused.wait(), 10)
    leaving.away = False

    await _sent(house, 2)
    await house.accept("after@example.com")
    await _sent(house, 3)
    stop.set()
    await running
    assert sorted(sealed.recipients[0] for sealed in house.carrying.sent) == [  # type: ignore[union-attr]
        "after@example.com",
        "in-flight@example.com",
        "meanwhile@example.com",
    ]
    assert await house.states() == ["sent"] * 3
