"""Twilio's end of the wire, as its documentation shows it: messages are created, refused, throttled, held back, or the connection breaks.

https://www.twilio.com/docs/messaging/api/message-resource#create-a-message-resource
https://www.twilio.com/docs/usage/twilios-response (errors: code, message, more_info, status)
"""

import asyncio
import base64
import contextlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import msgspec

ACCOUNT = "AC" + "0123456789abcdef" * 2
TOKEN = "3b1f9c0a5d7e4682b6c1d0e9f8a7b6c5"
_PHRASES = {201: "CREATED", 400: "BAD REQUEST"}


@dataclass
class Request:
    """One request as it came: headers by lower-case name, the form's fields."""

    line: str
    headers: dict[str, str]
    form: dict[str, str]


@dataclass
class Answer:
    """What is answered instead of a created message; `sever` breaks the connection instead of answering."""

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    sever: bool = False


def error(status: int, code: int, message: str, **headers: str) -> Answer:
    """An error as Twilio words one."""
    more = f"https://www.twilio.com/docs/errors/{code}"
    return Answer(status, {"code": code, "message": message, "more_info": more, "status": status}, headers)


class TwilioServer:
    """Listens on the loopback. `rule` may answer a request in another way than by creating the message."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.created: list[Request] = []
        self.rule: Callable[[Request], Answer | None] = lambda request: None
        self.token = TOKEN
        self.open = asyncio.Event()
        self.open.set()
        self.reached = asyncio.Event()
        self.at_once = self.most_at_once = 0
        self.port = 0
        self._sids = itertools.count(1)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Nobody listens any more, and every connection is closed."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._writers):
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while (request := await _read(reader)) is not None:
                self.requests.append(request)
                self.at_once += 1
                self.most_at_once = max(self.most_at_once, self.at_once)
                self.reached.set()
                await self.open.wait()
                answer = self._answer(request)
                self.at_once -= 1
                if answer.sever:
                    return
                writer.write(_written(answer))
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            self._writers.discard(writer)
            writer.close()

    def _answer(self, request: Request) -> Answer:
        expected = base64.b64encode(f"{ACCOUNT}:{self.token}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {expected}":
            return error(401, 20003, "Authenticate")
        other = self.rule(request)
        if other is not None:
            return other
        self.created.append(request)
        # the fields of the documented example that a client can rely on
        sid = f"SM{next(self._sids):032x}"
        message = {
            "account_sid": ACCOUNT,
            "api_version": "2010-04-01",
            "body": request.form["Body"],
            "date_created": "Thu, 24 Aug 2023 05:01:45 +0000",
            "date_sent": None,
            "direction": "outbound-api",
            "error_code": None,
            "error_message": None,
            "from": request.form.get("From"),
            "messaging_service_sid": request.form.get("MessagingServiceSid"),
            "num_media": "0",
            "num_segments": "1",
            "sid": sid,
            "status": "queued",
            "to": request.form["To"],
            "uri": f"/2010-04-01/Accounts/{ACCOUNT}/Messages/{sid}.json",
        }
        return Answer(201, message)


async def _read(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    except asyncio.IncompleteReadError:
        return None
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers["content-length"]))
    assert headers["content-type"] == "application/x-www-form-urlencoded"
    form = {name: values[0] for name, values in parse_qs(body.decode("ascii"), keep_blank_values=True, strict_parsing=True).items()}
    return Request(head[0], headers, form)


def _written(answer: Answer) -> bytes:
    body = answer.body if isinstance(answer.body, bytes) else msgspec.json.encode(answer.body)
    headers = {"content-type": "application/json;charset=utf-8", "content-length": str(len(body)), **answer.headers}
    head = f"HTTP/1.1 {answer.status} {_PHRASES.get(answer.status, 'STATUS')}\r\n"
    return (head + "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n").encode("latin-1") + body
