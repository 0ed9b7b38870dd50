"""A mail is taken from its carrier alone: signatures that are right, wrong, missing or old; and Resend's API when it does not answer."""

import base64
import json
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.inbound import carriers
from tests.inbound.carriers import AT, MULTIPART
from tests.inbound.test_hooks import MAILGUN, RESEND, read, resent
from tidings.clock import DAY, HOUR, MINUTE
from tidings.errors import Malformed, TooLarge, Unauthorized, Unavailable
from tidings.inbound import hooks
from tidings.inbound.hooks import Posted, resend
from tidings.inbound.sources import Nothing, Postmark, Resend, SendGrid
from tidings.message.incoming import LARGEST

EVENT = carriers.sample("resend_event.json")
NAMED = Postmark("acme", "a:pass word")


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


async def test_postmark_is_known_by_a_user_name_and_a_password_where_they_are_set():
    body = carriers.sample("postmark.json")
    await read(body, NAMED, authorization=basic("acme", "a:pass word"))
    await read(body, Postmark())
    for wrong in (basic("acme", "another"), basic("another", "a:pass word"), basic("", ""), "Basic é", "Bearer x", "Basic", ""):
        with pytest.raises(Unauthorized):
            await read(body, NAMED, authorization=wrong)
    with pytest.raises(Unauthorized):
        await read(body, NAMED)


async def test_a_form_of_mailguns_is_believed_for_as_long_as_mailgun_tries():
    for at in (AT, AT - 11 * HOUR, AT + 4 * MINUTE):
        await read(carriers.form(carriers.mailgun_fields(at=at)), MAILGUN, MULTIPART)
    for at in (AT - 13 * HOUR, AT + 6 * MINUTE):
        with pytest.raises(Unauthorized, match="old"):
            await read(carriers.form(carriers.mailgun_fields(at=at)), MAILGUN, MULTIPART)


async def test_a_form_that_mailgun_did_not_sign_is_turned_away():
    forged = [
        carriers.mailgun_fields(key="key-of-another"),
        carriers.mailgun_fields() | {"timestamp": str(AT // 1000 - 1)},
        carriers.mailgun_fields(token="another"),
        carriers.mailgun_fields(signature=None),
        carriers.mailgun_fields(signature="é"),
        {"recipient": "hello@acme.test", "body-plain": "Hello"},
    ]
    for fields in forged:
        with pytest.raises(Unauthorized):
            await read(carriers.form(fields), MAILGUN, MULTIPART)


async def test_sendgrid_is_known_by_its_signature_where_a_key_is_set():
    body, settings = carriers.sendgrid_form(), SendGrid(carriers.PUBLIC_KEY)
    for at in (AT, AT - 3 * DAY, AT + 4 * MINUTE):
        await read(body, settings, MULTIPART, **carriers.sendgrid_signed(body, at=at))
    for at in (AT - 5 * DAY, AT + 6 * MINUTE):
        with pytest.raises(Unauthorized, match="old"):
            await read(body, settings, MULTIPART, **carriers.sendgrid_signed(body, at=at))


async def test_a_form_that_sendgrid_did_not_sign_is_turned_away():
    body, settings = carriers.sendgrid_form(), SendGrid(carriers.PUBLIC_KEY)
    good = carriers.sendgrid_signed(body)
    forged = [
        carriers.sendgrid_signed(body, key=ec.derive_private_key(0x5EED, ec.SECP256R1())),
        carriers.sendgrid_signed(body + b"\r\n"),
        good | {"x-twilio-email-event-webhook-timestamp": str(AT // 1000 - 1)},
        good | {"x-twilio-email-event-webhook-signature": "AAAA"},
        good | {"x-twilio-email-event-webhook-signature": "é"},
        {},
    ]
    for headers in forged:
        with pytest.raises(Unauthorized):
            await read(body, settings, MULTIPART, **headers)


@pytest.mark.parametrize("key", ["no base64!", "AAAA", "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE="])
async def test_a_key_that_is_none_is_no_reason_for_sendgrid_to_give_up(key: str):
    body = carriers.sendgrid_form()
    with pytest.raises(Unavailable, match="public key"):
        await read(body, SendGrid(key), MULTIPART, **carriers.sendgrid_signed(body))


def test_a_signature_is_that_of_the_standards_own_example():
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    posted = Posted(headers, b'{"test": 2432232314}', 1_614_265_330_000)
    resend.check(posted, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    with pytest.raises(Unauthorized):
        resend.check(posted, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSx")


async def test_an_event_that_resend_did_not_sign_is_turned_away_before_anything_is_asked(monkeypatch: pytest.MonkeyPatch):
    async with carriers.resend_server() as server:
        monkeypatch.setattr(resend, "API", server.url)
        server.holds(carriers.mail())
        forged = [
            carriers.resend_signed(EVENT, secret="whsec_" + base64.b64encode(b"another").decode()),
            carriers.resend_signed(EVENT + b" "),
            carriers.resend_signed(EVENT, at=AT - 6 * MINUTE),
            carriers.resend_signed(EVENT, at=AT + 6 * MINUTE),
            carriers.resend_signed(EVENT) | {"svix-id": "msg_another"},
            carriers.resend_signed(EVENT) | {"svix-timestamp": "soon"},
            carriers.resend_signed(EVENT) | {"svix-signature": "é v1, v2,x"},
            {},
        ]
        for headers in forged:
            with pytest.raises(Unauthorized):
                await read(EVENT, RESEND, **headers)
        assert server.asked == []
        await read(EVENT, RESEND, **carriers.resend_signed(EVENT, prefix="webhook"))


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_a"])
async def test_a_secret_that_is_none_opens_nothing(secret: str):
    with pytest.raises(Unavailable, match="secret"):
        await read(EVENT, Resend(secret, carriers.API_KEY), **carriers.resend_signed(EVENT))


async def test_another_event_of_resends_is_no_mail(monkeypatch: pytest.MonkeyPatch):
    body = json.dumps({"type": "email.scheduled", "data": {"email_id": 5, "to": ["ann@example.org"]}}).encode()
    body = body.replace(b": 5", b': "5"')
    assert await hooks.read(Posted(carriers.resend_signed(body), body, AT), RESEND) == hooks.Events(ignored=1)


async def test_an_email_id_leads_nowhere_else():
    for name in ("", "../../domains", "a?b", "a/b", "é"):
        body = json.dumps({"type": "email.received", "data": {"email_id": name}}).encode()
        with pytest.raises(Malformed, match="email_id"):
            await resent(body)


async def refused(monkeypatch: pytest.MonkeyPatch, prepare: Callable[[carriers.ResendServer], None]) -> str:
    async with carriers.resend_server() as server:
        monkeypatch.setattr(resend, "API", server.url)
        server.holds(carriers.mail())
        prepare(server)
        with pytest.raises(Unavailable) as caught:
            await resent()
    return caught.value.message


async def test_a_mail_that_cannot_be_fetched_now_is_asked_for_again(monkeypatch: pytest.MonkeyPatch):
    path = f"/emails/receiving/{carriers.EMAIL_ID}?html_format=cid"
    for status in (401, 404, 429, 500):
        assert str(status) in await refused(monkeypatch, lambda server, status=status: server.pages.update({path: (status, b"{}")}))
    assert "read" in await refused(monkeypatch, lambda server: server.pages.update({path: (200, b"<html>")}))
    assert "403" in await refused(monkeypatch, lambda server: server.pages.update({"/store/raw?signature=x": (403, b"expired")}))
    for url in ("http://169.254.169.254/latest", "file:///etc/passwd", "nonsense"):
        assert "trusted" in await refused(monkeypatch, lambda server, url=url: server.holds(raw={"download_url": url}))


async def test_nobody_at_the_other_end_is_no_loss(monkeypatch: pytest.MonkeyPatch):
    async with carriers.resend_server() as server:
        monkeypatch.setattr(resend, "API", server.url)
    with pytest.raises(Unavailable, match="cannot be fetched"):
        await resent()


async def test_no_more_is_fetched_than_a_mail_may_have(monkeypatch: pytest.MonkeyPatch):
    async with carriers.resend_server() as server:
        monkeypatch.setattr(resend, "API", server.url)
        server.holds(b"x" * (LARGEST + 1))
        with pytest.raises(TooLarge):
            await resent()
        server.holds(attachments=[{"id": carriers.FILE_ID}] * 2)
        server.pages["/store/file"] = (200, b"x" * (LARGEST // 2 + 1))
        with pytest.raises(TooLarge):
            await resent()


async def test_an_inbox_without_settings_takes_nothing():
    with pytest.raises(Unavailable):
        await read(carriers.sample("postmark.json"), Nothing())
