"""SQLite behind the gate: one writer thread whose waiting units share a commit, a few reader threads. Nothing here knows a table."""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Concatenate, LiteralString

import msgspec

from tidings.database import functions, statements
from tidings.database.gate import Database, P, Param, R, Tx
from tidings.errors import Conflict, Unavailable

GROUP = 256
"""How many waiting units share one commit at most."""

_encode = msgspec.json.Encoder().encode


class SqliteTx(Tx):
    """A transaction on one sqlite3 connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__()
        self._connection = connection

    def _execute(self, sql: LiteralString, params: dict[str, Param]) -> sqlite3.Cursor:
        statement = statements.for_sqlite(sql)
        for name in (*statement.batches, *statement.lists):
            params[name] = _encode(params[name]).decode()
        return self._connection.execute(statement.text, params)

    def rows(self, sql: LiteralString, /, **params: Param) -> list[tuple[Any, ...]]:
        """Every row, bare."""
        return self._execute(sql, params).fetchall()

    def run(self, sql: LiteralString, /, **params: Param) -> int:
        """Runs a statement; answers how many rows it changed."""
        return self._execute(sql, params).rowcount


def connect(path: str, *, readonly: bool = False) -> sqlite3.Connection:
    """A connection set up as Tidings wants it: WAL, an fsync at every commit, transactions opened by us alone."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=512)
    functions.install(connection)
    connection.execute("PRAGMA busy_timeout = 3000")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA cache_size = -32768")
    if readonly:
        connection.execute("PRAGMA query_only = ON")
    return connection


class _Unit:
    """A unit that waits for its commit. `result` is (what it answered,), or what it raised."""

    __slots__ = ("args", "future", "kwargs", "loop", "notified", "result", "unit")

    def __init__(self, unit: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.unit, self.args, self.kwargs = unit, args, kwargs
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()
        self.notified: set[str] = set()
        self.result: tuple[Any] | BaseException = (None,)


class SqliteDatabase(Database):
    """One file, one writer thread."""

    kind = "sqlite"

    def __init__(self, path: str, *, readers: int = 2) -> None:
        super().__init__()
        self.path = path
        self.url = f"sqlite:///{path}"
        self._queue: queue.SimpleQueue[_Unit | None] = queue.SimpleQueue()
        self._closed = False
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix="tidings-read", initializer=self._open_reader)
        self._local = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._connection = connect(path)
        self._writer = threading.Thread(target=self._write_loop, name="tidings-write", daemon=True)
        self._writer.start()

    def _open_reader(self) -> None:
        connection = connect(self.path, readonly=True)
        self._local.connection = connection
        self._opened.append(connection)

    async def write(self, unit: Callable[Concatenate[Tx, P], R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Runs the unit in the writer thread; units waiting together share one commit, each rolls back alone."""
        if self._closed:
            raise Unavailable("The database is closed.")
        waiting = _Unit(unit, args, kwargs)
        self._queue.put(waiting)
        return await waiting.future

    async def read(self, unit: Callable[Concatenate[Tx, P], R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Runs the unit in a reader thread, on one snapshot."""

        def run() -> R:
            connection: sqlite3.Connection = self._local.connection
            try:
                connection.execute("BEGIN")
                try:
                    return unit(SqliteTx(connection), *args, **kwargs)
                finally:
                    connection.execute("ROLLBACK")
            except sqlite3.Error as error:
                raise _said(error) from error

        return await asyncio.get_running_loop().run_in_executor(self._readers, run)

    async def refresh(self) -> None:
        """SQLite goes by its indexes without knowing how many rows there are."""

    async def maintain(self, now: int) -> None:
        """Lets SQLite look after its statistics."""
        await self.write(lambda tx: tx.run("PRAGMA optimize"))

    async def close(self) -> None:
        """Commits what is waiting and closes every connection."""
        if self._closed:
            return
        self._closed = True
        self._queue.put(None)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._writer.join)
        await loop.run_in_executor(None, self._readers.shutdown)
        for connection in [*self._opened, self._connection]:
            connection.close()

    def _write_loop(self) -> None:
        while (first := self._queue.get()) is not None:
            group, last = [first], False
            while len(group) < GROUP:
                try:
                    waiting = self._queue.get_nowait()
                except queue.Empty:
                    break
                if waiting is None:
                    last = True
                    break
                group.append(waiting)
            self._commit_group(group)
            if last:
                return

    def _commit_group(self, group: list[_Unit]) -> None:
        """One transaction for the group. A unit that raises is undone to its savepoint; a transaction that breaks undoes all."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for waiting in group:
                self._run_unit(waiting, alone=len(group) == 1)
            if self._connection.in_transaction:
                self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            broken = _said(error)
            for waiting in group:
                waiting.result = broken
                waiting.notified = set()
        self._answer(group)

    def _run_unit(self, waiting: _Unit, *, alone: bool) -> None:
        connection = self._connection
        if not alone:
            connection.execute("SAVEPOINT unit")
        tx = SqliteTx(connection)
        try:
            waiting.result = (waiting.unit(tx, *waiting.args, **waiting.kwargs),)
            waiting.notified = tx.notified
        except BaseException as error:
            if not connection.in_transaction:
                # a full disk or an I/O error makes SQLite give up the whole transaction: nothing of the group is stored
                raise sqlite3.OperationalError(str(error)) from error
            waiting.result = _said(error)
            connection.execute("ROLLBACK" if alone else "ROLLBACK TO unit")
        if not alone:
            connection.execute("RELEASE unit")

    def _answer(self, group: list[_Unit]) -> None:
        """Wakes the waiters, one call per event loop."""
        loops: dict[asyncio.AbstractEventLoop, list[_Unit]] = {}
        for waiting in group:
            loops.setdefault(waiting.loop, []).append(waiting)
        for loop, units in loops.items():
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._resolve, units)

    def _resolve(self, units: list[_Unit]) -> None:
        channels: set[str] = set()
        for waiting in units:
            channels |= waiting.notified
            if waiting.future.done():
                continue
            if isinstance(waiting.result, tuple):
                waiting.future.set_result(waiting.result[0])
            else:
                waiting.future.set_exception(waiting.result)
        self.ring(channels)


def _said(error: BaseException) -> BaseException:
    """What the outside did to us (lock, full disk, I/O, a file that is no database) is Unavailable, a name taken meanwhile is a Conflict;
    a wrong statement stays the bug it is.
    """
    text = str(error)
    if isinstance(error, sqlite3.IntegrityError) and text.startswith("UNIQUE"):
        return Conflict(f"There is one like this already ({text.rpartition(': ')[2]}).")
    if isinstance(error, sqlite3.OperationalError) and "no such table" in text:
        return Unavailable("The database has not been set up: run `tidings migrate`.")
    if isinstance(error, sqlite3.DatabaseError) and any(sign in text for sign in _OUTSIDE):
        return Unavailable(f"The database cannot take this now: {text}.")
    return error


_OUTSIDE = ("locked", "full", "disk I/O", "readonly", "unable to open", "busy", "not a database", "malformed")
