"""Sending over SMTP in a test: a provider of its own, and what came of it."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from tests.providers.conformance import Reports
from tests.providers.scripted import ScriptedServer
from tidings.message.outgoing import Email, Outcome
from tidings.providers.smtp import Smtp, SmtpSettings


@contextlib.asynccontextmanager
async def client(url: str) -> AsyncGenerator[Smtp]:
    provider = Smtp(SmtpSettings.from_url(url))
    try:
        yield provider
    finally:
        await provider.close()


async def send(url: str, *mails: Email) -> dict[int, Outcome]:
    """Send over a provider of its own, for which two seconds are more than enough."""
    reports = Reports()
    async with client(url) as provider, asyncio.timeout(10):
        await provider.send(mails, reports)
    return reports.outcomes


def one(server: ScriptedServer, options: str = "") -> str:
    return f"{server.url}&connections=1{options}"


def kinds(outcomes: dict[int, Outcome]) -> list[str]:
    return [outcome.kind for _, outcome in sorted(outcomes.items())]
