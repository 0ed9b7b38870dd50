"""What the sandbox kept, read over HTTP the way a mail program would."""

from email.message import EmailMessage

from tests.api.conftest import Api, page_of
from tidings.message.outgoing import Email, Sealed, Sms
from tidings.providers.sandbox import Sandbox

PATH = "/api/v1/sandbox/messages"


def mail(api: Api, number: int, to: str = "ann@example.com") -> Email:
    message = EmailMessage()
    message["Subject"] = "Grüße"
    message["To"] = to
    message.set_content("Hällo\n")
    message.add_alternative("<p>Hällo</p>\n", subtype="html")
    return Email(api.tenant.id, number, "bounces@acme.test", (to,), message.as_bytes(policy=message.policy.clone(linesep="\r\n")), "<1@x>")


async def keep(api: Api, *messages: Sealed) -> None:
    for message in messages:
        channel = "email" if isinstance(message, Email) else "sms"
        await Sandbox(api.db, lambda: api.at, channel).send([message], lambda *_: None)


async def test_a_mail_is_shown_raw_and_read(api: Api):
    await keep(api, mail(api, 7))
    [message] = (await api.client.get(PATH)).json()["messages"]
    assert (message["channel"], message["to"], message["sender"]) == ("email", "ann@example.com", "bounces@acme.test")
    assert (message["subject"], message["text"], message["html"]) == ("Grüße", "Hällo\n", "<p>Hällo</p>\n")
    assert message["raw"].startswith("Subject: =?utf-8?")
    assert (message["communication_id"], message["created_at"]) == (7, "2025-06-18T12:00:00Z")
    assert (await api.client.get(f"{PATH}/{message['id']}")).json() == message


async def test_a_text_message_is_its_text(api: Api):
    await keep(api, Sms(api.tenant.id, 8, "+31612345678", "Acme", "Grüße €"))
    [message] = (await api.client.get(PATH)).json()["messages"]
    assert (message["channel"], message["to"], message["text"], message["raw"]) == ("sms", "+31612345678", "Grüße €", "Grüße €")
    assert (message["subject"], message["html"], message["communication_id"]) == (None, None, 8)


async def test_the_list_is_newest_first_and_filtered(api: Api):
    await keep(api, mail(api, 1), mail(api, 2, "bob@example.com"), Sms(api.tenant.id, 3, "+31612345678", "Acme", "Hi"))

    async def listed(**params: str | int) -> list[int]:
        return [row["communication_id"] for row in (await api.client.get(PATH, params=params)).json()["messages"]]

    assert await listed() == [3, 2, 1]
    assert await listed(to="BOB@example.com") == [2]
    assert await listed(channel="sms") == [3]
    assert await listed(communication_id=1) == [1]
    assert await listed(limit=2, page=2) == [1]
    assert page_of(await api.client.get(PATH, params={"limit": 2})) == {"page": 1, "limit": 2, "total": 3, "total_pages": 2}
    for wrong in ({"channel": "fax"}, {"communication_id": "x"}):
        assert (await api.client.get(PATH, params=wrong)).status_code == 422


async def test_a_tenant_sees_and_empties_its_own_alone(api: Api):
    await keep(api, mail(api, 1))
    [message] = (await api.client.get(PATH)).json()["messages"]
    rival = await api.rival()
    assert (await rival.get(PATH)).json()["messages"] == []
    assert (await rival.get(f"{PATH}/{message['id']}")).status_code == 404
    assert (await rival.delete(PATH)).status_code == 204
    assert len((await api.client.get(PATH)).json()["messages"]) == 1
    assert (await api.client.delete(PATH)).status_code == 204
    assert (await api.client.get(PATH)).json()["messages"] == []
    assert (await api.client.get(f"{PATH}/x")).status_code == 404
