"""The everlytic contract: reports of what recipients did, and webhooks for text messages."""

from tidings.api.everlytic import reports, webhooks
from tidings.api.wire import Route

ROUTES: list[Route] = [*reports.ROUTES, *webhooks.ROUTES]
