"""One request to somebody else's server, and however it ends: a value. It cannot be led into our own network, and cannot take for ever.

The address is looked up once, checked, and that very address connected to: between a check and a second lookup a name could come to
lead elsewhere. Redirects are not followed, proxies of the environment not used, and nothing of an answer is unpacked.
"""

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from ipaddress import ip_address
from typing import cast
from urllib.parse import urlsplit

import httpcore2

from tidings.webhooks import address
from tidings.webhooks.payload import Posting
from tidings.webhooks.rules import Answer

DEADLINE = 20.0
"""Seconds that all of it may take, from the lookup to the answer's headers."""
LINGER = 2.0
"""Seconds that are spent on an answer's body: what it says is for the log."""
READ = 2048
"""Bytes of a body that are read."""
SHOWN = 500
"""Characters of it that are kept."""
_TRIES = 3
"""Addresses of a host that are tried."""
_CONNECT = 5.0
_KEEP = 3.0
"""Seconds an idle connection is kept: well below what servers keep it, so that nothing goes out on one just being closed."""
_CONNECTIONS = 2000
_LOOKUPS = 128
"""Hosts that are looked up at a time: name servers that do not answer hold each for half a minute."""

Lookup = Callable[[str, int], Awaitable[list[str]]]
"""Host and port → the addresses it leads to. Raises OSError."""


class Refused(httpcore2.ConnectError):
    """The host leads to where we do not go."""


class Caller:
    """Makes requests. `trust` is what servers are verified by, where it is not what the system trusts; `close` ends all of it."""

    def __init__(
        self,
        *,
        allow_private: bool,
        lookup: Lookup | None = None,
        trust: ssl.SSLContext | None = None,
        deadline: float = DEADLINE,
        linger: float = LINGER,
    ) -> None:
        # lookups cannot be broken off: those of hosts that never answer take threads that nobody else needs
        self._threads = ThreadPoolExecutor(_LOOKUPS, thread_name_prefix="tidings-lookup")
        self._lookups: dict[str, asyncio.Future[list[str]]] = {}
        self._deadline, self._linger = deadline, linger
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=trust or _trusted(),
            max_connections=_CONNECTIONS,
            max_keepalive_connections=_CONNECTIONS // 10,
            keepalive_expiry=_KEEP,
            network_backend=_Guarded(lookup or self._look_up, allow_private=allow_private),
        )

    async def call(self, posting: Posting) -> Answer:
        """Makes the request, whatever comes of it."""
        begun = time.monotonic()
        try:
            async with asyncio.timeout(self._deadline) as deadline:
                status, body, after = await self._exchanged(posting, deadline)
        except TimeoutError:
            return Answer(None, f"There was no answer within {self._deadline:g} seconds", _since(begun))
        except (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException) as error:
            return Answer(None, _said(error), _since(begun))
        return Answer(status, None, _since(begun), body, after)

    async def close(self) -> None:
        """Ends what is under way."""
        await self._pool.aclose()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _exchanged(self, posting: Posting, deadline: asyncio.Timeout) -> tuple[int, str, str | None]:
        parts = urlsplit(posting.url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        url = httpcore2.URL(scheme=parts.scheme, host=parts.hostname or "", port=parts.port, target=target)
        # a DELETE or GET without a body says so by having no content-length
        content = posting.body or None
        async with self._pool.stream(posting.verb, url, headers=posting.headers, content=content) as response:
            # what it is worth is known now, and the body has its own time
            deadline.reschedule(None)
            after = next((value.decode("latin-1") for name, value in response.headers if name.lower() == b"retry-after"), None)
            return response.status, await self._beginning(response), after

    async def _beginning(self, response: httpcore2.Response) -> str:
        """The beginning of the body. The status has decided already: a body that breaks off or does not end changes nothing."""
        got = bytearray()
        with contextlib.suppress(TimeoutError, httpcore2.NetworkError, httpcore2.ProtocolError):
            async with asyncio.timeout(self._linger), contextlib.aclosing(response.aiter_stream()) as parts:
                async for part in parts:
                    got += part
                    if len(got) > READ:
                        break
        return got[:READ].decode("utf-8", "replace").replace("\0", "")[:SHOWN]

    async def _look_up(self, host: str, port: int) -> list[str]:
        under_way = self._lookups.get(host)
        if under_way is None:
            # one thread a host, however many ask for it, and also when they have given up
            under_way = asyncio.get_running_loop().run_in_executor(self._threads, _resolved, host, port)
            self._lookups[host] = under_way
            under_way.add_done_callback(lambda ended: self._looked_up(host, ended))
        await asyncio.wait((under_way,))
        return list(dict.fromkeys(under_way.result()))

    def _looked_up(self, host: str, ended: asyncio.Future[list[str]]) -> None:
        del self._lookups[host]
        if not ended.cancelled():
            ended.exception()  # whoever asked may be gone


class _Guarded(httpcore2.AsyncNetworkBackend):
    """Connects to addresses that were looked up and checked, and to no others."""

    def __init__(self, lookup: Lookup, *, allow_private: bool) -> None:
        self._lookup, self._allow_private = lookup, allow_private
        self._network = cast(httpcore2.AsyncNetworkBackend, httpcore2.AnyIOBackend())

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  httpcore has it so
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """A connection to one of the host's addresses. Raises Refused when any of them is private, ConnectError when none answers."""
        addresses = await self._addresses(host, port)
        if not self._allow_private and not all(map(address.is_public, addresses)):
            raise Refused(f"{host} leads to an address that is not public; webhooks are not sent there")
        failed: Exception = httpcore2.ConnectError(f"{host} leads to no address")
        for each in addresses[:_TRIES]:
            try:
                return await self._network.connect_tcp(each, port, _CONNECT, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failed = error
        raise httpcore2.ConnectError(f"{host} cannot be reached on port {port}") from failed

    async def sleep(self, seconds: float) -> None:
        """Asked for between tries that the pool does not make."""
        await asyncio.sleep(seconds)

    async def _addresses(self, host: str, port: int) -> list[str]:
        try:
            return [str(ip_address(host.strip("[]")))]
        except ValueError:
            pass
        try:
            return await self._lookup(host, port)
        except OSError as error:
            raise httpcore2.ConnectError(f"{host} cannot be found: {error.strerror or error}") from error


def _resolved(host: str, port: int) -> list[str]:
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


@cache
def _trusted() -> ssl.SSLContext:
    # reading all certificates that the system trusts takes long enough to be done once
    return httpcore2.default_ssl_context()


def _since(begun: float) -> int:
    return round((time.monotonic() - begun) * 1000)


def _said(error: Exception) -> str:
    cause: BaseException | None = error.__cause__ or error.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"Its certificate is not to be trusted: {cause.verify_message}"
    if isinstance(cause, ssl.SSLError):
        return f"TLS failed: {cause.reason or cause}"
    return str(error).replace("\0", "")[:200] or {
        "ReadError": "The connection broke before there was an answer",
        "RemoteProtocolError": "What came back is no HTTP",
    }.get(type(error).__name__, type(error).__name__)
