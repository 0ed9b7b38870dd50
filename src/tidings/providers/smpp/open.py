"""Opening an SMPP connection up to where messages can be submitted: connect, TLS, bind; and what went wrong, in one sentence."""

import asyncio
import os
import socket
import ssl

import msgspec

from tidings.providers.smpp import codes, pdu
from tidings.providers.smpp.settings import SmppSettings
from tidings.providers.smpp.wire import Connection, Heard, Lost


class Failure(msgspec.Struct, frozen=True):
    """Why there is no connection."""

    reason: str


async def open_bound(settings: SmppSettings, heard: Heard | None) -> Connection | Failure:
    """Connects and binds: as a transceiver where `heard` takes what comes in, as a transmitter where nobody does."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(settings.timeout):
            tls = await asyncio.to_thread(ssl.create_default_context, cafile=settings.ca or None) if settings.tls else None
            _, connection = await loop.create_connection(
                lambda: Connection(settings.timeout, settings.enquire, settings.window, heard),
                settings.host,
                settings.port,
                ssl=tls,
            )
    except TimeoutError:
        return Failure(f"cannot connect to {settings.place}: no answer within {settings.timeout:g} s")
    except (OSError, ValueError) as wrong:
        return Failure(_explained(settings, wrong))
    try:
        failure = await _bind(settings, connection, pdu.BIND_TRANSCEIVER if heard is not None else pdu.BIND_TRANSMITTER)
    except asyncio.CancelledError:
        connection.end("cancelled")
        raise
    if failure is None:
        return connection
    connection.end(failure.reason)
    return failure


async def _bind(settings: SmppSettings, connection: Connection, command: int) -> Failure | None:
    answer = await connection.request(command, pdu.bind(settings.system_id, settings.password, settings.system_type))
    if isinstance(answer, Lost):
        return Failure(f"{settings.place} does not let {settings.system_id} in: {answer.reason}")
    if answer.status != codes.OK:
        return Failure(f"{settings.place} does not let {settings.system_id} in: {codes.described(answer.status)}")
    if answer.command != command | pdu.RESPONSE:
        return Failure(f"{settings.place} answered the bind with something else")
    return None


def _explained(settings: SmppSettings, wrong: OSError | ValueError) -> str:
    match wrong:
        case ssl.SSLCertVerificationError():
            return f"the TLS certificate of {settings.place} is not valid for it: {wrong.verify_message}"
        case ssl.SSLError():
            return f"no TLS connection with {settings.place}: {wrong.reason or wrong}"
        case socket.gaierror():
            return f"cannot find the SMSC {settings.host}: {wrong.strerror}"
        case OSError(errno=int(number)) if number > 0:
            return f"cannot connect to {settings.place}: {os.strerror(number)}"
        case _:
            return f"cannot connect to {settings.place}: {wrong}"
