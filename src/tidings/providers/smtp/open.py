"""Opening an SMTP connection up to where mail can be sent: connect, TLS, log-in; and what went wrong, in one sentence."""

import asyncio
import os
import socket
import ssl
from typing import cast

import aiosmtplib
import msgspec

from tidings.providers.smtp.codes import MINUTE, effect, reply_of
from tidings.providers.smtp.mail import Features
from tidings.providers.smtp.settings import SmtpSettings


class Failure(msgspec.Struct, frozen=True):
    """Why there is no connection, and when it is worth asking again (milliseconds, if known)."""

    reason: str
    retry_after: int | None = None


Opened = tuple[asyncio.Transport, Features]


def tls_context(settings: SmtpSettings) -> ssl.SSLContext | None:
    """The TLS side of the settings; reads certificates from disk, so not for the event loop. Raises OSError for a bad `ca`."""
    if settings.tls == "none":
        return None
    context = ssl.create_default_context(cafile=settings.ca or None)
    if not (settings.guarded if settings.verify is None else settings.verify):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


async def open_connection(settings: SmtpSettings, helo: str, tls: ssl.SSLContext | None) -> Opened | Failure:
    """Connect, upgrade to TLS, log in. aiosmtplib does all three; its transport is taken over afterwards."""
    client = aiosmtplib.SMTP(
        hostname=settings.host,
        port=settings.port,
        username=settings.user or None,
        password=settings.password or None,
        local_hostname=helo,
        timeout=settings.timeout,
        use_tls=settings.tls == "tls",
        start_tls={"opportunistic": True if settings.guarded else None, "starttls": True}.get(settings.tls, False),
        tls_context=tls,
    )
    try:
        await client.connect()
        if client.is_ehlo_or_helo_needed:
            await _greet(client)
    except (aiosmtplib.SMTPException, OSError, ValueError) as wrong:
        client.close()
        return _explain(settings, wrong)
    except asyncio.CancelledError:
        client.close()
        raise
    # uvloop's transports are none of asyncio's classes, but speak the same.
    return cast(asyncio.Transport, client.transport), _features(client.esmtp_extensions)


async def _greet(client: aiosmtplib.SMTP) -> None:
    try:
        await client.ehlo()
    except aiosmtplib.SMTPHeloError:
        if not client.is_connected:
            raise
        await client.helo()


def _features(offered: dict[str, str]) -> Features:
    size = offered.get("size")
    return Features(
        pipelining="pipelining" in offered,
        eightbit="8bitmime" in offered,
        utf8="smtputf8" in offered,
        size=None if size is None else int(size) if size.isascii() and size.isdigit() else 0,
    )


def _explain(settings: SmtpSettings, wrong: Exception) -> Failure:
    """One sentence for whoever has to put it right."""
    place = settings.place
    causes = [wrong, *([wrong.__cause__] if wrong.__cause__ else [])]
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Failure(f"the TLS certificate of {place} is not valid for it: {cause.verify_message}")
        if isinstance(cause, ssl.SSLError):
            return Failure(f"no TLS connection with {place}: {cause.reason or cause}")
        if isinstance(cause, socket.gaierror):
            return Failure(f"cannot find the mail server {settings.host}: {cause.strerror}")
    if isinstance(wrong, aiosmtplib.SMTPResponseException):
        return _refused(settings, wrong)
    if isinstance(wrong, aiosmtplib.SMTPTimeoutError):
        return Failure(f"cannot connect to {place}: no answer within {settings.timeout:g} s")
    if isinstance(wrong, aiosmtplib.SMTPException) and "STARTTLS" in wrong.message and settings.guarded:
        return Failure(f"{place} offers no STARTTLS; with tls=none mail (and password) would cross the network unencrypted")
    if isinstance(wrong, aiosmtplib.SMTPException) and "auth" in wrong.message.lower():
        return Failure(f"{place} offers no way to log in that we know, but a user name is configured")
    last = causes[-1]
    return Failure(f"cannot connect to {place}: {os.strerror(last.errno) if isinstance(last, OSError) and last.errno else last}")


def _refused(settings: SmtpSettings, wrong: aiosmtplib.SMTPResponseException) -> Failure:
    if wrong.code < 0:
        return Failure(f"{settings.place} does not speak SMTP: {wrong.message[:80]!r}")
    reply = reply_of(wrong.code, wrong.message)
    retry_after = effect(reply)[1] or (MINUTE if 400 <= reply.code < 500 else None)
    if isinstance(wrong, aiosmtplib.SMTPAuthenticationError):
        return Failure(f"{settings.place} does not accept the user name and password of {settings.user}: {reply}", retry_after)
    return Failure(f"{settings.place} does not let us in: {reply}", retry_after)
