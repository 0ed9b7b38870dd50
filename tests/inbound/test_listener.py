"""The door for mail servers, spoken to by clients nobody here wrote: what is answered 250 is stored, and nothing else is taken."""

import asyncio
import contextlib
import smtplib
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.inbound.conftest import PostRoom, until
from tests.support import missing
from tests.support.mail import MailServerMissingError, free_port, running_postfix
from tidings import clock
from tidings.domain import communications, inboxes
from tidings.domain.communications import Draft
from tidings.errors import Conflict, Invalid, Unavailable
from tidings.inbound import listener, receive, sources
from tidings.inbound.listener import Listener, place
from tidings.message.outgoing import Address
from tidings.rendering.template import content_hash, prepare
from tidings.signing import Signer

T = TypeVar("T")
MAIL = b"From: Ann <ann@reader.test>\r\nTo: help@acme.test\r\nSubject: %b\r\nMessage-ID: <%b@reader.test>\r\n\r\nHello\r\n"


def mail(name: str) -> bytes:
    return MAIL % (name.encode(), name.encode())


@contextlib.asynccontextmanager
async def listening(room: PostRoom, url: str = "", *, insists: bool = True) -> AsyncIterator[str]:
    """A listener for as long as the block lasts, and where it is; LMTP unless told."""
    url = url or f"lmtp://127.0.0.1:{free_port()}"
    door, stop = Listener(room.desk, place(url), name="mail.example.test", insists=insists), asyncio.Event()
    await door.open()
    running = asyncio.create_task(door.run(stop))
    try:
        yield url
    finally:
        stop.set()
        await running


async def said(url: str, talk: Callable[[Any], T]) -> T:
    """What a client of the standard library makes of it."""

    def work() -> T:
        kind = smtplib.SMTP if url.startswith("smtp:") else smtplib.LMTP
        where = place(url)
        with kind(where.path or where.host, where.port) as client:
            client.ehlo_or_helo_if_needed()
            return talk(client)

    return await asyncio.to_thread(work)


def handed_in(raw: bytes, *recipients: str, sender: str = "ann@reader.test", options: tuple[str, ...] = ()) -> Callable[[Any], Any]:
    """Talk that hands a mail in: the answers to the recipients, and those after the mail."""

    def talk(client: Any) -> tuple[list[int], list[tuple[int, bytes]]]:
        code, told = client.mail(sender, options)
        assert code == 250, told
        taken = [client.rcpt(recipient)[0] for recipient in recipients]
        if 250 not in taken:
            return taken, []
        answers = [client.data(raw)]
        if isinstance(client, smtplib.LMTP):
            answers += [client.getreply() for _ in range(taken.count(250) - 1)]
        return taken, answers

    return talk


@pytest.mark.parametrize("kind", ["lmtp", "smtp", "unix"])
async def test_mail_for_an_address_of_ours_is_stored_when_it_is_answered(room: PostRoom, kind: str, tmp_path: Path):
    await room.address("help@acme.test")
    url = f"lmtp+unix://{tmp_path}/door" if kind == "unix" else f"{kind}://127.0.0.1:{free_port()}"
    async with listening(room, url):
        taken, answers = await said(url, handed_in(mail("one"), "help@acme.test", "HELP@ACME.test"))
        assert (taken, [code for code, _ in answers]) == ([250, 250], [250, 250] if kind != "smtp" else [250])
        assert await room.subjects() == ["one"]
        assert (await room.raw()) == [b"Return-Path: <ann@reader.test>\r\n" + mail("one")]
        await said(url, handed_in(mail("one"), "help@acme.test"))
        assert await room.subjects() == ["one"], "handed in again, as a server does that heard no answer"
    assert not (tmp_path / "door").exists()


async def test_whole_domains_single_addresses_and_signed_ones_are_ours_and_others_are_refused(room: PostRoom):
    rival = await room.tenant("rival")
    await room.address("acme.test")
    await room.address("desk@rival.test", rival)
    await room.address(sources.address("grüße.test"))
    token = room.signer.reply(rival, 7)
    async with listening(room) as url:
        wanted = ["any@acme.test", "desk@rival.test", f"reply+{token.upper()}@elsewhere.test"]
        taken, answers = await said(url, handed_in(mail("one"), *wanted))
        assert taken == [250] * 3
        assert [code for code, _ in answers] == [250] * 3
        assert await room.subjects() == ["one"]
        assert await room.subjects(rival) == ["one"]
        forged = Signer(b"another secret of more characters").reply(rival, 7)
        strange = ["any@sub.acme.test", "other@rival.test", f"reply+{forged}@elsewhere.test", "ann@gmail.example", "root"]
        assert (await said(url, handed_in(mail("two"), *strange)))[0] == [550] * 5

        def in_utf8(client: Any) -> Any:
            client.command_encoding = "utf-8"
            client.mail("zoë@grüße.test", ("SMTPUTF8", "BODY=8BITMIME"))
            return client.rcpt("info@grüße.test")[0], client.data("Subject: Grüße\r\n\r\nüß\r\n".encode())[0]

        assert await said(url, in_utf8) == (250, 250)
    assert "Grüße" in await room.subjects()


async def test_an_answer_to_a_signed_address_joins_the_conversation_it_answers(room: PostRoom):
    content = prepare(tenant_id=room.tenant_id, channel="email", format="html", subject="Hello", body="<p>Hello</p>")
    draft = Draft(
        tenant_id=room.tenant_id,
        channel="email",
        content=content,
        content_hash=content_hash(content),
        type="EMAIL",
        to=(Address("ann@reader.test"),),
    )
    sent = await room.db.write(communications.accept, draft, now=clock.now())
    async with listening(room) as url:
        await said(url, handed_in(mail("one"), f"reply+{room.signer.reply(room.tenant_id, sent.id)}@in.acme.test"))
    rows = await room.db.read(lambda tx: tx.rows("SELECT communication_id FROM inbound_messages WHERE tenant_id = :t", t=room.tenant_id))
    assert rows == [(sent.id,)]


async def test_bounces_come_from_nobody(room: PostRoom):
    await room.address("help@acme.test")
    async with listening(room) as url:
        assert (await said(url, handed_in(mail("one"), "help@acme.test", sender="")))[1][0][0] == 250
    assert (await room.raw())[0].startswith(b"Return-Path: <>\r\n")


async def test_what_it_can_do_is_announced(room: PostRoom):
    async with listening(room) as url:
        features = await said(url, lambda client: client.esmtp_features)
    assert features["size"] == str(25 * 1024 * 1024)
    assert {"8bitmime", "smtputf8", "pipelining"} <= set(features)
    assert "auth" not in features


@pytest.mark.parametrize("kind", ["lmtp", "smtp"])
async def test_too_much_is_refused_for_good_with_an_answer_for_everybody(room: PostRoom, kind: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(listener, "LARGEST", 50_000)
    await room.address("acme.test")
    async with listening(room, f"{kind}://127.0.0.1:{free_port()}") as url:
        _, answers = await said(url, handed_in(b"Subject: x\r\n\r\n" + b"x" * 70 + b"\r\nyy\r\n" * 30_000, "a@acme.test", "b@acme.test"))
        assert [(code, text[:5]) for code, text in answers] == [(552, b"5.3.4")] * (2 if kind == "lmtp" else 1)
        code, told = await said(url, lambda client: client.mail("ann@reader.test", ("SIZE=60000",)))
        assert (code, told[:5]) == (552, b"5.3.4")
        many = await said(url, handed_in(mail("one"), *[f"p{number}@acme.test" for number in range(listener.RECIPIENTS + 1)]))
        assert many[0].count(250) == listener.RECIPIENTS
        assert many[0][-1] == 452
    assert await room.subjects() == ["one"]


async def test_lines_longer_than_the_rfc_allows_are_taken_as_they_are(room: PostRoom):
    await room.address("acme.test")
    raw = mail("one") + b"<p>" + b"x" * 200_000 + b"\r\n.\r\n..\r\n"
    async with listening(room) as url:
        assert (await said(url, handed_in(raw, "a@acme.test")))[1][0][0] == 250
    assert (await room.raw())[0].endswith(raw)


async def test_what_cannot_be_stored_now_is_put_off_and_what_falls_over_too(room: PostRoom, monkeypatch: pytest.MonkeyPatch):
    await room.address("acme.test")
    faults: list[BaseException] = []

    async def failing(*given: Any, **named: Any) -> Any:
        raise faults[0]

    async with listening(room) as url:
        with monkeypatch.context() as patched:
            patched.setattr(receive, "mail", failing)
            for fault, code in ((Unavailable("disk full"), 451), (Conflict("just now"), 451), (ZeroDivisionError(), 421)):
                faults[:] = [fault]
                assert (await said(url, handed_in(mail("one"), "a@acme.test")))[1][0][0] == code
            patched.setattr(listener.inboxes, "by_address", lambda tx, address: (_ for _ in ()).throw(Unavailable("away")))
            assert (await said(url, handed_in(mail("one"), "a@acme.test")))[0] == [451]
        assert await room.subjects() == []
        await said(url, handed_in(mail("one"), "a@acme.test"))
    assert await room.subjects() == ["one"]


async def test_one_tenant_whose_mail_cannot_be_stored_does_not_keep_it_from_another(room: PostRoom, monkeypatch: pytest.MonkeyPatch):
    rival = await room.tenant("rival")
    await room.address("acme.test")
    await room.address("rival.test", rival)
    take = receive.mail

    async def partly(desk: Any, tenant_id: int, *more: Any) -> Any:
        if tenant_id == rival:
            raise Unavailable("not now")
        return await take(desk, tenant_id, *more)

    monkeypatch.setattr(receive, "mail", partly)
    both = ("a@rival.test", "b@acme.test", "c@rival.test")
    async with listening(room) as url:
        assert [code for code, _ in (await said(url, handed_in(mail("one"), *both)))[1]] == [451, 250, 451]
    async with listening(room, f"smtp://127.0.0.1:{free_port()}") as url:
        assert [code for code, _ in (await said(url, handed_in(mail("one"), *both)))[1]] == [451]
    assert await room.subjects() == ["one"]


async def test_stopping_lets_mail_in_hand_come_to_its_end(room: PostRoom, monkeypatch: pytest.MonkeyPatch):
    await room.address("acme.test")
    take, reached, gate = receive.mail, asyncio.Event(), asyncio.Event()

    async def held(*given: Any) -> Any:
        reached.set()
        await gate.wait()
        return await take(*given)

    monkeypatch.setattr(receive, "mail", held)
    async with listening(room) as url:
        handing = asyncio.create_task(said(url, handed_in(mail("one"), "a@acme.test")))
        await reached.wait()
        waiting = socket.create_connection(("127.0.0.1", place(url).port))
        asyncio.get_running_loop().call_later(0.3, gate.set)
    waiting.close()
    # the client may find the line cut as it says goodbye, having had its answer
    with contextlib.suppress(smtplib.SMTPServerDisconnected):
        assert (await handing)[1][0][0] == 250
    assert await room.subjects() == ["one"]


async def test_one_client_too_many_is_asked_to_come_back(room: PostRoom, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(listener, "SESSIONS", 1)
    async with listening(room) as url:

        def crowd(client: Any) -> bytes:
            with socket.create_connection(("127.0.0.1", place(url).port), timeout=10) as second:
                return second.recv(100)

        assert (await said(url, crowd)).startswith(b"421 4.3.2")


async def test_a_place_that_is_taken_is_an_error_or_waited_for(room: PostRoom, tmp_path: Path):
    await room.address("acme.test")
    for url in (f"lmtp://127.0.0.1:{free_port()}", f"lmtp+unix://{tmp_path}/door"):
        async with listening(room, url, insists=False):

            async def answers(url: str = url) -> bool:
                try:
                    return bool(await said(url, lambda client: client.noop()))
                except OSError:
                    return False

            await until(answers)
            with pytest.raises(Unavailable, match="cannot be taken on lmtp"):
                await Listener(room.desk, place(url), name="x", insists=True).open()
            async with listening(room, url, insists=False):
                assert (await said(url, handed_in(mail("one"), "a@acme.test")))[1][0][0] == 250


@pytest.mark.parametrize("url", ["lmtp://127.0.0.1", "http://127.0.0.1:25", "lmtp://127.0.0.1:99999", "lmtp+unix://", "smtp://:25", "8024"])
def test_an_address_that_makes_no_sense_is_refused_in_a_sentence(url: str):
    with pytest.raises(Invalid, match="address to take mail on"):
        place(url)


async def test_postfix_hands_an_answer_in_and_keeps_it_while_it_cannot_be_stored(room: PostRoom, monkeypatch: pytest.MonkeyPatch):
    await room.address("in.acme.test")
    port = free_port()
    relay = f"relay_domains = in.acme.test\nrelay_transport = lmtp:inet:127.0.0.1:{port}\n"
    soon = "queue_run_delay = 1s\nminimal_backoff_time = 1s\nmaximal_backoff_time = 1s\n"
    try:
        with running_postfix(more=relay + soon) as postfix:
            async with listening(room, f"lmtp://127.0.0.1:{port}"):
                outside = f"smtp://127.0.0.1:{postfix.port}"
                await said(outside, handed_in(mail("one"), "reply@in.acme.test"))

                async def first() -> bool:
                    return await room.subjects() == ["one"]

                await until(first)
                with monkeypatch.context() as patched:

                    async def away(*given: Any) -> Any:
                        raise Unavailable("the database is away")

                    patched.setattr(receive, "mail", away)
                    await said(outside, handed_in(mail("two"), "reply@in.acme.test"))

                    async def deferred() -> bool:
                        return "status=deferred" in postfix.log() and "451 4.3.0" in postfix.log()

                    await until(deferred)

                async def second() -> bool:
                    return await room.subjects() == ["one", "two"]

                await until(second)
                assert "status=sent" in postfix.log()
    except MailServerMissingError as error:
        missing(str(error))


async def test_an_inbox_of_another_tenant_cannot_be_claimed_nor_taken_apart(room: PostRoom):
    rival = await room.tenant("rival")
    await room.address("acme.test")
    await room.address("ann@rival.test", rival)
    for address in ("acme.test", "help@acme.test"):
        with pytest.raises(Conflict, match=r"acme\.test is another tenant's"):
            await room.address(address, rival)
    with pytest.raises(Conflict, match=r"ann@rival\.test is another tenant's"):
        await room.address("rival.test")
    await room.address("help@acme.test")
    found = await room.db.read(inboxes.by_address, "Help@ACME.test")
    assert found is not None
    assert found.address == "help@acme.test"


async def test_more_mail_at_a_time_than_there_is_room_for_is_put_off(room: PostRoom, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(listener, "IN_HAND", 10_000)
    async with listening(room) as url:

        def both(client: Any) -> tuple[int, int, int]:
            first = client.mail("a@reader.test", ("SIZE=6000",))[0]
            with smtplib.LMTP(place(url).host, place(url).port) as other:
                other.ehlo_or_helo_if_needed()
                second = other.mail("b@reader.test", ("SIZE=6000",))[0]
                client.rset()
                return first, second, other.mail("b@reader.test", ("SIZE=6000",))[0]

        assert await said(url, both) == (250, 452, 250)
