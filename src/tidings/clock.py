"""Instants are integer milliseconds since 1970 UTC; this is where they come from, and how one waits. Formatting for the wire lives with each contract."""

import asyncio
import time
from collections.abc import Callable

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

Clock = Callable[[], int]
"""Answers the present instant in milliseconds; handed down from the composition root so that tests can turn it."""


def now() -> int:
    """The present instant, in milliseconds since 1970 UTC."""
    return time.time_ns() // 1_000_000


async def first(seconds: float, *events: asyncio.Event) -> None:
    """Returns when one of the events is set, or after `seconds`."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
