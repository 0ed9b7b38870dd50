"""SMTP keeps every provider's promises."""

from collections.abc import AsyncIterator, Sequence

import pytest

from tests.providers.conformance import Carrier, Conformance
from tests.providers.mails import mail
from tests.providers.scripted import EXTENSIONS, ScriptedServer, serving
from tidings.message.outgoing import Sealed
from tidings.providers.smtp import Smtp, SmtpSettings


class SmtpCarrier(Carrier):
    """A scripted mail server that goes by the recipient's address, and a provider with three connections to it."""

    secret = "s3cret-word"
    most_left = 3

    def __init__(self, extensions: Sequence[str]) -> None:
        self.revoked = False
        self.server = ScriptedServer([serving(self.rule, extensions)])

    async def open(self) -> None:
        await self.server.open()
        self.provider = Smtp(SmtpSettings.from_url(f"smtp://us:{self.secret}@127.0.0.1:{self.server.port}?tls=none&connections=3"))

    def rule(self, command: str) -> str | None:
        if command.startswith("AUTH") and self.revoked:
            return "535 5.7.8 authentication failed"
        return {
            "RCPT TO:<refused@example.net>": "550 5.1.1 nobody here of that name",
            "RCPT TO:<deferred@example.net>": "450 4.2.1 come again",
        }.get(command)

    def message(self, number: int, fate: str = "fine") -> Sealed:
        return mail(number, recipients=(f"{fate}@example.net",))

    def arrived(self) -> Sequence[int]:
        return [int(taken.content.partition(b"Message-ID: <")[2].partition(b"@")[0]) for taken in self.server.taken]

    async def go_away(self) -> None:
        await self.server.stop()

    async def come_back(self) -> None:
        await self.server.open(self.server.port)

    def revoke(self) -> None:
        self.revoked = True

    def hold(self) -> None:
        self.server.gate.clear()

    def release(self) -> None:
        self.server.gate.set()

    async def holding(self) -> None:
        await self.server.at_the_gate.wait()


class TestSmtp(Conformance):
    @pytest.fixture(params=[True, False], ids=["pipelining", "lockstep"])
    async def carrier(self, request: pytest.FixtureRequest) -> AsyncIterator[Carrier]:
        extensions = [name for name in (*EXTENSIONS, "AUTH PLAIN") if request.param or name != "PIPELINING"]
        carrier = SmtpCarrier(extensions)
        await carrier.open()
        yield carrier
        carrier.release()
        await carrier.provider.close()
        await carrier.server.stop()
        assert carrier.server.errors == []
