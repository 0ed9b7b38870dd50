"""The far ends that tests of providers talk to, and certificates for those that speak TLS."""

import asyncio
import datetime
import ipaddress
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support import missing
from tests.support.mail import MailServerMissingError, Postfix, SmtpSink, running_postfix
from tests.support.mail import smtp_sink as started

MakeSink = Callable[..., SmtpSink]


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Providers sit on the loop's transports, so their tests run on both kinds: production's, and the standard library's."""
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


@pytest.fixture
def smtp_sink() -> Iterator[MakeSink]:
    """Starts smtp-sinks: `smtp_sink("-p", dump=True)`; all end with the test."""
    with ExitStack() as stack:

        def start(*options: str, dump: bool = False, count: bool = False) -> SmtpSink:
            try:
                return stack.enter_context(started(*options, dump=dump, count=count))
            except MailServerMissingError as error:
                missing(str(error))

        yield start


@pytest.fixture(scope="session")
def postfix() -> Iterator[Postfix]:
    """A Postfix of this run's own; see tests/support/mail.py for whom it knows."""
    try:
        with running_postfix() as server:
            yield server
    except MailServerMissingError as error:
        missing(str(error))


@dataclass(frozen=True)
class Certificate:
    """A self-made certificate for localhost and 127.0.0.1, as PEM files."""

    certificate: Path
    key: Path


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Valid for an hour before and after the tests, and its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    hour = datetime.timedelta(hours=1)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - hour)
        .not_valid_after(now + hour)
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("certificate")
    found = Certificate(folder / "certificate.pem", folder / "key.pem")
    found.certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    found.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return found
