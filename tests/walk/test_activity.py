"""What is counted by when it happened, and by link: with each interaction, and for what had happened before that was kept."""

import random
from typing import LiteralString, cast

from tests.support.recount import check, clicks, happened
from tests.support.walk import House, minutes
from tidings.database import Tx
from tidings.database.migrate import migrations
from tidings.domain import communications
from tidings.domain.communications import Hit


async def test_a_link_is_counted_once_for_each_communication_and_every_time(house: House) -> None:
    (first, second) = await _sent(house)
    at = house.now + minutes(20)
    hits = [
        Hit(house.tenant_id, first, "clicked", at, link_index=0, bot=True),
        Hit(house.tenant_id, first, "clicked", at + 1, link_index=0),
        Hit(house.tenant_id, second, "clicked", at + 2, link_index=0),
        Hit(house.tenant_id, first, "clicked", at + 3, link_index=1, bot=True),
    ]
    await house.db.write(communications.track, hits)
    await house.db.write(communications.track, [Hit(house.tenant_id, first, "clicked", at + minutes(15), link_index=0)])
    assert sorted((await house.db.read(clicks, house.tenant_id)).values()) == [(1, 1, 0, 0), (4, 2, 3, 2)]
    kinds = {(key[4], count) for key, count in (await house.db.read(happened, house.tenant_id)).items()}
    assert kinds == {("sent", (2, 2)), ("opened", (4, 2)), ("clicked", (4, 2)), ("opened", (1, 1)), ("clicked", (1, 1))}
    await house.db.read(check, house.tenant_id)


async def test_what_happened_before_it_was_counted_is_counted_by_the_upgrade(house: House) -> None:
    chance = random.Random(3)
    ids = [*await _sent(house), (await house.accept("else@example.com")).id]
    await house.dispatch()
    for _ in range(40):
        hit = Hit(
            house.tenant_id,
            chance.choice(ids),
            chance.choice(("opened", "clicked")),
            house.now + chance.randrange(minutes(90)),
            link_index=chance.randrange(2),
            bot=chance.random() < 0.5,
        )
        await house.db.write(communications.track, [hit])

    def upgrade(tx: Tx) -> None:
        (script,) = (text for _, name, text in migrations(house.db.kind) if name == "activity")
        tx.run("DELETE FROM activity WHERE tenant_id > 0")
        tx.run("DELETE FROM link_counters WHERE tenant_id > 0")
        for line in script.splitlines():
            if line.startswith("INSERT"):
                tx.run(cast(LiteralString, line.rstrip(";")))
        tx.run("UPDATE activity SET slot = 8 WHERE slot = 0 AND tenant_id > 0")

    await house.db.write(upgrade)
    await house.db.read(check, house.tenant_id)


async def _sent(house: House) -> list[int]:
    people = [await house.contact("ann@example.com"), await house.contact("ben@example.com")]
    campaign_id = await house.campaign(("email", 0))
    await house.enroll(campaign_id, *people)
    await house.dispatch()
    return [row.id for row in await house.rows()]
