"""What travels with messages of a batch: their files, fetched and encoded load by load, so that memory stays flat however large the batch is."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence

from tidings.domain.attachments import Attachment
from tidings.domain.communications import Due
from tidings.message import enclosed
from tidings.storage import Store

LOAD = 16 * 1024 * 1024
"""Bytes of files of the messages that are composed together; one message with more goes alone. In memory they are about three times that."""
TOGETHER = 50
"""Messages of one load."""

_Key = tuple[str, str, str]


def loads(dues: Iterable[Due], files: Mapping[int, Sequence[Attachment]]) -> Iterator[list[Due]]:
    """The messages in their order, as many at a time as LOAD and TOGETHER allow."""
    load: list[Due] = []
    carried = 0
    for due in dues:
        size = sum(attachment.size for attachment in files.get(due.id, ()))
        if load and (carried + size > LOAD or len(load) == TOGETHER):
            yield load
            load, carried = [], 0
        load.append(due)
        carried += size
    if load:
        yield load


class Hold:
    """The files of one load as finished parts. Each is fetched and encoded once, however many of the messages carry it."""

    def __init__(self, store: Store, tenant_id: int) -> None:
        self._store, self._tenant_id = store, tenant_id
        self._parts: dict[_Key, asyncio.Task[bytes]] = {}

    def keep_only(self, files: Iterable[Attachment]) -> None:
        """Lets go of everything but these: what the next load needs too. What could not be had is asked for again."""
        wanted = {_key(attachment) for attachment in files}
        kept = {key: part for key, part in self._parts.items() if key in wanted and part.done() and not part.cancelled()}
        self._parts = {key: part for key, part in kept.items() if part.exception() is None}

    async def parts(self, files: Sequence[Attachment]) -> list[bytes]:
        """The files as parts of a mail. Raises NotFound when one is gone, Unavailable while the store is away."""
        return await asyncio.gather(*(self._part(attachment) for attachment in files))

    def _part(self, attachment: Attachment) -> asyncio.Task[bytes]:
        key = _key(attachment)
        if key not in self._parts:
            self._parts[key] = asyncio.create_task(self._made(attachment))
        return self._parts[key]

    async def _made(self, attachment: Attachment) -> bytes:
        data = await self._store.get(self._tenant_id, attachment.hash)
        return await asyncio.to_thread(enclosed.part, attachment.filename, attachment.content_type, data)


def _key(attachment: Attachment) -> _Key:
    return (attachment.hash, attachment.filename, attachment.content_type)
