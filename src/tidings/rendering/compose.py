"""The hot path: a claimed communication and its content become a sealed Email or Sms. Nothing here asks a database or a clock."""

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import msgspec
from minijinja import TemplateError

from tidings import signing
from tidings.domain.communications import Due
from tidings.domain.templates import Content
from tidings.domain.threads import Lineage
from tidings.errors import Invalid, TooLarge
from tidings.message import address, build, enclosed, phone
from tidings.message.dkim import Signature
from tidings.message.outgoing import Address, Email, Sms
from tidings.rendering import context, links, marks
from tidings.rendering.context import Person, Values
from tidings.rendering.engine import Program
from tidings.rendering.plan import Plan, Ready, joined
from tidings.rendering.segments import Segment, segments
from tidings.signing import Signer

UNSUBSCRIBE_PATH = "/unsubscribe/"
"""Then the token of `Signer.unsubscribe`; GET shows a page, POST unsubscribes (RFC 8058)."""
MAX_SUBJECT = 4_000
_CACHED = 512
_CACHED_CHARACTERS = 16 * 1024 * 1024
"""Of all prepared contents together; in memory each is about ten times that."""
_TEMPLATED = re.compile(r"\{[{%]")


class ComposeError(Invalid):
    """A communication that cannot be composed, now or later; `message` says why, for its record."""


class _Refusing:
    """Turns what a template or an address may be refused for into a ComposeError."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, TemplateError):
            raise ComposeError(_failure(error)) from error
        if isinstance(error, Invalid | TooLarge) and not isinstance(error, ComposeError):
            raise ComposeError(error.message) from error


def _failure(error: TemplateError) -> str:
    """What the engine says, as a sentence."""
    said = error.detail or error.kind
    if "fuel" in said.lower():
        return "The template did more work than a message may: is there a loop without an end?"
    return f"The template failed: {said}"


_refusing = _Refusing()


class Preview(msgspec.Struct, frozen=True):
    """A content rendered for somebody, without tracking. `segments` is for SMS."""

    subject: str
    html: str
    text: str
    segments: phone.Segments | None = None


_NOTHING = Preview("", "", "")
"""What is shown of a communication whose words are not kept any more."""


class _Recipients(msgspec.Struct):
    to: list[str] = []
    cc: list[str] = []
    bcc: list[str] = []
    skip: list[str] = []


class _Sender(msgspec.Struct, frozen=True):
    line: bytes
    email: str
    domain: str


class Composer:
    """Composes for one public address. Keeps what it made of the last few hundred contents; safe to use from several threads."""

    def __init__(
        self,
        public_url: str,
        signer: Signer,
        domain: str,
        dkim: Mapping[str, tuple[str, str]] | None = None,
    ) -> None:
        """`public_url` without a slash at its end; `domain` goes into Message-IDs; `dkim` maps a sender's domain to (selector, PEM key)."""
        self._public_url = public_url.rstrip("/")
        self._signer = signer
        self._domain = domain
        self._signatures = {name.lower(): Signature(name, *key) for name, key in (dkim or {}).items()}
        self._ready: OrderedDict[int, Ready] = OrderedDict()

    def ready(self, content: Content) -> Ready:
        """Everything that is done once for a content. Contents without an id are not kept."""
        found = self._ready.get(content.id)
        if found is not None:
            return found
        made = Ready(content, self._public_url)
        if content.id:
            self._ready[content.id] = made
            while len(self._ready) > _CACHED or (len(self._ready) > 1 and self._held() > _CACHED_CHARACTERS):
                self._ready.popitem(last=False)
        return made

    def _held(self) -> int:
        return sum(len(ready.content.html) + len(ready.content.text) for ready in list(self._ready.values()))

    def message_id(self, tenant_id: int, communication_id: int, serial: int) -> str:
        """The Message-ID, angle brackets included: the same for every attempt, another for each resend."""
        return f"<{self._signer.communication(tenant_id, communication_id)}.{serial}@{self._domain}>"

    def unsubscribe_url(self, tenant_id: int, communication_id: int) -> str:
        """Where this communication's recipient unsubscribes."""
        return f"{self._public_url}{UNSUBSCRIBE_PATH}{self._signer.unsubscribe(tenant_id, communication_id)}"

    def compose(
        self, due: Due, content: Content, now: int, *, attached: Sequence[bytes] = (), lineage: Lineage | None = None
    ) -> Email | Sms:
        """The message to send. `now` (milliseconds) is its Date. Raises ComposeError when this communication cannot be made.

        `attached` are its files as parts (`message.enclosed.part`), `lineage` is what it answers. With files it takes a while: compose in a thread.
        """
        with _refusing:
            ready = self.ready(content)
            return self._sms(due, ready) if content.channel == "sms" else self._email(due, ready, now, attached, lineage)

    def preview(self, content: Content, contact: Values, variables: Values | None = None) -> Preview:
        """The content as `contact` would see it; keys as `context.person_from` says. Raises ComposeError as `compose` does."""
        person = context.person_from(contact, variables or {})
        ready = self.ready(content)
        with _refusing:
            plan = ready.plan(opens=False, links=False)
            values = _rendered(plan, ready, person, f"{self._public_url}{UNSUBSCRIBE_PATH}preview")
        text = joined(plan.text, values, plan.first_text, "")
        return Preview(
            subject=address.strip_control(joined(plan.subject, values, 0, "")),
            html=joined(plan.html, values, plan.first_html, ""),
            text=text,
            segments=phone.segments(text) if content.channel == "sms" else None,
        )

    def rendered_body(self, due: Due, content: Content, *, tracked: bool) -> str:
        """The body as it went out, HTML if there is any; with `tracked` false, links and pixel are left out. Raises ComposeError."""
        if due.emptied:
            return ""
        ready = self.ready(content)
        with _refusing:
            plan = ready.plan(opens=tracked and bool(due.track_opens), links=tracked and bool(due.track_links))
            values = self._values(due, ready, plan)
        token = self._signer.communication(due.tenant_id, due.id)
        part, first = (plan.html, plan.first_html) if plan.html else (plan.text, plan.first_text)
        return joined(part, values, first, token)

    def rendered_text(self, due: Due, content: Content) -> str:
        """The text part of a mail, or an SMS, as it goes out. Raises ComposeError."""
        if due.emptied:
            return ""
        ready = self.ready(content)
        with _refusing:
            plan = ready.plan(opens=False, links=False)
            return joined(plan.text, self._values(due, ready, plan), plan.first_text, "")

    def rendered_subject(self, due: Due, content: Content) -> str:
        """The subject as it went out."""
        if due.emptied:
            return ""
        ready = self.ready(content)
        with _refusing:
            plan = ready.plan(opens=False, links=False)
            return self._subject(due, ready, plan, self._values(due, ready, plan))

    def shown(self, due: Due, content: Content) -> Preview:
        """What its recipient reads, for whoever else looks at it: nothing in it is tracked. Raises ComposeError."""
        if due.emptied:
            return _NOTHING
        ready = self.ready(content)
        with _refusing:
            plan = ready.plan(opens=False, links=False)
            values = self._values(due, ready, plan)
            subject = self._subject(due, ready, plan, values)
        html = joined(plan.html, values, plan.first_html, "")
        return Preview(subject=subject, html=html, text=joined(plan.text, values, plan.first_text, ""))

    def link_target(self, due: Due, content: Content, index: int) -> str | None:
        """Where link `index` of this communication leads; None when there is no such link, or it renders to no web address."""
        targets: list[str] = msgspec.json.decode(content.links, type=list[str])
        if not 0 <= index < len(targets):
            return None
        try:
            target = self._alone(targets[index], due, self.ready(content)).strip()
        except (TemplateError, Invalid, TooLarge):
            return None
        return target if links.is_web(target) else None

    def _email(self, due: Due, ready: Ready, now: int, attached: Sequence[bytes], lineage: Lineage | None) -> Email:
        plan = ready.plan(bool(due.track_opens), bool(due.track_links))
        sender = _sender(due.sender_email, due.sender_name)
        to, recipients = _recipients(due)
        values = self._values(due, ready, plan)
        token = self._signer.communication(due.tenant_id, due.id)
        message_id = f"<{token}.{due.serial}@{self._domain}>"
        if due.subject or not plan.subject_line:
            subject = self._subject(due, ready, plan, values)
            subject_line = build.header("Subject", subject)
        else:
            subject, subject_line = plan.fixed_subject, plan.subject_line
        head = [sender.line, to, subject_line, f"Date: {build.date(now // 1000)}\r\nMessage-ID: {message_id}\r\n".encode()]
        tag = self._signer.reply(due.tenant_id, due.id) if due.reply_address or due.bounce_address else ""
        if due.reply_to:
            head.append(_reply_to(due.reply_to))
        elif due.reply_address:
            head.append(_tagged(due.reply_address, due.sender_name).with_tag(tag))
        if due.campaign_id > 0:
            url = self.unsubscribe_url(due.tenant_id, due.id)
            head.append(f"List-Unsubscribe: <{url}>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n".encode())
        if lineage is not None:
            ids = lineage.message_ids(lambda communication_id, serial: self.message_id(due.tenant_id, communication_id, serial))
            head.append(build.lineage_headers(ids))
        if attached:
            body = plan.skeleton.filled(b"", token.encode() + build.SOFT_BREAK, values)
            raw = b"".join([*head, build.VERSION, *enclosed.mixed(plan.mime, body, attached)])
        else:
            head += (build.VERSION, plan.mime, b"\r\n")
            raw = plan.skeleton.filled(b"".join(head), token.encode() + build.SOFT_BREAK, values)
        signature = self._signatures.get(sender.domain)
        return Email(
            tenant_id=due.tenant_id,
            communication_id=due.id,
            envelope_from=_returning(due.bounce_address, tag) if due.bounce_address else sender.email,
            recipients=recipients,
            raw=signature.signed(raw, now // 1000) if signature else raw,
            message_id=message_id,
            subject=subject,
            utf8=not sender.email.isascii() or not "".join(recipients).isascii() or not due.reply_to.isascii(),
        )

    def _sms(self, due: Due, ready: Ready) -> Sms:
        if not phone.is_e164(due.address):
            raise ComposeError(f"{due.address[:40]!a} is not a phone number in international form")
        plan = ready.plan(opens=False, links=False)
        text = joined(plan.text, self._values(due, ready, plan), plan.first_text, "")
        if not text.strip():
            raise ComposeError("The text is empty")
        return Sms(
            tenant_id=due.tenant_id,
            communication_id=due.id,
            to=due.address,
            # an address of mail is nobody to a phone: without a number of its own it comes from the provider's
            sender="" if "@" in due.sender_email else due.sender_email,
            text=text,
            segments=phone.segments(text).count,
        )

    def _values(self, due: Due, ready: Ready, plan: Plan) -> list[str]:
        if not plan.expected:
            return []
        unsubscribe = self.unsubscribe_url(due.tenant_id, due.id) if "unsubscribe_url" in plan.names else ""
        values = _rendered(plan, ready, context.person_of(due), unsubscribe)
        token = self._signer.communication(due.tenant_id, due.id) if any(marks.TOKEN in value for value in values) else ""
        return [value.replace(marks.TOKEN, token) for value in values] if token else values

    def _subject(self, due: Due, ready: Ready, plan: Plan, values: Sequence[str]) -> str:
        if not due.subject:
            subject = joined(plan.subject, values, 0, "")
        elif _TEMPLATED.search(due.subject):
            subject = self._alone(marks.strip(due.subject), due, ready)
        else:
            subject = due.subject
        # A value with a line break in it would begin a header of its own.
        return address.strip_control(subject)[:MAX_SUBJECT]

    def _alone(self, template: str, due: Due, ready: Ready) -> str:
        """One short template rendered for a communication: a subject of its own, a link's target."""
        part, program = _compiled(template)
        unsubscribe = self.unsubscribe_url(due.tenant_id, due.id)
        values = program.render(context.build(program.names, context.person_of(due), ready.defaults, unsubscribe))
        return marks.strip(joined(part, values, 0, ""))


def _rendered(plan: Plan, ready: Ready, person: Person, unsubscribe_url: str) -> list[str]:
    """Every dynamic segment's text. A value that holds one of our marks is rendered once more without it."""
    values = context.build(plan.names, person, ready.defaults, unsubscribe_url)
    texts = plan.program.render(values)
    if len(texts) != plan.expected:
        texts = plan.program.render(context.without_marks(values, marks.strip))
        if len(texts) != plan.expected:
            raise TooLarge(f"the template renders to something other than its {plan.expected} parts")
    return texts


@lru_cache(maxsize=4096)
def _sender(email: str, name: str) -> _Sender:
    if not email:
        raise ComposeError("There is no sender address")
    normal = address.normalise(email, "sender")
    box = Address(normal, address.strip_control(name))
    return _Sender(build.address_header("From", [box]), normal, normal.rpartition("@")[2])


def _returning(email: str, tag: str) -> str:
    """Where a mail comes back to that cannot be delivered: an address for each, for the report may tell nothing of the mail itself."""
    local, _, domain = email.rpartition("@")
    return f"{local}+{tag}@{domain}"


class _Tagged(NamedTuple):
    """A Reply-To line in two pieces, which the tag of a mail joins."""

    before: bytes
    after: bytes

    def with_tag(self, tag: str) -> bytes:
        return b"%b%b%b" % (self.before, tag.encode(), self.after)


@lru_cache(maxsize=4096)
def _tagged(email: str, name: str) -> _Tagged:
    local, _, domain = email.rpartition("@")
    # as long as a tag is at most: the line is folded for that
    place = "x" * signing.LONGEST_REPLY
    line = build.address_header("Reply-To", [Address(f"{local}+{place}@{domain}", address.strip_control(name))])
    return _Tagged(*line.rsplit(place.encode(), 1))


@lru_cache(maxsize=4096)
def _reply_to(text: str) -> bytes:
    return build.address_header("Reply-To", [address.parse(text, "reply_to")])


def _recipients(due: Due) -> tuple[bytes, tuple[str, ...]]:
    """The To and Cc lines, and the envelope. Bcc is in the envelope alone; each address is there once."""
    if not due.recipients:
        to = due.address if address.is_plain(due.address) else address.normalise(due.address, "to")
        return b"To: %b\r\n" % to.encode(), (to,)
    listed = msgspec.json.decode(due.recipients, type=_Recipients)
    boxes = {
        name: [address.parse(text, name) for text in texts] for name, texts in (("to", listed.to), ("cc", listed.cc), ("bcc", listed.bcc))
    }
    skipped = frozenset(listed.skip)
    envelope = tuple(
        dict.fromkeys(box.email for name in ("to", "cc", "bcc") for box in boxes[name] if address.key(box.email) not in skipped)
    )
    if not envelope:
        raise ComposeError("There are no recipients")
    # RFC 5322 wants no empty To; a mail that has only blind recipients says so in the customary way.
    lines = build.address_header("To", boxes["to"]) if boxes["to"] else b"To: undisclosed-recipients:;\r\n"
    return lines + (build.address_header("Cc", boxes["cc"]) if boxes["cc"] else b""), envelope


@lru_cache(maxsize=1024)
def _compiled(template: str) -> tuple[list[Segment], Program]:
    part = segments(template)
    return part, Program([(False, part)])
