"""What each carrier posts is read alike, whether it hands on the whole mail or its pieces; and what is broken is refused with a sentence."""

import base64
import json
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.inbound import carriers
from tests.inbound.carriers import AT, MULTIPART, URLENCODED
from tidings.api import bodies
from tidings.errors import Malformed, TooLarge
from tidings.inbound import hooks
from tidings.inbound.bounces import Bounce
from tidings.inbound.clean import clean
from tidings.inbound.hooks import Arrived, Field, Posted, resend
from tidings.inbound.kind import Automatic, Complaint, Reply, kind_of
from tidings.inbound.quotes import new_part
from tidings.inbound.sources import Mailgun, Postmark, Resend, SendGrid, Settings
from tidings.message.incoming import LARGEST, Incoming

MAILGUN, SENDGRID = Mailgun(carriers.SIGNING_KEY), SendGrid()
RESEND = Resend(carriers.SECRET, carriers.API_KEY)
FIRST, ZEROTH = "<first@mail.example.org>", "<zeroth@mail.example.org>"
CHARSETS = '{"to":"UTF-8","html":"iso-8859-1","subject":"cp850","from":"UTF-8","text":"windows-1252"}'
DELIVERY_STATUS = b"""Reporting-MTA: dns; mail.example.org

Final-Recipient: rfc822; ann@example.org
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 no such user
"""


async def read(body: bytes, settings: Settings, kind: str = "application/json", **headers: str) -> Arrived:
    fields = [Field(*piece) for piece in bodies.pieces(body, kind)] if kind != "application/json" else []
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    arrived = await hooks.read(Posted({"content-type": kind} | named, body, AT, fields), settings)
    assert arrived is not None
    return arrived


async def postmark(**changes: Any) -> Arrived:
    return await read(json.dumps(carriers.loaded("postmark.json") | changes).encode(), Postmark())


async def mailgun(**others: Any) -> Arrived:
    return await read(carriers.form(carriers.mailgun_fields(**others), carriers.mailgun_files()), MAILGUN, MULTIPART)


async def sendgrid(body: bytes | None = None) -> Arrived:
    return await read(carriers.sendgrid_form() if body is None else body, SENDGRID, MULTIPART)


async def resent(body: bytes | None = None) -> Arrived:
    body = carriers.sample("resend_event.json") if body is None else body
    return await read(body, RESEND, **carriers.resend_signed(body))


def files(mail: Incoming) -> list[tuple[str, str, bytes, str | None, bool]]:
    return [(file.filename, file.content_type, file.content, file.content_id, file.inline) for file in mail.files]


def assert_is_the_sample(mail: Incoming) -> None:
    """What all samples have in common."""
    assert (mail.sender.email, mail.in_reply_to, mail.references) == ("ann@example.org", FIRST, (ZEROTH, FIRST))
    assert mail.sender.name.endswith("Müller")
    assert "run()" not in clean(mail.html)
    assert isinstance(kind_of(mail), Reply)


async def test_postmark_tells_a_mail_in_pieces():
    arrived = await postmark()
    mail = arrived.mail
    assert_is_the_sample(mail)
    assert arrived.raw == b""
    assert arrived.envelope.reached == ("hello@acme.test",)
    assert mail.sender.name == 'Ann "the quick" Müller'
    assert [(person.email, person.name) for person in mail.to] == [("yourhash+SampleHash@inbound.postmarkapp.example", "Acme, Inc.")]
    assert [person.email for person in mail.cc] == ["firstcc@example.org", "secondCc@example.org"]
    assert [person.email for person in mail.reply_to] == ["replyto@example.org"]
    assert mail.subject == "Re: Your order, its Größe"
    assert mail.message_id == "<CAGXpo2WKfxHWZ5UFYCR3H_J9SNMG+5AXUovfEFL6DjWBJSyZaA@mail.example.org>"
    assert mail.date == 1_406_925_932_000
    assert mail.return_path == "bounces@example.org"
    assert new_part(mail) == "This is a test text body. Grüße"
    assert clean(mail.html).startswith("<p>This is a test html body. Grüße</p><img ")
    assert files(mail) == [
        ("test.txt", "text/plain", b"This is attachment contents, base-64 encoded.", None, False),
        ("myimage.png", "image/png", b"\x89PNG\r\n\x1a\n", "myimage.png@01CE7342.75E71F80", True),
    ]


async def test_mailgun_tells_a_mail_in_pieces():
    arrived = await mailgun()
    mail = arrived.mail
    assert_is_the_sample(mail)
    assert arrived.raw == b""
    assert arrived.envelope.reached == ("hello@acme.test",)
    assert [person.email for person in mail.to] == ["hello@acme.test"]
    assert [person.email for person in mail.cc] == ["firstcc@example.org"]
    assert (mail.subject, mail.message_id) == ("Re: Your order, its Größe", "<517ACC75.5010709@mail.example.org>")
    assert mail.date == 1_367_002_229_000
    assert mail.return_path == "ann@example.org"
    assert new_part(mail) == "Hi Acme,\n\nThis is Ann. Grüße"
    assert "onerror" not in clean(mail.html)
    assert files(mail) == [
        ("crabby.txt", "text/plain", b"This is attachment contents, as sent.", None, False),
        ("attached_файл.png", "image/png", b"not really a picture", "part1.04060802.06030207@mail.example.org", True),
    ]


async def test_mailgun_posts_a_mail_without_files_urlencoded():
    body = urlencode(carriers.mailgun_fields(attachment_count=None, content_id_map=None)).encode()
    mail = (await read(body, MAILGUN, URLENCODED)).mail
    assert_is_the_sample(mail)
    assert new_part(mail) == "Hi Acme,\n\nThis is Ann. Grüße"
    assert mail.files == ()


async def test_sendgrid_tells_a_mail_in_pieces():
    arrived = await sendgrid()
    mail = arrived.mail
    assert_is_the_sample(mail)
    assert arrived.raw == b""
    assert arrived.envelope.reached == ("hello@acme.test",)
    assert [person.email for person in mail.to] == ["parse@inbound.example.net"]
    assert (mail.subject, mail.date) == ("Re: Different Order", 1_469_652_785_000)
    assert mail.message_id == "<CAN_P_JMvV7ZpAQhOnDienypLrJmuhN=LQWweu4yScw4jQyXY2w@mail.example.org>"
    assert mail.return_path == "ann@example.org"
    assert new_part(mail) == "Here's an email with multiple attachments"
    assert files(mail) == [
        ("Bestellung Größe.txt", "text/plain", b"This is attachment contents, as sent.", None, False),
        ("map.png", "image/png", b"not really a picture", "ii_139db99fdb5c3704", True),
    ]


async def test_resend_is_asked_for_a_mail_in_pieces(monkeypatch: pytest.MonkeyPatch):
    async with carriers.resend_server() as server:
        monkeypatch.setattr(resend, "API", server.url)
        server.holds()
        arrived = await resent()
    mail = arrived.mail
    assert_is_the_sample(mail)
    assert arrived.raw == b""
    assert arrived.envelope.reached == ("hello@acme.test", "firstcc@example.org")
    assert [person.email for person in mail.to] == ["hello@acme.test"]
    assert (mail.subject, mail.message_id) == ("Re: Your order, its Größe", "<example+123@mail.example.org>")
    assert mail.text_is_derived
    assert mail.text.strip() == "Congrats on sending your first email!"
    assert files(mail) == [("avatar.png", "image/png", b"not really a picture", "img001", True)]
    assert [value for name, value in mail.headers if name == "received"] == ["by mx1.example.org", "by mx2.example.org"]
    own = f"Bearer {carriers.API_KEY}"
    base = f"/emails/receiving/{carriers.EMAIL_ID}"
    assert server.asked == [(f"{base}?html_format=cid", own), (f"{base}/attachments/{carriers.FILE_ID}", own), ("/store/file", None)]


def assert_is_whole(arrived: Arrived, raw: bytes) -> None:
    assert arrived.raw == raw
    assert arrived.envelope.source_id == ""
    assert_is_the_sample(arrived.mail)
    assert new_part(arrived.mail) == "It arrived. Grüße"
    assert clean(arrived.mail.html).strip() == "<p>It arrived. Grüße</p>"
    assert files(arrived.mail) == [("test.txt", "text/plain", b"This is attachment contents, as sent.", None, False)]


async def test_the_whole_mail_is_taken_where_the_carrier_hands_it_on(monkeypatch: pytest.MonkeyPatch):
    raw = carriers.mail()
    assert_is_whole(await postmark(RawEmail=raw.decode()), raw)
    assert_is_whole(await mailgun(body_mime=raw, body_plain=None, body_html=None, message_headers=None), raw)
    assert_is_whole(await sendgrid(carriers.form(carriers.loaded("sendgrid_raw.json") | {"email": raw})), raw)
    async with carriers.resend_server() as server:
        monkeypatch.setattr(resend, "API", server.url)
        server.holds(raw)
        assert_is_whole(await resent(), raw)
        assert server.asked[-1] == ("/store/raw?signature=x", None)


async def test_bytes_of_a_whole_mail_that_are_no_utf_8_stay_as_they_are():
    raw = carriers.mail().replace(b"It arrived.", b"caf\xe9")
    assert (await mailgun(body_mime=raw)).raw == raw
    assert (await sendgrid(carriers.form(carriers.loaded("sendgrid_raw.json") | {"email": raw}))).raw == raw
    urlencoded = urlencode(carriers.mailgun_fields(body_mime=raw)).encode()
    assert (await read(urlencoded, MAILGUN, URLENCODED)).raw == raw


async def test_a_mail_in_pieces_is_the_same_however_often_it_comes():
    assert (await postmark()).envelope == (await postmark(MessageID="another", OriginalRecipient="hello@acme.test")).envelope
    assert (await mailgun()).envelope == (await mailgun(at=AT - 60_000)).envelope
    assert (await mailgun()).envelope != (await mailgun(body_plain="Something else")).envelope
    changed = carriers.sendgrid_form().replace(b"not really a picture", b"another picture ....")
    assert (await sendgrid()).envelope.source_id != (await sendgrid(changed)).envelope.source_id


async def test_fields_of_sendgrids_are_in_the_charsets_it_declares():
    fields = {
        "headers": b"Date: Fri, 24 Jul 2020 16:43:46 +0000\nMessage-ID: <a@example.org>",
        "subject": "Como usted pidió".encode("cp850"),
        "to": "Récipiendaire précieux <inbound@example.net>",
        "from": "Opérateur de test <ann@example.org>",
        "html": "<p>¿Esto se ve como esperabas?</p>".encode("iso-8859-1"),
        "text": "It is 5 € …".encode("windows-1252"),
        "charsets": CHARSETS,
    }
    mail = (await sendgrid(carriers.form(fields))).mail
    assert mail.subject == "Como usted pidió"
    assert (mail.sender.name, mail.to[0].name) == ("Opérateur de test", "Récipiendaire précieux")
    assert mail.html == "<p>¿Esto se ve como esperabas?</p>"
    assert mail.text == "It is 5 € …"
    undeclared = carriers.form({"headers": "From: ann@example.org", "text": "Grüße".encode("latin-1"), "subject": "Größe"})
    assert (await sendgrid(undeclared)).mail.text == "Grüße"


async def test_an_unknown_charset_and_broken_text_lose_no_mail():
    fields = {"headers": "From: ann@example.org", "text": b"caf\xe9 \xff\x00", "charsets": '{"text": "unknown-8bit"}'}
    assert (await sendgrid(carriers.form(fields))).mail.text == "café ÿ"
    broken = json.dumps(carriers.loaded("postmark.json") | {"TextBody": "a\0b \ud83d c \ud83d\ude00", "Headers": []})
    assert (await read(broken.encode(), Postmark())).mail.text == "ab \ufffd c 😀"
    assert (await mailgun(body_plain=b"caf\xe9", content_id_map="{")).mail.text == "caf\ufffd"


async def test_a_header_cannot_bring_another_with_it():
    mail = (await postmark(Subject="Hello\r\nIn-Reply-To: <other@example.org>\r\n\r\nBody")).mail
    assert (mail.subject, mail.in_reply_to) == ("Hello In-Reply-To: <other@example.org> Body", FIRST)


async def test_a_file_named_in_another_charset_is_kept():
    body = carriers.form({"headers": "From: ann@example.org"}, {"attachment1": ("NAME", b"x", "text/plain")})
    assert files((await sendgrid(body.replace(b"NAME", b"Gr\xf6\xdfe.txt"))).mail)[0][0] == "Größe.txt"
    assert files((await sendgrid(body.replace(b"NAME", b""))).mail)[0][0] == "text.txt"


async def test_bounces_are_known_by_their_report_and_by_the_empty_sender():
    report = {"attachment-1": ("", DELIVERY_STATUS, "message/delivery-status; charset=us-ascii")}
    fields = carriers.mailgun_fields(sender="", body_html=None, body_plain="It could not be delivered")
    bounce = kind_of((await read(carriers.form(fields, report), MAILGUN, MULTIPART)).mail)
    assert isinstance(bounce, Bounce)
    assert [(one.address, one.hard) for one in bounce.recipients] == [("ann@example.org", True)]
    assert isinstance(kind_of((await mailgun(sender="")).mail), Automatic)
    empty = carriers.sendgrid_form().replace(b'"from":"ann@example.org"', b'"from":""')
    assert isinstance(kind_of((await sendgrid(empty)).mail), Automatic)
    raw = carriers.loaded("sendgrid_raw.json") | {"email": carriers.mail(), "envelope": '{"to":[],"from":""}'}
    assert isinstance(kind_of((await sendgrid(carriers.form(raw))).mail), Automatic)
    assert isinstance(kind_of((await postmark(Headers=[{"Name": "Auto-Submitted", "Value": "auto-replied"}])).mail), Automatic)


async def test_complaints_are_known_by_their_report():
    report = base64.b64encode(b"Feedback-Type: abuse\nUser-Agent: x\nVersion: 1\nOriginal-Rcpt-To: ann@example.org\n").decode()
    returned = base64.b64encode(b"Message-ID: <ours@mail.example.test>\nSubject: Hello\n\n").decode()
    enclosed = [
        {"Name": "", "ContentType": "message/feedback-report", "Content": report},
        {"Name": "", "ContentType": "message/rfc822", "Content": returned},
    ]
    found = kind_of((await postmark(Attachments=enclosed)).mail)
    assert found == Complaint("abuse", "<ours@mail.example.test>", ("ann@example.org",))


@pytest.mark.parametrize(
    ("changes", "about"),
    [
        ({"FromFull": None}, "FromFull"),
        ({"ToFull": "hello@acme.test"}, "ToFull"),
        ({"Headers": [{"Value": "x"}]}, "Name"),
        ({"Attachments": [{"Name": "a.txt", "ContentType": "text/plain", "Content": "no base64!"}]}, "base64"),
        ({"Attachments": [{"Name": "a.txt", "ContentType": "text/plain", "Content": "Zm9"}]}, "base64"),
        ({"Attachments": [{"Name": "a.txt", "ContentType": "text/plain"}]}, "no content"),
    ],
)
async def test_what_is_no_mail_of_postmarks_is_refused(changes: dict[str, Any], about: str):
    with pytest.raises(Malformed, match=about):
        await postmark(**changes)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b"[" * 100_000, b'{"From": "ann@example.org"}'])
async def test_a_body_that_is_no_mail_is_refused_whoever_posts_it(body: bytes):
    with pytest.raises(Malformed):
        await read(body, Postmark())
    with pytest.raises(Malformed):
        await resent(body)
    for settings in (MAILGUN, SENDGRID):
        with pytest.raises(Malformed):
            await read(body, settings, "application/json; charset=utf-8")


@pytest.mark.parametrize(
    ("others", "about"),
    [
        ({"recipient": None}, "recipient"),
        ({"body_plain": None, "body_html": None}, "body-mime"),
        ({"message_headers": "[1]"}, "message-headers"),
        ({"message_headers": "{"}, "message-headers"),
        ({"message_url": "https://storage.mailgun.example/1"}, r"forward\(\)"),
    ],
)
async def test_what_is_no_mail_of_mailguns_is_refused(others: dict[str, Any], about: str):
    if "recipient" in others:
        fields = carriers.mailgun_fields()
        del fields["recipient"]
        with pytest.raises(Malformed, match=about):
            await read(carriers.form(fields), MAILGUN, MULTIPART)
        return
    with pytest.raises(Malformed, match=about):
        await mailgun(**others)


@pytest.mark.parametrize(
    ("fields", "about"),
    [
        ({"text": "Hello"}, "headers"),
        ({"headers": "", "envelope": "{"}, "envelope"),
        ({"headers": "", "charsets": "[]"}, "charsets"),
        ({"headers": "", "attachment-info": '{"attachment1": 1}'}, "attachment-info"),
    ],
)
async def test_what_is_no_mail_of_sendgrids_is_refused(fields: dict[str, str], about: str):
    with pytest.raises(Malformed, match=about):
        await sendgrid(carriers.form(fields))


async def test_a_form_that_ends_early_is_refused():
    with pytest.raises(Malformed, match="form"):
        await sendgrid(carriers.sendgrid_form()[:-40])


async def test_more_than_a_mail_may_have_is_refused():
    large = b"x" * (LARGEST + 1)
    with pytest.raises(TooLarge):
        await sendgrid(carriers.form({"headers": "From: ann@example.org"}, {"attachment1": ("a", large, "text/plain")}))
    with pytest.raises(TooLarge):
        await sendgrid(carriers.form({"email": large}))
    with pytest.raises(TooLarge):
        await mailgun(body_mime=large)
    with pytest.raises(TooLarge):
        await postmark(RawEmail=large.decode())
