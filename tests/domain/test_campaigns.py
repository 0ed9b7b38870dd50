"""Campaigns: their settings, the order of their messages, and what a change of state does to what is waiting."""

import asyncio
from typing import Any

import msgspec
import pytest

from tidings.clock import DAY, HOUR, MINUTE
from tidings.database import Database, Tx
from tidings.domain import campaigns, contacts, durations, enrollments, jobs, lists, templates, tenants
from tidings.domain.campaigns import Campaign, Message, Settings, Words
from tidings.domain.templates import Content, Revision
from tidings.errors import Conflict, Invalid, NotFound

NOW = 1_750_000_000_000


class House:
    """A tenant and short ways to what these tests do over and over."""

    def __init__(self, db: Database, tenant_id: int) -> None:
        self.db = db
        self.tenant_id = tenant_id

    def words(self, body: str = "Hi", channel: str = "email") -> Words:
        fields = {"channel": channel, "format": "text", "subject": "Hi", "source": body, "html": "", "text": body}
        return Words(Content(id=0, tenant_id=self.tenant_id, links="[]", variables="[]", **fields), hash=f"{channel} {body}")

    async def campaign(self, *bodies: str, state: str = "draft", **settings: Any) -> Campaign:
        made = await self.db.write(campaigns.create, self.tenant_id, Settings(name="Spring", **settings), now=NOW)
        for body in bodies:
            await self.db.write(campaigns.add_message, self.tenant_id, made.id, self.words(body), now=NOW)
        if state != "draft":
            made = await self.db.write(campaigns.activate, self.tenant_id, made.id, now=NOW)
        return made

    async def messages(self, campaign: Campaign) -> list[Message]:
        return await self.db.read(campaigns.messages, self.tenant_id, campaign.id)

    async def order(self, campaign: Campaign) -> list[tuple[int, str]]:
        return [(message.position, message.source) for message in await self.messages(campaign)]

    async def contact(self, email: str = "ann@example.com") -> int:
        fields = contacts.Fields(email=email)
        return (await self.db.write(contacts.create, self.tenant_id, fields, now=NOW)).id

    async def walk(self, campaign: Campaign, *, planned: bool = True) -> int:
        """Somebody enrolled; with their first message waiting to be sent when `planned`."""
        contact_id = await self.contact()
        enrolled = await self.db.write(enrollments.enroll, self.tenant_id, campaign.id, contact_id, now=NOW)
        if planned:
            await self.db.write(enrollments.advance, self.tenant_id, campaign.id, limit=10, now=NOW)
        return enrolled.id

    async def waiting(self) -> list[tuple[Any, ...]]:
        return await self.db.read(_rows, self.tenant_id)


def _rows(tx: Tx, tenant_id: int) -> list[tuple[Any, ...]]:
    sql = "SELECT state, due_at, content_id FROM communications WHERE tenant_id = :tenant_id ORDER BY id"
    return [(state, due_at is not None and due_at < NOW + 36500 * DAY, said) for state, due_at, said in tx.rows(sql, tenant_id=tenant_id)]


@pytest.fixture
async def house(db: Database) -> House:
    return House(db, (await db.write(tenants.create, "acme", name="Acme", sender_email="hello@acme.test", now=NOW)).id)


def test_durations_are_read_and_written_in_the_largest_unit_that_fits():
    assert [durations.parse(text, "delay") for text in ("0s", "90m", "2h", "3d", " 45S ")] == [0, 90 * MINUTE, 2 * HOUR, 3 * DAY, 45_000]
    assert [durations.spell(length) for length in (0, 90 * MINUTE, 2 * HOUR, 180 * DAY, 45_000)] == ["0s", "90m", "2h", "180d", "45s"]


@pytest.mark.parametrize("text", ["", "5", "d", "-1d", "1.5h", "1w", "1d2h", "4000d", "9" * 13 + "s", "٣d"])
def test_what_is_no_duration_is_refused_naming_the_field(text: str):
    with pytest.raises(Invalid) as refused:
        durations.parse(text, "delay")
    assert list(refused.value.fields) == ["delay"]


async def test_a_new_campaign_is_a_draft_with_the_usual_settings(house: House):
    made = await house.campaign()
    assert (made.state, made.reenroll_after, made.stop_on_reply, made.track_opens, made.track_links) == ("draft", 180 * DAY, 1, 1, 1)
    assert made.activated_at is None
    assert await house.db.read(campaigns.get, house.tenant_id, made.id) == made


async def test_sender_and_reply_to_are_normalised(house: House):
    made = await house.campaign(sender_email="News@ACME.test", sender_name=" Acme News ", reply_to="Help@ACME.test")
    assert (made.sender_email, made.sender_name, made.reply_to) == ("News@acme.test", "Acme News", "Help@acme.test")


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"name": " "}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": "Spring\r\nBcc: all@example.com"}, "name"),
        ({"sender_email": "nobody"}, "sender"),
        ({"sender_name": "Acme"}, "sender"),
        ({"sender_email": "a@acme.test", "sender_name": "Acme\r\nBcc: x@example.com"}, "sender"),
        ({"reply_to": "nobody"}, "reply_to"),
    ],
)
async def test_wrong_settings_are_refused_naming_the_field(house: House, settings: dict[str, Any], field: str):
    with pytest.raises(Invalid) as refused:
        await house.db.write(campaigns.create, house.tenant_id, Settings(**{"name": "Spring", **settings}), now=NOW)
    assert list(refused.value.fields) == [field]
    made = await house.campaign()
    with pytest.raises(Invalid):
        await house.db.write(campaigns.update, house.tenant_id, made.id, lambda old: msgspec.structs.replace(old, **settings), now=NOW)
    assert await house.db.read(campaigns.get, house.tenant_id, made.id) == made


async def test_settings_change_while_it_is_active_and_not_when_it_is_archived(house: House):
    made = await house.campaign("one", state="active")
    changed = await house.db.write(
        campaigns.update,
        house.tenant_id,
        made.id,
        lambda old: msgspec.structs.replace(old, name="Summer", stop_on_reply=False),
        now=NOW + 1,
    )
    assert (changed.name, changed.stop_on_reply, changed.state, changed.updated_at) == ("Summer", 0, "active", NOW + 1)
    await house.db.write(campaigns.archive, house.tenant_id, made.id, now=NOW)
    with pytest.raises(Conflict, match="An archived campaign cannot be changed"):
        await house.db.write(campaigns.update, house.tenant_id, made.id, lambda old: old, now=NOW)


async def test_changes_of_different_settings_at_once_all_hold(house: House):
    made = await house.campaign()
    changes: list[dict[str, Any]] = [{"name": "Summer"}, {"stop_on_reply": False}, {"track_opens": False}, {"reply_to": "a@acme.test"}]
    await asyncio.gather(
        *(
            house.db.write(campaigns.update, house.tenant_id, made.id, lambda old, c=change: msgspec.structs.replace(old, **c), now=NOW)
            for change in changes
        )
    )
    after = await house.db.read(campaigns.get, house.tenant_id, made.id)
    assert (after.name, after.stop_on_reply, after.track_opens, after.reply_to) == ("Summer", 0, 0, "a@acme.test")


async def test_pages_are_newest_first_and_filtered_by_state(house: House):
    drafts = [await house.campaign() for _ in range(3)]
    active = await house.campaign("one", state="active")
    found = await house.db.read(campaigns.page, house.tenant_id, page=1, limit=2)
    assert ([row.id for row in found.rows], found.total) == ([active.id, drafts[2].id], 4)
    assert [row.id for row in (await house.db.read(campaigns.page, house.tenant_id, state="active")).rows] == [active.id]
    assert (await house.db.read(campaigns.page, house.tenant_id, name="Autumn")).total == 0


async def test_a_campaign_without_messages_is_not_activated(house: House):
    made = await house.campaign()
    with pytest.raises(Conflict, match="at least one message"):
        await house.db.write(campaigns.activate, house.tenant_id, made.id, now=NOW)


async def test_activating_wakes_the_planner(house: House):
    made = await house.campaign("one")
    bell = house.db.bell("plan")
    active = await house.db.write(campaigns.activate, house.tenant_id, made.id, now=NOW + 7)
    assert (active.state, active.activated_at) == ("active", NOW + 7)
    assert bell.is_set()


async def test_only_the_drawn_ways_lead_from_state_to_state(house: House):
    allowed = {
        ("draft", "activate"), ("draft", "archive"), ("active", "pause"), ("active", "archive"), ("paused", "activate"), ("paused", "archive"),
    }  # fmt: skip
    units = {"activate": campaigns.activate, "pause": campaigns.pause, "archive": campaigns.archive}
    ways: dict[str, list[str]] = {"draft": [], "active": ["activate"], "paused": ["activate", "pause"], "archived": ["archive"]}
    for state, steps in ways.items():
        for verb, unit in units.items():
            made = await house.campaign("one")
            for step in steps:
                await house.db.write(units[step], house.tenant_id, made.id, now=NOW)
            if (state, verb) in allowed:
                await house.db.write(unit, house.tenant_id, made.id, now=NOW)
            else:
                with pytest.raises(Conflict, match=state):
                    await house.db.write(unit, house.tenant_id, made.id, now=NOW)


async def test_of_two_who_pause_at_once_one_is_told_that_it_is_paused(house: House):
    made = await house.campaign("one", state="active")
    tries = [house.db.write(campaigns.pause, house.tenant_id, made.id, now=NOW) for _ in range(2)]
    results = await asyncio.gather(*tries, return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["Campaign", "Conflict"]


async def test_a_pause_sets_aside_what_waits_and_going_on_makes_it_due(house: House):
    made = await house.campaign("one", state="active")
    await house.walk(made)
    assert [row[:2] for row in await house.waiting()] == [("pending", True)]
    await house.db.write(campaigns.pause, house.tenant_id, made.id, now=NOW + 1)
    assert [row[:2] for row in await house.waiting()] == [("pending", False)]
    assert await house.db.write(enrollments.advance, house.tenant_id, made.id, limit=10, now=NOW + DAY) == 0
    bell = house.db.bell("due")
    again = await house.db.write(campaigns.activate, house.tenant_id, made.id, now=NOW + 2)
    assert again.activated_at == NOW
    assert [row[:2] for row in await house.waiting()] == [("pending", True)]
    assert bell.is_set()


async def test_archiving_cancels_what_waits(house: House):
    made = await house.campaign("one", state="active")
    await house.walk(made)
    await house.db.write(campaigns.archive, house.tenant_id, made.id, now=NOW + 1)
    assert [row[:2] for row in await house.waiting()] == [("canceled", False)]


async def test_figures_count_messages_and_enrollments(house: House):
    made = await house.campaign("one", "two", state="active")
    empty = await house.campaign()
    await house.walk(made)
    figures = await house.db.read(campaigns.figures, house.tenant_id, [made.id, empty.id])
    assert figures == {made.id: campaigns.Figures(2, 1, 0), empty.id: campaigns.Figures(0, 0, 0)}
    assert await house.db.read(campaigns.figures, house.tenant_id, []) == {}


async def test_messages_are_added_at_the_end_in_whatever_state_but_archived(house: House):
    made = await house.campaign("one", "two", state="active")
    added = await house.db.write(
        campaigns.add_message, house.tenant_id, made.id, house.words("three", "sms"), name="Last", delay=3 * DAY, channel="sms", now=NOW
    )
    assert (added.position, added.channel, added.delay, added.name) == (3, "sms", 3 * DAY, "Last")
    await house.db.write(campaigns.pause, house.tenant_id, made.id, now=NOW)
    await house.db.write(campaigns.add_message, house.tenant_id, made.id, house.words("four"), now=NOW)
    assert await house.order(made) == [(1, "one"), (2, "two"), (3, "three"), (4, "four")]
    await house.db.write(campaigns.archive, house.tenant_id, made.id, now=NOW)
    with pytest.raises(Conflict):
        await house.db.write(campaigns.add_message, house.tenant_id, made.id, house.words("five"), now=NOW)


async def test_messages_added_at_once_get_places_of_their_own(house: House):
    made = await house.campaign()
    await asyncio.gather(*(house.db.write(campaigns.add_message, house.tenant_id, made.id, house.words(str(n)), now=NOW) for n in range(8)))
    assert [position for position, _ in await house.order(made)] == list(range(1, 9))


async def test_a_message_says_the_version_its_template_had_until_the_template_is_named_again(house: House):
    words = house.words("first")
    assert words.content is not None
    template = await house.db.write(templates.create, house.tenant_id, "Welcome", Revision(words.content, words.hash), now=NOW)
    made = await house.campaign()
    message = await house.db.write(campaigns.add_message, house.tenant_id, made.id, Words(template_id=template.id), now=NOW)
    assert (message.source, message.template_id, message.template_version) == ("first", template.id, 1)
    newer = house.words("second")
    assert newer.content is not None
    await house.db.write(templates.add_version, template, Revision(newer.content, newer.hash), now=NOW)
    assert (await house.db.read(campaigns.message, house.tenant_id, made.id, message.id)).source == "first"
    again = await house.db.write(
        campaigns.update_message, house.tenant_id, made.id, message.id, words=Words(template_id=template.id), now=NOW
    )
    assert (again.source, again.template_version) == ("second", 2)
    own = await house.db.write(campaigns.update_message, house.tenant_id, made.id, message.id, words=house.words("own"), now=NOW)
    assert (own.source, own.template_id, own.template_version) == ("own", None, None)


async def test_a_template_of_another_channel_another_tenant_or_none_is_refused(house: House):
    rival = House(house.db, (await house.db.write(tenants.create, "rival", name="", sender_email="a@rival.test", now=NOW)).id)
    made = await house.campaign("one")
    theirs, texted = rival.words(), house.words("text", "sms")
    assert theirs.content is not None
    assert texted.content is not None
    foreign = await house.db.write(templates.create, rival.tenant_id, "Theirs", Revision(theirs.content, "h"), now=NOW)
    sms = await house.db.write(templates.create, house.tenant_id, "Text", Revision(texted.content, texted.hash), now=NOW)
    [message] = await house.messages(made)
    for template_id in (foreign.id, 999, sms.id):
        with pytest.raises(Invalid) as refused:
            await house.db.write(
                campaigns.update_message, house.tenant_id, made.id, message.id, words=Words(template_id=template_id), now=NOW
            )
        assert list(refused.value.fields) == ["template_id"]


async def test_messages_move_and_are_taken_out_while_nobody_is_under_way(house: House):
    made = await house.campaign("one", "two", "three", "four")
    first, _, third, _ = await house.messages(made)
    await house.db.write(campaigns.update_message, house.tenant_id, made.id, third.id, position=1, now=NOW)
    assert await house.order(made) == [(1, "three"), (2, "one"), (3, "two"), (4, "four")]
    await house.db.write(campaigns.update_message, house.tenant_id, made.id, third.id, position=99, now=NOW)
    assert await house.order(made) == [(1, "one"), (2, "two"), (3, "four"), (4, "three")]
    await house.db.write(campaigns.delete_message, house.tenant_id, made.id, first.id, now=NOW)
    assert await house.order(made) == [(1, "two"), (2, "four"), (3, "three")]
    with pytest.raises(NotFound):
        await house.db.write(campaigns.delete_message, house.tenant_id, made.id, first.id, now=NOW)
    with pytest.raises(Invalid):
        await house.db.write(campaigns.update_message, house.tenant_id, made.id, third.id, position=0, now=NOW)


async def test_messages_keep_their_places_while_the_campaign_is_active_or_anybody_is_under_way(house: House):
    made = await house.campaign("one", "two", state="active")
    first, second = await house.messages(made)
    with pytest.raises(Conflict):
        await house.db.write(campaigns.delete_message, house.tenant_id, made.id, second.id, now=NOW)
    with pytest.raises(Conflict):
        await house.db.write(campaigns.update_message, house.tenant_id, made.id, second.id, position=1, now=NOW)
    await house.walk(made)
    await house.db.write(campaigns.pause, house.tenant_id, made.id, now=NOW)
    with pytest.raises(Conflict, match="under way"):
        await house.db.write(campaigns.delete_message, house.tenant_id, made.id, first.id, now=NOW)
    with pytest.raises(Conflict, match="under way"):
        await house.db.write(campaigns.update_message, house.tenant_id, made.id, second.id, position=1, name="moved", now=NOW)
    assert await house.order(made) == [(1, "one"), (2, "two")]
    assert [message.name for message in await house.messages(made)] == ["", ""]


async def test_what_a_pause_has_set_aside_says_the_new_words(house: House):
    made = await house.campaign("tpyo", state="active")
    await house.walk(made)
    await house.db.write(campaigns.pause, house.tenant_id, made.id, now=NOW)
    [message] = await house.messages(made)
    mended = await house.db.write(campaigns.update_message, house.tenant_id, made.id, message.id, words=house.words("typo"), now=NOW)
    assert mended.content_id != message.content_id
    assert [row[2] for row in await house.waiting()] == [mended.content_id]


async def test_a_new_delay_and_name_leave_the_words_alone(house: House):
    made = await house.campaign("one")
    [message] = await house.messages(made)
    changed = await house.db.write(campaigns.update_message, house.tenant_id, made.id, message.id, delay=HOUR, name="Start", now=NOW + 1)
    assert changed == msgspec.structs.replace(message, delay=HOUR, name="Start", updated_at=NOW + 1)


async def test_enrolling_many_is_a_job_that_says_whom(house: House):
    made = await house.campaign("one", state="active")
    ann, bob = await house.contact(), await house.contact("bob@example.com")
    listed = await house.db.write(lists.create, house.tenant_id, "Friends", now=NOW)
    await house.db.write(lists.add, house.tenant_id, listed.id, [bob], now=NOW)
    asked: list[dict[str, Any]] = [{}, {"list_id": listed.id}, {"contact_ids": [bob, ann, bob]}]
    made_jobs = [await house.db.write(campaigns.enroll_later, house.tenant_id, made.id, **who, now=NOW) for who in asked]
    assert [(job.kind, job.state, job.total) for job in made_jobs] == [("enroll", "waiting", total) for total in (0, 1, 2)]
    assert [msgspec.json.decode(job.params) for job in made_jobs] == [
        {"campaign_id": made.id, "all": True},
        {"campaign_id": made.id, "list_id": listed.id},
        {"campaign_id": made.id, "contact_ids": sorted([ann, bob])},
    ]
    assert (await house.db.read(jobs.page, house.tenant_id, limit=10, page=1)).total == 3


async def test_enrolling_many_into_what_takes_nobody_makes_no_job(house: House):
    draft = await house.campaign("one")
    active = await house.campaign("one", state="active")
    with pytest.raises(Conflict, match="draft, not active"):
        await house.db.write(campaigns.enroll_later, house.tenant_id, draft.id, now=NOW)
    with pytest.raises(NotFound, match="List"):
        await house.db.write(campaigns.enroll_later, house.tenant_id, active.id, list_id=99, now=NOW)
    with pytest.raises(Invalid, match="Unknown contacts: cont_"):
        await house.db.write(campaigns.enroll_later, house.tenant_id, active.id, contact_ids=[99], now=NOW)
    assert (await house.db.read(jobs.page, house.tenant_id, limit=10, page=1)).total == 0


async def test_a_campaign_is_nobody_elses(house: House):
    rival = (await house.db.write(tenants.create, "rival", name="", sender_email="a@rival.test", now=NOW)).id
    made = await house.campaign("one", state="active")
    [message] = await house.messages(made)
    assert await house.db.read(campaigns.messages, rival, made.id) == []
    assert (await house.db.read(campaigns.page, rival)).total == 0
    tries = [
        (campaigns.pause, {}), (campaigns.archive, {}), (campaigns.activate, {}), (campaigns.enroll_later, {}),
        (campaigns.update, {"alter": lambda old: old}), (campaigns.add_message, {"words": house.words()}),
        (campaigns.update_message, {"message_id": message.id, "name": "x"}), (campaigns.delete_message, {"message_id": message.id}),
    ]  # fmt: skip
    for unit, more in tries:
        with pytest.raises(NotFound):
            await house.db.write(unit, rival, made.id, **more, now=NOW)
    assert await house.db.read(campaigns.get, house.tenant_id, made.id) == made
