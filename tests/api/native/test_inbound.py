"""What was received, over HTTP: found, read as it came, and moved on."""

import asyncio
from email.message import EmailMessage
from typing import Any

from tests.api.conftest import Api, page_of
from tests.api.native.test_conversations import MINUTE, asked, get, text, write
from tests.support.answering import mail
from tidings import ids

PATH = "/api/v1/inbound_messages"


def with_files() -> bytes:
    message = EmailMessage()
    message["From"] = "Ann Bell <ann@example.test>"
    message["To"] = "hello@acme.test"
    message["Subject"] = "Files"
    message["Message-ID"] = "<f1@example.test>"
    message.set_content("See\n")
    message.add_attachment(b"\0\1%PDF", maintype="application", subtype="pdf", filename="Größe.pdf")
    message.add_attachment(b"<script>1</script>", maintype="text", subtype="html", filename="a.html")
    return message.as_bytes()


async def test_a_received_mail_is_shown_whole_with_its_files_and_as_it_came(api: Api):
    raw = with_files()
    taken = await write(api, raw)
    wire = ids.spell("inbound", taken.inbound_id or 0)
    shown = await get(api, f"{PATH}/{wire}")
    assert (shown["from"], shown["from_name"], shown["to"], shown["subject"]) == (
        "ann@example.test",
        "Ann Bell",
        ["hello@acme.test"],
        "Files",
    )
    assert (shown["status"], shown["automatic"], shown["keyword"], shown["raw"]) == ("new", False, None, True)
    assert (shown["text"].strip(), shown["message_id"], shown["references"]) == ("See", "<f1@example.test>", [])
    assert [(file["number"], file["filename"], file["size"]) for file in shown["attachments"]] == [(1, "Größe.pdf", 6), (2, "a.html", 18)]
    whole = await api.client.get(f"{PATH}/{wire}/raw")
    assert (whole.content, whole.headers["content-type"]) == (raw, "message/rfc822")
    first = await api.client.get(f"{PATH}/{wire}/attachments/1")
    assert (first.content, first.headers["content-type"]) == (b"\0\1%PDF", "application/pdf")
    assert "filename*=UTF-8''Gr%C3%B6%C3%9Fe.pdf" in first.headers["content-disposition"]
    second = await api.client.get(f"{PATH}/{wire}/attachments/2")
    assert second.headers["content-disposition"].startswith("attachment")
    assert "sandbox" in second.headers["content-security-policy"]
    for number in ("0", "3", "x", "-1"):
        assert (await api.client.get(f"{PATH}/{wire}/attachments/{number}")).status_code == 404


async def test_a_text_has_no_other_form(api: Api):
    wire = ids.spell("inbound", (await text(api, "Stop.")).inbound_id or 0)
    shown = await get(api, f"{PATH}/{wire}")
    assert (shown["channel"], shown["keyword"], shown["text"], shown["raw"], shown["html"]) == ("sms", "stop", "Stop.", False, "")
    assert (await api.client.get(f"{PATH}/{wire}/raw")).status_code == 404


async def test_they_are_listed_newest_first_and_filtered(api: Api):
    conversation, sent = await asked(api)
    api.at += MINUTE
    away = mail("ann@example.test", "I am away", in_reply_to=sent, auto_submitted="auto-replied", subject="Away")
    await write(api, away)
    api.at += MINUTE
    await write(api, mail("BOB@example.test", "b" * 500, to="Sales <sales@acme.test>", subject="Bob"))
    api.at += MINUTE
    await text(api, "Hi")

    async def listed(**params: Any) -> list[str]:
        return [row["subject"] for row in (await get(api, PATH, **params))["inbound_messages"]]

    assert await listed() == ["", "Bob", "Away", "Re: Hello"]
    answer = await api.client.get(PATH, params={"limit": 3, "page": 2})
    assert page_of(answer) == {"page": 2, "limit": 3, "total": 4, "total_pages": 2}
    (row,) = answer.json()["inbound_messages"]
    assert (row["preview"], row["conversation_id"], "text" in row) == ("Yes, please", conversation, False)
    bob = (await get(api, PATH, limit=1, page=2))["inbound_messages"][0]
    assert bob["preview"] == "b" * 200
    assert await listed(automatic="true") == ["Away"]
    assert await listed(automatic="false", conversation_id=conversation) == ["Re: Hello"]
    assert await listed(**{"from": "bob@EXAMPLE.test"}) == ["Bob"]
    assert await listed(to="Sales@acme.test") == ["Bob"]
    assert await listed(to="ales@acme.test") == []
    assert await listed(**{"from": "+41791230001"}) == [""]
    assert await listed(contact_id=row["contact_id"]) == ["Away", "Re: Hello"]
    assert await listed(since="2025-06-18T12:03:00Z") == ["", "Bob"]
    assert await listed(before="2025-06-18T12:02:00Z") == ["Re: Hello"]
    assert await listed(before="2025-06-18") == []
    assert await listed(status="new") == ["", "Bob", "Away", "Re: Hello"]
    assert await listed(status="archived") == []
    for wrong in ({"status": "odd"}, {"automatic": "x"}, {"contact_id": "x"}, {"conversation_id": "cont_x"}, {"since": "soon"}):
        assert (await api.client.get(PATH, params=wrong)).status_code == 422


async def test_a_message_moves_on_and_never_back(api: Api):
    conversation, _ = await asked(api)
    (row,) = (await get(api, PATH))["inbound_messages"]
    path = f"{PATH}/{row['id']}"

    async def move(status: str) -> int:
        return (await api.client.patch(path, json={"status": status})).status_code

    assert await move("read") == 200
    assert (await get(api, f"/api/v1/conversations/{conversation}"))["unread"] == 0
    assert await move("read") == 200
    assert await move("processed") == 200
    assert await move("read") == 409
    assert await move("new") == 409
    assert await move("archived") == 200
    assert await move("processed") == 409
    assert await move("odd") == 422
    assert await move("READ") == 422
    shown = await get(api, path)
    assert (shown["status"], shown["updated_by"]) == ("archived", "test")
    token = api.signer.communication(api.tenant.id, row["communication_id"])
    assert (await get(api, f"/api/v1/communications/{token}/thread"))["inbound"][0]["status"] == "ARCHIVED"


async def test_two_who_read_the_same_message_count_it_once(api: Api):
    conversation, sent = await asked(api)
    await write(api, mail("ann@example.test", "More", in_reply_to=sent))
    rows = (await get(api, PATH))["inbound_messages"]
    path = f"{PATH}/{rows[0]['id']}"
    await asyncio.gather(*(api.client.patch(path, json={"status": "read"}) for _ in range(6)))
    assert (await get(api, f"/api/v1/conversations/{conversation}"))["unread"] == 1


async def test_another_tenant_sees_nothing(api: Api):
    taken = await write(api, with_files())
    rival = await api.rival()
    assert (await rival.get(PATH)).json()["inbound_messages"] == []
    for wire in (ids.spell("inbound", taken.inbound_id or 0), "inbd_x"):
        for end in ("", "/raw", "/attachments/1"):
            assert (await rival.get(f"{PATH}/{wire}{end}")).status_code == 404
        assert (await rival.patch(f"{PATH}/{wire}", json={"status": "read"})).status_code == 404
    await rival.aclose()
