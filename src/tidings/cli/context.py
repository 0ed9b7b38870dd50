"""Where everything is put together: settings read, the database migrated and opened, the house built, and all of it closed again in order."""

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncGenerator, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from tidings import clock
from tidings import settings as configuration
from tidings.api import callbacks, visitors
from tidings.api.visitors import Visitors
from tidings.api.wire import House
from tidings.database import Database, Tx, open_database
from tidings.database.migrate import migrate, pending
from tidings.delivery import listening
from tidings.domain import audit, tenants
from tidings.domain.page import Page
from tidings.domain.tenants import Tenant
from tidings.errors import Invalid, NotFound, Unavailable
from tidings.inbound.receive import Desk
from tidings.providers.base import Channel, Provider
from tidings.providers.registry import Registry
from tidings.providers.sandbox import Sandbox
from tidings.providers.smtp import Smtp
from tidings.providers.smtp.settings import SmtpSettings
from tidings.rendering.compose import Composer
from tidings.settings import Settings
from tidings.signing import Signer, Vault
from tidings.storage import open_store

T = TypeVar("T")

PAGE = 100
"""Rows that are read of a listing at a time."""


def load(**overrides: str | Path | None) -> Settings:
    """The settings of this process; `overrides` are what the command line was given (None: not given)."""
    return configuration.read(os.environ, Path(), **overrides)


@contextlib.asynccontextmanager
async def opened(settings: Settings | None = None, *, migrates: bool = True) -> AsyncGenerator[House]:
    """The house, with its database open and its schema up to date.

    SQLite is always migrated; PostgreSQL where `migrates` and the setting allow it. Raises Unavailable when the schema is behind.
    """
    settings = settings or load()
    make_folder(settings)
    await asyncio.to_thread(bring_up_to_date, settings, migrates=migrates)
    secret = configuration.secret_key(settings)
    database = await open_database(settings.database, size=settings.database_pool)
    try:
        yield built(settings, database, secret)
    finally:
        await database.close()


def built(settings: Settings, database: Database, secret: bytes) -> House:
    """The house around an open database."""
    signer = Signer(secret)
    return House(
        db=database,
        clock=clock.now,
        composer=Composer(settings.public_url, signer, message_id_domain(settings), signatures(settings)),
        signer=signer,
        vault=Vault(secret),
        store=open_store(settings.storage_url, settings.home),
        public_url=settings.public_url,
        data_folder=settings.home,
        allow_private=settings.webhooks_allow_private,
        default_sender=settings.sender,
        visitors=Visitors(settings.ip, visitors.networks(settings.trusted_proxies)),
    )


def providers(house: House, settings: Settings) -> Registry:
    """The registry, with the server's own providers: the mail server of the settings, or the sandbox for both channels.

    With a real mail server there is none for SMS: text messages wait, and say so, until their tenant has a provider for them;
    to keep them in the sandbox and call them sent would be a lie. Raises Invalid when the mail server's URL cannot be understood.
    """
    own: dict[Channel, Callable[[], Provider]]
    if settings.smtp_url.startswith("sandbox:"):
        own = {"email": lambda: Sandbox(house.db, house.clock, "email"), "sms": lambda: Sandbox(house.db, house.clock, "sms")}
    else:
        smtp = SmtpSettings.from_url(settings.smtp_url)
        own = {"email": lambda: Smtp(smtp)}
    hear = listening.at(Desk(house.db, house.store, house.signer, house.clock))
    return Registry(house.db, house.vault, house.clock, own, callbacks.addressed(house.public_url, house.signer), hear)


def message_id_domain(settings: Settings) -> str:
    """What stands behind the @ of a Message-ID: the public host where it is a name, else the domain that mail is sent from."""
    host = urlsplit(settings.public_url).hostname or ""
    return host if re.search(r"\.[a-z]", host) else settings.sender.rpartition("@")[2]


def signatures(settings: Settings) -> dict[str, tuple[str, str]]:
    """The DKIM key of the settings, as domain → (selector, PEM). Raises Invalid when its file cannot be read."""
    if settings.dkim_key_file is None:
        return {}
    try:
        return {settings.dkim_domain: (settings.dkim_selector, settings.dkim_key_file.read_text(encoding="ascii"))}
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"The DKIM key in {settings.dkim_key_file} cannot be read: {error}.") from error


def make_folder(settings: Settings) -> None:
    """Makes the data folder, for its owner alone: it holds addresses and the secret key."""
    try:
        settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"The data folder {settings.home} cannot be made: {error.strerror}.") from error


def bring_up_to_date(settings: Settings, *, migrates: bool) -> None:
    """Migrates the database, or raises Unavailable when that is needed and not wanted here."""
    if settings.embedded or (migrates and settings.migrate):
        migrate(settings.database)
    elif missing := pending(settings.database):
        raise Unavailable(f"The database lacks {len(missing)} migration(s), from {missing[0]} on: run `tidings migrate` first.")


async def find_tenant(db: Database, slug: str) -> Tenant:
    """The tenant of this slug. Raises NotFound with the way to make one."""
    tenant = await db.read(tenants.find, slug)
    if tenant is None:
        raise NotFound(f"There is no tenant {slug!r}; `tidings tenants create {slug}` makes one.")
    return tenant


def entry(house: House, tenant_id: int, operation: str, action: audit.Action = "change", **about: Any) -> audit.Act:
    """What the audit has of a command; `about` as in `audit.Act`."""
    return audit.Act(
        tenant_id=tenant_id, at=house.clock(), author=audit.COMMAND_LINE, action=action, operation=operation, status=200, **about
    )


async def change(
    house: House, tenant_id: int, operation: str, unit: Callable[[Tx], T], *, subject: str = "", subject_id: int | None = None
) -> T:
    """Runs the unit and enters it in the audit, in one transaction. It is about the row of the kind `subject` that has this id or, with
    none given, the `id` of what the unit answers. Raises what the unit raises.
    """

    def work(tx: Tx) -> T:
        done = unit(tx)
        identity = getattr(done, "id", 0) if subject_id is None else subject_id
        audit.enter(tx, entry(house, tenant_id, operation, subject=subject, subject_id=identity if subject else 0))
        return done

    return await house.db.write(work)


async def enter(house: House, tenant_id: int, operation: str, action: audit.Action = "change", **about: Any) -> None:
    """Enters in the audit what the command line is about to do by other means."""
    await house.db.write(audit.enter, entry(house, tenant_id, operation, action, **about))


async def everything(db: Database, page: Callable[..., Page[T]], tenant_id: int) -> list[T]:
    """All rows of a listing, read page by page: `page` takes a transaction, the tenant's id, `limit` and `page`."""
    found: list[T] = []
    while True:
        step = await db.read(page, tenant_id, limit=PAGE, page=len(found) // PAGE + 1)
        found += step.rows
        if len(step.rows) < PAGE:
            return found


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs it to its end in an event loop of its own: uvloop's where there is one."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)
