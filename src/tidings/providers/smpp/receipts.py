"""What an SMSC says became of a text: receipts as SMPP 3.4 (appendix B) and every vendor spell them, read as Notices. Nothing here answers them."""

import re

from tidings.message.heard import Notice, Reason
from tidings.providers.smpp import pdu
from tidings.providers.smpp.pdu import Message
from tidings.providers.smpp.settings import MessageIds

# https://smpp.org/SMPP_v3_4_Issue1_2.pdf, 5.2.28 and appendix B; "accepted", "en route" and "unknown" are no ends.
_STATES = {1: "ENROUTE", 2: "DELIVRD", 3: "EXPIRED", 4: "DELETED", 5: "UNDELIV", 6: "ACCEPTD", 7: "UNKNOWN", 8: "REJECTD"}
_ENDS = {  # by the first seven letters: some write the words out
    "DELIVRD": "",
    "DELIVER": "",
    "EXPIRED": "it could not be delivered in time",
    "DELETED": "it was deleted before it was delivered",
    "UNDELIV": "it could not be delivered",
    "REJECTD": "it was rejected",
    "REJECTE": "it was rejected",
    "FAILED": "it could not be delivered",
}
# 3GPP TS 29.002 (type 3 of `network_error_code`): the subscriber is unknown, not known to his network any more, or barred for good.
_GSM_NETWORK = 3
_HARD = frozenset({1, 5, 9})
# A word, a colon, and what follows up to the next such word; "submit date" and "done date" are two words.
_FIELD = re.compile(r"\b(id|stat|err)\s*:\s*(?!\w+:)(\S*)", re.I)
_MOST = 65
"""Characters of a name (5.2.23), without its NUL."""


def is_receipt(message: Message) -> bool:
    """Whether it tells of a message of ours: by its type, or, from those who leave that out, by the name it carries."""
    return message.esm_class & 0x3C in (0x04, 0x20) or pdu.RECEIPTED_ID in message.extras


def notice(message: Message, words: str, at: int) -> Notice | None:
    """What it says, `words` being its text; None where it tells of a step on the way, or nothing that can be read. `at` in milliseconds."""
    if message.esm_class & 0x3C == 0x20:
        return None
    said = {field[0].lower(): field[1] for field in reversed(_FIELD.findall(words))}
    name = pdu.text(message.extras.get(pdu.RECEIPTED_ID, b"")) or said.get("id", "")
    state = _STATES.get(int.from_bytes(message.extras.get(pdu.MESSAGE_STATE, b"\0")), "") or said.get("stat", "").upper()[:7]
    reason = _ENDS.get(state)
    if not name or len(name) > _MOST or reason is None:
        return None
    if not reason:
        return Notice(name, "delivered", at)
    network = message.extras.get(pdu.NETWORK_ERROR, b"")
    hard = len(network) == 3 and network[0] == _GSM_NETWORK and int.from_bytes(network[1:]) in _HARD
    error = said.get("err", "")[:20]
    code = f"{state} {error}".strip() if error.strip("0") else state
    why: Reason = "invalid" if hard else "timed_out" if state.startswith("EXP") else "other"
    return Notice(name, "bounced", at, hard=hard, reason=why, code=code, detail=reason)


def spellings(name: str, message_ids: MessageIds) -> tuple[str, ...]:
    """The names a message may have been taken under, likeliest first, when its receipt calls it `name`."""
    in_hex, in_decimal = _converted(name, 10, 16), _converted(name, 16, 10)
    match message_ids:
        case "same":
            return (name,)
        case "hex":
            return in_hex or (name,)
        case "decimal":
            return in_decimal or (name,)
        case "auto":
            return tuple(dict.fromkeys((name, *in_hex, *in_decimal)))


def _converted(name: str, base: int, other: int) -> tuple[str, ...]:
    """Spelt in the other base: in both cases of letters, and filled up to eight digits as many do."""
    if not name.isascii() or not name.isalnum():
        return ()
    try:
        number = int(name, base)
    except ValueError:
        return ()
    if other == 10:
        return (str(number), f"{number:010d}")
    return tuple(dict.fromkeys((f"{number:X}", f"{number:x}", f"{number:08X}", f"{number:08x}")))
