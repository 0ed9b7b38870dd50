"""What tests of posting ask for."""

from collections.abc import AsyncIterator

import pytest

from tests.support.receiving import Office, Receiver, receiving
from tidings.database import Database


@pytest.fixture
async def office(db: Database) -> AsyncIterator[Office]:
    """On each database."""
    found = await Office(db).settle_in()
    yield found
    await found.close()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as found:
        yield found
