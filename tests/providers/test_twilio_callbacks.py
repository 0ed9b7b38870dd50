"""A callback is believed when Twilio has signed it, and then tells of a text or of what became of one; anything else is turned away."""

import base64
import hashlib
import hmac
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.errors import Malformed, Unauthorized
from tidings.message.heard import Notice, Text
from tidings.providers.base import Callback, Heard
from tidings.providers.twilio.callbacks import TWIML, hear, verify, verify_body

# The worked examples of Twilio's page on security and of its own libraries: https://www.twilio.com/docs/usage/security#validating-requests
TOKEN = "12345"
URL = "https://mycompany.com/myapp.php?foo=1&bar=2"
PARAMS = [
    (b"CallSid", b"CA1234567890ABCDE"),
    (b"Caller", b"+12349013030"),
    (b"Digits", b"1234"),
    (b"From", b"+12349013030"),
    (b"To", b"+18005551212"),
]
SIGNATURE = "0/KCTR6DLpKmkAf8muzZqo1nDgQ="
BODY = b'{"property": "value", "boolean": true}'
BODY_URL = f"{URL}&bodySHA256=0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620"
BODY_SIGNATURE = "a9nBmqA0ju/hNViExpshrM61xv4="

OURS = "https://mail.example.org/api/v1/callbacks/ptoken"
AT = 1_750_000_000_000


def test_the_documented_signatures_are_right():
    assert verify(TOKEN, URL, PARAMS, SIGNATURE)
    assert verify(TOKEN, URL, reversed(PARAMS), SIGNATURE)
    assert verify_body(TOKEN, BODY_URL, BODY, BODY_SIGNATURE)


@pytest.mark.parametrize(
    ("token", "url", "params", "signature"),
    [
        ("12346", URL, PARAMS, SIGNATURE),
        (TOKEN, URL + "3", PARAMS, SIGNATURE),
        (TOKEN, URL.replace("https", "http"), PARAMS, SIGNATURE),
        (TOKEN, URL, PARAMS[1:], SIGNATURE),
        (TOKEN, URL, [*PARAMS, (b"More", b"")], SIGNATURE),
        (TOKEN, URL, PARAMS, ""),
        (TOKEN, URL, PARAMS, SIGNATURE[:-1]),
        (TOKEN, URL, PARAMS, "é"),
        ("", URL, PARAMS, base64.b64encode(hmac.new(b"", b"", hashlib.sha1).digest()).decode()),
    ],
)
def test_anything_else_is_forged(token: str, url: str, params: list[tuple[bytes, bytes]], signature: str):
    assert not verify(token, url, params, signature)


def test_a_body_that_is_not_the_signed_one_is_forged():
    assert not verify_body(TOKEN, BODY_URL, BODY + b" ", BODY_SIGNATURE)
    assert not verify_body(TOKEN, URL, BODY, BODY_SIGNATURE)
    assert not verify_body("12346", BODY_URL, BODY, BODY_SIGNATURE)


def test_the_usual_port_may_be_signed_or_not():
    spelt = URL.replace("mycompany.com", "mycompany.com:443")
    assert verify(TOKEN, spelt, PARAMS, SIGNATURE)
    assert verify(TOKEN, URL, PARAMS, signed(spelt, PARAMS, TOKEN))
    assert not verify(TOKEN, URL.replace("mycompany.com", "mycompany.com:8443"), PARAMS, SIGNATURE)


@given(
    st.lists(st.tuples(st.text(min_size=1, max_size=8), st.text(max_size=20)), max_size=8),
    st.text(max_size=20),
    st.integers(min_value=0, max_value=7),
)
def test_what_was_signed_is_believed_and_what_was_changed_is_not(fields: list[tuple[str, str]], other: str, place: int):
    encoded = [(name.encode(), value.encode()) for name, value in fields]
    signature = signed(OURS, encoded, TOKEN)
    assert verify(TOKEN, OURS, encoded, signature)
    if place < len(encoded) and encoded[place][1] != other.encode() and len(dict(encoded)) == len(encoded):
        changed = [*encoded[:place], (encoded[place][0], other.encode()), *encoded[place + 1 :]]
        together = b"".join(name + value for name, value in sorted(encoded)) == b"".join(name + value for name, value in sorted(changed))
        # the scheme runs names and values together, so that two forms may read the same
        assert verify(TOKEN, OURS, changed, signature) == together


def signed(url: str, params: list[tuple[bytes, bytes]], token: str) -> str:
    joined = url.encode() + b"".join(name + value for name, value in sorted(set(params)))
    return base64.b64encode(hmac.new(token.encode(), joined, hashlib.sha1).digest()).decode()


def called(fields: dict[str, str], communication_id: int = 0, token: str = TOKEN, **headers: str) -> Heard:
    """What is heard of a form that Twilio posts."""
    signature = signed(OURS, [(name.encode(), value.encode()) for name, value in fields.items()], token)
    told = {
        "content-type": "application/x-www-form-urlencoded; charset=utf-8",
        "x-twilio-signature": signature,
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return hear(Callback(OURS, told, urlencode(fields).encode(), AT, communication_id), TOKEN)


# The parameters of https://www.twilio.com/docs/messaging/guides/webhook-request
INCOMING = {
    "ToCountry": "US",
    "ToState": "",
    "SmsMessageSid": "SM" + "a" * 32,
    "NumMedia": "0",
    "ToCity": "",
    "FromZip": "",
    "SmsSid": "SM" + "a" * 32,
    "FromState": "CA",
    "SmsStatus": "received",
    "FromCity": "",
    "Body": "Grüße & 1+1 🎉",
    "FromCountry": "US",
    "To": "+15017122661",
    "ToZip": "",
    "NumSegments": "1",
    "MessageSid": "SM" + "a" * 32,
    "AccountSid": "AC" + "b" * 32,
    "From": "+16502530000",
    "ApiVersion": "2010-04-01",
}
# and of https://www.twilio.com/docs/messaging/guides/track-outbound-message-status
STATUS = {
    "ApiVersion": "2010-04-01",
    "MessageStatus": "delivered",
    "SmsSid": "SM" + "c" * 32,
    "SmsStatus": "delivered",
    "To": "+16502530000",
    "From": "+15017122661",
    "MessageSid": "SM" + "c" * 32,
    "AccountSid": "AC" + "b" * 32,
}


def test_a_text_that_came_in():
    heard = called(INCOMING)
    assert heard.texts == (Text("SM" + "a" * 32, "+16502530000", "+15017122661", "Grüße & 1+1 🎉", AT),)
    assert heard.notices == ()
    assert (heard.answer, heard.media) == (TWIML, "text/xml")


def test_pictures_are_named_in_the_text():
    media = {"NumMedia": "2", "MediaUrl0": "https://api.twilio.com/a", "MediaUrl1": "https://api.twilio.com/b"}
    assert (
        called(INCOMING | media | {"Body": "Look"}).texts[0].text
        == "Look\n[media] https://api.twilio.com/a\n[media] https://api.twilio.com/b"
    )
    assert called(INCOMING | media | {"Body": ""}).texts[0].text.startswith("[media] https://api.twilio.com/a\n")


@pytest.mark.parametrize("count", ["", "x", "-1", "999999999", "1", "²"])
def test_an_odd_count_of_pictures_does_no_harm(count: str):
    assert called(INCOMING | {"NumMedia": count}).texts[0].text == INCOMING["Body"]


def test_a_text_with_a_nul_comes_without_it():
    assert called(INCOMING | {"Body": "a\0b"}).texts[0].text == "ab"


def test_an_empty_text_is_a_text():
    assert called(INCOMING | {"Body": ""}).texts[0].text == ""


@pytest.mark.parametrize("status", ["delivered", "read"])
def test_a_text_that_arrived(status: str):
    heard = called(STATUS | {"MessageStatus": status}, communication_id=7)
    assert heard.notices == (Notice("SM" + "c" * 32, "delivered", AT, communication_id=7),)
    assert heard.answer == b""


@pytest.mark.parametrize("status", ["undelivered", "failed"])
@pytest.mark.parametrize(
    ("code", "hard", "reason", "detail"),
    [
        ("30003", False, "timed_out", "the handset cannot be reached"),
        ("30005", True, "invalid", "not known or not in service"),
        ("30006", True, "invalid", "a landline"),
        ("30007", False, "spam", "filtered"),
        ("30008", False, "other", "did not tell"),
        ("21610", True, "unsubscribed", "opted out"),
        ("99999", False, "other", "could not deliver"),
        ("", False, "other", "could not deliver"),
        ("many", False, "other", "could not deliver"),
    ],
)
def test_a_text_that_will_not_arrive(status: str, code: str, hard: bool, reason: str, detail: str):
    [notice] = called(STATUS | {"MessageStatus": status, "ErrorCode": code}, communication_id=7).notices
    assert (notice.kind, notice.hard, notice.reason, notice.communication_id) == ("bounced", hard, reason, 7)
    assert detail in notice.detail
    assert notice.code == (code if code.isdigit() else "")


@pytest.mark.parametrize("status", ["accepted", "queued", "sending", "sent", "scheduled", "canceled", "something new"])
def test_a_step_on_the_way_is_nothing_to_tell(status: str):
    assert called(STATUS | {"MessageStatus": status}, communication_id=7) == Heard()


def test_a_status_told_to_the_address_for_texts_names_the_message_alone():
    heard = called(STATUS)
    assert heard.notices == (Notice("SM" + "c" * 32, "delivered", AT),)
    assert heard.answer == TWIML


def test_what_is_signed_by_another_account_is_turned_away():
    with pytest.raises(Unauthorized):
        called(INCOMING, token="54321")
    with pytest.raises(Unauthorized):
        called(INCOMING, x_twilio_signature="")


@pytest.mark.parametrize(
    ("fields", "communication_id"),
    [
        ({name: value for name, value in INCOMING.items() if name not in ("MessageSid", "SmsSid")}, 0),
        ({name: value for name, value in INCOMING.items() if name != "From"}, 0),
        ({}, 0),
        (INCOMING, 7),
    ],
)
def test_what_tells_of_no_message_is_refused(fields: dict[str, str], communication_id: int):
    with pytest.raises(Malformed):
        called(fields, communication_id)


def json(url: str, body: bytes, signature: str) -> Any:
    return hear(Callback(url, {"content-type": "application/json", "x-twilio-signature": signature}, body, AT), TOKEN)


def test_json_is_turned_away_unsigned_and_refused_signed():
    with pytest.raises(Unauthorized):
        json(BODY_URL, BODY, SIGNATURE)
    with pytest.raises(Malformed):
        json(BODY_URL, BODY, BODY_SIGNATURE)


def test_a_form_of_thousands_of_fields_is_refused():
    with pytest.raises(Malformed):
        called({f"field{number}": "" for number in range(501)})
