"""Group commit by hand: items that arrive while a write is under way are written together by the next one."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from tidings.database.gate import Database, Tx

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Batcher(Generic[Item, Answer]):
    """`await batcher.add(item)` answers once the item is committed. One write is under way at a time, of at most `limit` items.

    The unit answers for each of its items, in their order.
    """

    def __init__(self, db: Database, unit: Callable[[Tx, list[Item]], Sequence[Answer]], *, limit: int = 1000) -> None:
        self._db, self._unit, self._limit = db, unit, limit
        self._waiting: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._task: asyncio.Task[None] | None = None

    async def add(self, item: Item) -> Answer:
        """Writes the item with its neighbours; what the unit answers for it. Raises what the write raised."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain())
        return await future

    async def _drain(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[: self._limit], self._waiting[self._limit :]
            (result,) = await asyncio.gather(self._db.write(self._unit, [item for item, _ in batch]), return_exceptions=True)
            for number, (_, future) in enumerate(batch):
                if future.done():
                    continue
                if isinstance(result, BaseException):
                    future.set_exception(result)
                else:
                    future.set_result(result[number])
