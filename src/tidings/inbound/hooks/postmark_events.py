"""What Postmark tells of mail it took: one event a post, which it does not sign and gives no id, but for bounces.

https://postmarkapp.com/developer/webhooks/webhooks-overview
https://postmarkapp.com/developer/webhooks/bounce-webhook
https://postmarkapp.com/developer/webhooks/subscription-change-webhook
https://postmarkapp.com/developer/api/bounce-api#bounce-types
"""

from typing import NamedTuple

import msgspec

from tidings.inbound.hooks.said import LONGEST_URL, OURS, Events, Said
from tidings.message.heard import Kind, Notice, Reason, reason_of, status_in

# RecordType -> what happened; a bounce and a complaint tell more in Type
KINDS: dict[str, Kind] = {
    "Delivery": "delivered",
    "Bounce": "bounced",
    "SpamComplaint": "complained",
    "Open": "opened",
    "Click": "clicked",
    "SubscriptionChange": "unsubscribed",
}


class _Type(NamedTuple):
    kind: Kind
    reason: Reason | None = None
    hard: bool = False


# A type that is not here (an autoresponder, a change of address, a challenge) says nothing of the mail.
TYPES: dict[str, _Type] = {
    "HardBounce": _Type("bounced", hard=True),
    "SoftBounce": _Type("bounced"),
    "Unknown": _Type("bounced", "other"),
    "Transient": _Type("deferred"),
    "DnsError": _Type("deferred", "timed_out"),
    "OpenRelayTest": _Type("deferred", "other"),
    "BadEmailAddress": _Type("failed", "invalid", hard=True),
    "ManuallyDeactivated": _Type("failed", "blocked"),
    "Unconfirmed": _Type("failed", "other"),
    "Blocked": _Type("bounced", "blocked"),
    "DMARCPolicy": _Type("bounced", "blocked"),
    "VirusNotification": _Type("bounced", "blocked"),
    "SMTPApiError": _Type("failed", "other"),
    "TemplateRenderingFailed": _Type("failed", "other"),
    "SpamNotification": _Type("bounced", "spam"),
    "SpamComplaint": _Type("complained", "spam"),
    "Unsubscribe": _Type("unsubscribed", "unsubscribed"),
    "Subscribe": _Type("resubscribed"),
}


def read(said: Said, at: int) -> Events:
    """The event; `at` is now."""
    kind = KINDS.get(said.text("RecordType"))
    told = _Type(kind) if kind is not None else None
    if kind in ("bounced", "complained"):
        told = TYPES.get(said.text("Type"))
    elif kind == "unsubscribed":
        told = _subscription(said)
    if told is None:
        return Events(ignored=1)
    return Events([_notice(said, told, at)])


def _subscription(said: Said) -> _Type | None:
    """Postmark stops writing also to whom it bounces and who complains, which is told by events of their own."""
    if not said.flag("SuppressSending"):
        return _Type("resubscribed")
    reason = said.text("SuppressionReason")
    return _Type("unsubscribed", "unsubscribed") if reason == "ManualSuppression" else None


def _notice(said: Said, told: _Type, at: int) -> Notice:
    detail = said.text("Details", "Description")
    status = status_in(detail)
    is_failure = told.kind in ("bounced", "failed", "deferred")
    reason = told.reason or (reason_of(status, detail, hard=told.hard) if is_failure else None)
    happened = said.instant(at, "DeliveredAt", "BouncedAt", "ReceivedAt", "ChangedAt")
    address = said.address("Email", "Recipient")
    name = said.text("MessageID")
    notice = Notice(
        name,
        told.kind,
        happened,
        hard=told.hard,
        reason=reason,
        code=(status or said.text("Type")) if is_failure else "",
        detail=detail if is_failure or told.kind == "complained" else "",
        address=address,
        names=(said.inner("Metadata").text(OURS),),
        url=said.text("OriginalLink", most=LONGEST_URL),
        user_agent=said.text("UserAgent"),
        ip=said.inner("Geo").ip("IP"),
    )
    # what it says when it says it is all that tells two of them apart
    own = ("RecordType", "DeliveredAt", "BouncedAt", "ReceivedAt", "ChangedAt", "OriginalLink", "ID")
    words = [said.text(field, most=LONGEST_URL) for field in own]
    return msgspec.structs.replace(notice, id="\n".join([told.kind, name, address, *words]))
