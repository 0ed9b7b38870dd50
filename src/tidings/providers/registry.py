"""Which kinds of provider there are, and the one living Provider of each configured row. Rows are the domain's; nothing here reads one."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, NamedTuple, Protocol, runtime_checkable

import msgspec
from msgspec import Meta

from tidings.clock import Clock
from tidings.database import Database
from tidings.errors import Invalid, NotFound, Unavailable
from tidings.message.heard import Notice
from tidings.message.outgoing import Sealed, paused
from tidings.message.pieces import Piece, Safe
from tidings.providers.base import Callback, Channel, Hear, Heard, Listener, Paced, Provider, Report
from tidings.providers.sandbox import Sandbox
from tidings.providers.smpp import Smpp
from tidings.providers.smpp.settings import PORT as SMPP_PORT
from tidings.providers.smpp.settings import Alphabet, MessageIds, SmppSettings
from tidings.providers.smtp import Smtp
from tidings.providers.smtp.settings import SmtpSettings, Tls
from tidings.providers.twilio import Twilio
from tidings.providers.twilio.callbacks import hear as hear_twilio
from tidings.providers.twilio.settings import BASE_URL, TwilioSettings, usual_rate
from tidings.signing import Vault

_USUAL_PORT: dict[Tls, int] = {"tls": 465, "starttls": 587}
_USUAL_TLS: dict[int | None, Tls] = {465: "tls", 587: "starttls"}


class Tools(NamedTuple):
    """What a provider may be built with. `callback` makes the URL where it can be told what became of a communication, "" where there is none.

    `hear` stores what a carrier tells over a connection that we keep open; None where nobody listens.
    """

    db: Database
    clock: Clock
    channel: Channel
    callback: Callable[[int], str] = lambda communication_id: ""
    hear: Hear | None = None


class Form(Protocol):
    """The settings of a kind as a tenant gives them, a msgspec struct; a provider comes out of them."""

    def provider(self, tools: Tools) -> Provider:
        """The provider these settings describe; nothing is connected yet."""
        ...


@runtime_checkable
class Listening(Protocol):
    """A form whose carrier calls us."""

    def hear(self, callback: Callback) -> Heard:
        """What a callback tells. Raises Unauthorized when it is not the carrier's, Malformed when it cannot be read."""
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


class TwilioForm(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a tenant says of a Twilio account: its auth token, an API key with its secret, or both; and the sender or Messaging Service.

    Callbacks are signed with the auth token: with an API key alone nothing comes back. Raises Invalid for what is missing.
    """

    account_sid: Annotated[str, Meta(pattern=r"^AC[0-9a-fA-F]{32}$")]
    auth_token: str = ""
    api_key: Annotated[str, Meta(pattern=r"^(SK[0-9a-fA-F]{32})?$")] = ""
    api_secret: str = ""
    sender: Annotated[str, Meta(pattern=r"^(\+[1-9][0-9]{6,14}|[0-9]{3,8}|(?=.*[A-Za-z])[A-Za-z0-9 ]{1,11})?$")] = ""
    messaging_service_sid: Annotated[str, Meta(pattern=r"^(MG[0-9a-fA-F]{32})?$")] = ""
    rate: Annotated[float, Meta(gt=0, le=1000)] | None = None
    connections: Annotated[int, Meta(ge=1, le=100)] = 10
    smart_encoding: bool = False
    base_url: Annotated[str, Meta(pattern=r"^(https://[^\s/?#]+|http://(localhost|127\.0\.0\.1)(:[0-9]+)?)/?$")] = BASE_URL

    def __post_init__(self) -> None:
        if bool(self.api_key) != bool(self.api_secret):
            raise Invalid.field("api_secret" if self.api_key else "api_key", "is required: both, or neither")
        if not self.api_key and not self.auth_token:
            raise Invalid.field("auth_token", "is required, or an api_key with its api_secret")
        if not self.sender and not self.messaging_service_sid:
            raise Invalid.field("sender", "is required: a number, a short code or a name; or a messaging_service_sid")

    def provider(self, tools: Tools) -> Provider:
        """A provider for this account."""
        settings = TwilioSettings(
            account=self.account_sid,
            username=self.api_key or self.account_sid,
            password=self.api_secret or self.auth_token,
            sender=self.sender,
            service=self.messaging_service_sid,
            base_url=self.base_url,
            rate=self.rate or usual_rate("" if self.messaging_service_sid else self.sender),
            connections=self.connections,
            smart_encoding=self.smart_encoding,
        )
        return Twilio(settings, tools.callback if self.auth_token else None)

    def hear(self, callback: Callback) -> Heard:
        """See `Listening.hear`."""
        return hear_twilio(callback, self.auth_token)


class SmppForm(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a tenant says of an account at an SMSC. `source_ton` and `source_npi` follow from the sender unless given.

    `rate` is in messages (parts of long ones) a second, none for as many as the window lets through.
    """

    host: Annotated[str, Meta(pattern=r"^[^\s/@\x00-\x1f]+$", max_length=253)]
    port: Annotated[int, Meta(ge=1, le=65535)] = SMPP_PORT
    tls: bool = False
    system_id: Annotated[str, Meta(pattern=r"^[!-~]+$", max_length=64)]
    password: Annotated[str, Meta(pattern=r"^[ -~]*$", max_length=64)] = ""
    system_type: Annotated[str, Meta(pattern=r"^[ -~]*$", max_length=12)] = ""
    sender: Annotated[str, Meta(pattern=r"^(\+[1-9][0-9]{6,14}|[0-9]{3,15}|(?=.*[A-Za-z])[A-Za-z0-9 ]{1,11})?$")] = ""
    source_ton: Annotated[int, Meta(ge=0, le=6)] | None = None
    source_npi: Annotated[int, Meta(ge=0, le=18)] | None = None
    window: Annotated[int, Meta(ge=1, le=1000)] = 10
    rate: Annotated[float, Meta(gt=0, le=10_000)] | None = None
    alphabet: Alphabet = "gsm"
    smart_encoding: bool = False
    receipts: bool = True
    message_ids: MessageIds = "auto"

    def provider(self, tools: Tools) -> Provider:
        """A provider for this account."""
        settings = SmppSettings(
            host=self.host,
            port=self.port,
            tls=self.tls,
            system_id=self.system_id,
            password=self.password,
            system_type=self.system_type,
            sender=self.sender,
            source_ton=self.source_ton,
            source_npi=self.source_npi,
            window=self.window,
            rate=self.rate or 0.0,
            alphabet=self.alphabet,
            smart_encoding=self.smart_encoding,
            receipts=self.receipts,
            message_ids=self.message_ids,
        )
        return Smpp(settings, tools.clock, tools.hear)


class Kind(NamedTuple):
    """A kind of provider: the channels it carries, the form of its settings, and which of these are never shown again.

    `listens`: what comes in comes over a connection that has to be kept open (see `Registry.listen`).
    """

    channels: tuple[Channel, ...]
    form: type[Form]
    secrets: tuple[str, ...] = ()
    listens: bool = False


KINDS: dict[str, Kind] = {
    "smtp": Kind(("email",), SmtpForm, ("password",)),
    "twilio": Kind(("sms",), TwilioForm, ("auth_token", "api_secret")),
    "smpp": Kind(("sms",), SmppForm, ("password",), listens=True),
    "sandbox": Kind(("email", "sms"), SandboxForm),
}
"""One line a kind. There is another, `system`, without settings: what the server itself was started with."""


LISTENING = tuple(name for name, kind in KINDS.items() if kind.listens)


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

    def __init__(
        self,
        db: Database,
        vault: Vault,
        clock: Clock,
        system: Mapping[Channel, Callable[[], Provider]],
        callback: Callable[[int, int, int], str] = lambda tenant_id, provider_id, communication_id: "",
        hear: "Callable[[Row, Piece | Notice | Safe], Awaitable[bool]] | None" = None,
    ) -> None:
        """`callback` makes the URL that a provider is given to tell what became of a communication: (tenant, provider, communication).

        `hear` stores what a row's provider hears over a connection; see `base.Hear`.
        """
        self._db = db
        self._hear = hear
        self._listening: set[tuple[int, int]] = set()
        self._callback = callback
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
        return self._get(carrier)

    async def listen(self, rows: Sequence[Row]) -> None:
        """Has the providers of these rows connected from now on. Those of the last time that are not among these any more are closed."""
        wanted = {(row.tenant_id, row.id) for row in rows}
        for key in self._listening - wanted:
            gone = self._kept.pop(key, None)
            if gone is not None:
                gone[1].retire()
        self._listening = wanted
        for row in rows:
            self._get(row).listen()

    def _get(self, carrier: Row) -> "_Kept":
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

    def _own(self, channel: str) -> "_Kept":
        kept = self._system.get(channel)
        if kept is None:
            build = next((build for name, build in self._build_system.items() if name == channel), None)
            own = Unusable("system", f"this server has no provider of its own for {channel}") if build is None else build()
            kept = self._system[channel] = _Kept(own, self._close_soon)
        return kept

    def _built(self, row: Row) -> Provider:
        kind = KINDS.get(row.kind)
        channel: Channel | None = next((name for name in kind.channels if name == row.channel), None) if kind else None
        if kind is None or channel is None:
            return Unusable(row.kind, f"there is no provider of kind {row.kind} for {row.channel}")
        try:
            hear = None if self._hear is None else partial(self._hear, row)
            tools = Tools(self._db, self._clock, channel, partial(self._callback, row.tenant_id, row.id), hear)
            return _form(self._vault, kind, row).provider(tools)
        except (Invalid, msgspec.MsgspecError) as error:
            return Unusable(row.kind, f"its settings cannot be used, enter them again: {error}")

    def _close_soon(self, provider: Provider) -> None:
        task = asyncio.get_running_loop().create_task(provider.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def hear(vault: Vault, row: Row, callback: Callback) -> Heard:
    """What a carrier tells in a callback to one of its rows.

    Raises NotFound when it is none that calls, Unauthorized and Malformed as `Listening.hear`, Unavailable while its settings cannot be read.
    """
    kind = KINDS.get(row.kind)
    try:
        form = _form(vault, kind, row) if kind is not None else None
    except (Invalid, msgspec.MsgspecError) as error:
        raise Unavailable("The settings of this provider cannot be used") from error
    if not isinstance(form, Listening):
        raise NotFound
    return form.hear(callback)


def _form(vault: Vault, kind: Kind, row: Row) -> Form:
    opened = vault.open(row.settings) if row.settings else b"{}"
    return msgspec.json.decode(opened, type=kind.form)


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
        self.window = provider.window if isinstance(provider, Paced) else None
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

    def listen(self) -> None:
        if isinstance(self._provider, Listener):
            self._provider.listen()

    def retire(self) -> None:
        self._retired = True
        if not self._busy:
            self._close_soon(self._provider)

    async def close(self) -> None:
        await self._provider.close()
