"""The house that tests of the contracts talk to."""

from tests.support.api import api

__all__ = ["api"]
