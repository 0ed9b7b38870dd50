"""Where webhooks may go: what a URL may look like, which addresses are the public's, and that the address checked is the one connected to."""

import asyncio
import datetime
import ssl
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.receiving import Receiver, receiving
from tidings.errors import Invalid
from tidings.webhooks import address, wire
from tidings.webhooks.payload import Posting
from tidings.webhooks.rules import Answer
from tidings.webhooks.wire import Caller, Lookup

PRIVATE = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.0.9", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "168.63.129.16",
    "192.0.2.1", "192.88.99.1", "192.168.0.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "64:ff9b::7f00:1", "64:ff9b::10.0.0.1", "64:ff9b:1::1", "100::1", "2001::1",
    "2001:db8::1", "2002:7f00:1::1", "2002:808:808::1", "3fff::1", "fc00::1", "fd12:3456::1", "fe80::1", "fe80::1%eth0", "2600::1%eth0", "fec0::1", "ff02::1",
    "no address",
]  # fmt: skip
PUBLIC = ["1.1.1.1", "8.8.8.8", "100.63.255.255", "172.32.0.1", "2606:4700::1111", "64:ff9b::808:808"]


def test_only_public_addresses_are_public():
    assert [each for each in PRIVATE if address.is_public(each)] == []
    assert [each for each in PUBLIC if not address.is_public(each)] == []


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://hooks.example.com", "https://hooks.example.com/"),
        ("HTTPS://Hooks.Example.com:443/In?a=1&b", "https://hooks.example.com/In?a=1&b"),
        ("http://hooks.example.com.:8080/", "http://hooks.example.com:8080/"),
        ("https://bücher.example/in", "https://xn--bcher-kva.example/in"),
        ("http://[2606:4700::1111]/", "http://[2606:4700::1111]/"),
        ("http://8.8.8.8/", "http://8.8.8.8/"),
    ],
)
def test_a_url_is_kept_in_one_form(url: str, kept: str):
    assert address.check(url, allow_private=False) == kept


@pytest.mark.parametrize(
    "url",
    [
        "", "hooks.example.com", "ftp://hooks.example.com/", "file:///etc/passwd", "gopher://hooks.example.com/", "https://", "https:///in", "http://a b/",
        "https://user:pass@hooks.example.com/", "https://user@hooks.example.com/", "https://hooks.example.com/#part", "https://hooks.example.com:0/",
        "https://hooks.example.com:25/", "https://hooks.example.com:99999/", "https://hooks.example.com:x/", "http://127.1/", "http://2130706433/",
        "http://0x7f000001/", "http://0177.0.0.1/", "http://1.2.3/", "http://a..b/", "http://-a.example/", "http://a.example\\@b.example/",
        "http://a.example/\r\nHost: b", "http://a.example/\0", "https://hooks.example.com/" + "a" * 2000, "http://[fe80::1%25eth0]/", "http://[::1",
        "//a.example/",
    ],
)  # fmt: skip
def test_what_is_no_public_url_is_refused_even_where_private_ones_are_allowed(url: str):
    for allowed in (False, url.endswith(":25/")):
        if not (allowed and url.endswith(":25/")):
            with pytest.raises(Invalid) as raised:
                address.check(url, allow_private=allowed)
            assert list(raised.value.fields) == ["url"]


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST.", "a.localhost", "127.0.0.1", "[::1]", "169.254.169.254", "10.1.2.3", "[::ffff:10.0.0.1]", "[fd00::1]"],
)
def test_a_private_host_is_refused_unless_it_is_allowed(host: str):
    with pytest.raises(Invalid, match="must not lead to"):
        address.check(f"http://{host}:8000/in", allow_private=False)
    assert address.check(f"http://{host}:8000/in", allow_private=True)


def leading(*answers: list[str]) -> Lookup:
    """A resolver that answers differently each time."""
    given = list(answers)

    async def look_up(host: str, port: int) -> list[str]:
        return given.pop(0)

    return look_up


async def answer(url: str, **settings) -> Answer:
    caller = Caller(**{"allow_private": False, "deadline": 3.0} | settings)
    try:
        return await caller.call(Posting("POST", url, [], b"{}"))
    finally:
        await caller.close()


@pytest.mark.parametrize("found", [["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["::ffff:127.0.0.1"], ["169.254.169.254"], ["fe80::1%lo"]])
async def test_a_name_that_leads_inside_is_not_followed(receiver: Receiver, found: list[str]):
    said = await answer(f"http://rebound.example:{receiver.port}/", lookup=leading(found))
    assert said.fault == "rebound.example leads to an address that is not public; webhooks are not sent there"
    assert receiver.got == []


async def test_the_address_that_was_checked_is_the_one_connected_to(receiver: Receiver, monkeypatch: pytest.MonkeyPatch):
    # the first answer passes; were the name asked for again, it would lead inside
    monkeypatch.setattr(address, "is_public", lambda each: each == "127.0.0.1")
    said = await answer(f"http://rebound.example:{receiver.port}/", lookup=leading(["127.0.0.1"], ["10.0.0.1"]))
    assert said.status == 200
    assert receiver.got[0].headers["host"] == f"rebound.example:{receiver.port}"


async def test_a_literal_address_is_checked_though_nobody_looks_it_up(receiver: Receiver):
    said = await answer(receiver.url)
    assert said.fault == "127.0.0.1 leads to an address that is not public; webhooks are not sent there"
    assert receiver.got == []


async def test_the_next_address_is_tried_when_one_does_not_answer(receiver: Receiver):
    said = await answer(f"http://two.example:{receiver.port}/", allow_private=True, lookup=leading(["127.0.0.9", "127.0.0.1"]))
    assert said.status == 200


async def test_a_host_that_is_never_found_keeps_nobody_from_finding_another(receiver: Receiver, monkeypatch: pytest.MonkeyPatch):
    asked, found = list[str](), threading.Event()
    loop, begun = asyncio.get_running_loop(), asyncio.Event()

    def resolved(host: str, port: int) -> list[str]:
        asked.append(host)
        if host == "dead.example":
            loop.call_soon_threadsafe(begun.set)
            found.wait()
        return ["127.0.0.1"]

    monkeypatch.setattr(wire, "_resolved", resolved)
    caller = Caller(allow_private=True)
    dead = [asyncio.create_task(caller.call(Posting("POST", f"http://dead.example:{receiver.port}/", [], b""))) for _ in range(300)]
    try:
        await begun.wait()
        assert (await caller.call(Posting("POST", f"http://live.example:{receiver.port}/", [], b""))).status == 200
        assert asked == ["dead.example", "live.example"]
        for task in dead[1:]:
            task.cancel()
        found.set()
        assert (await dead[0]).status == 200, "one that gives up spoils nothing for the others"
    finally:
        found.set()
        await asyncio.gather(*dead, return_exceptions=True)
        await caller.close()


async def test_a_name_that_nobody_knows_is_a_failure():
    async def look_up(host: str, port: int) -> list[str]:
        raise OSError(-2, "Name or service not known")

    assert (await answer("http://nobody.example/", lookup=look_up)).fault == "nobody.example cannot be found: Name or service not known"
    assert (await answer("http://nobody.example/", lookup=leading([]))).fault == "nobody.example cannot be reached on port 80"


async def test_a_certificate_has_to_be_for_the_name_and_from_somebody_trusted(tmp_path: Path):
    server, trust = certified(tmp_path, "hooks.example")
    async with receiving(server) as receiver:
        here = leading(*[["127.0.0.1"]] * 3)
        asked = {"allow_private": True, "lookup": here}
        right = await answer(f"https://hooks.example:{receiver.port}/", trust=trust, **asked)
        assert right.status == 200
        wrong = await answer(f"https://other.example:{receiver.port}/", trust=trust, **asked)
        assert wrong.fault.startswith("Its certificate is not to be trusted: Hostname mismatch")
        unknown = await answer(f"https://hooks.example:{receiver.port}/", **asked)
        assert unknown.fault.startswith("Its certificate is not to be trusted: self")
        assert len(receiver.got) == 1


async def test_what_speaks_no_tls_is_a_failure():
    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        said = await answer(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/", allow_private=True)
    assert said.status is None
    assert said.fault.startswith("TLS failed")


def certified(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's side with a certificate of its own for this name, and a client's that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    today = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    pem.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem)
    return server, ssl.create_default_context(cafile=str(pem))
