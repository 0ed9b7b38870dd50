"""Incoming mail is read whatever it looks like: never a crash, never more than the bounds, and well-formed mail as the standard library reads it."""

from email.message import EmailMessage
from email.policy import SMTP
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.inbound.mails import WANTED, deep_html, huge_subject, many_parts, many_recipients, nested, raw
from tidings.errors import TooLarge
from tidings.inbound.clean import clean
from tidings.inbound.kind import kind_of
from tidings.inbound.quotes import new_part
from tidings.message.incoming import LARGEST, MOST_RECIPIENTS, SUBJECT_LENGTH, Incoming, read
from tidings.message.incoming_charsets import codec_of, decode
from tidings.message.incoming_html import DEEPEST, tame
from tidings.message.parse import MOST_PARTS

CORPUS = [raw(name) for name in WANTED]
TEXT = st.text(alphabet=st.characters(codec="utf-8", blacklist_characters="\r\0"), max_size=200)
LINE = st.text(alphabet=st.characters(codec="utf-8", blacklist_categories=["Cc", "Zl", "Zp", "Cs"]), max_size=60)
PIECES = [
    b"\r\n", b"\n", b"\r", b"--", b"=?utf-8?B?", b"?=", b"Content-Type: multipart/mixed; boundary=", b'"', b"<", b">", b",", b"(", b"\\", b"\0",
    b"\xff", b"; charset=", b"*0*=", b"base64", b"> ", b"On 1 May 2025 at 10:00, a <a@b.test> wrote:", b"<blockquote type=cite>", b"<div>", b"From: ",
    b"\xed\xa0\x80", b"-----Original Message-----", b"Content-Transfer-Encoding: quoted-printable\n", b"name*=x''%", b"Date: 99", b":",
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A mail of the corpus with pieces cut out, doubled, moved to another mail, or put in."""
    mail = bytearray(draw(st.sampled_from(CORPUS)))
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(mail)))
        end = min(len(mail), start + draw(st.integers(0, 200)))
        how = draw(st.integers(0, 3))
        if how == 0:
            del mail[start:end]
        elif how == 1:
            mail[start:start] = mail[start:end]
        elif how == 2:
            mail[start:end] = draw(st.sampled_from(PIECES))
        else:
            mail[start:] = draw(st.sampled_from(CORPUS))[start:]
    return bytes(mail)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(mutated() | st.binary(max_size=400) | st.lists(st.sampled_from(PIECES), max_size=60).map(b"".join))
@example(b"")
@example(b"\0")
@example(b"Content-Type: text/plain; name*=a; name*0*=b\r\n\r\nx")
@example(b'Content-Type: multipart/mixed; boundary="-- "\r\n\r\n---- \r\n\r\n')
def test_nothing_at_all_makes_reading_fail(mail: bytes) -> None:
    read_through(mail)


def read_through(mail: bytes) -> Incoming:
    """Reads a mail, judges it, cleans it; checks what must hold of anything."""
    found = read(mail)
    answer = new_part(found)
    kind_of(found)
    kept = [found.subject, found.text, found.html, found.sender.name, answer, clean(found.html), *(file.filename for file in found.files)]
    assert not [text for text in kept if "\0" in text]
    assert "".join(kept).encode("utf-8").decode("utf-8") == "".join(kept)
    assert "\r" not in found.text
    assert "\n" not in found.subject + found.sender.name
    assert all(file.filename and "/" not in file.filename for file in found.files)
    words = iter(found.text.split())
    assert all(word in words for word in answer.split()), "the answer is a part of the text"
    assert bool(answer) == bool(found.text.strip())
    return found


@settings(max_examples=150, deadline=None)
@given(TEXT, TEXT, LINE, LINE, LINE, st.binary(max_size=200), st.booleans())
def test_well_formed_mail_reads_as_the_standard_library_wrote_it(
    text: str, html: str, subject: str, name: str, file: str, data: bytes, cte: bool
) -> None:
    message = EmailMessage()
    message["Subject"] = subject
    message["From"] = "Ann <ann@reader.test>"
    message["To"] = "a@shop.test, Bob <b@shop.test>"
    message["Message-ID"] = "<m1@reader.test>"
    message["References"] = "<a@shop.test> <b@shop.test>"
    message["Date"] = "Mon, 05 May 2025 10:12:00 +0200"
    message.set_content(text, cte="base64" if cte else "quoted-printable")
    message.add_alternative(html, subtype="html", cte="quoted-printable" if cte else "base64")
    message.add_attachment(data, "application", "pdf", filename=f"x{file}.pdf", cte="base64")
    found = read_through(message.as_bytes(policy=SMTP))
    if text.strip():
        assert found.text.rstrip("\n") == text.rstrip("\n")
    assert found.subject.split() == subject.split()
    assert [person.email for person in found.to] == ["a@shop.test", "b@shop.test"]
    assert (found.message_id, found.references, found.date) == ("<m1@reader.test>", ("<a@shop.test>", "<b@shop.test>"), 1_746_432_720_000)
    assert [one.content for one in found.files] == [data]


def test_a_mail_of_25_mib_is_read_and_one_byte_more_is_refused() -> None:
    mail = b"From: ann@reader.test\r\n\r\n"
    assert read(mail + b"x" * (LARGEST - len(mail))).size == LARGEST
    with pytest.raises(TooLarge, match="25 MiB"):
        read(mail + b"x" * (LARGEST - len(mail) + 1))


@pytest.mark.parametrize("levels", [29, 30, 500, 20_000])
def test_multiparts_in_one_another_are_read_so_deep_and_kept_in_one_piece_below(levels: int) -> None:
    found = read_through(nested(levels))
    if levels <= 30:
        assert (found.text.strip(), found.files) == ("deep words", ())
    else:
        (file,) = found.files
        assert b"deep words" in file.content
        assert file.content_type == "multipart/mixed"


def test_parts_beyond_the_thousandth_are_kept_in_one_piece() -> None:
    found = read_through(many_parts(5000))
    (rest,) = found.files
    assert "part 999" in found.text
    assert b"part 1000" in rest.content
    assert b"part 4999" in rest.content
    assert str(MOST_PARTS)[:1] in found.notes[0]


def test_ten_thousand_recipients_are_cut_and_the_address_it_came_to_is_kept() -> None:
    found = read_through(many_recipients(10_000))
    assert len(found.to) == MOST_RECIPIENTS
    assert (found.to[0].email, found.to[-1].name) == ("person0@reader.test", "Person 999")
    assert found.recipients[0] == "reply+tok@in.shop.test"
    assert found.notes == ("To lists more than 1,000 addresses; the first 1,000 are kept",)


def test_a_huge_subject_is_cut_and_said_so() -> None:
    found = read_through(huge_subject(100_000))
    assert found.subject.startswith("Größe Größe ")
    assert SUBJECT_LENGTH - 1 <= len(found.subject) <= SUBJECT_LENGTH
    assert found.notes == ("The subject is longer than 998 characters; those are kept",)


def test_html_without_end_is_flattened_before_any_parser_sees_it() -> None:
    found = read_through(deep_html(300_000))
    assert found.text.strip() == "deep words"
    assert found.html.count("<div>") == DEEPEST


@pytest.mark.parametrize(
    ("html", "tamed"),
    [
        ("<p>a<p>b", "<p>a<p>b"),
        ("<div><b>x</div>y", "<div><b>x</b></div>y"),
        ("</div>x<br/>", "x<br>"),
        ('<a href=x title="<div>">t</a>', '<a href="x" title="&lt;div&gt;">t</a>'),
        ("a < b <3 <", "a &lt; b &lt;3 &lt;"),
        ("<!-- <div> --><!--[if mso]>x<![endif]-->y", "y"),
        ("<script>if (a < b) '</div>'</script>z", "z"),
        ("text <b and no end", "text &lt;b and no end"),
        ("<table><tr><td><div></td></tr></table>", "<table><tr><td><div></td></tr></div></table>"),
        ("<o:p>word</o:p><custom-tag>s</custom-tag>", "words"),
    ],
)
def test_html_is_balanced_and_its_text_is_kept(html: str, tamed: str) -> None:
    assert tame(html) == tamed


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("windows-874", "cp874"), ("UTF8", "utf-8"), ("x-cp1252", "cp1252"), ("cp-850", "cp850"), ("ks_c_5601-1987", "cp949"), ("GB2312", "gb18030"),
        ("unknown-8bit", ""), ("x-user-defined", ""), ("zip", ""), ("base64", ""), ("idna", ""), ("unicode_escape", ""), ("..", ""), ("a\0b", ""),
        ("x" * 1000, ""), ("\udcff", ""), ("", ""), ("cp00001", ""), ("undefined", ""),
    ],
)  # fmt: skip
def test_charsets_are_known_by_what_people_call_them_and_codecs_that_are_none_are_not(name: str, codec: str) -> None:
    assert codec_of(name) == codec


@given(
    st.binary(max_size=200),
    st.text(max_size=20) | st.sampled_from(["utf-8", "utf-7", "utf-16", "iso-2022-jp", "hz", "gb18030", "euc-kr", "cp864"]),
)
def test_decoding_never_fails(data: bytes, charset: str) -> None:
    assert isinstance(decode(data, charset), str)


def test_reading_takes_no_more_than_linear_work_on_what_was_made_to_take_more() -> None:
    # Each of these would take minutes if any step were quadratic; that the test ends is the test.
    made: dict[str, Any] = {
        "quotes": b"From: " + b'"\\"' * 100_000,
        "words": b"Subject: " + b"=?utf-8?q?a" * 50_000,
        "parameters": b'Content-Type: text/plain; a="' + b'\\"x="' * 50_000,
        "fields": b"X: y\n" * 300_000,
        "garbage": b"no header\n" * 300_000,
        "boundaries": b"Content-Type: multipart/mixed; boundary=a\n\n" + b"--a\n" * 300_000,
        "carriage returns": b"\r" * 500_000,
        "attributions": b"In-Reply-To: <a@b.test>\n\n" + b"On 1 wrote a a a a a a a a:\n" * 18_000,
        "mailboxes in a letter": b"From: MAILER-DAEMON@a.test\nSubject: failure notice\n\n" + b"  a@b.test\n" * 2000,
        "attributes": b"Content-Type: text/html\n\n" + b"<a b='" * 100_000,
    }
    for mail in made.values():
        read_through(mail)
