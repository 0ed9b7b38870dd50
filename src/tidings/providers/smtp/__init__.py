"""Mail over SMTP: sharing the work out among as many connections as allowed and worth it. What happens on one is wire.py's.

SMTP has no callbacks: what becomes of a mail after it was taken comes back as mail (bounces) or by the carrier's webhook, through the
inbound door.
"""

import asyncio
import math
import socket
import ssl
from collections import deque
from collections.abc import Sequence

from tidings.message.outgoing import Email, Outcome, Sealed, deferred, paused, untried
from tidings.providers.base import Report
from tidings.providers.smtp.codes import MINUTE
from tidings.providers.smtp.echo import header_for, named
from tidings.providers.smtp.mail import Job, Work
from tidings.providers.smtp.open import Failure, Opened, open_connection, tls_context
from tidings.providers.smtp.settings import SmtpSettings
from tidings.providers.smtp.wire import Connection, Limits

# Opening a connection with TLS and AUTH takes about as many round trips as four messages.
_WORTH_A_CONNECTION = 4
# So many connections in a row that ended without a message being settled: the server is not going to take any.
_BARREN_LIMIT = 3
_TRIES = 2
_SHRUNK_FOR = 60.0
_GOODBYE = 5.0
_CLOSED = "the provider is closed"


class Smtp:
    """A mail server as a provider: as many connections as allowed and worth it, all working from the same queue.

    Sends under way at the same time take turns, message by message, so a single mail never waits behind a batch.
    """

    kind = "smtp"

    def __init__(self, settings: SmtpSettings) -> None:
        self._settings = settings
        self._limits = Limits(settings.timeout, settings.data_timeout, settings.idle, settings.messages)
        self._helo = settings.helo
        self._echo = header_for(settings.host)
        self._tls: ssl.SSLContext | None = None
        self._works: list[Work] = []
        self._turns: deque[Work] = deque()
        self._connections: set[Connection] = set()
        self._leaving: set[Connection] = set()
        self._parked: list[Connection] = []
        self._opening: set[asyncio.Task[Opened | Failure]] = set()
        self._allowed = settings.connections
        self._shrunk_until = 0.0
        self._barren = 0
        self._closed = False

    async def send(self, batch: Sequence[Sealed], report: Report) -> None:
        """Hand over a batch of Emails; see `Provider.send`. Cancelled, it ends the connections that carry only this batch."""
        if not batch:
            return
        work = Work()
        for item in batch:
            if not isinstance(item, Email):
                raise TypeError(f"SMTP carries Email, not {type(item).__name__}")
            work.waiting.append(Job(item if self._echo is None else named(item, self._echo), work))
        work.left = len(work.waiting)
        if not self._works:
            self._barren = 0
        self._works.append(work)
        self._turns.append(work)
        if self._closed:
            self._pause(_CLOSED)
        self._staff()
        try:
            await work.follow(report)
        except asyncio.CancelledError:
            self._abandon(work)
            work.pass_on(report)
            raise
        finally:
            self._works.remove(work)
            if work.left and not work.cancelled:
                self._abandon(work)

    async def close(self) -> None:
        """Say good-bye everywhere. What waits is handed back as paused; what is on its way gets a few seconds to end."""
        self._closed = True
        self._pause(_CLOSED)
        opening = list(self._opening)
        for task in opening:
            task.cancel()
        await asyncio.gather(*opening, return_exceptions=True)
        for connection in list(self._parked):
            connection.quit()
        ending = [connection.closed for connection in (*self._connections, *self._leaving)]
        if ending:
            await asyncio.wait(ending, timeout=_GOODBYE)
        for connection in (*self._connections, *self._leaving):
            connection.abort(_CLOSED)

    def _abandon(self, work: Work) -> None:
        """Ends a batch: what has not left us is told as untried, and what has is left to whoever asked for it."""
        work.cancelled = True
        while work.waiting:
            work.waiting.popleft().settle(untried())
        for connection in list(self._connections):
            if connection.holds_only(work):
                connection.abort("cancelled")
            elif (job := connection.unsent(work)) is not None:
                job.settle(untried())

    # Staff: how many connections, and which

    def _staff(self) -> None:
        """Wake or open as many connections as the waiting work is worth."""
        while self._parked and self._is_waiting():
            self._parked.pop().wake()
        waiting = sum(len(work.waiting) for work in self._works)
        if not waiting or self._closed:
            return
        if asyncio.get_running_loop().time() >= self._shrunk_until:
            self._allowed = self._settings.connections
        # The first one opens alone: a wrong password is tried once, not eight times.
        target = min(self._allowed, math.ceil(waiting / _WORTH_A_CONNECTION) + len(self._connections)) if self._connections else 1
        for _ in range(target - len(self._connections) - len(self._opening)):
            self._open_one()

    def _open_one(self) -> None:
        task = asyncio.get_running_loop().create_task(self._opened_transport())
        self._opening.add(task)
        task.add_done_callback(self._opened)

    async def _opened_transport(self) -> Opened | Failure:
        if not self._helo:
            # A resolver's delay is paid once, not per connection.
            self._helo = await asyncio.to_thread(socket.getfqdn)
        if self._tls is None:
            try:
                self._tls = await asyncio.to_thread(tls_context, self._settings)
            except OSError as wrong:
                return Failure(f"cannot read the certificates in {self._settings.ca}: {wrong.strerror}")
        return await open_connection(self._settings, self._helo, self._tls)

    def _opened(self, task: asyncio.Task[Opened | Failure]) -> None:
        self._opening.discard(task)
        if task.cancelled():
            return
        if bug := task.exception():
            for work in self._works:
                work.fail(bug)
            return
        result = task.result()
        if isinstance(result, Failure):
            self._not_opened(result)
            return
        transport, features = result
        if transport.is_closing():
            self._not_opened(Failure(f"{self._settings.place} closed the connection at once"))
            return
        connection = Connection(self, transport, features, self._limits)
        transport.set_protocol(connection)
        self._connections.add(connection)
        connection.wake()
        self._staff()

    def _not_opened(self, failure: Failure) -> None:
        if self._connections or self._opening:
            self._shrink()
        else:
            self._pause(failure.reason, failure.retry_after)

    def _shrink(self) -> None:
        """The server wants fewer of us: go on with what we have, and ask again in a minute."""
        self._allowed = max(1, len(self._connections) + len(self._opening))
        self._shrunk_until = asyncio.get_running_loop().time() + _SHRUNK_FOR

    def _is_waiting(self) -> bool:
        return any(work.waiting for work in self._works)

    def _pause(self, reason: str, retry_after: int | None = None) -> None:
        self.blocked(paused(reason, retry_after))

    # What connections ask and tell (wire.Owner)

    def next_job(self) -> Job | None:
        """The next message, batches in turn."""
        turns = self._turns
        while turns:
            work = turns[0]
            if not work.waiting:
                turns.popleft()
                continue
            if len(turns) > 1:
                turns.rotate(-1)
            return work.waiting.popleft()
        return None

    def returned(self, job: Job, reason: str, *, tried: bool) -> None:
        """A message whose content has not left: to another connection, once; then it is put off."""
        job.restart()
        job.tries += tried
        if job.work.cancelled:
            job.settle(untried())
        elif self._closed:
            job.settle(paused(_CLOSED))
        elif job.tries >= _TRIES:
            job.settle(deferred(reason, "4.4.2"))
        else:
            job.work.waiting.appendleft(job)
            if job.work not in self._turns:
                self._turns.append(job.work)

    def progressed(self) -> None:
        """The server settled a message: it works."""
        self._barren = 0

    def blocked(self, outcome: Outcome) -> None:
        """The server will not work with us: everything that waits is handed back untried."""
        for work in list(self._works):
            while work.waiting:
                work.waiting.popleft().settle(outcome)

    def parked(self, connection: Connection) -> None:
        """It has nothing to do; kept until its idle time is over."""
        if self._closed:
            connection.quit()
        else:
            self._parked.append(connection)

    def leaving(self, connection: Connection) -> None:
        """It says good-bye and takes no more work."""
        self._forget(connection)
        self._leaving.add(connection)
        connection.closed.add_done_callback(lambda _: self._leaving.discard(connection))
        self._staff()

    def lost(self, connection: Connection, reason: str, *, barren: bool, throttled: bool) -> None:
        """It ended. Others go on; when none can be kept, the server is the trouble and not the messages."""
        if connection not in self._connections:
            return
        self._forget(connection)
        self._barren += barren
        if throttled and self._connections:
            self._shrink()
        if self._barren >= _BARREN_LIMIT and not self._connections:
            self._barren = 0
            self._pause(f"{self._settings.place}: {reason}", MINUTE)
        self._staff()

    def _forget(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if connection in self._parked:
            self._parked.remove(connection)
