"""From a row of a table to a contact: which column is what, and whether what stands in it can be kept. Pure; called a million times an import."""

import re
import unicodedata
from collections.abc import Callable
from typing import Any, cast

import msgspec

from tidings.domain.contacts import check
from tidings.domain.contacts.load import Row
from tidings.errors import Invalid
from tidings.message import address, sheet

# A column's name without accents, spaces and signs. Where several columns mean the same, the one named earlier here is taken.
_WORDS: dict[str, tuple[str, ...]] = {
    "email": (
        *("email", "emailaddress", "mail", "mailaddress", "emailadresse", "mailadresse", "emailadres", "adresseemail", "courriel"),
        *("correo", "correoelectronico", "indirizzoemail", "postaelettronica", "email1value", "email1", "primaryemail", "workemail"),
    ),
    "phone": (
        *("mobile", "mobilephone", "mobilenumber", "mobil", "cell", "cellphone", "cellulare", "handy", "movil", "portable", "sms", "gsm"),
        *("phone", "phonenumber", "phone1value", "primaryphone", "telephone", "telefono", "telefon", "telefoon", "tel", "phone1"),
    ),
    "first_name": ("firstname", "first", "givenname", "forename", "vorname", "prenom", "nome", "nombre", "voornaam"),
    "last_name": ("lastname", "last", "surname", "familyname", "nachname", "nom", "cognome", "apellido", "apellidos", "achternaam"),
    "full_name": ("name", "fullname", "displayname", "contactname"),
    "company": (
        "company",
        "companyname",
        "organisation",
        "organization",
        "firma",
        "azienda",
        "empresa",
        "entreprise",
        "societe",
        "bedrijf",
    ),
    "timezone": ("timezone", "tz", "zeitzone"),
    "locale": ("locale", "lang", "languagecode"),
    "email_consent": ("emailconsent",),
    "sms_consent": ("smsconsent",),
    "attributes": ("attributes",),
}
_NOT_SAID = {"tidingsid", "tidingscreatedat"}
"""What our own export writes and no import changes."""
_MEANINGS = {word: (field, rank) for field, words in _WORDS.items() for rank, word in enumerate(words)}
_NOT_A_WORD = re.compile(r"[\W_]+")
_OF_REJECTS = {0, 1}
"""The columns that a rejects file has before the original ones: once its rows are mended it can be imported as it is."""
_CONSENTS = {
    "granted": "granted",
    "denied": "denied",
    **dict.fromkeys(("yes", "true", "1", "y", "opt-in", "subscribed"), "granted"),
    **dict.fromkeys(("no", "false", "0", "n", "opt-out", "unsubscribed"), "denied"),
}


def known_columns(header: list[str]) -> int:
    """How many of the names mean something to us."""
    return sum(1 for name in header if _word(name) in _MEANINGS)


class Columns:
    """A header understood: `row` reads the rows below it."""

    def __init__(self, header: list[str], region: str | None) -> None:
        """Raises Invalid when no column can be an email or a phone, or a name cannot be kept. `region` reads national phone numbers."""
        self._width = len(header)
        self._region = region
        self._places = _places(header)
        if "email" not in self._places and "phone" not in self._places:
            raise Invalid(
                "The first line must name the columns, one of them email or phone; it reads: "
                + ascii(", ".join(name.strip() for name in header)[:100])
                + "."
            )
        taken = set(self._places.values()) | {place for place, name in enumerate(header) if _word(name) in _NOT_SAID}
        self._attributes = _attribute_names(header, taken | _OF_REJECTS if header[:2] == ["line", "reason"] else taken)
        self._email = self._places.get("email", -1)
        self._lone_email = list(self._places) == ["email"] and not self._attributes

    def row(self, cells: list[str]) -> Row:
        """The row as a contact. Raises Invalid, whose message is the reason for whoever reads the rejects."""
        if self._lone_email and len(cells) == self._width and cells[self._email]:
            email = check.email(cells[self._email])
            return Row(email, address.key(email), None)
        return self._whole(cells)

    def _whole(self, cells: list[str]) -> Row:
        if len(cells) < self._width:
            cells = cells + [""] * (self._width - len(cells))
        elif len(cells) > self._width and any(cell.strip() for cell in cells[self._width :]):
            raise Invalid(f"the row has {len(cells)} cells, the header {self._width}")
        email = self._read("email", cells, check.email) or None
        phone = self._read("phone", cells, lambda text: check.phone(text, self._region)) or None
        if email is None and phone is None:
            raise Invalid("neither an email nor a phone is given")
        first_name = self._read("first_name", cells, lambda text: check.text(text, "first_name"))
        last_name = self._read("last_name", cells, lambda text: check.text(text, "last_name"))
        if "full_name" in self._places:
            first_name, last_name = self._named(cells, first_name, last_name)
        return Row(
            email,
            address.key(email) if email else None,
            phone,
            first_name,
            last_name,
            self._read("company", cells, lambda text: check.text(text, "company")),
            self._read("locale", cells, check.locale),
            self._read("timezone", cells, check.timezone),
            self._extra(cells),
            self._read("email_consent", cells, lambda text: _consent(text, "email_consent")),
            self._read("sms_consent", cells, lambda text: _consent(text, "sms_consent")),
        )

    def _read(self, field: str, cells: list[str], rule: Callable[[str], str]) -> str:
        place = self._places.get(field)
        if place is None:
            return ""
        text = sheet.plain(cells[place].strip())
        return rule(text) if text else ""

    def _named(self, cells: list[str], first_name: str, last_name: str) -> tuple[str, str]:
        """(first, last) where a column holds the whole name; beside a column of first names it holds the last ones ("Name, Vorname")."""
        name = self._read("full_name", cells, lambda text: check.text(text, "name"))
        if "first_name" in self._places:
            return first_name, last_name or name
        given, _, family = name.partition(" ")
        return (name, last_name) if "last_name" in self._places else (given, family.strip())

    def _extra(self, cells: list[str]) -> str:
        values: dict[str, Any] = {}
        if whole := self._read("attributes", cells, str):
            values.update(_object(whole))
        for place, name in self._attributes:
            if cell := cells[place].strip():
                values[name] = sheet.plain(cell)
        return check.attributes(values) if values else "{}"


def neutral(cell: str) -> str:
    """The cell as a spreadsheet shows it instead of running it; numbers, phone numbers too, stay as they are."""
    return sheet.neutral(cell, numbers=True)


def _word(name: str) -> str:
    bare = "".join(letter for letter in unicodedata.normalize("NFKD", name) if not unicodedata.combining(letter))
    return _NOT_A_WORD.sub("", bare.casefold())


def _places(header: list[str]) -> dict[str, int]:
    """Which column holds which field."""
    best: dict[str, tuple[int, int]] = {}
    for place, name in enumerate(header):
        field, rank = _MEANINGS.get(_word(name), (None, 0))
        if field is not None and (field not in best or rank < best[field][0]):
            best[field] = rank, place
    return {field: place for field, (_, place) in best.items()}


def _attribute_names(header: list[str], taken: set[int]) -> list[tuple[int, str]]:
    """The columns that become attributes, each under a name of its own."""
    names: list[tuple[int, str]] = []
    used: set[str] = set()
    for place, cell in enumerate(header):
        if place in taken:
            continue
        name = base = check.attribute_name(sheet.plain(cell.strip()) or f"column {place + 1}")
        for number in range(2, len(header) + 2):
            if name not in used:
                break
            name = f"{base} {number}"
        used.add(name)
        names.append((place, name))
    return names


def _consent(text: str, field: str) -> str:
    found = _CONSENTS.get(text.lower())
    if found is None:
        raise Invalid.field(field, f"must be granted or denied, not {text[:40]!a}")
    return found


def _object(text: str) -> dict[str, Any]:
    try:
        value: Any = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise Invalid.field("attributes", "must be a JSON object") from error
    if not isinstance(value, dict):
        raise Invalid.field("attributes", "must be a JSON object")
    return cast(dict[str, Any], value)
