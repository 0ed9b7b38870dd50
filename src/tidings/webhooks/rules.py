"""When a delivery is tried again, when an endpoint is left alone, and when it is switched off: pure rules, no clock, no store.

The delays are the example of the Standard Webhooks 1.0, section "Deliverability and reliability".
"""

from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple

import msgspec

from tidings.clock import DAY, HOUR, MINUTE, SECOND
from tidings.domain.endpoints import Due, Endpoint, Health, Settled

DELAYS: Final = (
    5 * SECOND,
    5 * MINUTE,
    30 * MINUTE,
    2 * HOUR,
    5 * HOUR,
    10 * HOUR,
    14 * HOUR,
    20 * HOUR,
    24 * HOUR,
)
"""How long to wait after the first, second, … attempt; there is one attempt more than there are delays."""
JITTER: Final = 0.1
"""By how much of it a delay is lengthened at most: what failed together does not come back together."""
REST, LONGEST_REST = 5 * SECOND, 10 * MINUTE
"""How long an endpoint is left alone after a round of nothing but failures, twice as long after each further one."""
LONGEST_ASKED: Final = DAY
"""As long as an endpoint may ask for by Retry-After."""
PATIENCE: Final = 5 * DAY
"""After so long with nothing but failures an endpoint is switched off."""
GONE: Final = 410
_LATER: Final = (429, 503)
_REMEMBERED = 20
"""Attempts a log holds; more than ten there are only after replays."""


class Answer(NamedTuple):
    """What came back: a status, or an `error` why none did. `body` is the beginning of it, `ms` how long it took, `after` its Retry-After."""

    status: int | None
    error: str | None
    ms: int
    body: str = ""
    after: str | None = None

    @property
    def taken(self) -> bool:
        """Whether the endpoint has it now."""
        return self.status is not None and 200 <= self.status <= 299

    @property
    def fault(self) -> str:
        """What is wrong with it, as a sentence without its stop."""
        if self.status is None:
            return self.error or "There was no answer"
        if 300 <= self.status <= 399:
            return f"The answer was {self.status}, and redirects are not followed"
        return f"The answer was {self.status}"


class Attempt(msgspec.Struct, frozen=True, omit_defaults=True):
    """An entry of a delivery's log."""

    at: int
    ms: int
    status: int | None = None
    error: str | None = None
    answer: str = ""


class Result(NamedTuple):
    """A delivery that was tried, when, and what came back."""

    due: Due
    at: int
    answer: Answer


def settled(result: Result, *, now: int, jitter: float) -> Settled:
    """What an attempt makes of a delivery. `jitter` is a random number from 0 to 1."""
    due, answer = result.due, result.answer
    attempts = due.attempts + 1
    log = _logged(due.log, Attempt(result.at, answer.ms, answer.status, None if answer.taken else answer.fault, answer.body))
    if answer.taken:
        return Settled(due.id, due.communication_id, "delivered", None, attempts, None, log, due.data)
    if attempts > len(DELAYS):
        error = f"Given up after {attempts} attempts: {answer.fault}"
        return Settled(due.id, due.communication_id, "failed", None, attempts, error, log, due.data)
    asked = asked_for(answer, now)
    wait = round(DELAYS[attempts - 1] * (1 + JITTER * jitter)) if asked is None else max(asked, REST)
    return Settled(due.id, due.communication_id, "waiting", now + wait, attempts, answer.fault, log, due.data)


def tested(result: Result) -> Settled:
    """What an attempt makes of a test, which is not tried again."""
    due, answer = result.due, result.answer
    fault = None if answer.taken else answer.fault
    log = _logged(due.log, Attempt(result.at, answer.ms, answer.status, fault, answer.body))
    return Settled(due.id, None, "delivered" if answer.taken else "failed", None, 1, fault, log, due.data)


def passed_by(due: Due) -> Settled:
    """What becomes of a delivery that tells of something deleted, or somebody erased: nobody is told, and what was kept of it is forgotten."""
    return Settled(due.id, due.communication_id, "failed", None, due.attempts, "What this tells of has been deleted", due.log, "{}")


def health(endpoint: Endpoint, answers: Sequence[Answer], *, now: int) -> Health:
    """What a round makes of the endpoint it was sent to."""
    if not answers:
        return Health(endpoint.failures, endpoint.failing_since, endpoint.rest_until, endpoint.error, None)
    pauses = [asked for answer in answers if (asked := asked_for(answer, now)) is not None]
    rest = now + max(pauses) if pauses else None
    gone = "It answered 410: it is gone for good" if any(answer.status == GONE for answer in answers) else None
    if any(answer.taken for answer in answers):
        return Health(0, None, rest, None, now, gone)
    failures, since, fault = endpoint.failures + 1, endpoint.failing_since, answers[-1].fault
    since = now if since is None else since
    lazy = now + min(REST << min(failures - 1, 20), LONGEST_REST)
    why = gone or (f"Nothing but failures for {PATIENCE // DAY} days; the last: {fault}" if now - since >= PATIENCE else None)
    return Health(failures, since, max(rest or 0, lazy), fault, None, why)


def asked_for(answer: Answer, now: int) -> int | None:
    """How many milliseconds an endpoint asks to be left alone by Retry-After (RFC 9110, section 10.2.3), LONGEST_ASKED at most.

    None when it does not ask, or in no way one could understand.
    """
    if answer.after is None or answer.status not in _LATER:
        return None
    text = answer.after.strip()
    if text.isascii() and text.isdigit():
        # int() refuses thousands of digits
        return min(int(text[:10]) * SECOND, LONGEST_ASKED)
    try:
        then = parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None
    return min(max(round(then * SECOND) - now, 0), LONGEST_ASKED)


def _logged(log: str, attempt: Attempt) -> str:
    known = msgspec.json.decode(log, type=list[Attempt])
    return msgspec.json.encode([*known, attempt][-_REMEMBERED:]).decode()
