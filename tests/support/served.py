"""The house of `tests.support.api` behind its real server, in this process and on a real socket."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import httpx2

from tests.support.api import Api
from tidings.web import serve


class Served:
    """A running server: its address, a client for it, and the event that stops it."""

    def __init__(self, url: str, stop: asyncio.Event, task: asyncio.Task[None]) -> None:
        self.url, self.stop, self.task = url, stop, task
        self.client = httpx2.AsyncClient(base_url=url)


@contextlib.asynccontextmanager
async def serving(api: Api) -> AsyncIterator[Served]:
    """The server for as long as the block lasts; its client carries no key."""
    stop, started = asyncio.Event(), asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(api.app, "127.0.0.1", 0, stop=stop, started=started.set_result))
    await asyncio.wait({task, started}, return_when=asyncio.FIRST_COMPLETED)
    served = Served(await started, stop, task)
    async with served.client:
        yield served
    stop.set()
    await task
