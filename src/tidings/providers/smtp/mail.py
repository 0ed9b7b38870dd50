"""One message as an SMTP transaction sees it: its envelope, its content, who is still to be served, and its one report."""

import asyncio
import re
from collections import deque

import msgspec

from tidings.message.outgoing import Ban, Email, Outcome, accepted, refused
from tidings.providers.base import Report
from tidings.providers.smtp.codes import Reply

_DOT_LINE = re.compile(rb"\n\.")
_UNSAFE = re.compile(r"[\x00-\x20\x7f<>]")


class Features(msgspec.Struct, frozen=True):
    """What the server offered in EHLO. `size` is its limit in bytes: None when SIZE is not offered, 0 when it names no limit."""

    pipelining: bool = False
    eightbit: bool = False
    utf8: bool = False
    size: int | None = None


class Work:
    """One batch on its way: what waits, how many are not settled, and the news for its `send`."""

    __slots__ = ("_bug", "_news", "_told", "cancelled", "left", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[Job] = deque()
        self.left = 0
        self.cancelled = False
        self._told: list[tuple[int, Outcome]] = []
        self._news: asyncio.Future[None] | None = None
        self._bug: BaseException | None = None

    def tell(self, communication_id: int, outcome: Outcome) -> None:
        """Note one outcome, from whatever connection it came."""
        self.left -= 1
        self._told.append((communication_id, outcome))
        self._wake()

    def fail(self, bug: BaseException) -> None:
        """Let `follow` raise; messages not yet settled stay unreported."""
        self._bug = bug
        self._wake()

    async def follow(self, report: Report) -> None:
        """Report every outcome as it comes, until all are. What `report` raises is raised here and harms no connection."""
        try:
            while self.left and self._bug is None:
                self._news = asyncio.get_running_loop().create_future()
                if not self._told:
                    await self._news
                self.pass_on(report)
        finally:
            self.pass_on(report)
        if self._bug is not None:
            raise self._bug

    def pass_on(self, report: Report) -> None:
        """Report what has been noted since the last time."""
        told, self._told = self._told, []
        for communication_id, outcome in told:
            report(communication_id, outcome)

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)


class Job:
    """One message of a batch, and what the server has said of it so far."""

    __slots__ = ("asked", "email", "later", "mail", "nobody", "provider_id", "recipients", "refusals", "rejected", "taken", "tries", "work")

    def __init__(self, email: Email, work: Work) -> None:
        self.email = email
        self.work = work
        self.recipients = email.recipients
        self.tries = 0
        self.provider_id: str | None = None  # set once a first part of its recipients has been served
        self.rejected: tuple[tuple[str, str], ...] = ()
        self.nobody: tuple[tuple[str, Ban], ...] = ()
        self.restart()

    def restart(self) -> None:
        """Forget what one transaction brought; what was already delivered stays."""
        self.asked = 0
        self.taken = 0
        self.mail: Reply | None = None
        self.refusals: list[tuple[str, Reply]] = []
        self.later: list[str] = []

    def settle(self, outcome: Outcome) -> None:
        """Report it, once. A message that already reached some of its recipients is accepted, whatever became of the rest.

        Of a batch that was cancelled all that is told is what never went out.
        """
        work = self.work
        if work.cancelled and outcome.kind != "untried":
            return
        if self.provider_id is not None and outcome.kind != "accepted":
            rest = tuple((address, outcome.reason or "not tried: sending was stopped") for address in self.recipients)
            outcome = accepted(self.provider_id, self.rejected + rest, self.nobody + outcome.suppress)
        work.tell(self.email.communication_id, outcome)


def dot_stuffed(raw: bytes) -> bytes:
    """Content as RFC 5321 4.5.2 wants it, ending in CRLF, without the end-of-data dot.

    A dot after a bare LF is doubled too: servers that take a bare LF for a line end must not find an end of data inside.
    """
    if _DOT_LINE.search(raw):
        raw = _DOT_LINE.sub(b"\n..", raw)
    if raw[:1] == b".":
        raw = b"." + raw
    return raw if raw[-2:] == b"\r\n" else raw + b"\r\n"


def refusal(email: Email, features: Features, *, eightbit: bool) -> Outcome | None:
    """Why this server cannot be given this message at all; None when it can."""
    if features.size and len(email.raw) > features.size:
        return refused(f"message of {len(email.raw)} bytes, the mail server takes at most {features.size}", "5.3.4")
    if email.utf8 and not features.utf8:
        return refused("the message needs SMTPUTF8, which the mail server does not offer", "5.6.7")
    if eightbit and not features.eightbit:
        return refused("the message has 8-bit content, and the mail server does not offer 8BITMIME", "5.6.3")
    if not email.recipients:
        return refused("the message has no recipients", "5.5.4")
    for address in (email.envelope_from, *email.recipients):
        if _UNSAFE.search(address):
            return refused(f"{address!r} cannot be written in an SMTP command", "5.1.3")
        if not email.utf8 and not address.isascii():
            return refused(f"{address!r} needs SMTPUTF8, and the message is not marked so", "5.6.7")
    return None


def envelope(job: Job, features: Features, *, eightbit: bool) -> bytes:
    """MAIL, one RCPT for each recipient still to be served, and DATA: one pipelining group."""
    email = job.email
    size = "" if features.size is None else f" SIZE={len(email.raw)}"
    body = " BODY=8BITMIME" if eightbit else ""
    utf8 = " SMTPUTF8" if email.utf8 else ""
    recipients = ">\r\nRCPT TO:<".join(job.recipients)
    return f"MAIL FROM:<{email.envelope_from}>{size}{body}{utf8}\r\nRCPT TO:<{recipients}>\r\nDATA\r\n".encode()
