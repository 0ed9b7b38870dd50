"""Mail whose files are in a bucket: from the request to the bytes that went out, and with the bucket away."""

import asyncio
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

from tests.support.walk import House
from tidings.clock import DAY, HOUR
from tidings.database import Database
from tidings.delivery import blobs
from tidings.domain import attachments
from tidings.domain.attachments import File
from tidings.message.outgoing import Email
from tidings.storage import open_store

DATA = bytes(range(256)) * 4000


async def test_a_file_in_a_bucket_is_sent_byte_for_byte_and_swept_when_its_mail_is_gone(db: Database, s3_url: str, tmp_path: Path):
    house = await House(db, open_store(s3_url, tmp_path)).settle_in()
    digests = await asyncio.gather(*(attachments.keep(db, house.store, house.tenant_id, DATA, now=house.clock) for _ in range(4)))
    file = File("a.bin", "application/pdf", len(DATA), digests[0])
    await house.accept(attachments=(file,))
    (sealed,) = await house.dispatch()
    assert isinstance(sealed, Email)
    message = message_from_bytes(sealed.raw, policy=default)
    assert isinstance(message, EmailMessage)
    assert [part.get_payload(decode=True) for part in message.iter_attachments()] == [DATA]
    house.later(DAY + HOUR)
    assert await blobs.sweep(db, house.store, house.clock) == 0
    await db.write(lambda tx: tx.run("DELETE FROM attachments WHERE tenant_id = :t", t=house.tenant_id))
    assert await blobs.sweep(db, house.store, house.clock) == 1


async def test_a_bucket_that_is_away_puts_off_mail_with_files_and_no_other(db: Database, s3_url: str, tmp_path: Path):
    house = await House(db, open_store(s3_url, tmp_path)).settle_in()
    digest = await attachments.keep(db, house.store, house.tenant_id, DATA, now=house.clock)
    await house.accept(attachments=(File("a.bin", "application/pdf", len(DATA), digest),))
    await house.accept("bob@example.com")
    there, house.store = house.store, open_store("s3://k:s@files?endpoint=http://127.0.0.1:1&region=x", tmp_path)
    assert [sealed.recipients for sealed in await house.dispatch() if isinstance(sealed, Email)] == [("bob@example.com",)]
    assert await house.states() == ["pending", "sent"]
    house.store = there
    house.later(HOUR)
    assert len(await house.dispatch()) == 1
