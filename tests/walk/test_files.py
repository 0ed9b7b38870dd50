"""Files on their whole way: kept, sent to mail servers nobody here wrote, read back; and what a batch of them takes of memory."""

import asyncio
import os
from collections.abc import Sequence
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import psutil
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.support.mail import free_port, smtp_sink
from tests.support.walk import House, OneCarrier
from tidings.database import Database
from tidings.delivery.dispatch import Dispatcher
from tidings.domain import attachments
from tidings.domain.attachments import LIMIT, File
from tidings.message.outgoing import Sealed, accepted
from tidings.providers.base import Provider, Report
from tidings.providers.smtp import Smtp, SmtpSettings
from tidings.storage import Folder

MIB = 1024 * 1024


@pytest.fixture
async def house(db: Database, tmp_path: Path) -> House:
    return await House(db, Folder(tmp_path / "blobs")).settle_in()


async def kept(house: House, name: str, data: bytes) -> File:
    digest = await attachments.keep(house.db, house.store, house.tenant_id, data, now=house.clock)
    return File(name, "application/pdf", len(data), digest)


def enclosed(raw: bytes) -> list[bytes]:
    message = message_from_bytes(raw, policy=default)
    assert isinstance(message, EmailMessage)
    return [part.get_payload(decode=True) for part in message.iter_attachments()]  # type: ignore[misc]


async def sent_over(house: House, url: str) -> None:
    provider = Smtp(SmtpSettings.from_url(url))
    try:
        await dispatched(house, provider)
    finally:
        await provider.close()


async def dispatched(house: House, provider: Provider) -> None:
    stop = asyncio.Event()
    dispatcher = Dispatcher(house.db, house.composer, OneCarrier(provider), house.store, house.clock)
    running = asyncio.create_task(dispatcher.run(stop))
    async with asyncio.timeout(60):
        while await house.db.read(house._is_due):  # noqa: ASYNC110 - settling rings no bell
            await asyncio.sleep(0.02)
    stop.set()
    await running


@pytest.mark.parametrize("options", [(), ("-p",)], ids=["pipelining", "lockstep"])
async def test_25_mib_reach_the_server_byte_for_byte(house: House, options: tuple[str, ...]) -> None:
    data = os.urandom(LIMIT)
    await house.accept(attachments=(await kept(house, "large.pdf", data),))
    await house.accept("bob@example.com")
    with smtp_sink(*options, dump=True) as sink:
        await sent_over(house, sink.url)
        found = {mail.recipients: mail.raw for mail in sink.messages()}
    assert await house.states() == ["sent", "sent"]
    assert enclosed(found["ann@example.com",]) == [data]
    assert enclosed(found["bob@example.com",]) == []


class Inbox:
    def __init__(self) -> None:
        self.mails: list[bytes] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        assert isinstance(envelope.original_content, bytes)
        self.mails.append(envelope.original_content)
        return "250 OK"


async def test_what_is_over_the_servers_size_is_refused_in_words_and_the_rest_goes_out(house: House) -> None:
    await house.accept(attachments=(await kept(house, "large.pdf", os.urandom(3 * MIB)),))
    small = os.urandom(MIB)
    await house.accept("bob@example.com", attachments=(await kept(house, "small.pdf", small),))
    inbox, port = Inbox(), free_port()
    listener = Controller(inbox, hostname="127.0.0.1", port=port, data_size_limit=2 * MIB)
    listener.start()
    try:
        await sent_over(house, f"smtp://127.0.0.1:{port}?tls=none")
    finally:
        listener.stop()
    large, other = await house.rows()
    assert (large.state, other.state) == ("failed", "sent")
    assert large.error is not None
    assert "the mail server takes at most 2097152" in large.error
    assert [enclosed(raw) for raw in inbox.mails] == [[small]]


class Weighing:
    """A provider that keeps nothing and notes how large the process is while it holds a load."""

    kind = "told"

    def __init__(self) -> None:
        self.process = psutil.Process()
        self.sent = self.peak = self.largest = 0

    async def send(self, batch: Sequence[Sealed], report: Report) -> None:
        self.peak = max(self.peak, self.process.memory_info().rss)
        self.largest = max(self.largest, len(batch))
        for sealed in batch:
            self.sent += 1
            report(sealed.communication_id, accepted())

    async def close(self) -> None:
        return None


async def test_a_batch_of_large_files_is_never_in_memory_as_a_whole(house: House) -> None:
    for number in range(30):
        data = number.to_bytes(4, "big") * (2 * MIB)
        await house.accept(f"p{number}@example.com", attachments=(await kept(house, "a.pdf", data),))
    weighing = Weighing()
    before = weighing.process.memory_info().rss
    await dispatched(house, weighing)
    assert (weighing.sent, weighing.largest) == (30, 2)
    # 240 MiB of files, 330 as mail; a load is 16 as files, 22 as parts, 22 as mail
    assert weighing.peak - before < 150 * MIB


async def test_one_file_for_many_is_fetched_and_encoded_once_a_load(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    data = os.urandom(1000)
    file = await kept(house, "a.pdf", data)
    for number in range(100):
        await house.accept(f"p{number}@example.com", attachments=(file, file))
    asked: list[str] = []
    get = Folder.get

    async def counted(store: Folder, tenant_id: int, digest: str) -> bytes:
        asked.append(digest)
        return await get(store, tenant_id, digest)

    monkeypatch.setattr(Folder, "get", counted)
    sent = await house.dispatch()
    assert [enclosed(_raw(sealed)) for sealed in sent] == [[data, data]] * 100
    assert asked == [file.hash]


def _raw(sealed: Any) -> bytes:
    return sealed.raw
