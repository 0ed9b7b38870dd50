"""Files with mail: taken on every way of sending, kept once, sent byte for byte, listed and handed out beside the record, removed with it."""

import base64
import hashlib
import os
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import pytest

from tests.support.api import Api
from tidings.clock import HOUR
from tidings.domain import attachments
from tidings.message.outgoing import Email, Sealed

SEND = "/api/v1/communications/send"
SCHEDULE = "/api/v1/communications/schedule"
MAIL = {"body": "<p>Hello</p>", "subject": "Hello", "recipients": ["ann@example.test"]}
BYTES = bytes(range(256)) * 40


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def enclosure(filename: str = "offer.pdf", data: bytes = BYTES, **more: Any) -> dict[str, Any]:
    return {"filename": filename, "content": encoded(data), **more}


def path(token: str, attachment: str = "") -> str:
    return f"/api/v1/communications/{token}/attachments" + (f"/{attachment}" if attachment else "")


def read(sealed: Sealed) -> EmailMessage:
    assert isinstance(sealed, Email)
    message = message_from_bytes(sealed.raw, policy=default)
    assert not message.defects
    return message


def files(sealed: Sealed) -> list[tuple[str | None, str, bytes]]:
    """(name, type, bytes) of each file in a mail, as another program reads them."""
    parts = list(read(sealed).iter_attachments())
    assert not [part.defects for part in parts if part.defects]
    return [(part.get_filename(), part.get_content_type(), part.get_payload(decode=True)) for part in parts]  # type: ignore[misc]


def stored(api: Api) -> list[Path]:
    return [entry for entry in (api.house.data_folder / "blobs").rglob("*") if entry.is_file()]


async def listed(api: Api, token: str) -> list[dict[str, Any]]:
    answer = await api.client.get(path(token))
    assert answer.status_code == 200, answer.text
    return answer.json()


async def refused(api: Api, given: Any) -> tuple[int, str]:
    answer = await api.client.post(SEND, json={**MAIL, "attachments": given})
    assert set(answer.json()) == {"detail", "time", "title"}
    assert await api.rows("SELECT id FROM communications WHERE tenant_id = :t", t=api.tenant.id) == []
    return answer.status_code, answer.json()["detail"]


async def test_files_arrive_byte_for_byte_beside_the_body_and_the_record_keeps_its_37_keys(api: Api):
    record = await api.send(
        attachments=[enclosure(), enclosure("notes.txt", b"one\r\ntwo\nthree\r", contentType="text/plain; charset=utf-8")]
    )
    assert len(record) == 37
    assert "attachments" not in record
    (sealed,) = await api.dispatch()
    assert files(sealed) == [("offer.pdf", "application/pdf", BYTES), ("notes.txt", "text/plain", b"one\r\ntwo\nthree\r")]
    message = read(sealed)
    assert message.get_content_type() == "multipart/mixed"
    html = message.get_body(("html",))
    assert html is not None
    assert "Hello" in html.get_content()
    assert (await api.find(record["id"]))["status"] == "SENT"


async def test_what_is_listed_says_what_each_file_is(api: Api):
    record = await api.send(attachments=[enclosure("a.csv", b"a;b"), enclosure("b", b"", contentType="Image/PNG")])
    first, second = await listed(api, record["id"])
    assert first == {
        "id": first["id"],
        "filename": "a.csv",
        "contentType": "text/csv",
        "size": 3,
        "contentId": None,
        "hash": hashlib.sha256(b"a;b").hexdigest(),
    }
    assert first["id"].startswith("att_")
    assert (second["filename"], second["contentType"], second["size"]) == ("b", "Image/PNG", 0)
    assert await listed(api, (await api.send())["id"]) == []


async def test_the_content_is_handed_out_to_be_saved_and_never_to_be_run_here(api: Api):
    record = await api.send(attachments=[enclosure('Ein "Übel".html', b"<script>", contentType="text/html")])
    (entry,) = await listed(api, record["id"])
    answer = await api.client.get(path(record["id"], entry["id"]))
    assert (answer.status_code, answer.content) == (200, b"<script>")
    assert answer.headers["content-type"] == "text/html"
    assert answer.headers["content-length"] == "8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]
    assert answer.headers["content-disposition"] == "attachment; filename=\"Ein _Ubel_.html\"; filename*=UTF-8''Ein%20%22%C3%9Cbel%22.html"
    head = await api.client.head(path(record["id"], entry["id"]))
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "8")


async def test_what_is_not_there_or_anothers_is_a_404_and_needs_a_key(api: Api):
    record = await api.send(attachments=[enclosure()])
    other = await api.send(attachments=[enclosure()])
    (entry,) = await listed(api, record["id"])
    rival = await api.rival()
    asked = [
        (api.client, path("string")),
        (api.client, path("1")),
        (rival, path(record["id"])),
        (rival, path(record["id"], entry["id"])),
        (api.client, path(record["id"], "1")),
        (api.client, path(record["id"], "att_" + "A" * 18)),
        (api.client, path(other["id"], entry["id"])),
    ]
    for client, url in asked:
        answer = await client.get(url)
        assert (answer.status_code, set(answer.json())) == (404, {"detail", "time", "title"}), url
    assert (await api.stranger.get(path(record["id"]))).status_code == 401
    await rival.aclose()


async def test_a_scheduled_mail_and_one_from_a_template_take_files_too(api: Api):
    later = {**MAIL, "scheduledAt": "2025-06-18T13:00:00Z", "attachments": [enclosure("later.pdf")]}
    assert (await api.client.post(SCHEDULE, json=later)).status_code == 200
    made = await api.client.post(
        "/api/v1/templates", json={"name": "T", "channel": "email", "subject": "Hi", "body": "<p>Hi</p>", "format": "html"}
    )
    url = f"/api/v1/communications/send-template/{made.json()['id']}"
    answer = await api.client.post(url, json={"recipients": ["bob@example.test"], "attachments": [enclosure("now.pdf")]})
    assert answer.status_code == 200, answer.text
    assert [files(sealed)[0][0] for sealed in await api.dispatch()] == ["now.pdf"]
    api.at += 2 * HOUR
    assert [files(sealed) for sealed in await api.dispatch()] == [[("later.pdf", "application/pdf", BYTES)]]


@pytest.mark.parametrize(
    "name",
    [
        "Übersicht für März.pdf",
        "📎 приложение.pdf",
        'He said "no" \\ yes.pdf'.replace("\\", "|"),
        "50% off; really='yes'.pdf",
        "x" * 251 + ".pdf",
        "é" * 251 + ".pdf",
        "a  b.pdf",
        "utf-8''evil.pdf",
        "=?utf-8?q?x?=.pdf",
    ],
)
async def test_every_name_is_read_as_it_was_given(api: Api, name: str):
    await api.send(attachments=[enclosure(name)])
    (sealed,) = await api.dispatch()
    assert files(sealed) == [(name, "application/pdf", BYTES)]
    assert isinstance(sealed, Email)
    assert max(len(line) for line in sealed.raw.split(b"\r\n")) <= 998
    assert sealed.raw.isascii()


@pytest.mark.parametrize(
    ("given", "kept"),
    [("C:\\Users\\ann\\offer.pdf", "offer.pdf"), ("/etc/passwd", "passwd"), ("../../x.txt", "x.txt"), (" a.txt ", "a.txt")],
)
async def test_of_a_path_only_the_name_is_kept(api: Api, given: str, kept: str):
    record = await api.send(attachments=[enclosure(given)])
    assert [entry["filename"] for entry in await listed(api, record["id"])] == [kept]


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"filename": ""}, "attachments[0].filename must not be empty"),
        ({"filename": " "}, "attachments[0].filename must not be empty"),
        ({"filename": "a/"}, "attachments[0].filename must not be empty"),
        ({"filename": ".."}, "attachments[0].filename must not be empty"),
        ({"filename": "x" * 256}, "attachments[0].filename is longer than 255 characters"),
        ({"filename": "a\r\nBcc: eve@example.test"}, "attachments[0].filename must not contain line breaks"),
        ({"filename": "a\x00b"}, "must not contain a NUL"),
        ({"filename": "photo\u202egpj.exe"}, "change the direction"),
        ({"filename": 7}, "attachments must be text"),
        ({"contentType": "pdf"}, "attachments[0].contentType must be a media type"),
        ({"contentType": "text/plain\r\nX: y"}, "attachments[0].contentType must be a media type"),
        ({"contentType": "text/plain; charset=utf-8\r\nBcc: eve@example.test"}, "attachments[0].contentType must be a media type"),
        ({"contentType": "text/ümlaut"}, "attachments[0].contentType must be a media type"),
        ({"contentType": "a/" + "b" * 200}, "attachments[0].contentType must be a media type"),
        ({"content": "not base64!"}, "attachments[0].content is not base64"),
        ({"content": "QQ"}, "attachments[0].content is not base64"),
        ({"content": "QQ==QQ=="}, "attachments[0].content is not base64"),
        ({"content": "QQ=="[::-1]}, "attachments[0].content is not base64"),
        ({"content": "QU\u00e4="}, "attachments[0].content is not base64"),
        ({"content": "_-8="}, "attachments[0].content is not base64"),
        ({"content": "data:text/plain;base64,QQ=="}, "attachments[0].content must be base64 alone"),
        ({"content": None}, "attachments must be text"),
    ],
)
async def test_every_bad_file_is_a_400_that_names_it_and_nothing_is_sent(api: Api, given: dict[str, Any], complaint: str):
    status, detail = await refused(api, [{**enclosure(), **given}])
    assert (status, complaint in detail) == (400, True), detail
    assert stored(api) == []


@pytest.mark.parametrize(
    ("given", "complaint"), [({"content": "QQ=="}, "filename"), ({"filename": "a"}, "content"), ("a", "attachments"), (7, "attachments")]
)
async def test_a_file_without_name_or_content_is_a_400(api: Api, given: Any, complaint: str):
    status, detail = await refused(api, [given])
    assert (status, complaint in detail) == (400, True), detail


async def test_all_that_is_wrong_is_named_at_once(api: Api):
    _, detail = await refused(api, [enclosure(), enclosure("", b"x", contentType="x"), {"filename": "b", "content": "?"}])
    assert [place in detail for place in ("[1].filename", "[1].contentType", "[2].content", "[0]")] == [True, True, True, False]


async def test_base64_may_come_in_lines_and_null_is_nothing(api: Api):
    lines = base64.encodebytes(BYTES).decode().replace("\n", "\r\n")
    await api.send(attachments=[{"filename": "a.bin", "content": lines, "contentType": None}])
    assert files((await api.dispatch())[0]) == [("a.bin", "application/octet-stream", BYTES)]
    for none in (None, []):
        await api.send(attachments=none)
        assert read((await api.dispatch())[0]).get_content_type() != "multipart/mixed"


async def test_a_hundred_files_are_taken_and_one_more_is_not(api: Api):
    many = [enclosure(f"{number}.txt", b"%d" % number) for number in range(101)]
    status, detail = await refused(api, many)
    assert (status, "more than 100" in detail) == (400, True)
    await api.send(attachments=many[:100])
    assert [name for name, _, _ in files((await api.dispatch())[0])] == [f"{number}.txt" for number in range(100)]


async def test_25_mib_in_all_are_taken_and_one_byte_more_is_a_413(api: Api):
    half = os.urandom(attachments.LIMIT // 2)
    status, detail = await refused(api, [enclosure("a", half), enclosure("b", half), enclosure("c", b"1")])
    assert (status, detail) == (413, "The attachments are larger than 25 MiB in all.")
    await api.send(attachments=[enclosure("a", half), enclosure("b", half)])
    (sealed,) = await api.dispatch()
    assert [data for _, _, data in files(sealed)] == [half, half]
    assert len(stored(api)) == 1


async def test_a_request_that_is_larger_still_is_a_413_that_names_its_bound(api: Api):
    answer = await api.client.post(SEND, content=b" " * (48 * 1024 * 1024 + 1))
    assert (answer.status_code, "48 MiB" in answer.json()["detail"]) == (413, True)
    elsewhere = await api.client.post("/api/v1/contacts", content=b" " * (10 * 1024 * 1024 + 1))
    assert (elsewhere.status_code, "10 MiB" in elsewhere.json()["error"]) == (413, True)


async def test_the_same_bytes_are_kept_once_for_a_tenant_and_once_for_each_tenant(api: Api):
    await api.send(attachments=[enclosure("a.pdf"), enclosure("b.pdf")])
    await api.send(attachments=[enclosure("c.pdf")])
    assert len(stored(api)) == 1
    rival = await api.rival()
    assert (await rival.post(SEND, json={**MAIL, "attachments": [enclosure()]})).status_code == 200
    await rival.aclose()
    assert len(stored(api)) == 2


async def test_a_list_gets_the_files_too_and_each_member_his_own_mail(api: Api):
    made = (await api.client.post("/api/v1/lists", json={"name": "L"})).json()["id"]
    people = [(await api.client.post("/api/v1/contacts", json={"email": f"p{number}@example.test"})).json()["id"] for number in range(3)]
    await api.client.post(f"/api/v1/lists/{made}/contacts", json={"contact_ids": people})
    await api.send(recipients=[], recipientListId=made, attachments=[enclosure()])
    assert [files(sealed) for sealed in await api.dispatch()] == [[("offer.pdf", "application/pdf", BYTES)]] * 3


async def test_sending_again_sends_the_files_again(api: Api):
    record = await api.send(attachments=[enclosure()])
    await api.dispatch()
    assert (await api.client.post(f"/api/v1/communications/{record['id']}/resend")).status_code == 200
    assert [files(sealed) for sealed in await api.dispatch()] == [[("offer.pdf", "application/pdf", BYTES)]]


async def test_a_repeated_request_keeps_one_mail_and_its_files(api: Api):
    body = {**MAIL, "attachments": [enclosure()]}
    first, second = [await api.client.post(SEND, json=body, headers={"idempotency-key": "k"}) for _ in range(2)]
    assert first.json() == second.json()
    assert len(await api.dispatch()) == 1


async def test_a_message_as_a_file_is_sent_as_octets_with_its_name(api: Api):
    await api.send(attachments=[enclosure("mail.eml", b"Subject: x\r\n\r\ny", contentType="message/rfc822")])
    assert files((await api.dispatch())[0]) == [("mail.eml", "application/octet-stream", b"Subject: x\r\n\r\ny")]


async def test_plain_mail_of_the_same_batch_goes_before_what_has_files(api: Api):
    await api.send(attachments=[enclosure()])
    await api.send(recipients=["bob@example.test"])
    assert [sealed.recipients for sealed in await api.dispatch() if isinstance(sealed, Email)] == [
        ("bob@example.test",),
        ("ann@example.test",),
    ]
