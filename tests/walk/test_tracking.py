"""Opens and clicks: every one recorded, communications counted once, totals equal to a recount."""

import random

from tests.support.walk import House
from tidings.domain import communications
from tidings.domain.communications import Hit

LINKS = '<p><a href="https://example.org/a">A</a> <a href="https://example.org/b?x=1&amp;y=2">B</a></p>'


async def test_opens_and_clicks_are_recorded_and_a_click_is_an_open_too(house: House) -> None:
    made = await house.accept(content=house.content(body=LINKS))
    await house.dispatch()
    at = house.now
    hits = [
        Hit(house.tenant_id, made.id, "opened", at + 5, user_agent="Mozilla/5.0", ip="192.0.2.1"),
        Hit(house.tenant_id, made.id, "clicked", at + 9, link_index=1),
        Hit(house.tenant_id, made.id, "clicked", at + 12, link_index=1),
        Hit(house.tenant_id, 999, "opened", at),
    ]
    await house.db.write(communications.track, hits)
    (row,) = await house.rows()
    assert (row.open_count, row.opened_at, row.click_count, row.clicked_at) == (3, at + 5, 2, at + 9)
    counts = await house.counts()
    assert (counts.opens, counts.opened, counts.clicks, counts.clicked) == (3, 1, 2, 1)
    assert await house.db.read(communications.followed, house.tenant_id, [made.id, 999]) == {made.id: [(1, 2, at + 9)]}


async def test_a_link_leads_where_the_content_said_and_nowhere_else(house: House) -> None:
    made = await house.accept(content=house.content(body=LINKS))
    assert await house.db.read(communications.link_target, house.tenant_id, made.id, 0) == "https://example.org/a"
    for index in (-1, 2, 10**9):
        assert await house.db.read(communications.link_target, house.tenant_id, made.id, index) is None
    assert await house.db.read(communications.link_target, house.tenant_id + 1, made.id, 0) is None


async def test_counters_equal_a_recount_after_any_mix_of_hits(house: House) -> None:
    chance = random.Random(7)
    ids = [(await house.accept(f"p{number}@example.com", content=house.content(body=LINKS))).id for number in range(12)]
    await house.dispatch()
    for _ in range(15):
        batch = [
            Hit(
                house.tenant_id,
                chance.choice(ids),
                chance.choice(("opened", "clicked")),
                house.now + chance.randrange(9**6),
                link_index=chance.randrange(2),
            )
            for _ in range(chance.randrange(1, 12))
        ]
        await house.db.write(communications.track, batch)
    counts = await house.counts()
    rows = await house.rows()
    assert counts.opens == sum(row.open_count for row in rows)
    assert counts.clicks == sum(row.click_count for row in rows)
    assert counts.opened == sum(row.open_count > 0 for row in rows)
    assert counts.clicked == sum(row.click_count > 0 for row in rows)
    recount = await house.db.read(
        lambda tx: tx.rows(
            "SELECT kind, COUNT(*), COUNT(DISTINCT communication_id) FROM interactions WHERE tenant_id = :t GROUP BY kind",
            t=house.tenant_id,
        )
    )
    assert {kind: (every, once) for kind, every, once in recount} == {
        "sent": (12, 12),
        "opened": (counts.opens, counts.opened),
        "clicked": (counts.clicks, counts.clicked),
    }
