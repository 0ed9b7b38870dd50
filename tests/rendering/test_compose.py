"""What leaves the composer, read back by the standard library's parser: it must be what was put in, whatever that was."""

import base64
import gc
import re
import weakref
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from typing import Any, cast

import dkim
import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from tidings.domain.communications import Due
from tidings.domain.templates import Content
from tidings.message.outgoing import Email, Sms
from tidings.message.parse import parse
from tidings.rendering import compose
from tidings.rendering.compose import ComposeError, Composer
from tidings.rendering.template import prepare
from tidings.signing import Signer

NOW = 1_739_757_634_000
SIGNER = Signer(b"tests")
COMPOSER = Composer("https://mail.test", SIGNER, "mail.test")
DUE = Due(
    id=42, tenant_id=7, channel="email", content_id=0, provider_id=1, contact_id=9, campaign_id=0, message_id=0, enrollment_id=0, attempts=0,
    serial=0, address="ann@reader.test", recipients="", sender_email="letters@shop.test", sender_name="The Shop", reply_to="", subject="",
    variables="{}", track_opens=0, track_links=0, created_at=0, first_name="Ann", last_name="", company="", email="ann@reader.test", phone="",
    locale="", timezone="", attributes="{}",
)  # fmt: skip
TOKEN = SIGNER.communication(7, 42)
# Everything but surrogates (they cannot be stored), what line ends make the same, and our own marks, which have a test of their own.
TEXT = st.text(alphabet=st.characters(max_codepoint=0xFFFFF, blacklist_categories=["Cs"], blacklist_characters="\r"), max_size=120)
LINES = st.lists(
    st.sampled_from([".", "..", "=", "From me", " ", "a ", "\t", "", "x" * 90, "é" * 60, "=20", "plain", "--=_tidings_0"]), max_size=8
)


def content(body: str, **more: Any) -> Content:
    options: dict[str, Any] = {"tenant_id": 7, "channel": "email", "format": "html", "subject": "Hello", "body": body} | more
    return prepare(**options)


def due(**changes: Any) -> Due:
    if isinstance(changes.get("variables"), dict):
        changes["variables"] = msgspec.json.encode(changes["variables"]).decode()
    return msgspec.structs.replace(DUE, **changes)


def email(one: Due, made: Content) -> Email:
    sealed = COMPOSER.compose(one, made, NOW)
    assert isinstance(sealed, Email)
    well_formed(sealed.raw)
    return sealed


def well_formed(raw: bytes) -> None:
    assert b"\n" not in raw.replace(b"\r\n", b"")
    assert b"\r" not in raw.replace(b"\r\n", b"")
    head, _, body = raw.partition(b"\r\n\r\n")
    assert max(map(len, head.split(b"\r\n"))) < 998
    assert max(map(len, body.split(b"\r\n"))) <= 76
    assert b"\r\n." not in raw
    assert raw.endswith(b"\r\n")
    assert body.isascii()


def read(raw: bytes) -> EmailMessage:
    message = BytesParser(policy=policy.default).parsebytes(raw)
    assert isinstance(message, EmailMessage)
    assert not message.defects
    return message


@settings(max_examples=300)
@given(TEXT, LINES, TEXT)
def test_text_mail_reads_as_it_was_rendered(value: str, lines: list[str], other: str) -> None:
    template = "\n".join(lines) + "{{ a }}" + "\n".join(reversed(lines)) + " {{ b }} {{ a }}."
    sealed = email(due(variables={"a": value, "b": other}), content("-" + template, format="text"))
    expected = "-" + template.replace("{{ a }}", value).replace("{{ b }}", other) + "\n"
    assert parse(sealed.raw).text == expected


@settings(max_examples=200)
@given(TEXT, TEXT)
def test_both_parts_read_as_they_were_rendered(value: str, other: str) -> None:
    made = content("<p>{{ a|safe }}</p><br>{{ b|safe }}", text="{{ b }}\n.\n{{ a }}")
    message = read(email(due(variables={"a": value, "b": other}), made).raw)
    text, html = (part.get_content().replace("\r\n", "\n") for part in message.iter_parts())
    assert html == f"<p>{value}</p><br>{other}\n"
    assert text == f"{other}\n.\n{value}\n"


@settings(max_examples=200)
@given(TEXT, TEXT)
def test_subject_and_sender_name_read_as_given_on_one_line(subject: str, name: str) -> None:
    sealed = email(due(subject=subject.replace("{", ""), sender_name=name), content("<p>x"))
    message = read(sealed.raw)
    assert [key for key in message if key.lower() == "bcc"] == []
    clean = re.sub("[\x00-\x1f\x7f-\x9f\u2028\u2029]", " ", subject.replace("{", "")).strip()
    assert message["Subject"] == (clean if subject.replace("{", "") else "Hello")
    assert message["From"].addresses[0].addr_spec == "letters@shop.test"
    # In a display name the parser makes one space of several, and one of none between two encoded words (against RFC 2047).
    shown = re.sub("[\x00-\x1f\x7f-\x9f\u2028\u2029]", " ", name).strip()
    assert "".join(message["From"].addresses[0].display_name.split()) == "".join(shown.split())


def test_a_line_break_in_a_value_begins_no_header() -> None:
    sealed = email(due(variables={"a": "x\r\nBcc: thief@x.test\r\n\r\nbody"}), content("<p>x", subject="Hi {{ a }}"))
    message = read(sealed.raw)
    assert message["Bcc"] is None
    assert message["Subject"] == "Hi x  Bcc: thief@x.test    body"


def test_recipients_are_in_their_headers_and_blind_ones_only_in_the_envelope() -> None:
    recipients = {
        "to": ["Ann Lee <ann@a.test>", '"Lee, Bob" <bob@b.test>'],
        "cc": ["Zoë <zoe@bücher.test>"],
        "bcc": ["spy@c.test", "ann@a.test"],
    }
    sealed = email(due(recipients=msgspec.json.encode(recipients).decode()), content("<p>x"))
    message = read(sealed.raw)
    assert [(box.display_name, box.addr_spec) for box in message["To"].addresses] == [("Ann Lee", "ann@a.test"), ("Lee, Bob", "bob@b.test")]
    assert [(box.display_name, box.addr_spec) for box in message["Cc"].addresses] == [("Zoë", "zoe@xn--bcher-kva.test")]
    assert b"spy@" not in sealed.raw
    assert sealed.recipients == ("ann@a.test", "bob@b.test", "zoe@xn--bcher-kva.test", "spy@c.test")
    assert not sealed.utf8


def test_a_local_part_beyond_ascii_asks_for_smtputf8() -> None:
    sealed = email(due(address="zoë@b.test"), content("<p>x"))
    assert sealed.utf8
    assert sealed.recipients == ("zoë@b.test",)
    assert "To: zoë@b.test\r\n".encode() in sealed.raw


@pytest.mark.parametrize(
    "changes", [{"address": "nobody"}, {"address": "a@b.test\r\nX: y"}, {"sender_email": ""}, {"recipients": '{"bcc":[]}'}]
)
def test_a_bad_address_is_this_communications_failure(changes: dict[str, str]) -> None:
    with pytest.raises(ComposeError):
        COMPOSER.compose(due(**changes), content("<p>x"), NOW)


def test_headers_are_those_the_field_expects() -> None:
    sealed = email(due(campaign_id=3, serial=2, reply_to="Desk <desk@shop.test>"), content("<p>x"))
    message = read(sealed.raw)
    assert message["Message-ID"] == sealed.message_id == f"<{TOKEN}.2@mail.test>" == COMPOSER.message_id(7, 42, 2)
    assert message["Date"].datetime.timestamp() == NOW / 1000
    assert message["Reply-To"] == "Desk <desk@shop.test>"
    assert message["List-Unsubscribe"] == f"<{COMPOSER.unsubscribe_url(7, 42)}>"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert message.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]
    assert email(due(), content("<p>x")).raw.count(b"List-Unsubscribe") == 0
    assert sealed.envelope_from == "letters@shop.test"


BODY = (
    '<html><body><a href="https://a.test/?x=1&amp;y={{ code }}">one</a> <a href="https://b.test/">two</a>'
    '<a href="mailto:m@x.test">mail</a><a href="https://c.test/" data-no-track>raw</a>'
    '{% if first_name %}<a href="https://d.test/">four</a>{% endif %}'
    '{% for p in list %}<a href="{{ p.url }}">{{ p.n }}</a>{% endfor %}<a href="{{ unsubscribe_url }}">bye</a></body></html>'
)


def test_links_and_pixel_are_rewritten_only_when_asked() -> None:
    made = content(BODY)
    variables = {"code": "a&b/c", "list": [{"url": "https://e.test/1", "n": 1}]}
    tracked = parse(email(due(variables=variables, track_opens=1, track_links=1), made).raw)
    base = f"https://mail.test/api/v1/communications/link/{TOKEN}/"
    unsubscribe = COMPOSER.unsubscribe_url(7, 42)
    hrefs = re.findall(r'href="([^"]*)"', tracked.html)
    assert [href.replace("&#x2f;", "/") for href in hrefs] == [
        base + "0", base + "1", "mailto:m@x.test", "https://c.test/", base + "2", "https://e.test/1", unsubscribe,
    ]  # fmt: skip
    assert f'<img src="https://mail.test/api/v1/communications/track/{TOKEN}"' in tracked.html
    assert tracked.html.index("<img") < tracked.html.index("</body>")
    assert f"one ({base}0) two ({base}1)" in tracked.text
    plain = parse(email(due(variables=variables), made).raw)
    assert 'href="https://a.test/?x=1&amp;y=a&amp;b&#x2f;c"' in plain.html
    assert "one (https://a.test/?x=1&y=a&b/c)" in plain.text
    assert "<img" not in plain.html
    assert "/link/" not in plain.html + plain.text


def test_a_click_leads_to_the_target_as_rendered_and_nowhere_else() -> None:
    made = content(BODY + '<a href="{{ evil }}">e</a>')
    one = due(variables={"code": "7", "evil": "javascript:alert(1)"})
    assert COMPOSER.link_target(one, made, 0) == "https://a.test/?x=1&y=7"
    assert COMPOSER.link_target(one, made, 1) == "https://b.test/"
    assert COMPOSER.link_target(one, made, 3) is None
    assert COMPOSER.link_target(one, made, 99) is None
    assert COMPOSER.link_target(one, made, -1) is None


def test_what_is_read_back_is_what_went_out() -> None:
    made = content(BODY)
    one = due(variables={"code": "x"}, track_opens=1, track_links=1)
    assert COMPOSER.rendered_body(one, made, tracked=True) == parse(email(one, made).raw).html
    assert "/link/" not in COMPOSER.rendered_body(one, made, tracked=False)
    assert COMPOSER.rendered_body(due(), content("Hi {{ first_name }}", format="text"), tracked=True) == "Hi Ann\n"


def test_names_are_looked_up_in_variables_then_attributes_then_the_contact_then_defaults() -> None:
    made = content(
        "{{ first_name }}|{{ contact.first_name }}|{{ town }}|{{ contact.attributes.town }}|{{ plan }}|{{ last_name|default('there') }}|{{ nothing }}|"
        "{{ contact.id }}|{{ empty }}|",
        variables=[{"name": "plan", "default": "free"}, {"name": "town", "default": "no"}],
    )
    shown = COMPOSER.rendered_body(due(variables='{"first_name":"Bea","empty":null}', attributes='{"town":"Ghent"}'), made, tracked=False)
    assert re.fullmatch(r"Bea\|Ann\|Ghent\|Ghent\|free\|there\|\|cont_\w{18}\|\|\n", shown)


def test_html_is_escaped_in_the_html_part_only() -> None:
    parsed = parse(email(due(variables={"a": "<b>&"}), content("<p>{{ a }}</p>", subject="{{ a }}")).raw)
    assert "<p>&lt;b&gt;&amp;</p>" in parsed.html
    assert parsed.text == "<b>&\n"
    assert parsed.subject == "<b>&"


def test_what_one_part_sets_stays_in_it() -> None:
    parsed = parse(email(due(), content("{{ x }}<p>{% set y = 2 %}{{ y }}", subject="{% set x = 1 %}{{ x }}", text="[{{ x }}{{ y }}]")).raw)
    assert (parsed.subject, parsed.text) == ("1", "[]\n")
    assert parsed.html == "<p>2\n"


@pytest.mark.parametrize("value", ["a\U0010f003b", "\U0010f003", "\U0010f0000\U0010f001", "\U0010f002"])
def test_our_own_marks_in_a_value_do_no_harm(value: str) -> None:
    made = content("<p>{{ a }}</p><a href='https://a.test'>x</a>{{ b }}")
    parsed = parse(email(due(variables={"a": value, "b": "end"}, track_links=1), made).raw)
    assert "</p><a href" in parsed.html
    assert parsed.html.endswith("</a>end\n")


@pytest.mark.parametrize(
    "template",
    [
        "{% for i in range(99999) %}{% for j in range(99999) %}x{% endfor %}{% endfor %}",
        "{% for i in range(1000000000) %}x{% endfor %}",
        "{% for i in range(9000) %}{{ big }}{% endfor %}",
        "{{ 'x' * 1000000000 }}",
        "{{ 'x' * 90000000 }}",
        "{{ '%999999999d'|format(1) }}",
        "{{ 'x'|indent(999999999) }}",
        "{{ 1 + nothing }}",
        "{{ unknown_function() }}",
    ],
)
def test_a_template_without_end_fails_its_communication_alone(template: str) -> None:
    with pytest.raises(ComposeError):
        COMPOSER.compose(due(variables={"big": "y" * 10_000}), content(template), NOW)


def test_a_text_message_is_composed_with_its_segments() -> None:
    made = content("Hi {{ first_name }}, see https://a.test", channel="sms", format="text", subject="")
    sealed = COMPOSER.compose(due(channel="sms", address="+31612345678", sender_email="+31687654321", track_links=1), made, NOW)
    assert sealed == Sms(7, 42, "+31612345678", "+31687654321", "Hi Ann, see https://a.test", 1)
    with pytest.raises(ComposeError, match="phone number"):
        COMPOSER.compose(due(channel="sms", address="0612"), made, NOW)


def test_a_preview_needs_no_communication() -> None:
    shown = COMPOSER.preview(content("<p>{{ first_name }} {{ n }}", subject="S {{ n }}"), {"first_name": "Bo", "id": 3}, {"n": 4})
    assert (shown.subject, shown.html, shown.text) == ("S 4", "<p>Bo 4\n", "Bo 4\n")
    sms = COMPOSER.preview(content("€", channel="sms", format="text", subject=""), {})
    assert sms.segments is not None
    assert sms.segments.units == 2


def _key(kind: str) -> tuple[str, bytes]:
    key = rsa.generate_private_key(65537, 2048) if kind == "rsa" else ed25519.Ed25519PrivateKey.generate()
    form = serialization.PrivateFormat.PKCS8
    pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        raw = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    else:
        raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return pem, raw


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
def test_a_signature_is_one_that_dkimpy_verifies(kind: str) -> None:
    if kind == "ed25519":
        pytest.importorskip("nacl", reason="dkimpy verifies Ed25519 by PyNaCl")
    pem, public = _key(kind)
    composer = Composer("https://mail.test", SIGNER, "mail.test", {"shop.test": ("s1", pem)})
    record = f"v=DKIM1; k={kind}; p={base64.b64encode(public).decode()}".encode()
    names: list[bytes] = []

    def answer(name: bytes, timeout: int = 5) -> bytes:
        names.append(name)
        return record

    made = content("<p>  a   b \t {{ a }}</p>\n\n \n", subject="é" * 80)
    sealed = composer.compose(due(variables={"a": " x  \n\n\t"}, campaign_id=1, reply_to="d@shop.test"), made, NOW)
    assert isinstance(sealed, Email)
    verify = cast("Any", dkim).verify
    assert verify(sealed.raw, dnsfunc=answer)
    assert names == [b"s1._domainkey.shop.test."]
    assert not verify(sealed.raw.replace(b"The Shop", b"The Show"), dnsfunc=answer)
    assert not verify(sealed.raw.replace(b"<p>", b"<P>"), dnsfunc=answer)


def test_large_contents_that_were_composed_once_do_not_stay_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compose, "_CACHED_CHARACTERS", 10_000)
    composer = Composer("https://mail.test", SIGNER, "mail.test")
    contents = [msgspec.structs.replace(content(f"<p>{number}</p>" + "x" * 3_000), id=number + 1) for number in range(6)]
    kept = [weakref.ref(composer.ready(made)) for made in contents]
    gc.collect()
    assert [ready() is not None for ready in kept] == [False] * 5 + [True]
    assert composer.ready(contents[5]) is kept[5]()
