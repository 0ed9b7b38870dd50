"""Every route there is: one line a contract or resource. `web` builds the application from it, `openapi` the description."""

from tidings.api import alpha, instant, reviewrover
from tidings.api.health import Metrics
from tidings.api.native import campaigns, contacts, imports, jobs, keys, lists, messages, providers, sandbox, suppressions, templates
from tidings.api.openapi import Document
from tidings.api.tracking import Tracking
from tidings.api.wire import House, Route

CONTRACTS: tuple[list[Route], ...] = (
    reviewrover.ROUTES,
    instant.ROUTES,
    alpha.ROUTES,
    contacts.ROUTES,
    imports.ROUTES,
    lists.ROUTES,
    templates.ROUTES,
    campaigns.ROUTES,
    messages.ROUTES,
    jobs.ROUTES,
    suppressions.ROUTES,
    providers.ROUTES,
    sandbox.ROUTES,
    keys.ROUTES,
)


def collect(house: House, metrics: Metrics) -> list[Route]:
    """All of them, for one house."""
    described = [route for table in CONTRACTS for route in table] + Tracking(house).routes() + metrics.routes()
    return described + Document(described).routes()
