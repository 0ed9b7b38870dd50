"""Every setting there is, each with the sentence that explains it. Read once, by the command line, and handed down; nothing else looks at the environment.

The environment (`TIDINGS_` and the name in capitals) wins over `tidings.toml`, which wins over the defaults below.
"""

import difflib
import os
import secrets
import tomllib
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_type_hints

import msgspec
from msgspec import Meta

from tidings.errors import Invalid

FILE = "tidings.toml"
KEY_FILE = "secret.key"
SHORTEST_SECRET = 16
"""Characters; the one Tidings makes itself has 64."""

_PREFIX = "TIDINGS_"
_FOR_TESTS = "TIDINGS_TEST_"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that can be set. `docs/configuration.md` shows the same sentences."""

    home: Annotated[Path, Meta(description="The data folder: the SQLite file, uploads, rejects files, the secret key.")] = Path("var")
    database_url: Annotated[
        str, Meta(description="`sqlite:///<path>` or `postgresql://…`; empty: SQLite, `tidings.db` in the data folder.")
    ] = ""
    database_pool: Annotated[int, Meta(ge=2, le=500, description="How many PostgreSQL connections a process opens at most.")] = 8
    storage_url: Annotated[
        str,
        Meta(
            description="Where attachments are kept: `file:///folder`, or S3-compatible storage, `s3://bucket/prefix?endpoint=…&region=…`;"
            " empty: `blobs` in the data folder."
        ),
    ] = ""
    migrate: Annotated[
        bool, Meta(description="Whether `serve`, `api` and `worker` bring a PostgreSQL schema up to date as they start.")
    ] = True
    lease: Annotated[
        int, Meta(ge=2, le=3600, description="Seconds after which what a dead worker was sending is taken up by another one.")
    ] = 60
    public_url: Annotated[
        str, Meta(description="Where recipients reach this server: the beginning of every tracking and unsubscribe link.")
    ] = "http://127.0.0.1:18080"
    smtp_url: Annotated[
        str,
        Meta(
            description="The mail server: `smtp://user:password@host:587`, `smtps://…:465`, or `sandbox:`, which keeps everything and sends nothing."
        ),
    ] = "sandbox:"
    inbound_listen: Annotated[
        str,
        Meta(
            description="Where the worker takes incoming mail from a mail server: `lmtp://127.0.0.1:8024`, `smtp://0.0.0.0:25` or"
            " `lmtp+unix:///path`; empty: nowhere."
        ),
    ] = ""
    secret_key: Annotated[
        str,
        Meta(
            description="Signs links and seals stored passwords; empty: made at the first start and kept in `secret.key` in the data folder."
        ),
    ] = ""
    sender: Annotated[str, Meta(description="The sender address of a new tenant that is given none.")] = "tidings@example.com"
    dkim_domain: Annotated[str, Meta(description="The domain that mail is DKIM-signed for; empty: mail is not signed.")] = ""
    dkim_selector: Annotated[str, Meta(description="The DKIM selector, the name of the key's DNS record below `_domainkey`.")] = ""
    dkim_key_file: Annotated[Path | None, Meta(description="The PEM file with the DKIM private key (RSA or Ed25519).")] = None
    webhooks_allow_private: Annotated[bool, Meta(description="Whether webhooks may be sent to private and loopback addresses.")] = False
    ip: Annotated[
        Literal["truncate", "drop", "keep"],
        Meta(
            description="What is kept of the addresses that mail is opened and requests are made from: `truncate`, the network alone"
            " (IPv4 /24, IPv6 /48); `drop`, nothing, and no user agent either; `keep`, all of it."
        ),
    ] = "truncate"
    trusted_proxies: Annotated[
        str,
        Meta(
            description="The proxies whose `X-Forwarded-For` is believed: addresses and networks such as `10.0.0.0/8`, with commas between them;"
            " empty: nobody's."
        ),
    ] = ""
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="From which level on the log is written; `debug` shows tracebacks.")
    ] = "info"
    log_format: Annotated[Literal["text", "json"], Meta(description="How a line of the log looks: for people or for machines.")] = "text"

    @property
    def database(self) -> str:
        """The database's URL, the default filled in."""
        return self.database_url or f"sqlite:///{self.home / 'tidings.db'}"

    @property
    def embedded(self) -> bool:
        """Whether the store is SQLite, which one process alone may serve."""
        return self.database.startswith("sqlite:")


def read(environment: Mapping[str, str], folder: Path, **overrides: str | Path | None) -> Settings:
    """The settings of a process started in `folder`; `overrides` (from the command line, None: not given) win over everything.

    Raises Invalid with one sentence that names the setting and where it was found.
    """
    given = {name: str(value) for name, value in overrides.items() if value is not None}
    home = given.get("home") or environment.get(f"{_PREFIX}HOME")
    values = _from_file(folder, folder / home if home else None)
    values |= _from_environment(environment)
    values |= {name: (value, f"--{name.replace('_', '-')}") for name, value in given.items()}
    settings = Settings(**{name: _converted(name, value, source) for name, (value, source) in values.items()})
    return _checked(settings)


def described() -> list[tuple[str, str, str]]:
    """Every setting as (variable, default, explanation), in the order of the class."""
    hints = get_type_hints(Settings, include_extras=True)
    rows: list[tuple[str, str, str]] = []
    for field in msgspec.structs.fields(Settings):
        meta = cast(Meta, hints[field.name].__metadata__[0])
        rows.append((_PREFIX + field.name.upper(), _spelt(field.default), meta.description or ""))
    return rows


def secret_key(settings: Settings) -> bytes:
    """The server's secret: the setting, or the one kept in the data folder, made there (readable by its owner only) when there is none."""
    if settings.secret_key:
        return settings.secret_key.encode()
    path = settings.home / KEY_FILE
    try:
        return _kept_secret(path)
    except OSError as error:
        raise Invalid(f"The secret key in {path} cannot be read: {error.strerror}.") from error


def _kept_secret(path: Path) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        # written aside and linked into place: of two processes starting at once both end with the same, whole key
        fresh = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(fresh, path)
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    kept = path.read_bytes().strip()
    if len(kept) < SHORTEST_SECRET:
        raise Invalid(f"The secret key in {path} is shorter than {SHORTEST_SECRET} characters; restore it from a backup.")
    return kept


def _from_file(folder: Path, home: Path | None) -> dict[str, tuple[Any, str]]:
    """The values of the first `tidings.toml` found (data folder, then working folder), each with its source. Paths in it are relative to it."""
    places = [place / FILE for place in (home, folder) if place is not None]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        return {}
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Invalid(f"{path} cannot be read: {error}.") from error
    values: dict[str, tuple[Any, str]] = {}
    for name, value in content.items():
        if name not in Settings.__struct_fields__:
            raise Invalid(f"{path} has an unknown setting {name!r}{_near(name, Settings.__struct_fields__)}.")
        if name in {"home", "dkim_key_file"} and isinstance(value, str):
            value = str(path.parent / value)
        values[name] = (value, f"{name} in {path}")
    return values


def _from_environment(environment: Mapping[str, str]) -> dict[str, tuple[Any, str]]:
    known = {_PREFIX + name.upper(): name for name in Settings.__struct_fields__}
    values: dict[str, tuple[Any, str]] = {}
    for variable, value in environment.items():
        if not variable.startswith(_PREFIX) or variable.startswith(_FOR_TESTS):
            continue
        if variable not in known:
            raise Invalid(f"There is no setting {variable}{_near(variable, known)}.")
        if value != "":
            values[known[variable]] = (value, variable)
    return values


def _near(name: str, names: Any) -> str:
    close = difflib.get_close_matches(name, list(names), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _converted(name: str, value: Any, source: str) -> Any:
    """The value in its field's type; text from the environment may spell booleans as true, false, 1, 0, yes, no, on, off."""
    kind = get_type_hints(Settings, include_extras=True)[name]
    if name in {"home", "dkim_key_file"}:
        if not isinstance(value, str):
            raise Invalid(f"{source} must be a path.")
        return Path(value).expanduser()
    if isinstance(value, str):
        value = (
            {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(value.lower(), value) if name in _BOOLEANS else value.strip()
        )
    try:
        return msgspec.convert(value, kind, strict=not isinstance(value, str) or name not in _BOOLEANS | _NUMBERS)
    except msgspec.ValidationError as error:
        raise Invalid(f"{source} is wrong: {_reason(name, error)}.") from error


_BOOLEANS = {"migrate", "webhooks_allow_private"}
_NUMBERS = {"database_pool", "lease"}
_CHOICES = {"log_level": "debug, info, warning or error", "log_format": "text or json", "ip": "truncate, drop or keep"}


def _reason(name: str, error: msgspec.ValidationError) -> str:
    if name in _BOOLEANS:
        return "it is true or false"
    if name in _CHOICES:
        return f"it is {_CHOICES[name]}"
    if name in _NUMBERS:
        meta = cast(Meta, get_type_hints(Settings, include_extras=True)[name].__metadata__[0])
        return f"it is a whole number from {meta.ge} to {meta.le}"
    text = str(error)
    return text[0].lower() + text[1:]


def _checked(settings: Settings) -> Settings:
    """What one field's type cannot say."""
    if not settings.database.startswith(("sqlite:///", "postgresql://", "postgres://")):
        raise Invalid(f"{_PREFIX}DATABASE_URL must begin with sqlite:/// or postgresql://.")
    if not settings.public_url.startswith(("http://", "https://")):
        raise Invalid(f"{_PREFIX}PUBLIC_URL must begin with http:// or https://.")
    if not settings.smtp_url.startswith(("sandbox:", "smtp://", "smtps://")):
        raise Invalid(f"{_PREFIX}SMTP_URL must begin with smtp:// or smtps://, or be sandbox:.")
    if settings.storage_url and not settings.storage_url.startswith(("file:///", "s3://")):
        raise Invalid(f"{_PREFIX}STORAGE_URL must begin with file:/// or s3://.")
    if settings.inbound_listen and not settings.inbound_listen.startswith(("lmtp://", "smtp://", "lmtp+unix:///")):
        raise Invalid(f"{_PREFIX}INBOUND_LISTEN must begin with lmtp://, smtp:// or lmtp+unix:///.")
    for entry in settings.trusted_proxies.replace(",", " ").split():
        try:
            ip_network(entry, strict=False)
        except ValueError as error:
            raise Invalid(f"{_PREFIX}TRUSTED_PROXIES: {entry!a} is neither an address nor a network such as 10.0.0.0/8.") from error
    if 0 < len(settings.secret_key) < SHORTEST_SECRET:
        raise Invalid(f"{_PREFIX}SECRET_KEY must have at least {SHORTEST_SECRET} characters.")
    dkim = (settings.dkim_domain, settings.dkim_selector, settings.dkim_key_file)
    if any(dkim) and not all(dkim):
        raise Invalid(f"DKIM needs all three: {_PREFIX}DKIM_DOMAIN, {_PREFIX}DKIM_SELECTOR and {_PREFIX}DKIM_KEY_FILE.")
    return msgspec.structs.replace(settings, public_url=settings.public_url.rstrip("/"))


def _spelt(default: Any) -> str:
    if isinstance(default, bool):
        return "true" if default else "false"
    return "" if default is None else str(default)
