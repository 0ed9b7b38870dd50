"""SMTP against servers nobody here wrote: Postfix, its smtp-sink, and aiosmtpd for TLS and log-in."""

import asyncio
import contextlib
import socket
import ssl
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.providers.conformance import Reports
from tests.providers.conftest import Certificate, MakeSink
from tests.providers.mails import mail
from tests.support.mail import Postfix, SmtpSink, free_port
from tidings.message.outgoing import Email, Outcome
from tidings.providers.smtp import Smtp, SmtpSettings

production = pytest.mark.asyncio(loop_factories=["uvloop"])
"""Only on production's loop: what these show of the server does not depend on it."""

unprotected = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")

AWKWARD = (
    b".\r\n..\r\n.dot first\r\nin the middle\r\n.\r\n\r\n"
    + b"long " * 190
    + b"\r\n \r\n\ttab\r\nFrom here\r\n"
    + b"quoted =3D printable =\r\n.soft\r\n..."
    + b"\r\n.\r\n"
)


async def send(url: str, *mails: Email) -> dict[int, Outcome]:
    """Send over a provider of its own."""
    reports = Reports()
    provider = Smtp(SmtpSettings.from_url(url))
    async with asyncio.timeout(30):
        await provider.send(mails, reports)
        await provider.close()
    return reports.outcomes


def kinds(outcomes: dict[int, Outcome]) -> dict[str, int]:
    return dict(Counter(outcome.kind for outcome in outcomes.values()))


# smtp-sink


@pytest.mark.parametrize("options", [(), ("-p",)], ids=["pipelining", "lockstep"])
async def test_every_byte_arrives_as_it_was_sealed(smtp_sink: MakeSink, options: tuple[str, ...]):
    sink = smtp_sink(*options, dump=True)
    awkward = [mail(number, body=AWKWARD * number, recipients=("a@x.example", "b@x.example")) for number in range(1, 40)]
    assert kinds(await send(sink.url, *awkward)) == {"accepted": 39}
    found = {message.raw: message for message in sink.messages()}
    assert set(found) == {sent.raw for sent in awkward}
    assert {message.recipients for message in found.values()} == {("a@x.example", "b@x.example")}
    assert {message.sender for message in found.values()} == {"news@example.org"}


@production
async def test_ten_thousand_messages_are_reported_once_and_arrive_once(smtp_sink: MakeSink):
    sink = smtp_sink(dump=True)
    reports = Reports()
    provider = Smtp(SmtpSettings.from_url(f"{sink.url}&connections=16&messages=300"))
    for first in range(0, 10_000, 2_500):
        await provider.send([mail(number) for number in range(first, first + 2_500)], reports)
    await provider.close()
    assert reports.kinds == {"accepted": 10_000}
    arrived = Counter(message.raw.partition(b"Message-ID: <")[2].partition(b"@")[0] for message in sink.messages())
    assert len(arrived) == 10_000
    assert set(arrived.values()) == {1}


async def test_the_null_sender_of_a_bounce_is_written_empty(smtp_sink: MakeSink):
    sink = smtp_sink(dump=True)
    await send(sink.url, mail(1, sender=""))
    assert [message.sender for message in sink.messages()] == [""]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("-f", "RCPT"), "refused"),
        (("-r", "RCPT"), "deferred"),
        (("-f", "MAIL"), "refused"),
        (("-r", "DATA"), "deferred"),
        (("-f", "."), "refused"),
        (("-r", "."), "deferred"),
        (("-q", "."), "unknown"),
        (("-Q", "."), "deferred"),
        (("-f", "EHLO,HELO"), "paused"),
        (("-Q", "CONNECT"), "paused"),
        (("-e",), "accepted"),
        (("-A", "0"), "refused"),
    ],
)
async def test_a_command_the_sink_refuses_decides_the_outcome(smtp_sink: MakeSink, options: tuple[str, ...], expected: str):
    sink = smtp_sink(*options)
    assert kinds(await send(f"{sink.url}&connections=1", mail(1))) == {expected: 1}


async def test_eight_bits_are_refused_where_they_are_not_offered(smtp_sink: MakeSink):
    outcomes = await send(smtp_sink("-8").url, mail(1, body="grüß dich\r\n".encode()), mail(2))
    assert kinds(outcomes) == {"refused": 1, "accepted": 1}


async def test_a_frozen_server_costs_patience_and_no_message_its_truth(smtp_sink: MakeSink):
    """Nothing is answered after the freeze: contents that left are unknown, the others are not."""
    sink = smtp_sink(dump=True)
    provider = Smtp(SmtpSettings.from_url(f"{sink.url}&connections=2&timeout=0.3&data_timeout=0.3"))
    reports = Reports()

    def freeze(communication_id: int, outcome: Outcome) -> None:
        reports(communication_id, outcome)
        if len(reports.outcomes) == 50:
            sink.suspend()

    async with asyncio.timeout(20):
        await provider.send([mail(number) for number in range(1, 301)], freeze)
    sink.resume()
    await provider.close()
    assert reports.kinds.total() == 300
    assert reports.kinds["unknown"] <= 2
    took = {int(message.raw.partition(b"Message-ID: <")[2].partition(b"@")[0]) for message in sink.messages()}
    said = {number for number, outcome in reports.outcomes.items() if outcome.kind == "accepted"}
    doubtful = {number for number, outcome in reports.outcomes.items() if outcome.kind == "unknown"}
    assert said <= took <= said | doubtful


# Postfix


async def delivered(postfix: Postfix, message_id: bytes) -> bytes:
    """The mail with this Message-ID once it is in the mailbox."""
    async with asyncio.timeout(20):
        while True:
            for found in postfix.delivered():
                if message_id in found:
                    return found
            await asyncio.sleep(0.02)


@production
async def test_a_mail_is_read_back_from_the_mailbox_byte_for_byte(postfix: Postfix):
    letter = mail(7001, body=AWKWARD)
    outcomes = await send(postfix.url, letter)
    assert outcomes[7001].kind == "accepted"
    found = await delivered(postfix, b"Message-ID: <7001@")
    assert found.endswith(b"\n" + letter.raw.replace(b"\r\n", b"\n"))
    assert f"with ESMTP id {outcomes[7001].provider_id}\n".encode() in found


@production
async def test_postfix_refuses_whom_it_does_not_know_and_takes_the_rest(postfix: Postfix):
    outcomes = await send(
        postfix.url,
        mail(7101, recipients=("stranger@example.net", "second@example.net")),
        mail(7102, recipients=("stranger@example.net",)),
        mail(7103),
    )
    assert (outcomes[7101].kind, outcomes[7102].kind, outcomes[7103].kind) == ("accepted", "refused", "accepted")
    assert [address for address, _ in outcomes[7101].rejected] == ["stranger@example.net"]
    assert outcomes[7102].code == "5.1.1"
    assert "User unknown" in outcomes[7102].reason
    assert b"\nDelivered-To: second@example.net\n" in await delivered(postfix, b"Message-ID: <7101@")


@production
async def test_postfix_takes_many_over_few_connections(postfix: Postfix):
    outcomes = await send(f"{postfix.url}&connections=3", *[mail(number) for number in range(7200, 7300)])
    assert kinds(outcomes) == {"accepted": 100}
    assert len({outcome.provider_id for outcome in outcomes.values()}) == 100


# aiosmtpd


@dataclass
class Inbox:
    """Keeps what aiosmtpd was given, and whether it came encrypted and by whom."""

    mails: list[bytes] = field(default_factory=list[bytes])
    protected: list[bool] = field(default_factory=list[bool])
    users: list[object] = field(default_factory=list[object])
    sockets: list[socket.socket] = field(default_factory=list[socket.socket])

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        assert isinstance(envelope.original_content, bytes)
        self.mails.append(envelope.original_content)
        self.protected.append(
            session.ssl is not None or (server.transport is not None and server.transport.get_extra_info("sslcontext") is not None)
        )
        self.users.append(session.auth_data)
        return "250 2.0.0 Ok: queued as D1"


def check(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: object) -> AuthResult:
    good = isinstance(data, LoginPassword) and data == LoginPassword(b"us", b"s3cret")
    return AuthResult(success=good, handled=False, auth_data="us" if good else None)


class Watched(SMTP):
    """Notes its sockets, so that a test can wait for their end."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert isinstance(self.event_handler, Inbox)
        self.event_handler.sockets.append(transport.get_extra_info("socket"))


class Listener(Controller):
    def factory(self) -> SMTP:
        return Watched(self.handler, **self.SMTP_kwargs)


@contextlib.asynccontextmanager
async def aiosmtpd(inbox: Inbox, **options: Any) -> AsyncGenerator[int]:
    """aiosmtpd in a thread of its own, on a free port."""
    port = free_port()
    listener = Listener(inbox, hostname="127.0.0.1", port=port, **options)
    listener.start()
    try:
        yield port
    finally:
        # Stopping does not wait for connections, and would leave their sockets to the garbage collector.
        async with asyncio.timeout(5):
            while any(found.fileno() != -1 for found in inbox.sockets):  # noqa: ASYNC110 - they end in another thread
                await asyncio.sleep(0.005)
        listener.stop()


@pytest.fixture
def server_tls(certificate: Certificate) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.certificate, certificate.key)
    return context


async def test_starttls_protects_password_and_mail(server_tls: ssl.SSLContext, certificate: Certificate):
    inbox = Inbox()
    async with aiosmtpd(inbox, tls_context=server_tls, require_starttls=True, authenticator=check, auth_required=True) as port:
        outcomes = await send(
            f"smtp://us:s3cret@localhost:{port}?tls=starttls&ca={certificate.certificate}", mail(1, body=AWKWARD), mail(2)
        )
    assert kinds(outcomes) == {"accepted": 2}
    assert inbox.mails == [mail(1, body=AWKWARD).raw, mail(2).raw]
    assert inbox.protected == [True, True]
    assert inbox.users == ["us", "us"]


async def test_tls_from_the_first_byte(server_tls: ssl.SSLContext, certificate: Certificate):
    inbox = Inbox()
    async with aiosmtpd(inbox, ssl_context=server_tls) as port:
        body = AWKWARD * 500
        outcomes = await send(f"smtps://127.0.0.1:{port}?ca={certificate.certificate}", mail(1, body=body), mail(2))
    assert kinds(outcomes) == {"accepted": 2}
    assert sorted(inbox.mails, key=len) == [mail(2).raw, mail(1, body=body).raw]
    assert inbox.protected == [True, True]


async def test_opportunistic_tls_is_used_where_it_is_offered_whoever_signed_it(server_tls: ssl.SSLContext):
    inbox = Inbox()
    async with aiosmtpd(inbox, tls_context=server_tls) as port:
        outcomes = await send(f"smtp://127.0.0.1:{port}", mail(1))
    assert kinds(outcomes) == {"accepted": 1}
    assert inbox.protected == [True]


async def test_a_certificate_nobody_vouches_for_is_named(server_tls: ssl.SSLContext):
    inbox = Inbox()
    async with aiosmtpd(inbox, tls_context=server_tls) as port:
        outcomes = await send(f"smtp://us:s3cret@127.0.0.1:{port}?tls=starttls", mail(1))
    assert kinds(outcomes) == {"paused": 1}
    assert outcomes[1].reason.startswith(f"the TLS certificate of 127.0.0.1:{port} is not valid for it: self-signed certificate")


async def test_a_server_that_speaks_no_tls_is_named():
    async with aiosmtpd(Inbox()) as port:
        outcomes = await send(f"smtps://127.0.0.1:{port}", mail(1))
    assert kinds(outcomes) == {"paused": 1}
    assert f"127.0.0.1:{port}" in outcomes[1].reason


@unprotected
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
async def test_each_way_to_log_in_works(mechanism: str):
    inbox = Inbox()
    others = {"PLAIN", "LOGIN"} - {mechanism}
    options = {"authenticator": check, "auth_required": True, "auth_require_tls": False, "auth_exclude_mechanism": others}
    async with aiosmtpd(inbox, **options) as port:
        outcomes = await send(f"smtp://us:s3cret@127.0.0.1:{port}?tls=none", mail(1))
    assert kinds(outcomes) == {"accepted": 1}
    assert inbox.users == ["us"]


@unprotected
async def test_a_wrong_password_is_named_and_nothing_is_tried():
    inbox = Inbox()
    async with aiosmtpd(inbox, authenticator=check, auth_required=True, auth_require_tls=False) as port:
        outcomes = await send(f"smtp://us:wrong@127.0.0.1:{port}?tls=none", *[mail(number) for number in range(20)])
    assert kinds(outcomes) == {"paused": 20}
    assert "does not accept the user name and password of us: 535 5.7.8" in outcomes[1].reason
    assert inbox.mails == []


@unprotected
async def test_a_server_that_wants_a_log_in_we_do_not_have_pauses():
    async with aiosmtpd(Inbox(), authenticator=check, auth_required=True, auth_require_tls=False) as port:
        outcomes = await send(f"smtp://127.0.0.1:{port}?tls=none", *[mail(number) for number in range(20)])
    assert kinds(outcomes) == {"paused": 20}
    assert "530 5.7.0" in outcomes[1].reason


async def test_unreadable_certificates_are_named(smtp_sink: MakeSink):
    sink: SmtpSink = smtp_sink()
    outcomes = await send(f"smtp://127.0.0.1:{sink.port}?ca=/nowhere/ca.pem", mail(1))
    assert kinds(outcomes) == {"paused": 1}
    assert "/nowhere/ca.pem" in outcomes[1].reason
