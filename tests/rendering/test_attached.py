"""Mail with files, read back by the standard library, which also says how it would have written it; and mail that answers other mail."""

import base64
import os
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP, default
from typing import Any, cast

import dkim
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.rendering.test_compose import COMPOSER, NOW, SIGNER, _key, content, due, email, read, well_formed
from tidings.domain.threads import Ancestor, Lineage
from tidings.message import dkim as signing
from tidings.message import enclosed
from tidings.message.outgoing import Email
from tidings.rendering.compose import Composer

NAMES = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=80).map(str.strip).filter(bool)
BODY = "<p>Grüezi {{ first_name }}"


def composed(parts: list[bytes], body: str = BODY, **more: Any) -> Email:
    sealed = COMPOSER.compose(due(**more), content(body), NOW, attached=parts)
    assert isinstance(sealed, Email)
    return sealed


def files(raw: bytes) -> list[tuple[str | None, str, bytes]]:
    return [(part.get_filename(), part.get_content_type(), part.get_payload(decode=True)) for part in read(raw).iter_attachments()]  # type: ignore[misc]


def written(name: str, kind: str, data: bytes) -> tuple[str | None, str, bytes]:
    """The file as the standard library would write and read it."""
    message = EmailMessage(policy=SMTP)
    message.set_content("x")
    main, _, sub = kind.partition("/")
    message.add_attachment(data, maintype=main, subtype=sub, filename=name)
    (part,) = message_from_bytes(message.as_bytes(), policy=default).iter_attachments()
    return part.get_filename(), part.get_content_type(), part.get_payload(decode=True)  # type: ignore[return-value]


@settings(max_examples=150, deadline=None)
@given(NAMES, st.binary(max_size=600))
def test_a_file_reads_as_the_standard_library_would_have_written_it(name: str, data: bytes) -> None:
    # the library takes angle brackets for quotes
    assume(not (name.startswith("<") and name.endswith(">")))
    raw = composed([enclosed.part(name, "application/pdf", data)]).raw
    well_formed(raw)
    (found,) = files(raw)
    assert found == (name, "application/pdf", data)
    # it loses what a name has of spaces side by side, and of what looks like an encoded word
    if name == " ".join(name.split()) and "=?" not in name:
        assert written(name, "application/pdf", data) == found


@pytest.mark.parametrize("size", [0, 1, 56, 57, 58, 76 * 4096 // 4 * 3 - 1, 76 * 4096 // 4 * 3, 76 * 4096 // 4 * 3 + 1])
def test_base64_lines_are_full_and_all_of_them_ended(size: int) -> None:
    data = os.urandom(size)
    raw = composed([enclosed.part("a", "application/pdf", data), enclosed.part("b", "application/pdf", b"b")]).raw
    well_formed(raw)
    assert [entry[2] for entry in files(raw)] == [data, b"b"]
    lines = raw.split(b"\r\n")
    assert max(map(len, lines)) <= 78
    assert not any(line.startswith(b".") for line in lines)


@pytest.mark.parametrize("body", ["<p>Grüezi", "{{ nothing }}", "<p></p>"])
def test_the_body_is_what_it_is_without_files(body: str) -> None:
    alone, beside = email(due(), content(body)), composed([enclosed.part("a.txt", "text/plain", b"x")], body)
    for kind in ("plain", "html"):
        before, after = read(alone.raw).get_body((kind,)), read(beside.raw).get_body((kind,))
        assert (before is None) == (after is None)
        if before is not None and after is not None:
            assert before.get_content() == after.get_content()
    assert [read(sealed.raw)["Message-ID"] for sealed in (alone, beside)] == [alone.message_id] * 2
    assert read(beside.raw).get_all("MIME-Version") == ["1.0"]
    assert beside.raw.count(b"MIME-Version") == 1


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("application/pdf", True),
        ("text/plain; charset=utf-8", True),
        ('text/plain; charset="utf-8" ; format=flowed', True),
        ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", True),
        ("", False),
        ("pdf", False),
        ("a/b/c", False),
        ("a/b;", False),
        ("a/b; x", False),
        ('a/b; x="y', False),
        ("a/b\r\nX: y", False),
        ('a/b; x="\r\n"', False),
        ("a /b", False),
        ("a/ü", False),
    ],
)
def test_a_media_type_is_told_from_what_is_none(text: str, good: bool) -> None:
    assert enclosed.is_content_type(text) is good
    if good:
        raw = composed([enclosed.part("a.bin", text, b"x")]).raw
        (part,) = read(raw).iter_attachments()
        assert (part.get_content_type(), part.get_filename()) == (text.partition(";")[0].strip(), "a.bin")


def test_who_reads_only_the_old_place_of_a_name_finds_ascii_there() -> None:
    (part,) = read(composed([enclosed.part("Übersicht “März”.pdf", "application/pdf", b"x")]).raw).iter_attachments()
    assert part.get_param("name") == "Ubersicht Marz.pdf"
    assert enclosed.ascii_name("приложение.docx") == "file.docx"
    assert enclosed.ascii_name("x" * 300 + ".pdf") == "x" * 56 + ".pdf"


def test_an_answer_names_what_it_answers_oldest_first() -> None:
    lineage = Lineage((Ancestor(7, 0, ""), Ancestor(0, 0, "<theirs@elsewhere.test>"), Ancestor(8, 2, "")))
    sealed = COMPOSER.compose(due(), content(BODY), NOW, lineage=lineage)
    assert isinstance(sealed, Email)
    well_formed(sealed.raw)
    first, last = COMPOSER.message_id(due().tenant_id, 7, 0), COMPOSER.message_id(due().tenant_id, 8, 2)
    message = read(sealed.raw)
    assert message["In-Reply-To"] == last
    assert message["References"].split() == [first, "<theirs@elsewhere.test>", last]
    plain = email(due(), content(BODY)).raw
    assert b"References" not in plain
    assert b"In-Reply-To" not in plain


def test_long_references_are_folded() -> None:
    theirs = [f"<{'x' * 240}{number:02}@a.test>" for number in range(20)]
    sealed = COMPOSER.compose(due(), content(BODY), NOW, lineage=Lineage(tuple(Ancestor(0, 0, one) for one in theirs)))
    assert isinstance(sealed, Email)
    assert max(len(line) for line in sealed.raw.split(b"\r\n")) < 300
    assert read(sealed.raw)["References"].split() == theirs


def test_a_signature_covers_the_files_too() -> None:
    pem, public = _key("rsa")
    composer = Composer("https://mail.test", SIGNER, "mail.test", {"shop.test": ("s1", pem)})
    sealed = composer.compose(due(), content(BODY), NOW, attached=[enclosed.part("a.bin", "application/pdf", os.urandom(100_000))])
    assert isinstance(sealed, Email)
    verify = cast("Any", dkim).verify
    record = b"v=DKIM1; k=rsa; p=" + base64.b64encode(public)
    assert verify(sealed.raw, dnsfunc=lambda name, timeout=5: record)
    assert not verify(sealed.raw[:-400] + b"AAAA" + sealed.raw[-396:], dnsfunc=lambda name, timeout=5: record)


def test_a_large_body_is_signed_as_a_small_one_is(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = b"".join(b"%b\r\n" % (b"a \t b" * (number % 40) + b" " * (number % 3)) for number in range(3000)) + b" \r\n\r\n"
    whole = signing.relaxed_body(lines)
    monkeypatch.setattr(signing, "_LARGE", 1)
    for piece in (1, 7, 500):
        monkeypatch.setattr(signing, "_PIECE", piece)
        assert signing.relaxed_body(lines) == whole
