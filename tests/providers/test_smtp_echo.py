"""Carriers that give a mail a Message-ID of theirs are told our id for it in a header that they hand back."""

import pytest

from tests.providers.mails import mail
from tidings.message.outgoing import Email
from tidings.providers.smtp.echo import header_for, named


@pytest.mark.parametrize(
    ("host", "header"),
    [
        ("smtp.postmarkapp.com", b"X-PM-Metadata-tidings: cAbc-_9\r\n"),
        ("smtp-broadcasts.PostmarkApp.com.", b"X-PM-Metadata-tidings: cAbc-_9\r\n"),
        ("smtp.sendgrid.net", b'X-SMTPAPI: {"unique_args": {"tidings": "cAbc-_9"}}\r\n'),
    ],
)
def test_the_header_is_on_top_and_nothing_else_is_changed(host: str, header: bytes):
    line = header_for(host)
    assert line is not None
    plain = Email(1, 2, "a@b.example", ("c@d.example",), b"Subject: x\r\n\r\nHello\r\n", "<cAbc-_9.0@mail.example>")
    sealed = named(plain, line)
    assert sealed.raw == header + plain.raw
    assert (sealed.message_id, sealed.recipients) == (plain.message_id, plain.recipients)


@pytest.mark.parametrize("host", ["email-smtp.eu-west-1.amazonaws.com", "smtp.mailgun.org", "notpostmarkapp.com", "127.0.0.1", ""])
def test_others_need_none(host: str):
    assert header_for(host) is None


def test_a_message_id_that_is_none_of_ours_puts_nothing_in_a_header():
    strange = Email(1, 2, "a@b.example", ("c@d.example",), b"x", '<a"}\r\nBcc: e@f.example.0@mail.example>')
    assert named(strange, header_for("smtp.sendgrid.net") or "") is strange
    assert named(mail(1), header_for("smtp.sendgrid.net") or "").raw.endswith(mail(1).raw)
