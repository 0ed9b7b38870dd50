"""Mail addresses: checked, brought to one form, read out of `Name <a@b>` and written into headers. Nothing here asks the DNS.

The rules are email-validator's. Of the reserved domains `.test` alone is let through (RFC 2606 keeps it for trying things out).
"""

import re

from email_validator import EmailNotValidError, validate_email

from tidings.errors import Invalid
from tidings.message.outgoing import Address

_ATEXT = r"[A-Za-z0-9_!#$%&'*+\-/=?^`{|}~]"
_FAST = re.compile(rf"({_ATEXT}+(?:\.{_ATEXT}+)*)@((?:[A-Za-z0-9](?:[A-Za-z0-9-]{{0,61}}[A-Za-z0-9])?\.)+([A-Za-z]{{2,24}}))")
_SLOW_ENDINGS = frozenset({"arpa", "invalid", "local", "localhost", "onion"})
_MAILBOX = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|([^<>"]*?))\s*<([^<>]*)>\s*')
_ESCAPED = re.compile(r"\\(.)")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def normalise(text: str, field: str = "email") -> str:
    """The one form of an address: local part as given (NFC), domain in lower-case ASCII (IDNA A-labels). Raises Invalid naming `field`.

    Plain ASCII addresses, nearly all there are, are recognised by one expression that accepts a subset of what email-validator
    does, with the same result, at a twentieth of the cost.
    """
    found = _FAST.fullmatch(text)
    if found is not None:
        local, domain, ending = found.groups()
        if len(local) <= 64 and len(text) <= 254 and "--" not in domain and ending.lower() not in _SLOW_ENDINGS:
            return f"{local}@{domain.lower()}"
    return _checked(text.strip(), field)


def is_plain(text: str) -> bool:
    """Whether `text` already is a normalised address of the plain ASCII kind; False does not mean invalid."""
    found = _FAST.fullmatch(text)
    if found is None:
        return False
    local, domain, ending = found.groups()
    return len(local) <= 64 and len(text) <= 254 and "--" not in domain and domain.islower() and ending not in _SLOW_ENDINGS


def key(address: str) -> str:
    """What makes two addresses the same contact: lower case throughout, for no real mail host tells `Ann@` from `ann@`."""
    return address.lower()


def parse(text: str, field: str = "email") -> Address:
    """A mailbox out of `a@b`, `<a@b>`, `Name <a@b>` or `"Name, X" <a@b>`. Raises Invalid naming `field`."""
    if "<" not in text:
        return Address(normalise(text, field))
    found = _MAILBOX.fullmatch(refuse_control(text, field))
    if found is None:
        raise Invalid.field(field, f"is not an email address: {_shown(text)}")
    quoted, plain, inside = found.groups()
    name = _ESCAPED.sub(r"\1", quoted) if quoted is not None else plain
    return Address(normalise(inside, field), name.strip())


def refuse_control(text: str, field: str) -> str:
    """`text` itself, when it holds no line break, NUL or other control character; else Invalid naming `field` (header injection)."""
    if _CONTROL.search(text):
        raise Invalid.field(field, "must not contain line breaks or control characters")
    return text


def strip_control(text: str) -> str:
    """`text` on one line: every control character and line break a space, none at the ends."""
    return _CONTROL.sub(" ", text).strip()


def _checked(text: str, field: str) -> str:
    try:
        valid = validate_email(text, check_deliverability=False, test_environment=True)
    except EmailNotValidError as error:
        raise Invalid.field(field, f"is not an email address: {_shown(text)}. {error}") from error
    if "." not in valid.ascii_domain:
        raise Invalid.field(field, f"is not an email address: {_shown(text)}. The part after the @-sign should have a period.")
    return f"{valid.local_part}@{valid.ascii_domain}"


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 80 else text[:77] + "...")
