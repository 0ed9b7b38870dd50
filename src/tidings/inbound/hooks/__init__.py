"""Mail that carriers post to us: one file a carrier, which checks that it is the carrier's and reads it. Storing it is `receive`'s."""

import asyncio
from collections.abc import Callable
from functools import partial

from tidings.errors import Unavailable
from tidings.inbound.hooks import mailgun, postmark, resend, sendgrid
from tidings.inbound.hooks.posted import Arrived, Field, Posted
from tidings.inbound.sources import Mailgun, Postmark, Resend, SendGrid, Settings

__all__ = ["FORMS", "Arrived", "Field", "Posted", "read"]

FORMS = frozenset({"mailgun", "sendgrid"})
"""The kinds whose carriers post forms; the others post JSON."""


async def read(posted: Posted, settings: Settings) -> Arrived | None:
    """The mail that was posted to an inbox with these settings; None when it told of no mail.

    Raises Unauthorized when it is not the carrier's, Malformed when it is not its format, TooLarge beyond 25 MiB of mail, Unavailable
    when it cannot be read now.
    """
    if isinstance(settings, Resend):
        return await resend.read(posted, settings)
    return await asyncio.to_thread(_reader(posted, settings))


def _reader(posted: Posted, settings: Settings) -> Callable[[], Arrived]:
    match settings:
        case Postmark():
            return partial(postmark.read, posted, settings)
        case Mailgun():
            return partial(mailgun.read, posted, settings)
        case SendGrid():
            return partial(sendgrid.read, posted, settings)
        case _:
            raise Unavailable("The settings of this inbox cannot be used")
