"""The machine-readable parts of reports (RFC 3462): fields in groups, and the mail that a report speaks of."""

import re

from tidings.message import incoming_headers
from tidings.message.incoming import Incoming
from tidings.message.incoming_charsets import decode
from tidings.message.incoming_parts import File
from tidings.message.parse import structure

Fields = list[tuple[str, str]]

_LONGEST = 262_144
"""Characters of a report's fields, or of a text in which a returned mail's headers are looked for."""
_FIELD = re.compile(r"([A-Za-z][A-Za-z0-9-]{0,60})[ \t]*:[ \t]*(.*)")
_GROUPS = re.compile(r"\n[ \t]*\n")
_ORIGINALS = ("message/rfc822", "message/global", "text/rfc822-headers", "message/rfc822-headers", "message/global-headers")
_ID_LINE = re.compile(r"^[> \t]{0,4}Message-ID:[ \t]*(?:\n[> \t]+)?(<[^<>\s]{1,498}>)", re.IGNORECASE | re.MULTILINE)


def of_kind(mail: Incoming, *kinds: str) -> File | None:
    """The first file of a mail that is of one of these types."""
    return next((file for file in mail.files if file.content_type in kinds), None)


def fields(raw: bytes) -> list[Fields]:
    """Groups of `Name: value` lines, parted by blank lines, names in lower case; at least one group, which may be empty."""
    text = decode(raw[:_LONGEST]).replace("\r\n", "\n").replace("\r", "\n")
    groups: list[Fields] = []
    for block in _GROUPS.split(text):
        group: Fields = []
        for line in block.split("\n"):
            found = _FIELD.match(line)
            if line[:1] in (" ", "\t") and group:
                name, value = group[-1]
                group[-1] = (name, f"{value} {line.strip()}"[:2000])
            elif found:
                group.append((found[1].lower(), found[2].strip()[:2000]))
        if group:
            groups.append(group)
    return groups or [[]]


def field(group: Fields, name: str) -> str:
    """A field's first value; "" when there is none."""
    return next((value for key, value in group if key == name), "")


def original_id(mail: Incoming) -> tuple[str | None, Fields]:
    """The Message-ID of the mail that a report returns, and that mail's headers. Both servers that return nothing of it and those
    that put it into the text are understood; in need the report is taken for an answer to it.
    """
    returned = of_kind(mail, *_ORIGINALS)
    if returned is not None:
        root = structure(returned.content.lstrip())
        headers = [(name.lower(), incoming_headers.text(value)) for name, value in root.fields]
        found = incoming_headers.message_ids(field(headers, "message-id").encode(), 1)
        if found:
            return found[0], headers
    quoted = _ID_LINE.search(mail.text[:_LONGEST])
    if quoted:
        return quoted[1], []
    # Gmail and Exchange name it here when they return nothing.
    return mail.in_reply_to or (mail.references[-1] if mail.references else None), []
