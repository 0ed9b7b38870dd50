"""What travels: a sealed Email or Sms on its way to a provider, and the Outcome that comes back. Nothing here renders or sends."""

from typing import Literal

import msgspec


class Address(msgspec.Struct, frozen=True):
    """A mailbox: `email` as it goes on the wire (RFC 5321 addr-spec), `name` as plain text, unencoded."""

    email: str
    name: str = ""


class Email(msgspec.Struct, frozen=True, gc=False):
    """One mail, sealed: nothing below this point looks into it, and nothing changes it.

    `raw` is the whole RFC 5322 message with CRLF line ends, not dot-stuffed, without Bcc. `recipients` is the envelope
    (To + Cc + Bcc). `utf8` tells that headers or addresses need SMTPUTF8 (RFC 6531).
    """

    tenant_id: int
    communication_id: int
    envelope_from: str
    recipients: tuple[str, ...]
    raw: bytes
    message_id: str
    subject: str = ""
    utf8: bool = False


class Sms(msgspec.Struct, frozen=True, gc=False):
    """One text message: `to` in E.164, `text` complete; segments are the provider's matter.

    `sender` is a number in E.164, a short code or an alphanumeric id; "" leaves it to the provider, which knows what its account may send as.
    """

    tenant_id: int
    communication_id: int
    to: str
    sender: str
    text: str
    segments: int = 1


Sealed = Email | Sms

Kind = Literal["accepted", "deferred", "refused", "unknown", "paused", "untried"]
Ban = Literal["unsubscribed", "bounced"]


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What a provider said of one message. A value, never an exception.

    accepted: it is theirs now; `provider_id` is their name for it.
    deferred: not now; try again later (`retry_after` milliseconds, when they said so).
    refused:  never; `reason` says why, `code` is the RFC 3463 status or the provider's own code.
    unknown:  the bytes left and no answer came; it may have gone out.
    paused:   the provider itself cannot work (wrong credentials, account blocked, host not found): nothing was tried, the attempt does not count.
    untried:  sending was stopped before any of it was handed over; nobody is to blame, and the attempt does not count.
    `rejected` lists recipients refused while others of the same message were accepted: (address, reason).
    `suppress` lists those who must not be written to again, and why: they opted out with the carrier, or there is nobody at the address.
    """

    kind: Kind
    reason: str = ""
    code: str = ""
    provider_id: str = ""
    retry_after: int | None = None
    rejected: tuple[tuple[str, str], ...] = ()
    suppress: tuple[tuple[str, Ban], ...] = ()


def accepted(provider_id: str = "", rejected: tuple[tuple[str, str], ...] = (), suppress: tuple[tuple[str, Ban], ...] = ()) -> Outcome:
    """The provider took it; `suppress` names those among the rejected who must not be written to again."""
    return Outcome("accepted", provider_id=provider_id, rejected=rejected, suppress=suppress)


def deferred(reason: str, code: str = "", retry_after: int | None = None) -> Outcome:
    """Not now; `retry_after` in milliseconds when the provider said when."""
    return Outcome("deferred", reason, code, retry_after=retry_after)


def refused(reason: str, code: str = "", suppress: tuple[tuple[str, Ban], ...] = ()) -> Outcome:
    """Never; trying again would change nothing. `suppress` names those for whom that holds of any other message too."""
    return Outcome("refused", reason, code, suppress=suppress)


def unknown(reason: str) -> Outcome:
    """The bytes left us and no answer came back."""
    return Outcome("unknown", reason)


def paused(reason: str, retry_after: int | None = None) -> Outcome:
    """The provider itself cannot work now; no message is to blame."""
    return Outcome("paused", reason, retry_after=retry_after)


def untried() -> Outcome:
    """It was never handed over: whoever sends was stopped before its turn came."""
    return Outcome("untried")
