"""`tidings serve`, `api` and `worker`: the server as one process, or its two halves apart; and how it starts, stops, and keeps others out."""

import asyncio
import contextlib
import fcntl
import os
import signal
import socket
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from tidings import clock
from tidings.api.wire import House
from tidings.cli import context, logs
from tidings.delivery import imports
from tidings.errors import Unavailable
from tidings.settings import Settings

app = typer.Typer(add_completion=False)

HOST, PORT = "127.0.0.1", 18080

Host = Annotated[str, typer.Option(help="The address to listen on.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on; 0 takes a free one.")]
Home = Annotated[Path | None, typer.Option(help="The data folder, instead of TIDINGS_HOME.")]


class Parts(msgspec.Struct, frozen=True):
    """Which halves of the server a process runs, and where it listens."""

    api: bool
    worker: bool
    host: str = HOST
    port: int = PORT


@app.command("serve")
def serve(host: Host = HOST, port: Port = PORT, home: Home = None) -> None:
    """Run everything in one process: API, tracking and the worker. With SQLite it is the only one; with PostgreSQL it may have company."""
    _serve(context.load(home=home), Parts(api=True, worker=True, host=host, port=port))


@app.command("api")
def api(host: Host = HOST, port: Port = PORT, home: Home = None) -> None:
    """Run the API and tracking alone. Needs PostgreSQL, and a worker somewhere."""
    settings = context.load(home=home)
    _needs_postgres(settings, "api")
    _serve(settings, Parts(api=True, worker=False, host=host, port=port))


@app.command("worker")
def worker(home: Home = None) -> None:
    """Run the worker alone, which sends. Needs PostgreSQL; as many as you like."""
    settings = context.load(home=home)
    _needs_postgres(settings, "worker")
    _serve(settings, Parts(api=False, worker=True))


def _needs_postgres(settings: Settings, command: str) -> None:
    if settings.embedded:
        raise Unavailable(
            f"`tidings {command}` needs PostgreSQL (TIDINGS_DATABASE_URL): one process alone works on a SQLite file, `tidings serve`."
        )


def _serve(settings: Settings, parts: Parts) -> None:
    logs.configure(settings)
    if parts.api and not parts.port:
        # chosen here and not by the system while listening, for links in mail name it
        parts = msgspec.structs.replace(parts, port=free_port(parts.host))
    settings = reachable(settings, parts)
    with sole(settings):
        context.run(_until_stopped(settings, parts))


async def _until_stopped(settings: Settings, parts: Parts) -> None:
    stop = asyncio.Event()
    with stopped_by_signals(stop):
        async with context.opened(settings) as house:
            await together(house, settings, parts, stop=stop, started=_tell)
    with contextlib.suppress(OSError):
        print("Stopped.", file=sys.stderr, flush=True)


def _tell(url: str) -> None:
    print(f"Tidings listens on {url}", file=sys.stderr, flush=True)


async def together(
    house: House, settings: Settings, parts: Parts, *, stop: asyncio.Event, started: Callable[[str], None] | None = None
) -> None:
    """Runs the parts in this event loop until `stop` is set and each has finished what it had in hand. When one fails, all end."""
    registry = context.providers(house, settings)
    try:
        if parts.api:
            await imports.sweep_uploads(house.db, house.data_folder, now=house.clock())
        async with asyncio.TaskGroup() as tasks:
            if parts.worker:
                from tidings.worker import Door, work

                door = Door(settings.inbound_listen, name=context.message_id_domain(settings), insists=parts.api)
                lease = settings.lease * clock.SECOND
                tasks.create_task(work(house, registry, stop=stop, embedded=settings.embedded, lease=lease, door=door))
            if parts.api:
                from tidings import web

                tasks.create_task(web.serve(web.create_app(house), parts.host, parts.port, stop=stop, started=started))
    finally:
        await registry.close()


def free_port(host: str) -> int:
    """A port that nobody listens on at this moment. Raises Unavailable when the address is not one of this machine."""
    try:
        with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            port: int = probe.getsockname()[1]
            return port
    except OSError as error:
        raise Unavailable(f"Cannot listen on {host}: {error.strerror or error}.") from error


def reachable(settings: Settings, parts: Parts) -> Settings:
    """The settings with a public URL that fits the port, where none was chosen: links of a server tried out must lead to it."""
    if settings.public_url != Settings().public_url or not parts.port:
        return settings
    return msgspec.structs.replace(settings, public_url=f"http://127.0.0.1:{parts.port}")


@contextlib.contextmanager
def sole(settings: Settings) -> Generator[None]:
    """Holds the lock of a SQLite file, which ends with the process however it ends. Raises Unavailable when another server holds it."""
    if not settings.embedded:
        yield
        return
    context.make_folder(settings)
    path = lock_file(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = f" (process {file.read().strip()})"
            raise Unavailable(
                f"A Tidings server{holder} works on {settings.home} already: stop it, or name another data folder with --home."
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def is_served(settings: Settings) -> bool:
    """Whether a server is at work on this SQLite file."""
    try:
        with open(lock_file(settings), encoding="ascii") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def lock_file(settings: Settings) -> Path:
    """Beside the database file, whichever folder that is in."""
    return Path(settings.database.removeprefix("sqlite:///") + ".lock")


@contextlib.contextmanager
def stopped_by_signals(stop: asyncio.Event) -> Generator[None]:
    """SIGINT and SIGTERM set `stop`; a second one ends the process at once, as it would any other."""
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)

    def first() -> None:
        for number in signals:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
        stop.set()
        with contextlib.suppress(OSError):  # whoever read this may have gone: stopping goes on without an audience
            print("Stopping: finishing what is in flight (once more to end at once).", file=sys.stderr, flush=True)

    for number in signals:
        loop.add_signal_handler(number, first)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
