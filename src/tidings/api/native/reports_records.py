"""Reports as JSON: what their answers are made of. How they are filled is in `reports_shown`."""

import msgspec


class RateAnswer(msgspec.Struct):
    """`part` of `whole`; `of` names what the whole is. `rate` is null of nothing."""

    rate: float | None
    part: int
    whole: int
    of: str


class Outcome(msgspec.Struct):
    """What became of communications. opened and clicked count communications, opens and clicks every time; human_ leaves machines out."""

    sent: int
    delivered: int
    opened: int
    human_opened: int
    opens: int
    human_opens: int
    clicked: int
    human_clicked: int
    clicks: int
    human_clicks: int
    replied: int
    bounced: int
    complained: int
    unsubscribed: int
    failed: int
    canceled: int
    rates: dict[str, RateAnswer]


class Figures(Outcome):
    """The same with how many were made, and how many of them wait to be sent."""

    accepted: int
    waiting: int


class CampaignName(msgspec.Struct):
    """Which campaign it is."""

    id: str
    name: str
    state: str


class MessageAnswer(msgspec.Struct):
    """A message and its figures; a deleted one keeps those it had."""

    id: int
    position: int
    name: str
    subject: str
    channel: str
    deleted: bool
    figures: Figures


class CampaignReport(msgspec.Struct):
    """The whole campaign, then message by message in their order, deleted ones last."""

    campaign: CampaignName
    enrolled: int
    completed: int
    first_sent_at: str | None
    last_sent_at: str | None
    totals: Figures
    messages: list[MessageAnswer]


class PlaceAnswer(msgspec.Struct):
    """Where a link stands: in which version of which message's content, and the how manieth link there; both counted from 1."""

    message_id: int
    version: int
    link: int
    clicks: int
    clicked: int
    human_clicks: int
    human_clicked: int


class LinkAnswer(msgspec.Struct):
    """A target, however often it is linked to: clicks, communications with at least one, and both of people alone."""

    url: str
    clicks: int
    clicked: int
    human_clicks: int
    human_clicked: int
    places: list[PlaceAnswer]


class MessageLinks(msgspec.Struct):
    """The links of one message."""

    message_id: int
    links: list[LinkAnswer]


class LinkReport(msgspec.Struct):
    """The links of the whole campaign, and of each of its messages; what most people clicked first."""

    campaign_id: str
    links: list[LinkAnswer]
    messages: list[MessageLinks]


class Happened(msgspec.Struct):
    """How often each kind of thing happened; the human_ ones without machines."""

    sent: int
    delivered: int
    opens: int
    human_opens: int
    clicks: int
    human_clicks: int
    replied: int
    bounced: int
    complained: int
    unsubscribed: int
    resubscribed: int
    failed: int
    canceled: int


class Row(Happened):
    """An interval: `start` and `end` as the clocks of the zone show them. `date` is the day it lies in."""

    date: str
    start: str
    end: str


class SeriesReport(msgspec.Struct):
    """Every interval of the range in order, those without anything too, and all of them together."""

    interval: str
    time_zone: str
    since: str
    until: str
    totals: Happened
    rows: list[Row]


class TemplateFigures(msgspec.Struct):
    """What was made from one template; without an id, from none."""

    template_id: str | None
    name: str
    figures: Outcome


class TypeFigures(msgspec.Struct):
    """What is of one type and channel."""

    type: str
    channel: str
    figures: Outcome


class DomainFigures(msgspec.Struct):
    """Mail to one domain."""

    domain: str
    sent: int
    delivered: int
    opened: int
    human_opened: int
    clicked: int
    human_clicked: int
    bounced: int
    failed: int
    complained: int
    unsubscribed: int
    replied: int


class Others(msgspec.Struct):
    """The domains that are not told apart, and how many they are."""

    domains: int
    sent: int
    delivered: int
    opened: int
    human_opened: int
    clicked: int
    human_clicked: int
    bounced: int
    failed: int
    complained: int
    unsubscribed: int
    replied: int


class TemplatesReport(msgspec.Struct):
    """By template, most sent first; null for a range without beginning, or end."""

    since: str | None
    until: str | None
    templates: list[TemplateFigures]


class TypesReport(msgspec.Struct):
    """By type and channel, most sent first."""

    since: str | None
    until: str | None
    types: list[TypeFigures]


class DomainsReport(msgspec.Struct):
    """By domain, most sent first, and the others together."""

    since: str | None
    until: str | None
    domains: list[DomainFigures]
    others: Others | None


class DifferenceAnswer(msgspec.Struct):
    """A rate less that of the first campaign, and how likely chance alone differs as much."""

    difference: float | None
    p_value: float | None
    more_than_chance: bool


class ComparedAnswer(msgspec.Struct):
    """A campaign's totals; `differences` by rate, empty for the first."""

    campaign: CampaignName
    enrolled: int
    completed: int
    totals: Figures
    differences: dict[str, DifferenceAnswer]


class CompareReport(msgspec.Struct):
    """The campaigns in the order asked for."""

    campaigns: list[ComparedAnswer]
