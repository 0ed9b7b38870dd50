"""What a server's answer means, as it was seen from real servers."""

import pytest

from tidings.providers.smtp.codes import HOUR, MINUTE, SECOND, Reply, outcome_of, outcome_of_recipients, queue_id, read_reply


def reply(line: str) -> Reply:
    found = read_reply([part.encode() + b"\r" for part in line.split("|")])
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("line", "kind", "code", "retry_after"),
    [
        # Postfix
        ("550 5.1.1 <a@b.c>: Recipient address rejected: User unknown in virtual mailbox table", "refused", "5.1.1", None),
        ("554 5.7.1 <a@b.c>: Relay access denied", "refused", "5.7.1", None),
        ("450 4.1.8 <a@b.c>: Sender address rejected: Domain not found", "deferred", "4.1.8", None),
        ("450 4.2.0 <a@b.c>: Recipient address rejected: Greylisted, see http://postgrey.example/", "deferred", "4.2.0", 5 * MINUTE),
        ("451 4.7.1 Greylisting in action, please come back in 300 seconds", "deferred", "4.7.1", 300 * SECOND),
        ("452 4.3.1 Insufficient system storage", "deferred", "4.3.1", None),
        ("552 5.3.4 Message size exceeds fixed limit", "refused", "5.3.4", None),
        ("530 5.7.0 Must issue a STARTTLS command first", "paused", "", None),
        ("454 4.7.0 Temporary authentication failure: Connection lost to authentication server", "paused", "", 5 * MINUTE),
        # Amazon SES
        ("454 Throttling failure: Maximum sending rate exceeded.", "deferred", "4.0.0", 5 * SECOND),
        ("454 Throttling failure: Daily message quota exceeded.", "paused", "", HOUR),
        ("535 Authentication Credentials Invalid", "paused", "", None),
        ("554 Message rejected: Email address is not verified.", "refused", "5.0.0", None),
        # Gmail
        ("550-5.4.5 Daily user sending limit exceeded. For more information on Gmail|550 5.4.5 sending limits go to …", "paused", "", HOUR),
        ("550-5.1.1 The email account that you tried to reach does not exist.|550 5.1.1 more", "refused", "5.1.1", None),
        ("452 4.2.2 The email account that you tried to reach is over quota", "deferred", "4.2.2", None),
        # Exchange Online
        ("530 5.7.57 Client not authenticated to send mail", "paused", "", None),
        ("550 5.7.57 SMTP; Client was not authenticated to send anonymous mail during MAIL FROM", "paused", "", None),
        ("550 5.7.8 rejected by content filter", "refused", "5.7.8", None),
        # No enhanced code at all
        ("550 no such user", "refused", "5.1.0", None),
        ("499 strange", "deferred", "4.0.0", None),
        ("451 try again in 2 hours", "deferred", "4.3.0", 2 * HOUR),
    ],
)
def test_an_answer_is_classified(line: str, kind: str, code: str, retry_after: int | None):
    outcome = outcome_of(reply(line))
    assert (outcome.kind, outcome.code, outcome.retry_after) == (kind, code, retry_after)
    assert line[:3] in outcome.reason


def test_the_lines_of_an_answer_become_one_sentence_without_control_characters():
    found = reply("550-5.7.1 one\x07|550-5.7.1 two|550 5.7.1 three")
    assert str(found) == "550 5.7.1 one two three"


@pytest.mark.parametrize("lines", [[b"hello\r"], [b""], [b"25\r"], [b"999 what\r"], [b"250-a\r", b"550 b\r"], [b"2500 x\r"]])
def test_what_is_no_answer_is_not_taken_for_one(lines: list[bytes]):
    assert read_reply(lines) is None


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("250 2.0.0 Ok: queued as 4F3xQ12ab", "4F3xQ12ab"),
        ("250 OK id=1rAbCd-0005Xy-2B", "1rAbCd-0005Xy-2B"),
        ("250 Ok 0102018c1f3e-abc-000000", "0102018c1f3e-abc-000000"),
        ("250 2.0.0 OK  1700000000 a1-20020a05600c gsmtp", "1700000000"),
        ("250 2.0.0 x1H2K3 Message accepted for delivery", "x1H2K3"),
        ("250 2.0.0 Ok", ""),
        ("250 Great success", ""),
    ],
)
def test_the_servers_own_name_for_a_message_is_found(line: str, name: str):
    assert queue_id(line.encode()) == name


def test_recipients_refused_for_good_refuse_the_message_and_name_each():
    outcome = outcome_of_recipients([("a@x", reply("550 5.1.1 no")), ("b@x", reply("553 5.1.3 bad"))])
    assert (outcome.kind, outcome.code) == ("refused", "5.1.1")
    assert "a@x: 550" in outcome.reason
    assert "b@x: 553" in outcome.reason


@pytest.mark.parametrize(
    ("line", "gone"),
    [
        ("550 5.1.1 no such user", True),
        ("550 5.1.2 no such domain", True),
        ("553 5.1.3 no address", True),
        ("551 5.1.6 moved", True),
        ("556 5.1.10 takes no mail", True),
        ("550 no such user", False),
        ("550 5.1.0 rejected", False),
        ("550 5.7.1 policy", False),
        ("552 5.2.2 full", False),
        ("550 5.2.1 disabled", False),
        ("450 4.1.1 unverified", False),
        ("550 5.1.1 Sender address rejected: user unknown", False),
    ],
)
def test_only_a_status_that_speaks_of_the_address_for_good_suppresses_it(line: str, gone: bool):
    assert outcome_of_recipients([("a@x", reply(line))]).suppress == ((("a@x", "bounced"),) if gone else ())


def test_of_several_refused_those_are_suppressed_whom_nothing_will_reach():
    outcome = outcome_of_recipients([("a@x", reply("550 5.7.1 no")), ("b@x", reply("550 5.1.1 nobody"))])
    assert (outcome.kind, outcome.suppress) == ("refused", (("b@x", "bounced"),))


def test_one_recipient_refused_for_now_is_reason_enough_to_try_again():
    outcome = outcome_of_recipients([("a@x", reply("550 5.1.1 no")), ("b@x", reply("450 4.2.1 later"))])
    assert (outcome.kind, outcome.code) == ("deferred", "4.2.1")
