"""`tidings doctor`: looks at everything Tidings leans on and says what to do where something is not as it should be. It changes nothing and sends nothing."""

import asyncio
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from typing import Annotated, Literal

import msgspec
import typer

from tidings import __version__, clock
from tidings.cli import context
from tidings.database import Tx, open_database
from tidings.database.migrate import pending
from tidings.errors import TidingsError
from tidings.providers.smtp.open import Failure, open_connection, tls_context
from tidings.providers.smtp.settings import SmtpSettings
from tidings.settings import KEY_FILE, Settings
from tidings.storage import open_store, sha256

app = typer.Typer(add_completion=False)

OLDEST_SQLITE = (3, 35)
"""RETURNING and materialized common table expressions came with 3.35."""
OLDEST_POSTGRES = 140_000
LITTLE_SPACE = 1024**3
SKEW = 2 * clock.SECOND
"""How far apart the clocks of two machines may be before leases and schedules suffer."""
PATIENCE = 10.0
"""Seconds for anything that crosses a network."""

State = Literal["ok", "warning", "failure"]
Check = Callable[[Settings], Awaitable[list["Finding"]]]


class Finding(msgspec.Struct, frozen=True):
    """What was looked at, how it is, and what to do about it."""

    check: str
    state: State
    found: str
    advice: str = ""


@app.command("doctor")
def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False) -> None:
    """Check database, provider, public URL, clock and the rest; say what to do. Ends with 1 when something fails."""
    settings = context.load()
    findings = context.run(examine(settings))
    if as_json:
        print(json.dumps([msgspec.to_builtins(finding) for finding in findings], indent=2))
    else:
        show(findings)
    if any(finding.state == "failure" for finding in findings):
        raise typer.Exit(1)


async def examine(settings: Settings) -> list[Finding]:
    """Every finding, in the order a newcomer would look."""
    checks: list[Check] = [software, folder, secret, database, storage, mail, sms, public_url, time_passing]
    return [finding for check in checks for finding in await check(settings)]


def show(findings: list[Finding]) -> None:
    """The findings as a table."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    styles = {"ok": "green", "warning": "yellow", "failure": "red"}
    table = Table("check", "", "found", "what to do", box=None, pad_edge=False)
    for finding in findings:
        table.add_row(finding.check, Text(finding.state, styles[finding.state]), Text(finding.found), Text(finding.advice))
    Console().print(table)


async def software(settings: Settings) -> list[Finding]:
    """Python, SQLite, and uvloop, without which everything works, but slower."""
    findings = [Finding("Python", "ok", f"{platform.python_version()}, Tidings {__version__}")]
    if find_spec("uvloop") is None:
        findings.append(Finding("Event loop", "warning", "asyncio's own", "Install uvloop for more speed."))
    return findings


async def folder(settings: Settings) -> list[Finding]:
    """The data folder: there, writable, with room."""
    home = settings.home
    if not home.exists():
        parent = next(place for place in home.absolute().parents if place.exists())
        if os.access(parent, os.W_OK):
            return [Finding("Data folder", "ok", f"{home} will be made at the first start")]
        return [Finding("Data folder", "failure", f"{home} is missing and {parent} is not writable", "Make it, or set TIDINGS_HOME.")]
    try:
        with tempfile.TemporaryFile(dir=home) as file:
            file.write(b"tidings")
    except OSError as error:
        return [
            Finding("Data folder", "failure", f"{home}: {error.strerror}", "Give this user the right to write there, or set TIDINGS_HOME.")
        ]
    free = shutil.disk_usage(home).free
    found = f"{home} is writable, {free / 1024**3:.1f} GiB free"
    if free < LITTLE_SPACE:
        return [Finding("Data folder", "warning", found, "Make room: a full disk stops everything that is accepted (nothing is lost).")]
    return [Finding("Data folder", "ok", found)]


async def secret(settings: Settings) -> list[Finding]:
    """The secret key: there, and nobody else's to read."""
    if settings.secret_key:
        return [Finding("Secret key", "ok", "from TIDINGS_SECRET_KEY")]
    path = settings.home / KEY_FILE
    if not settings.embedded:
        advice = "Set TIDINGS_SECRET_KEY to the same value on every machine: links signed on one must be known to the others."
        return [Finding("Secret key", "warning", f"kept in {path}, on this machine alone", advice)]
    if not path.exists():
        return [Finding("Secret key", "ok", f"{path} will be made at the first start")]
    if path.stat().st_mode & 0o077:
        return [Finding("Secret key", "warning", f"{path} can be read by others", f"chmod 600 {path}")]
    return [Finding("Secret key", "ok", f"{path}; keep a copy where the backups are")]


async def database(settings: Settings) -> list[Finding]:
    """The database: reachable, new enough, its schema up to date, its clock the same as ours."""
    path = settings.database.removeprefix("sqlite:///")
    fresh = settings.embedded and not await asyncio.to_thread(os.path.exists, path)
    try:
        opened = await open_database("sqlite:///:memory:" if fresh else settings.database, size=2)
        try:
            if settings.embedded:
                findings = [_sqlite_finding(path, await opened.read(_sqlite_version), fresh=fresh)]
            else:
                findings = _postgres_findings(opened.url, *await _ask_postgres(opened.read(_version_and_clock)))
        finally:
            await opened.close()
        missing = [] if fresh else await asyncio.to_thread(pending, settings.database)
    except TidingsError as error:
        return [Finding("Database", "failure", error.message, "Start it, or correct TIDINGS_DATABASE_URL.")]
    if missing:
        findings.append(Finding("Schema", "warning", f"{len(missing)} migration(s) behind, from {missing[0]} on", "Run `tidings migrate`."))
    elif not fresh:
        findings.append(Finding("Schema", "ok", "up to date"))
    return findings


def _sqlite_finding(path: str, version: str, *, fresh: bool) -> Finding:
    found = f"SQLite {version}, {path}" + (" will be made at the first start" if fresh else "")
    if tuple(int(part) for part in version.split(".")) < OLDEST_SQLITE:
        return Finding("Database", "failure", found, "Use a Python that brings SQLite 3.35 or newer.")
    return Finding("Database", "ok", found)


async def _ask_postgres(answer: Awaitable[tuple[int, int]]) -> tuple[int, int, int]:
    """(version number, the database's clock less ours in milliseconds, how long the question took in milliseconds)."""
    before = clock.now()
    version, theirs = await answer
    after = clock.now()
    return version, theirs - (before + after) // 2, after - before


def _postgres_findings(url: str, version: int, ahead: int, took: int) -> list[Finding]:
    found = f"PostgreSQL {version // 10_000}.{version % 10_000} at {url}"
    too_old = version < OLDEST_POSTGRES
    findings = [Finding("Database", "failure" if too_old else "ok", found, "Use PostgreSQL 14 or newer." if too_old else "")]
    if abs(ahead) > SKEW + took:
        advice = "Set both clocks by NTP: leases and schedules compare them."
        findings.append(Finding("Database clock", "failure", f"{ahead / 1000:+.1f} s against this machine's", advice))
    else:
        findings.append(Finding("Database clock", "ok", f"{ahead:+d} ms against this machine's"))
    return findings


def _sqlite_version(tx: Tx) -> str:
    return str(tx.value("SELECT sqlite_version()"))


def _version_and_clock(tx: Tx) -> tuple[int, int]:
    row = tx.row(
        "SELECT CAST(current_setting('server_version_num') AS bigint), CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)"
    )
    assert row is not None
    return int(row[0]), int(row[1])


async def storage(settings: Settings) -> list[Finding]:
    """Where attachments are kept: takes a few bytes, gives them back and removes them again."""
    probe, nobody = b"tidings", 0
    fresh = not settings.storage_url and not await asyncio.to_thread(settings.home.exists)
    if fresh:
        return [Finding("Storage", "ok", "in the data folder, which will be made at the first start")]
    try:
        store = open_store(settings.storage_url, settings.home)
        digest = sha256(probe)
        await store.put(nobody, digest, probe)
        await store.get(nobody, digest)
        await store.drop(nobody, digest)
    except TidingsError as error:
        return [Finding("Storage", "failure", error.message, "Correct TIDINGS_STORAGE_URL, the credentials or the rights there.")]
    if not settings.embedded and not settings.storage_url:
        advice = "Set TIDINGS_STORAGE_URL to a place that all machines share: files accepted on one must be had on the others."
        return [Finding("Storage", "warning", f"{store.url} is on this machine alone", advice)]
    return [Finding("Storage", "ok", f"{store.url} can be written")]


async def mail(settings: Settings) -> list[Finding]:
    """The mail server of the settings: takes our greeting and our password. Nothing is sent."""
    if settings.smtp_url.startswith("sandbox:"):
        advice = "Set TIDINGS_SMTP_URL when mail shall go out."
        return [Finding("Mail", "ok", "sandbox: everything is kept, nothing is sent", advice)]
    findings: list[Finding] = []
    try:
        smtp = msgspec.structs.replace(SmtpSettings.from_url(settings.smtp_url), timeout=PATIENCE)
        tls = await asyncio.to_thread(tls_context, smtp)
    except (TidingsError, OSError) as error:
        return [Finding("Mail", "failure", str(error), "Correct TIDINGS_SMTP_URL.")]
    opened = await open_connection(smtp, smtp.helo or platform.node() or "localhost", tls)
    if isinstance(opened, Failure):
        findings.append(
            Finding("Mail", "failure", opened.reason, "Correct TIDINGS_SMTP_URL or the mail server; until then mail waits, none is lost.")
        )
    else:
        transport, features = opened
        transport.write(b"QUIT\r\n")
        transport.close()
        how = "pipelining" if features.pipelining else "no pipelining, so slower"
        findings.append(Finding("Mail", "ok", f"{smtp.place} lets us in ({how})"))
    if settings.sender == Settings().sender:
        advice = "Set TIDINGS_SENDER, or give each tenant its own: `tidings tenants create SLUG --sender you@your.domain`."
        findings.append(Finding("Sender", "warning", f"new tenants would send as {settings.sender}", advice))
    return findings


async def sms(settings: Settings) -> list[Finding]:
    """Text messages: the server has no carrier of its own for them."""
    if settings.smtp_url.startswith("sandbox:"):
        return [
            Finding("SMS", "ok", "sandbox: everything is kept, nothing is sent", "A tenant's own provider (Twilio, SMPP) sends for real.")
        ]
    advice = "Text messages wait until their tenant has a provider for them; Twilio, SMPP or the sandbox (POST /api/v1/providers)."
    return [Finding("SMS", "warning", "there is no carrier for text messages", advice)]


async def public_url(settings: Settings) -> list[Finding]:
    """The address in every link: an address the world can reach, with our server behind it."""
    import httpx2

    url = settings.public_url
    host = httpx2.URL(url).host
    real_mail = not settings.smtp_url.startswith("sandbox:")
    if real_mail and host in {"localhost", "127.0.0.1", "::1"}:
        return [
            Finding(
                "Public URL", "warning", f"{url} is this machine alone", "Set TIDINGS_PUBLIC_URL to where recipients reach this server."
            )
        ]
    try:
        async with httpx2.AsyncClient(timeout=PATIENCE) as client:
            answer = await client.get(f"{url}/healthz")
    except httpx2.HTTPError as error:
        advice = "Start the server (`tidings serve`), or correct TIDINGS_PUBLIC_URL."
        return [Finding("Public URL", "warning", f"{url} does not answer: {error or type(error).__name__}", advice)]
    if answer.status_code != 200:
        advice = "Another server is listening there: correct TIDINGS_PUBLIC_URL or the proxy."
        return [Finding("Public URL", "failure", f"{url}/healthz answers {answer.status_code}", advice)]
    return [Finding("Public URL", "ok", f"{url} answers")]


async def time_passing(settings: Settings) -> list[Finding]:
    """The clock of this machine: sane, and moving as fast as its steady twin."""
    wall, steady = clock.now(), time.monotonic_ns()
    await asyncio.sleep(0.2)
    drift = (clock.now() - wall) - (time.monotonic_ns() - steady) // 1_000_000
    if clock.now() < BUILT_AFTER:
        return [
            Finding(
                "Clock", "failure", f"it is {time.strftime('%Y-%m-%d', time.gmtime())} here", "Set the clock (NTP): schedules follow it."
            )
        ]
    if abs(drift) > 50:
        return [Finding("Clock", "warning", f"jumped by {drift} ms within 200 ms", "Let NTP slew the clock instead of stepping it.")]
    return [Finding("Clock", "ok", f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime())} UTC")]


BUILT_AFTER = 1_735_689_600_000
"""2025-01-01: no clock that is right can show an earlier day."""
