"""Texts leave for Twilio as its documentation has them, at the pace of their sender, and every answer means the right thing for a message."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from tests.providers.conformance import Carrier, Conformance, Reports
from tests.providers.twilio_server import ACCOUNT, TOKEN, Answer, Request, TwilioServer, error
from tidings.message.outgoing import Email, Outcome, Sealed, Sms
from tidings.providers.base import Pace
from tidings.providers.twilio import Twilio
from tidings.providers.twilio.settings import TwilioSettings, usual_rate

SENDER = "+15017122661"
UNBOUNDED = 1e9
NUMBERS = {"fine": "+15558675310", "refused": "+15005550001", "deferred": "+15005550002"}


def text(number: int, body: str = "Hi", to: str = "+15558675310", sender: str = "") -> Sms:
    return Sms(1, number, to, sender, body)


def settings(server: TwilioServer, **fields: Any) -> TwilioSettings:
    usual: dict[str, Any] = {
        "account": ACCOUNT,
        "username": ACCOUNT,
        "password": TOKEN,
        "sender": SENDER,
        "base_url": server.url,
        "rate": UNBOUNDED,
        "timeout": 5.0,
    }
    return TwilioSettings(**{**usual, **fields})


@pytest.fixture
async def server() -> AsyncIterator[TwilioServer]:
    far_end = TwilioServer()
    await far_end.start()
    yield far_end
    far_end.open.set()
    await far_end.stop()


class TwilioCarrier(Carrier):
    """A provider and its far end; a message's number stands in its text, and its fate in the number it goes to."""

    secret = TOKEN
    most_left = 10

    def __init__(self, server: TwilioServer) -> None:
        self.server = server
        self.provider = Twilio(settings(server))
        server.rule = self._fated

    def message(self, number: int, fate: str = "fine") -> Sealed:
        return text(number, str(number), NUMBERS[fate])

    def arrived(self) -> Sequence[int]:
        return [int(request.form["Body"]) for request in self.server.created]

    async def go_away(self) -> None:
        await self.server.stop()

    async def come_back(self) -> None:
        await self.server.start()

    def revoke(self) -> None:
        self.server.token = "another"

    def hold(self) -> None:
        self.server.open.clear()

    def release(self) -> None:
        self.server.open.set()

    async def holding(self) -> None:
        await self.server.reached.wait()

    def _fated(self, request: Request) -> Answer | None:
        match request.form["To"]:
            case "+15005550001":
                return error(400, 21211, "Invalid 'To' Phone Number: +1500555XXXX")
            case "+15005550002":
                return error(503, 20503, "Service is unavailable. Please try again")
            case _:
                return None


class TestConformance(Conformance):
    @pytest.fixture
    async def carrier(self, server: TwilioServer) -> AsyncIterator[TwilioCarrier]:
        carrier = TwilioCarrier(server)
        yield carrier
        await carrier.provider.close()


async def sent(server: TwilioServer, *messages: Sms, callback: Any = None, **fields: Any) -> dict[int, Outcome]:
    provider, reports = Twilio(settings(server, **fields), callback), Reports()
    try:
        await provider.send(messages, reports)
    finally:
        await provider.close()
    return reports.outcomes


async def answered(server: TwilioServer, answer: Answer) -> Outcome:
    """What becomes of a message that is answered so."""
    server.rule = lambda request: answer
    return (await sent(server, text(1)))[1]


async def test_a_message_is_the_documented_request(server: TwilioServer):
    outcomes = await sent(server, text(7, "Grüße & ä+b=c 🎉"), callback=lambda number: f"https://mail.example.org/c/{number}")
    [request] = server.requests
    assert request.line == f"POST /2010-04-01/Accounts/{ACCOUNT}/Messages.json HTTP/1.1"
    assert request.form == {
        "To": "+15558675310",
        "From": SENDER,
        "Body": "Grüße & ä+b=c 🎉",
        "StatusCallback": "https://mail.example.org/c/7",
    }
    assert outcomes[7] == Outcome("accepted", provider_id=f"SM{1:032x}")


async def test_a_messaging_service_chooses_the_sender_and_a_conversations_own_number_outweighs_both(server: TwilioServer):
    service = "MG" + "0" * 32
    await sent(server, text(1), sender="", service=service)
    await sent(server, text(2, sender="+15017122662"), sender="", service=service)
    await sent(server, text(3, sender="+15017122662"))
    assert [(request.form.get("From"), request.form.get("MessagingServiceSid")) for request in server.requests] == [
        (None, service),
        ("+15017122662", service),
        ("+15017122662", None),
    ]


async def test_no_callback_is_named_where_there_is_none(server: TwilioServer):
    await sent(server, text(1), callback=lambda number: "")
    await sent(server, text(2))
    assert not [request for request in server.requests if "StatusCallback" in request.form]


async def test_typography_is_plain_where_that_was_asked_for(server: TwilioServer):
    await sent(server, text(1, "\u201cHi\u201d \u2013 Ann"), smart_encoding=True)
    await sent(server, text(2, "\u201cHi\u201d \u2013 Ann"))
    await sent(server, text(3, "\u201cHi\u201d 🎉"), smart_encoding=True)
    assert [request.form["Body"] for request in server.requests] == ['"Hi" - Ann', "\u201cHi\u201d \u2013 Ann", "\u201cHi\u201d 🎉"]


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        (error(400, 21211, "Invalid 'To' Phone Number"), "refused", "21211"),
        (error(400, 21614, "'To' number is not a valid mobile number"), "refused", "21614"),
        (error(400, 21610, "Attempt to send to unsubscribed recipient"), "refused", "21610"),
        (error(400, 21408, "Permission to send an SMS has not been enabled for the region"), "refused", "21408"),
        (error(400, 21617, "The concatenated message body exceeds the 1600 character limit"), "refused", "21617"),
        (error(400, 29999, "Something nobody has heard of"), "refused", "29999"),
        (Answer(400, b"<html>"), "refused", "400"),
        (Answer(201, {"sid": "SM1", "status": "failed", "error_code": 30007, "error_message": None}), "refused", "30007"),
        (error(500, 20500, "Internal Server Error"), "deferred", "20500"),
        (Answer(503, b"busy"), "deferred", "503"),
        (error(401, 20003, "Authenticate"), "paused", ""),
        (error(403, 20005, "Account is not active"), "paused", ""),
        (error(404, 20404, "The requested resource was not found"), "paused", ""),
        (error(400, 21606, "The 'From' phone number is not a valid, SMS-capable number for your account"), "paused", ""),
        (error(400, 21609, "The StatusCallback URL is not a valid URL"), "paused", ""),
        (error(400, 21705, "The Messaging Service Sid is invalid"), "paused", ""),
        (Answer(302, b"", {"location": "https://elsewhere.example/"}), "paused", ""),
        (error(429, 20429, "Too Many Requests"), "paused", ""),
        (error(400, 21611, "This 'From' number has exceeded the maximum number of queued messages"), "paused", ""),
        (Answer(504, b""), "unknown", ""),
        (Answer(502, b""), "unknown", ""),
        (Answer(201, b"<html>welcome to the hotel</html>"), "unknown", ""),
        (Answer(200, {"status": "queued"}), "unknown", ""),
        (Answer(0, sever=True), "unknown", ""),
    ],
    ids=lambda value: "" if isinstance(value, Answer) else value,
)
async def test_what_an_answer_means(server: TwilioServer, answer: Answer, kind: str, code: str):
    outcome = await answered(server, answer)
    assert (outcome.kind, outcome.code) == (kind, code)
    assert outcome.reason
    assert TOKEN not in outcome.reason
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("code", "why"),
    [(21610, "unsubscribed"), (21211, "bounced"), (21614, "bounced"), (21408, None), (21617, None), (29999, None)],
)
async def test_a_number_that_no_text_will_reach_is_to_be_suppressed(server: TwilioServer, code: int, why: str | None):
    outcome = await answered(server, error(400, code, "No"))
    assert outcome.suppress == (() if why is None else (("+15558675310", why),))


async def test_a_cancelled_send_tells_what_waited_for_its_turn_and_not_what_had_left(server: TwilioServer):
    server.open.clear()
    provider, reports = Twilio(settings(server, rate=0.01)), Reports()
    sending = asyncio.create_task(provider.send([text(number) for number in range(1, 6)], reports))
    await server.reached.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert {number: outcome.kind for number, outcome in reports.outcomes.items()} == dict.fromkeys(range(2, 6), "untried")
    await provider.close()


@pytest.mark.parametrize(("rate", "window"), [(1, 2), (0.1, 1), (0.75, 2), (10, 20), (100, 200)])
def test_it_holds_two_seconds_of_its_pace(server: TwilioServer, rate: float, window: int):
    assert Twilio(settings(server, rate=rate)).window == window


async def test_twilio_says_when_to_come_back(server: TwilioServer):
    crowded = await answered(server, error(429, 20429, "Too Many Requests", **{"Retry-After": "7"}))
    assert (crowded.kind, crowded.retry_after) == ("paused", 7000)
    down = await answered(server, error(503, 20503, "Service is unavailable", **{"Retry-After": "30"}))
    assert (down.kind, down.retry_after) == ("deferred", 30_000)
    for odd in ("Wed, 21 Oct 2026 07:28:00 GMT", "-3", "1e9", "99999999"):
        assert (await answered(server, error(503, 20503, "Service is unavailable", **{"Retry-After": odd}))).retry_after is None


async def test_no_answer_in_time_is_unknown_for_the_message_may_have_gone(server: TwilioServer):
    server.open.clear()
    assert (await sent(server, text(1), timeout=0.05))[1].kind == "unknown"


async def test_a_provider_that_is_closed_with_a_message_on_its_way_does_not_know_what_became_of_it(server: TwilioServer):
    server.open.clear()
    provider, reports = Twilio(settings(server, connections=1)), Reports()
    sending = asyncio.create_task(provider.send([text(1), text(2)], reports))
    await server.reached.wait()
    await provider.close()
    server.open.set()
    await sending
    assert reports.outcomes[1].kind in {"unknown", "accepted"}
    assert reports.outcomes[2].kind == "paused"
    assert len(server.requests) == 1


async def test_wrong_credentials_are_tried_by_few_and_the_rest_is_handed_back_untried(server: TwilioServer):
    server.token = "another"
    outcomes = await sent(server, *(text(number) for number in range(1, 101)), connections=4)
    assert {outcome.kind for outcome in outcomes.values()} == {"paused"}
    assert len(outcomes) == 100
    assert len(server.requests) <= 8


async def test_no_more_requests_at_once_than_allowed(server: TwilioServer):
    await sent(server, *(text(number) for number in range(1, 101)), connections=3)
    assert len(server.created) == 100
    assert server.most_at_once <= 3


async def test_a_mail_is_a_bug_and_not_sent(server: TwilioServer):
    with pytest.raises(TypeError, match="Email"):
        await sent(server, Email(1, 1, "a@b.test", ("c@d.test",), b"", "<1@b.test>"))  # pyright: ignore[reportArgumentType]
    assert server.requests == []


def test_neither_password_nor_token_shows_in_the_settings_repr():
    shown = repr(TwilioSettings(account=ACCOUNT, username="SKx", password=TOKEN, sender=SENDER))
    assert TOKEN not in shown
    assert "SKx" not in shown


@pytest.mark.parametrize(
    ("sender", "rate"), [("+15017122661", 1), ("Acme", 10), ("12345", 100), ("", 100)], ids=["long code", "name", "short code", "pool"]
)
def test_a_senders_usual_rate_is_the_documented_one(sender: str, rate: float):
    assert usual_rate(sender) == rate


class Paced:
    """A loop's clock that only sleeping moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at = 100.0
        monkeypatch.setattr("tidings.providers.base.asyncio.get_running_loop", lambda: self)
        monkeypatch.setattr("tidings.providers.base.asyncio.sleep", self.sleep)

    def time(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += seconds


async def passed(clock: Paced, pace: Pace, *units: int) -> list[float]:
    instants: list[float] = []
    for count in units:
        await pace.wait(count)
        instants.append(round(clock.at - 100.0, 3))
    return instants


async def test_a_pace_lets_so_many_segments_through_a_second(monkeypatch: pytest.MonkeyPatch):
    clock = Paced(monkeypatch)
    # the first is on time, and a tenth of a second's lateness is made up for
    assert await passed(clock, Pace(1), 1, 1, 3, 1) == [0, 0.9, 1.9, 4.9]
    clock.at = 100.0
    assert await passed(clock, Pace(10), 1, 1, 1, 1) == [0, 0, 0.1, 0.2]


async def test_a_rest_is_not_saved_up(monkeypatch: pytest.MonkeyPatch):
    clock, pace = Paced(monkeypatch), Pace(2)
    await passed(clock, pace, 1)
    clock.at += 60
    assert [round(at - 60, 3) for at in await passed(clock, pace, 1, 1, 1)] == [0, 0.4, 0.9]


async def test_a_single_text_goes_next_though_a_batch_waits_for_its_pace(server: TwilioServer):
    provider, batch, single = Twilio(settings(server, rate=40)), Reports(), Reports()
    sending = asyncio.create_task(provider.send([text(number) for number in range(1, 41)], batch))
    await server.reached.wait()
    await provider.send([text(99)], single)
    assert single.kinds == {"accepted": 1}
    assert len(batch.outcomes) < 20
    sending.cancel()
    await asyncio.wait({sending})
    assert batch.kinds.keys() == {"accepted", "untried"}
    await provider.close()


async def test_a_cancelled_wait_for_the_pace_leaves_it_to_others(server: TwilioServer):
    provider, reports = Twilio(settings(server, rate=20, connections=1)), Reports()
    slow = asyncio.create_task(provider.send([text(1, "x" * 1000), text(2)], reports))
    await server.reached.wait()
    slow.cancel()
    await asyncio.wait({slow})
    later = Reports()
    await provider.send([text(3)], later)
    assert later.kinds == {"accepted": 1}
    assert [request.form["Body"] for request in server.created] in (["x" * 1000, "Hi"], ["Hi"])
    await provider.close()
