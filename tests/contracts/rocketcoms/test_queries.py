"""The query of a recipient's messages: each filter alone and in pairs with each other and with each order, against a plain evaluation."""

import itertools
import random
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from tests.contracts.rocketcoms.story import STATUS, Said, Story
from tests.support.api import NOON, Api
from tidings import ids
from tidings.api import rocketcoms
from tidings.clock import DAY, HOUR

MIDNIGHT = NOON - 12 * HOUR
"""2025-06-18T00:00:00Z."""
WORDS = ["Spring sale", "spring SALE today", "100% off_", "Gr\u00fc\u00dfe", "STRASSE", "zebra", "\u20ac5", "a\\b", "50%_"]
FILTERS: dict[str, list[Any]] = {
    "from": ["2025-06-17", "2025-06-18", "2025-06-20"],
    "to": ["2025-06-16", "2025-06-18", "2025-06-19"],
    "status": list(dict.fromkeys(STATUS.values())),
    "messageText": ["", "SALE", "%", "_", "\\", "gr\u00fcsse", "stra\u00dfe", "\u20ac", "z", "nowhere"],
    "sortBy": ["id", "direction", "messageText", "campaignId", "campaignName", "status", "sentAt", "createdAt"],
    "sortDir": ["asc", "desc"],
}
DAYS = {f"2025-06-{day}": MIDNIGHT + (day - 18) * DAY for day in range(16, 21)}


@pytest.fixture
async def story(api: Api) -> Story:
    return await Story(api).begin()


async def fill(story: Story, dice: random.Random, count: int = 60) -> list[str]:
    """Messages of every kind at instants that like to be equal and to lie on the edges of days; answers the campaigns' UUIDs."""
    campaigns = [await story.campaign(name) for name in ("Spring", "autumn", "Spring")]
    states = list(STATUS)
    for number in range(count):
        at = MIDNIGHT + dice.choice([-2, -1, 0, 1, 2]) * DAY + dice.choice([-1, 0, 0, 1, HOUR])
        text = dice.choice(WORDS)
        if number and dice.random() < 0.4:
            answers = dice.choice([None, *[said for said in story.said if not said.inbound]])
            await story.received(text, answers=answers, received_at=at, created_at=at + dice.choice([0, HOUR]))
        else:
            more = {"scheduled_at": at + HOUR} if dice.random() < 0.3 else {}
            campaign = dice.choice([None, *campaigns])
            channel = dice.choice(["email", "sms"])
            await story.sent(text, dice.choice(states), campaign=campaign, channel=channel, created_at=at, sent_at=at + HOUR, **more)
    return [ids.uuid("campaign", campaign) for campaign in campaigns]


def expected(said: list[Said], query: dict[str, Any]) -> list[dict[str, Any]]:
    """What the contract says, in so many words."""
    found = said
    if "from" in query:
        found = [one for one in found if one.sent_at is not None and one.sent_at >= DAYS[query["from"]]]
    if "to" in query:
        found = [one for one in found if one.sent_at is not None and one.sent_at < DAYS[query["to"]] + DAY]
    if "status" in query:
        found = [one for one in found if one.shown["status"] == query["status"]]
    if "campaigns" in query:
        found = [one for one in found if one.shown["campaignId"] in query["campaigns"]]
    if "messageText" in query:
        found = [one for one in found if query["messageText"].casefold() in one.shown["messageText"].casefold()]
    sort = query.get("sortBy")
    descending = query.get("sortDir", "asc" if sort else "desc") == "desc"
    found = sorted(found, key=lambda one: (one.at, one.inbound, one.id), reverse=descending)
    if sort is None:
        return [one.shown for one in found]
    instants: dict[str, Callable[[Said], Any]] = {"sentAt": lambda one: one.sent_at, "createdAt": lambda one: one.created_at}
    value: Callable[[Said], Any] = instants[sort] if sort in instants else lambda one: one.shown[sort]
    # a sort that is reversed keeps equals as they were
    there = sorted((one for one in found if value(one) is not None), key=value, reverse=descending)
    return [one.shown for one in there + [one for one in found if value(one) is None]]


async def check(story: Story, query: dict[str, Any]) -> None:
    wanted = expected(story.said, query)
    size = 7
    found: list[dict[str, Any]] = []
    for page in range(max(1, -(-len(wanted) // size))):
        result = await story.ask(str(httpx2.QueryParams(query | {"pageSize": size, "page": page})))
        assert result["total"] == -(-len(wanted) // size), query
        found += result["content"]
    assert found == wanted, query


async def test_each_alone_and_each_two_together_find_what_a_plain_evaluation_finds(story: Story):
    campaigns = await fill(story, random.Random(1))
    filters: dict[str, list[Any]] = FILTERS | {"campaigns": [campaigns[:1], campaigns[:2], campaigns]}
    await check(story, {})
    for name, values in filters.items():
        for value in values:
            await check(story, {name: value})
    dice = random.Random(2)
    for one, other in itertools.combinations(filters, 2):
        for _ in range(4):
            query = {one: dice.choice(filters[one]), other: dice.choice(filters[other])}
            if query.get("from", "") <= query.get("to", "9"):
                await check(story, query)


async def test_any_number_together_and_whatever_is_looked_at_at_a_time(story: Story, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rocketcoms, "PLACES", 11)
    monkeypatch.setattr(rocketcoms, "TEXTS", 3)
    dice = random.Random(3)
    campaigns = await fill(story, dice)
    filters: dict[str, list[Any]] = FILTERS | {"campaigns": [campaigns[:1], campaigns]}
    for _ in range(60):
        query = {name: dice.choice(filters[name]) for name in filters if dice.random() < 0.4}
        if query.get("from", "") <= query.get("to", "9"):
            await check(story, query)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("from=2025-06-18", ["first", "noon", "last", "after"]),
        ("to=2025-06-18", ["before", "first", "noon", "last"]),
        ("from=2025-06-18&to=2025-06-18", ["first", "noon", "last"]),
        ("from=2025-06-17&to=2025-06-17", ["before"]),
        ("from=2025-06-19&to=2025-06-19", ["after"]),
        ("from=2025-06-20", []),
        ("to=2025-06-16", []),
        ("from=0001-01-01&to=9999-12-31", ["before", "first", "noon", "last", "after"]),
    ],
)
@pytest.mark.parametrize("incoming", [False, True])
async def test_days_are_whole_inclusive_and_utc(story: Story, query: str, found: list[str], incoming: bool):
    last = MIDNIGHT + DAY - 1
    for text, at in {"before": MIDNIGHT - 1, "first": MIDNIGHT, "noon": NOON, "last": last, "after": last + 1}.items():
        if incoming:
            # when it was stored does not matter
            await story.received(text, received_at=at, created_at=at + 3 * DAY)
        else:
            await story.sent(text, created_at=at - 3 * DAY, scheduled_at=at - DAY, sent_at=at)
    assert await story.texts(f"{query}&sortDir=asc") == found
    assert await story.texts(f"{query}&sortDir=asc&messageText=") == found


async def test_what_was_not_sent_is_in_no_range_of_days(story: Story):
    for state in ("scheduled", "pending", "in_process", "unknown", "failed", "suppressed", "canceled"):
        await story.sent(state, state)
    await story.sent("bounced", "bounced")
    assert await story.texts("from=2025-06-18") == await story.texts("to=2025-06-18") == ["bounced"]


async def test_campaigns_are_repeated_or_separated_by_commas_in_either_case(story: Story):
    names = ["Spring", "Summer", "Autumn"]
    made = [await story.campaign(name) for name in names]
    for number, campaign in enumerate(made):
        await story.sent(names[number], campaign=campaign, created_at=NOON + number)
    await story.sent("no campaign")
    first, second, third = (ids.uuid("campaign", campaign) for campaign in made)
    assert await story.texts(f"campaigns={first}") == ["Spring"]
    for query in (f"campaigns={first}&campaigns={third}", f"campaigns={first},{third}", f"campaigns={third.upper()},%20{first}"):
        assert await story.texts(query) == ["Autumn", "Spring"]
    assert await story.texts(f"campaigns={first},{second}&campaigns={third},{first}") == ["Autumn", "Summer", "Spring"]


async def test_of_a_parameter_given_twice_the_first_counts(story: Story):
    await story.sent("sent")
    await story.sent("failed", "failed")
    assert await story.texts("status=SENT&status=FAILED") == ["sent"]


async def test_other_parameters_are_passed_over(story: Story):
    await story.sent("Hello")
    assert await story.texts("limit=x&foo=bar&PAGE=-1") == ["Hello"]


async def test_orders_without_a_value_come_last_either_way(story: Story):
    spring = await story.campaign("Spring")
    await story.sent("waits", "pending", created_at=NOON)
    await story.sent("sent", created_at=NOON + 1)
    await story.sent("of Spring", campaign=spring, created_at=NOON + 2)
    for sort, ascending, descending in (
        ("sentAt", ["sent", "of Spring", "waits"], ["of Spring", "sent", "waits"]),
        ("campaignName", ["of Spring", "waits", "sent"], ["of Spring", "sent", "waits"]),
        ("campaignId", ["of Spring", "waits", "sent"], ["of Spring", "sent", "waits"]),
    ):
        assert await story.texts(f"sortBy={sort}") == await story.texts(f"sortBy={sort}&sortDir=asc") == ascending
        assert await story.texts(f"sortBy={sort}&sortDir=desc") == descending


async def test_a_text_is_found_beyond_where_it_is_put_in_order_by(story: Story):
    for number in range(3):
        await story.sent("x" * rocketcoms.LED + " " + "zyx"[number], created_at=NOON + number)
    # of those that begin alike the older comes first
    assert [text[-1] for text in await story.texts("sortBy=messageText")] == ["z", "y", "x"]
    assert [text[-1] for text in await story.texts("messageText=X%20Y")] == ["y"]
