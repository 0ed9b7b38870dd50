"""A carrier's events come in by the inbox's URL: signed, once each, within the tenant, and what they say is in the record."""

import json
import time
from typing import Any

import httpx2
import pytest

from tests.inbound import carriers, told
from tests.inbound.told import AT, CAN, SETTINGS, Mail
from tests.support.api import NOON, Api
from tests.support.recount import check
from tidings.api.inbound_hooks import PATH
from tidings.clock import MINUTE
from tidings.domain import heard, inboxes
from tidings.domain.inboxes import Inbox
from tidings.inbound import sources
from tidings.inbound.hooks import sns

assert AT == NOON
CARRIERS = [*CAN]


class Post:
    """Posts to a house as each of the carriers does."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.inboxes: dict[str, Inbox] = {}

    async def start(self) -> None:
        for kind, settings in SETTINGS.items():
            new = inboxes.New(kind, kind, token=f"{kind}-token-0123456789", settings=sources.seal(self.api.house.vault, settings))
            self.inboxes[kind] = await self.api.db.write(inboxes.create, self.api.tenant.id, new, now=NOON)

    async def to(self, carrier: str, body: bytes, headers: dict[str, str] | None = None, **how: Any) -> httpx2.Response:
        """A body to the inbox of that kind, signed unless headers are given."""
        path = PATH.format(kind=carrier, token=self.inboxes[carrier].token)
        return await self.api.stranger.post(path, content=body, headers=told.signed(carrier, body, **how) if headers is None else headers)

    async def tell(self, carrier: str, what: str, mail: Mail, at: int = NOON, *, number: int = 1) -> dict[str, Any]:
        """One event; the answer."""
        answer = await self.to(carrier, told.body(carrier, what, mail, at, number=number), named=f"msg_{what}_{number}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def sent(self, address: str = "ann@example.test", **fields: Any) -> Mail:
        """A mail that went out."""
        made = await self.api.send(recipients=[address], **fields)
        await self.api.dispatch()
        found = self.api.signer.parse_communication(made["id"])
        assert found is not None
        return Mail(address, made["id"], self.api.house.composer.message_id(*found, 0))

    async def happened(self, mail: Mail) -> list[tuple[Any, ...]]:
        """(kind, reason, code, link, user agent, ip) of what happened to a mail but for its sending."""
        found = self.api.signer.parse_communication(mail.token)
        assert found is not None
        return await self.api.rows(
            "SELECT kind, reason, code, link_index, user_agent, ip FROM interactions WHERE tenant_id = :t AND communication_id = :id"
            " AND kind <> 'sent' ORDER BY id",
            t=found[0],
            id=found[1],
        )

    async def state(self, mail: Mail) -> tuple[Any, ...]:
        found = self.api.signer.parse_communication(mail.token)
        assert found is not None
        sql = "SELECT state, error_code, open_count, click_count FROM communications WHERE tenant_id = :t AND id = :id"
        return (await self.api.rows(sql, t=found[0], id=found[1]))[0]

    async def suppressed(self) -> list[tuple[Any, ...]]:
        return await self.api.rows("SELECT address, reason FROM suppressions WHERE tenant_id = :t ORDER BY id", t=self.api.tenant.id)

    async def inbox(self, kind: str) -> dict[str, Any]:
        shown = (await self.api.client.get("/api/v1/inboxes")).json()["inboxes"]
        return next(row for row in shown if row["kind"] == kind)


@pytest.fixture
async def post(api: Api, monkeypatch: pytest.MonkeyPatch) -> Post:
    async def fetched(url: str) -> bytes:
        return told.CERTIFICATE

    monkeypatch.setattr(sns, "fetched", fetched)
    monkeypatch.setattr(sns, "CERTIFICATES", sns.Certificates())
    found = Post(api)
    await found.start()
    return found


STATES = {"delivered": "delivered", "bounced": "bounced", "soft": "bounced", "failed": "failed"}
BANS = {"bounced": "bounced", "complained": "complained", "unsubscribed": "unsubscribed"}


@pytest.mark.parametrize("carrier", CARRIERS)
async def test_every_event_is_in_the_record_once(post: Post, carrier: str):
    for number, what in enumerate(CAN[carrier]):
        mail = await post.sent(f"ann{number}@example.test", body='<a href="https://shop.test/">shop</a>')
        for _ in range(2):
            answer = await post.tell(carrier, what, mail, number=number)
        assert answer["status"] == "known", what
        assert answer["repeated"] == 1
        kinds = [row[0] for row in await post.happened(mail)]
        assert kinds == {"sent": [], "soft": ["bounced"], "clicked": ["opened", "clicked"]}.get(what, [what])
        assert (await post.state(mail))[0] == STATES.get(what, "sent")
        bans = dict(await post.suppressed())
        assert bans.get(mail.address) == BANS.get(what)
        if what == "clicked":
            assert (await post.happened(mail))[1][3:] == (0, "Mozilla/5.0", "192.0.2.0")
        if what == "bounced":
            assert (await post.happened(mail))[0][1:3] == ("invalid", "5.1.1")
    await post.api.db.read(check, post.api.tenant.id)


@pytest.mark.parametrize(
    ("carrier", "mebibytes", "status"), [("ses", 2, 413), ("mailgun", 2, 413), ("resend", 2, 401), ("sendgrid", 8, 413)]
)
async def test_more_than_any_event_has_is_not_taken_apart(post: Post, carrier: str, mebibytes: int, status: int):
    body = b"[" + b"{}," * (mebibytes * 1024 * 1024 // 3) + b"{}]"
    headers = told.JSON if carrier != "sendgrid" else told.signed(carrier, body)
    assert (await post.to(carrier, body, headers)).status_code == status
    assert "MiB" in (await post.inbox(carrier))["error"] or status == 401


@pytest.mark.parametrize("carrier", CARRIERS)
async def test_a_forged_event_is_turned_away_and_the_inbox_says_so(post: Post, carrier: str):
    mail = await post.sent()
    body = told.body(carrier, "bounced", mail)
    headers = told.signed(carrier, body)
    forged = {
        "postmark": (body, told.JSON),
        "mailgun": (told.mailgun({"event": "failed"}, key="key-of-another"), told.JSON),
        "sendgrid": (body.replace(b"ann@", b"bob@"), headers),
        "resend": (body.replace(b"ann@", b"bob@"), headers),
        "ses": (body.replace(b"ann@", b"bob@"), headers),
    }
    answer = await post.to(carrier, *forged[carrier])
    assert (answer.status_code, list(answer.json())) == (401, ["error"])
    assert await post.happened(mail) == []
    assert await post.suppressed() == []
    shown = await post.inbox(carrier)
    assert (shown["state"], shown["error"], shown["last_at"]) == ("failing", answer.json()["error"], None)
    await post.tell(carrier, "delivered", mail)
    shown = await post.inbox(carrier)
    assert (shown["state"], shown["error"], shown["failing_since"], shown["last_at"]) == ("ok", None, None, "2025-06-18T12:00:00Z")


async def test_a_signature_of_mailguns_is_good_for_what_was_signed_and_no_more(post: Post):
    mail = await post.sent()
    said = told.MAILGUN["delivered"] | {"id": "a", "timestamp": NOON / 1000, "recipient": mail.address}
    said["message"] = {"headers": {"message-id": mail.message_id.strip("<>")}}
    assert (await post.to("mailgun", told.mailgun(said))).json()["status"] == "stored"
    assert (await post.to("mailgun", told.mailgun(said))).json()["status"] == "known"
    other = await post.to("mailgun", told.mailgun(said | {"event": "complained"}))
    assert (other.status_code, other.json()) == (401, {"error": "The signature was used before, for something else"})
    assert await post.suppressed() == []
    post.api.at += 13 * 60 * MINUTE
    old = await post.to("mailgun", told.mailgun(said))
    assert (old.status_code, old.json()) == (401, {"error": "The signature is too old"})


@pytest.mark.parametrize("carrier", CARRIERS)
async def test_a_mail_is_found_by_the_carriers_own_name_for_it(post: Post, carrier: str):
    mail = await post.sent()
    nameless = mail._replace(token="", message_id="", provider_id=f"{carrier}id0001")
    await post.api.run("UPDATE communications SET provider_message_id = :name WHERE tenant_id > 0", name=nameless.provider_id)
    answer = await post.tell(carrier, "delivered", nameless)
    if carrier == "mailgun":  # which keeps our Message-ID, and tells no other name
        assert answer["unknown"] == 1
    else:
        assert [row[0] for row in await post.happened(mail)] == ["delivered"]


async def test_what_is_not_known_is_answered_and_heeded(post: Post):
    stranger = Mail("Nobody@example.test", "", "<other@example.org>")
    for carrier in CARRIERS:
        for what in ("delivered", "soft", "opened"):
            answer = await post.tell(carrier, what, stranger, number=7)
            assert (answer["status"], answer["unknown"]) == ("ignored", 1)
    assert await post.suppressed() == []
    await post.tell("sendgrid", "bounced", stranger)
    await post.tell("ses", "complained", Mail("bob@example.test"))
    assert await post.suppressed() == [("nobody@example.test", "bounced"), ("bob@example.test", "complained")]


async def test_a_mail_that_was_deleted_is_heeded_too(post: Post):
    mail = await post.sent()
    assert (await post.api.client.delete(f"/api/v1/communications/{mail.token}")).is_success
    assert (await post.tell("mailgun", "complained", mail))["unknown"] == 1
    assert await post.suppressed() == [("ann@example.test", "complained")]


async def test_another_tenants_mail_is_nobodys(post: Post):
    theirs = await post.api.new_tenant("rival")
    mail = await post.sent()
    for kind, known in post.inboxes.items():
        new = inboxes.New("ses", "theirs", token=f"{kind}-rival", settings=known.settings) if kind == "ses" else None
        if new is not None:
            inbox = await post.api.db.write(inboxes.create, theirs.id, new, now=NOON)
            path = PATH.format(kind=kind, token=inbox.token)
            body = told.body(kind, "bounced", mail)
            answer = await post.api.stranger.post(path, content=body, headers=told.signed(kind, body))
            assert answer.json()["unknown"] == 1
    assert await post.happened(mail) == []
    rows = await post.api.rows("SELECT tenant_id, address FROM suppressions")
    assert rows == [(theirs.id, "ann@example.test")]


@pytest.mark.parametrize("carrier", CARRIERS)
async def test_what_is_no_event_is_a_bad_request_and_an_unknown_one_is_answered(post: Post, carrier: str):
    answer = await post.to(carrier, b"{")
    assert (answer.status_code, list(answer.json())) == (400, ["error"])
    new = {
        "postmark": b'{"RecordType": "New"}',
        "mailgun": told.mailgun({"event": "new"}),
        "sendgrid": b'[{"event": "new"}]',
        "resend": b'{"type": "email.new"}',
        "ses": told.sns('{"eventType": "New"}'),
    }
    answer = await post.to(carrier, new[carrier])
    assert (answer.status_code, answer.json()["status"], answer.json()["passed_over"]) == (200, "ignored", 1)


async def test_a_subscription_of_sns_is_confirmed(post: Post, monkeypatch: pytest.MonkeyPatch):
    asked: list[str] = []

    async def fetched(url: str) -> bytes:
        asked.append(url)
        return told.CERTIFICATE

    monkeypatch.setattr(sns, "fetched", fetched)
    body = told.sns("You have chosen to subscribe", kind="SubscriptionConfirmation")
    assert (await post.to("ses", body)).status_code == 200
    assert asked[-1].startswith("https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription")
    raw = await post.to("ses", b"{}", told.PLAIN | {"x-amz-sns-rawdelivery": "true"})
    assert (raw.status_code, "Raw message delivery" in raw.json()["error"]) == (400, True)


async def test_a_mail_comes_in_by_sns_too(post: Post):
    said = {"notificationType": "Received", "mail": {"source": "ann@example.org"}, "receipt": {"recipients": ["hello@acme.test"]}}
    body = told.sns(json.dumps(said | {"content": carriers.mail().decode()}))
    assert (await post.to("ses", body)).json() == {"status": "stored"}
    assert (await post.to("ses", body)).json() == {"status": "known"}
    assert len(await post.api.rows("SELECT id FROM inbound_messages WHERE raw_hash IS NOT NULL")) == 1


async def test_ten_thousand_events_in_one_post_are_taken(post: Post):
    mails = [await post.sent(f"p{number}@example.test") for number in range(20)]
    whats = ["delivered", "opened", "clicked", "deferred"]
    events = [told.sendgrid(whats[number % 4], mails[number % 20], number=number) for number in range(10_000)]
    body = json.dumps(events).encode()
    begun = time.monotonic()
    answer = await post.to("sendgrid", body)
    print(f"10,000 events: {time.monotonic() - begun:.1f} s")
    assert (answer.status_code, answer.json()["taken"]) == (200, 10_000)
    assert (await post.to("sendgrid", body)).json()["repeated"] == 10_000
    await post.api.db.read(check, post.api.tenant.id)


async def test_what_was_heard_is_forgotten_after_a_month(post: Post):
    mail = await post.sent()
    await post.tell("resend", "delivered", mail)
    assert await post.api.db.write(heard.forget, now=NOON + heard.KEPT - 1) == 0
    assert await post.api.db.write(heard.forget, now=NOON + heard.KEPT) == 1


async def test_a_key_that_is_none_is_refused_when_an_inbox_is_made(post: Post):
    for kind, settings, field in (
        ("sendgrid", {"public_key": "no key"}, "public_key"),
        ("sendgrid", {"event_public_key": "TUZrd0V3WUhLb1pJemowQ0FRWUk="}, "event_public_key"),
        ("resend", {"signing_secret": "whsec_", "api_key": "re_1"}, "signing_secret"),
        ("ses", {"topic_arn": "mail-events"}, "topic_arn"),
    ):
        answer = await post.api.client.post("/api/v1/inboxes", json={"name": "New", "kind": kind, "settings": settings})
        assert (answer.status_code, list(answer.json()["errors"])) == (422, [f"settings.{field}"])
    made = await post.api.client.post("/api/v1/inboxes", json={"name": "New", "kind": "ses"})
    assert made.status_code == 201
    assert made.json()["url"].startswith("https://mail.example.test/api/v1/inbound/ses/")
    assert {"DELIVERY", "BOUNCE", "COMPLAINT"} < set(made.json()["events"])
