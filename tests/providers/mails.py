"""Sealed mails for tests of providers that carry mail."""

from tidings.message.outgoing import Email

TEXT = b"Good morning,\r\n\r\nthis is all.\r\n"


def mail(
    number: int = 1,
    *,
    recipients: tuple[str, ...] = ("reader@example.net",),
    body: bytes = TEXT,
    sender: str = "news@example.org",
    utf8: bool = False,
) -> Email:
    """One mail whose Message-ID begins with its number."""
    head = (
        f"From: News <news@example.org>\r\nTo: {recipients[0] if recipients else ''}\r\nSubject: Number {number}\r\n"
        f"Date: Mon, 17 Feb 2025 02:00:34 +0000\r\nMessage-ID: <{number}@example.org>\r\n\r\n"
    )
    return Email(1, number, sender, recipients, head.encode() + body, f"<{number}@example.org>", f"Number {number}", utf8)
