"""The gate: the one room that knows which database there is."""

from pathlib import Path

from tidings.database.batcher import Batcher
from tidings.database.gate import Database, Tx
from tidings.database.postgres import PostgresDatabase
from tidings.database.sqlite import SqliteDatabase
from tidings.errors import Invalid

__all__ = ["Batcher", "Database", "Tx", "open_database"]


async def open_database(url: str, *, size: int = 8) -> Database:
    """Opens `sqlite:///<path>` or `postgresql://…` (`size` connections). Raises Invalid for another URL, Unavailable when it cannot be reached."""
    if url.startswith("sqlite:///"):
        path = Path(url.removeprefix("sqlite:///"))
        path.parent.mkdir(parents=True, exist_ok=True)
        return SqliteDatabase(str(path))
    if url.startswith(("postgresql://", "postgres://")):
        database = PostgresDatabase(url, size=size)
        await database.open()
        return database
    raise Invalid("The database URL must begin with sqlite:/// or postgresql://.")
