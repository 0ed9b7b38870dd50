"""Which kinds of provider there are, and the one living Provider of each configured row. Rows are the domain's; nothing here reads one."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, NamedTuple, Protocol

import msgspec
from msgspec import Meta

from tidings.clock import Clock
from tidings.database import Database
from tidings.errors import Invalid
from tidings.message.outgoing import Sealed, paused
from tidings.providers.base import Channel, Provider, Report
from tidings.providers.sandbox import Sandbox
from tidings.providers.smtp import Smtp
from tidings.providers.smtp.settings import SmtpSettings, Tls
from tidings.signing import Vault

_USUAL_PORT: dict[Tls, int] = {"tls": 465, "starttls": 587}
_USUAL_TLS: dict[int | None, Tls] = {465: "tls", 587: "starttls"}


class Tools(NamedTuple):
    """What a provider may be built with."""

    db: Database
    clock: Clock
    channel: Channel


class Form(Protocol):
    """The settings of a kind as a tenant gives them, a msgspec struct; a provider comes out of them."""

    def provider(self, tools: Tools) -> Provider:
        """The provider these settings describe; nothing is connected yet."""
        ...


class SandboxForm(msgspec.Struct, forbid_unknown_fields=True):
    """The sandbox has no settings."""

    def provider(self, tools: Tools) -> Provider:
        """A sandbox for the channel."""
        return Sandbox(tools.db, tools.clock, tools.channel)


class SmtpForm(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a tenant says of a mail server. Port and `tls` follow from one another: 465 is tls, 587 starttls, 25 TLS where it is offered.

    Raises Invalid for a user name without a password, or the other way round.
    """

    host: Annotated[str, Meta(pattern=r"^[^\s/@\x00-\x1f]+$", max_length=253)]
    port: Annotated[int, Meta(ge=1, le=65535)] | None = None
    username: str = ""
    password: str = ""
    tls: Tls | None = None
    connections: Annotated[int, Meta(ge=1, le=100)] = 8

    def __post_init__(self) -> None:
        if bool(self.username) != bool(self.password):
            raise Invalid.field("password" if self.username else "username", "is required: both, or neither")

    def provider(self, tools: Tools) -> Provider:
        """A provider for this mail server."""
        tls = self.tls or _USUAL_TLS.get(self.port, "opportunistic")
        port = self.port or _USUAL_PORT.get(tls, 25)
        return Smtp(SmtpSettings(self.host, port, self.username, self.password, tls, connections=self.connections))


class Kind(NamedTuple):
    """A kind of provider: the channels it carries, the form of its settings, and which of these are never shown again."""

    channels: tuple[Channel, ...]
    form: type[Form]
    secrets: tuple[str, ...] = ()


KINDS: dict[str, Kind] = {
    "smtp": Kind(("email",), SmtpForm, ("password",)),
    "sandbox": Kind(("email", "sms"), SandboxForm),
}
"""One line a kind. There is another, `system`, without settings: what the server itself was started with."""


class Row(Protocol):
    """A configured provider: `settings` is sealed JSON or "", and (id, updated_at) names one configuration."""

    @property
    def id(self) -> int: ...
    @property
    def tenant_id(self) -> int: ...
    @property
    def channel(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def settings(self) -> str: ...
    @property
    def updated_at(self) -> int: ...


class Registry:
    """Builds a row's provider once and keeps it until its settings change; `system` builds the server's own, one a channel."""

    def __init__(self, db: Database, vault: Vault, clock: Clock, system: Mapping[Channel, Callable[[], Provider]]) -> None:
        self._db = db
        self._vault = vault
        self._clock = clock
        self._build_system = system
        self._system: dict[str, _Kept] = {}
        self._kept: dict[tuple[int, int], tuple[int, _Kept]] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def get(self, carrier: Row) -> Provider:
        """The provider of a carrier. One that cannot be built answers `paused` to every message, with the reason.

        A replaced provider is closed once its last batch is through.
        """
        if carrier.kind == "system":
            return self._own(carrier.channel)
        key = (carrier.tenant_id, carrier.id)
        known = self._kept.get(key)
        if known is not None and known[0] >= carrier.updated_at:
            return known[1]
        kept = _Kept(self._built(carrier), self._close_soon)
        self._kept[key] = (carrier.updated_at, kept)
        if known is not None:
            known[1].retire()
        return kept

    async def close(self) -> None:
        """Closes every provider that was built."""
        kept = [*self._system.values(), *(entry for _, entry in self._kept.values())]
        self._system.clear()
        self._kept.clear()
        await asyncio.gather(*(entry.close() for entry in kept), *self._closing)

    def _own(self, channel: str) -> Provider:
        kept = self._system.get(channel)
        if kept is None:
            build = next((build for name, build in self._build_system.items() if name == channel), None)
            own = Unusable("system", f"this server has no provider of its own for {channel}") if build is None else build()
            kept = self._system[channel] = _Kept(own, self._close_soon)
        return kept

    def _built(self, row: Row) -> Provider:
        kind = KINDS.get(row.kind)
        tools = next((Tools(self._db, self._clock, name) for name in kind.channels if name == row.channel), None) if kind else None
        if kind is None or tools is None:
            return Unusable(row.kind, f"there is no provider of kind {row.kind} for {row.channel}")
        try:
            opened = self._vault.open(row.settings) if row.settings else b"{}"
            return msgspec.json.decode(opened, type=kind.form).provider(tools)
        except (Invalid, msgspec.MsgspecError) as error:
            return Unusable(row.kind, f"its settings cannot be used, enter them again: {error}")

    def _close_soon(self, provider: Provider) -> None:
        task = asyncio.get_running_loop().create_task(provider.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


class Unusable:
    """Stands in for a provider that cannot be built: no message is to blame, so all of them are handed back."""

    def __init__(self, kind: str, reason: str) -> None:
        self.kind = kind
        self._reason = reason

    async def send(self, batch: Sequence[Sealed], report: Report) -> None:
        """Hands everything back."""
        for message in batch:
            report(message.communication_id, paused(self._reason))

    async def close(self) -> None:
        """There is nothing to close."""


class _Kept:
    """A provider and how many batches are on their way through it, so that replacing it interrupts none."""

    def __init__(self, provider: Provider, close_soon: Callable[[Provider], None]) -> None:
        self.kind = provider.kind
        self._provider = provider
        self._close_soon = close_soon
        self._busy = 0
        self._retired = False

    async def send(self, batch: Sequence[Sealed], report: Report) -> None:
        self._busy += 1
        try:
            await self._provider.send(batch, report)
        finally:
            self._busy -= 1
            if self._retired and not self._busy:
                self._close_soon(self._provider)

    def retire(self) -> None:
        self._retired = True
        if not self._busy:
            self._close_soon(self._provider)

    async def close(self) -> None:
        await self._provider.close()
