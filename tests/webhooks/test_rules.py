"""The pure rules: signatures that another library verifies, and what an answer makes of a delivery and of its endpoint."""

import base64
import datetime

import msgspec
import pytest
import standardwebhooks
from hypothesis import given, settings
from hypothesis import strategies as st

from tidings.clock import DAY, MINUTE, SECOND
from tidings.domain.endpoints import Due, Endpoint, Filters
from tidings.errors import Invalid
from tidings.signing import Vault
from tidings.webhooks import rules, secrets
from tidings.webhooks.rules import Answer, Result

NOW = 1_750_248_000_000
DUE = Due(1, "sent", NOW, "{}", 0, "[]", 5, None, None, None)
ENDPOINT = Endpoint(
    1, 1, "", "standard", "POST", "https://a.example/", (), Filters(), "s", None, None, None, None, None, None, 0, None, None, None, 1, NOW, NOW
)  # fmt: skip


def answered(status: int | None, after: str | None = None) -> Answer:
    return Answer(status, None if status else "Nobody there", 5, "", after)


@settings(max_examples=50)
@given(st.text(min_size=1), st.binary())
def test_a_signature_is_the_one_of_the_reference_library(text: str, key: bytes):
    secret = secrets.new_secret() if len(key) < 24 else secrets.PREFIX + base64.b64encode(key).decode()
    at = datetime.datetime.fromtimestamp(NOW // 1000, datetime.UTC)
    body = text.encode()
    assert secrets.signature(secret, "dlv_1", NOW // 1000, body) == standardwebhooks.Webhook(secret).sign("dlv_1", at, body.decode())


def test_a_secret_is_as_the_specification_wants_it():
    made = {secrets.new_secret() for _ in range(20)}
    assert len(made) == 20
    assert all(each.startswith("whsec_") and len(base64.b64decode(each[6:])) == 32 for each in made)


def test_a_password_is_sealed_and_a_name_with_a_colon_refused():
    vault = Vault(b"0" * 32)
    sealed = secrets.seal_basic(vault, "us", "p:w")
    assert "us" not in sealed
    assert secrets.basic(vault, sealed) == "Basic " + base64.b64encode(b"us:p:w").decode()
    for pair in (("u:s", "p"), ("us", "p\n"), ("\0", "p"), ("u" * 256, "p"), ("us", "p" * 256)):
        with pytest.raises(Invalid):
            secrets.seal_basic(vault, *pair)


def test_the_schedule_is_that_of_the_specification_lengthened_by_chance():
    due, waits = DUE, []
    for _ in range(9):
        outcome = rules.settled(Result(due, NOW, answered(500)), now=NOW, jitter=0.0)
        assert outcome.due_at is not None
        waits.append((outcome.due_at - NOW) // SECOND)
        due = due._replace(attempts=outcome.attempts, log=outcome.log)
    assert waits == [5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400]
    assert rules.settled(Result(due, NOW, answered(500)), now=NOW, jitter=0.0).state == "failed"
    late = rules.settled(Result(DUE, NOW, answered(500)), now=NOW, jitter=1.0)
    assert late.due_at == NOW + 5500


@pytest.mark.parametrize(
    ("status", "after", "asked"),
    [
        (429, "120", 120 * SECOND),
        (503, " 0 ", 0),
        (429, "Wed, 18 Jun 2025 12:02:00 GMT", 2 * MINUTE),
        (429, "Wed, 18 Jun 2025 11:00:00 GMT", 0),
        (503, "Fri, 18 Jul 2025 12:00:00 GMT", DAY),
        (429, "99999999999999", DAY),
        (429, "soon", None),
        (429, "-5", None),
        (429, "²", None),
        (429, "Wed, 99 Jun 2025 12:02:00 GMT", None),
        (429, None, None),
        (500, "120", None),
    ],
)
def test_retry_after_is_read_both_ways_and_has_a_limit(status: int, after: str | None, asked: int | None):
    assert rules.asked_for(answered(status, after), NOW) == asked


def test_a_retry_at_once_is_not_granted():
    assert rules.settled(Result(DUE, NOW, answered(503, "0")), now=NOW, jitter=0.0).due_at == NOW + rules.REST


@pytest.mark.parametrize(
    ("status", "taken"), [(199, False), (200, True), (204, True), (299, True), (300, False), (404, False), (None, False)]
)
def test_two_hundreds_alone_are_success(status: int | None, taken: bool):
    assert answered(status).taken is taken


def test_an_endpoint_rests_no_longer_than_its_delivery_does():
    endpoint = ENDPOINT
    for delay in rules.DELAYS:
        health = rules.health(endpoint, [answered(None)], now=NOW)
        assert health.rest_until is not None
        assert health.rest_until - NOW <= delay
        endpoint = msgspec.structs.replace(endpoint, failures=health.failures, failing_since=health.failing_since)
    assert health.rest_until - NOW == rules.LONGEST_REST
    assert rules.health(msgspec.structs.replace(endpoint, failures=10**6), [answered(None)], now=NOW).rest_until == NOW + rules.LONGEST_REST


def test_one_success_makes_it_sound_and_a_pause_that_is_asked_for_holds():
    tired = msgspec.structs.replace(ENDPOINT, failures=4, failing_since=NOW - 10 * DAY)
    health = rules.health(tired, [answered(200), answered(429, "60")], now=NOW)
    assert (health.failures, health.failing_since, health.rest_until, health.why) == (0, None, NOW + MINUTE, None)
    assert rules.health(tired, [answered(500)], now=NOW).why == "Nothing but failures for 5 days; the last: The answer was 500"
    assert rules.health(tired, [], now=NOW).failures == 4


def test_a_log_keeps_the_last_attempts():
    due = DUE
    for number in range(30):
        due = due._replace(log=rules.settled(Result(due, NOW + number, answered(200)), now=NOW, jitter=0.0).log)
    kept = msgspec.json.decode(due.log)
    assert (len(kept), kept[-1]["at"]) == (20, NOW + 29)
