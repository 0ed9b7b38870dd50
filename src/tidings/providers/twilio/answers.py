"""What Twilio's answers mean for a message, and its error codes for a number: https://www.twilio.com/docs/api/errors."""

from collections.abc import Mapping
from typing import Any, cast

import msgspec

from tidings.clock import MINUTE, SECOND
from tidings.message.heard import Reason
from tidings.message.outgoing import Ban, Outcome, accepted, deferred, paused, refused, unknown

# The account or the sender is at fault, and every other message would fare the same.
_OURS = frozenset(
    {
        20003,  # authentication failed
        20005,  # account not active
        20404,  # no such account
        21212,  # not a sender
        21603,  # no sender given
        21606,  # the sender is not ours, or sends no texts
        21601,
        21609,  # the callback URL is none that can be called
        21659,
        21660,
        21661,
        21701,  # no such Messaging Service
        21702,
        21703,  # it has no senders
        21704,
        21705,
        21267,  # alphanumeric senders are not for this account
        30002,  # account suspended
    }
)
# Too much at once: this sender's queue, or this account's.
_CROWDED = frozenset({14107, 20429, 21611, 30001})
# The number itself is at fault, and will be tomorrow.
_HARD = frozenset({21211, 21214, 21217, 21265, 21610, 21614, 21635, 30005, 30006})
_OPTED_OUT = 21610
# What is neither: 30003 may be switched on again, 30008 is told of without a reason.
_REASONS: dict[int, Reason] = {
    _OPTED_OUT: "unsubscribed",
    30003: "timed_out",
    30004: "blocked",
    30007: "spam",
    30034: "blocked",
}
# A status callback brings the code alone.
_WORDS = {
    21610: "the recipient has opted out of this sender",
    30001: "the queue is full",
    30002: "the account is suspended",
    30003: "the handset cannot be reached: switched off, or without coverage",
    30004: "the number is blocked, or does not take such messages",
    30005: "the number is not known or not in service",
    30006: "a landline, or a network that cannot be reached",
    30007: "filtered out by Twilio or the network",
    30008: "for a reason the network did not tell",
    30034: "the sender's number is not registered (A2P 10DLC)",
}
_LONGEST_REASON = 300


def judged(status: int, headers: Mapping[str, str], body: bytes, to: str) -> Outcome:
    """The outcome of one request for a message to the number `to`, by its HTTP answer. `headers` by lower-case name."""
    said = _object(body)
    if 200 <= status < 300:
        return _taken(said, to)
    code = _number(said.get("code"))
    reason = _sentence(status, code, said.get("message"))
    if status == 429 or code in _CROWDED:
        # not handed on, says Twilio of these, so the message loses no attempt by it
        return paused(reason, _retry_after(headers) or (SECOND if status == 429 else MINUTE))
    if status in (502, 504):
        return unknown(f"{reason}: whether the message was taken is not known")
    if status >= 500:
        return deferred(reason, str(code or status), _retry_after(headers))
    if status != 400 or code in _OURS:
        return paused(reason)
    return refused(reason, str(code or status), _suppressed(code, to))


def is_hard(code: int) -> bool:
    """Whether the number is to blame, so that nothing sent to it later would arrive either."""
    return code in _HARD


def reason_of(code: int) -> Reason:
    """Why, in the words that are the same for every carrier."""
    return _REASONS.get(code) or ("invalid" if is_hard(code) else "other")


def worded(code: int, message: str = "") -> str:
    """Why a message did not arrive, as far as one can tell."""
    known = _WORDS.get(code) or message.strip()
    return f"Twilio: {known[:_LONGEST_REASON]}" if known else "Twilio could not deliver it"


def _suppressed(code: int, to: str) -> tuple[tuple[str, Ban], ...]:
    if not is_hard(code):
        return ()
    return ((to, "unsubscribed" if code == _OPTED_OUT else "bounced"),)


def _taken(said: Mapping[str, Any], to: str) -> Outcome:
    sid = said.get("sid")
    if not isinstance(sid, str) or not sid:
        return unknown("Twilio's answer cannot be read: whether the message was taken is not known")
    if said.get("status") in ("failed", "undelivered"):
        code = _number(said.get("error_code"))
        return refused(worded(code, str(said.get("error_message") or "")), str(code or "failed"), _suppressed(code, to))
    return accepted(sid)


def _sentence(status: int, code: int, message: object) -> str:
    told = " ".join(message.split())[:_LONGEST_REASON] if isinstance(message, str) else ""
    named = f" (error {code})" if code else ""
    return f"Twilio answered {status}{named}{': ' if told else ''}{told}"


def _retry_after(headers: Mapping[str, str]) -> int | None:
    seconds = headers.get("retry-after", "").strip()
    return int(seconds) * SECOND if seconds.isascii() and seconds.isdigit() and 0 < len(seconds) < 6 else None


def _object(body: bytes) -> dict[str, Any]:
    try:
        value: object = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}


def _number(value: object) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    return value if isinstance(value, int) else 0
