"""Mailboxes read from a real Dovecot: nothing lost, nothing twice, whatever happens in between."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.inbound.conftest import PostRoom, until
from tests.support import missing
from tests.support.dovecot import PASSWORD, Dovecot, running_dovecot
from tests.support.mail import MailServerMissingError, free_port
from tidings import clock
from tidings.domain import inboxes
from tidings.errors import Unavailable
from tidings.inbound import poll, receive
from tidings.inbound.imap import mailbox_name
from tidings.inbound.poll import Cursor, Poller, resumed, wanted
from tidings.inbound.sources import Mailbox


def started(more: str = "") -> Iterator[Dovecot]:
    try:
        with running_dovecot(more=more) as server:
            yield server
    except MailServerMissingError as error:
        missing(str(error))


@pytest.fixture
def dovecot() -> Iterator[Dovecot]:
    yield from started()


@pytest.fixture
def silent() -> Iterator[Dovecot]:
    """One that does not tell of new mail by itself, nor can move or expunge one mail alone."""
    yield from started("imap_capability = IMAP4rev1 SASL-IR")


def mail(number: int, body: str = "Hello") -> bytes:
    return f"From: Ann <ann@reader.test>\r\nMessage-ID: <{number}@reader.test>\r\nSubject: mail {number}\r\n\r\n{body}\r\n".encode()


def box(server: Dovecot, **changed: Any) -> Mailbox:
    # an hour between two looks: what arrives sooner was told by the server
    given: dict[str, Any] = {"host": "127.0.0.1", "username": "ann", "password": PASSWORD, "port": server.port, "tls": "none"}
    return Mailbox(**(given | {"interval": 3600} | changed))


@contextlib.asynccontextmanager
async def reading(room: PostRoom) -> AsyncIterator[Poller]:
    """A process that reads mailboxes, for as long as the block lasts."""
    poller, stop = Poller(room.desk, room.vault), asyncio.Event()
    running = asyncio.create_task(poller.run(stop))
    try:
        yield poller
        assert not running.done()
    finally:
        stop.set()
        await running


async def came(room: PostRoom, count: int) -> None:
    async def holds() -> bool:
        return len(await room.subjects()) >= count

    await until(holds)


async def read_once(room: PostRoom, inbox_id: int) -> None:
    async def holds() -> bool:
        return (await room.inbox(inbox_id)).last_at is not None

    await until(holds)


async def wrong(room: PostRoom, inbox_id: int) -> str:
    async def holds() -> bool:
        return (await room.inbox(inbox_id)).error is not None

    await until(holds)
    return (await room.inbox(inbox_id)).error or ""


async def test_mail_that_arrives_is_told_by_the_server_and_taken_at_once(room: PostRoom, dovecot: Dovecot):
    dovecot.deliver(mail(1))
    inbox = await room.mailbox(box(dovecot))
    async with reading(room):
        await read_once(room, inbox.id)
        dovecot.deliver(mail(2), mail(3))
        await came(room, 2)
        dovecot.deliver(mail(4))
        await came(room, 3)
    assert await room.subjects() == ["mail 2", "mail 3", "mail 4"]
    assert [flags for flags, _ in dovecot.mails()] == [""] * 4
    # given back at once, for another process to go on with
    given = await room.inbox(inbox.id)
    assert given.lease is None
    assert (given.due_at or 0) <= clock.now()


async def test_what_was_there_before_comes_in_where_it_is_wanted(room: PostRoom, dovecot: Dovecot):
    dovecot.deliver(mail(1), mail(2))
    await room.mailbox(box(dovecot, from_beginning=True))
    async with reading(room):
        await came(room, 2)
    assert await room.subjects() == ["mail 1", "mail 2"]


async def test_mail_that_came_while_nobody_read_is_taken_by_the_next(room: PostRoom, dovecot: Dovecot):
    inbox = await room.mailbox(box(dovecot))
    async with reading(room):
        await read_once(room, inbox.id)
    dovecot.deliver(mail(1))
    async with reading(room):
        await came(room, 1)
    assert await room.subjects() == ["mail 1"]


async def test_two_hundred_mails_come_in_once_each_though_processes_die_in_the_middle(
    room: PostRoom, dovecot: Dovecot, monkeypatch: pytest.MonkeyPatch
):
    dovecot.deliver(*[mail(number, "x" * 3000) for number in range(200)])
    inbox = await room.mailbox(box(dovecot, from_beginning=True))
    take, taken = receive.mail, 0

    class Died(BaseException):
        """The end of a process between storing a mail and writing down that it was read."""

    async def dying(*given: Any, **named: Any) -> Any:
        nonlocal taken
        found = await take(*given, **named)
        taken += 1
        if taken in (60, 120, 180):
            raise Died
        return found

    monkeypatch.setattr(poll.receive, "mail", dying)
    for _ in range(3):
        claimed = await room.db.write(inboxes.claim, now=clock.now(), lease_ms=poll.LEASE)
        assert claimed is not None
        with pytest.raises(Died):
            await Poller(room.desk, room.vault)._attend(poll.Session(claimed, clock.now()))
        await room.db.write(inboxes.give_up_leases, now=clock.now())
    async with reading(room):
        await came(room, 200)
    assert await room.subjects() == [f"mail {number}" for number in range(200)]
    assert taken == 203
    assert (await room.inbox(inbox.id)).error is None


async def test_a_folder_made_anew_is_read_anew_and_nothing_is_stored_twice(room: PostRoom, dovecot: Dovecot):
    dovecot.deliver(mail(0), at=datetime.now(UTC) - timedelta(days=30))
    inbox = await room.mailbox(box(dovecot))
    async with reading(room):
        await read_once(room, inbox.id)
        dovecot.deliver(mail(1), mail(2))
        await came(room, 2)
    before = (await room.inbox(inbox.id)).cursor
    dovecot.recreate()
    dovecot.deliver(mail(3))
    async with reading(room):
        await came(room, 3)
    assert await room.subjects() == ["mail 1", "mail 2", "mail 3"]
    assert (await room.inbox(inbox.id)).cursor != before


async def test_what_was_taken_is_marked_moved_or_deleted_as_is_wished(room: PostRoom, dovecot: Dovecot):
    for number, (after, more) in enumerate((("seen", {}), ("move", {"move_to": "Taken & gelöscht"}), ("delete", {}))):
        inbox = await room.mailbox(box(dovecot, after=after, **more), name=after)
        async with reading(room):
            await read_once(room, inbox.id)
            dovecot.deliver(mail(number))
            await came(room, number + 1)
        await room.db.write(inboxes.delete, room.tenant_id, inbox.id)
    assert [(flags, b"mail 0" in raw) for flags, raw in dovecot.mails()] == [("\\Seen", True)]
    (moved,) = dovecot.mails('"Taken &- gel&APY-scht"')
    assert b"mail 1" in moved[1]


async def test_a_server_that_says_nothing_is_asked_again_and_its_mail_moved_by_copying(room: PostRoom, silent: Dovecot):
    inbox = await room.mailbox(box(silent, after="move", move_to="Taken"))
    async with reading(room):
        await read_once(room, inbox.id)

        async def given_back() -> bool:
            return (await room.inbox(inbox.id)).lease is None

        await until(given_back)
        resting = await room.inbox(inbox.id)
        assert (resting.due_at or 0) > clock.now() + 50 * clock.MINUTE
        silent.deliver(mail(1))
        await room.db.write(inboxes.hasten, room.tenant_id, inbox.id, now=clock.now())
        await came(room, 1)
    assert len(silent.mails("Taken")) == 1
    assert [flags for flags, _ in silent.mails()] == ["\\Deleted"]


async def test_a_connection_that_drops_is_made_again(room: PostRoom, dovecot: Dovecot, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(poll, "MINUTE", 0)
    monkeypatch.setattr(poll, "SOON", 0)
    inbox = await room.mailbox(box(dovecot))
    async with reading(room):
        await read_once(room, inbox.id)
        dovecot.kick()
        dovecot.deliver(mail(1))
        await came(room, 1)
        dovecot.kick()
        dovecot.deliver(mail(2))
        await came(room, 2)
    assert await room.subjects() == ["mail 1", "mail 2"]
    assert (await room.inbox(inbox.id)).error is None


async def test_a_wrong_password_is_said_and_tried_again_later_and_later(room: PostRoom, dovecot: Dovecot):
    inbox = await room.mailbox(box(dovecot, password="wrong"))
    async with reading(room):
        said = await wrong(room, inbox.id)
    assert "does not take the user name and password" in said
    assert "wrong" not in said
    failed = await room.inbox(inbox.id)
    assert failed.failing_since is not None
    assert (failed.due_at or 0) > clock.now() + 30 * clock.SECOND
    again = await room.db.write(inboxes.claim, now=(failed.due_at or 0) + 1, lease_ms=poll.LEASE)
    assert again is not None
    assert again.attempts == 2


async def test_changing_an_inbox_takes_it_out_of_the_hands_that_hold_it(room: PostRoom, dovecot: Dovecot):
    inbox = await room.mailbox(box(dovecot))
    async with reading(room):
        await read_once(room, inbox.id)
        wrongly = poll.sources.seal(room.vault, box(dovecot, password="wrong"))
        await room.db.write(inboxes.update, room.tenant_id, inbox.id, inboxes.Change("box", None, wrongly), now=clock.now())
        await wrong(room, inbox.id)
        await room.db.write(inboxes.delete, room.tenant_id, inbox.id)

    async def gone() -> bool:
        return dovecot.connections() == 0

    # its process takes a moment to see that we are
    await until(gone)


@pytest.mark.parametrize("tls", ["tls", "starttls"])
async def test_over_tls_large_mail_comes_whole_and_a_strange_certificate_is_refused(room: PostRoom, dovecot: Dovecot, tls: Any):
    port = dovecot.tls_port if tls == "tls" else dovecot.port
    inbox = await room.mailbox(box(dovecot, tls=tls, port=port, verify=False), name="trusting")
    strict = await room.mailbox(box(dovecot, tls=tls, port=port), name="strict")
    large = mail(1, "0123456789abcde\r\n" * 300_000)
    async with reading(room):
        assert "certificate" in await wrong(room, strict.id)
        await read_once(room, inbox.id)
        dovecot.deliver(large)
        await came(room, 1)
    assert await room.raw() == [large]


async def test_mail_that_is_too_large_stays_where_it_is_and_blocks_nothing(
    room: PostRoom, dovecot: Dovecot, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(poll, "LARGEST", 10_000)
    inbox = await room.mailbox(box(dovecot, after="delete"))
    async with reading(room):
        await read_once(room, inbox.id)
        dovecot.deliver(mail(1), mail(2, "x" * 20_000), mail(3))
        await came(room, 2)
        said = await wrong(room, inbox.id)
    assert "was left in the mailbox (UID 2)" in said
    assert await room.subjects() == ["mail 1", "mail 3"]
    assert [b"mail 2" in raw for _, raw in dovecot.mails()] == [True]


async def test_mail_that_makes_us_fall_over_is_passed_by_after_three_tries(
    room: PostRoom, dovecot: Dovecot, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(poll, "MINUTE", 0)
    take = receive.mail

    async def clumsy(desk: Any, tenant_id: int, raw: bytes, *more: Any) -> Any:
        if b"mail 2" in raw:
            raise ZeroDivisionError
        return await take(desk, tenant_id, raw, *more)

    monkeypatch.setattr(poll.receive, "mail", clumsy)
    dovecot.deliver(mail(1), mail(2), mail(3))
    inbox = await room.mailbox(box(dovecot, from_beginning=True, after="seen"))
    async with reading(room):
        await came(room, 2)
    assert await room.subjects() == ["mail 1", "mail 3"]
    assert "ZeroDivisionError" in ((await room.inbox(inbox.id)).error or "")
    assert [flags for flags, _ in dovecot.mails()] == ["\\Seen", "", "\\Seen"]


async def test_a_store_that_is_away_is_no_fault_of_the_mailbox(room: PostRoom, dovecot: Dovecot, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(poll, "SOON", 0)
    take, tries = receive.mail, 0

    async def away(*given: Any) -> Any:
        nonlocal tries
        tries += 1
        if tries < 5:
            raise Unavailable("the disk is full")
        return await take(*given)

    monkeypatch.setattr(poll.receive, "mail", away)
    dovecot.deliver(mail(1))
    inbox = await room.mailbox(box(dovecot, from_beginning=True))
    async with reading(room):
        await came(room, 1)
    assert (await room.inbox(inbox.id)).error is None
    assert tries == 5


async def test_where_more_mailboxes_wait_than_are_held_they_take_turns(room: PostRoom, dovecot: Dovecot, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(poll, "HELD", 1)
    monkeypatch.setattr(poll, "ASK", 0.1)
    made = [await room.mailbox(box(dovecot), name=name) for name in ("one", "two", "three")]
    async with reading(room):
        for inbox in made:
            await read_once(room, inbox.id)


async def test_nobody_at_home_is_said_in_a_sentence(room: PostRoom):
    inbox = await room.mailbox(Mailbox(host="127.0.0.1", username="ann", password="x", port=free_port(), tls="none"))
    async with reading(room):
        assert "cannot be reached" in await wrong(room, inbox.id)


def test_folders_are_named_as_the_protocol_wants_it():
    assert mailbox_name("INBOX") == b"INBOX"
    assert mailbox_name("Bücher & Co") == b"B&APw-cher &- Co"
    assert mailbox_name("~peter/mail/台北/日本語") == b"~peter/mail/&U,BTFw-/&ZeVnLIqe-"


def test_after_the_folder_was_made_anew_what_is_older_than_the_inbox_stays_out():
    noon = 1_750_248_000_000  # 2025-06-18
    folder = poll.Folder(validity=7, next_uid=100)
    aside = Mailbox(host="h", username="u", password="p")
    begun = resumed("", folder, aside)
    assert wanted(begun, noon) == ["UID 100:*"]
    anew = resumed(poll._text(Cursor(6, 42)), folder, aside)
    assert wanted(anew, noon) == ["UID 1:99 SINCE 17-Jun-2025", "UID 100:*"]
