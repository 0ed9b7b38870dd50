"""Every route there is: one line a contract or resource. `web` builds the application from it, `openapi` the description."""

from tidings.api import alpha, callbacks, everlytic, inbound_hooks, instant, reviewrover, rocketcoms
from tidings.api.health import Metrics
from tidings.api.idempotency import guarded
from tidings.api.native import (
    audit,
    campaigns,
    contacts,
    conversations,
    imports,
    inbound,
    inboxes,
    interactions,
    jobs,
    keys,
    keywords,
    lists,
    messages,
    privacy,
    providers,
    reports,
    rest,
    retention,
    sandbox,
    sandbox_reply,
    senders,
    suppressions,
    templates,
    timeline,
    webhooks,
)
from tidings.api.openapi import Document
from tidings.api.tracking import Tracking
from tidings.api.wire import House, Route

CONTRACTS: tuple[list[Route], ...] = (
    reviewrover.ROUTES,
    instant.ROUTES,
    alpha.ROUTES,
    everlytic.ROUTES,
    rocketcoms.ROUTES,
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
    sandbox_reply.ROUTES,
    conversations.ROUTES,
    inbound.ROUTES,
    keys.ROUTES,
    senders.ROUTES,
    inboxes.ROUTES,
    audit.ROUTES,
    privacy.ROUTES,
    retention.ROUTES,
    reports.ROUTES,
    rest.ROUTES,
    interactions.ROUTES,
    timeline.ROUTES,
    keywords.ROUTES,
    webhooks.ROUTES,
    callbacks.ROUTES,
    inbound_hooks.ROUTES,
)


def collect(house: House, metrics: Metrics) -> list[Route]:
    """All of them, for one house."""
    described = [guarded(route) for table in CONTRACTS for route in table] + Tracking(house).routes() + metrics.routes()
    return described + Document(described).routes()
