"""Erasing a contact from beginning to end, for whoever asks for it: the API or the command line. What is erased says `domain.erasure`."""

import asyncio

from tidings.clock import Clock
from tidings.database import Database
from tidings.domain import erasure
from tidings.domain.audit import UNASKED, Asked
from tidings.domain.contacts import Contact
from tidings.domain.erasure import Erased
from tidings.errors import Unavailable

PATIENCE = 10.0
"""Seconds that a message which is being sent at this moment is waited for."""
LOOK = 0.05
ROUNDS = 5
"""Times that it is begun again because somebody has written to the contact, or heard from it, meanwhile."""


async def erase(db: Database, tenant_id: int, contact_id: int, *, lift: bool, author: str, now: Clock, asked: Asked = UNASKED) -> Erased:
    """Erases; `lift` drops also that the contact must not be written to. Raises NotFound, and Unavailable while a message to it is being sent:
    nothing but what was pending is gone then. The audit has it from the first step on.
    """
    entry, contact, erased = await db.write(erasure.begin, tenant_id, contact_id, author=author, now=now(), asked=asked)
    last = 0
    for _ in range(ROUNDS):
        await _quiet(db, tenant_id, contact_id)
        last, more = await _erase_all(db, contact, now, behind=last)
        erased = erased.and_(more)
        if await db.write(erasure.finish, contact, behind=last, lift=lift, entry=entry, now=now(), asked=asked):
            return erased
        contact, more = await db.write(erasure.halt, tenant_id, contact_id, now=now())
        erased = erased.and_(more)
    raise Unavailable("The contact is written to, or writes, all the time; erase it again in a while")


async def _quiet(db: Database, tenant_id: int, contact_id: int) -> None:
    try:
        async with asyncio.timeout(PATIENCE):
            busy = await db.read(erasure.under_way, tenant_id, contact_id)
            while busy:
                await asyncio.sleep(LOOK)
                busy = await db.read(erasure.under_way, tenant_id, contact_id)
    except TimeoutError as error:
        raise Unavailable("A message to the contact is being sent at this moment; erase it again in a while") from error


async def _erase_all(db: Database, contact: Contact, now: Clock, *, behind: int) -> tuple[int, Erased]:
    """All there is at this moment behind the message `behind`, a step at a time; the id of the last message among it."""
    erased, last = Erased(), behind
    after: int | None = behind
    while after is not None:
        last = after
        after, more = await db.write(erasure.sent, contact, after=last, now=now())
        erased = erased.and_(more)
    while (more := await db.write(erasure.received, contact, now=now())) != Erased():
        erased = erased.and_(more)
    return last, erased.and_(await db.write(erasure.copied, contact))
