"""What SendGrid tells of mail it took: a list of events a post, signed as a whole.

https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event
https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/getting-started-event-webhook-security-features
"""

from typing import cast

from tidings.errors import Malformed
from tidings.inbound.hooks import sendgrid
from tidings.inbound.hooks.posted import Posted
from tidings.inbound.hooks.said import LONGEST_URL, MOST_BYTES, OURS, Events, Said, decoded, limit
from tidings.inbound.sources import SendGrid
from tidings.message.heard import Kind, Notice, Reason, reason_of, status_in

KINDS: dict[str, Kind] = {
    "processed": "sent",
    "delivered": "delivered",
    "deferred": "deferred",
    "bounce": "bounced",
    "dropped": "failed",
    "open": "opened",
    "click": "clicked",
    "spamreport": "complained",
    "unsubscribe": "unsubscribed",
    "group_unsubscribe": "unsubscribed",
    "group_resubscribe": "resubscribed",
}
# `reason` of what was dropped, in lower case: those are on SendGrid's own lists
DROPPED: dict[str, Reason] = {
    "bounced address": "bounced",
    "invalid": "invalid",
    "spam reporting address": "spam",
    "unsubscribed address": "unsubscribed",
}
# `bounce_classification`, in lower case
CLASSES: dict[str, Reason] = {
    "invalid address": "invalid",
    "technical": "timed_out",
    "content": "spam",
    "reputation": "spam",
    "frequency or volume too high": "blocked",
    "frequency/volume": "blocked",
    "mailbox unavailable": "bounced",
}


def read(posted: Posted, settings: SendGrid) -> Events:
    """The events. Raises Unauthorized, Malformed, TooLarge."""
    key = settings.event_public_key or settings.public_key
    if key:
        sendgrid.check(posted, key)
    limit(posted.body, MOST_BYTES)
    entries = decoded(posted.body)
    if not isinstance(entries, list):
        raise Malformed("The request body must be a list of SendGrid's events")
    notices = [notice for entry in cast(list[object], entries) if (notice := _notice(Said(entry), posted.at)) is not None]
    return Events(notices, ignored=len(cast(list[object], entries)) - len(notices))


def _notice(said: Said, at: int) -> Notice | None:
    event = said.text("event")
    kind = KINDS.get(event)
    if kind is None:
        return None
    detail = said.text("reason", "response") if kind in ("bounced", "failed", "deferred") else ""
    status = said.text("status") or status_in(detail)
    reason, hard = _why(said, kind, detail, status)
    taken_as = said.text("sg_message_id")
    address = said.address("email")
    return Notice(
        taken_as.partition(".")[0],
        kind,
        said.seconds("timestamp", at),
        hard=hard,
        reason=reason,
        code=status if detail else "",
        detail=detail,
        id=said.text("sg_event_id") or "\n".join((event, taken_as, address, said.text("timestamp"), said.text("url"))),
        address=address,
        names=(said.text(OURS), said.text("smtp-id")),
        url=said.text("url", most=LONGEST_URL),
        user_agent=said.text("useragent"),
        ip=said.ip("ip") if kind in ("opened", "clicked") else "",
        bot=said.flag("sg_machine_open"),
    )


def _why(said: Said, kind: Kind, detail: str, status: str) -> tuple[Reason | None, bool]:
    """(why, whether the address is to blame for good)."""
    if kind == "failed":
        listed = DROPPED.get(said.text("reason").lower())
        return listed or ("spam" if "spam content" in detail.lower() else "other"), listed is not None
    if kind == "bounced":
        told = CLASSES.get(said.text("bounce_classification").lower())
        hard = said.text("type") not in ("blocked", "expired")
        if not hard:
            return "timed_out" if said.text("type") == "expired" else told if told in ("spam", "blocked") else "blocked", False
        return told or reason_of(status_in(status), detail, hard=True), True
    if kind == "deferred":
        return reason_of(status_in(status), detail, hard=False), False
    return ("spam" if kind == "complained" else "unsubscribed" if kind == "unsubscribed" else None), False
