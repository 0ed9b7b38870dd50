"""Whether what is said about a contact can be kept, and the one form it is kept in. Pure; each rule raises Invalid naming the field."""

import re
from collections.abc import Callable
from functools import cache
from typing import Any
from zoneinfo import available_timezones

import msgspec
from msgspec import UNSET, UnsetType

from tidings.domain.contacts.record import Fields
from tidings.errors import Invalid
from tidings.message import address
from tidings.message import phone as numbers

TEXT_LENGTH = 200
"""Characters of a name or a company."""
ATTRIBUTES_SIZE = 64 * 1024
"""Bytes of all attributes together, as JSON."""
NAME_LENGTH = 100
"""Characters of an attribute's name."""

_LOCALE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8})*")
_SURROGATE = re.compile("[\ud800-\udfff]")
_CONTROL_BUT_LINES = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def checked(fields: Fields, *, region: str | None = None) -> Fields:
    """The same fields in the form they are stored in. `region` (ISO 3166) reads national phone numbers. Raises Invalid naming every wrong one."""
    complaints: dict[str, list[str]] = {}

    def one(name: str, rule: Callable[[str], str], value: str | UnsetType | None) -> str | UnsetType | None:
        if value is UNSET or value is None or not value.strip():
            return UNSET if value is UNSET else None
        try:
            return rule(value)
        except Invalid as wrong:
            complaints.update(wrong.fields)
            return UNSET

    made = Fields(
        email=one("email", email, fields.email),
        phone=one("phone", lambda value: phone(value, region), fields.phone),
        first_name=one("first_name", lambda value: text(value, "first_name"), fields.first_name),
        last_name=one("last_name", lambda value: text(value, "last_name"), fields.last_name),
        company=one("company", lambda value: text(value, "company"), fields.company),
        locale=one("locale", locale, fields.locale),
        timezone=one("timezone", timezone, fields.timezone),
        attributes=fields.attributes,
        email_consent=fields.email_consent,
        sms_consent=fields.sms_consent,
    )
    if fields.attributes:
        try:
            attributes(fields.attributes)
        except Invalid as wrong:
            complaints.update(wrong.fields)
    if complaints:
        raise Invalid("; ".join(f"{name} {texts[0]}" for name, texts in complaints.items()), complaints)
    return made


def email(value: str) -> str:
    """An address in its one form."""
    if not value.isascii():
        _refuse_undecodable(value, "email")
    return address.normalise(value)


def phone(value: str, region: str | None = None) -> str:
    """A number in E.164; `00` before the country code is read as `+`."""
    if not value.isascii():
        _refuse_undecodable(value, "phone")
    value = value.strip()
    return numbers.normalise("+" + value[2:] if value.startswith("00") else value, region)


def text(value: str, field: str) -> str:
    """A name or the like: one line of at most TEXT_LENGTH characters, no spaces at the ends."""
    value = value.strip()
    if not value.isprintable():
        _refuse_undecodable(value, field)
        address.refuse_control(value, field)
    if len(value) > TEXT_LENGTH:
        raise Invalid.field(field, f"is longer than {TEXT_LENGTH} characters")
    return value


def locale(value: str) -> str:
    """A language tag (BCP 47) in its usual case: `pt-BR`, `zh-Hant`."""
    value = value.strip()
    if len(value) > 35 or not _LOCALE.fullmatch(value):
        raise Invalid.field("locale", f"is not a language tag such as en or pt-BR: {value[:40]!a}")
    language, *rest = value.replace("_", "-").split("-")
    return "-".join([language.lower(), *(_subtag(part) for part in rest)])


def timezone(value: str) -> str:
    """A zone of the IANA database (`Europe/Rome`), in its own spelling."""
    found = _zones().get(value.strip().lower())
    if found is None:
        raise Invalid.field("timezone", f"is not a time zone such as Europe/Rome: {value.strip()[:40]!a}")
    return found


def attributes(values: dict[str, Any]) -> str:
    """A JSON object of at most ATTRIBUTES_SIZE bytes, as text."""
    for name, value in values.items():
        attribute_name(name)
        if isinstance(value, str):
            attribute(value)
    try:
        encoded = msgspec.json.encode(values)
    except (TypeError, UnicodeEncodeError) as error:
        raise Invalid.field("attributes", "must be a JSON object") from error
    if len(encoded) > ATTRIBUTES_SIZE:
        raise Invalid.field("attributes", f"are larger than {ATTRIBUTES_SIZE // 1024} KiB")
    return encoded.decode()


def attribute_name(name: str) -> str:
    """The name of an attribute: one line, at most NAME_LENGTH characters."""
    if not name.strip() or len(name) > NAME_LENGTH:
        raise Invalid.field("attributes", f"need names of 1 to {NAME_LENGTH} characters")
    if not name.isprintable():
        _refuse_undecodable(name, "attributes")
        address.refuse_control(name, "attributes")
    return name


def attribute(value: str) -> str:
    """The text of an attribute: may have several lines, but no other control characters."""
    if not value.isprintable():
        _refuse_undecodable(value, "attributes")
        if _CONTROL_BUT_LINES.search(value):
            raise Invalid.field("attributes", "must not contain control characters")
    return value


@cache
def _zones() -> dict[str, str]:
    return {name.lower(): name for name in available_timezones()}


def _subtag(part: str) -> str:
    if len(part) == 2:
        return part.upper()
    return part.title() if len(part) == 4 and part.isalpha() else part.lower()


def _refuse_undecodable(value: str, field: str) -> None:
    if _SURROGATE.search(value):
        raise Invalid.field(field, "cannot be read in this encoding (UTF-8, unless another is named)")
