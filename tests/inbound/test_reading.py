"""What is new in an answer, what HTML may stay, what a bounce says; and our own mail, read as a stranger's."""

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.inbound.mails import raw
from tests.rendering.test_compose import content, due, email
from tidings.inbound.bounces import Bounce, is_hard
from tidings.inbound.clean import clean
from tidings.inbound.kind import Automatic, Complaint, Reply, kind_of
from tidings.inbound.quotes import new_part
from tidings.message.incoming import Incoming, read
from tidings.message.outgoing import Address

TAG = re.compile(r'<(\w+)((?: [\w-]+="[^"]*")+)>')
ATTRIBUTE = re.compile(r' [\w-]+="[^"]*"')
WORDS = st.text(alphabet=st.characters(codec="utf-8", blacklist_characters="\r\0\ufeff"), max_size=150)
QUOTES = st.sampled_from(
    [
        "On Mon, May 5, 2025 at 9:00 AM The Shop <letters@shop.test> wrote:\n> Dear Ann\n>\n> bye\n",
        "Am 05.05.25 um 09:00 schrieb Der Laden:\n> Liebe Ann\n",
        "________________________________\nFrom: The Shop <letters@shop.test>\nSent: Monday\nTo: Ann\nSubject: x\n\nDear Ann\n",
        "-----Original Message-----\nFrom: The Shop\n\nDear Ann\n",
        "> Le 5 mai 2025 à 09:00, La Boutique <x@shop.test> a écrit :\n> \n> Chère Ann\n",
    ]
)
NEW = st.lists(
    st.sampled_from(["Yes, please.", "Danke!", "Call me on Monday at 10:00", "- one", "", "I sent it from home.", "What of 5.5.?"]),
    min_size=1,
)


def answer_of(text: str, **more: Any) -> str:
    return new_part(Incoming(Address("ann@reader.test"), text=text, in_reply_to="<c42@shop.test>", **more))


@given(NEW, QUOTES)
def test_what_stands_above_a_quote_is_the_answer_and_all_of_it(lines: list[str], quote: str) -> None:
    new = "\n".join(lines).strip()
    if new:
        assert answer_of(f"{new}\n\n{quote}") == new


@given(WORDS, QUOTES, WORDS)
def test_an_answer_is_never_empty_nor_anything_that_was_not_written(before: str, quote: str, after: str) -> None:
    text = f"{before}\n{quote}{after}"
    answer = answer_of(text)
    words = iter(text.split())
    assert answer
    assert all(word in words for word in answer.split())


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Yes.\n\nSent from my iPhone", "Yes."),
        ("Ja.\n\nGesendet mit der GMX Mail App", "Ja."),
        ("Oui.\n\nEnvoyé depuis mon téléphone Samsung", "Oui."),
        ("Sí.\n\nEnviado desde mi iPhone", "Sí."),
        ("Sì.\n\nInviato da iPhone", "Sì."),
        ("Ja.\n\nVerstuurd vanaf mijn iPad", "Ja."),
        ("Sent from the office by courier", "Sent from the office by courier"),
        ("Sent from my iPhone", "Sent from my iPhone"),
        ("It was\n-- \nnot so short\n" + "line\n" * 20, "It was\n-- \nnot so short\n" + "line\n" * 19 + "line"),
    ],
)
def test_what_a_mobile_client_adds_is_left_out_unless_it_is_all_there_is(text: str, answer: str) -> None:
    assert answer_of(text) == answer


def test_a_signature_can_be_kept() -> None:
    mail = read(raw("quote-signature"))
    assert new_part(mail, signature=True) == "See you.\n\n-- \nAnn Lee\n+49 30 123"


def test_a_first_mail_that_looks_like_a_quote_is_kept_whole() -> None:
    text = "Please explain:\n\nFrom: The Shop <letters@shop.test>\nSent: Monday\nTo: Ann\nSubject: x\n\nDear Ann"
    assert new_part(Incoming(Address("ann@reader.test"), subject="A question", text=text)) == text


@pytest.mark.parametrize(
    ("html", "cleaned"),
    [
        ("<p onclick='x()'>a<script>b</script></p>", "<p>a</p>"),
        ('<a href="https://x.test" target=_top onmouseover=y>a</a>', '<a href="https://x.test" rel="noopener noreferrer nofollow">a</a>'),
        ('<a href="java&#10;script:x">a</a>', '<a rel="noopener noreferrer nofollow">a</a>'),
        ('<a href="data:text/html,x">b</a>', '<a rel="noopener noreferrer nofollow">b</a>'),
        ('<a href="//evil.test">a</a><a href="/v1/keys">b</a>', '<a rel="noopener noreferrer nofollow">a</a><a rel="noopener noreferrer nofollow">b</a>'),
        ('<img src="cid:logo@x.test">', '<img src="cid:logo@x.test" loading="lazy" referrerpolicy="no-referrer">'),
        ('<img src="https://x.test/p.png" srcset="y" width="1">', '<img src="https://x.test/p.png" width="1" loading="lazy" referrerpolicy="no-referrer">'),
        ('<img src="data:image/png;base64,AA">', '<img src="data:image/png;base64,AA" loading="lazy" referrerpolicy="no-referrer">'),
        ('<img src="data:image/svg+xml,x">', '<img loading="lazy" referrerpolicy="no-referrer">'),
        ('<p style="color:red;position:fixed;background:url(//x.test)">a</p>', '<p style="color:red">a</p>'),
        ('<div id="login" class="modal">a</div><base href="//x.test"><meta http-equiv=refresh content=0>', "<div>a</div>"),
        ("<form action=//x.test><input name=p><button>a</button></form>", "a"),
    ],
)  # fmt: skip
def test_html_keeps_what_it_says_and_loses_what_acts(html: str, cleaned: str) -> None:
    assert sorted_attributes(clean(html)) == sorted_attributes(cleaned)


def sorted_attributes(html: str) -> str:
    """The sanitiser writes attributes in any order."""
    return TAG.sub(lambda tag: f"<{tag[1]}{''.join(sorted(ATTRIBUTE.findall(tag[2])))}>", html)


@pytest.mark.parametrize("opening", ["<!--", "<!", "<?", "<style>", "<script>"])
def test_a_mail_of_openings_that_nothing_closes_is_read_through_once(opening: str) -> None:
    """It would take hours otherwise."""
    head = b"From: ann@reader.test\r\nContent-Type: text/html\r\n\r\nYes, please"
    found = read(head + 400_000 * opening.encode())
    assert found.text.startswith("Yes, please")


@pytest.mark.parametrize("line", ["-" * 300_000 + "x", "-- " * 100_000 + "x", ("-" * 50 + " ") * 6_000 + "x"])
def test_a_report_of_dashes_is_read_through_once(line: str) -> None:
    """The same; it is sought for the line above which the server speaks."""
    head = "From: MAILER-DAEMON@mx.test\r\nSubject: Undeliverable\r\n\r\n<ann@reader.test>: 550 5.1.1 no such user\r\n"
    kind = kind_of(read(f"{head}{line}\r\n".encode()))
    assert isinstance(kind, Bounce)
    assert [(one.address, one.status) for one in kind.recipients] == [("ann@reader.test", "5.1.1")]


@pytest.mark.parametrize(
    ("status", "reason", "hard"),
    [
        ("5.1.1", "", True), ("5.1.10", "", True), ("5.0.0", "", True), ("5.4.1", "Recipient address rejected: Access denied", True),
        ("5.2.1", "account disabled", True), ("5.2.2", "", False), ("5.0.0", "552 Mailbox is full", False), ("5.3.4", "too large", False),
        ("5.6.0", "", False), ("5.7.1", "rejected as spam", False), ("5.7.1", "Recipient unknown", True), ("4.1.1", "user unknown", False),
        ("", "user unknown", False), ("2.0.0", "", False), ("nonsense", "", False),
    ],
)  # fmt: skip
def test_only_what_speaks_of_the_address_for_good_is_hard(status: str, reason: str, hard: bool) -> None:
    assert is_hard(status, reason) is hard


@pytest.mark.parametrize(
    ("changes", "automatic"),
    [
        ({}, False),
        ({"headers": (("Auto-Submitted", "NO"),)}, False),
        ({"headers": (("Auto-Submitted", "auto-replied; owner-email=\"x\""),)}, True),
        ({"headers": (("Precedence", "list"),)}, False),
        ({"headers": (("Precedence", " Auto_Reply "),)}, True),
        ({"headers": (("X-AutoReply", "No"),)}, False),
        ({"return_path": ""}, True),
        ({"return_path": None}, False),
        ({"subject": "Automatic reply: hello"}, False),
        ({"subject": "Réponse automatique : bonjour", "text": "Je suis absent jusqu'au 5 mai"}, True),
        ({"subject": "Automatisch antwoord: hallo", "headers": (("X-Auto-Response-Suppress", "All"),)}, True),
        ({"subject": "Respuesta automática: hola", "sender": Address("no-reply@reader.test")}, True),
        ({"subject": "Re: hello", "text": "I am out of the office tomorrow, so call me today."}, False),
    ],
)  # fmt: skip
def test_a_machine_is_known_by_its_headers_and_by_its_subject_only_with_more(changes: dict[str, Any], automatic: bool) -> None:
    mail = Incoming(**({"sender": Address("ann@reader.test"), "text": "Hello"} | changes))
    assert isinstance(kind_of(mail), Automatic if automatic else Reply)


@pytest.mark.parametrize(
    ("sender", "path", "subject", "kind"),
    [
        ("Ann, System Administrator <ann@reader.test>", "ann@reader.test", "Re: Your parcel could not be delivered", Reply),
        ("postmaster@reader.test", "postmaster@reader.test", "AW: Ihr Paket wurde nicht zugestellt", Reply),
        ("ann@reader.test", "", "Re: Your parcel could not be delivered", Automatic),
        ("ann@reader.test", "", "Automatic reply: Your parcel could not be delivered", Automatic),
        ("postmaster@reader.test", "", "Undeliverable: Re: Your parcel", Bounce),
    ],
)
def test_an_answer_to_a_mail_about_something_undelivered_is_no_bounce(sender: str, path: str, subject: str, kind: type) -> None:
    words = "I am back on Monday; write to bob@reader.test."
    mail = read(f"Return-Path: <{path}>\r\nFrom: {sender}\r\nSubject: {subject}\r\nIn-Reply-To: <c1.1@shop.test>\r\n\r\n{words}".encode())
    assert type(kind_of(mail)) is kind


def test_a_bounce_gives_the_servers_own_words() -> None:
    kind = kind_of(read(raw("bounce-qmail")))
    assert isinstance(kind, Bounce)
    assert [one.reason for one in kind.recipients] == [
        "Sorry, no mailbox here by that name. (#5.1.1)",
        "192.0.2.7 failed after I sent the message. Remote host said: 452 4.2.2 Mailbox full",
    ]


def test_a_complaint_names_its_kind() -> None:
    kind = kind_of(read(raw("complaint-arf")))
    assert kind == Complaint("abuse", "<c42.tidings@shop.test>", ("ann@reader.test", "Bob@reader.test"))


@settings(max_examples=100, deadline=None)
@given(WORDS, WORDS, st.booleans())
def test_our_own_mail_reads_as_it_was_made(value: str, subject: str, html: bool) -> None:
    made = content("<p>{{ a|safe }}</p>" if html else "-{{ a }}.", **({"text": "-{{ a }}."} if html else {"format": "text"}))
    sealed = email(
        due(subject=subject.replace("{", ""), variables={"a": value}, recipients='{"to":["Ann Lee <ann@a.test>"],"cc":["bob@b.test"]}'),
        made,
    )
    mail = read(sealed.raw)
    assert mail.text.rstrip("\n") == f"-{value}.".rstrip("\n")
    assert (mail.sender, mail.message_id) == (Address("letters@shop.test", "The Shop"), sealed.message_id)
    assert (mail.to, mail.cc) == ((Address("ann@a.test", "Ann Lee"),), (Address("bob@b.test"),))
    assert mail.date is not None
    assert mail.notes == ()
    assert mail.subject.split() == sealed.subject.split()
