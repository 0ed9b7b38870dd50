"""Mailboxes that are read: each is held by one process under a lease, read in the order of its UIDs, and waited on where the server tells.

How far a mailbox has been read is written only once a mail is stored; after a crash in between it is read again, and stored once.
"""

import asyncio
import time
from datetime import UTC, datetime
from typing import cast

import msgspec
import structlog

from tidings import clock
from tidings.clock import DAY, MINUTE, SECOND
from tidings.domain import inboxes
from tidings.domain.inboxes import Inbox
from tidings.errors import Conflict, Invalid, NotFound, TidingsError, TooLarge, Unavailable
from tidings.inbound import receive, sources
from tidings.inbound.imap import Folder, Imap, connected
from tidings.inbound.receive import Desk
from tidings.inbound.sources import Mailbox
from tidings.message.incoming import LARGEST
from tidings.signing import Vault

ASK = 5.0
"""Seconds between two looks for mailboxes that are due; a bell comes before."""
LEASE = 3 * MINUTE
RENEW = 60.0
HELD = 200
"""Mailboxes a process holds at a time, most of them idle."""
READING = 4
"""Mails a process has in memory at a time."""
IDLE_FOR = 9 * 60.0
"""Seconds. Servers may end what idles for half an hour (RFC 2177); routers forget silent connections sooner, and tell nobody."""
AT_ONCE = 100
TRIES = 3
"""How often a mail may make us fall over before it is passed by."""
SHOWN_FOR = 7 * DAY
SOON = 5 * SECOND
LONGEST_BACKOFF = 30 * MINUTE
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

log = structlog.get_logger("poll")


class Cursor(msgspec.Struct, frozen=True):
    """How far a folder has been read: the last UID, which means something under this `validity` alone.

    `anew` is the next UID there was when the folder was begun anew: what lies before it counts only if it came in after the inbox was
    made. `note` is what was passed by last, at `noted_at`.
    """

    validity: int
    uid: int
    anew: int = 0
    note: str = ""
    noted_at: int = 0


class Session:
    """One mailbox in this process' hands. `leave` asks it to end, to be due again after `delay` milliseconds."""

    def __init__(self, inbox: Inbox, now: int) -> None:
        self.inbox, self.begun = inbox, now
        self.cursor = Cursor(0, 0)
        self.leave = asyncio.Event()
        self.delay = 0
        # the UID in hand, whether any was settled, whether all has been read once, whether our own store is being asked
        self.uid, self.moved, self.read, self.at_home = 0, False, False, False

    def end(self, *, delay: int = 0) -> None:
        """Asks it to end."""
        self.delay = delay
        self.leave.set()


class Poller:
    """The mailboxes of every tenant, as far as this process gets hold of them."""

    def __init__(self, desk: Desk, vault: Vault) -> None:
        self._desk, self._db, self._now, self._vault = desk, desk.db, desk.clock, vault
        self._held: dict[asyncio.Task[int], Session] = {}
        self._reading = asyncio.Semaphore(READING)
        self._ended = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Reads until `stop` is set, then gives every mailbox back. When the database goes away, what is held is held on to."""
        bell = self._db.bell(inboxes.BELL)
        try:
            renewed = time.monotonic()
            while not stop.is_set():
                await self._settle()
                if bell.is_set() or time.monotonic() - renewed > RENEW:
                    bell.clear()
                    renewed = time.monotonic()
                    await self._renew()
                await self._claim()
                await clock.first(ASK, stop, bell, self._ended)
        except asyncio.CancelledError:
            for task in self._held:
                task.cancel()
            raise
        finally:
            self._db.drop_bell(inboxes.BELL, bell)
        for session in self._held.values():
            session.end()
        if self._held:
            await asyncio.wait(self._held, timeout=30)
        for task in self._held:
            task.cancel()
        await asyncio.gather(*self._held, return_exceptions=True)
        await self._settle()

    async def _claim(self) -> None:
        while await self._db.read(inboxes.is_any_due, now=self._now()):
            if len(self._held) >= HELD:
                self._make_room()
                return
            inbox = await self._db.write(inboxes.claim, now=self._now(), lease_ms=LEASE)
            if inbox is None:  # others were faster
                return
            session = Session(inbox, self._now())
            task = asyncio.create_task(self._attend(session), name=f"inbox {inbox.id}")
            task.add_done_callback(lambda _: self._ended.set())
            self._held[task] = session

    def _make_room(self) -> None:
        """Lets go of what has been waited on longest; it comes back in its turn."""
        waiting = next((session for session in self._held.values() if session.read and not session.leave.is_set()), None)
        if waiting is not None:
            waiting.end(delay=MINUTE)

    async def _renew(self) -> None:
        leases = [session.inbox.lease or 0 for session in self._held.values()]
        held = await self._db.write(inboxes.renew, leases, until=self._now() + LEASE) if leases else set[int]()
        for task, session in self._held.items():
            if session.inbox.lease not in held:
                # changed, removed, or asked for anew: whoever claims it next begins where this one has come to
                task.cancel()

    async def _settle(self) -> None:
        """Gives back what has ended, and says of each what is wrong with it. A session is let go of only when that is written."""
        self._ended.clear()
        for task in [task for task in self._held if task.done()]:
            session = self._held[task]
            error = asyncio.CancelledError() if task.cancelled() else task.exception()
            if error is None:
                await self._db.write(inboxes.release, session.inbox, due_at=self._now() + task.result())
            elif not isinstance(error, asyncio.CancelledError | Conflict):
                await self._settle_fault(session, error)
            else:
                await self._db.write(inboxes.release, session.inbox, due_at=self._now())
            del self._held[task]

    async def _settle_fault(self, session: Session, error: BaseException) -> None:
        inbox, now = session.inbox, self._now()
        if isinstance(error, Unavailable) and (session.at_home or session.read):
            lasted = now - session.begun > MINUTE
            log.info("mailbox left", inbox=inbox.id, tenant=inbox.tenant_id, reason=error.message)
            await self._db.write(inboxes.release, inbox, due_at=now + (SOON if lasted or session.at_home else MINUTE))
            return
        if isinstance(error, TidingsError):
            said = error.message
            log.warning("mailbox cannot be read", inbox=inbox.id, tenant=inbox.tenant_id, attempts=inbox.attempts, reason=said)
        else:
            what = f"the mail with UID {session.uid}" if session.uid else "this mailbox"
            said = f"Tidings fell over {what} ({type(error).__name__})"
            log.error("mailbox cannot be read", inbox=inbox.id, tenant=inbox.tenant_id, uid=session.uid, exc_info=error)
            if session.uid and not session.moved and inbox.attempts >= TRIES:
                passed = _noted(session.cursor, f"{said}; it was left in the mailbox", now, uid=session.uid)
                await self._db.write(inboxes.progressed, inbox, _text(passed), error=passed.note, now=now)
                await self._db.write(inboxes.release, inbox, due_at=now)
                return
        wait = min(MINUTE << min(max(inbox.attempts - 1, 0), 10), LONGEST_BACKOFF)
        await self._db.write(inboxes.failed, inbox, said, now=now, due_at=now + wait)

    async def _attend(self, session: Session) -> int:
        """Reads a mailbox, and waits on it where the server tells of new mail; the milliseconds after which it is due again."""
        inbox = session.inbox
        box = cast(Mailbox, sources.opened(self._vault, inbox.kind, inbox.settings))
        async with connected(box) as imap:
            folder = await imap.select(box.folder, read_only=box.after == "leave")
            session.cursor = resumed(inbox.cursor, folder, box)
            if _text(session.cursor) != inbox.cursor:
                # before anything is read: where "from now on" begins must not depend on what happens next
                await self._keep(session, session.cursor)
            while True:
                await self._catch_up(session, imap, box)
                session.read = True
                if session.leave.is_set():
                    return session.delay
                if not imap.can_idle:
                    return box.pause
                await imap.idle(session.leave, seconds=IDLE_FOR)

    async def _catch_up(self, session: Session, imap: Imap, box: Mailbox) -> None:
        """Takes whatever has come in since."""
        while not session.leave.is_set():
            imap.arrived = False
            uids: list[int] = []
            for criteria in wanted(session.cursor, session.inbox.created_at):
                uids += [uid for uid in await imap.search(criteria) if uid > session.cursor.uid]
            for start in range(0, len(uids), AT_ONCE):
                sizes = await imap.sizes(uids[start : start + AT_ONCE])
                for uid in uids[start : start + AT_ONCE]:
                    if session.leave.is_set():
                        return
                    async with self._reading:
                        note = await self._take(session, imap, box, uid, sizes.get(uid))
                    await self._keep(session, _noted(session.cursor, note, self._now(), uid=uid))
                    session.moved = True
            if not imap.arrived:
                if not uids:
                    await self._keep(session, session.cursor)
                return

    async def _take(self, session: Session, imap: Imap, box: Mailbox, uid: int, size: int | None) -> str:
        """Stores one mail and puts it away; what people should know of it, "" when all is well."""
        session.uid = uid
        if size is not None and size > LARGEST:
            return f"A mail of {size:,} bytes was left in the mailbox (UID {uid}): {LARGEST:,} are the most that is taken"
        # some servers only guess at a size
        raw = await imap.fetch(uid, most=2 * LARGEST)
        if raw is None:
            if uid in await imap.search(f"UID {uid}"):
                raise Unavailable(f"{box.place} does not hand out the mail with UID {uid}")
            return ""
        try:
            session.at_home = True
            await receive.mail(self._desk, session.inbox.tenant_id, raw)
            session.at_home = False
        except (TooLarge, Invalid) as error:
            session.at_home = False
            return f"A mail was left in the mailbox (UID {uid}): {error.message}"
        try:
            await _put_away(imap, box, uid)
        except NotFound as error:
            return f"A mail was taken in and could not be put away (UID {uid}): {error.message}"
        return ""

    async def _keep(self, session: Session, cursor: Cursor) -> None:
        """Writes how far the mailbox has been read. Raises Conflict when somebody else holds it by now."""
        now = self._now()
        error = cursor.note if cursor.note and now - cursor.noted_at < SHOWN_FOR else None
        session.at_home = True
        if not await self._db.write(inboxes.progressed, session.inbox, _text(cursor), error=error, now=now):
            raise Conflict("This mailbox was taken over")
        session.at_home = False
        session.cursor = cursor


def resumed(kept: str, folder: Folder, box: Mailbox) -> Cursor:
    """Where to go on. A folder never read before is read from now on, unless it is wanted from its beginning.

    Under another UIDVALIDITY the UIDs that were kept mean nothing: it is begun anew, and what is stored already is stored once.
    """
    if not kept:
        return Cursor(folder.validity, 0 if box.from_beginning else folder.next_uid - 1)
    cursor = msgspec.json.decode(kept, type=Cursor)
    if cursor.validity == folder.validity:
        return cursor
    return Cursor(folder.validity, 0, 0 if box.from_beginning else folder.next_uid, cursor.note, cursor.noted_at)


def wanted(cursor: Cursor, since: int) -> list[str]:
    """What to search for (RFC 3501, section 6.4.4). `since`: when the inbox was made; a day earlier, for servers know dates of their own."""
    first = cursor.uid + 1
    if first >= cursor.anew:
        return [f"UID {first}:*"]
    day = datetime.fromtimestamp((since - DAY) / SECOND, UTC)
    return [f"UID {first}:{cursor.anew - 1} SINCE {day.day}-{_MONTHS[day.month - 1]}-{day.year}", f"UID {cursor.anew}:*"]


async def _put_away(imap: Imap, box: Mailbox, uid: int) -> None:
    match box.after:
        case "seen":
            await imap.see(uid)
        case "move":
            await imap.move(uid, box.move_to)
        case "delete":
            await imap.delete(uid)
        case "leave":
            pass


def _noted(cursor: Cursor, note: str, now: int, *, uid: int) -> Cursor:
    if not note:
        return msgspec.structs.replace(cursor, uid=uid)
    return msgspec.structs.replace(cursor, uid=uid, note=note, noted_at=now)


def _text(cursor: Cursor) -> str:
    return msgspec.json.encode(cursor).decode()
