"""Work that is done beside other work, but in its order where it is of the same number."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

LANES = 16
"""So much that has an order is done at once."""

log = structlog.get_logger("smpp")


class Turns:
    """Work under way and waiting for its turn."""

    def __init__(self) -> None:
        self._last: dict[int, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, who: str | None, work: Coroutine[Any, Any, None], failed: Callable[[], object]) -> None:
        """Does `work` after all that was started for `who` before, or at once for None. `failed` is called when it raises, which is a bug and logged as one."""
        lane = None if who is None else hash(who) % LANES
        task = asyncio.get_running_loop().create_task(_after(self._last.get(lane) if lane is not None else None, work))
        if lane is not None:
            self._last[lane] = task
        self._tasks.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            if lane is not None and self._last.get(lane) is task:
                del self._last[lane]
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("a delivery was not taken", error=repr(error), exc_info=error)
                failed()

        task.add_done_callback(ended)

    async def done(self) -> None:
        """Waits for all that is under way now."""
        if self._tasks:
            await asyncio.wait(set(self._tasks))


async def _after(previous: asyncio.Task[None] | None, work: Coroutine[Any, Any, None]) -> None:
    if previous is not None:
        await asyncio.wait({previous})
    await work
