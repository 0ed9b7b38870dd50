"""What Amazon SES tells through SNS: what became of mail it took (event publishing, or the older notifications), and mail that came in.

https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html
https://docs.aws.amazon.com/ses/latest/dg/notification-contents.html
https://docs.aws.amazon.com/ses/latest/dg/receiving-email-notifications-contents.html
"""

import asyncio
import binascii
from collections.abc import Callable, Iterator

from tidings.errors import Malformed
from tidings.inbound.hooks import sns
from tidings.inbound.hooks.posted import Arrived, Posted, addresses, whole
from tidings.inbound.hooks.said import LONGEST_URL, OURS, Events, Said, decoded
from tidings.inbound.sources import Ses
from tidings.message.heard import Kind, Notice, Reason, reason_of, status_in

# bounceSubType, in lower case -> why; the others are told by the server's words
SUBTYPES: dict[str, Reason] = {
    "noemail": "invalid",
    "suppressed": "bounced",
    "onaccountsuppressionlist": "bounced",
    "unsubscribedrecipient": "unsubscribed",
    "mailboxfull": "bounced",
    "messagetoolarge": "other",
    "contentrejected": "spam",
    "attachmentrejected": "blocked",
    "customtimeoutexceeded": "timed_out",
}
# bounceSubType of mail that SES did not even try to deliver
UNTRIED = frozenset({"suppressed", "onaccountsuppressionlist", "unsubscribedrecipient"})


async def read(posted: Posted, settings: Ses) -> Arrived | Events:
    """The mail, or what became of one. Raises Unauthorized, Malformed, TooLarge, Unavailable."""
    message = await sns.read(posted, settings.topic_arn, sns.fetched, sns.CERTIFICATES)
    if message is None:
        return Events(ignored=1)
    return await asyncio.to_thread(told, message, posted.at)


def told(message: str, at: int) -> Arrived | Events:
    """What a message of SES's says, whose signature was checked; `at` is now. Raises Malformed, TooLarge."""
    if not message.lstrip().startswith("{"):
        # the words by which SES tries a topic that it is given
        return Events(ignored=1)
    said = Said(decoded(message.encode("utf-8", "surrogatepass")))
    kind = said.text("eventType", "notificationType")
    if kind == "Received":
        return _arrived(said)
    reader = _READERS.get(kind)
    if reader is None:
        return Events(ignored=1)
    return Events(list(reader(said, _Mail(said.inner("mail"), kind, at))))


class _Mail:
    """The mail that an event speaks of, and how the event is called: SES gives it no name, and SNS another one for each topic."""

    def __init__(self, said: Said, kind: str, at: int) -> None:
        self._name = said.text("messageId")
        self._kind = kind
        # a rejection says no time of its own: it comes at once
        self._at = said.instant(at, "timestamp")
        self.destination = said.texts("destination")
        # those of the mail as we sent it, where "include original headers" is on; in event publishing they always are
        headers = [line.text("value") for line in said.every("headers") if line.text("name").lower() == "message-id"]
        tags = said.inner("tags").texts(OURS)
        self._names = (*tags, *headers, said.inner("commonHeaders").text("messageId"))

    def notice(self, kind: Kind, said: Said, address: str, **fields: object) -> Notice:
        """One event about one recipient, when it says it was."""
        stamp = said.text("timestamp")
        found = next(iter(addresses(address)), "")
        key = (self._name, self._kind, stamp, found, said.text("link", most=LONGEST_URL), said.text("userAgent"), said.text("feedbackId"))
        values: dict[str, object] = {
            "provider_id": self._name,
            "kind": kind,
            "at": said.instant(self._at, "timestamp"),
            "id": "\n".join(key),
            "address": found,
            "names": self._names,
            **fields,
        }
        return Notice(**values)  # pyright: ignore[reportArgumentType]  # the fields of Notice by name, from one place

    def everybody(self) -> list[str]:
        """Whom it speaks of where the event does not say."""
        return self.destination[:1] or [""]


def _delivered(said: Said, mail: _Mail) -> Iterator[Notice]:
    inner = said.inner("delivery")
    for address in inner.texts("recipients") or mail.everybody():
        yield mail.notice("delivered", inner, address)


def _bounced(said: Said, mail: _Mail) -> Iterator[Notice]:
    inner = said.inner("bounce")
    subtype, permanent = inner.text("bounceSubType").lower(), inner.text("bounceType").lower() == "permanent"
    for one in inner.every("bouncedRecipients"):
        words = one.text("diagnosticCode")
        status = one.text("status") or status_in(words)
        reason = SUBTYPES.get(subtype) or reason_of(status, words, hard=permanent)
        kind: Kind = "failed" if subtype in UNTRIED else "bounced"
        code = status or inner.text("bounceType")
        detail = words or " ".join((inner.text("bounceType"), inner.text("bounceSubType"))).strip()
        yield mail.notice(kind, inner, one.text("emailAddress"), hard=permanent, reason=reason, code=code, detail=detail)


def _complained(said: Said, mail: _Mail) -> Iterator[Notice]:
    inner = said.inner("complaint")
    detail = inner.text("complaintFeedbackType", "complaintSubType")
    for one in inner.every("complainedRecipients"):
        yield mail.notice("complained", inner, one.text("emailAddress"), hard=False, reason="spam", detail=detail)


def _delayed(said: Said, mail: _Mail) -> Iterator[Notice]:
    inner = said.inner("deliveryDelay")
    for one in inner.every("delayedRecipients"):
        words = one.text("diagnosticCode")
        status = one.text("status") or status_in(words)
        yield mail.notice(
            "deferred",
            inner,
            one.text("emailAddress"),
            hard=False,
            reason=reason_of(status, words, hard=False),
            code=status or inner.text("delayType"),
            detail=words,
        )


def _rejected(said: Said, mail: _Mail) -> Iterator[Notice]:
    inner = said.inner("reject")
    yield mail.notice("failed", inner, "", hard=False, reason="other", detail=inner.text("reason"))


def _unrendered(said: Said, mail: _Mail) -> Iterator[Notice]:
    inner = said.inner("failure")
    yield mail.notice("failed", inner, "", hard=False, reason="other", detail=inner.text("errorMessage"))


def _opened(said: Said, mail: _Mail) -> Iterator[Notice]:
    inner = said.inner("open")
    yield mail.notice("opened", inner, mail.everybody()[0], user_agent=inner.text("userAgent"), ip=inner.ip("ipAddress"))


def _clicked(said: Said, mail: _Mail) -> Iterator[Notice]:
    inner = said.inner("click")
    url = inner.text("link", most=LONGEST_URL)
    yield mail.notice("clicked", inner, mail.everybody()[0], url=url, user_agent=inner.text("userAgent"), ip=inner.ip("ipAddress"))


def _sent(said: Said, mail: _Mail) -> Iterator[Notice]:
    yield mail.notice("sent", said.inner("mail"), "")


def _subscription(said: Said, mail: _Mail) -> Iterator[Notice]:
    inner = said.inner("subscription")
    new, old = inner.inner("newTopicPreferences"), inner.inner("oldTopicPreferences")
    if new.flag("unsubscribeAll"):
        yield mail.notice("unsubscribed", inner, mail.everybody()[0], reason="unsubscribed")
    elif old.flag("unsubscribeAll"):
        yield mail.notice("resubscribed", inner, mail.everybody()[0])


_READERS: dict[str, Callable[[Said, _Mail], Iterator[Notice]]] = {
    "Send": _sent,
    "Delivery": _delivered,
    "Bounce": _bounced,
    "Complaint": _complained,
    "DeliveryDelay": _delayed,
    "Reject": _rejected,
    "Rendering Failure": _unrendered,
    "Open": _opened,
    "Click": _clicked,
    "Subscription": _subscription,
}


def _arrived(said: Said) -> Arrived | Events:
    """A mail that came in, whole in the notification (up to 150 KB); where it was put elsewhere there is nothing to read."""
    content = said.fields.get("content")
    if not isinstance(content, str) or not content:
        return Events(ignored=1)
    receipt, mail = said.inner("receipt"), said.inner("mail")
    raw = content.encode("utf-8", "replace")
    if receipt.inner("action").text("encoding").upper() == "BASE64":
        try:
            raw = binascii.a2b_base64(raw)
        except ValueError as error:
            raise Malformed("The content of the mail is not valid base64") from error
    reached = tuple(email for text in receipt.texts("recipients") for email in addresses(text))
    return whole(raw, reached=reached, sender=mail.text("source"))
