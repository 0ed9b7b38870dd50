"""One SMTP connection after its log-in: the message loop, pipelined (RFC 2920) or in lockstep. Sharing out the work is smtp.py's.

What is on the wire while messages wait, C: content, E: envelope (MAIL, RCPT…, DATA in one group):

    E1 → ← 250 250 354   C1 E2 → ← 250 250 250 354   C2 E3 → …

DATA must end a group and content may begin one, so this is as tight as RFC 2920 allows: one round trip per message.
At any moment at most one message (`_sent`) has left us without an answer, and one (`_head`) has only shown its envelope.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

import msgspec

from tidings.message.outgoing import Outcome, accepted, unknown
from tidings.providers.smtp.codes import Reply, effect, nobody, outcome_of, outcome_of_recipients, queue_id, read_reply
from tidings.providers.smtp.mail import Features, Job, Work, dot_stuffed, envelope, refusal

# A longer content is handed to the kernel before its end-of-data, so that a loss on the way is known to be one.
_LARGE = 60_000
_LINE_LIMIT = 8_192
_LINES_LIMIT = 100


class Limits(msgspec.Struct, frozen=True):
    """Patience in seconds: for a command's answer, for a whole message's, between messages; and messages per connection (0: any)."""

    command: float
    data: float
    idle: float
    messages: int


class Owner(Protocol):
    """Who hands out the work and hears what became of the connection."""

    def next_job(self) -> Job | None: ...

    def returned(self, job: Job, reason: str, *, tried: bool) -> None: ...

    def progressed(self) -> None: ...

    def blocked(self, outcome: Outcome) -> None: ...

    def parked(self, connection: "Connection") -> None: ...

    def leaving(self, connection: "Connection") -> None: ...

    def lost(self, connection: "Connection", reason: str, *, barren: bool, throttled: bool) -> None: ...


class Connection(asyncio.Protocol):
    """Sends message after message as long as its owner has any, then parks until woken or until it has idled too long.

    No NOOP is sent before a parked connection is used again: one that died meanwhile is noticed before any content leaves,
    and its message goes to another connection untried.
    """

    def __init__(self, owner: Owner, transport: asyncio.Transport, features: Features, limits: Limits) -> None:
        self._owner = owner
        self._transport = transport
        self._features = features
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[None] = self._loop.create_future()
        self._awaiting: deque[Callable[[bytes], None]] = deque()
        self._unsent: deque[bytes] = deque()  # lockstep only: commands whose turn has not come
        self._tail = b""
        self._more: list[bytes] = []
        self._sent: Job | None = None
        self._head: Job | None = None
        self._dot_held = False
        self._congested = False
        self._backlog = 0
        self._reset = False
        self._over = False
        self._throttled = False
        self._parked = False
        self._stale = False  # unheard since it was parked: whatever happens now is not the message's doing
        self._served = 0
        transport.set_write_buffer_limits(high=_LARGE + _LINE_LIMIT, low=0)
        self._heard = self._loop.time()
        self._patience = min(limits.command, limits.data, limits.idle)
        self._timer = self._loop.call_later(self._patience, self._tick)

    # Work in

    def wake(self) -> None:
        """Take up work, if there is any."""
        self._stale = self._parked
        self._parked = False
        self._heard = self._loop.time()
        self._next()

    def holds_only(self, work: Work) -> bool:
        """Whether nothing but this batch would suffer if the connection ended now."""
        jobs = [job for job in (self._sent, self._head) if job is not None]
        return bool(jobs) and all(job.work is work for job in jobs)

    def unsent(self, work: Work) -> Job | None:
        """The message of this batch that has only shown its envelope, if there is one. No content of a cancelled batch follows it."""
        return self._head if self._head is not None and self._head.work is work else None

    def quit(self) -> None:
        """Say good-bye (RFC 5321 4.1.1.10) and end; only between messages."""
        self._parked = False
        self._owner.leaving(self)
        self._awaiting.append(self._on_quit)
        self._transport.write(b"QUIT\r\n")
        self._heard = self._loop.time()

    def abort(self, reason: str) -> None:
        """End at once. What had left us is unknown; what had not goes back to the owner."""
        self._break(reason, tried=False)

    def _next(self) -> None:
        group = self._take()
        if group:
            self._transport.write(group)
        elif self._limits.messages and self._served >= self._limits.messages:
            self.quit()
        else:
            self._parked = True
            self._owner.parked(self)

    def _take(self) -> bytes:
        """The envelope of the next message this server can be given, as it is to be written now; empty when none waits."""
        if self._limits.messages and self._served >= self._limits.messages:
            return b""
        while job := self._owner.next_job():
            eightbit = not job.email.raw.isascii()
            impossible = refusal(job.email, self._features, eightbit=eightbit)
            if impossible is None:
                return self._begin(job, envelope(job, self._features, eightbit=eightbit))
            job.settle(impossible)
        return b""

    def _begin(self, job: Job, group: bytes) -> bytes:
        self._head = job
        self._served += 1
        reset, self._reset = self._reset, False
        if self._features.pipelining:
            if reset:
                self._awaiting.append(self._on_reset)
            self._awaiting.append(self._on_mail)
            self._awaiting.extend([self._on_recipient] * len(job.recipients))
            self._awaiting.append(self._on_data)
            return b"RSET\r\n" + group if reset else group
        self._unsent.extend(group.splitlines(keepends=True))
        self._awaiting.append(self._on_reset if reset else self._on_mail)
        return b"RSET\r\n" if reset else self._unsent.popleft()

    # Answers out

    def data_received(self, data: bytes) -> None:
        """Give each whole answer to the command it belongs to, in the order of the commands."""
        lines = (self._tail + data if self._tail else data).split(b"\n")
        self._tail = lines.pop()
        self._heard = self._loop.time()
        for line in lines:
            if line[3:4] == b"-":
                self._more.append(line)
            elif self._awaiting:
                self._awaiting.popleft()(line)
                self._more.clear()
                self._stale = False
            else:
                self._break(f"the mail server said, unasked: {_shown(line)}", tried=False)
            if self._over:
                return
        if len(self._tail) > _LINE_LIMIT or len(self._more) > _LINES_LIMIT:
            self._break("the mail server's answer has no end", tried=True)

    def _refusing(self, line: bytes) -> Reply | None:
        """The whole answer, unless it ends the connection: 421 anywhere, or no SMTP at all."""
        reply = read_reply([*self._more, line])
        if reply is None or 300 <= reply.code < 400:
            self._break(f"the mail server answered with something that makes no sense: {_shown(line)}", tried=True)
            return None
        if reply.code == 421:
            self._throttled = True
            self._break(f"the mail server closed the connection: {reply}", tried=True)
            return None
        return reply

    def _on_mail(self, line: bytes) -> None:
        if line[:3] != b"250":
            reply = self._refusing(line)
            if reply is None or self._head is None:
                return
            if not reply.ok:
                self._head.mail = reply
                if self._unsent:
                    self._unsent.clear()
                    self._give_up(reset=False)
                    return
        if self._unsent:
            self._step(self._on_recipient)

    def _on_recipient(self, line: bytes) -> None:
        job = self._head
        if job is None:
            return
        job.asked += 1
        if line[:3] == b"250":
            job.taken += 1
        elif not self._recipient_refused(job, line):
            return
        if self._unsent and job.asked < len(job.recipients):
            self._step(self._on_recipient)
        elif self._unsent and job.taken:
            self._step(self._on_data)
        elif self._unsent:
            self._unsent.clear()
            self._give_up(reset=True)

    def _recipient_refused(self, job: Job, line: bytes) -> bool:
        reply = self._refusing(line)
        if reply is None:
            return False
        address = job.recipients[job.asked - 1]
        if reply.ok:
            job.taken += 1
        elif effect(reply)[0] == "split" and job.taken:
            job.later.append(address)
        else:
            job.refusals.append((address, reply))
        return True

    def _on_data(self, line: bytes) -> None:
        job = self._head
        if job is None:
            return
        if line[:3] == b"354":
            if job.work.cancelled:
                self._break("cancelled", tried=False)
            elif job.taken and job.mail is None:
                self._send_content(job)
            else:
                self._send_nothing(job)
            return
        reply = self._refusing(line)
        if reply is None:
            return
        if reply.code < 400:
            self._break(f"the mail server answered DATA with {reply}", tried=True)
            return
        if job.taken and job.mail is None:
            job.mail = reply
        self._give_up(reset=True)

    def _on_dot(self, line: bytes) -> None:
        job = self._sent
        if job is None:
            return
        if line[:3] == b"250":
            self._sent = None
            self._taken(job, queue_id(line if not self._more else b" ".join([*self._more, line])))
        else:
            reply = read_reply([*self._more, line])
            if reply is None or 300 <= reply.code < 400:
                self._break(f"the mail server answered the message with something that makes no sense: {_shown(line)}", tried=True)
                return
            self._sent = None
            self._owner.progressed()
            self._answered(job, reply)
            if reply.code == 421:
                self._throttled = True
                self._break(f"the mail server closed the connection: {reply}", tried=False)
        if self._head is None and not self._over:
            self._next()

    def _on_void(self, line: bytes) -> None:
        """The answer to a dot without recipients tells nothing."""
        if self._refusing(line) is not None and self._head is None:
            self._next()

    def _on_reset(self, line: bytes) -> None:
        if self._refusing(line) is not None and self._unsent:
            self._step(self._on_mail)

    def _on_quit(self, _line: bytes) -> None:
        self._break("closed", tried=False)

    # What one message comes to

    def _step(self, answer: Callable[[bytes], None]) -> None:
        self._awaiting.append(answer)
        self._transport.write(self._unsent.popleft())

    def _send_content(self, job: Job) -> None:
        self._head, self._sent = None, job
        self._awaiting.append(self._on_dot)
        content = dot_stuffed(job.email.raw)
        if len(content) < _LARGE:
            self._transport.write(content + b".\r\n" + self._ahead())
            return
        self._dot_held = True
        self._transport.write(content)
        if not self._congested:
            self._release_dot()

    def _release_dot(self) -> None:
        self._dot_held = False
        self._heard = self._loop.time()
        self._transport.write(b".\r\n" + self._ahead())

    def _send_nothing(self, job: Job) -> None:
        """DATA was let through although no recipient was: a lone dot ends it (RFC 2920 3.1)."""
        self._head = None
        self._awaiting.append(self._on_void)
        self._turned_down(job)
        if not self._over:
            self._transport.write(b".\r\n" + self._ahead())

    def _ahead(self) -> bytes:
        return self._take() if self._features.pipelining else b""

    def _give_up(self, *, reset: bool) -> None:
        """The head's transaction ended before its content; what MAIL opened has to be closed before the next (RFC 5321 4.1.4)."""
        job, self._head = self._head, None
        self._reset = reset and job is not None and (job.mail is None or job.taken > 0)
        if job is not None:
            self._turned_down(job)
        if self._sent is None and not self._over:
            self._next()

    def _turned_down(self, job: Job) -> None:
        self._owner.progressed()
        if job.mail is not None:
            self._answered(job, job.mail)
            return
        outcome = outcome_of_recipients(job.refusals)
        job.settle(outcome)
        if outcome.kind == "paused":
            self._owner.blocked(outcome)

    def _answered(self, job: Job, reply: Reply) -> None:
        if reply.ok:
            self._taken(job, "")
            return
        outcome = outcome_of(reply)
        job.settle(outcome)
        if outcome.kind == "paused":
            self._owner.blocked(outcome)

    def _taken(self, job: Job, provider_id: str) -> None:
        self._owner.progressed()
        if not job.refusals and not job.later and job.provider_id is None:
            job.settle(accepted(provider_id))
            return
        job.rejected += tuple((address, str(reply)) for address, reply in job.refusals)
        job.nobody += nobody(job.refusals)
        job.provider_id = job.provider_id or provider_id
        if job.later:
            job.recipients = tuple(job.later)
            self._owner.returned(job, "", tried=False)
        else:
            job.settle(accepted(job.provider_id, job.rejected, job.nobody))

    # The connection itself

    def pause_writing(self) -> None:
        """More is on its way than the kernel takes."""
        self._congested = True

    def resume_writing(self) -> None:
        """All is with the kernel: now a large content may be closed."""
        self._congested = False
        if self._dot_held and not self._over:
            self._release_dot()

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer, the network or we ended it."""
        self._break(f"the connection to the mail server was lost{f': {exc}' if exc else ''}", tried=True)
        if not self.closed.done():
            self.closed.set_result(None)

    def _tick(self) -> None:
        quiet = self._loop.time() - self._heard
        patience = self._limits.idle if self._parked else self._limits.data if self._sent else self._limits.command
        if self._dot_held and (backlog := self._transport.get_write_buffer_size()) != self._backlog:
            self._backlog, self._heard, quiet = backlog, self._loop.time(), 0.0
        if quiet < patience:
            self._timer = self._loop.call_later(min(patience - quiet, self._patience), self._tick)
        elif self._parked:
            self._timer = self._loop.call_later(self._patience, self._tick)
            self.quit()
        else:
            self._break(f"no answer from the mail server within {patience:g} s", tried=True)

    def _break(self, reason: str, *, tried: bool) -> None:
        """End the connection, deciding for each message it holds which of its bytes may have left."""
        if self._over:
            return
        self._over = True
        self._timer.cancel()
        self._transport.abort()
        self._awaiting.clear()
        sent, self._sent = self._sent, None
        head, self._head = self._head, None
        tried = tried and not self._stale
        if sent is not None and self._dot_held:
            self._owner.returned(sent, reason, tried=tried)
        elif sent is not None:
            sent.settle(unknown(f"{reason}, after the whole message had been sent"))
        if head is not None:
            self._owner.returned(head, reason, tried=tried and sent is None)
        self._owner.lost(self, reason, barren=tried and (sent is not None or head is not None), throttled=self._throttled)


def _shown(line: bytes) -> str:
    return repr(line[:80].decode("ascii", "replace").strip())
