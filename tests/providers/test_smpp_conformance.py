"""SMPP keeps every provider's promises."""

from collections.abc import AsyncIterator, Sequence

import pytest

from tests.providers.conformance import Carrier, Conformance
from tests.providers.smsc import SENDER, Smsc, Submitted, sms
from tidings.message.outgoing import Sealed
from tidings.providers.smpp import Smpp
from tidings.providers.smpp.settings import SmppSettings

FATES = {"fine": "+4915187654321", "refused": "+4915100000001", "deferred": "+4915100000002"}


class SmppCarrier(Carrier):
    """A scripted SMSC that goes by the recipient's number, and a provider that has a window of ten on it."""

    secret = "secret1"
    most_left = 10

    def __init__(self) -> None:
        self.smsc = Smsc()
        self.smsc.rule = self.rule

    async def open(self) -> None:
        await self.smsc.open()
        settings = SmppSettings(host="127.0.0.1", port=self.smsc.port, system_id="us", password=self.secret, sender=SENDER)
        self.provider = Smpp(settings, lambda: 0)

    def rule(self, submitted: Submitted) -> int:
        return {FATES["refused"][1:]: 0x0B, FATES["deferred"][1:]: 0x08}.get(submitted.to, 0)

    def message(self, number: int, fate: str = "fine") -> Sealed:
        return sms(number, to=FATES[fate])

    def arrived(self) -> Sequence[int]:
        return [int(taken.data.removeprefix(b"message ")) for taken in self.smsc.taken]

    async def go_away(self) -> None:
        await self.smsc.stop()

    async def come_back(self) -> None:
        await self.smsc.open(self.smsc.port)

    def revoke(self) -> None:
        self.smsc.password = "another"

    def hold(self) -> None:
        self.smsc.gate.clear()

    def release(self) -> None:
        self.smsc.gate.set()

    async def holding(self) -> None:
        await self.smsc.at_the_gate.wait()


class TestSmpp(Conformance):
    @pytest.fixture
    async def carrier(self) -> AsyncIterator[Carrier]:
        carrier = SmppCarrier()
        await carrier.open()
        yield carrier
        carrier.release()
        await carrier.provider.close()
        await carrier.smsc.stop()
        assert carrier.smsc.errors == []
