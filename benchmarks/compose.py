"""Composing one tracked two-part mail of 20 KB: ours against the standard library's EmailMessage, in one run.

`python benchmarks/compose.py [seconds]` prints microseconds a message and the ratio. Both render the same values.
"""

import sys
import time
from collections.abc import Callable
from email import policy
from email.message import EmailMessage
from email.utils import formatdate

from tidings.domain.communications import Due
from tidings.domain.templates import Content
from tidings.rendering.compose import Composer
from tidings.rendering.template import prepare
from tidings.signing import Signer

PARAGRAPH = (
    '<p style="font-family: Georgia, serif; color: #333333; margin: 0 0 12px">We opened the new workshop in Zürich this week, and '
    "there is more to tell than fits in one letter; come and see it: the lathe, the looms &amp; the long table by the window.</p>\n"
)


def body(kilobytes: int) -> str:
    """An HTML mail of about that size with five links and three values."""
    paragraphs = PARAGRAPH * (kilobytes * 1024 // len(PARAGRAPH))
    links = "".join(
        f'<p><a href="https://shop.example.com/items/{number}?from=letter&amp;n={number}">Item {number}</a></p>\n' for number in range(5)
    )
    return (
        f"<!DOCTYPE html><html><body><h1>Dear {{{{ first_name }}}} {{{{ last_name }}}}</h1>\n{paragraphs}{links}"
        "<p>Your code: {{ code }}</p></body></html>\n"
    )


def due(number: int) -> Due:
    """One claimed communication, tracked, of a campaign."""
    return Due(
        id=1_000_000 + number, tenant_id=7, channel="email", content_id=1, provider_id=1, contact_id=number + 1, campaign_id=3, message_id=4,
        enrollment_id=5, attempts=0, serial=0, address=f"reader{number}@example.com", recipients="", sender_email="letters@example.org",
        sender_name="The Workshop", reply_to="", subject="", variables=f'{{"code":"QX-{number}"}}', track_opens=1, track_links=1, created_at=0,
        first_name="Jürgen", last_name="O'Neill", company="", email=f"reader{number}@example.com", phone="", locale="", timezone="", attributes="{}",
    )  # fmt: skip


def stored(kilobytes: int) -> Content:
    """That body as it would come from the database."""
    made = prepare(tenant_id=7, channel="email", format="html", subject="News for {{ first_name }}", body=body(kilobytes))
    return Content(1, 7, made.channel, made.format, made.subject, made.source, made.html, made.text, made.links, made.variables)


def standard(text: str, html: str, one: Due) -> bytes:
    """The same message by EmailMessage, its bodies already rendered."""
    message = EmailMessage(policy=policy.SMTP)
    message["From"] = f"{one.sender_name} <{one.sender_email}>"
    message["To"] = one.address
    message["Subject"] = f"News for {one.first_name}"
    message["Date"] = formatdate(1_700_000_000)
    message["Message-ID"] = f"<{one.id}@example.org>"
    message["List-Unsubscribe"] = f"<https://mail.example.org/unsubscribe/{one.id}>"
    message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    message.set_content(text)
    message.add_alternative(html, subtype="html")
    return message.as_bytes()


def rate(act: Callable[[int], object], seconds: float) -> float:
    """Microseconds a call, the best of five stretches: the others were disturbed."""
    best, number = float("inf"), 0
    for _ in range(5):
        count, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds / 5:
            for _ in range(10):
                act(number)
                number += 1
            count += 10
        best = min(best, (time.perf_counter() - start) / count)
    return best * 1e6


def measure(kilobytes: int, seconds: float) -> str:
    """One line: both figures for one size, and the ratio."""
    content = stored(kilobytes)
    composer = Composer("https://mail.example.org", Signer(b"benchmark"), "mail.example.org")
    dues = [due(number) for number in range(1000)]
    shown = composer.rendered_body(dues[0], content, tracked=True)
    text = composer.preview(content, {"first_name": "Jürgen", "last_name": "O'Neill"}, {"code": "QX-0"}).text
    ours = rate(lambda number: composer.compose(dues[number % 1000], content, 1_700_000_000_000), seconds)
    theirs = rate(lambda number: standard(text, shown, dues[number % 1000]), seconds)
    return f"{kilobytes:3} KB  ours {ours:7.1f} µs  EmailMessage {theirs:8.1f} µs  {theirs / ours:6.1f} times faster"


def main() -> None:
    """Prints a line for each size."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 2.0
    for kilobytes in (5, 20):
        print(measure(kilobytes, seconds))


if __name__ == "__main__":
    main()
