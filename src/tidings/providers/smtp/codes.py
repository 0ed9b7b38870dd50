"""What an SMTP server's answer means for the message it was about: pure tables and rules, no socket."""

import re
from collections.abc import Iterable
from typing import Literal

import msgspec

from tidings.message.outgoing import Ban, Outcome, deferred, paused, refused

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE

Effect = Literal["deferred", "refused", "paused", "split"]

_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s+|$)")
_QUEUED_AS = re.compile(
    rb"queued as <?([^\s<>()]+)"  # Postfix and most that descend from it
    rb"|\bid=([^\s\]]+)"  # Exim
    rb"|^250[ -](?:2\.\d\.\d )?ok:?\s+(?:id=)?(\S*\d\S*)"  # Amazon SES, Gmail
    rb"|^250[ -](?:2\.\d\.\d )?(\S*\d\S*) message accepted",  # Sendmail
    re.I,
)
_WAIT = re.compile(r"\b(?:in|after|for|within|wait)\s+(\d{1,5})\s*(s|sec|second|m|min|minute|h|hour)s?\b", re.I)
_UNITS = {"s": SECOND, "m": MINUTE, "h": HOUR}
_REASON_LENGTH = 300


class Reply(msgspec.Struct, frozen=True, gc=False):
    """One whole answer: `code` as in RFC 5321 4.2, `enhanced` as in RFC 3463 (empty when none came), `text` on one line."""

    code: int
    enhanced: str
    text: str

    @property
    def ok(self) -> bool:
        """Whether the command was done (2yz)."""
        return 200 <= self.code < 300

    def __str__(self) -> str:
        """The sentence people are shown: code, status and the server's own words."""
        return " ".join(part for part in (str(self.code), self.enhanced, self.text) if part)


def read_reply(lines: list[bytes]) -> Reply | None:
    """Put the lines of one answer together; None when they are no SMTP answer at all."""
    last = lines[-1]
    if last[:1] not in (b"2", b"3", b"4", b"5") or not last[:3].isdigit() or last[3:4] not in (b" ", b"", b"\r", b"-"):
        return None
    if any(line[:3] != last[:3] for line in lines):
        return None
    return reply_of(int(last[:3]), "\n".join(line[4:].decode("utf-8", "replace") for line in lines))


def reply_of(code: int, message: str) -> Reply:
    """A reply from its code and text; a status repeated on every line is kept once."""
    texts = [line.strip() for line in message.split("\n")]
    found = _ENHANCED.match(texts[0])
    texts = [_ENHANCED.sub("", text, count=1) if _ENHANCED.match(text) else text for text in texts]
    text = " ".join("".join(c if c.isprintable() else " " for c in " ".join(texts)).split())
    return Reply(code, found[1] if found else "", text[:_REASON_LENGTH])


def queue_id(line: bytes) -> str:
    """The server's own name for a message it took, from its line after the end of data; empty when it tells none."""
    found = _QUEUED_AS.search(line)
    return found[found.lastindex or 0].rstrip(b".,;)").decode("ascii", "replace") if found else ""


# Enhanced codes: https://www.rfc-editor.org/rfc/rfc3463 and https://www.iana.org/assignments/smtp-enhanced-status-codes/
# Servers without them leave the basic code (https://www.rfc-editor.org/rfc/rfc5321#section-4.2.3); this is as much as it tells.
_STATUS_OF_BASIC = {
    421: "4.3.2", 450: "4.2.0", 451: "4.3.0", 452: "4.3.1", 455: "4.5.4",
    500: "5.5.2", 501: "5.5.4", 502: "5.5.1", 503: "5.5.1", 504: "5.5.4", 521: "5.3.2",
    530: "5.7.0", 534: "5.7.9", 535: "5.7.8", 538: "5.7.11",
    550: "5.1.0", 551: "5.1.6", 552: "5.2.2", 553: "5.1.3", 554: "5.0.0", 555: "5.5.4", 556: "5.1.10",
}  # fmt: skip


class _Quirk(msgspec.Struct, frozen=True):
    """One row: the first whose basic codes (none: any), status and words all match decides."""

    codes: tuple[int, ...]
    status: str
    words: str
    effect: Effect
    retry_after: int | None = None


# Answers whose first digit says less than is known of them. Most speak of us, not of the recipient: those stop the provider
# and cost no message an attempt.
# AUTH: https://www.rfc-editor.org/rfc/rfc4954#section-6 · too many recipients: https://www.rfc-editor.org/rfc/rfc5321#section-4.5.3.1.10
# Amazon SES: https://docs.aws.amazon.com/ses/latest/dg/troubleshoot-smtp.html · Gmail: https://support.google.com/a/answer/3726730
# Exchange Online: https://learn.microsoft.com/exchange/mail-flow-best-practices/non-delivery-reports-in-exchange-online/
_QUIRKS = (
    _Quirk((530, 534, 535, 538), "", "", "paused"),
    _Quirk((550, 554), r"5\.7\.(0|3|8|9|57)$", r"authenticat|credential|log ?in", "paused"),
    _Quirk((454,), r"4\.7\.0$", r"authenticat", "paused", 5 * MINUTE),
    _Quirk((454,), "", r"daily message quota", "paused", HOUR),
    _Quirk((454,), "", r"throttl|sending rate", "deferred", 5 * SECOND),
    _Quirk((550,), r"5\.4\.5$", "", "paused", HOUR),
    _Quirk((554,), "", r"sending (is )?paused|account (is )?(suspended|disabled)", "paused", HOUR),
    _Quirk((452,), r"4\.5\.3$", "", "split"),
    _Quirk((452, 552), r"$", r"too many recipients", "split"),
    _Quirk((552,), r"5\.5\.3$", "", "split"),
    _Quirk((), r"4\.7\.", "", "deferred", 5 * MINUTE),
    _Quirk((450, 451), "", r"gr[ae]y-?list|rate limit|too (many|fast)|throttl", "deferred", 5 * MINUTE),
)


# There is no such mailbox, no such domain, no such address, it has moved without saying where, or the domain takes no mail.
# A bare 550 may as well be about us, so it says nothing of the address.
_NOBODY = frozenset({"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10"})
_ABOUT_SENDER = re.compile(r"\bsender\b", re.I)


def effect(reply: Reply) -> tuple[Effect, int | None]:
    """What a refusing answer does to the message, and after how many milliseconds to come back (None: the server did not say)."""
    for quirk in _QUIRKS:
        if (not quirk.codes or reply.code in quirk.codes) and _fits(quirk, reply):
            return quirk.effect, _asked_to_wait(reply.text) or quirk.retry_after
    return ("deferred" if 400 <= reply.code < 500 else "refused"), _asked_to_wait(reply.text)


def _fits(quirk: _Quirk, reply: Reply) -> bool:
    if quirk.status and not re.match(quirk.status, reply.enhanced):
        return False
    return not quirk.words or re.search(quirk.words, reply.text, re.I) is not None


def _asked_to_wait(text: str) -> int | None:
    found = _WAIT.search(text)
    return int(found[1]) * _UNITS[found[2][0].lower()] if found else None


def outcome_of(reply: Reply) -> Outcome:
    """The outcome for a message that the server turned down with this answer (4yz or 5yz), at whatever command."""
    what, retry_after = effect(reply)
    if what == "paused":
        return paused(f"the mail server does not let us send: {reply}", retry_after)
    status = reply.enhanced or _STATUS_OF_BASIC.get(reply.code, f"{reply.code // 100}.0.0")
    if what == "refused":
        return refused(str(reply), status)
    return deferred(str(reply), status, retry_after)


def outcome_of_recipients(refusals: list[tuple[str, Reply]]) -> Outcome:
    """The outcome when no recipient was taken: final only if every refusal is; a word about us counts before all."""
    outcomes = [outcome_of(reply) for _, reply in refusals]
    for kind in ("paused", "deferred"):
        matching = [outcome for outcome in outcomes if outcome.kind == kind]
        if matching:
            return max(matching, key=lambda outcome: outcome.retry_after or 0)
    reasons = "; ".join(f"{address}: {reply}" for address, reply in refusals) if len(refusals) > 1 else outcomes[0].reason
    return refused(reasons, outcomes[0].code, nobody(refusals))


def nobody(refusals: Iterable[tuple[str, Reply]]) -> tuple[tuple[str, Ban], ...]:
    """Those of the refused recipients that no mail will ever reach, as `Outcome.suppress` has them."""
    return tuple((address, "bounced") for address, reply in refusals if _is_nobody(reply))


def _is_nobody(reply: Reply) -> bool:
    return reply.code >= 500 and reply.enhanced in _NOBODY and not _ABOUT_SENDER.search(reply.text)
