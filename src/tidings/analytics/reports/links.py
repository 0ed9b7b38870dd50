"""Which links of a campaign's messages were followed, and by how many: one row for each target, with every place it stands in."""

from collections import defaultdict
from collections.abc import Iterable

import msgspec

from tidings.database import Tx
from tidings.domain import campaigns


class Clicks(msgspec.Struct):
    """Every click; communications with at least one; and both again without what machines did."""

    clicks: int = 0
    clicked: int = 0
    human_clicks: int = 0
    human_clicked: int = 0


class Place(msgspec.Struct, frozen=True):
    """Where a link stands: which message, which of its contents (0 the first, as they came to be), and the how manieth link there (0 the first)."""

    message_id: int
    version: int
    index: int
    counts: Clicks


class Link(msgspec.Struct, frozen=True):
    """A target as it is written in the content; it may be a template of its own (`{{`)."""

    url: str
    counts: Clicks
    places: list[Place]


class Links(msgspec.Struct, frozen=True):
    """The links of the whole campaign, and of each message that has any; most clicked by people first."""

    whole: list[Link]
    by_message: dict[int, list[Link]]


class _Row(msgspec.Struct, frozen=True):
    """The counters of one link of one content."""

    message_id: int
    content_id: int
    index: int
    clicks: int
    clicked: int
    human_clicks: int
    human_clicked: int


def links(tx: Tx, tenant_id: int, campaign_id: int) -> Links:
    """The table of links. Those of the contents that the messages have now are in it without any click too. Raises NotFound."""
    campaigns.get(tx, tenant_id, campaign_id)
    rows = _followed(tx, tenant_id, campaign_id)
    current: dict[int, int | None] = dict(
        tx.rows(
            "SELECT id, CASE WHEN deleted_at IS NULL THEN content_id END FROM messages WHERE tenant_id = :tenant_id AND campaign_id = :campaign_id",
            tenant_id=tenant_id,
            campaign_id=campaign_id,
        )
    )
    contents = {(row.message_id, row.content_id) for row in rows} | {(message, content) for message, content in current.items() if content}
    targets = _targets(tx, tenant_id, {content for _, content in contents})
    places = _places(rows, sorted(contents), targets)
    found = {url: _link(tx, tenant_id, url, entries) for url, entries in places.items()}
    by_message = {
        message: _ordered(
            _link(tx, tenant_id, link.url, own)
            for link in found.values()
            if (own := [entry for entry in places[link.url] if entry[0].message_id == message])
        )
        for message in current
    }
    return Links(_ordered(found.values()), {message: found for message, found in by_message.items() if found})


def _followed(tx: Tx, tenant_id: int, campaign_id: int) -> list[_Row]:
    return tx.all(
        _Row,
        "SELECT n.message_id, n.content_id, n.link_index, CAST(SUM(n.clicks) AS bigint), CAST(SUM(n.clicked) AS bigint),"
        " CAST(SUM(n.human_clicks) AS bigint), CAST(SUM(n.human_clicked) AS bigint) FROM messages m JOIN link_counters n"
        " ON n.tenant_id = m.tenant_id AND n.message_id = m.id WHERE m.tenant_id = :tenant_id AND m.campaign_id = :campaign_id"
        " GROUP BY n.message_id, n.content_id, n.link_index",
        tenant_id=tenant_id,
        campaign_id=campaign_id,
    )


def _targets(tx: Tx, tenant_id: int, contents: Iterable[int]) -> dict[int, list[str]]:
    rows: list[tuple[int, str]] = tx.rows(
        "SELECT id, links FROM contents WHERE tenant_id = :tenant_id AND id IN :ids[bigint]", tenant_id=tenant_id, ids=sorted(contents)
    )
    return {content: msgspec.json.decode(text, type=list[str]) for content, text in rows}


_Entry = tuple[Place, int]
"""A place and its content's id."""


def _places(rows: list[_Row], contents: list[tuple[int, int]], targets: dict[int, list[str]]) -> dict[str, list[_Entry]]:
    """By target, in the order of the messages' ids and versions."""
    counted = {
        (row.message_id, row.content_id, row.index): Clicks(row.clicks, row.clicked, row.human_clicks, row.human_clicked) for row in rows
    }
    versions: defaultdict[int, int] = defaultdict(int)
    found: defaultdict[str, list[_Entry]] = defaultdict(list)
    for message, content in contents:
        for index, url in enumerate(targets.get(content, [])):
            counts = counted.get((message, content, index), Clicks())
            found[url].append((Place(message, versions[message], index, counts), content))
        versions[message] += 1
    return found


def _link(tx: Tx, tenant_id: int, url: str, entries: list[_Entry]) -> Link:
    """Its places together: a communication that was clicked in two of them counts once."""
    total = Clicks()
    together: defaultdict[tuple[int, int], list[Place]] = defaultdict(list)
    for place, content in entries:
        together[place.message_id, content].append(place)
    for (message, content), places in together.items():
        followed = [place for place in places if place.counts.clicks]
        clicked, human_clicked = (
            _once(tx, tenant_id, message, content, followed)
            if len(followed) > 1
            else (sum(place.counts.clicked for place in places), sum(place.counts.human_clicked for place in places))
        )
        total.clicks += sum(place.counts.clicks for place in places)
        total.human_clicks += sum(place.counts.human_clicks for place in places)
        total.clicked += clicked
        total.human_clicked += human_clicked
    return Link(url, total, [place for place, _ in entries])


def _once(tx: Tx, tenant_id: int, message_id: int, content_id: int, places: list[Place]) -> tuple[int, int]:
    """How many communications of a content were clicked in any of several places, by anyone and by people: read from the clicks.

    Where those were dropped by age, no fewer than of the place that was clicked most.
    """
    row = tx.row(
        "SELECT COUNT(DISTINCT i.communication_id), COUNT(DISTINCT CASE i.bot WHEN 0 THEN i.communication_id END) FROM interactions i"
        " JOIN communications c ON c.tenant_id = i.tenant_id AND c.id = i.communication_id WHERE i.tenant_id = :tenant_id"
        " AND i.message_id = :message_id AND i.kind = 'clicked' AND i.link_index IN :places[bigint] AND c.content_id = :content_id",
        tenant_id=tenant_id,
        message_id=message_id,
        content_id=content_id,
        places=[place.index for place in places],
    )
    assert row is not None
    return max(row[0], *(place.counts.clicked for place in places)), max(row[1], *(place.counts.human_clicked for place in places))


def _ordered(found: Iterable[Link]) -> list[Link]:
    return sorted(found, key=lambda link: (-link.counts.human_clicked, -link.counts.clicks, link.url))
