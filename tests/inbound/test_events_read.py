"""Every carrier's events in one vocabulary: what each is taken for, whom it speaks of, why, and what is passed over."""

import json
from typing import Any

import pytest

from tests.inbound import carriers, told
from tests.inbound.told import AT, CAN, SETTINGS, Mail
from tidings.errors import Malformed, Unauthorized
from tidings.inbound import hooks
from tidings.inbound.hooks import Events, Posted, ses, sns
from tidings.inbound.sources import Postmark, SendGrid
from tidings.message.heard import Notice, reason_of

ANN = Mail("ann@example.test", "c-token", "<c-token.0@mail.example.test>")


@pytest.fixture(autouse=True)
def amazon(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fetched(url: str) -> bytes:
        assert url == told.CERT_URL
        return told.CERTIFICATE

    monkeypatch.setattr(sns, "fetched", fetched)
    monkeypatch.setattr(sns, "CERTIFICATES", sns.Certificates())


async def read(carrier: Any, body: bytes, headers: dict[str, str] | None = None, settings: Any = None) -> Events:
    posted = Posted(told.signed(carrier, body) if headers is None else headers, body, AT)
    found = await hooks.read(posted, settings or SETTINGS[carrier])
    assert isinstance(found, Events)
    return found


async def one(carrier: Any, body: bytes) -> Notice:
    [notice] = (await read(carrier, body)).notices
    return notice


@pytest.mark.parametrize(("carrier", "what"), [(carrier, what) for carrier, whats in CAN.items() for what in whats])
async def test_an_event_is_what_it_is_for_every_carrier(carrier: str, what: str):
    at = AT - 60_000
    notice = await one(carrier, told.body(carrier, what, ANN, at))
    assert notice.kind == ("bounced" if what == "soft" else what)
    assert notice.at == at
    assert notice.address in (ANN.address, "")
    assert {ANN.token, ANN.message_id} & {name if name.startswith("<") or "@" not in name else f"<{name}>" for name in notice.names}
    assert ANN.provider_id.startswith(notice.provider_id)
    assert notice.id
    if what == "bounced":
        assert (notice.hard, notice.reason, notice.code) == (True, "invalid", "5.1.1")
        assert notice.detail
    elif what in ("soft", "failed", "deferred"):
        assert not notice.hard
        assert notice.reason is not None
    elif what in ("opened", "clicked"):
        assert (notice.user_agent, notice.ip, notice.bot) == ("Mozilla/5.0", "192.0.2.17", False)
        assert notice.url == ("https://shop.test/" if what == "clicked" else "")


@pytest.mark.parametrize("carrier", CAN)
async def test_the_same_event_has_the_same_name_and_another_another(carrier: str):
    first, again = [await one(carrier, told.body(carrier, "delivered", ANN)) for _ in range(2)]
    assert first.id == again.id
    if carrier != "resend":  # its names are in headers
        other = await one(carrier, told.body(carrier, "delivered", ANN._replace(address="bob@example.test"), AT, number=2))
        assert other.id != first.id


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("HardBounce", ("bounced", True, "invalid")),
        ("SoftBounce", ("bounced", False, "bounced")),
        ("Blocked", ("bounced", False, "blocked")),
        ("SpamNotification", ("bounced", False, "spam")),
        ("BadEmailAddress", ("failed", True, "invalid")),
        ("DnsError", ("deferred", False, "timed_out")),
        ("Unsubscribe", ("unsubscribed", False, "unsubscribed")),
        ("AutoResponder", None),
        ("SomethingNew", None),
    ],
)
async def test_a_type_of_postmarks_says_more(kind: str, expected: Any):
    said = told.filled(told.POSTMARK["bounced"], ANN, AT) | {"Type": kind}
    if kind == "SoftBounce":
        said["Details"] = "552 5.2.2 full"
    found = await read("postmark", json.dumps(said).encode())
    assert [(one.kind, one.hard, one.reason) for one in found.notices] == ([expected] if expected else [])


async def test_whom_postmark_stops_writing_to_after_a_bounce_has_not_unsubscribed():
    said = told.filled(told.POSTMARK["unsubscribed"], ANN, AT) | {"SuppressionReason": "HardBounce"}
    assert await read("postmark", json.dumps(said).encode()) == Events(ignored=1)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"reason": "suppress-bounce"}, ("failed", True, "bounced")),
        ({"reason": "suppress-unsubscribe"}, ("failed", True, "unsubscribed")),
        ({"reason": "suppress-complaint"}, ("failed", True, "spam")),
        ({"reason": "old"}, ("bounced", False, "timed_out")),
        ({"delivery-status": {"code": 550, "message": "5.7.1 message rejected as spam"}}, ("bounced", False, "spam")),
        ({"severity": "temporary"}, ("deferred", False, "invalid")),
    ],
)
async def test_mailgun_tells_by_severity_and_reason(fields: dict[str, Any], expected: Any):
    said = told.MAILGUN["bounced"] | {"id": "x", "timestamp": AT / 1000, "recipient": ANN.address} | fields
    notice = await one("mailgun", told.mailgun(said))
    assert (notice.kind, notice.hard, notice.reason) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"event": "dropped", "reason": "Bounced Address"}, ("failed", True, "bounced")),
        ({"event": "dropped", "reason": "Unsubscribed Address"}, ("failed", True, "unsubscribed")),
        ({"event": "dropped", "reason": "Spam Reporting Address"}, ("failed", True, "spam")),
        ({"event": "dropped", "reason": "Invalid"}, ("failed", True, "invalid")),
        ({"event": "bounce", "type": "blocked"}, ("bounced", False, "blocked")),
        ({"event": "bounce", "type": "expired"}, ("bounced", False, "timed_out")),
        ({"event": "bounce", "type": "bounce", "bounce_classification": "Content"}, ("bounced", True, "spam")),
        ({"event": "unsubscribe"}, ("unsubscribed", False, "unsubscribed")),
    ],
)
async def test_sendgrid_tells_by_type_and_classification(fields: dict[str, Any], expected: Any):
    said = told.sendgrid("sent", ANN) | fields
    notice = await one("sendgrid", json.dumps([said]).encode())
    assert (notice.kind, notice.hard, notice.reason) == expected


async def test_an_open_by_a_machine_is_marked():
    said = told.sendgrid("opened", ANN) | {"sg_machine_open": True}
    assert (await one("sendgrid", json.dumps([said]).encode())).bot
    opened = told.MAILGUN["opened"] | {"client-info": {"bot": "apple"}}
    assert (await one("mailgun", told.mailgun(opened))).bot


async def test_of_a_bounce_of_several_each_is_told():
    said = told.ses("bounced", ANN)
    said["bounce"]["bouncedRecipients"].append({"emailAddress": "Bob <bob@example.test>", "status": "5.2.2"})
    found = await read("ses", told.sns(json.dumps(said)))
    assert [(one.address, one.code, one.reason) for one in found.notices] == [
        ("ann@example.test", "5.1.1", "invalid"),
        ("bob@example.test", "5.2.2", "bounced"),
    ]
    assert len({one.id for one in found.notices}) == 2


async def test_the_older_notifications_of_ses_are_read_alike():
    said = told.ses("delivered", ANN)
    said["notificationType"] = said.pop("eventType")
    assert (await one("ses", told.sns(json.dumps(said)))).kind == "delivered"


@pytest.mark.parametrize("subtype", ["Suppressed", "OnAccountSuppressionList"])
async def test_what_ses_did_not_try_has_failed(subtype: str):
    said = told.ses("bounced", ANN)
    said["bounce"]["bounceSubType"] = subtype
    notice = await one("ses", told.sns(json.dumps(said)))
    assert (notice.kind, notice.hard, notice.reason) == ("failed", True, "bounced")


async def test_the_words_with_which_ses_tries_a_topic_are_passed_over():
    assert await read("ses", told.sns("Successfully validated SNS topic for Amazon SES event publishing.")) == Events(ignored=1)


async def test_an_unknown_event_is_passed_over_and_holds_up_no_other():
    events = [{"event": "account_status_change"}, {}, 7, None, told.sendgrid("delivered", ANN), {"event": ["delivered"]}]
    found = await read("sendgrid", json.dumps(events).encode())
    assert ([one.kind for one in found.notices], found.ignored) == (["delivered"], 5)
    assert (await read("mailgun", told.mailgun({"event": "stored"}))).ignored == 1
    assert (await read("postmark", b'{"RecordType": "Something"}')).ignored == 1
    assert (await read("resend", b'{"type": "contact.created", "data": {}}')).ignored == 1
    assert (await read("ses", told.sns('{"eventType": "Something"}'))).ignored == 1


@pytest.mark.parametrize("stamp", ["1e400", "9" * 400, '"soon"', "null", "-1", "1e300", "true", "[]"])
async def test_an_instant_that_cannot_be_is_now(stamp: str):
    body = json.dumps([told.sendgrid("delivered", ANN)]).replace(f'"timestamp": {AT // 1000}', f'"timestamp": {stamp}').encode()
    assert (await one("sendgrid", body)).at == AT


@pytest.mark.parametrize("carrier", ["postmark", "mailgun", "sendgrid", "resend", "ses"])
@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b'{"a": NaN}', b"[" * 100_000, b'"text"', b"7", b"null"])
async def test_what_is_no_json_of_theirs_is_a_bad_request(carrier: str, body: bytes):
    with pytest.raises(Malformed):
        await read(carrier, body)


async def test_postmark_without_the_password_is_turned_away_and_without_one_let_in():
    body = told.body("postmark", "delivered", ANN)
    with pytest.raises(Unauthorized):
        await read("postmark", body, told.JSON)
    assert (await read("postmark", body, told.JSON, Postmark())).notices


async def test_sendgrids_one_key_serves_where_no_other_is_given():
    body = told.body("sendgrid", "delivered", ANN)
    assert (await read("sendgrid", body, None, SendGrid(carriers.PUBLIC_KEY))).notices
    with pytest.raises(Unauthorized):
        await read("sendgrid", body, told.JSON, SendGrid(carriers.PUBLIC_KEY))


@pytest.mark.parametrize(
    ("carrier", "age"), [("mailgun", 13 * 3_600_000), ("sendgrid", 5 * 86_400_000), ("resend", 6 * 60_000), ("ses", 25 * 3_600_000)]
)
async def test_a_signature_of_long_ago_is_turned_away(carrier: str, age: int):
    body = told.body(carrier, "delivered", ANN)
    if carrier == "mailgun":
        body = told.mailgun({"event": "delivered"}, at=AT - age)
    elif carrier == "ses":
        body = told.sns("{}", at=AT - age)
    with pytest.raises(Unauthorized, match="too old"):
        await read(carrier, body, told.signed(carrier, body, at=AT - age))


def test_a_mail_that_comes_in_by_sns_is_read_whole():
    said = {
        "notificationType": "Received",
        "mail": {"source": "ann@example.org"},
        "receipt": {"recipients": ["hello@acme.test"], "action": {"type": "SNS", "encoding": "UTF8"}},
        "content": carriers.mail().decode(),
    }
    arrived = ses.told(json.dumps(said), AT)
    assert not isinstance(arrived, Events)
    assert (arrived.raw, arrived.envelope.reached) == (carriers.mail(), ("hello@acme.test",))
    coded = said | {"content": "UmU6", "receipt": {"action": {"encoding": "BASE64"}}}
    arrived = ses.told(json.dumps(coded), AT)
    assert not isinstance(arrived, Events)
    assert arrived.raw == b"Re:"
    assert ses.told('{"notificationType": "Received"}', AT) == Events(ignored=1)


@pytest.mark.parametrize(
    ("status", "words", "hard", "reason"),
    [
        ("5.1.1", "", True, "invalid"),
        ("5.1.10", "null MX", True, "invalid"),
        ("5.2.2", "full", False, "bounced"),
        ("4.4.7", "expired", False, "timed_out"),
        ("5.7.1", "rejected by policy", False, "blocked"),
        ("5.7.1", "listed at Spamhaus", False, "spam"),
        ("", "550 no such user", True, "invalid"),
        ("", "", False, "bounced"),
    ],
)
def test_why_a_mail_came_back_follows_from_its_status_and_the_words(status: str, words: str, hard: bool, reason: str):
    assert reason_of(status, words, hard=hard) == reason
