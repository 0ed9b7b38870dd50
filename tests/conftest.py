"""The databases every test can ask for: fresh, migrated, empty, and cheap, because each is a copy of one that was migrated once."""

import itertools
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support import missing
from tests.support.postgres import Postgres, PostgresMissingError, running_postgres
from tidings.database import Database, open_database
from tidings.database.migrate import migrate

NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    path = tmp_path / "tidings.db"
    shutil.copyfile(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A server for this run (each worker of a parallel run has its own), where a crash of the machine may lose everything."""
    try:
        with running_postgres() as server:
            yield server
    except PostgresMissingError as error:
        missing(str(error))


@pytest.fixture(scope="session")
def postgres_template(postgres: Postgres) -> str:
    migrate(postgres.create("migrated"))
    return "migrated"


@pytest.fixture
def postgres_url(postgres: Postgres, postgres_template: str) -> Iterator[str]:
    name = f"test_{next(NUMBERS)}"
    yield postgres.create(name, template=postgres_template)
    postgres.drop(name)


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The address of a fresh, migrated, empty database; the test runs once on each kind."""
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    """The same, opened."""
    database = await open_database(database_url)
    yield database
    await database.close()
