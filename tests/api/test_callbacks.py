"""A carrier's callback is let in by our token in its URL and its own signature, and nothing else; what it tells is passed on."""

import asyncio
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest

from tests.providers.test_twilio_callbacks import INCOMING, STATUS, signed
from tests.providers.twilio_server import ACCOUNT, TwilioServer
from tests.providers.twilio_server import TOKEN as FAR_TOKEN
from tests.support.api import PUBLIC_URL, Api
from tidings import ids
from tidings.api.callbacks import addressed, is_public
from tidings.delivery.dispatch import Dispatcher
from tidings.message.outgoing import Sms
from tidings.providers.registry import Registry
from tidings.providers.twilio.callbacks import TWIML

TOKEN = "3b1f9c0a5d7e4682b6c1d0e9f8a7b6c5"
SETTINGS = {"account_sid": "AC" + "b" * 32, "auth_token": TOKEN, "sender": "+15017122661"}
FORM = {"content-type": "application/x-www-form-urlencoded"}


class Ears:
    """Calls as a carrier does, and looks at what was taken in."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.client = api.stranger

    async def texts(self) -> list[tuple[Any, ...]]:
        return await self.api.rows(
            "SELECT source, source_id, channel, sender, text, received_at FROM inbound_messages WHERE tenant_id = :t", t=self.api.tenant.id
        )

    async def sent(self) -> int:
        """A text that has gone out."""
        body = {"phone": "+16502530000", "send_sms": True, "body": "Your table is ready"}
        answer = await self.api.client.post("/api/v1/instant_messages", json=body)
        assert answer.status_code == 201, answer.text
        await self.api.dispatch()
        return answer.json()["communications"][0]

    async def told_of(self, communication_id: int) -> str:
        """The token in the URL of a message."""
        return self.api.signer.communication(self.api.tenant.id, communication_id)

    async def state(self, communication_id: int) -> tuple[Any, ...]:
        sql = "SELECT state, error_code FROM communications WHERE tenant_id = :t AND id = :id"
        return (await self.api.rows(sql, t=self.api.tenant.id, id=communication_id))[0]

    async def provider(self, **settings: Any) -> dict[str, Any]:
        """A Twilio account set up over the API."""
        body = {"name": "Texts", "channel": "sms", "kind": "twilio", "chosen": True, "settings": {**SETTINGS, **settings}}
        answer = await self.api.client.post("/api/v1/providers", json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def call(self, url: str, fields: dict[str, str], token: str = TOKEN, told: str = "") -> httpx2.Response:
        """A signed form; `told` is the URL that was signed where it is another."""
        signature = signed(told or url, [(name.encode(), value.encode()) for name, value in fields.items()], token)
        return await self.client.post(url, content=urlencode(fields), headers={**FORM, "x-twilio-signature": signature})


@pytest.fixture
def ears(api: Api) -> Ears:
    return Ears(api)


async def test_a_text_is_passed_on_with_its_source_and_answered_with_empty_twiml(ears: Ears):
    provider = await ears.provider()
    assert provider["callback_url"].startswith(f"{PUBLIC_URL}/api/v1/callbacks/p")
    answer = await ears.call(provider["callback_url"], INCOMING)
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, TWIML, "text/xml")
    source = f"twilio:{ids.parse('provider', provider['id'])}"
    assert await ears.texts() == [(source, "SM" + "a" * 32, "sms", "+16502530000", "Grüße & 1+1 🎉", ears.api.at)]
    assert (await ears.call(provider["callback_url"], INCOMING)).status_code == 200
    assert len(await ears.texts()) == 1


async def test_a_stop_suppresses_the_number_and_is_confirmed_once(ears: Ears):
    url = (await ears.provider())["callback_url"]
    for number, word in enumerate(("\u201cStop!\u201d", "UNSUBSCRIBE", "please don't stop")):
        assert (await ears.call(url, INCOMING | {"Body": word, "MessageSid": f"SM{number:032x}"})).status_code == 200
    suppressed = "SELECT channel, address, reason FROM suppressions WHERE tenant_id = :t"
    assert await ears.api.rows(suppressed, t=ears.api.tenant.id) == [("sms", "+16502530000", "unsubscribed")]
    [answer] = await ears.api.dispatch()
    assert isinstance(answer, Sms)
    assert (answer.to, answer.sender) == ("+16502530000", "")
    assert answer.text.startswith("Acme: You are unsubscribed")
    assert len(await ears.texts()) == 3


async def test_a_tenants_own_word_and_answer_are_heeded(ears: Ears):
    url = (await ears.provider())["callback_url"]
    await ears.api.client.put("/api/v1/keywords", json={"stop": ["ARRÊT"], "answers": {"stop": "{sender} : au revoir"}})
    await ears.call(url, INCOMING | {"Body": "arrêt"})
    [answer] = await ears.api.dispatch()
    assert isinstance(answer, Sms)
    assert answer.text == "Acme : au revoir"


async def test_what_became_of_a_message_is_passed_on_with_its_id(ears: Ears):
    provider, first, second = await ears.provider(), await ears.sent(), await ears.sent()
    base = provider["callback_url"]
    assert (await ears.call(f"{base}/{await ears.told_of(first)}", STATUS | {"MessageStatus": "sent"})).status_code == 204
    assert await ears.state(first) == ("sent", None)
    answer = await ears.call(f"{base}/{await ears.told_of(first)}", STATUS)
    assert (answer.status_code, answer.content) == (204, b"")
    assert await ears.state(first) == ("delivered", None)
    lost = STATUS | {"MessageStatus": "undelivered", "ErrorCode": "30005"}
    assert (await ears.call(f"{base}/{await ears.told_of(second)}", lost)).status_code == 204
    assert await ears.state(second) == ("bounced", "30005")
    assert (await ears.call(f"{base}/{await ears.told_of(4711)}", STATUS)).status_code == 204


async def test_whoever_has_opted_out_at_the_carrier_has_unsubscribed_and_not_bounced(ears: Ears):
    provider, communication_id = await ears.provider(), await ears.sent()
    url = f"{provider['callback_url']}/{await ears.told_of(communication_id)}"
    lost = STATUS | {"MessageStatus": "undelivered", "ErrorCode": "21610"}
    assert (await ears.call(url, lost)).status_code == 204
    assert await ears.state(communication_id) == ("bounced", "21610")
    assert await ears.api.rows("SELECT reason FROM suppressions WHERE tenant_id = :t", t=ears.api.tenant.id) == [("unsubscribed",)]
    told = await ears.api.rows("SELECT reason, code FROM interactions WHERE tenant_id = :t AND kind = 'bounced'", t=ears.api.tenant.id)
    assert told == [("unsubscribed", "21610")]


async def test_the_url_a_message_goes_out_with_is_the_one_that_is_answered(ears: Ears):
    provider, communication_id = await ears.provider(), await ears.sent()
    provider_id = ids.parse("provider", provider["id"])
    assert provider_id is not None
    url = addressed("https://mail.example.org", ears.api.signer)(ears.api.tenant.id, provider_id, communication_id)
    assert (await ears.call(url.replace("https://mail.example.org", PUBLIC_URL), STATUS)).status_code == 204
    assert await ears.state(communication_id) == ("delivered", None)


async def test_the_query_is_signed_too(ears: Ears):
    url = (await ears.provider())["callback_url"] + "?a=1&b=%20x"
    assert (await ears.call(url, INCOMING)).status_code == 200
    assert (await ears.call(url, INCOMING, told=url.partition("?")[0])).status_code == 401


async def test_a_forged_signature_is_turned_away(ears: Ears):
    url = (await ears.provider())["callback_url"]
    forged = await ears.call(url, INCOMING, token="f" * 32)
    assert (forged.status_code, forged.json()) == (401, {"error": "Unauthorized"})
    bare = await ears.client.post(url, content=urlencode(INCOMING), headers=FORM)
    assert bare.status_code == 401
    changed = await ears.client.post(
        url,
        content=urlencode(INCOMING | {"Body": "STOP"}),
        headers={**FORM, "x-twilio-signature": signed(url, [(k.encode(), v.encode()) for k, v in INCOMING.items()], TOKEN)},
    )
    assert changed.status_code == 401
    assert await ears.texts() == []


async def test_without_an_auth_token_nothing_can_be_believed(ears: Ears):
    provider = await ears.provider(auth_token="", api_key="SK" + "c" * 32, api_secret="a secret")
    assert (await ears.call(provider["callback_url"], INCOMING, token="")).status_code == 401
    assert (await ears.call(provider["callback_url"], INCOMING, token="a secret")).status_code == 401


async def test_a_token_of_nobodys_or_of_another_purpose_is_not_found(ears: Ears):
    provider = await ears.provider()
    signer, tenant_id = ears.api.signer, ears.api.tenant.id
    base = f"{PUBLIC_URL}/api/v1/callbacks/"
    wrong = [
        base + "p",
        base + "pAAAA",
        base + provider["callback_url"].removeprefix(base)[:-1] + "x",
        base + "p" + signer.communication(tenant_id, 1)[1:],
        base + signer.communication(tenant_id, 1),
        base + signer.callback(tenant_id, 4711),
        base + signer.callback(tenant_id + 1, ids.parse("provider", provider["id"]) or 0),
        f"{provider['callback_url']}/{signer.communication(tenant_id + 1, 42)}",
        f"{provider['callback_url']}/{signer.unsubscribe(tenant_id, 42)}",
        f"{provider['callback_url']}/42",
    ]
    for url in wrong:
        answer = await ears.call(url, STATUS)
        assert (answer.status_code, list(answer.json())) == (404, ["error"]), url
    assert await ears.texts() == []


async def test_a_carrier_that_does_not_call_has_no_callback(ears: Ears):
    made = (await ears.api.client.post("/api/v1/providers", json={"name": "Box", "channel": "sms", "kind": "sandbox"})).json()
    assert made["callback_url"] is None
    provider_id = ids.parse("provider", made["id"]) or 0
    url = PUBLIC_URL + "/api/v1/callbacks/" + ears.api.signer.callback(ears.api.tenant.id, provider_id)
    assert (await ears.call(url, INCOMING)).status_code == 404


async def test_what_is_signed_but_no_message_is_a_bad_request(ears: Ears):
    url = (await ears.provider())["callback_url"]
    assert (await ears.call(url, {"Hello": "there"})).status_code == 400
    assert (await ears.call(url, {})).status_code == 400


async def test_a_secret_is_never_shown_and_settings_are_checked(ears: Ears):
    provider = await ears.provider(smart_encoding=True, rate=5)
    assert TOKEN not in str(provider)
    assert provider["settings"]["smart_encoding"] is True
    for wrong, field in (
        ({"account_sid": "SK" + "b" * 32}, "account_sid"),
        ({"auth_token": ""}, "auth_token"),
        ({"api_key": "SK" + "c" * 32}, "api_secret"),
        ({"sender": "hello@acme.test"}, "sender"),
        ({"sender": ""}, "sender"),
        ({"sender": "Twelve chars"}, "sender"),
        ({"messaging_service_sid": "MG1"}, "messaging_service_sid"),
        ({"rate": 0}, "rate"),
        ({"base_url": "http://twilio.example"}, "base_url"),
    ):
        body = {"name": "Other", "channel": "sms", "kind": "twilio", "settings": {**SETTINGS, **wrong}}
        answer = await ears.api.client.post("/api/v1/providers", json=body)
        assert answer.status_code == 422, wrong
        assert list(answer.json()["errors"]) == [f"settings.{field}"]
    mail = await ears.api.client.post(
        "/api/v1/providers", json={"name": "Mail", "channel": "email", "kind": "twilio", "settings": SETTINGS}
    )
    assert mail.status_code == 422


@pytest.mark.parametrize("url", ["https://mail.example.org", "http://203.0.114.7:8080", "https://a.example.co.uk/tidings"])
def test_a_public_url_can_be_called(url: str):
    assert is_public(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:18080",
        "http://localhost:18080",
        "http://tidings",
        "http://10.1.2.3",
        "http://[::1]:80",
        "http://x.local",
        "http://a.internal.",
    ],
)
def test_a_name_of_this_machine_or_its_network_cannot(api: Api, url: str):
    assert not is_public(url)
    assert addressed(url, api.signer)(1, 2, 3) == ""


async def test_a_text_goes_out_through_twilio_from_the_providers_number_and_its_way_is_told_back(ears: Ears):
    far_end = TwilioServer()
    await far_end.start()
    api, public = ears.api, "https://mail.example.org"
    await ears.provider(account_sid=ACCOUNT, base_url=far_end.url, rate=1000, auth_token=FAR_TOKEN)
    registry = Registry(api.db, api.house.vault, lambda: api.at, {}, addressed(public, api.signer))
    body = {"phone": "+16502530000", "send_sms": True, "body": "Your table is ready"}
    communication_id = (await api.client.post("/api/v1/instant_messages", json=body)).json()["communications"][0]
    stop = asyncio.Event()
    dispatcher = Dispatcher(api.db, api.house.composer, registry, api.house.store, lambda: api.at)
    dispatching = asyncio.create_task(dispatcher.run(stop))
    try:
        await asyncio.wait_for(far_end.reached.wait(), 20)
    finally:
        stop.set()
        await dispatching
        await registry.close()
        await far_end.stop()
    [request] = far_end.created
    url = request.form.pop("StatusCallback")
    assert request.form == {"To": "+16502530000", "From": "+15017122661", "Body": "Your table is ready"}
    assert await ears.state(communication_id) == ("sent", None)
    told = await ears.call(url.replace(public, PUBLIC_URL), STATUS | {"MessageSid": f"SM{1:032x}"}, token=FAR_TOKEN)
    assert told.status_code == 204
    assert await ears.state(communication_id) == ("delivered", None)
