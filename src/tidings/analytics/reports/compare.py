"""Several campaigns side by side: their funnels, and by how much each rate differs from the first campaign's."""

from collections.abc import Sequence

import msgspec

from tidings.analytics.reports import funnel
from tidings.analytics.reports.chance import p_value
from tidings.analytics.reports.funnel import RATIOS, Campaign, Rate
from tidings.database import Tx

FEWEST, MOST = 2, 10
"""How many campaigns may stand side by side."""
UNLIKELY = 0.05
"""What chance does less often than this is taken to be more than chance: shared out among the comparisons that one report makes of a rate."""


class Difference(msgspec.Struct, frozen=True):
    """A rate less the first campaign's (-1 to 1), how likely chance alone does as much, and whether that is unlikely enough."""

    difference: float | None
    p_value: float | None
    more_than_chance: bool


class Compared(msgspec.Struct, frozen=True):
    """A campaign, its rates, and the differences by rate: none for the first, which the others are compared with."""

    campaign: Campaign
    rates: dict[str, Rate]
    differences: dict[str, Difference]


def compare(tx: Tx, tenant_id: int, campaign_ids: Sequence[int]) -> list[Compared]:
    """The campaigns in the order given. Raises NotFound."""
    found = [funnel.campaign(tx, tenant_id, campaign_id) for campaign_id in campaign_ids]
    rates = [funnel.rates(each.totals) for each in found]
    # with nine comparisons one in three is "significant" by chance, were each allowed one in twenty (Bonferroni's correction)
    limit = UNLIKELY / max(1, len(found) - 1)
    return [
        Compared(each, own, {name: _difference(rates[0][name], own[name], limit) for name in RATIOS} if place else {})
        for place, (each, own) in enumerate(zip(found, rates, strict=True))
    ]


def _difference(base: Rate, rate: Rate, limit: float) -> Difference:
    if rate.rate is None or base.rate is None:
        return Difference(None, None, more_than_chance=False)
    chance = p_value(rate.part, rate.whole, base.part, base.whole)
    return Difference(rate.rate - base.rate, chance, more_than_chance=chance is not None and chance < limit)
