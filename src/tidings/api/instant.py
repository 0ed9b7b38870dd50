"""Instant messages: the one operation of the reviewrover contract that sends, to one contact by email, SMS or both."""

from typing import Any, Literal, cast

import msgspec
from msgspec import UNSET

from tidings import ids
from tidings.api import bodies, drafts
from tidings.api.drafts import Complaints, Message
from tidings.api.idempotency import once_said
from tidings.api.wire import FORMS, Call, Reply, Route, created
from tidings.database import Tx
from tidings.domain import communications, contacts
from tidings.domain.communications import Draft
from tidings.domain.contacts import Contact, Fields
from tidings.domain.templates import Template
from tidings.errors import Invalid, NotFound

TYPE = "INSTANT_MESSAGE"
Channel = Literal["email", "sms"]
CHANNELS: tuple[Channel, ...] = ("email", "sms")
_FLAGS = {"true": True, "1": True, "false": False, "0": False, "": None}


class InstantMessage(msgspec.Struct, frozen=True, kw_only=True):
    """What POST takes, as JSON or as a form. Who: `contact_id`, or `email` or `phone` (found, or made). What: `body`, or `template_id`.

    With neither flag it goes by email where the contact has an address, else by SMS.
    """

    contact_id: str | None = None
    email: str | None = None
    phone: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    send_email: bool | None = None
    send_sms: bool | None = None
    subject: str | None = None
    body: str | None = None
    template_id: str | None = None
    variables: dict[str, Any] | None = None


class ContactBody(msgspec.Struct, frozen=True):
    """The contact as this operation answers it."""

    id: str
    name: str | None
    email: str | None
    phone: str | None


class Sent(msgspec.Struct, frozen=True):
    """The answer: `sent` names the channels that go out, `communications` every record made (one to a suppressed address has failed)."""

    contact: ContactBody
    sent: list[str]
    communications: list[int]


async def send(call: Call) -> Reply:
    """Finds or makes the contact, accepts a communication for each channel: all in one transaction."""
    wanted = bodies.convert(_read(call.fields()), InstantMessage)
    fields = _contact_fields(wanted)
    contact_id = _identity(wanted.contact_id, "contact", "Contact")
    known = await call.db.read(_known, call.tenant_id, contact_id, fields)
    template: tuple[Template, Message] | None = None
    if wanted.template_id is not None:
        template_id = _identity(wanted.template_id, "template", "Template")
        template = await call.db.read(drafts.from_template, call.tenant_id, template_id)
    channels = _channels(wanted, known, fields, template[0].channel if template else None)
    _check(wanted, channels, template[0] if template else None)
    messages = {channel: await _message(call, wanted, channel, template) for channel in channels}

    def work(tx: Tx) -> Reply:
        contact, made = _accept(tx, call, contact_id, fields, list(messages.values()))
        sent = [row.channel for row in made if row.state != "suppressed"]
        return created(Sent(contact=_contact(contact), sent=sent, communications=[row.id for row in made]))

    return await once_said(call, work)


def _read(given: dict[str, Any]) -> dict[str, Any]:
    """A form has no null and no true: blank is absent, and flags may be words."""
    read = {name: None if isinstance(value, str) and not value.strip() else value for name, value in given.items()}
    for name in ("send_email", "send_sms"):
        if isinstance(read.get(name), str):
            read[name] = _FLAGS.get(cast(str, read[name]).lower(), read[name])
        elif read.get(name) in (0, 1):
            read[name] = bool(read[name])
    return read


def _contact_fields(wanted: InstantMessage) -> Fields:
    given = {name: getattr(wanted, name) for name in ("email", "phone", "first_name", "last_name")}
    return contacts.checked(Fields(**{name: UNSET if value is None else value for name, value in given.items()}))


def _identity(text: str | None, kind: str, name: str) -> int | None:
    if text is None:
        return None
    found = ids.parse(kind, text.strip())
    if found is None:
        raise NotFound(f"{name} not found")
    return found


def _known(tx: Tx, tenant_id: int, contact_id: int | None, fields: Fields) -> Contact | None:
    """The contact as it is before this message. Raises NotFound for an id that is nobody's, Invalid where nobody is named."""
    if contact_id is not None:
        found = contacts.get(tx, tenant_id, contact_id)
        if found is None:
            raise NotFound("Contact not found")
        return found
    if isinstance(fields.email, str):
        return contacts.find_by_email(tx, tenant_id, fields.email)
    if isinstance(fields.phone, str):
        return contacts.find_by_phone(tx, tenant_id, fields.phone)
    raise Invalid("contact_id or email is required", {"contact_id": ["is required where there is no email or phone"]})


def _channels(wanted: InstantMessage, known: Contact | None, fields: Fields, template_channel: str | None) -> list[Channel]:
    reachable = {
        "email": isinstance(fields.email, str) or (known is not None and known.email is not None),
        "sms": isinstance(fields.phone, str) or (known is not None and known.phone is not None),
    }
    asked = {"email": wanted.send_email, "sms": wanted.send_sms}
    if wanted.send_email is None and wanted.send_sms is None:
        preferred = template_channel or ("email" if reachable["email"] else "sms")
        asked[preferred] = True
    channels: list[Channel] = [channel for channel in CHANNELS if asked[channel]]
    wrong = Complaints()
    if not channels:
        wrong.add("send_email", "or send_sms must be true")
    for channel, field in (("email", "email"), ("sms", "phone")):
        if channel in channels and not reachable[channel]:
            wrong.add(field, f"is required to send by {channel}")
    wrong.settle()
    return channels


def _check(wanted: InstantMessage, channels: list[Channel], template: Template | None) -> None:
    wrong = Complaints()
    if template is not None and template.channel not in channels:
        wrong.add("template_id", f"is a template for {template.channel}")
    own = [channel for channel in channels if template is None or template.channel != channel]
    if own and wanted.body is None:
        wrong.add("body", "can't be blank")
    if "email" in own and wanted.subject is None:
        wrong.add("subject", "can't be blank")
    wrong.check(lambda: drafts.line(wanted.subject, "subject", longest=998), None)
    wrong.settle()


async def _message(call: Call, wanted: InstantMessage, channel: Channel, template: tuple[Template, Message] | None) -> Draft:
    subject = drafts.line(wanted.subject, "subject", longest=998) if channel == "email" else None
    if template is not None and template[0].channel == channel:
        message, override = template[1], subject
    else:
        body = wanted.body or ""
        form = "html" if channel == "email" and drafts.looks_like_html(body) else "text"
        message, override = await drafts.prepare(call.tenant_id, channel, form, subject or "", body), None
    return Draft(
        tenant_id=call.tenant_id,
        channel=channel,
        content=message.content,
        content_hash=message.hash,
        type=TYPE,
        template_id=message.template_id,
        subject=override,
        variables=drafts.check_variables(message.content, wanted.variables or {}),
        created_by=call.key_name,
    )


def _accept(
    tx: Tx, call: Call, contact_id: int | None, fields: Fields, messages: list[Draft]
) -> tuple[Contact, list[communications.Communication]]:
    contact = _found_or_made(tx, call.tenant_id, contact_id, fields, call.now)
    made: list[communications.Communication] = []
    for message in messages:
        if message.channel == "email":
            assert contact.email is not None
            draft = msgspec.structs.replace(message, contact_id=contact.id, to=(drafts.Address(contact.email, _name(contact) or ""),))
        else:
            draft = msgspec.structs.replace(message, contact_id=contact.id, phone=contact.phone or "")
        made.append(communications.accept(tx, draft, now=call.now))
        drafts.keep_wording(tx, call.house.composer, draft, made[-1].id)
    return contact, made


def _found_or_made(tx: Tx, tenant_id: int, contact_id: int | None, fields: Fields, now: int) -> Contact:
    known = _known(tx, tenant_id, contact_id, fields)
    if known is None:
        return contacts.upsert(tx, tenant_id, fields, now=now)[0]
    if all(getattr(fields, name) is UNSET for name in fields.__struct_fields__):
        return known
    return contacts.update(tx, tenant_id, known.id, fields, now=now)


def _contact(contact: Contact) -> ContactBody:
    return ContactBody(ids.spell("contact", contact.id), _name(contact), contact.email, contact.phone)


def _name(contact: Contact) -> str | None:
    return f"{contact.first_name} {contact.last_name}".strip() or None


ROUTES: list[Route] = [
    Route(
        "POST",
        "/api/v1/instant_messages",
        send,
        "communications:write",
        "Send one message now, by email, SMS or both",
        takes=InstantMessage,
        gives=Sent,
        status=201,
        reads=FORMS,
        refuses=(404,),
        idempotent=True,
    ),
]
