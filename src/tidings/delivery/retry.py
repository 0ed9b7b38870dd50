"""When a message is tried again, and when it is given up: pure rules, no clock, no store."""

import msgspec

from tidings import clock
from tidings.domain.communications import HELD, Due, Settled
from tidings.message.outgoing import Outcome

DELAYS = (
    clock.MINUTE,
    5 * clock.MINUTE,
    15 * clock.MINUTE,
    clock.HOUR,
    2 * clock.HOUR,
    4 * clock.HOUR,
    8 * clock.HOUR,
    8 * clock.HOUR,
    16 * clock.HOUR,
)
"""How long to wait after the first, second, … attempt: about two days in all, as RFC 5321 4.5.4.1 has mailers do (four to five days are its most)."""

PAUSE = 15 * clock.SECOND
"""How long a provider that cannot work is left alone when it does not say so itself."""


def settled(due: Due, outcome: Outcome, *, hold_unknown: bool, now: int) -> Settled:
    """What an outcome makes of a message. `hold_unknown` is the tenant's rule for messages that may have gone out."""
    result = _judged(due, outcome, hold_unknown=hold_unknown, now=now)
    if not outcome.suppress:
        return result
    words = dict(outcome.rejected)
    suppress = tuple((address, why, plain(words.get(address, outcome.reason))) for address, why in outcome.suppress)
    return msgspec.structs.replace(result, suppress=suppress)


def _judged(due: Due, outcome: Outcome, *, hold_unknown: bool, now: int) -> Settled:
    reason, code = plain(_sentence(outcome)), plain(outcome.code) or None
    match outcome.kind:
        case "accepted":
            lost = "; ".join(f"{address}: {why}" for address, why in outcome.rejected)
            partly = [*_left_out(due), *([f"Refused for some recipients: {lost}"] if lost else [])]
            return Settled(
                due.id,
                "sent",
                error=plain("; ".join(partly)) or None,
                provider_message_id=plain(outcome.provider_id) or None,
            )
        case "refused":
            return Settled(due.id, "failed", error=reason, error_code=code)
        case "paused":
            return Settled(due.id, "pending", due_at=now + (outcome.retry_after or PAUSE), error=reason, refund=1)
        case "untried":
            return Settled(due.id, "pending", due_at=now, refund=1)
        case "unknown":
            return _unknown(due, reason, hold=hold_unknown, now=now)
        case "deferred":
            return _deferred(due, outcome, reason, code, now=now)


def _left_out(due: Due) -> list[str]:
    """Who of several was not written to though the others were, as it is recorded."""
    if '"skip"' not in due.recipients:
        return []
    skipped = msgspec.json.decode(due.recipients, type=dict[str, list[str]]).get("skip", [])
    return [f"{address} must not be written to" for address in skipped]


def plain(text: str) -> str:
    """What somebody else said, as every database can keep it: no NUL, no lone surrogates. A batch must not be lost for one of them."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def _sentence(outcome: Outcome) -> str:
    return f"{outcome.reason} ({outcome.code})" if outcome.code and outcome.code not in outcome.reason else outcome.reason


def _unknown(due: Due, reason: str, *, hold: bool, now: int) -> Settled:
    if hold:
        return Settled(due.id, "unknown", due_at=HELD, error=reason)
    if due.attempts > len(DELAYS):
        return Settled(due.id, "failed", error=f"Given up after {due.attempts} attempts: {reason}")
    return Settled(due.id, "unknown", due_at=now + DELAYS[max(due.attempts - 1, 0)], error=reason)


def _deferred(due: Due, outcome: Outcome, reason: str, code: str | None, *, now: int) -> Settled:
    if due.attempts > len(DELAYS):
        return Settled(due.id, "failed", error=f"Given up after {due.attempts} attempts: {reason}", error_code=code)
    # a provider that says when knows better than our table
    wait = outcome.retry_after or DELAYS[max(due.attempts - 1, 0)]
    return Settled(due.id, "pending", due_at=now + wait, error=reason, error_code=code)
