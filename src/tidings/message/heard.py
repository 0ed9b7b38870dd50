"""What a carrier tells of its own accord: a text that came in, and what became of a message it took from us. In one vocabulary for all."""

import re
from typing import Literal

import msgspec

Kind = Literal["sent", "delivered", "deferred", "bounced", "failed", "complained", "opened", "clicked", "unsubscribed", "resubscribed"]
"""What happened. `sent`: the carrier has it and goes on with it. `deferred`: it tries again. `failed`: it will not even try."""
Reason = Literal["invalid", "bounced", "timed_out", "blocked", "spam", "unsubscribed", "other"]
"""Why: the address is none; it came back for another reason; nobody answered in time; policy; taken for spam, or complained of before;
the reader does not want it; anything else.
"""
_STATUS = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?![\d.])")
_SPAM = re.compile(r"\bspam|\bjunk\b|block ?list|black ?list|spamhaus|\bRBL\b|\bDNSBL\b|reputation", re.IGNORECASE)
_NOBODY = re.compile(
    r"(?:no such|unknown|invalid|non-?existent) (?:user|recipient|mailbox|address)|(?:user|mailbox|recipient|address)\W+(?:\S+\W+)?"
    r"(?:unknown|not found|does ?n[o']t exist|rejected)",
    re.IGNORECASE,
)


class Text(msgspec.Struct, frozen=True):
    """A text message that came in. `id` is the carrier's name for it; `sender` and `recipient` are in E.164 (a short code or an
    alphanumeric sender as it is); `at` is when it was taken in, in milliseconds.
    """

    id: str
    sender: str
    recipient: str
    text: str
    at: int


class Notice(msgspec.Struct, frozen=True):
    """What became of a message the carrier had accepted under the name `provider_id`, or what its reader did.

    `at` is in milliseconds. A bounce that is `hard` says that the address itself is to blame, another one may pass with time. `reason` is
    why in our words, `code` is the carrier's own (or the status of RFC 3463), `detail` what it says in full.
    `communication_id` is 0 where the carrier was not told which communication it is; `names` are what else may name it: our Message-ID or
    our id for it as the carrier was given it, unchecked. `id` is the carrier's name for this word of it, "" where it has none.
    `address` is whom it speaks of. `url`, `user_agent`, `ip` and `bot` tell of an open or a click.
    """

    provider_id: str
    kind: Kind
    at: int
    hard: bool = True
    reason: Reason | None = None
    code: str = ""
    detail: str = ""
    communication_id: int = 0
    id: str = ""
    address: str = ""
    names: tuple[str, ...] = ()
    url: str = ""
    user_agent: str = ""
    ip: str = ""
    bot: bool = False


def status_in(text: str) -> str:
    """The first enhanced status code (RFC 3463) in a server's answer, "" when there is none."""
    found = _STATUS.search(text)
    return found.group() if found else ""


def reason_of(status: str, words: str, *, hard: bool) -> Reason:
    """Why a message came back, by its status (RFC 3463) and the server's words. `hard`: the address is known to be to blame."""
    found = _STATUS.fullmatch(status)
    subject = found[2] if found else ""
    if subject == "7" or (not hard and _SPAM.search(words)):
        return "spam" if _SPAM.search(words) else "invalid" if hard and _NOBODY.search(words) else "blocked"
    if subject == "4" and not hard:
        return "timed_out"
    if (subject == "1" and found is not None and found[3] in ("0", "1", "2", "3", "6", "10")) or (hard and _NOBODY.search(words)):
        return "invalid"
    return "bounced"
