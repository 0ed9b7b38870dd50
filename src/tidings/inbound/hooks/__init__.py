"""What carriers of mail post to us: mail that came in, and what became of mail that went out. One file a carrier for each of the two.

Whether it is the carrier's is checked there too. Storing it is `receive`'s, heeding it `events`'.
"""

import asyncio
from collections.abc import Callable
from functools import partial

from tidings.errors import Unavailable
from tidings.inbound.hooks import mailgun, mailgun_events, postmark, resend, sendgrid, sendgrid_events, ses
from tidings.inbound.hooks.posted import Arrived, Field, Posted
from tidings.inbound.hooks.said import Events
from tidings.inbound.sources import Mailgun, Postmark, Resend, SendGrid, Ses, Settings

__all__ = ["FORMS", "Arrived", "Events", "Field", "Posted", "read"]

FORMS = frozenset({"mailgun", "sendgrid"})
"""The kinds whose carriers post mail as forms, and events as JSON; the others post JSON alone."""
_JSON = "application/json"


async def read(posted: Posted, settings: Settings) -> Arrived | Events:
    """The mail that was posted to an inbox with these settings, or what it told of mail that went out.

    Raises Unauthorized when it is not the carrier's, Malformed when it is not its format, TooLarge beyond 25 MiB of mail, Unavailable
    when it cannot be read now.
    """
    match settings:
        case Resend():
            return await resend.read(posted, settings)
        case Ses():
            return await ses.read(posted, settings)
        case _:
            return await asyncio.to_thread(_reader(posted, settings))


def is_form(kind: str, content_type: str) -> bool:
    """Whether a carrier of this kind has posted a form."""
    return kind in FORMS and content_type.partition(";")[0].strip().lower() != _JSON


def _reader(posted: Posted, settings: Settings) -> Callable[[], Arrived | Events]:
    is_json = posted.headers.get("content-type", "").partition(";")[0].strip().lower() == _JSON
    match settings:
        case Postmark():
            return partial(postmark.read, posted, settings)
        case Mailgun():
            return partial(mailgun_events.read, posted.body, posted.at, settings) if is_json else partial(mailgun.read, posted, settings)
        case SendGrid():
            return partial(sendgrid_events.read if is_json else sendgrid.read, posted, settings)
        case _:
            raise Unavailable("The settings of this inbox cannot be used")
