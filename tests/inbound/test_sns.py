"""Amazon SNS is believed for its signature, by a certificate from its own host, and nothing is fetched from anywhere else.

https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
"""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.inbound import told
from tests.inbound.told import AT, CERT_URL, TOPIC
from tidings.errors import Malformed, Unauthorized, Unavailable
from tidings.inbound.hooks import Posted, sns
from tidings.inbound.hooks.sns import Certificates

NOT_AMAZONS = [
    "http://sns.us-east-1.amazonaws.com/x.pem",
    "https://sns.us-east-1.amazonaws.com.example.org/x.pem",
    "https://example.org/sns.us-east-1.amazonaws.com/x.pem",
    "https://sns.us-east-1.amazonaws.com@example.org/x.pem",
    "https://user@sns.us-east-1.amazonaws.com/x.pem",
    "https://sns.us-east-1.amazonaws.com:8443/x.pem",
    "https://s3.us-east-1.amazonaws.com/x.pem",
    "https://sns.evil.amazonaws.com/x.pem",
    "https://sns.us-east-1.amazonaws.com\n.example.org/x.pem",
    "https://sns.us-east-1.amaz\nonaws.com/SimpleNotificationService-1.pem",
    "https://[/x.pem",
    "",
]
NO_CERTIFICATES = [
    f"{CERT_URL}?Action=GetEndpointAttributes&EndpointArn=x",
    f"{CERT_URL}#x",
    "https://sns.us-east-1.amazonaws.com/x.pem?Action=GetEndpointAttributes&EndpointArn=x&Signature=y",
    "https://sns.us-east-1.amazonaws.com/?Action=GetEndpointAttributes&x=.pem",
    "https://sns.us-east-1.amazonaws.com/bucket/SimpleNotificationService-1.pem",
]


class Amazon:
    """Answers for Amazon's hosts, and keeps what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.pages = {CERT_URL: told.CERTIFICATE}

    async def fetch(self, url: str) -> bytes:
        self.asked.append(url)
        if url not in self.pages:
            raise Unavailable("Amazon SNS answers 404")
        return self.pages[url]


@pytest.fixture
def amazon() -> Amazon:
    return Amazon()


async def read(amazon: Amazon, body: bytes, *, topic: str = "", certificates: Certificates | None = None, **headers: str) -> str | None:
    posted = Posted({name.replace("_", "-"): value for name, value in headers.items()}, body, AT)
    return await sns.read(posted, topic, amazon.fetch, certificates or Certificates())


@pytest.mark.parametrize("version", ["1", "2"])
async def test_both_versions_of_the_signature_are_verified(amazon: Amazon, version: str):
    assert await read(amazon, told.sns("Grüße", version=version)) == "Grüße"
    body = json.loads(told.sns("Grüße", version=version))
    for changed in ({"Message": "other"}, {"TopicArn": TOPIC + "2"}, {"Timestamp": told.iso(AT + 1)}, {"Subject": "x"}, {"Signature": "!"}):
        with pytest.raises(Unauthorized):
            await read(amazon, json.dumps(body | changed).encode())


async def test_a_message_without_a_subject_is_signed_without_it(amazon: Amazon):
    without = json.loads(told.sns("x"))
    assert "Subject" in without
    said = {**json.loads(told.sns("x", kind="UnsubscribeConfirmation"))}
    assert await read(amazon, json.dumps(said).encode()) is None
    with pytest.raises(Unauthorized):
        await read(amazon, json.dumps({**without, "Subject": None}).encode())


async def test_whoever_signs_with_another_key_is_turned_away(amazon: Amazon):
    with pytest.raises(Unauthorized, match="The signature is not Amazon's"):
        await read(amazon, told.sns("x", key=rsa.generate_private_key(65537, 2048)))
    with pytest.raises(Unauthorized, match="SignatureVersion"):
        await read(amazon, json.dumps(json.loads(told.sns("x")) | {"SignatureVersion": "3"}).encode())


@pytest.mark.parametrize("url", NOT_AMAZONS)
async def test_no_certificate_is_fetched_from_elsewhere(amazon: Amazon, url: str):
    with pytest.raises(Unauthorized):
        await read(amazon, told.sns("x", SigningCertURL=url))
    assert amazon.asked == []


@pytest.mark.parametrize("url", NO_CERTIFICATES)
async def test_a_certificate_that_somebody_stored_at_amazons_api_is_not_taken(amazon: Amazon, url: str):
    key = rsa.generate_private_key(65537, 2048)
    amazon.pages[url] = b"<Value>" + told.certificate(key) + b"</Value>"
    with pytest.raises(Unauthorized, match="names no certificate"):
        await read(amazon, told.sns("forged", key=key, SigningCertURL=url))
    assert amazon.asked == []


@pytest.mark.parametrize("host", ["sns.eu-central-1.amazonaws.com", "sns.cn-north-1.amazonaws.com.cn", "sns.us-gov-west-1.amazonaws.com"])
async def test_every_region_has_its_host(amazon: Amazon, host: str):
    url = f"https://{host}/SimpleNotificationService-1.pem"
    amazon.pages[url] = told.CERTIFICATE
    assert await read(amazon, told.sns("x", SigningCertURL=url)) == "x"


async def test_a_certificate_is_fetched_once(amazon: Amazon):
    certificates = Certificates()
    for _ in range(3):
        await read(amazon, told.sns("x"), certificates=certificates)
    assert amazon.asked == [CERT_URL]


async def test_a_certificate_that_is_none_is_asked_for_again(amazon: Amazon):
    certificates = Certificates()
    amazon.pages[CERT_URL] = b"<html>"
    with pytest.raises(Unavailable):
        await read(amazon, told.sns("x"), certificates=certificates)
    amazon.pages[CERT_URL] = told.CERTIFICATE
    assert await read(amazon, told.sns("x"), certificates=certificates) == "x"


async def test_a_subscription_is_confirmed_where_amazon_says(amazon: Amazon):
    url = "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&Token=2336412f37"
    amazon.pages[url] = b"<ConfirmSubscriptionResponse/>"
    assert await read(amazon, told.sns("You have chosen to subscribe", kind="SubscriptionConfirmation"), topic=TOPIC) is None
    assert amazon.asked == [CERT_URL, url]


@pytest.mark.parametrize("url", NOT_AMAZONS)
async def test_a_subscription_is_confirmed_nowhere_else(amazon: Amazon, url: str):
    with pytest.raises(Unauthorized):
        await read(amazon, told.sns("x", kind="SubscriptionConfirmation", SubscribeURL=url))
    assert amazon.asked == [CERT_URL]


async def test_a_subscription_that_cannot_be_confirmed_now_is_asked_for_again(amazon: Amazon):
    with pytest.raises(Unavailable):
        await read(amazon, told.sns("x", kind="SubscriptionConfirmation"))


@pytest.mark.parametrize("kind", ["Notification", "SubscriptionConfirmation"])
async def test_another_topic_is_not_listened_to(amazon: Amazon, kind: str):
    with pytest.raises(Unauthorized, match="not the topic"):
        await read(amazon, told.sns("x", kind=kind), topic=TOPIC + "-of-others")
    assert amazon.asked == [CERT_URL]


async def test_raw_delivery_is_refused_with_what_to_do(amazon: Amazon):
    with pytest.raises(Malformed, match="Raw message delivery is on"):
        await read(amazon, b'{"eventType": "Delivery"}', x_amz_sns_rawdelivery="true")
    with pytest.raises(Malformed, match="raw message delivery"):
        await read(amazon, b'{"eventType": "Delivery"}')


async def test_what_is_fetched_is_bounded_and_never_redirected(monkeypatch: pytest.MonkeyPatch):
    import asyncio

    answers: list[bytes] = [
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + bytes(200_000),
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
    ]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answers.pop(0))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    try:
        refusals: list[Any] = []
        for _ in range(2):
            with pytest.raises(Unavailable) as refusal:
                await sns.fetched(url)
            refusals.append(refusal.value.message)
        assert refusals == ["Amazon SNS answers 302", "Amazon SNS answers more than was expected"]
        assert await sns.fetched(url) == b"ok"
        with pytest.raises(Unavailable, match="cannot be reached"):
            await sns.fetched("http://127.0.0.1:1/")
    finally:
        server.close()
        await server.wait_closed()
