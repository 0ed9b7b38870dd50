"""What an SMTP address says, and what is said about a wrong one."""

import pytest
from rich.pretty import pretty_repr

from tidings.errors import Invalid
from tidings.providers.smtp.settings import SmtpSettings


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("smtp://mail.example.org", SmtpSettings("mail.example.org", 25)),
        ("smtp://mail.example.org:2525/", SmtpSettings("mail.example.org", 2525)),
        ("smtp://mail.example.org?tls=starttls", SmtpSettings("mail.example.org", 587, tls="starttls")),
        ("smtps://mail.example.org", SmtpSettings("mail.example.org", 465, tls="tls")),
        ("smtp://mail.example.org?tls=tls", SmtpSettings("mail.example.org", 465, tls="tls")),
        ("smtp://[::1]:1025?tls=none", SmtpSettings("::1", 1025, tls="none")),
        ("smtp://a%40b.c:p%3A%2F%40%25@mx:26", SmtpSettings("mx", 26, "a@b.c", "p:/@%")),
        (
            "smtp://mx?connections=2&timeout=1.5&data_timeout=9&idle=3&messages=0&verify=no&helo=me.example.org&ca=/etc/ca.pem",
            SmtpSettings(
                "mx", connections=2, timeout=1.5, data_timeout=9, idle=3, messages=0, verify=False, helo="me.example.org", ca="/etc/ca.pem"
            ),
        ),
    ],
)
def test_an_address_is_read(url: str, expected: SmtpSettings):
    assert SmtpSettings.from_url(url) == expected


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("", "must begin with smtp://"),
        ("mail.example.org:25", "must begin with smtp://"),
        ("http://mail.example.org", "must begin with smtp://"),
        ("smtp://", "names no host"),
        ("smtp://u:hunter2@:25", "names no host"),
        ("smtp://u:hunter2@mx:99999", "valid host and port"),
        ("smtp://u:hunter2@mx:abc", "valid host and port"),
        ("smtp://u:hun/ter2@mx", "host"),
        ("smtp://u:hunter2@mx/inbox", "must end after host"),
        ("smtp://u@mx", "both a user name and a password"),
        ("smtp://u:hunter2@mx?tls=maybe", "'maybe' must be one of opportunistic, none, starttls, tls"),
        ("smtp://u:hunter2@mx?conections=3", "unknown option 'conections'"),
        ("smtp://u:hunter2@mx?connections=0", "whole number from 1"),
        ("smtp://u:hunter2@mx?connections=-1", "whole number from 1"),
        ("smtp://u:hunter2@mx?timeout=nan", "number of seconds above 0"),
        ("smtp://u:hunter2@mx?timeout=soon", "number of seconds above 0"),
        ("smtp://u:hunter2@mx?verify=1", "yes or no"),
        ("smtp://u:hunter2@mx?helo=a%0d%0ab", "without spaces"),
        ("smtps://u:hunter2@mx?tls=none", "smtps:// means TLS"),
    ],
)
def test_a_wrong_address_is_refused_in_words_that_do_not_tell_the_password(url: str, complaint: str):
    with pytest.raises(Invalid, match=r".+") as caught:
        SmtpSettings.from_url(url)
    assert complaint in caught.value.message
    assert "hunter2" not in caught.value.message
    assert "ter2" not in caught.value.message
    assert caught.value.__cause__ is None


def test_settings_are_shown_without_the_password():
    settings = SmtpSettings.from_url("smtp://us:hunter2@mx")
    for shown in (repr(settings), str(settings), f"{settings}", pretty_repr(settings)):
        assert "hunter2" not in shown
        assert "us" in shown


@pytest.mark.parametrize(
    ("url", "guarded"),
    [
        ("smtp://mx", False),
        ("smtp://u:p@mx", True),
        ("smtp://u:p@127.0.0.1", False),
        ("smtp://u:p@mx?tls=none", False),
        ("smtp://mx?tls=starttls", True),
        ("smtps://127.0.0.1", True),
    ],
)
def test_a_password_does_not_cross_a_network_unprotected_unless_told_to(url: str, guarded: bool):
    assert SmtpSettings.from_url(url).guarded is guarded
