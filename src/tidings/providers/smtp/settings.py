"""Where and how mail is handed over by SMTP, and how that is read from a URL. Nothing here connects."""

import ipaddress
import math
from collections.abc import Callable
from typing import Literal, get_args
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from tidings.errors import Invalid

Tls = Literal["opportunistic", "none", "starttls", "tls"]


class SmtpSettings(msgspec.Struct, frozen=True):
    """Where and how to hand mail over.

    `tls`: opportunistic (STARTTLS when offered), none, starttls (insisted on), tls (from the first byte). `verify` None checks the
    certificate whenever TLS is insisted on or a password is at stake. Seconds: `timeout` for connecting and each command, `data_timeout`
    for the answer to a whole message, `idle` before a kept connection is given up. `messages` per connection, 0 for any number.
    """

    host: str
    port: int = 25
    user: str = ""
    password: str = ""
    tls: Tls = "opportunistic"
    verify: bool | None = None
    ca: str = ""
    helo: str = ""
    connections: int = 8
    timeout: float = 30.0
    data_timeout: float = 120.0
    idle: float = 15.0
    messages: int = 1000

    @classmethod
    def from_url(cls, url: str) -> "SmtpSettings":
        """Read `smtp://user:password@host:port?tls=starttls&connections=8` or `smtps://…`; raises Invalid, never quoting the password."""
        return _from_url(url)

    @property
    def place(self) -> str:
        """Host and port, for people."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def guarded(self) -> bool:
        """Whether TLS has to be there and to be genuine: when insisted on, or when a password would cross a network."""
        return self.tls in ("starttls", "tls") or (self.tls == "opportunistic" and bool(self.user) and not _is_loopback(self.host))

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"SmtpSettings({shown})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [(name, "…" if name == "password" and self.password else getattr(self, name)) for name in self.__struct_fields__]


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _from_url(url: str) -> SmtpSettings:
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname or ""
    except ValueError:
        raise Invalid("the SMTP address is not a URL with a valid host and port: smtp://user:password@host:port") from None
    if parts.scheme not in ("smtp", "smtps"):
        raise Invalid("the SMTP address must begin with smtp:// or smtps://")
    if not host or any(c.isspace() or not c.isprintable() for c in host):
        raise Invalid("the SMTP address names no host: smtp://host:25")
    if parts.path not in ("", "/") or parts.fragment:
        raise Invalid("the SMTP address must end after host, port and options (/ ? # in a user name or password are written %2F %3F %23)")
    options = _options(parts.query)
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if bool(user) != bool(password):
        raise Invalid("the SMTP address needs both a user name and a password, or neither")
    tls = options.setdefault("tls", "tls" if parts.scheme == "smtps" else "opportunistic")
    if parts.scheme == "smtps" and tls != "tls":
        raise Invalid(f"smtps:// means TLS from the first byte; with tls={tls} write smtp://")
    usual = {"tls": 465, "starttls": 587}.get(str(tls), 25)
    return msgspec.convert({"host": host, "port": port or usual, "user": user, "password": password, **options}, SmtpSettings)


def _options(query: str) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        reader = _OPTIONS.get(name)
        if reader is None:
            raise Invalid(f"the SMTP address has an unknown option {name!r}; there are: {', '.join(_OPTIONS)}")
        try:
            found[name] = reader(value)
        except ValueError as wrong:
            raise Invalid(f"the SMTP option {name}={value!r} {wrong}") from None
    return found


def _one_of(*words: str) -> Callable[[str], object]:
    def read(value: str) -> str:
        if value not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return value

    return read


def _whole(low: int, high: int) -> Callable[[str], object]:
    def read(value: str) -> int:
        if not value.isascii() or not value.isdigit() or not low <= int(value) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(value)

    return read


def _seconds(value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= 3600:
        raise ValueError("must be a number of seconds above 0, at most 3600")
    return seconds


def _yes_no(value: str) -> bool:
    if value not in ("yes", "no"):
        raise ValueError("must be yes or no")
    return value == "yes"


def _plain(value: str) -> str:
    if not value or any(c.isspace() or not c.isprintable() for c in value):
        raise ValueError("must be a word without spaces")
    return value


_OPTIONS: dict[str, Callable[[str], object]] = {
    "tls": _one_of(*get_args(Tls)),
    "verify": _yes_no,
    "ca": _plain,
    "helo": _plain,
    "connections": _whole(1, 1000),
    "timeout": _seconds,
    "data_timeout": _seconds,
    "idle": _seconds,
    "messages": _whole(0, 1_000_000),
}
