"""Reports equal a plain recount of communications and interactions, whatever was done to them."""

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any, Literal
from zoneinfo import ZoneInfo

import pytest

from tests.analytics.test_figures import Doings
from tests.support import recount
from tests.support.walk import House, minutes
from tidings.analytics.reports import domains, funnel, groups, links, series
from tidings.analytics.reports.calendar import Interval, Range
from tidings.analytics.reports.groups import EVER
from tidings.clock import DAY, HOUR
from tidings.database import Database, Tx
from tidings.domain import campaigns, communications, counters, enrollments, events
from tidings.domain.counters import Counts, Tally
from tidings.errors import Malformed, NotFound
from tidings.rendering.template import content_hash

STEPS = 150
SHOP, BLOG = "https://shop.example/", "https://blog.example/?a=1&b=2"
TWICE = f'<p><a href="{SHOP}">a</a> <a href="{BLOG.replace("&", "&amp;")}">b</a> <a href="{SHOP}">c</a></p>'
ONCE = f'<p><a href="{SHOP}">a</a></p>'
RARE = ("complained", "unsubscribed", "replied")


class Lively(Doings):
    """The same with answers of all kinds, by people and machines, and messages that are rewritten and deleted meanwhile."""

    async def settle_in(self) -> None:
        await super().settle_in()
        self.campaign = await self.house.campaign(("email", 0), ("email", minutes(20)), ("sms", minutes(40)))
        self.messages = [message.id for message in await self.house.db.read(campaigns.messages, self.house.tenant_id, self.campaign)]
        await self.reword(self.messages[0], TWICE)

    async def enroll(self) -> None:
        for _ in range(3):
            await super().enroll()

    async def reword(self, message_id: int, body: str) -> None:
        content = self.house.content(body=body)
        words = campaigns.Words(content=content, hash=content_hash(content))
        await self.write(campaigns.update_message, self.house.tenant_id, self.campaign, message_id, words=words, now=self.house.now)

    async def track(self) -> None:
        for _ in range(4):
            kinds: list[Literal["opened", "clicked"]] = ["opened", "clicked", "clicked"]
            kind, bot = self.dice.choice(kinds), self.dice.random() < 0.3
            chosen = await self._one()
            found = await self.house.db.read(_links_of, self.house.tenant_id, chosen)
            hit = communications.Hit(
                self.house.tenant_id,
                chosen,
                kind,
                self.house.now,
                self.dice.randrange(found) if found and kind == "clicked" else None,
                bot=bot,
            )
            await self.write(communications.track, [hit])
        await self.write(_answer, self.house.tenant_id, await self._one(), self.dice.choice(RARE), self.house.now)

    async def walk(self) -> None:
        for step in range(STEPS):
            await self.step()
            if step == STEPS // 2:
                await self.reword(self.messages[0], ONCE)
                whose = (self.house.tenant_id, self.campaign)
                await self.write(campaigns.pause, *whose, now=self.house.now)
                await self.write(enrollments.complete_of_campaign, *whose, now=self.house.now)
                await self.write(campaigns.delete_message, *whose, self.messages[1], now=self.house.now)
                await self.write(campaigns.activate, *whose, now=self.house.now)


def _links_of(tx: Tx, tenant_id: int, communication_id: int) -> int:
    """How many links a communication has."""
    found = tx.value(
        "SELECT k.links FROM communications c JOIN contents k ON k.tenant_id = c.tenant_id AND k.id = c.content_id"
        " WHERE c.tenant_id = :tenant_id AND c.id = :id",
        tenant_id=tenant_id,
        id=communication_id,
    )
    return 0 if found is None else found.count("http")


def _answer(tx: Tx, tenant_id: int, communication_id: int, kind: Any, now: int) -> None:
    row = tx.row(
        "SELECT tenant_id, id, contact_id, campaign_id, message_id, template_id, channel, type, sent_at FROM communications"
        " WHERE tenant_id = :tenant_id AND id = :id AND sent_at IS NOT NULL",
        tenant_id=tenant_id,
        id=communication_id,
    )
    if row is not None:
        events.append(tx, [events.Event(events.Subject(*row), kind, now)])


class Ledger:
    """Everything that is known of a tenant, one communication at a time, and counted as plainly as it can be said."""

    def __init__(self, tx: Tx, tenant_id: int) -> None:
        self.rows = tx.rows(
            "SELECT c.id, c.campaign_id, c.message_id, c.template_id, c.type, c.channel, c.state, c.address, c.created_at, c.sent_at, c.delivered_at,"
            " c.content_id, k.links FROM communications c LEFT JOIN contents k ON k.tenant_id = c.tenant_id AND k.id = c.content_id WHERE c.tenant_id = :t",
            t=tenant_id,
        )
        self.things: defaultdict[int, list[tuple[str, int, int, int | None]]] = defaultdict(list)
        for who, *thing in tx.rows(
            "SELECT communication_id, kind, at, bot, link_index FROM interactions WHERE tenant_id = :t", t=tenant_id
        ):
            self.things[who].append((thing[0], thing[1], thing[2], thing[3]))

    def counts(self, rows: list[tuple[Any, ...]]) -> dict[str, int]:
        """The funnel of some of them."""
        found = Counts()
        for row in rows:
            kinds = Counter(kind for kind, *_ in self.things[row[0]])
            human = Counter(kind for kind, _, bot, _ in self.things[row[0]] if not bot)
            found.sent += row[9] is not None
            found.delivered += row[10] is not None
            found.failed += row[6] in {"failed", "suppressed"}
            found.canceled += row[6] == "canceled"
            found.bounced += row[6] == "bounced"
            found.opened, found.opens = found.opened + (kinds["opened"] > 0), found.opens + kinds["opened"]
            found.clicked, found.clicks = found.clicked + (kinds["clicked"] > 0), found.clicks + kinds["clicked"]
            found.human_opened, found.human_opens = found.human_opened + (human["opened"] > 0), found.human_opens + human["opened"]
            found.human_clicked, found.human_clicks = found.human_clicked + (human["clicked"] > 0), found.human_clicks + human["clicked"]
            for name in RARE:
                setattr(found, name, getattr(found, name) + kinds[name])
        found.accepted = len(rows)
        return spoken(found)

    def waiting(self, rows: list[tuple[Any, ...]]) -> int:
        return sum(row[6] in {"scheduled", "pending", "in_process", "unknown"} for row in rows)

    def within(self, range_: Range) -> list[tuple[Any, ...]]:
        return [row for row in self.rows if range_.since <= (row[8] if row[9] is None else row[9]) // HOUR * HOUR < range_.until]


def spoken(counts: Counts) -> dict[str, int]:
    """Counts of communications alone."""
    return {name: getattr(counts, name) for name in Counts.__struct_fields__ if name not in {"enrolled", "completed"}}


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_was_done_every_report_is_a_recount(db: Database, seed: int):
    house = await House(db).settle_in()
    doings = Lively(house, seed)
    await doings.settle_in()
    await doings.walk()
    tenant = house.tenant_id
    await db.read(recount.check, tenant)
    ledger = await db.read(lambda tx: Ledger(tx, tenant))
    mine = [row for row in ledger.rows if row[1] == doings.campaign]

    await check_campaign(db, doings, ledger, mine)
    await check_links(db, doings, ledger, mine)
    await check_groups(db, doings, ledger)
    for interval in ("hour", "day"):
        for zone in ("UTC", "Asia/Kathmandu", "Europe/Zurich"):
            await check_series(db, house, ledger, zone, interval)
    await db.write(campaigns.archive, tenant, doings.campaign, now=house.now)
    await db.write(enrollments.complete_of_campaign, tenant, doings.campaign, now=house.now)
    again = await db.read(lambda tx: Ledger(tx, tenant))
    await check_campaign(db, doings, again, [row for row in again.rows if row[1] == doings.campaign])


async def check_campaign(db: Database, doings: Lively, ledger: Ledger, mine: list[tuple[Any, ...]]) -> None:
    report = await db.read(funnel.campaign, doings.house.tenant_id, doings.campaign)
    assert spoken(report.totals) == ledger.counts(mine)
    assert funnel.waiting(report.totals) == ledger.waiting(mine)
    told = {message: ledger.counts([row for row in mine if row[2] == message]) for message in doings.messages}
    # the second was deleted: it is there for what it sent, if it did
    assert {step.id: spoken(step.counts) for step in report.steps} == {
        message: counts for message, counts in told.items() if message != doings.messages[1] or any(counts.values())
    }
    assert [step.id for step in report.steps if step.deleted] == [
        message for message in doings.messages[1:2] if any(told[message].values())
    ]
    assert report.totals.enrolled == doings.comers
    sendings = sorted(row[9] for row in mine if row[9] is not None)
    assert (report.first_sent_at, report.last_sent_at) == ((sendings[0], sendings[-1]) if sendings else (None, None))
    for step in report.steps:
        assert all(rate.rate is None or 0 <= rate.rate <= 1 for rate in funnel.rates(step.counts).values())


async def check_links(db: Database, doings: Lively, ledger: Ledger, mine: list[tuple[Any, ...]]) -> None:
    report = await db.read(links.links, doings.house.tenant_id, doings.campaign)
    clicks: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for row in mine:
        targets = [SHOP, BLOG, SHOP] if row[12].count("http") == 3 else [SHOP]
        for kind, _, bot, index in ledger.things[row[0]]:
            if kind == "clicked" and index is not None:
                clicks[targets[index]].append((row[0], bot))
    # a person whose communication was deleted took the clicks along; what is left is the same link, in two contents and three places
    assert {link.url: astuple(link.counts) for link in report.whole} == {
        url: counted(clicks[url]) for url in (SHOP, BLOG) if url in {SHOP, *clicks}
    } | {link.url: (0, 0, 0, 0) for link in report.whole if link.url not in clicks}
    assert {link.url: astuple(link.counts) for link in report.by_message[doings.messages[0]]} == {
        link.url: astuple(link.counts) for link in report.whole
    }
    assert sum(place.counts.clicks for link in report.whole for place in link.places) == sum(map(len, clicks.values()))


def astuple(counts: links.Clicks) -> tuple[int, int, int, int]:
    return counts.clicks, counts.clicked, counts.human_clicks, counts.human_clicked


def counted(hits: list[tuple[int, int]]) -> tuple[int, int, int, int]:
    human = [who for who, bot in hits if not bot]
    return len(hits), len({who for who, _ in hits}), len(human), len(set(human))


async def check_groups(db: Database, doings: Lively, ledger: Ledger) -> None:
    tenant = doings.house.tenant_id
    marks = sorted(row[8] for row in ledger.rows)
    for within in (EVER, *(groups.widened(Range(*sorted((a, a + doings.dice.choice([HOUR, DAY]))))) for a in doings.dice.sample(marks, 4))):
        for campaign in (None, doings.campaign):
            asked = groups.Asked(within=within, campaign_id=campaign)
            rows = [row for row in ledger.within(within) if campaign is None or row[1] == campaign]
            found = await db.read(groups.by_template, tenant, asked)
            assert {each.id: outcome(each.counts) for each in found if any(outcome(each.counts).values())} == split(ledger, rows, _template)
            by_type = await db.read(groups.by_type, tenant, asked)
            assert {(each.type, each.channel): outcome(each.counts) for each in by_type if any(outcome(each.counts).values())} == split(
                ledger, rows, _type
            )
            told = await db.read(domains.by_domain, tenant, asked, limit=100)
            mail = [row for row in rows if row[5] == "email" and (row[9] is not None or row[6] in {"failed", "suppressed"})]
            assert {each.domain: spoken_of(each) for each in told} == {
                domain: only(ledger.counts([row for row in mail if row[7].endswith(f"@{domain}")]), ledger, mail, domain)
                for domain in {row[7].partition("@")[2] for row in mail}
            }


def _template(row: tuple[Any, ...]) -> int:
    return row[3] or 0


def _type(row: tuple[Any, ...]) -> tuple[str, str]:
    return row[4], row[5]


def outcome(counts: Counts) -> dict[str, int]:
    """What became of communications: within a range their acceptance is another matter."""
    return {name: count for name, count in spoken(counts).items() if name != "accepted"}


def split(ledger: Ledger, rows: list[tuple[Any, ...]], key: Callable[[tuple[Any, ...]], Any]) -> dict[Any, dict[str, int]]:
    found = {name: ledger.counts([row for row in rows if key(row) == name]) for name in {key(row) for row in rows}}
    told = {name: {kind: count for kind, count in counts.items() if kind != "accepted"} for name, counts in found.items()}
    return {name: counts for name, counts in told.items() if any(counts.values())}


COLUMNS = ("sent", "delivered", "opened", "human_opened", "clicked", "human_clicked", "bounced", "failed", *RARE)


def spoken_of(each: domains.Domain) -> dict[str, int]:
    return {name: getattr(each, name) for name in COLUMNS}


def only(counts: dict[str, int], ledger: Ledger, mail: list[tuple[Any, ...]], domain: str) -> dict[str, int]:
    """What is told of a domain: of what went out, and how much failed."""
    sent = ledger.counts([row for row in mail if row[9] is not None and row[7].endswith(f"@{domain}")])
    return {name: counts[name] if name == "failed" else sent[name] for name in COLUMNS}


async def check_series(db: Database, house: House, ledger: Ledger, zone: str, interval: Interval) -> None:
    there = ZoneInfo(zone)
    within = Range(house.now - 30 * DAY, house.now + 1)
    rows, total = await db.read(series.series, house.tenant_id, series.Asked(), within=within, zone=there, interval=interval)
    every = [(kind, at, bot) for row in ledger.rows for kind, at, bot, _ in ledger.things[row[0]] if kind in series.KINDS]
    for slice_, moment in rows:
        inside = [thing for thing in every if slice_.since <= thing[1] < slice_.until]
        kinds = Counter(kind for kind, _, _ in inside)
        assert {name: getattr(moment, name) for name in series.KINDS.values()} == {name: kinds[kind] for kind, name in series.KINDS.items()}
        human = Counter(kind for kind, _, bot in inside if not bot)
        assert (moment.human_opens, moment.human_clicks) == (human["opened"], human["clicked"])
    assert total.sent == sum(moment.sent for _, moment in rows) > 0


async def test_a_campaign_of_nothing_is_a_report_of_zeros(db: Database):
    house = await House(db).settle_in()
    campaign = await house.campaign(("email", 0), activate=False)
    report = await db.read(funnel.campaign, house.tenant_id, campaign)
    assert report.totals == Counts()
    assert [(step.position, step.counts) for step in report.steps] == [(1, Counts())]
    assert all(rate.rate is None for rate in funnel.rates(report.totals).values())
    assert (report.first_sent_at, report.last_sent_at) == (None, None)
    assert await db.read(domains.by_domain, house.tenant_id, groups.Asked(campaign_id=campaign), limit=5) == []


async def test_what_is_anothers_is_in_no_report(db: Database):
    house, rival = await House(db).settle_in(), await House(db).settle_in("rival")
    campaign = await house.campaign(("email", 0))
    await house.enroll(campaign, await house.contact("ann@example.com"))
    await house.dispatch()
    assert (await db.read(funnel.campaign, house.tenant_id, campaign)).totals.sent == 1
    for report in (funnel.campaign, links.links):
        with pytest.raises(NotFound):
            await db.read(report, rival.tenant_id, campaign)
    for report in (groups.by_template, groups.by_type):
        assert await db.read(report, rival.tenant_id, groups.Asked()) == []
        with pytest.raises(NotFound):
            await db.read(report, rival.tenant_id, groups.Asked(campaign_id=campaign))
    assert await db.read(domains.by_domain, rival.tenant_id, groups.Asked(), limit=5) == []
    within = Range(house.now - DAY, house.now + DAY)
    _, total = await db.read(series.series, rival.tenant_id, series.Asked(), within=within, zone=ZoneInfo("UTC"), interval="day")
    assert total == series.Moment()
    for asked in (series.Asked(campaign_id=campaign), series.Asked(message_id=1)):
        with pytest.raises(NotFound):
            await db.read(series.series, rival.tenant_id, asked, within=within, zone=ZoneInfo("UTC"), interval="day")


async def test_domains_beyond_the_limit_are_told_as_one_and_too_many_communications_are_refused_unread(
    db: Database, monkeypatch: pytest.MonkeyPatch
):
    house = await House(db).settle_in()
    for address in ("a@One.example", "b@one.example", "c@two.example", "d@three.example"):
        await house.accept(address)
    await house.dispatch()
    found = await db.read(domains.by_domain, house.tenant_id, groups.Asked(), limit=1)
    assert [(each.domain, each.domains, each.sent) for each in found] == [("one.example", 1, 2), ("", 2, 2)]
    monkeypatch.setattr(domains, "MOST_READ", 3)
    with pytest.raises(
        Malformed, match="has 4 communications, and a report by domain reads at most 3: narrow the range, or name a campaign"
    ):
        await db.read(domains.by_domain, house.tenant_id, groups.Asked(), limit=1)


async def test_a_campaign_of_texts_tells_what_carriers_and_readers_said(db: Database):
    house = await House(db).settle_in()
    campaign = await house.campaign(("sms", 0))
    await house.enroll(campaign, *[await house.contact(phone=f"+4179123000{number}") for number in range(3)])
    await house.dispatch()
    rows = await house.rows()
    for row, kind in zip(rows, ("delivered", "delivered", "bounced"), strict=True):
        await db.write(_receipt, house.tenant_id, row.id, kind, house.now)
    await db.write(_answer, house.tenant_id, rows[0].id, "replied", house.now)
    report = await db.read(funnel.campaign, house.tenant_id, campaign)
    counts = report.steps[0].counts
    assert (report.steps[0].channel, counts.sent, counts.delivered, counts.bounced, counts.replied, counts.opened) == ("sms", 3, 2, 1, 1, 0)
    assert await db.read(domains.by_domain, house.tenant_id, groups.Asked(campaign_id=campaign), limit=5) == []


def _receipt(tx: Tx, tenant_id: int, communication_id: int, kind: Any, now: int) -> None:
    tally = Tally()
    communications.receive(tx, tenant_id, communication_id, communications.Receipt(kind=kind, at=now, code="x"), tally, now=now)
    counters.fold(tx, tally)


async def test_domains_are_read_from_the_hours_that_are_asked_for_by_their_indexes(db: Database, monkeypatch: pytest.MonkeyPatch):
    house = await House(db).settle_in()
    await house.accept()
    await db.write(_mails, house.tenant_id)
    await db.write(counters.fold, _counted(house.tenant_id))
    await db.refresh()
    plans: list[str] = []

    def explained(tx: Tx, record: type[Any], sql: Any, **params: Any) -> list[Any]:
        explain: Any = "EXPLAIN QUERY PLAN " if db.kind == "sqlite" else "EXPLAIN "
        plans.append("\n".join(str(row) for row in tx.rows(explain + sql, **params)))
        return []

    monkeypatch.setattr(Tx, "all", explained)
    await db.read(domains.by_domain, house.tenant_id, groups.Asked(within=Range(HOUR, 3 * HOUR)), limit=5)
    (plan,) = plans
    assert "communications_sent" in plan
    assert "Seq Scan on communications" not in plan
    assert "SCAN c" not in plan


def _counted(tenant_id: int) -> Tally:
    tally = Tally()
    tally.at(counters.Bucket(tenant_id, HOUR, "email")).sent = 60
    return tally


def _mails(tx: Tx, tenant_id: int) -> None:
    """A few thousand mails a minute apart."""
    tx.run(
        "INSERT INTO communications (tenant_id, channel, state, lane, contact_id, content_id, type, address, track_opens, track_links, sent_at, created_at,"
        " updated_at) SELECT :tenant_id, 'email', 'sent', 0, 1, 1, 'OFFERTE', 'a@example.com', 1, 1, i * 60000, i * 60000, 1 FROM :rows(i bigint) r",
        tenant_id=tenant_id,
        rows=[(i,) for i in range(8000)],
    )
