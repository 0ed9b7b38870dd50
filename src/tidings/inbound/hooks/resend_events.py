"""What Resend tells of mail it took: one event a post, signed as Standard Webhooks are; the id of the event is in a header.

https://resend.com/docs/webhooks/event-types
https://resend.com/docs/webhooks/emails/bounced
https://resend.com/docs/dashboard/emails/email-bounces
"""

from tidings.inbound.hooks.posted import Posted, addresses
from tidings.inbound.hooks.said import LONGEST_URL, OURS, Events, Said
from tidings.message.heard import Kind, Notice, Reason, reason_of, status_in

KINDS: dict[str, Kind] = {
    "email.sent": "sent",
    "email.delivered": "delivered",
    "email.delivery_delayed": "deferred",
    "email.bounced": "bounced",
    "email.complained": "complained",
    "email.opened": "opened",
    "email.clicked": "clicked",
    "email.failed": "failed",
    "email.suppressed": "failed",
}
# `subType` of a bounce; what is not here is told by its words
SUBTYPES: dict[str, Reason] = {
    "suppressed": "bounced",
    "onaccountsuppressionlist": "bounced",
    "noemail": "invalid",
    "contentrejected": "spam",
    "attachmentrejected": "blocked",
    "messagetoolarge": "other",
}


def read(said: Said, posted: Posted) -> Events:
    """The event, whose signature was checked."""
    kind = KINDS.get(said.text("type"))
    if kind is None:
        return Events(ignored=1)
    data = said.inner("data")
    click = data.inner("click") if kind == "clicked" else data.inner("open")
    reason, hard, code, detail = _why(data, kind)
    named = posted.headers.get("svix-id") or posted.headers.get("webhook-id", "")
    # an event is told of each recipient, and of several it is not said of which
    people = [email for text in data.texts("to") for email in addresses(text)]
    return Events(
        [
            Notice(
                data.text("email_id"),
                kind,
                click.instant(said.instant(posted.at, "created_at"), "timestamp"),
                hard=hard,
                reason=reason,
                code=code,
                detail=detail,
                id=named,
                address=people[0] if people else "",
                names=_names(data),
                url=click.text("link", most=LONGEST_URL),
                user_agent=click.text("userAgent"),
                ip=click.ip("ipAddress"),
            )
        ]
    )


def _why(data: Said, kind: Kind) -> tuple[Reason | None, bool, str, str]:
    """(why, whether the address is to blame for good, the code, the words)."""
    if kind == "complained":
        return "spam", False, "", ""
    if kind == "failed":
        suppressed = data.inner("suppressed")
        detail = suppressed.text("message") or data.inner("failed").text("reason")
        return ("bounced", True, "", detail) if suppressed.fields else ("other", False, "", detail)
    if kind == "deferred":
        return "other", False, "", ""
    if kind != "bounced":
        return None, False, "", ""
    bounce = data.inner("bounce")
    words = bounce.text("message")
    answer = " ".join(bounce.texts("diagnosticCode")) or bounce.text("diagnosticCode") or words
    status = status_in(answer)
    subtype = bounce.text("subType").lower()
    hard = bounce.text("type").lower() in ("permanent", "")
    reason = SUBTYPES.get(subtype) or reason_of(status, answer, hard=hard)
    return reason, hard, status or bounce.text("type"), answer


def _names(data: Said) -> tuple[str, ...]:
    """Tags come as an object, or as a list of names and values; headers as a list, where they are told."""
    tags = [tag.text("value") for tag in data.every("tags") if tag.text("name") == OURS]
    message_ids = [line.text("value") for line in data.every("headers") if line.text("name").lower() == "message-id"]
    return (data.inner("tags").text(OURS), *tags, *message_ids, data.text("message_id"))
