"""What a template may name when it is rendered: the contact, the communication's variables, the unsubscribe URL. Missing things are left out."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import msgspec

from tidings import ids
from tidings.domain.communications import Due

FIELDS = ("email", "phone", "first_name", "last_name", "company", "locale", "timezone")
"""A contact's own fields, known at the top level and under `contact`."""
KNOWN = frozenset({*FIELDS, "contact", "attributes", "unsubscribe_url"})

Values = Mapping[str, Any]
_NOTHING: dict[str, Any] = {}
_decoder = msgspec.json.Decoder(dict[str, Any])


class Variable(msgspec.Struct, frozen=True):
    """A declared variable of a template. `default` is used where nothing brings a value; a `required` one without default must be brought."""

    name: str
    required: bool = False
    default: Any = None


class Person(msgspec.Struct, frozen=True, gc=False):
    """Whom a template is rendered for. `fields` holds what is known of FIELDS, empty ones left out."""

    id: int
    fields: Values
    attributes: Values
    variables: Values


def person_of(due: Due) -> Person:
    """The contact and the variables that a claimed communication carries."""
    fields = {
        "email": due.email or (due.address if due.channel == "email" else ""),
        "phone": due.phone or (due.address if due.channel == "sms" else ""),
        "first_name": due.first_name,
        "last_name": due.last_name,
        "company": due.company,
        "locale": due.locale,
        "timezone": due.timezone,
    }
    return Person(due.contact_id, fields, _decoded(due.attributes), _decoded(due.variables))


def person_from(contact: Values, variables: Values) -> Person:
    """The same from a contact given as a mapping with the keys of FIELDS, `id` (integer) and `attributes`, for previews."""
    fields = {name: str(contact[name]) for name in FIELDS if contact.get(name)}
    identity = contact.get("id")
    return Person(identity if isinstance(identity, int) else 0, fields, dict(contact.get("attributes") or {}), variables)


def build(names: Iterable[str], person: Person, defaults: Values, unsubscribe_url: str) -> dict[str, Any]:
    """Values for `names` alone: variables before attributes before fields before defaults; what is empty or null is left out.

    Left out, `{{ first_name | default('there') }}` does what its writer meant; a null would print as `None`.
    """
    context: dict[str, Any] = {}
    for name in names:
        if name == "unsubscribe_url":
            value: Any = unsubscribe_url
        else:
            value = person.variables.get(name)
            if value is None:
                value = person.attributes.get(name)
            if value is None:
                value = person.fields.get(name) or _other(name, person)
            if value is None:
                value = defaults.get(name)
        if value is not None:
            context[name] = value
    return context


def _other(name: str, person: Person) -> Any:
    if name == "attributes":
        return person.attributes
    if name != "contact":
        return None
    contact: dict[str, Any] = {key: value for key, value in person.fields.items() if value}
    contact["attributes"] = person.attributes
    if person.id > 0:
        contact["id"] = ids.spell("contact", person.id)
    return contact


def _decoded(text: str) -> Values:
    if len(text) <= 2:
        return _NOTHING
    decoded = _decoder.decode(text)
    return _without_nulls(decoded) if "null" in text else decoded


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value)
        return {key: _without_nulls(inner) for key, inner in items.items() if inner is not None}
    if isinstance(value, list):
        entries = cast("list[Any]", value)
        return [_without_nulls(inner) for inner in entries if inner is not None]
    return value


def without_marks(value: Any, strip: Callable[[str], str]) -> Any:
    """`value` with `strip` applied to every text within."""
    if isinstance(value, str):
        return strip(value)
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value)
        return {key: without_marks(inner, strip) for key, inner in items.items()}
    if isinstance(value, list):
        entries = cast("list[Any]", value)
        return [without_marks(inner, strip) for inner in entries]
    return value
