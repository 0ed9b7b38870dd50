"""What a carrier of text messages tells of its own accord: a text that came in, and what became of one it took from us."""

from typing import Literal

import msgspec


class Text(msgspec.Struct, frozen=True):
    """A text message that came in. `id` is the carrier's name for it; `sender` and `recipient` are in E.164 (a short code or an
    alphanumeric sender as it is); `at` is when it was taken in, in milliseconds.
    """

    id: str
    sender: str
    recipient: str
    text: str
    at: int


class Notice(msgspec.Struct, frozen=True):
    """What became of a message the carrier had accepted under the name `provider_id`: it arrived, or it never will.

    `at` is in milliseconds. A bounce that is `hard` says that the number itself is to blame, another one may pass with time.
    `code` is the carrier's own. `communication_id` is 0 where the carrier was not told which communication it is.
    """

    provider_id: str
    kind: Literal["delivered", "bounced"]
    at: int
    hard: bool = True
    reason: str = ""
    code: str = ""
    communication_id: int = 0
