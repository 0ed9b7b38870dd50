"""Through a provider that takes its time little is claimed at once: what waits can be paused, and a worker that stops leaves it as it was."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import pytest

from tests.providers.twilio_server import ACCOUNT, TOKEN, TwilioServer
from tests.support.walk import House, OneCarrier
from tidings.delivery import dispatch
from tidings.delivery.dispatch import Dispatcher
from tidings.delivery.limits import LEAST, MOST, Line
from tidings.domain import campaigns, carriers
from tidings.domain.carriers import Carrier
from tidings.message.outgoing import Sealed, Sms, accepted, untried
from tidings.providers.base import Provider, Report
from tidings.providers.twilio import Twilio
from tidings.providers.twilio.settings import TwilioSettings

PATIENCE = 20.0


class Slow:
    """A provider that hands over one message whenever `turns` is released, and has use for `window` at a time."""

    kind = "told"

    def __init__(self, window: int | None = 2) -> None:
        self.window = window
        self.turns = asyncio.Semaphore(0)
        self.held = self.most_held = 0
        self.sent: list[Sealed] = []
        self.changed = asyncio.Event()

    async def send(self, batch: Sequence[Sealed], report: Report) -> None:
        waiting = list(batch)
        self.held += len(batch)
        self.most_held = max(self.most_held, self.held)
        self.changed.set()
        try:
            while waiting:
                await self.turns.acquire()
                self.sent.append(sealed := waiting.pop(0))
                report(sealed.communication_id, accepted("ok"))
                self.changed.set()
        except asyncio.CancelledError:
            for sealed in waiting:
                report(sealed.communication_id, untried())
            raise
        finally:
            self.held -= len(batch)
            self.changed.set()

    async def close(self) -> None:
        return None

    async def until(self, *, held: int = 0, sent: int = 0) -> None:
        """Waits until it holds so many and has sent so many."""
        async with asyncio.timeout(PATIENCE):
            while self.held < held or len(self.sent) < sent:
                self.changed.clear()
                await self.changed.wait()


@contextlib.asynccontextmanager
async def working(house: House, provider: Provider) -> AsyncIterator[None]:
    """A worker for as long as the block lasts, which is then stopped."""
    stop = asyncio.Event()
    dispatcher = Dispatcher(house.db, house.composer, OneCarrier(provider), house.store, house.clock)
    running = asyncio.create_task(dispatcher.run(stop))
    try:
        yield
    finally:
        stop.set()
        await running


async def texts(house: House, count: int) -> None:
    for number in range(count):
        await house.accept(content=house.content(body=f"Text {number}", channel="sms"), phone=f"+41791230{number:03}")


async def attempts(house: House) -> dict[str, list[int]]:
    """How often the messages of each state were tried."""
    found: dict[str, list[int]] = {}
    for row in await house.rows():
        found.setdefault(row.state, []).append(row.attempts)
    return found


async def settled(house: House, *states: str) -> None:
    """Waits until no message is in one of these states: by default, being sent."""
    async with asyncio.timeout(PATIENCE):
        left = True
        while left:
            await asyncio.sleep(0.01)
            left = bool({*(states or ("in_process",))} & {*await house.states()})


async def test_no_more_is_claimed_than_a_slow_provider_has_use_for(house: House) -> None:
    await texts(house, 12)
    slow = Slow(window=4)
    async with working(house, slow):
        await slow.until(held=4)
        assert (await house.states()).count("in_process") == 4
        for number in range(1, 7):
            slow.turns.release()
            await slow.until(sent=number)
        await slow.until(held=4)
        for _ in range(4):
            slow.turns.release()
        await slow.until(sent=10)
        for _ in range(2):
            slow.turns.release()
    assert slow.most_held == 4
    assert len({sealed.communication_id for sealed in slow.sent}) == len(slow.sent) >= 10
    assert set(await attempts(house)) <= {"sent", "pending"}


async def test_a_pause_takes_hold_of_all_that_a_slow_provider_was_not_given(house: House) -> None:
    campaign = await house.campaign(("sms", 0))
    people = [await house.contact(phone=f"+41791230{number:03}") for number in range(20)]
    await house.enroll(campaign, *people)
    while await house.planner.turn():
        pass
    slow = Slow()
    async with working(house, slow):
        await slow.until(held=2)
        await house.db.write(campaigns.pause, house.tenant_id, campaign, now=house.now)
        for _ in range(20):
            slow.turns.release()
        await settled(house)
    assert len(slow.sent) == 2
    assert await attempts(house) == {"sent": [1] * 2, "pending": [0] * 18}


async def test_a_stopped_worker_leaves_what_was_never_handed_over_as_it_was(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "GRACE", 0.05)
    await texts(house, 6)
    before = await house.rows()
    slow = Slow(window=None)
    async with working(house, slow):
        await slow.until(held=6)
        slow.turns.release()
        await slow.until(sent=1)
    first, *others = await house.rows()
    assert (first.state, first.attempts) == ("sent", 1)
    assert [(row.id, row.state, row.attempts, row.error) for row in others] == [(row.id, "pending", 0, None) for row in before[1:]]
    assert len(await house.dispatch()) == 5
    assert await attempts(house) == {"sent": [1] * 6}


async def test_a_stopped_worker_does_not_know_of_what_was_on_its_way_alone(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "GRACE", 0.05)
    await texts(house, 5)
    server = TwilioServer()
    await server.start()
    server.open.clear()
    account = TwilioSettings(account=ACCOUNT, username=ACCOUNT, password=TOKEN, sender="+15017122661", base_url=server.url, connections=1)
    twilio = Twilio(account)
    async with working(house, twilio):
        async with asyncio.timeout(PATIENCE):
            await server.reached.wait()
            claimed = 0
            while claimed < 2:
                await asyncio.sleep(0.01)
                claimed = (await house.states()).count("in_process")
    assert await attempts(house) == {"unknown": [1], "pending": [0] * 4}
    await twilio.close()
    server.open.set()
    later = await house.dispatch()
    await server.stop()
    handed_over = [request.form["Body"] for request in server.requests] + [sealed.text for sealed in later if isinstance(sealed, Sms)]
    assert sorted(handed_over) == [f"Text {number}" for number in range(5)]
    assert await attempts(house) == {"unknown": [1], "sent": [1] * 4}


async def test_what_was_never_offered_to_the_provider_is_not_unknown(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stuck(OneCarrier):
        """Finds its provider once, to be asked what that can hold."""

        def __init__(self) -> None:
            super().__init__(Slow())
            self.asked = 0
            self.stuck = asyncio.Event()

        async def get(self, carrier: Carrier) -> Provider:
            self.asked += 1
            if self.asked > 1:
                self.stuck.set()
                await asyncio.Event().wait()
            return self.provider

    monkeypatch.setattr(dispatch, "GRACE", 0.05)
    await texts(house, 2)
    stuck, stop = Stuck(), asyncio.Event()
    running = asyncio.create_task(Dispatcher(house.db, house.composer, stuck, house.store, house.clock).run(stop))
    async with asyncio.timeout(PATIENCE):
        await stuck.stuck.wait()
    stop.set()
    await running
    assert await attempts(house) == {"pending": [0, 0]}


async def test_another_provider_is_asked_anew_how_much_it_can_hold(house: House) -> None:
    await texts(house, 12)
    slow = Slow()
    async with working(house, slow):
        await slow.until(held=2)
        assert slow.most_held == 2
        slow.window = 6
        own = await house.db.read(carriers.chosen, house.tenant_id, "sms")
        assert own is not None
        await house.db.write(carriers.update, house.tenant_id, own.id, name=own.name, settings="", now=house.now)
        for _ in range(12):
            slow.turns.release()
        await slow.until(sent=12)
        await settled(house)
    assert 2 < slow.most_held <= 6
    assert await attempts(house) == {"sent": [1] * 12}


def test_a_window_that_is_given_is_neither_measured_nor_exceeded():
    line = Line()
    line.serve((1, 1), 2)
    rooms: list[int] = []
    for second in range(20):
        rooms.append(line.room())
        line.started(1, float(second))
        rooms.append(line.room())
        line.started(1, float(second))
        rooms.append(line.room())
        line.finished(1, second + 0.5)
        line.finished(1, second + 0.9)
    assert rooms == [1, 1, 0] * 20
    line.serve((1, 2), 1)
    assert line.room() == 1
    line.serve((1, 3), 10**9)
    assert line.window == MOST


def test_a_window_that_is_measured_never_falls_below_the_least():
    line = Line()
    line.serve((1, 1), None)
    for second in range(100):
        assert line.window == LEAST
        line.started(1, float(second))
        line.finished(1, second + 0.9)
    line.started(3000, 200.0)
    line.finished(3000, 200.5)
    assert line.window > LEAST
