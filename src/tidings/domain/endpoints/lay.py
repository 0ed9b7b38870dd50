"""Laying what is to be told: a row for each endpoint that wants to hear of an event, in the transaction that the event is written in.

It is asked with every batch of events, so a tenant without endpoints costs one look at an index, and nothing is put together for it.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from tidings.database import Tx
from tidings.domain.endpoints.record import BELL, HAPPENED, KINDS, Endpoint, Filters, meant, text

_TOLD = frozenset(HAPPENED)


class Subject(Protocol):
    """The communication it happened to."""

    @property
    def tenant_id(self) -> int: ...
    @property
    def communication_id(self) -> int: ...
    @property
    def campaign_id(self) -> int | None: ...
    @property
    def template_id(self) -> int | None: ...
    @property
    def channel(self) -> str: ...
    @property
    def type(self) -> str: ...


class Event(Protocol):
    """What happened, as the ledger has it: read only for those who listen."""

    @property
    def subject(self) -> Subject: ...
    @property
    def kind(self) -> str: ...
    @property
    def at(self) -> int: ...
    @property
    def bot(self) -> bool: ...
    @property
    def link_index(self) -> int | None: ...
    @property
    def detail(self) -> str | None: ...
    @property
    def code(self) -> str | None: ...
    @property
    def reason(self) -> str | None: ...
    @property
    def user_agent(self) -> str | None: ...
    @property
    def ip(self) -> str | None: ...
    @property
    def author(self) -> str | None: ...


class Data(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a delivery keeps of an event (or of a notice: `endpoint` is the one that was switched off). Who it is about is not in it."""

    link_index: int | None = None
    detail: str | None = None
    code: str | None = None
    reason: str | None = None
    user_agent: str | None = None
    ip: str | None = None
    author: str | None = None
    bot: bool = False
    endpoint: int | None = None
    url: str | None = None


class _Listener(NamedTuple):
    """An endpoint, as far as it says what it wants to hear."""

    id: int
    kinds: frozenset[str]
    filters: Filters
    plain: bool

    def wants(self, kind: str, channel: str, about: tuple[int | None, int | None, str | None], *, bot: bool) -> bool:
        """Whether it is to be told. `about` is the campaign, the template and the type."""
        if kind not in self.kinds:
            return False
        if self.plain:
            return True
        asked = self.filters
        return not (
            (asked.channel is not None and asked.channel != channel)
            or (asked.campaigns and about[0] not in asked.campaigns)
            or (asked.templates and about[1] not in asked.templates)
            or (asked.types and about[2] not in asked.types)
            or (asked.humans_only and bot)
        )


_PLAIN = Filters()
_ALL = frozenset(KINDS)
_decode_kinds = msgspec.json.Decoder(tuple[str, ...]).decode
_decode_filters = msgspec.json.Decoder(Filters).decode
_encode = msgspec.json.Encoder().encode


def lay(tx: Tx, events: Sequence[Event]) -> None:
    """Lays what is to be told of these events, of whatever tenants, in their order."""
    # a batch is mostly one tenant's, and always few tenants'
    tenants = {event.subject.tenant_id for event in events if event.kind in _TOLD}
    listeners = _listening(tx, tenants) if tenants else {}
    if not listeners:
        return
    rows: list[tuple[int | str | None, ...]] = []
    for event in events:
        subject = event.subject
        told = listeners.get(subject.tenant_id)
        if told is None or event.kind not in _TOLD:
            continue
        about = (subject.campaign_id, subject.template_id, subject.type)
        wanting = [one.id for one in told if one.wants(event.kind, subject.channel, about, bot=event.bot)]
        if wanting:
            data = _encode(_data(event)).decode()
            rows += [(subject.tenant_id, one, event.kind, subject.communication_id, None, data, event.at, event.at) for one in wanting]
    _insert(tx, rows)


def lay_received(tx: Tx, tenant_id: int, inbound_id: int, channel: str, *, communication_id: int | None, at: int, now: int) -> None:
    """Lays the news of a message that came in, and of what it answers if that is known."""
    told = _listening(tx, {tenant_id}).get(tenant_id)
    if told is None:
        return
    about = (None, None, None)
    if communication_id is not None and not all(one.plain for one in told):
        about = tx.row(
            "SELECT campaign_id, template_id, type FROM communications WHERE tenant_id = :tenant_id AND id = :id",
            tenant_id=tenant_id,
            id=communication_id,
        ) or (None, None, None)
    wanting = [one.id for one in told if one.wants("received", channel, (about[0], about[1], about[2]), bot=False)]
    _insert(tx, [(tenant_id, one, "received", communication_id, inbound_id, "{}", at, now) for one in wanting])


def lay_disabled(tx: Tx, endpoint: Endpoint, why: str, *, now: int) -> int:
    """Tells the tenant's other endpoints that this one was switched off; answers how many hear of it."""
    told = _listening(tx, {endpoint.tenant_id}).get(endpoint.tenant_id, [])
    data = text(Data(detail=why, endpoint=endpoint.id, url=endpoint.url))
    wanting = [one.id for one in told if one.id != endpoint.id and "disabled" in one.kinds]
    _insert(tx, [(endpoint.tenant_id, one, "disabled", None, None, data, now, now) for one in wanting])
    return len(wanting)


def lay_test(tx: Tx, endpoint: Endpoint, *, now: int) -> int:
    """A row for a test that is posted by whoever asks for it, and never by a worker; its id."""
    return tx.value(
        "INSERT INTO deliveries (tenant_id, endpoint_id, kind, at, state, ended_at, error)"
        " VALUES (:tenant_id, :endpoint_id, 'test', :now, 'failed', :now, 'The test was not finished') RETURNING id",
        tenant_id=endpoint.tenant_id,
        endpoint_id=endpoint.id,
        now=now,
    )


def _listening(tx: Tx, tenants: set[int]) -> dict[int, list[_Listener]]:
    rows: list[tuple[Any, ...]] = tx.rows(
        "SELECT tenant_id, id, style, kinds, filters FROM endpoints WHERE tenant_id IN :tenants[bigint] AND disabled_at IS NULL"
        " ORDER BY tenant_id, id",
        tenants=sorted(tenants),
    )
    found: dict[int, list[_Listener]] = {}
    for tenant_id, identity, style, said, filters in rows:
        asked = _decode_kinds(said)
        kinds, filters = meant(asked, _decode_filters(filters), style)
        heard = frozenset(kinds) if asked or kinds else _ALL
        found.setdefault(tenant_id, []).append(_Listener(identity, heard, filters, filters == _PLAIN))
    return found


def _data(event: Event) -> Data:
    return Data(
        link_index=event.link_index,
        detail=event.detail,
        code=event.code,
        reason=event.reason,
        user_agent=event.user_agent,
        ip=event.ip,
        author=event.author,
        bot=event.bot,
    )


def _insert(tx: Tx, rows: Iterable[tuple[int | str | None, ...]]) -> None:
    """Rows of (tenant, endpoint, kind, communication, inbound message, data, when it happened, from when on it is due), in their order."""
    laid = [(number, *row) for number, row in enumerate(rows)]
    if not laid:
        return
    tx.run(
        "INSERT INTO deliveries (tenant_id, endpoint_id, kind, communication_id, inbound_id, data, at, due_at)"
        " SELECT tenant_id, endpoint_id, kind, communication_id, inbound_id, data, at, due_at FROM :rows(number integer, tenant_id bigint,"
        " endpoint_id bigint, kind text, communication_id bigint, inbound_id bigint, data text, at bigint, due_at bigint) r ORDER BY number",
        rows=laid,
    )
    tx.notify(BELL)
