"""PostgreSQL behind the gate: pooled psycopg connections in threads, NOTIFY to wake other processes. Nothing here knows a table."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Concatenate, LiteralString, cast

import psycopg
from psycopg import errors as pg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.sql import SQL, Identifier, Literal
from psycopg.types.numeric import Int8Dumper
from psycopg.types.string import TextLoader
from psycopg_pool import ConnectionPool, PoolTimeout

from tidings.database import statements
from tidings.database.gate import Database, P, Param, R, Tx
from tidings.errors import Conflict, Unavailable

CHANNEL = "tidings"
MONTHS_AHEAD = 3
LOCK = "100ms"
"""How long the dropping of a month may wait for a lock, with everybody else behind it."""
TRIES = 4
"""How often a unit is run when the database asks for it to be run again (deadlock, serialization)."""

_PLANNING = {"options": "-c plan_cache_mode=force_custom_plan -c random_page_cost=1.1"}
"""A plan kept from when a table was empty would read it through once it is full; parsing is kept, planning is done anew. And what is
not in memory is on a disk without a head to move: reckoning with one, PostgreSQL reads tables through rather than follow an index."""

Connection = psycopg.Connection[tuple[Any, ...]]


class PostgresTx(Tx):
    """A transaction on one psycopg connection."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection
        self.slot = connection.info.backend_pid

    def _execute(self, sql: LiteralString, params: dict[str, Param]) -> psycopg.Cursor[tuple[Any, ...]]:
        statement = statements.for_postgres(sql)
        for name, width in statement.batches.items():
            batch = cast(list[tuple[Any, ...]], params.pop(name))
            columns = zip(*batch, strict=True) if batch else ((),) * width
            for index, column in enumerate(columns):
                params[f"{name}_{index}"] = list(column)
        return self._connection.execute(cast(LiteralString, statement.text), params)

    def rows(self, sql: LiteralString, /, **params: Param) -> list[tuple[Any, ...]]:
        """Every row, bare."""
        return self._execute(sql, params).fetchall()

    def run(self, sql: LiteralString, /, **params: Param) -> int:
        """Runs a statement; answers how many rows it changed."""
        return self._execute(sql, params).rowcount


def configure(connection: Connection) -> None:
    """Makes a connection speak as the units of work expect."""
    # every integer travels as bigint: one prepared statement per text, whatever the value's size
    connection.adapters.register_dumper(int, Int8Dumper)
    connection.adapters.register_loader("jsonb", TextLoader)


class PostgresDatabase(Database):
    """A pool of `size` connections, each used by one thread at a time. Autocommit outside `write`.

    Behind PgBouncer in transaction mode add `?prepare=0` to the URL: no prepared statements then, and polling instead of LISTEN.
    """

    kind = "postgres"

    def __init__(self, url: str, *, size: int = 8) -> None:
        super().__init__()
        conninfo, self._pooled_outside = libpq(url)
        parts = conninfo_to_dict(conninfo)
        self.url = f"postgresql://{parts.get('user', '')}@{parts.get('host', '')}:{parts.get('port', 5432)}/{parts.get('dbname', '')}"
        prepare = None if self._pooled_outside else 2
        self._conninfo = conninfo
        self._pool = ConnectionPool(
            conninfo,
            min_size=1,
            max_size=size,
            timeout=5,
            # the pool waits longer after each failure to connect; begun anew every few seconds it notices soon that the server is back
            reconnect_timeout=5,
            open=False,
            configure=configure,
            kwargs={"autocommit": True, "prepare_threshold": prepare, **({} if self._pooled_outside else _PLANNING)},
        )
        self._threads = ThreadPoolExecutor(size, thread_name_prefix="tidings-db")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listener: threading.Thread | None = None
        self._stopping = threading.Event()

    async def open(self) -> None:
        """Connects. Raises `Unavailable` when the server cannot be reached."""
        self._loop = asyncio.get_running_loop()
        try:
            await self._loop.run_in_executor(self._threads, self._connect)
        except (PoolTimeout, psycopg.OperationalError) as error:
            await self.close()
            raise Unavailable(f"Cannot reach PostgreSQL at {self.url}: {_sentence(error)}") from error

    def _connect(self) -> None:
        # the pool would try for ten seconds; one plain attempt tells at once what is wrong
        psycopg.connect(self._conninfo, connect_timeout=10).close()
        self._pool.open(wait=True, timeout=10)

    def bell(self, channel: str) -> asyncio.Event:
        """As the gate says; the first one begins to hear what other processes commit."""
        if self._listener is None and not self._pooled_outside:
            self._listener = threading.Thread(target=self._listen, name="tidings-listen", daemon=True)
            self._listener.start()
        return super().bell(channel)

    async def write(self, unit: Callable[Concatenate[Tx, P], R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Runs the unit in a transaction; again when PostgreSQL asks for it (deadlock, serialization)."""

        def run() -> tuple[R, set[str]]:
            for left in range(TRIES - 1, -1, -1):
                try:
                    return self._transact(lambda tx: unit(tx, *args, **kwargs))
                except (pg.DeadlockDetected, pg.SerializationFailure):
                    if not left:
                        raise
            raise AssertionError("unreachable")

        result, notified = await self._in_thread(run)
        if notified:
            self.ring(notified)
        return result

    def _transact(self, unit: Callable[[Tx], R]) -> tuple[R, set[str]]:
        with self._pool.connection() as connection, connection.transaction():
            tx = PostgresTx(connection)
            result = unit(tx)
            for channel in tx.notified:
                connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, channel))
            return result, tx.notified

    async def read(self, unit: Callable[Concatenate[Tx, P], R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Runs the unit without a transaction of its own: each statement sees what is committed."""

        def run() -> R:
            with self._pool.connection() as connection:
                return unit(PostgresTx(connection), *args, **kwargs)

        return await self._in_thread(run)

    async def refresh(self) -> None:
        """ANALYZE for tables that have grown by half: autovacuum would come a minute later, and until then PostgreSQL takes a table for empty."""

        def run() -> None:
            with self._pool.connection() as connection:
                rows = connection.execute(
                    "SELECT relname FROM pg_stat_user_tables WHERE n_mod_since_analyze > 1000 + n_live_tup / 2"
                ).fetchall()
                for (name,) in rows:
                    connection.execute(SQL("ANALYZE {}").format(Identifier(name)))

        await self._in_thread(run)

    async def drop_months(self, before: int) -> list[str]:
        """Drops empty partitions that end before that instant. Nobody waits for it longer than LOCK, for it waits no longer for anybody."""

        def run() -> list[str]:
            with self._pool.connection() as connection:
                return [name for name in old_partitions(connection, before) if drop_partition(connection, name)]

        return await self._in_thread(run)

    async def maintain(self, now: int) -> None:
        """Makes the partitions of the coming months."""

        def run() -> None:
            with self._pool.connection() as connection, connection.transaction():
                ensure_partitions(connection, now)

        await self._in_thread(run)

    async def _in_thread(self, work: Callable[[], R]) -> R:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except pg.UniqueViolation as error:
            raise Conflict(f"There is one like this already ({error.diag.constraint_name}).") from error
        except pg.UndefinedTable as error:
            raise Unavailable("The database has not been set up: run `tidings migrate`.") from error
        except (PoolTimeout, pg.OperationalError) as error:
            raise Unavailable(f"The database cannot take this now: {_sentence(error)}") from error

    async def close(self) -> None:
        """Finishes what is under way and closes every connection."""
        self._stopping.set()
        loop = asyncio.get_running_loop()
        if self._listener is not None:
            await loop.run_in_executor(None, self._wake_listener)
            await loop.run_in_executor(None, self._listener.join)
        await loop.run_in_executor(None, self._pool.close)
        await loop.run_in_executor(None, self._threads.shutdown)

    def _wake_listener(self) -> None:
        try:
            with self._pool.connection(timeout=1) as connection:
                connection.execute("SELECT pg_notify(%s, '')", (CHANNEL,))
        except (PoolTimeout, psycopg.OperationalError):
            return  # it looks up by itself within half a second

    def _listen(self) -> None:
        """Hears other processes' NOTIFY; a lost connection is opened again (polling covers the gap)."""
        assert self._loop is not None
        while not self._stopping.is_set():
            try:
                with psycopg.connect(self._conninfo, autocommit=True) as connection:
                    connection.execute("LISTEN tidings")
                    while not self._stopping.is_set():
                        for notice in connection.notifies(timeout=0.5, stop_after=1):
                            self._loop.call_soon_threadsafe(self.ring, {notice.payload})
            except psycopg.OperationalError:
                self._stopping.wait(1.0)
            except RuntimeError:
                return  # the event loop is closed: nobody is left to wake


def _sentence(error: Exception) -> str:
    """The driver's words as the end of a sentence of ours."""
    return str(error).strip().rstrip(".") + "."


def libpq(url: str) -> tuple[str, bool]:
    """libpq's connection string, and whether a pooler in transaction mode stands between (`?prepare=0`)."""
    pooled_outside = "prepare=0" in url.partition("?")[2].split("&")
    if pooled_outside:
        head, _, query = url.partition("?")
        rest = "&".join(part for part in query.split("&") if part != "prepare=0")
        url = f"{head}?{rest}" if rest else head
    return make_conninfo(url, application_name="tidings"), pooled_outside


def ensure_partitions(connection: psycopg.Connection[Any], now: int) -> None:
    """Makes the partitions of `interactions` for this month and the next ones, where they are missing."""
    moment = datetime.fromtimestamp(now / 1000, UTC)
    year, month = moment.year, moment.month
    for _ in range(MONTHS_AHEAD + 1):
        following = (year + month // 12, month % 12 + 1)
        begin, end = (int(datetime(y, m, 1, tzinfo=UTC).timestamp() * 1000) for y, m in ((year, month), following))
        name = f"interactions_{year}_{month:02d}"
        statement = f"CREATE TABLE IF NOT EXISTS {name} PARTITION OF interactions FOR VALUES FROM ({begin}) TO ({end})"
        connection.execute(cast(LiteralString, statement))
        year, month = following


def old_partitions(connection: psycopg.Connection[Any], before: int) -> list[str]:
    """The monthly partitions of `interactions` that end at that instant or before, the oldest first."""
    rows = connection.execute(
        "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
        " WHERE i.inhparent = 'interactions'::regclass AND c.relname ~ '^interactions_[0-9]{4}_[0-9]{2}$' ORDER BY c.relname"
    ).fetchall()
    moment = datetime.fromtimestamp(before / 1000, UTC)
    # the month in which the instant lies is not over by then
    return [name for (name,) in rows if name < f"interactions_{moment.year}_{moment.month:02d}"]


def drop_partition(connection: psycopg.Connection[Any], name: str) -> bool:
    """Drops a partition if it is empty and nobody is at it; in autocommit.

    VACUUM comes first: it cuts off the pages of what was deleted, so that the look under the lock, by which it is certain that nothing
    has come since, reads none of them. (DETACH CONCURRENTLY would wait without a lock, but is not to be had beside a DEFAULT partition.)
    """
    month = Identifier(name)
    empty = SQL("SELECT 1 FROM {} LIMIT 1").format(month)
    try:
        if connection.execute(empty).fetchone() is not None:
            return False
        connection.execute(SQL("VACUUM (TRUNCATE) {}").format(month))
        with connection.transaction():
            connection.execute(SQL("SET LOCAL lock_timeout = {}").format(Literal(LOCK)))
            connection.execute(SQL("SET LOCAL statement_timeout = '1s'"))
            connection.execute("LOCK TABLE ONLY interactions IN ACCESS EXCLUSIVE MODE")
            connection.execute(SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(month))
            if connection.execute(empty).fetchone() is not None:
                return False
            connection.execute(SQL("DROP TABLE {}").format(month))
    except (pg.LockNotAvailable, pg.QueryCanceled, pg.UndefinedTable, pg.DeadlockDetected):
        return False  # somebody is at it, or has done it: another time
    return True
