"""Everything Tidings refuses, as one tree that knows no HTTP; each contract turns it into its own body in one place.

TidingsError
├── Invalid            the input is wrong; `fields` names where, when it is a field's fault
│   └── Malformed      not even readable: broken JSON, a wrong encoding, a truncated form
├── NotFound           no such row for this tenant
├── Conflict           the row exists, but not in a state that allows this
├── Unauthorized       no credential, or none we know
├── Forbidden          a good credential without the scope for this
├── TooLarge           more bytes than we take
├── NotAllowed         the path exists, the method does not; `allow` lists those that do
└── Unavailable        we cannot do it now (database locked, disk full, provider paused); the same request may work later
"""

from collections.abc import Mapping, Sequence


class TidingsError(Exception):
    """One sentence, in words for whoever sent the request."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Invalid(TidingsError):
    """The input is wrong. `fields` maps a field's wire name to its complaints."""

    def __init__(self, message: str, fields: Mapping[str, Sequence[str]] | None = None) -> None:
        super().__init__(message)
        self.fields: dict[str, list[str]] = {k: list(v) for k, v in (fields or {}).items()}

    @classmethod
    def field(cls, name: str, complaint: str) -> "Invalid":
        """One wrong field; the sentence reads `<name> <complaint>`."""
        return cls(f"{name} {complaint}", {name: [complaint]})


class Malformed(Invalid):
    """Not readable at all: broken JSON, wrong encoding, truncated form."""


class NotFound(TidingsError):
    """No such row for this tenant (another tenant's row is no row)."""

    def __init__(self, message: str = "Not found") -> None:
        super().__init__(message)


class Conflict(TidingsError):
    """The row is not in a state that allows this."""


class Unauthorized(TidingsError):
    """No credential, or none we know."""

    def __init__(self, message: str = "Unauthorized") -> None:
        super().__init__(message)


class Forbidden(TidingsError):
    """A known credential that lacks the scope."""


class TooLarge(TidingsError):
    """More bytes than we take."""


class NotAllowed(TidingsError):
    """The path exists, this method does not."""

    def __init__(self, allow: Sequence[str]) -> None:
        super().__init__("Method not allowed")
        self.allow = tuple(allow)


class Unavailable(TidingsError):
    """Not now: database locked, disk full. Nothing was half-written; the same request may work later."""
