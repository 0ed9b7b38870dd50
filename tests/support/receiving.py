"""Somebody else's server, which webhooks are posted to: real sockets on loopback, answering as told; and the office that posts."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

import standardwebhooks

from tests.support import walk
from tidings import clock
from tidings.database import Database, Tx
from tidings.domain import endpoints, events
from tidings.domain.communications import Communication
from tidings.domain.endpoints import Delivery, Endpoint, New, Range
from tidings.signing import Signer, Vault
from tidings.webhooks import secrets
from tidings.webhooks.post import Courier, Poster
from tidings.webhooks.wire import Caller

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Received(NamedTuple):
    """A request as it came in; header names in lower case."""

    verb: str
    target: str
    headers: dict[str, str]
    body: bytes


Say = bytes | Callable[[asyncio.StreamWriter], Any]


def status(code: int, *headers: str, body: str = "") -> bytes:
    """A whole answer."""
    lines = [f"HTTP/1.1 {code} Whatever", f"Content-Length: {len(body)}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


class Receiver:
    """Answers by `plan`, one entry a request, and by `otherwise` after them. `most` is how many requests were under way at once."""

    def __init__(self) -> None:
        self.plan: list[Say] = []
        self.otherwise: Say = OK
        self.got: list[Received] = []
        self.most = self._now = 0
        self.arrived = asyncio.Event()
        self._talks: set[asyncio.Task[None]] = set()

    async def open(self, tls: ssl.SSLContext | None = None) -> None:
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", 0, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}/hook"

    async def close(self) -> None:
        self._server.close()
        for talk in self._talks:
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = asyncio.current_task()
        assert talk is not None
        self._talks.add(talk)
        try:
            await self._listen(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            self._now = max(self._now - 1, 0)
        finally:
            self._talks.discard(talk)
            writer.close()

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            verb, target, _ = head[0].split(" ")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            self.got.append(Received(verb, target, headers, body))
            self._now += 1
            self.most = max(self.most, self._now)
            self.arrived.set()
            await asyncio.sleep(0)
            said = self.plan.pop(0) if self.plan else self.otherwise
            if isinstance(said, bytes):
                writer.write(said)
            else:
                await said(writer)
            self._now -= 1
            await writer.drain()


class Office:
    """A tenant whose communications things happen to, and the poster that tells of them, under a clock that moves when told."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.vault, self.signer = Vault(b"0" * 32), Signer(b"0" * 32)
        # the verifier has no clock but the real one
        self.now = clock.now() // 1000 * 1000
        self.walk = walk.House(db)
        self.callers: list[Caller] = []
        self.poster = self.worker()

    def worker(self, **settings: Any) -> Poster:
        """Another one that posts."""
        caller = Caller(**{"allow_private": True, "deadline": 15.0, "linger": 5.0} | settings)
        self.callers.append(caller)
        self.courier = Courier(self.vault, self.signer, lambda: self.now, caller)
        return Poster(self.db, self.courier, lambda: self.now, chance=lambda: 0.0)

    async def settle_in(self, slug: str = "acme") -> "Office":
        await self.walk.settle_in(slug)
        self.walk.now = self.now
        self.tenant_id = self.walk.tenant_id
        return self

    async def close(self) -> None:
        for caller in self.callers:
            await caller.close()

    async def subscribe(self, url: str, *kinds: str, **fields: Any) -> tuple[Endpoint, str]:
        """An endpoint and its secret."""
        secret = secrets.new_secret()
        new = New(url=url, kinds=kinds, **{"secret": secrets.seal(self.vault, secret)} | fields)
        return await self.db.write(endpoints.create, self.tenant_id, new, now=self.now), secret

    async def happened(self, communication: Communication, *kinds: Any, **fields: Any) -> None:
        """Lays what is to be told of it, in this order."""
        subject = events.Subject(
            communication.tenant_id,
            communication.id,
            communication.contact_id,
            communication.campaign_id,
            communication.message_id,
            communication.template_id,
            communication.channel,
            communication.type,
            communication.created_at,
        )
        await self.db.write(endpoints.lay, [events.Event(subject, kind, self.now, **fields) for kind in kinds])

    async def endpoint(self, endpoint: Endpoint) -> Endpoint:
        """It as it is now."""
        return await self.db.read(endpoints.get, endpoint.tenant_id, endpoint.id)

    async def log(self, endpoint: Endpoint, **which: Any) -> list[Delivery]:
        """Its deliveries, oldest first."""
        found = await self.db.read(endpoints.deliveries, endpoint.tenant_id, endpoint.id, Range(**which), limit=1000, page=1)
        return found.rows[::-1]

    async def states(self, endpoint: Endpoint) -> list[str]:
        return [row.state for row in await self.log(endpoint)]

    async def run(self, sql: Any, **params: Any) -> None:
        def work(tx: Tx) -> None:
            tx.run(sql, tenant_id=self.tenant_id, **params)

        await self.db.write(work)


def verified(request: Received, secret: str) -> dict[str, Any]:
    """What a request says, by the word of the verifier that is not ours. Raises when it is not signed with this secret."""
    return standardwebhooks.Webhook(secret).verify(request.body, request.headers)


@contextlib.asynccontextmanager
async def receiving(tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    """A server that is up."""
    receiver = Receiver()
    await receiver.open(tls)
    try:
        yield receiver
    finally:
        await receiver.close()
