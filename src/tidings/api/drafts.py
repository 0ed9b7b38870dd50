"""From a request's words to a Draft: addresses checked, header injection refused, content prepared. Shared by the contracts that send."""

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from tidings.database import Tx
from tidings.domain import communications, templates
from tidings.domain.communications import Draft
from tidings.domain.templates import Content, Template
from tidings.errors import Invalid, NotFound
from tidings.message import address
from tidings.message.outgoing import Address
from tidings.rendering import template as rendering
from tidings.rendering.compose import Composer

T = TypeVar("T")

MOST_RECIPIENTS = 1000
"""Addresses of one ad-hoc mail, all fields together; SMTP servers take a hundred or a few hundred in one go (RFC 5321, 4.5.3.1.8)."""
LONGEST_WORD = 200
_STYLE = re.compile(r"<style\b[^>]*>.*?</style\s*>", re.IGNORECASE | re.DOTALL)
_APART = "{/*-*/#"
_LITERAL = re.compile(r"\{\{ '(\{[{%#])' \}\}")
_TAG = re.compile(r"<(?:!doctype|[a-z][a-z0-9]*)\b[^<>]*>", re.IGNORECASE)


class Message(msgspec.Struct, frozen=True):
    """What to say: content, its hash, and the template it is from (0: none)."""

    content: Content
    hash: str
    template_id: int | None = None


class Complaints:
    """Collects what is wrong with a request field by field, so that the answer names all of it."""

    def __init__(self) -> None:
        self.fields: dict[str, list[str]] = {}

    def add(self, field: str, complaint: str) -> None:
        """Notes one."""
        self.fields.setdefault(field, []).append(complaint)

    def check(self, rule: Callable[[], T], default: T) -> T:
        """What the rule answers, or `default` when it raises Invalid, which is noted."""
        try:
            return rule()
        except Invalid as wrong:
            for field, texts in wrong.fields.items():
                self.fields.setdefault(field, []).extend(texts)
            return default

    def settle(self) -> None:
        """Raises Invalid when anything was noted."""
        if self.fields:
            raise Invalid("; ".join(f"{name} {texts[0]}" for name, texts in self.fields.items()), self.fields)


def mailboxes(values: Sequence[str] | None, field: str) -> tuple[Address, ...]:
    """Every entry as an address. Raises Invalid naming each that is none: one wrong address refuses the whole request."""
    wrong = Complaints()
    found: list[Address] = []
    for position, text in enumerate(values or ()):
        place = f"{field}[{position}]"
        try:
            found.append(address.parse(text, place))
        except Invalid:
            wrong.add(place, f"is not an email address: {text[:80]!a}")
    wrong.settle()
    return tuple({entry.email.lower(): entry for entry in found}.values())


def mailbox(value: str | None, field: str) -> str | None:
    """One bare address, or None where none was given."""
    return address.normalise(value, field) if value and value.strip() else None


def line(value: str | None, field: str, *, longest: int = LONGEST_WORD) -> str | None:
    """Text that goes into a header or a column: one line, not endless; None where none was given."""
    if value is None or not value.strip():
        return None
    if len(value) > longest:
        raise Invalid.field(field, f"is longer than {longest} characters")
    return address.refuse_control(value, field).strip()


def looks_like_html(body: str) -> bool:
    """Whether a body whose format nobody named has tags in it."""
    return _TAG.search(body) is not None


def literal(text: str) -> str:
    """A template that renders to `text` as it stands: what was written without variables in mind may hold braces of its own (CSS does)."""
    # in a style sheet an expression in place of a brace would unbalance it for whoever inlines it; a comment keeps `{` and `#` apart
    text = _STYLE.sub(lambda found: found.group().replace("{#", _APART), text)
    return templates.literal(text)


def unliteral(source: str) -> str:
    """The text that `literal` was given."""
    return _LITERAL.sub(lambda found: found.group(1), source).replace(_APART, "{#")


def is_templated(content: Content) -> bool:
    """Whether anything in a content is filled in for each message; braces that mean themselves are not."""
    return any(templates.MARK.search(_LITERAL.sub("", text)) is not None for text in (content.subject, content.text))


def keep_wording(tx: Tx, composer: Composer, draft: Draft, communication_id: int) -> None:
    """Lets what was accepted from the draft be found by what it says, where that is not what its content says; in the same transaction.

    What cannot be rendered is found by its content as written.
    """
    if draft.subject is None and not is_templated(draft.content):
        return
    due = communications.due(tx, draft.tenant_id, communication_id)
    assert due is not None
    try:
        subject = composer.rendered_subject(due, draft.content) if draft.channel == "email" else ""
        text = composer.rendered_text(due, draft.content)
    except Invalid:
        return
    communications.keep_wording(tx, draft.tenant_id, communication_id, subject, text)


async def prepare(tenant_id: int, channel: str, form: str, subject: str, body: str) -> Message:
    """Content of a body sent along with the request. Raises Invalid naming field and line. In a thread: a large body takes a while."""
    content = await asyncio.to_thread(rendering.prepare, tenant_id=tenant_id, channel=channel, format=form, subject=subject, body=body)
    return Message(content, rendering.content_hash(content))


def from_template(tx: Tx, tenant_id: int, template_id: int | None) -> tuple[Template, Message]:
    """A live template and its newest content. Raises NotFound; `template_id` None is an id that could not be read."""
    template = templates.find(tx, tenant_id, template_id) if template_id is not None else None
    content = templates.content(tx, tenant_id, template.content_id) if template else None
    if template is None or content is None:
        raise NotFound("Template not found")
    return template, Message(content, "", template.id)


def check_variables(content: Content, given: Mapping[str, Any]) -> str | None:
    """The variables as the row keeps them. Raises Invalid naming each required one that is missing and has no default."""
    missing = rendering.missing(content, given)
    if missing:
        raise Invalid.field("variables", f"lack {', '.join(missing)}")
    return msgspec.json.encode(given).decode() if given else None
