"""What tests of the API ask of the house: see `tests.support.api`."""

from tests.support.api import NOON, PUBLIC_URL, SECRET, Api, Database, api, basic, page_of

__all__ = ["NOON", "PUBLIC_URL", "SECRET", "Api", "Database", "api", "basic", "page_of"]
