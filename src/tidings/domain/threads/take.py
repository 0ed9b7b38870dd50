"""What arrives, in one transaction: stored once in the conversation it belongs to, counted as a reply, and whatever it stops stopped.

Everything that comes in goes through `take`, whatever carried it. What the message says was read before; which clues it carries too.
"""

from typing import Literal, NamedTuple

import msgspec

from tidings import clock
from tidings.database import Tx
from tidings.domain import attachments, communications, contacts, counters, endpoints, enrollments, events, suppressions
from tidings.domain.attachments import File
from tidings.domain.communications import Receipt
from tidings.domain.contacts import Contact
from tidings.domain.counters import Tally
from tidings.domain.threads.join import Beginning, begin, discard, rooted, still_there
from tidings.domain.threads.receive import Incoming, storable, store_inbound

Keyword = Literal["stop", "start", "help"]
NOBODY = "unknown@sender.invalid"
"""Stands for a sender that the mail does not name; `.invalid` is nobody's domain (RFC 2606)."""

HELPED = clock.MINUTE
"""Milliseconds that have to lie between two requests for help in a conversation for the second one to be answered."""


class Clue(NamedTuple):
    """Something in a message that names what it answers: one of our communications by id (signed by us, so it is one of the tenant's),
    a Message-ID that somebody wrote to us under, or a conversation's key.
    """

    communication_id: int = 0
    message_id: str = ""
    key: str = ""


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """A message that came in, as far as it has been read. `clues` stand in the order in which they are believed.

    `incoming` is what is stored, and the `files` it came with; its contact is found by its sender here, or made.
    `receipts` are what a bounce or a complaint says of the communication that the clues name. `keyword` is what a text said as a whole,
    `answer` what is written back to it, "" for nothing.
    """

    incoming: Incoming
    files: tuple[File, ...] = ()
    clues: tuple[Clue, ...] = ()
    receipts: tuple[Receipt, ...] = ()
    keyword: Keyword | None = None
    answer: str = ""


class Taken(msgspec.Struct, frozen=True):
    """What became of an arrival: the inbound message (None for a bounce or a complaint, which is an interaction of what it speaks of),
    the communication it answers, whether it was new, and whether it ended an enrollment. `answer` asks for the arrival's answer to be sent,
    `keyword` is the word that a text was.
    """

    inbound_id: int | None
    communication_id: int | None
    fresh: bool
    stopped: bool = False
    answer: bool = False
    contact_id: int | None = None
    conversation_id: int | None = None
    keyword: Keyword | None = None


def take(tx: Tx, tenant_id: int, arrival: Arrival, *, now: int) -> Taken:
    """Takes a message in. The same one coming twice changes nothing the second time."""
    incoming = storable(arrival.incoming)
    known = tx.row(
        "SELECT id, communication_id FROM inbound_messages WHERE tenant_id = :tenant_id AND source = :source AND source_id = :source_id",
        tenant_id=tenant_id,
        source=incoming.source,
        source_id=incoming.source_id,
    )
    if known is not None:
        return Taken(known[0], known[1], fresh=False)
    if arrival.receipts:
        reported = _reported(tx, tenant_id, arrival, now=now)
        if reported is not None:
            return reported
    communication_id, conversation_id = _matched(tx, tenant_id, arrival.clues, now=now)
    if incoming.channel == "sms" and communication_id is None:
        communication_id = _last_text(tx, tenant_id, incoming.sender)
    contact = _contact(tx, tenant_id, incoming, communication_id, now=now)
    if incoming.channel == "sms" and conversation_id is None:
        conversation_id = _of_texts(tx, tenant_id, contact.id, communication_id, now=now)
    conversation_id = still_there(tx, tenant_id, conversation_id)
    begun = conversation_id is None
    if conversation_id is None:
        conversation_id = _begun(tx, tenant_id, incoming, contact.id, arrival.clues, now=now)
    incoming = msgspec.structs.replace(incoming, contact_id=contact.id, communication_id=communication_id)
    inbound_id, fresh = store_inbound(tx, tenant_id, conversation_id, incoming, now=now)
    if not fresh:
        if begun:
            discard(tx, tenant_id, conversation_id)
        return Taken(inbound_id, communication_id, fresh=False)
    attachments.store(tx, tenant_id, arrival.files, inbound_id=inbound_id, now=now)
    endpoints.lay_received(tx, tenant_id, inbound_id, incoming.channel, communication_id=communication_id, at=incoming.received_at, now=now)
    taken = Taken(inbound_id, communication_id, fresh=True, contact_id=contact.id, conversation_id=conversation_id)
    if arrival.keyword is not None:
        return _heeded(tx, tenant_id, taken, arrival.keyword, incoming, answer=arrival.answer, now=now)
    return taken if incoming.automatic else _replied(tx, tenant_id, taken, incoming, now=now)


def _matched(tx: Tx, tenant_id: int, clues: tuple[Clue, ...], *, now: int) -> tuple[int | None, int | None]:
    """(communication answered, conversation) by the first clue that leads anywhere. Where that is a message received, or a name, the
    clues behind it may still tell which of our messages in that conversation is answered.
    """
    conversation_id: int | None = None
    for clue in clues:
        if conversation_id is None:
            conversation_id = _led(tx, tenant_id, clue, now=now)
            answers = conversation_id is not None
        else:
            answers = _spoken_in(tx, tenant_id, clue.communication_id) == conversation_id
        if answers and clue.communication_id:
            return clue.communication_id, conversation_id
    return None, conversation_id


def _led(tx: Tx, tenant_id: int, clue: Clue, *, now: int) -> int | None:
    """The conversation that a clue leads to."""
    if clue.communication_id:
        return rooted(tx, tenant_id, clue.communication_id, now=now)
    if clue.key:
        return tx.value("SELECT id FROM conversations WHERE tenant_id = :tenant_id AND key = :key", tenant_id=tenant_id, key=clue.key)
    return tx.value(
        "SELECT conversation_id FROM inbound_messages WHERE tenant_id = :tenant_id AND message_id = :message_id ORDER BY id LIMIT 1",
        tenant_id=tenant_id,
        message_id=clue.message_id,
    )


def _spoken_in(tx: Tx, tenant_id: int, communication_id: int) -> int | None:
    if not communication_id:
        return None
    return tx.value(
        "SELECT conversation_id FROM communications WHERE tenant_id = :tenant_id AND id = :id", tenant_id=tenant_id, id=communication_id
    )


def _contact(tx: Tx, tenant_id: int, incoming: Incoming, communication_id: int | None, *, now: int) -> Contact:
    """Who wrote, found by address or number, or made. Of several who share a number it is the one who was written to."""
    if incoming.channel == "sms":
        answered = communications.get(tx, tenant_id, communication_id) if communication_id is not None else None
        found = contacts.get(tx, tenant_id, answered.contact_id) if answered is not None else None
        if found is None or found.phone != incoming.sender:
            found = contacts.find_by_phone(tx, tenant_id, incoming.sender)
        fields = contacts.Fields(phone=incoming.sender)
    else:
        found = contacts.find_by_email(tx, tenant_id, incoming.sender)
        first, _, last = incoming.sender_name.partition(" ")
        # a machine that wrote to us, or somebody who does not say who they are, is nobody to send campaigns to
        consent = "denied" if incoming.automatic or incoming.sender == NOBODY else msgspec.UNSET
        fields = contacts.Fields(email=incoming.sender, first_name=first, last_name=last, email_consent=consent)
    return found if found is not None else contacts.upsert(tx, tenant_id, fields, now=now)[0]


def _last_text(tx: Tx, tenant_id: int, phone: str) -> int | None:
    """A text names nothing that it answers: it answers the last one sent to its number. What was written back to a word is not asked about."""
    return tx.value(
        "SELECT id FROM communications WHERE tenant_id = :tenant_id AND channel = 'sms' AND address = :phone AND sent_at IS NOT NULL AND exempt = 0"
        " AND contact_id IN (SELECT p.id FROM contacts p WHERE p.tenant_id = :tenant_id AND p.phone = :phone) ORDER BY sent_at DESC, id DESC LIMIT 1",
        tenant_id=tenant_id,
        phone=phone,
    )


def _of_texts(tx: Tx, tenant_id: int, contact_id: int, communication_id: int | None, *, now: int) -> int | None:
    """The conversation a text belongs to: that of what it answers, which goes on with the one that there is; None when there is none."""
    own = None if communication_id is None else _spoken_in(tx, tenant_id, communication_id)
    if own is not None:
        return own
    conversation_id: int | None = tx.value(
        "SELECT id FROM conversations WHERE tenant_id = :tenant_id AND contact_id = :contact_id AND channel = 'sms' ORDER BY last_at DESC, id DESC LIMIT 1",
        tenant_id=tenant_id,
        contact_id=contact_id,
    )
    if communication_id is None:
        return conversation_id
    if conversation_id is None:
        return rooted(tx, tenant_id, communication_id, now=now)
    tx.run(
        "UPDATE communications SET conversation_id = :conversation_id WHERE tenant_id = :tenant_id AND id = :id AND conversation_id IS NULL",
        tenant_id=tenant_id,
        id=communication_id,
        conversation_id=conversation_id,
    )
    return conversation_id


def _begun(tx: Tx, tenant_id: int, incoming: Incoming, contact_id: int, clues: tuple[Clue, ...], *, now: int) -> int:
    """A conversation that somebody else begins: by the name it has where the mail comes from, so that what follows finds it."""
    name = next((clue.key for clue in clues if clue.key), None)
    beginning = Beginning(incoming.channel, contact_id, incoming.subject, None, None, incoming.received_at)
    return begin(tx, tenant_id, name, beginning, now)


def _reported(tx: Tx, tenant_id: int, arrival: Arrival, *, now: int) -> Taken | None:
    """Does what a report asks for; None when what it speaks of is not known, so that it is kept as a message."""
    for clue in arrival.clues:
        reader = enrollments.reader(tx, tenant_id, clue.communication_id) if clue.communication_id else None
        if reader is None:
            continue
        tally = Tally()
        ending: list[int] = []
        for receipt in arrival.receipts:
            if reader.communication is None:
                communications.heed(tx, tenant_id, reader.channel, reader.address, receipt, now=now)
            else:
                ending += communications.receive(tx, tenant_id, clue.communication_id, receipt, tally, now=now)
        enrollments.complete(tx, tenant_id, [], ending, tally, now=now)
        counters.fold(tx, tally)
        return Taken(None, clue.communication_id, fresh=True)
    return None


def _replied(tx: Tx, tenant_id: int, taken: Taken, incoming: Incoming, *, now: int) -> Taken:
    """Counts the reply, and ends the enrollments whose campaigns ask for that: of a mail the one it answers, of a text all that it may."""
    answered = communications.hold(tx, tenant_id, taken.communication_id) if taken.communication_id is not None else None
    tally = Tally()
    if answered is not None:
        events.append(tx, [events.Event(communications.subject(answered), "replied", incoming.received_at)], tally)
    stopped = False
    if incoming.channel == "sms":
        stopped = enrollments.stop_texting(tx, tenant_id, incoming.sender, "reply", asked=True, now=now, tally=tally)
    elif answered is not None and answered.enrollment_id is not None and answered.campaign_id is not None:
        wanted = tx.value(
            "SELECT stop_on_reply FROM campaigns WHERE tenant_id = :tenant_id AND id = :id", tenant_id=tenant_id, id=answered.campaign_id
        )
        stopped = bool(wanted) and enrollments.stop(tx, tenant_id, answered.enrollment_id, "reply", now=now, tally=tally)
    counters.fold(tx, tally)
    return msgspec.structs.replace(taken, stopped=stopped)


def _heeded(tx: Tx, tenant_id: int, taken: Taken, keyword: Keyword, incoming: Incoming, *, answer: str, now: int) -> Taken:
    """Does what a text's one word asks for. STOP and START are answered once: when they change something."""
    tx.run(
        "UPDATE inbound_messages SET keyword = :keyword WHERE tenant_id = :tenant_id AND id = :id",
        tenant_id=tenant_id,
        id=taken.inbound_id,
        keyword=keyword,
    )
    if keyword == "stop":
        taken, changed = _stopped(tx, tenant_id, taken, incoming, now=now)
    elif keyword == "start":
        changed = _started(tx, tenant_id, taken, incoming)
        if not changed:
            # "yes" from somebody who gets our texts is an answer to them
            taken = _replied(tx, tenant_id, taken, incoming, now=now)
    else:
        changed = not _helped(tx, tenant_id, taken, since=now - HELPED)
    return msgspec.structs.replace(taken, keyword=keyword, answer=changed and bool(answer))


def _stopped(tx: Tx, tenant_id: int, taken: Taken, incoming: Incoming, *, now: int) -> tuple[Taken, bool]:
    """Takes the number off texts and ends the enrollments that wrote to it; and whether the number was not off them before."""
    number, communication_id = incoming.sender, taken.communication_id
    answered = communications.hold(tx, tenant_id, communication_id) if communication_id is not None else None
    changed = suppressions.stop(tx, tenant_id, "sms", number, detail="STOP", communication_id=communication_id, now=now)
    tally = Tally()
    if changed and answered is not None:
        events.append(tx, [events.Event(communications.subject(answered), "unsubscribed", incoming.received_at)], tally)
    stopped = enrollments.stop_texting(tx, tenant_id, number, "unsubscribe", asked=False, now=now, tally=tally)
    counters.fold(tx, tally)
    return msgspec.structs.replace(taken, stopped=stopped), changed


def _started(tx: Tx, tenant_id: int, taken: Taken, incoming: Incoming) -> bool:
    """Lets the number be written to again, where it was its owner alone who did not want it; whether that was so."""
    # in this order, as STOP does, and held: a deletion takes back what it finds counted
    answered = communications.hold(tx, tenant_id, taken.communication_id) if taken.communication_id is not None else None
    if not suppressions.start(tx, tenant_id, "sms", incoming.sender):
        return False
    if answered is not None:
        events.append(tx, [events.Event(communications.subject(answered), "resubscribed", incoming.received_at)])
    return True


def _helped(tx: Tx, tenant_id: int, taken: Taken, *, since: int) -> bool:
    """Whether this conversation asked for help just now: two machines would go on for ever."""
    found = tx.value(
        "SELECT 1 FROM inbound_messages WHERE tenant_id = :tenant_id AND conversation_id = :conversation_id AND keyword = 'help'"
        " AND received_at > :since AND id <> :id LIMIT 1",
        tenant_id=tenant_id,
        conversation_id=taken.conversation_id,
        since=since,
        id=taken.inbound_id,
    )
    return found is not None
