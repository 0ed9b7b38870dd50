"""The limit: a client that does nothing but pipeline prebuilt bytes into a sink. No queue, no outcomes, no error handling."""

import argparse
import asyncio
import json
import time

import uvloop


class _Pump(asyncio.Protocol):
    """One connection: greet, then content and the next envelope in one write, a round trip per message."""

    def __init__(self, share: int, body: bytes, done: asyncio.Future[None]) -> None:
        self.left = share
        self.done = done
        self.transport: asyncio.Transport | None = None
        self.envelope = b"MAIL FROM:<bench@example.org>\r\nRCPT TO:<someone@example.net>\r\nDATA\r\n"
        self.content = body + b".\r\n"
        self.tail = b""
        self.greeted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self.transport = transport  # pyright: ignore[reportAttributeAccessIssue]

    def data_received(self, data: bytes) -> None:
        transport = self.transport
        assert transport is not None
        lines = (self.tail + data).split(b"\r\n")
        self.tail = lines.pop()
        for line in lines:
            code = line[:4]
            if code == b"354 ":
                self.left -= 1
                transport.write(self.content + self.envelope if self.left else self.content)
            elif code == b"220 ":
                transport.write(b"EHLO bench\r\n")
            elif not self.greeted and code == b"250 ":
                self.greeted = True
                transport.write(self.envelope)
                return
            elif not self.left and code == b"250 " and line is lines[-1]:
                transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.done.set_result(None)


async def _run(host: str, port: int, count: int, connections: int, size: int) -> float:
    loop = asyncio.get_running_loop()
    body = message(size)
    shares = [count // connections + (i < count % connections) for i in range(connections)]
    ends: list[asyncio.Future[None]] = []
    began = time.perf_counter()
    for share in filter(None, shares):
        end: asyncio.Future[None] = loop.create_future()
        ends.append(end)
        await loop.create_connection(lambda share=share, end=end: _Pump(share, body, end), host, port)
    await asyncio.gather(*ends)
    return time.perf_counter() - began


def message(size: int) -> bytes:
    """A mail of about `size` bytes, CRLF, nothing to stuff."""
    head = b"From: bench@example.org\r\nTo: someone@example.net\r\nSubject: bench\r\nMessage-ID: <1@example.org>\r\n\r\n"
    line = b"The quick brown fox jumps over the lazy dog, and goes on to the next line.\r\n"
    return head + line * max(1, (size - len(head)) // len(line))


def main() -> None:
    """Print {seconds, messages, cpu_seconds} as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--size", type=int, default=4_000)
    asked = parser.parse_args()
    before = time.process_time()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        seconds = runner.run(_run(asked.host, asked.port, asked.messages, asked.connections, asked.size))
    cpu = time.process_time() - before
    print(json.dumps({"seconds": seconds, "messages": asked.messages, "cpu_seconds": cpu}))


if __name__ == "__main__":
    main()
