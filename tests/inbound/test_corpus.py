"""Every mail of the corpus comes out as its manifest says."""

from typing import Any

import pytest

from tests.inbound.mails import FOLDER, WANTED, raw
from tidings.inbound.bounces import Bounce
from tidings.inbound.clean import clean
from tidings.inbound.kind import Automatic, Complaint, Reply, kind_of
from tidings.inbound.quotes import new_part
from tidings.message.incoming import Incoming, read

KINDS = {Reply: "reply", Automatic: "automatic", Bounce: "bounce", Complaint: "complaint"}


def test_every_mail_has_its_entry_and_every_entry_its_mail():
    assert sorted(path.stem for path in FOLDER.glob("*.eml")) == sorted(WANTED)
    assert len(WANTED) >= 60


@pytest.mark.parametrize("name", WANTED)
def test_a_mail_of_the_corpus_comes_out_as_its_manifest_says(name: str):
    mail, wanted = read(raw(name)), WANTED[name]
    facts = headers(mail) | contents(mail) | judgement(mail)
    asked = {key: value for key, value in wanted.items() if key in facts}
    assert {key: facts[key] for key in asked} == asked
    for key, text in (("text", mail.text), ("html", clean(mail.html)), ("has_reply", new_part(mail))):
        assert not [piece for piece in wanted.get(key, []) if piece not in text], text
    for key, text in (("lacks", mail.text), ("html_lacks", clean(mail.html)), ("lacks_reply", new_part(mail))):
        assert not [piece for piece in wanted.get(key, []) if piece in text], text
    assert wanted.get("text") != [] or not mail.text.strip()
    known = {*facts, "text", "html", "has_reply", "lacks", "html_lacks", "lacks_reply"}
    assert wanted.keys() <= known


def headers(mail: Incoming) -> dict[str, Any]:
    return {
        "from": mail.sender.email,
        "from_name": mail.sender.name,
        "to": [person.email for person in mail.to],
        "cc": [person.email for person in mail.cc],
        "recipients": list(mail.recipients),
        "subject": mail.subject,
        "date": mail.date is not None,
        "message_id": mail.message_id or "",
        "in_reply_to": mail.in_reply_to or "",
        "references": list(mail.references),
    }


def contents(mail: Incoming) -> dict[str, Any]:
    return {
        "files": [file.filename for file in mail.files],
        "inline": [file.filename for file in mail.files if file.inline],
        "contents": {
            file.filename: file.content.decode() for file in mail.files if file.content_type.startswith(("text/", "application/oct"))
        },
        "reply": new_part(mail),
    }


def judgement(mail: Incoming) -> dict[str, Any]:
    kind = kind_of(mail)
    facts: dict[str, Any] = {"kind": KINDS[type(kind)]}
    if isinstance(kind, Bounce):
        facts["failed"] = [[one.address, one.status, one.hard] for one in kind.recipients]
        facts["reason"] = next((piece for piece in ("User unknown in virtual",) if piece in kind.recipients[0].reason), "")
    if isinstance(kind, Complaint):
        facts["complained"] = list(kind.recipients)
    if isinstance(kind, Bounce | Complaint):
        facts["message_id_of"] = kind.message_id
    return facts
