"""Mail that came back: delivery status notifications (RFC 3464), and the older letters of qmail, Exim, Exchange and their like."""

import re

import msgspec

from tidings.inbound.phrases import REPLY_SUBJECT
from tidings.inbound.reports import Fields, field, fields, of_kind, original_id
from tidings.message import incoming_headers
from tidings.message.incoming import Incoming


class Failed(msgspec.Struct, frozen=True):
    """One recipient our mail did not reach. `status` is the RFC 3463 code, "" where none is known; `reason` the server's own words.

    `hard` when nothing written to this address will ever arrive; not so when the mailbox is full, or the mail was too large or
    not liked: the next one may be taken. `action` is the report's word (RFC 3464, section 2.3.3); "failed" in letters without one.
    """

    address: str
    status: str
    action: str
    reason: str
    hard: bool


class Bounce(msgspec.Struct, frozen=True):
    """A report of failure. `message_id` is that of our mail, in brackets, where the report tells it."""

    recipients: tuple[Failed, ...]
    message_id: str | None


_MOST = 1000
_REASON_LENGTH = 500
_STATUS = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?![\d.])")
_REPLY_CODE = re.compile(r"(?<![\d.])([45])[0-5]\d(?=[\s-])(?!\.)")
_ADDRESS = r"[^\s<>\"(),:;@\[\]]{1,64}@[A-Za-z0-9][A-Za-z0-9.-]{1,250}[A-Za-z0-9]"
_BRACKETED = re.compile(rf"<({_ADDRESS})>")
_QMAIL = re.compile(rf"^[ \t]*<({_ADDRESS})>:?[ \t]*\n?", re.MULTILINE)
_INDENTED = re.compile(rf"^[ \t]{{1,12}}<?({_ADDRESS})>?:?[ \t]*(?:\(.{{0,200}}\)[ \t]*)?$", re.MULTILINE)
_ANY = re.compile(_ADDRESS)
_DAEMON = re.compile(
    r"(?:mailer-?daemon|postmaster|mail-?delivery(?:-subsystem)?|microsoftexchange[0-9a-f]*|bounces?|mail\.?daemon)(?:@|$)", re.IGNORECASE
)
_DAEMON_NAME = re.compile(r"mail(?:er)?[ -]?(?:delivery|daemon)|system administrator|postmaster", re.IGNORECASE)
_SUBJECT = re.compile(
    r"""undeliver(?:able|ed)|failure\ notice|delivery\ (?:status\ notification|(?:has\ )?fail)|mail\ delivery\ (?:failed|failure)|
    returned\ mail|non[- ]?delivery|unzustellbar|nicht\ zugestellt|non\ remis|echec\ de\ (?:remise|livraison)|
    no\ se\ (?:puede|pudo)\ entregar|onbestelbaar|mancato\ recapito|could\ not\ be\ delivered""",
    re.IGNORECASE | re.VERBOSE,
)
_LATER = re.compile(
    r"\bdelay(?:ed)?\b|will (?:keep|be) (?:trying|retried)|temporar(?:y|ily)[^.\n]{0,60}(?:retry|again)|\(delay\)|warning: message",
    re.IGNORECASE,
)
_COPY = re.compile(
    r"^(?:--.{0,160}(?:copy of the message|original message|returned message|original headers?|headers of the|undelivered).{0,80}|"
    r"(?:original message headers|message header|diagnostic information for administrators)\b.*|----.*----[ \t]*)$",
    re.IGNORECASE | re.MULTILINE,
)
_NO_SUCH = re.compile(
    r"""(?:user|recipient|mailbox|address|account)[^.\n]{0,40}?(?:unknown|not\ found|does(?:\ not|n't)\ exist|invalid|disabled|inactive|
    no\ longer)|(?:unknown|no\ such|invalid|nonexistent)\ (?:user|recipient|mailbox|address|account|local\ part)|
    no\ mailbox\ (?:here\ )?by\ that\ name|unrouteable\ address|host\ (?:or\ domain\ name\ )?not\ found|unbekannt""",
    re.IGNORECASE | re.VERBOSE,
)
_PASSING = frozenset({("2", "2"), ("2", "3"), ("3", "1"), ("3", "4")})
"""5.2.2 mailbox full, 5.2.3 and 5.3.4 too large, 5.3.1 the server is full."""
_FULL = re.compile(r"over ?quota|quota exceeded|mailbox (?:is )?full|exceeded storage|insufficient (?:system )?storage", re.IGNORECASE)


def bounce(mail: Incoming) -> Bounce | None:
    """What a report of failure says; None when `mail` is none. Without recipients: all it reports is delay or success."""
    report = of_kind(mail, "message/delivery-status", "message/global-delivery-status")
    if report is not None:
        groups = fields(report.content)
        failed = [one for one in map(_reported, groups) if one is not None]
        if failed:
            return Bounce(tuple(failed[:_MOST]), original_id(mail)[0])
        if any(field(group, "action") for group in groups):
            return Bounce((), None)
    return _letter(mail)


def is_hard(status: str, reason: str) -> bool:
    """Whether a failure speaks of the address for good: 5.x.x, but for what is full, too large, or a matter of content and policy."""
    found = _STATUS.fullmatch(status)
    if found is None or found[1] != "5" or _FULL.search(reason):
        return False
    if found[2] in ("6", "7") or (found[2], found[3]) in _PASSING:
        return _NO_SUCH.search(reason) is not None
    return True


def _reported(group: Fields) -> Failed | None:
    action = field(group, "action").partition(" ")[0].lower()
    address = next((found for name in ("final-recipient", "original-recipient") if (found := _typed_address(field(group, name)))), "")
    if action != "failed" or not address:
        return None
    diagnostic = field(group, "diagnostic-code")
    reason = diagnostic.partition(";")[2].strip() if ";" in diagnostic[:20] else diagnostic
    stated = _STATUS.search(field(group, "status"))
    status = stated.group() if stated else ""
    precise = _STATUS.search(reason)
    if precise and (not status or status.endswith(".0.0")):
        # Some servers report 5.0.0 for everything, and quote the one that knew better.
        status = precise.group()
    return Failed(address, status, action, reason[:_REASON_LENGTH], is_hard(status or _status_of(reason), reason))


def _typed_address(value: str) -> str:
    """The address of `rfc822; ann@example.com`."""
    found, _ = incoming_headers.mailboxes(value.partition(";")[2].encode() if ";" in value else value.encode(), 1)
    return found[0].email if found else ""


def _letter(mail: Incoming) -> Bounce | None:
    """A report in plain words. Two signs are wanted: who sent it, and what it says."""
    named = mail.header("x-failed-recipients")
    if REPLY_SUBJECT.match(mail.subject) and not named:
        # ours may have told of something that could not be delivered, and somebody answers that
        return None
    daemon = _DAEMON.match(mail.sender.email) or _DAEMON_NAME.search(mail.sender.name) or mail.return_path == ""
    if not (daemon and (_SUBJECT.search(mail.subject) or named or mail.report_type == "delivery-status" or _is_qmail(mail.text))):
        return None
    copy = _COPY.search(mail.text)
    said = mail.text[: copy.start()] if copy else mail.text[:20_000]
    if _LATER.search(mail.subject) or (not named and _LATER.search(said[:1500]) and not _STATUS.search(said)):
        return Bounce((), None)
    failed = _listed(said[:20_000])
    if named:
        known = {one.address.lower() for one in failed}
        words = _words(said)
        for person in incoming_headers.mailboxes(named.encode(), _MOST)[0]:
            if person.email.lower() not in known:
                failed.append(_from_words(person.email, words))
    return Bounce(tuple(failed[:_MOST]), original_id(mail)[0])


def _is_qmail(text: str) -> bool:
    return "qmail-send program" in text[:500]


def _listed(said: str) -> list[Failed]:
    """Recipients that stand on lines of their own, each with the words up to the next; else those that are merely mentioned."""
    for pattern in (_QMAIL, _INDENTED):
        found = list(pattern.finditer(said))
        if found:
            ends = [*(one.start() for one in found[1:]), len(said)]
            each = {one[1].lower(): _words(said[one.end() : end]) for one, end in zip(found, ends, strict=True)}
            return [_from_words(address, words) for person, words in each.items() if (address := _typed_address(person))]
    mentioned = [found[1] for found in _BRACKETED.finditer(said)] or [found.group() for found in _ANY.finditer(said)]
    return [_from_words(address, _words(said)) for person in dict.fromkeys(mentioned[:1]) if (address := _typed_address(person))]


def _from_words(address: str, words: str) -> Failed:
    status = _status_of(words)
    return Failed(address, status, "failed", words[:_REASON_LENGTH], is_hard(status, words))


def _status_of(words: str) -> str:
    """The status in a server's words; x.0.0 where there is an SMTP code only, or plain talk of a user who is not there."""
    found = _STATUS.search(words)
    if found:
        return found.group()
    code = _REPLY_CODE.search(words)
    if code:
        return f"{code[1]}.0.0"
    return "5.1.1" if _NO_SUCH.search(words) else ""


def _words(text: str) -> str:
    return " ".join(text.split())
