"""What Mailgun tells of mail it took: one event a post, with the signature beside it in the JSON.

https://documentation.mailgun.com/docs/mailgun/user-manual/events/event-structure
https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/webhook-payloads
https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/securing-webhooks
"""

from tidings.errors import Malformed
from tidings.inbound.hooks import mailgun
from tidings.inbound.hooks.said import LONGEST_URL, OURS, Events, Said, record
from tidings.inbound.sources import Mailgun
from tidings.message.heard import Kind, Notice, Reason, reason_of, status_in

KINDS: dict[str, Kind] = {
    "accepted": "sent",
    "delivered": "delivered",
    "failed": "bounced",  # severity tells whether Mailgun goes on trying
    "rejected": "failed",
    "opened": "opened",
    "clicked": "clicked",
    "unsubscribed": "unsubscribed",
    "complained": "complained",
}
# `reason` of an event that failed: Mailgun's own lists, for which it does not even try
SUPPRESSED: dict[str, Reason] = {"suppress-bounce": "bounced", "suppress-complaint": "spam", "suppress-unsubscribe": "unsubscribed"}


def read(body: bytes, at: int, settings: Mailgun) -> Events:
    """The event; `at` is now. Raises Unauthorized, Malformed, TooLarge."""
    whole = record(body)
    if not isinstance(whole.fields.get("signature"), dict):
        raise Malformed("This is no event of Mailgun's: it has no signature")
    signature, said = whole.inner("signature"), whole.inner("event-data")
    token = signature.text("token")
    mailgun.check_signed(settings.signing_key, signature.text("timestamp"), token, signature.text("signature"), at)
    if not said.fields:
        raise Malformed("This is no event of Mailgun's: it has no event-data")
    kind = KINDS.get(said.text("event"))
    # the id alone is said to be unique within a day
    words = "\n".join((said.text("event"), said.text("id"), said.text("recipient"), said.text("timestamp")))
    if kind is None:
        return Events(ignored=1, token=token, said=words)
    return Events([_notice(said, kind, at, words)], token=token, said=words)


def _notice(said: Said, kind: Kind, at: int, name: str) -> Notice:
    status, client = said.inner("delivery-status"), said.inner("client-info")
    headers = said.inner("message").inner("headers")
    message_id = headers.text("message-id")
    detail = status.text("message", "description") or said.inner("reject").text("description", "reason")
    code = status.text("enhanced-code") or status_in(detail) or status.text("code")
    reason: Reason | None = None
    hard = False
    if kind == "bounced":
        listed = SUPPRESSED.get(said.text("reason"))
        if said.text("severity") == "temporary":
            kind = "deferred"
        elif listed is not None:
            kind, hard = "failed", True
        else:
            hard = _is_hard(said, code)
        reason = listed or ("timed_out" if said.text("reason") == "old" else reason_of(status_in(code), detail, hard=hard))
    elif kind == "failed":
        reason = "other"
    elif kind == "complained":
        reason = "spam"
    is_failure = kind in ("bounced", "failed", "deferred")
    return Notice(
        "",
        kind,
        said.seconds("timestamp", at),
        hard=hard,
        reason=reason,
        code=code if is_failure else "",
        detail=detail if is_failure else "",
        id=name,
        address=said.address("recipient") or headers.address("to"),
        names=(said.inner("user-variables").text(OURS), message_id),
        url=said.text("url", most=LONGEST_URL),
        user_agent=client.text("user-agent"),
        ip=said.ip("ip"),
        bot=bool(client.text("bot")),
    )


def _is_hard(said: Said, code: str) -> bool:
    """A permanent failure is for good, but where it took Mailgun too long or a policy stands in the way."""
    if said.text("reason") in ("old", "generic", "espblock"):
        return False
    status = status_in(code)
    return not status.startswith("4.") and status[2:4] not in ("6.", "7.") and status not in ("5.2.2", "5.2.3", "5.3.1", "5.3.4")
