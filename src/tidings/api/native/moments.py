"""Instants in what a request asks for."""

from datetime import UTC, datetime

from tidings.api.wire import Call
from tidings.errors import Invalid


def asked(call: Call, name: str) -> int | None:
    """What the query says under this name, as `read`; None when absent. Raises Invalid."""
    text = call.query(name)
    return None if text is None else read(text, name)


def read(text: str, name: str) -> int:
    """Milliseconds of `2025-06-18` or `2025-06-18T12:00:00Z`; without an offset UTC is meant. Raises Invalid that names `name`."""
    try:
        # a + of an offset that was not escaped arrives as a space
        at = datetime.fromisoformat(text.strip().replace(" ", "+"))
        return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        raise Invalid.field(name, "must be a date such as 2025-06-18 or 2025-06-18T12:00:00Z") from error
