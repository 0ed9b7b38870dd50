"""The server: one ASGI application made of every route table, and Granian to serve it. What the routes do lives in `api/`."""

import asyncio
import contextlib
import re
import socket
import time
import traceback
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from functools import cache
from typing import Any, cast

import msgspec
import structlog
from granian.constants import Interfaces
from granian.server.embed import Server
from litestar import Litestar, Request, Response
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.types import (
    ASGIApp,
    HTTPResponseStartEvent,
    HTTPScope,
    LifeSpanReceive,
    LifeSpanScope,
    LifeSpanSend,
    Method,
    Receive,
    Scope,
    Send,
)

from tidings.api import faults, routes
from tidings.api.auditing import Book
from tidings.api.auth import Gatekeeper
from tidings.api.health import Metrics
from tidings.api.wire import UPLOAD_LIMIT, Call, House, Reply, Route
from tidings.errors import Malformed, NotAllowed, NotFound, TidingsError, TooLarge, Unavailable

log = structlog.get_logger("tidings.web")

DRAIN_LIMIT = 64 * 1024 * 1024
"""Bytes of an oversize body that are read and thrown away, so that its sender gets to read the refusal."""
GRACE = 10.0
"""Seconds that answers under way get when the server stops."""
DRAIN_TIME = 10.0
"""Seconds that takes at most."""
UNMATCHED = "unmatched"
"""What the latency histogram calls the path of every request that no route takes: unknown paths make no labels."""
_APP = "tidings.app"
"""What a request's scope calls the application that serves it, on its way through the router."""
_JSON = b"application/json"
_encode = msgspec.json.Encoder().encode


def create_app(house: House) -> ASGIApp:
    """The whole HTTP side of a house as one ASGI application; every process that serves it has its own."""
    return App(house)


class App:
    """A house's endpoints behind the router, which is the same for every house of a process."""

    def __init__(self, house: House) -> None:
        self._house, self._gatekeeper, self._metrics = house, Gatekeeper(house.db), Metrics(house.db)
        book = Book(house)
        paths: dict[str, dict[str, Route]] = {}
        for route in routes.collect(house, self._metrics):
            paths.setdefault(route.path, {})[route.method] = route
        self.endpoints = {path: Endpoint(house, self._gatekeeper, self._metrics, book, path, table) for path, table in paths.items()}
        self._router = _router(tuple((path, endpoint.methods) for path, endpoint in self.endpoints.items()))

    async def __call__(self, scope: Scope | LifeSpanScope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(cast(LifeSpanReceive, receive), cast(LifeSpanSend, send))
            return
        cast(dict[str, Any], scope)[_APP] = self
        await self._router(scope, receive, send)

    def failed(self, scope: Scope, error: Exception) -> Response[bytes]:
        """The answer to what no endpoint settled."""
        return _failed(self._house, self._metrics, scope, error)

    async def _live(self, receive: LifeSpanReceive, send: LifeSpanSend) -> None:
        """The server's beginning and end (ASGI, lifespan)."""
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        self._gatekeeper.close()
        await send({"type": "lifespan.shutdown.complete"})


def _serving(scope: Scope) -> App:
    return cast(dict[str, Any], scope)[_APP]


@cache
def _router(paths: tuple[tuple[str, tuple[str, ...]], ...]) -> Litestar:
    """What finds the endpoint of a path, for paths with their methods. To make it takes longer than all the rest of an application."""
    return Litestar(
        [_found(path, methods) for path, methods in paths],
        exception_handlers={HTTPException: _fail, Exception: _fail},
        openapi_config=None,
        logging_config=None,
        debug=False,
        pdb_on_exception=False,
        request_max_body_size=None,
    )


def _found(path: str, methods: Sequence[str]) -> HTTPRouteHandler:
    """The path as the router takes it. The answer is sent by us, straight to the server: the router only finds us."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await _serving(scope).endpoints[path].serve(cast(HTTPScope, scope), receive, send)

    async def serve(request: Request[Any, Any, Any]) -> ASGIApp:
        return answer

    return HTTPRouteHandler(path.replace("}", ":str}"), http_method=cast(list[Method], list(methods)), status_code=200)(serve)


def _fail(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    return _serving(request.scope).failed(request.scope, error)


class Endpoint:
    """One path with its methods: admits, reads the body, calls the handler, answers; every refusal in the body of the path's owner."""

    def __init__(self, house: House, gatekeeper: Gatekeeper, metrics: Metrics, book: Book, path: str, table: dict[str, Route]) -> None:
        self._house, self._gatekeeper, self._metrics, self._book, self._path = house, gatekeeper, metrics, book, path
        self._table = dict(table)
        if "GET" in table:
            self._table["HEAD"] = table["GET"]

    @property
    def methods(self) -> tuple[str, ...]:
        """Those it answers."""
        return tuple(sorted(self._table))

    async def serve(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        began, method = time.perf_counter(), scope["method"]
        status = 500
        try:
            reply, first = await self._outcome(scope, receive)
            status = reply.status
            await _answer(reply, first, send, bodiless=method == "HEAD")
        finally:
            self._metrics.observe(self._path, method, status, time.perf_counter() - began)

    async def _outcome(self, scope: HTTPScope, receive: Receive) -> tuple[Reply, bytes]:
        """The answer, entered in the audit, and the first chunk of one that is long."""
        route, call = self._table[scope["method"]], self._call(scope)
        first = b""
        try:
            reply = await self._reply(route, call, scope, receive)
            if isinstance(reply.body, AsyncIterator):
                # made before the status goes out: what fails at once still gets an error's answer
                first = await anext(reply.body, b"")
            # what cannot be entered is not answered either
            await self._book.enter(route, call, reply)
        except TidingsError as error:
            reply, first = self._refused(scope, error), b""
        return reply, first

    def _refused(self, scope: HTTPScope, error: TidingsError) -> Reply:
        if isinstance(error, Unavailable):
            log.warning("refused for now", path=scope["path"], reason=error.message)
        return faults.reply(scope["method"], scope["path"], error, self._house.clock())

    def _call(self, scope: HTTPScope) -> Call:
        client = scope["client"]
        return Call(
            self._house,
            method=scope["method"],
            path=cast(Mapping[str, str], scope["path_params"]),
            target=scope["path"].encode() + b"?" + scope["query_string"],
            query_string=scope["query_string"],
            headers=scope["headers"],
            peer=client[0] if client else "",
        )

    async def _reply(self, route: Route, call: Call, scope: HTTPScope, receive: Receive) -> Reply:
        if not route.public:
            known = await self._gatekeeper.admit(call.headers.get("authorization"), route.scope)
            call.tenant_id, call.key_name, call.scopes, call.watched = known.tenant_id, known.name, known.scopes, known.watched
            call.db = self._book.opened(route, call)
        if route.guard is not None:
            await route.guard(call)
        if route.streams:
            call.attach(_chunks(scope, receive, UPLOAD_LIMIT))
        elif call.method not in {"GET", "HEAD"}:
            call.body = b"".join([chunk async for chunk in _chunks(scope, receive, route.limit)])
        return await route.handler(call)


async def _chunks(scope: HTTPScope, receive: Receive, limit: int) -> AsyncIterator[bytes]:
    """The body as it arrives. Raises TooLarge beyond `limit` bytes, Malformed when the sender hangs up in the middle."""
    declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    expected = int(declared) if declared.isdigit() and len(declared) < 20 else 0
    if expected > limit and any(name == b"expect" for name, _ in scope["headers"]):
        # whoever asks first (RFC 9110, section 10.1.1) has sent nothing yet, and need not
        raise TooLarge(_too_large(limit))
    received, more = 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise Malformed("The request ended before its body did")
        more, chunk = message.get("more_body", False), message.get("body", b"")
        received += len(chunk)
        if max(expected, received) > limit:
            await _drain(receive, more)
            raise TooLarge(_too_large(limit))
        if chunk:
            yield chunk


def _too_large(limit: int) -> str:
    return f"The request body is larger than {limit // (1024 * 1024)} MiB"


async def _drain(receive: Receive, more: bool) -> None:
    thrown_away = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_TIME):
            while more and thrown_away < DRAIN_LIMIT:
                message = await receive()
                if message["type"] != "http.request":
                    return
                more = message.get("more_body", False)
                thrown_away += len(message.get("body", b""))


async def _answer(reply: Reply, first: bytes, send: Send, *, bodiless: bool) -> None:
    """Sends it; `first` is the chunk that a long answer has made already."""
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers.items()]
    if isinstance(reply.body, AsyncIterator):
        start: HTTPResponseStartEvent = {"type": "http.response.start", "status": reply.status, "headers": headers}
        await _stream(start, first, reply.body, send, bodiless=bodiless)
        return
    body = _encoded(reply.body)
    if reply.body is not None and "content-type" not in reply.headers:
        headers.append((b"content-type", _JSON))
    if reply.status != 204:
        headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if bodiless else body, "more_body": False})


async def _stream(start: HTTPResponseStartEvent, first: bytes, chunks: AsyncIterator[bytes], send: Send, *, bodiless: bool) -> None:
    try:
        await send(start)
        if not bodiless:
            await send({"type": "http.response.body", "body": first, "more_body": True})
            async for chunk in chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()


def _encoded(body: Any) -> bytes:
    if body is None:
        return b""
    return body if isinstance(body, bytes) else _encode(body)


def _failed(house: House, metrics: Metrics, scope: Scope, error: Exception) -> Response[bytes]:
    """The answer to what no handler settled: an unknown path, a request the framework refuses, or a bug of ours."""
    began, method, path = time.perf_counter(), cast(HTTPScope, scope)["method"], scope["path"]
    if isinstance(error, HTTPException) and error.status_code < 500:
        reply = faults.reply(method, path, _refusal(method, path, error), house.clock())
        # no endpoint has seen these, so none has noted them; the router's own time is a few microseconds more
        metrics.observe(UNMATCHED, method, reply.status, time.perf_counter() - began)
    else:
        trace_id = str(uuid.uuid4())
        # as text: what the renderer of a log makes of an exception may show variables, and with them secrets
        story = "".join(traceback.format_exception(error))
        log.error("a request failed", trace_id=trace_id, method=method, path=path, traceback=story)
        reply = faults.crash(method, path, house.clock(), trace_id)
    return Response(_encoded(reply.body), status_code=reply.status, media_type="application/json", headers=dict(reply.headers))


def _refusal(method: str, path: str, error: HTTPException) -> TidingsError:
    if error.status_code == 404 or (error.status_code == 405 and _names_a_communication(method, path)):
        return NotFound()
    if error.status_code == 405:
        # the router answers OPTIONS by itself wherever there is anything
        allow = (error.headers or {}).get("allow", "").split(", ")
        return NotAllowed(sorted(set(allow) - {"OPTIONS"}))
    return Malformed(str(error.detail))


def _names_a_communication(method: str, path: str) -> bool:
    """Whether to reviewrover the last segment is an id: a word below communications that has no GET of its own is one, and ids are digits."""
    return method in {"GET", "HEAD"} and re.fullmatch(r"/+api/+v1/+communications/+[^/]+/*", path) is not None


async def serve(app: ASGIApp, host: str, port: int, *, stop: asyncio.Event, started: Callable[[str], None] | None = None) -> None:
    """Serves `app` in this event loop until `stop` is set; answers under way are finished first (GRACE seconds at most).

    `started` is called with the base URL once connections are answered; port 0 takes a free one. Raises Unavailable when it cannot listen.
    """
    address, port = _bindable(host, port)
    server = Server(app, address, port, interface=Interfaces.ASGI, backlog=1024, websockets=False, log_enabled=False)
    serving, stopping = asyncio.create_task(server.serve()), asyncio.create_task(stop.wait())
    try:
        await _answering(address, port, serving)
        if started is not None:
            started(f"http://{f'[{address}]' if ':' in address else address}:{port}")
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        server.stop()
        _, late = await asyncio.wait({serving}, timeout=GRACE)
        for task in late:
            task.cancel()
    if serving.done() and not serving.cancelled() and (failure := serving.exception()) is not None:
        raise Unavailable(f"The server stopped: {failure}") from failure


def _bindable(host: str, port: int) -> tuple[str, int]:
    """The address to listen on. Granian shares ports (SO_REUSEPORT), so whether another server is there already has to be asked first."""
    if not 0 <= port <= 65535:
        raise Unavailable(f"Cannot listen on {host}:{port}: a port is at most 65535")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            return str(probe.getsockname()[0]), int(probe.getsockname()[1])
    except OSError as error:
        raise Unavailable(f"Cannot listen on {host}:{port}: {error.strerror or error}") from error


async def _answering(address: str, port: int, serving: asyncio.Task[None]) -> None:
    target = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)  # noqa: S104 - compared, not bound
    while not serving.done():
        try:
            _, writer = await asyncio.open_connection(target, port)
        except OSError:
            await asyncio.sleep(0.01)
            continue
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return
