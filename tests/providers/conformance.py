"""What every provider promises, as tests. A provider joins by subclassing `Conformance` with a `carrier` fixture: itself, and a far end to obey it."""

import asyncio
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence

import pytest

from tidings.message.outgoing import Outcome, Sealed
from tidings.providers.base import Provider


class Reports:
    """Takes the reports of a send; a second one for the same message is an error at once."""

    def __init__(self) -> None:
        self.outcomes: dict[int, Outcome] = {}

    def __call__(self, communication_id: int, outcome: Outcome) -> None:
        assert communication_id not in self.outcomes, f"{communication_id} was reported twice"
        self.outcomes[communication_id] = outcome

    @property
    def kinds(self) -> Counter[str]:
        """How often each kind of outcome came."""
        return Counter(outcome.kind for outcome in self.outcomes.values())


class Carrier(ABC):
    """A provider under test, with a far end that does as it is told."""

    provider: Provider
    secret: str
    most_left: int | None = None
    """How many messages may have left for the far end without an answer; None where a cancelled send does not tell the others."""

    @abstractmethod
    def message(self, number: int, fate: str = "fine") -> Sealed:
        """A message with that communication id which the far end takes (`fine`), refuses for good (`refused`) or for now (`deferred`)."""

    @abstractmethod
    def arrived(self) -> Sequence[int]:
        """The communication ids the far end took, each time it took them."""

    @abstractmethod
    async def go_away(self) -> None:
        """From now on the far end cannot be reached."""

    @abstractmethod
    async def come_back(self) -> None:
        """It can be reached again, where it was."""

    @abstractmethod
    def revoke(self) -> None:
        """From now on the far end does not accept our credentials."""

    @abstractmethod
    def hold(self) -> None:
        """From now on the far end takes nothing and says nothing, until `release`."""

    @abstractmethod
    def release(self) -> None:
        """It goes on."""

    @abstractmethod
    async def holding(self) -> None:
        """Wait until a message has reached the far end and is held there."""

    def messages(self, numbers: range) -> list[Sealed]:
        """A batch the far end takes."""
        return [self.message(number) for number in numbers]


class Conformance:
    """The tests. Subclasses give the fixture `carrier`."""

    async def test_every_message_of_a_batch_is_reported_once_and_arrives_once(self, carrier: Carrier):
        reports = Reports()
        await carrier.provider.send(carrier.messages(range(1, 301)), reports)
        assert reports.kinds == {"accepted": 300}
        assert sorted(carrier.arrived()) == list(range(1, 301))

    async def test_an_accepted_message_carries_the_providers_name_for_it(self, carrier: Carrier):
        reports = Reports()
        await carrier.provider.send([carrier.message(1), carrier.message(2)], reports)
        names = {outcome.provider_id for outcome in reports.outcomes.values()}
        assert len(names) == 2
        assert "" not in names

    async def test_an_empty_batch_is_done_at_once(self, carrier: Carrier):
        reports = Reports()
        await carrier.provider.send([], reports)
        assert reports.outcomes == {}

    async def test_a_refused_message_does_not_hold_up_its_neighbours(self, carrier: Carrier):
        reports = Reports()
        fates = {2: "refused", 3: "deferred", 5: "refused"}
        await carrier.provider.send([carrier.message(number, fates.get(number, "fine")) for number in range(1, 8)], reports)
        assert {number: outcome.kind for number, outcome in sorted(reports.outcomes.items())} == {
            number: fates.get(number, "accepted") for number in range(1, 8)
        }
        assert sorted(carrier.arrived()) == [1, 4, 6, 7]
        assert all(reports.outcomes[number].reason and reports.outcomes[number].code for number in fates)

    async def test_an_unreachable_provider_pauses_and_costs_no_message_an_attempt(self, carrier: Carrier):
        await carrier.go_away()
        reports = Reports()
        await carrier.provider.send(carrier.messages(range(1, 41)), reports)
        assert reports.kinds == {"paused": 40}
        assert all(outcome.reason for outcome in reports.outcomes.values())

    async def test_a_provider_that_comes_back_is_used_again(self, carrier: Carrier):
        await carrier.provider.send(carrier.messages(range(1, 5)), Reports())
        await carrier.go_away()
        await carrier.provider.send(carrier.messages(range(5, 9)), Reports())
        await carrier.come_back()
        reports = Reports()
        await carrier.provider.send(carrier.messages(range(5, 9)), reports)
        assert reports.kinds == {"accepted": 4}
        assert sorted(carrier.arrived()) == list(range(1, 9))

    async def test_wrong_credentials_pause_with_a_reason_that_does_not_tell_the_secret(self, carrier: Carrier):
        carrier.revoke()
        reports = Reports()
        await carrier.provider.send(carrier.messages(range(1, 41)), reports)
        assert reports.kinds == {"paused": 40}
        assert carrier.arrived() == []
        assert all(outcome.reason and carrier.secret not in outcome.reason for outcome in reports.outcomes.values())
        assert carrier.secret not in repr(carrier.provider)

    async def test_sends_at_the_same_time_do_not_mix_up_their_reports(self, carrier: Carrier):
        first, second = Reports(), Reports()
        await asyncio.gather(
            carrier.provider.send(carrier.messages(range(1, 101)), first), carrier.provider.send(carrier.messages(range(101, 151)), second)
        )
        assert sorted(first.outcomes) == list(range(1, 101))
        assert sorted(second.outcomes) == list(range(101, 151))
        assert first.kinds + second.kinds == {"accepted": 150}

    async def test_a_single_message_does_not_wait_for_a_batch_that_was_first(self, carrier: Carrier):
        reports = Reports()
        before: list[int] = []

        def note(communication_id: int, outcome: Outcome) -> None:
            before.append(len(reports.outcomes))

        batch = asyncio.create_task(carrier.provider.send(carrier.messages(range(1, 2001)), reports))
        await carrier.provider.send([carrier.message(5000)], note)
        assert before[0] < 1500
        await batch
        assert reports.kinds == {"accepted": 2000}

    async def test_a_cancelled_send_tells_what_never_left_and_nothing_more_and_the_provider_stays_usable(self, carrier: Carrier):
        carrier.hold()
        reports = Reports()
        sending = asyncio.create_task(carrier.provider.send(carrier.messages(range(1, 101)), reports))
        await carrier.holding()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        told = dict(reports.outcomes)
        carrier.release()
        later = Reports()
        await carrier.provider.send(carrier.messages(range(101, 111)), later)
        assert later.kinds == {"accepted": 10}
        assert reports.outcomes == told
        assert reports.kinds.keys() <= {"accepted", "untried"}
        assert not {number for number, outcome in told.items() if outcome.kind == "untried"} & set(carrier.arrived())
        if carrier.most_left is not None:
            assert 100 - carrier.most_left <= len(told)

    async def test_a_report_that_fails_is_the_senders_own_problem(self, carrier: Carrier):
        def broken(communication_id: int, outcome: Outcome) -> None:
            raise LookupError(communication_id)

        with pytest.raises(LookupError):
            await carrier.provider.send(carrier.messages(range(1, 11)), broken)
        reports = Reports()
        await carrier.provider.send(carrier.messages(range(11, 21)), reports)
        assert reports.kinds == {"accepted": 10}

    async def test_a_closed_provider_tries_nothing(self, carrier: Carrier):
        await carrier.provider.send([carrier.message(1)], Reports())
        await carrier.provider.close()
        await carrier.provider.close()
        reports = Reports()
        await carrier.provider.send(carrier.messages(range(2, 5)), reports)
        assert reports.kinds == {"paused": 3}
        assert carrier.arrived() == [1]
