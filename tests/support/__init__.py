"""What many tests lean on: the servers they talk to, and the rule about those that are missing."""

import os
from typing import NoReturn

import pytest

REQUIRE_ALL = os.environ.get("TIDINGS_TEST_REQUIRE_ALL") == "1"
"""Set where a test must never be skipped for want of a server: in continuous integration."""


def missing(what: str) -> NoReturn:
    """Skips the test with the reason, or fails it where everything is required."""
    if REQUIRE_ALL:
        pytest.fail(f"{what} (and TIDINGS_TEST_REQUIRE_ALL=1)", pytrace=False)
    pytest.skip(what)
