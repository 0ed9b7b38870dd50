"""Simulated readers: they take mail out of the sandbox over HTTP, as anybody could, and fetch the pixel or follow a link of some of it."""

import asyncio
import html
import re
import zlib

import httpx2
import msgspec

from tidings import clock

PAGE = 100
OPENERS, CLICKERS = 45, 15
"""Percent of mail that is opened, and of which a link is followed. Which, its id decides: every run looks the same."""
AT_ONCE = 8
PAUSE = 0.5
"""Seconds between two looks into the mailbox."""
PATIENCE = 10.0
GLANCE = 2.0
"""Seconds from a mail's arrival to its opening. Whoever is quicker than a second is taken for a machine."""

_PIXEL = re.compile(r'src="([^"]+/api/v1/communications/track/[^"]+)"')
_LINK = re.compile(r'href="([^"]+/api/v1/communications/link/[^"]+)"')


class Message(msgspec.Struct, frozen=True):
    """What readers look at in a kept message."""

    id: int
    communication_id: int
    html: str | None


class Pagination(msgspec.Struct, frozen=True):
    """How many there are in all."""

    total: int


class Mailbox(msgspec.Struct, frozen=True):
    """A page of the sandbox."""

    messages: list[Message]
    pagination: Pagination


class Readers:
    """All the readers of one mailbox. `url` is the server's, `token` the key that may look into its sandbox."""

    def __init__(self, url: str, token: str) -> None:
        self._client = httpx2.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=PATIENCE)
        self._strangers = httpx2.AsyncClient(
            headers={"User-Agent": "Mozilla/5.0 (X11; demo) Reader/1.0"}, timeout=PATIENCE, follow_redirects=False
        )
        self._seen: set[int] = set()
        self._hands = asyncio.Semaphore(AT_ONCE)

    async def close(self) -> None:
        """Hangs up."""
        await self._client.aclose()
        await self._strangers.aclose()

    async def run(self, stop: asyncio.Event) -> None:
        """Reads what comes until `stop`; a server too busy to answer is asked again."""
        while not stop.is_set():
            try:
                await self.turn()
            except httpx2.TransportError:
                pass
            await clock.first(PAUSE, stop)

    async def turn(self) -> None:
        """Reads everything that is new, newest first. What arrives meanwhile moves the pages, so it is the total that tells when all was read."""
        page = 0
        found: dict[int, Message] = {}
        # a look at one message tells whether there is any need to fetch a hundred
        mailbox = await self._look(limit=1, page=1)
        while len(self._seen) + len(found) < mailbox.pagination.total and mailbox.messages:
            page += 1
            mailbox = await self._look(limit=PAGE, page=page)
            found |= {message.id: message for message in mailbox.messages if message.id not in self._seen}
        if found:
            await asyncio.sleep(GLANCE)
            await asyncio.gather(*(self._read(message) for message in found.values()))
            self._seen |= found.keys()

    async def _look(self, *, limit: int, page: int) -> Mailbox:
        answer = await self._client.get("/api/v1/sandbox/messages", params={"limit": limit, "page": page})
        return msgspec.json.decode(answer.raise_for_status().content, type=Mailbox)

    async def _read(self, message: Message) -> None:
        mood = zlib.crc32(str(message.communication_id).encode()) % 100
        source = message.html or ""
        if mood < CLICKERS and (link := _LINK.search(source)):
            await self._fetch(link.group(1))
        elif mood < OPENERS and (pixel := _PIXEL.search(source)):
            await self._fetch(pixel.group(1))

    async def _fetch(self, address: str) -> None:
        async with self._hands:
            await self._strangers.get(html.unescape(address))
