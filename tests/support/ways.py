"""Every way a mail leaves the house, each with the same body: for tests of what must hold whichever was taken."""

import html
import re
from collections.abc import Awaitable, Callable
from email import message_from_bytes
from email.policy import default
from typing import Any

from tests.support.api import Api
from tidings.clock import HOUR
from tidings.message.outgoing import Email, Sealed

BODY = '<p>Hello</p><p><a href="https://shop.test/one?a=1&amp;b=2">one</a> <a href="https://shop.test/two">two</a></p>'
TARGETS = ["https://shop.test/one?a=1&b=2", "https://shop.test/two"]
BROWSER = {"user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}
"""Headers of a person's browser."""
_ANN = "ann@example.test"


async def _posted(api: Api, path: str, **fields: Any) -> Any:
    answer = await api.client.post(f"/api/v1/{path}", json=fields)
    assert answer.is_success, answer.text
    return answer.json()


async def send(api: Api) -> None:
    await _posted(api, "communications/send", body=BODY, subject="Hello", recipients=[_ANN])


async def schedule(api: Api) -> None:
    await _posted(api, "communications/schedule", body=BODY, subject="Hello", recipients=[_ANN], scheduledAt="2025-06-18T13:00:00Z")
    api.at += HOUR


async def send_template(api: Api) -> None:
    made = await _posted(api, "templates", name="Hello", channel="email", subject="Hello", body=BODY)
    await _posted(api, f"communications/send-template/{made['id']}", recipients=[_ANN])


async def list_send(api: Api) -> None:
    made = await _posted(api, "lists", name="All")
    contact = await _posted(api, "contacts", email=_ANN)
    await _posted(api, f"lists/{made['id']}/contacts", contact_ids=[contact["id"]])
    await _posted(api, "communications/send", body=BODY, subject="Hello", recipients=[], recipientListId=made["id"])


async def instant_message(api: Api) -> None:
    await _posted(api, "instant_messages", email=_ANN, send_email=True, subject="Hello", body=BODY)


async def campaign(api: Api) -> None:
    made = await _posted(api, "campaigns", name="Spring")
    await _posted(api, f"campaigns/{made['id']}/messages", channel="email", delay="0s", subject="Hello", body=BODY)
    await _posted(api, f"campaigns/{made['id']}/activate")
    contact = await _posted(api, "contacts", email=_ANN)
    await _posted(api, "enrollments", campaign_id=made["id"], contact_id=contact["id"])


WAYS: dict[str, Callable[[Api], Awaitable[None]]] = {
    "send": send,
    "schedule": schedule,
    "send-template": send_template,
    "list": list_send,
    "instant message": instant_message,
    "campaign": campaign,
}


def addresses(sealed: Sealed) -> tuple[list[str], list[str]]:
    """(where the links of a mail lead, where its pictures come from), as its reader's program would ask for them."""
    assert isinstance(sealed, Email)
    part = message_from_bytes(sealed.raw, policy=default).get_body(("html",))
    assert part is not None
    text = str(part.get_content())
    return [html.unescape(found) for found in re.findall(r'<a href="([^"]+)"', text)], re.findall(r'<img src="([^"]+)"', text)
