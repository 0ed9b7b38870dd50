"""A house for each test, on both databases."""

import pytest

from tests.support.walk import House
from tidings.database import Database


@pytest.fixture
async def house(db: Database) -> House:
    return await House(db).settle_in()
