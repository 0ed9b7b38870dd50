"""SMPP against codecs nobody here wrote: Perl's Net::SMPP on both ways, and the SMSC that Kannel tests itself with."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.providers.conformance import Reports
from tests.providers.smsc import SENDER, sms
from tests.support import missing
from tests.support.mail import free_port
from tidings.message.heard import Notice
from tidings.message.pieces import Piece, Safe, joined
from tidings.providers.smpp import Smpp
from tidings.providers.smpp.settings import SmppSettings

SCRIPT = Path(__file__).parent / "smsc.pl"
KANNEL = Path("/usr/lib/kannel/test/drive_smpp")
LONG = "Ein langer Text mit € und [Klammern], " * 12
ECHO = "+4915187654399"


class Ear:
    """Keeps what it is told, texts put together, and knows a message once it was reported."""

    def __init__(self, reports: Reports) -> None:
        self.reports = reports
        self.parts: dict[str, dict[int, Piece]] = {}
        self.notices: dict[str, Notice] = {}
        self.news = asyncio.Event()

    async def __call__(self, heard: Piece | Notice | Safe) -> bool:
        self.news.set()
        if isinstance(heard, Piece):
            self.parts.setdefault(heard.name, {})[heard.sequence] = heard
        elif isinstance(heard, Notice):
            if heard.provider_id not in {outcome.provider_id for outcome in self.reports.outcomes.values()}:
                return False
            self.notices[heard.provider_id] = heard
        return True

    @property
    def whole(self) -> list[list[Piece]]:
        """The texts of which all parts have come."""
        return [list(parts.values()) for parts in self.parts.values() if len(parts) == next(iter(parts.values())).total]

    async def until(self, texts: int, notices: int) -> None:
        async with asyncio.timeout(20):
            while len(self.whole) < texts or len(self.notices) < notices:
                self.news.clear()
                await self.news.wait()


@contextmanager
def perl_smsc() -> Iterator[int]:
    if shutil.which("perl") is None or subprocess.run(["perl", "-MNet::SMPP", "-e", "1"], capture_output=True, check=False).returncode:
        missing("Perl's Net::SMPP (libnet-smpp-perl) is not installed")
    with subprocess.Popen(["perl", str(SCRIPT)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline().split()[1])
        finally:
            process.kill()


@pytest.fixture
def port() -> Iterator[int]:
    with perl_smsc() as found:
        yield found


@pytest.fixture
async def reports() -> Reports:
    return Reports()


@pytest.fixture
async def ear(reports: Reports) -> Ear:
    return Ear(reports)


@pytest.fixture
async def carrier(port: int, ear: Ear) -> AsyncIterator[Smpp]:
    made = Smpp(SmppSettings(host="127.0.0.1", port=port, system_id="us", password="secret1", sender=SENDER), lambda: 5, ear)
    yield made
    await made.close()


async def test_messages_are_taken_and_their_receipts_come_back(carrier: Smpp, reports: Reports, ear: Ear):
    await carrier.send([sms(1), sms(2, LONG), sms(3, "жук " * 60), sms(4, to="+4915187654313")], reports)
    assert reports.kinds == {"accepted": 4}
    await ear.until(texts=0, notices=4)
    kinds = {number: ear.notices[outcome.provider_id].kind for number, outcome in reports.outcomes.items()}
    assert kinds == {1: "delivered", 2: "delivered", 3: "delivered", 4: "bounced"}


async def test_what_is_sent_back_is_the_text_that_was_sent(carrier: Smpp, reports: Reports, ear: Ear):
    said = ["kurz", "5 € [café] {~}", LONG, "жук 🐞 " * 40, "@\n£" * 60]
    await carrier.send([sms(number, text, to=ECHO) for number, text in enumerate(said)], reports)
    await ear.until(texts=5, notices=5)
    texts = [joined({piece.sequence: (piece.charset, piece.data) for piece in parts}, len(parts)) for parts in ear.whole]
    assert sorted(texts) == sorted(said)
    assert {(piece.sender, piece.recipient) for parts in ear.whole for piece in parts} == {(ECHO, SENDER)}


async def test_a_thousand_messages_are_accepted_and_receipted_once_each(carrier: Smpp, reports: Reports, ear: Ear):
    await carrier.send([sms(number) for number in range(1000)], reports)
    assert reports.kinds == {"accepted": 1000}
    await ear.until(texts=0, notices=1000)


async def test_a_wrong_password_pauses(port: int):
    reports = Reports()
    carrier = Smpp(SmppSettings(host="127.0.0.1", port=port, system_id="us", password="wrong"), lambda: 5, Ear(reports))
    await carrier.send([sms(1), sms(2)], reports)
    await carrier.close()
    assert reports.kinds == {"paused": 2}
    assert "the password is wrong" in reports.outcomes[1].reason


@pytest.fixture
def kannel(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """The port and the log of the SMSC in Kannel's own tests; it knows transmitters, and gives no names."""
    if not KANNEL.exists():
        missing("Kannel's drive_smpp (kannel-extras) is not installed")
    port, log = free_port(), tmp_path / "log"
    command = [str(KANNEL), "-v", "0", "-p", str(port), "-m", "0"]
    with log.open("w") as output, subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT) as process:
        try:
            yield port, log
        finally:
            process.kill()


async def test_kannels_smsc_reads_what_we_send(kannel: tuple[int, Path]):
    port, log = kannel
    carrier = Smpp(SmppSettings(host="127.0.0.1", port=port, system_id="us", password="x", sender=SENDER), lambda: 5)
    reports = await _sent_when_up(carrier)
    await carrier.close()
    assert reports.kinds == {"accepted": 3}
    said = log.read_text()
    assert [f"short_message = <message {number}>" in said for number in (1, 2, 3)] == [True, True, True]
    assert "bind_transmitter" in said
    assert "PDU of type unbind" in said


async def _sent_when_up(carrier: Smpp) -> Reports:
    async with asyncio.timeout(20):
        while True:
            reports = Reports()
            await carrier.send([sms(1), sms(2), sms(3)], reports)
            if "paused" not in reports.kinds:
                return reports
            await asyncio.sleep(0.05)
