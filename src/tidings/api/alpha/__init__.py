"""The alpha contract: one-off mail for a CRM below /api/v1/communications, split by what is done. Its record (CR) is made in `records`."""

from tidings.api.alpha import analytics, attachments, export, lifecycle, lookup, search, send, thread
from tidings.api.wire import Route

ROUTES: list[Route] = [
    *send.ROUTES,
    *lookup.ROUTES,
    *lifecycle.ROUTES,
    *analytics.ROUTES,
    *export.ROUTES,
    *thread.ROUTES,
    *attachments.ROUTES,
    *search.ROUTES,
]
