"""A carrier's webhook is answered once the mail is stored, in the conversation it answers; and stored once, however often it is posted."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from tests.inbound import carriers
from tests.inbound.carriers import MULTIPART
from tests.support.api import NOON, Api
from tidings.api.inbound_hooks import PATH
from tidings.domain import inboxes
from tidings.domain.inboxes import Inbox, Kind
from tidings.errors import Unavailable
from tidings.inbound import receive, sources
from tidings.inbound.hooks import resend
from tidings.inbound.sources import Mailgun, Postmark, Resend, SendGrid, Settings
from tidings.message.incoming import LARGEST

SETTINGS: dict[Kind, Settings] = {
    "postmark": Postmark("acme", "a password"),
    "mailgun": Mailgun(carriers.SIGNING_KEY),
    "sendgrid": SendGrid(carriers.PUBLIC_KEY),
    "resend": Resend(carriers.SECRET, carriers.API_KEY),
}
JSON = {"content-type": "application/json"}
FORM = {"content-type": MULTIPART}
DSN = b"""From: MAILER-DAEMON@mail.example.org
To: hello@acme.test
Subject: Undelivered Mail Returned to Sender
Message-ID: <bounce@mail.example.org>
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b
Content-Type: text/plain

It could not be delivered.
--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mail.example.org

Final-Recipient: rfc822; ann@example.test
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 no such user
--b--
"""


class Post:
    """Posts to a house as each of the carriers does; `inboxes` are those of the tenant acme."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.client = api.stranger
        self.inboxes: dict[str, Inbox] = {}

    async def start(self) -> None:
        for kind, settings in SETTINGS.items():
            new = inboxes.New(kind, kind, token=f"{kind}-token-0123456789", settings=sources.seal(self.api.house.vault, settings))
            self.inboxes[kind] = await self.api.db.write(inboxes.create, self.api.tenant.id, new, now=NOON)

    async def to(self, kind: str, body: bytes, headers: dict[str, str], *, suffix: str = "") -> httpx2.Response:
        """A body to the inbox of that kind."""
        path = PATH.format(kind=kind, token=self.inboxes[kind].token) + suffix
        return await self.client.post(path, content=body, headers=headers)

    async def sample(self, kind: str, recipient: str = "hello@acme.test") -> httpx2.Response:
        """The carrier's sample, signed."""
        body, headers = signed(kind, recipient)
        return await self.to(kind, body, headers)

    async def stored(self) -> list[tuple[Any, ...]]:
        """(sender, subject, reply, html, message id, in reply to, communication, whether the raw mail is kept) of all that was."""
        return await self.api.rows(
            "SELECT sender, subject, reply, html, message_id, in_reply_to, communication_id, raw_hash IS NOT NULL"
            " FROM inbound_messages WHERE tenant_id = :tenant_id ORDER BY id",
            tenant_id=self.api.tenant.id,
        )

    async def answered(self) -> tuple[int, str]:
        """A mail that went out: its id, and the address that an answer to it goes to."""
        sent = await self.api.send()
        await self.api.dispatch()
        found = self.api.signer.parse_communication(sent["id"])
        assert found is not None
        return found[1], f"reply+{self.api.signer.reply(*found)}@reply.acme.test"


def signed(kind: str, recipient: str) -> tuple[bytes, dict[str, str]]:
    """(body, headers) of a carrier's sample."""
    if kind == "postmark":
        return carriers.sample("postmark.json", recipient), JSON | {"authorization": "Basic YWNtZTphIHBhc3N3b3Jk"}
    if kind == "mailgun":
        return carriers.form(carriers.mailgun_fields(recipient=recipient), carriers.mailgun_files()), FORM
    if kind == "sendgrid":
        body = carriers.sendgrid_form(recipient)
        return body, FORM | carriers.sendgrid_signed(body)
    body = carriers.sample("resend_event.json", recipient)
    return body, JSON | carriers.resend_signed(body)


@pytest.fixture
async def post(api: Api) -> Post:
    found = Post(api)
    await found.start()
    return found


STORED = {
    "postmark": ("Re: Your order, its Größe", "This is a test text body. Grüße", 2),
    "mailgun": ("Re: Your order, its Größe", "Hi Acme,\n\nThis is Ann. Grüße", 2),
    "sendgrid": ("Re: Different Order", "Here's an email with multiple attachments", 2),
    "resend": ("Re: Your order, its Größe", "Congrats on sending your first email!", 1),
}


@pytest.mark.parametrize("kind", SETTINGS)
async def test_a_reply_is_stored_in_the_conversation_that_its_recipient_names(post: Post, kind: str, monkeypatch: pytest.MonkeyPatch):
    communication_id, address = await post.answered()
    async with carriers.resend_server() as server:
        monkeypatch.setattr(resend, "API", server.url)
        server.holds()
        answer = await post.sample(kind, address)
        assert (answer.status_code, answer.json()) == (200, {"status": "stored"})
        again = await post.sample(kind, address)
        assert (again.status_code, again.json()) == (200, {"status": "known"})
    subject, reply, files = STORED[kind]
    [(sender, found, text, html, message_id, in_reply_to, answered, raw)] = await post.stored()
    assert (sender, found, text.strip(), answered, bool(raw)) == ("ann@example.org", subject, reply, communication_id, False)
    assert in_reply_to == "<first@mail.example.org>"
    assert message_id.endswith("@mail.example.org>")
    assert html
    assert "run()" not in html
    kept = await post.api.rows("SELECT filename FROM attachments WHERE tenant_id = :tenant_id", tenant_id=post.api.tenant.id)
    assert len(kept) == files
    events = await post.api.rows(
        "SELECT COUNT(*) FROM interactions WHERE tenant_id = :tenant_id AND kind = 'replied'", tenant_id=post.api.tenant.id
    )
    assert events[0][0] == 1


async def test_the_whole_mail_is_kept_and_known_by_whatever_way_it_comes(post: Post, monkeypatch: pytest.MonkeyPatch):
    raw = carriers.mail()
    postmark = json.dumps(carriers.loaded("postmark.json") | {"RawEmail": raw.decode()}).encode()
    mailgun = carriers.form(carriers.mailgun_fields(body_mime=raw))
    sendgrid = carriers.form(carriers.loaded("sendgrid_raw.json") | {"email": raw})
    answers = [
        await post.to("mailgun", mailgun, FORM, suffix="/mime"),
        await post.to("postmark", postmark, signed("postmark", "")[1]),
        await post.to("sendgrid", sendgrid, FORM | carriers.sendgrid_signed(sendgrid)),
    ]
    async with carriers.resend_server() as server:
        monkeypatch.setattr(resend, "API", server.url)
        server.holds(raw)
        answers.append(await post.sample("resend"))
    assert [(answer.status_code, answer.json()["status"]) for answer in answers] == [(200, "stored"), *[(200, "known")] * 3]
    [row] = await post.stored()
    assert (row[1], row[2], bool(row[7])) == ("Re: Your order, its Größe", "It arrived. Grüße", True)
    [(raw_hash,)] = await post.api.rows("SELECT raw_hash FROM inbound_messages WHERE tenant_id = :tenant_id", tenant_id=post.api.tenant.id)
    kept = [path for path in (post.api.house.data_folder / "blobs").rglob("*") if path.is_file() and path.name.endswith(raw_hash[4:])]
    assert [path.read_bytes() for path in kept] == [raw]


async def test_a_bounce_that_is_posted_is_one_of_what_it_speaks_of(post: Post):
    communication_id, address = await post.answered()
    body = carriers.form(carriers.mailgun_fields(recipient=address, sender="", body_mime=DSN.replace(b"\n", b"\r\n")))
    assert (await post.to("mailgun", body, FORM, suffix="/mime")).status_code == 200
    assert (await post.to("mailgun", body, FORM, suffix="/mime")).status_code == 200
    bounced = await post.api.rows(
        "SELECT communication_id FROM interactions WHERE tenant_id = :tenant_id AND kind = 'bounced'", tenant_id=post.api.tenant.id
    )
    assert bounced == [(communication_id,)]
    assert await post.stored() == []


async def test_the_mail_is_the_inboxs_tenants_and_nobody_elses_token_leads_into_it(post: Post):
    theirs = await post.api.new_tenant("rival")
    address = f"reply+{post.api.signer.reply(theirs.id, 1)}@reply.acme.test"
    assert (await post.sample("mailgun", address)).json() == {"status": "stored"}
    assert (await post.stored())[0][6] is None
    assert await post.api.rows("SELECT id FROM inbound_messages WHERE tenant_id = :tenant_id", tenant_id=theirs.id) == []


async def test_an_unknown_token_is_not_found_nor_is_one_of_another_kind(post: Post):
    body, headers = signed("postmark", "hello@acme.test")
    known = post.inboxes["postmark"].token
    for path in (f"postmark/{known}x", f"mailgun/{known}", f"imap/{known}", f"postmark/{known}%00", "postmark/%C3%A9", "postmark/x/mime"):
        answer = await post.client.post(f"/api/v1/inbound/{path}", content=body, headers=headers)
        assert (answer.status_code, answer.json()) == (404, {"error": "Not found"}), path
    assert (await post.client.get(f"/api/v1/inbound/postmark/{known}")).status_code == 405
    assert await post.stored() == []


async def test_nothing_of_a_body_is_read_for_whoever_does_not_know_the_token(post: Post):
    handed_over: list[int] = []

    async def body() -> AsyncIterator[bytes]:
        for number in range(50):
            handed_over.append(number)
            yield bytes(1024 * 1024)

    for suffix in ("", "/mime"):
        answer = await post.client.post(f"/api/v1/inbound/mailgun/x{suffix}", content=body(), headers=FORM)
        assert answer.status_code == 404
    assert handed_over == []


@pytest.mark.parametrize("kind", SETTINGS)
async def test_what_is_not_signed_is_turned_away(post: Post, kind: str):
    body, headers = signed(kind, "hello@acme.test")
    if kind == "mailgun":
        body = carriers.form(carriers.mailgun_fields(key="key-of-another"))
    answer = await post.to(kind, body, {"content-type": headers["content-type"]})
    assert (answer.status_code, list(answer.json())) == (401, ["error"])
    assert await post.stored() == []


@pytest.mark.parametrize("kind", SETTINGS)
async def test_what_is_no_mail_is_a_bad_request(post: Post, kind: str):
    bodies = {
        "postmark": b"{",
        "mailgun": carriers.form(carriers.mailgun_fields(message_headers="{")),
        "sendgrid": b"--xYzZY",
        "resend": b"{",
    }
    body = bodies[kind]
    extra = {"sendgrid": carriers.sendgrid_signed(body), "resend": carriers.resend_signed(body)}.get(kind, {})
    answer = await post.to(kind, body, signed(kind, "")[1] | extra)
    assert (answer.status_code, list(answer.json())) == (400, ["error"])


async def test_more_than_a_mail_may_have_is_refused_and_more_than_a_body_too(post: Post):
    headers = signed("postmark", "")[1]
    large = json.dumps(carriers.loaded("postmark.json") | {"RawEmail": "x" * (LARGEST + 1)}).encode()
    answer = await post.to("postmark", large, headers)
    assert (answer.status_code, "25 MiB" in answer.json()["error"]) == (413, True)
    answer = await post.to("postmark", b"x" * (56 * 1024 * 1024 + 1), headers)
    assert (answer.status_code, "56 MiB" in answer.json()["error"]) == (413, True)


async def test_a_mail_that_cannot_be_stored_now_is_to_be_posted_again(post: Post, monkeypatch: pytest.MonkeyPatch):
    async def full(*_: Any, **__: Any) -> None:
        raise Unavailable("The disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(receive, "mail", full)
        answer = await post.sample("mailgun")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert await post.stored() == []
    assert (await post.sample("mailgun")).json() == {"status": "stored"}


async def test_settings_that_cannot_be_opened_are_no_reason_to_give_up(post: Post):
    sealed = await post.api.run("UPDATE inboxes SET settings = 'v1.AAAA' WHERE tenant_id = :tenant_id", tenant_id=post.api.tenant.id)
    assert sealed == len(SETTINGS)
    for kind in SETTINGS:
        assert (await post.sample(kind)).status_code == 503


async def test_an_inbox_takes_mail_at_the_url_that_it_was_made_with(post: Post):
    new = {"name": "Replies", "kind": "mailgun", "settings": {"signing_key": carriers.SIGNING_KEY}}
    made = (await post.api.client.post("/api/v1/inboxes", json=new)).json()
    body, headers = signed("mailgun", "hello@acme.test")
    for suffix, status in (("/mime", "stored"), ("", "known")):
        answer = await post.client.post(made["url"] + suffix, content=body, headers=headers)
        assert (answer.status_code, answer.json()) == (200, {"status": status})
    assert len(await post.stored()) == 1


async def test_an_event_that_is_no_mail_is_answered_and_passed_over(post: Post):
    body = b'{"type": "email.sent", "data": {"email_id": "x"}}'
    answer = await post.to("resend", body, JSON | carriers.resend_signed(body))
    assert (answer.status_code, answer.json()["status"]) == (200, "ignored")
    assert await post.stored() == []
