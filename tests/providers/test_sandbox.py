"""The sandbox keeps what it is handed and plays what goes wrong; it keeps every provider's promises. And the registry hands out providers."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import msgspec
import pytest

from tests.providers.conformance import Carrier, Conformance, Reports
from tidings.clock import SECOND
from tidings.database import Database
from tidings.domain import tenants
from tidings.errors import NotFound, Unavailable
from tidings.message.outgoing import Email, Outcome, Sealed, Sms
from tidings.providers import sandbox
from tidings.providers.base import Paced, Report
from tidings.providers.registry import Registry, SmtpForm, TwilioForm
from tidings.providers.sandbox import Filters, Sandbox
from tidings.signing import Vault

NOW = 1_750_000_000_000


def mail(number: int, *recipients: str, raw: bytes = b"Subject: Hi\r\n\r\nHi\r\n", tenant_id: int = 1) -> Email:
    return Email(tenant_id, number, "bounces@acme.test", recipients or ("ann@example.com",), raw, f"<{number}@acme.test>")


def sms(number: int, to: str = "+31612345678", text: str = "Hi") -> Sms:
    return Sms(1, number, to, "Acme", text)


class Gate:
    """Stands before the database: counts the writes, holds them back, or says that it is away."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.writes = 0
        self.away = False
        self.open = asyncio.Event()
        self.open.set()
        self.reached = asyncio.Event()
        self.taken: list[int] = []

    async def write(self, unit: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.reached.set()
        await self.open.wait()
        if self.away:
            raise Unavailable("The database cannot take this now: disk is full.")
        self.writes += 1
        result = await self._db.write(unit, *args, **kwargs)
        _, kept = args
        self.taken += [message.communication_id for message, _ in kept]
        return result


class SandboxCarrier(Carrier):
    """A sandbox whose far end, its database, does as it is told. It has no credentials: without them is with the database away."""

    secret = "s3cret-word"

    def __init__(self, db: Database) -> None:
        self.gate: Any = Gate(db)
        self.provider = Sandbox(self.gate, lambda: NOW, "email")

    def message(self, number: int, fate: str = "fine") -> Sealed:
        local = {"fine": "ann", "refused": "bounce", "deferred": "defer"}[fate]
        return mail(number, f"{local}@sandbox.test")

    def arrived(self) -> Sequence[int]:
        return self.gate.taken

    async def go_away(self) -> None:
        self.gate.away = True

    async def come_back(self) -> None:
        self.gate.away = False

    def revoke(self) -> None:
        self.gate.away = True

    def hold(self) -> None:
        self.gate.open.clear()

    def release(self) -> None:
        self.gate.open.set()

    async def holding(self) -> None:
        await self.gate.reached.wait()


class TestConformance(Conformance):
    @pytest.fixture
    async def carrier(self, db: Database) -> SandboxCarrier:
        return SandboxCarrier(db)


async def test_a_batch_is_few_writes_and_each_is_reported_before_the_next(db: Database):
    carrier, reports = SandboxCarrier(db), Reports()
    reported: list[int] = []

    def report(communication_id: int, outcome: Outcome) -> None:
        reports(communication_id, outcome)
        reported.append(carrier.gate.writes)

    await carrier.provider.send(carrier.messages(range(1, 201)), report)
    assert reported == [write for write in (1, 2, 3, 4) for _ in range(sandbox.GROUP)]


async def test_a_database_that_is_away_costs_no_attempt_and_is_asked_again_soon(db: Database):
    carrier = SandboxCarrier(db)
    await carrier.go_away()
    reports = Reports()
    await carrier.provider.send([carrier.message(1), carrier.message(2, "refused")], reports)
    assert {(outcome.kind, outcome.retry_after) for outcome in reports.outcomes.values()} == {("paused", SECOND)}


async def sent(db: Database, *messages: Sealed, channel: Any = "email") -> dict[int, Outcome]:
    reports = Reports()
    await Sandbox(db, lambda: NOW, channel).send(messages, reports)
    return reports.outcomes


async def shelf(db: Database, **filters: Any) -> list[int]:
    found = await db.read(sandbox.page, 1, Filters(**filters))
    assert found.total == len(found.rows)
    return [row.communication_id for row in found.rows]


async def test_a_message_is_kept_to_the_byte(db: Database):
    raw = b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xff\xfe\x00caf\xc3\xa9\r\n"
    await sent(db, mail(7, "Ann@Example.com", "bob@example.com", raw=raw))
    [kept] = (await db.read(sandbox.page, 1, Filters())).rows
    assert (kept.raw, kept.communication_id, kept.channel, kept.sender, kept.created_at) == (raw, 7, "email", "bounces@acme.test", NOW)
    assert msgspec.json.decode(kept.recipients) == ["Ann@Example.com", "bob@example.com"]
    assert await db.read(sandbox.get, 1, kept.id) == kept


async def test_a_text_message_is_kept_as_its_text(db: Database):
    outcomes = await sent(db, sms(1, text="Grüße €"), channel="sms")
    assert outcomes[1].kind == "accepted"
    [kept] = (await db.read(sandbox.page, 1, Filters(channel="sms"))).rows
    assert (kept.raw.decode(), kept.recipients, kept.sender) == ("Grüße €", '["+31612345678"]', "Acme")


@pytest.mark.parametrize(
    ("to", "kind", "kept"),
    [
        ("bounce@sandbox.test", "refused", []),
        ("BOUNCE+17@Sandbox.TEST", "refused", []),
        ("defer@sandbox.test", "deferred", []),
        ("unknown+x@sandbox.test", "unknown", [1]),
        ("ann@sandbox.test", "accepted", [1]),
        ("bounce@example.com", "accepted", [1]),
    ],
)
async def test_magic_addresses_play_what_goes_wrong(db: Database, to: str, kind: str, kept: list[int]):
    outcomes = await sent(db, mail(1, to))
    assert outcomes[1].kind == kind
    assert outcomes[1].suppress == (((to, "bounced"),) if kind == "refused" else ())
    assert await shelf(db) == kept


@pytest.mark.parametrize(
    ("to", "kind"), [("+15005550001", "refused"), ("+15005550002", "deferred"), ("+15005550003", "unknown"), ("+15005550009", "accepted")]
)
async def test_magic_numbers_do_the_same_for_text_messages(db: Database, to: str, kind: str):
    assert (await sent(db, sms(1, to), channel="sms"))[1].kind == kind


async def test_a_magic_address_among_others_is_rejected_alone(db: Database):
    outcomes = await sent(db, mail(1, "ann@example.com", "bounce@sandbox.test"))
    assert outcomes[1].kind == "accepted"
    assert [address for address, _ in outcomes[1].rejected] == ["bounce@sandbox.test"]
    assert outcomes[1].suppress == (("bounce@sandbox.test", "bounced"),)
    assert await shelf(db, to="ann@example.com") == [1]
    assert await shelf(db, to="bounce@sandbox.test") == []


async def test_reading_back_is_newest_first_and_by_whole_address(db: Database):
    await sent(
        db, mail(1, "a_b@example.com"), mail(2, "axb@example.com"), mail(3, "xa_b@example.com"), mail(4, "A_B@Example.com", "c@x.com")
    )
    assert await shelf(db) == [4, 3, 2, 1]
    assert await shelf(db, to="a_b@example.COM") == [4, 1]
    assert await shelf(db, to="%") == []
    assert await shelf(db, to="a_b@example.com", communication_id=1) == [1]
    assert await shelf(db, channel="sms") == []
    page = await db.read(sandbox.page, 1, Filters(), page=2, limit=3)
    assert ([row.communication_id for row in page.rows], page.total) == ([1], 4)


async def test_a_tenant_reads_and_clears_its_own_alone(db: Database):
    await sent(db, mail(1), mail(2, tenant_id=2))
    [kept] = (await db.read(sandbox.page, 2, Filters())).rows
    assert kept.communication_id == 2
    with pytest.raises(NotFound):
        await db.read(sandbox.get, 1, kept.id)
    assert await db.write(sandbox.clear, 1) == 1
    assert (await shelf(db), (await db.read(sandbox.page, 2, Filters())).total) == ([], 1)


# The registry


class Row(msgspec.Struct, frozen=True):
    id: int = 1
    tenant_id: int = 1
    channel: str = "email"
    kind: str = "sandbox"
    settings: str = ""
    updated_at: int = NOW


class Own:
    """The server's own provider, which waits for `go` and says when it was closed."""

    kind = "own"

    def __init__(self) -> None:
        self.closed = False

    async def send(self, batch: Sequence[Sealed], report: Report) -> None:
        return None

    async def close(self) -> None:
        self.closed = True


VAULT = Vault(b"a secret of thirty-two characters")


@pytest.fixture
async def registry(db: Database) -> AsyncIterator[Registry]:
    registry = Registry(db, VAULT, lambda: NOW, {"email": Own})
    yield registry
    await registry.close()


async def test_a_row_has_one_provider_until_its_settings_change(registry: Registry):
    first = await registry.get(Row())
    assert await registry.get(Row()) is first
    newer = await registry.get(Row(updated_at=NOW + 1))
    assert newer is not first
    assert await registry.get(Row()) is newer, "a row read before the change brings nothing back"
    assert await registry.get(Row(tenant_id=2)) is not newer


async def test_what_the_registry_built_sends(registry: Registry, db: Database):
    provider = await registry.get(Row())
    reports = Reports()
    await provider.send([mail(1)], reports)
    assert (provider.kind, reports.outcomes[1].kind) == ("sandbox", "accepted")
    assert await shelf(db) == [1]


async def test_smtp_is_built_from_sealed_settings(registry: Registry):
    settings = VAULT.seal(msgspec.json.encode(SmtpForm(host="mail.example.com", username="u", password="p")))
    assert (await registry.get(Row(kind="smtp", settings=settings))).kind == "smtp"


async def test_what_the_registry_built_tells_how_much_it_has_use_for(registry: Registry):
    form = TwilioForm(account_sid="AC" + "0" * 32, auth_token="t", sender="+15017122661")
    for row, window in ((Row(kind="twilio", channel="sms", settings=VAULT.seal(msgspec.json.encode(form))), 2), (Row(id=2), None)):
        provider = await registry.get(row)
        assert isinstance(provider, Paced)
        assert provider.window == window


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (Row(kind="pigeon"), "no provider of kind pigeon"),
        (Row(kind="smtp", channel="sms"), "no provider of kind smtp for sms"),
        (Row(kind="smtp", settings="v1.rubbish"), "cannot be used"),
        (Row(kind="smtp", settings=Vault(b"another").seal(b'{"host": "x"}')), "another secret key"),
        (Row(kind="smtp", settings=VAULT.seal(b'{"port": 25}')), "cannot be used"),
        (Row(kind="system", channel="sms"), "no provider of its own"),
    ],
)
async def test_what_cannot_be_built_hands_everything_back_with_the_reason(registry: Registry, row: Row, reason: str):
    reports = Reports()
    await (await registry.get(row)).send([mail(1), mail(2)], reports)
    assert reports.kinds == {"paused": 2}
    assert reason in reports.outcomes[1].reason


async def test_the_servers_own_provider_is_shared_and_closed_with_the_registry(db: Database):
    made: list[Own] = []

    def build() -> Own:
        made.append(Own())
        return made[-1]

    registry = Registry(db, VAULT, lambda: NOW, {"email": build})
    one, other = await registry.get(Row(kind="system")), await registry.get(Row(kind="system", tenant_id=2, id=9))
    assert one is other
    assert len(made) == 1
    await registry.close()
    assert made[0].closed


async def test_a_replaced_provider_finishes_its_batch_before_it_is_closed(db: Database):
    carrier = SandboxCarrier(db)
    registry = Registry(carrier.gate, VAULT, lambda: NOW, {})
    old = await registry.get(Row())
    carrier.hold()
    reports = Reports()
    sending = asyncio.create_task(old.send([mail(number) for number in range(1, 4)], reports))
    await carrier.holding()
    await registry.get(Row(updated_at=NOW + 1))
    carrier.release()
    await sending
    assert reports.kinds == {"accepted": 3}
    for _ in itertools.repeat(None, 3):
        await asyncio.sleep(0)
    late = Reports()
    await old.send([mail(9)], late)
    assert late.kinds == {"paused": 1}
    await registry.close()


@pytest.mark.parametrize(
    ("said", "port", "tls"),
    [
        ({}, 25, "opportunistic"),
        ({"port": 465}, 465, "tls"),
        ({"port": 587}, 587, "starttls"),
        ({"tls": "tls"}, 465, "tls"),
        ({"tls": "starttls"}, 587, "starttls"),
        ({"port": 2525, "tls": "none"}, 2525, "none"),
    ],
)
def test_port_and_tls_follow_from_one_another(monkeypatch: pytest.MonkeyPatch, said: dict[str, Any], port: int, tls: str):
    built: list[Any] = []
    monkeypatch.setattr("tidings.providers.registry.Smtp", built.append)
    SmtpForm(host="mail.example.com", **said).provider(None)  # pyright: ignore[reportArgumentType]
    assert (built[0].port, built[0].tls) == (port, tls)


async def test_a_tenants_first_messages_have_a_way_out(db: Database):
    tenant = await db.write(tenants.create, "acme", name="Acme", sender_email="hello@acme.test", now=NOW)
    registry = Registry(db, VAULT, lambda: NOW, {"email": lambda: Sandbox(db, lambda: NOW, "email")})
    reports = Reports()
    await (await registry.get(Row(kind="system", tenant_id=tenant.id))).send([mail(1, tenant_id=tenant.id)], reports)
    assert reports.outcomes[1].kind == "accepted"
    await registry.close()
