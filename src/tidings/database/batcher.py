"""Group commit by hand: items that arrive while a write is under way are written together by the next one."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from tidings.database.gate import Database, Tx

Item = TypeVar("Item")


class Batcher(Generic[Item]):
    """`await batcher.add(item)` answers once the item is committed. One write is under way at a time, of at most `limit` items."""

    def __init__(self, db: Database, unit: Callable[[Tx, list[Item]], None], *, limit: int = 1000) -> None:
        self._db, self._unit, self._limit = db, unit, limit
        self._waiting: list[tuple[Item, asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None

    async def add(self, item: Item) -> None:
        """Writes the item with its neighbours. Raises what the write raised."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain())
        await future

    async def _drain(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[: self._limit], self._waiting[self._limit :]
            (result,) = await asyncio.gather(self._db.write(self._unit, [item for item, _ in batch]), return_exceptions=True)
            for _, future in batch:
                if future.done():
                    continue
                if isinstance(result, BaseException):
                    future.set_exception(result)
                else:
                    future.set_result(None)
