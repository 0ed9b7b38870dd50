"""What an SMSC's status means for the message it was about: tables of SMPP 3.4, section 5.1.3, no socket."""

from tidings.clock import MINUTE, SECOND
from tidings.message.outgoing import Outcome, deferred, paused, refused

OK = 0x00
INVALID_COMMAND = 0x03
TEMPORARY = 0x64
"""ESME_RX_T_APPN: we could not take it now, send it again."""
PERMANENT = 0x65

_WORDS = {
    0x01: "the length of the message is invalid",
    0x02: "the length of the packet is invalid",
    0x03: "the command is unknown",
    0x04: "not while bound like this",
    0x05: "already bound: the account allows no further connection",
    0x08: "a fault of its own",
    0x0A: "the sender is invalid",
    0x0B: "the recipient is invalid",
    0x0D: "binding failed",
    0x0E: "the password is wrong",
    0x0F: "the system id is unknown",
    0x14: "its queue is full",
    0x15: "the service type is invalid",
    0x33: "the number of recipients is invalid",
    0x43: "the class of the message is invalid",
    0x45: "submitting failed",
    0x48: "the type of the sender's number is invalid",
    0x49: "the numbering plan of the sender is invalid",
    0x50: "the type of the recipient's number is invalid",
    0x51: "the numbering plan of the recipient is invalid",
    0x53: "the system type is invalid",
    0x58: "too many at once",
    0x61: "the delivery time is invalid",
    0x62: "the validity period is invalid",
    0x64: "a fault for the moment",
    0x65: "a fault for good",
    0x66: "refused",
    0xFE: "delivery failed",
    0xFF: "for a reason unknown",
}
_OURS = frozenset({0x04, 0x05, 0x0D, 0x0E, 0x0F, 0x15, 0x53})
"""We are at fault, and each message would fare the same."""
_SENDER = frozenset({0x0A, 0x48, 0x49})
CROWDED = frozenset({0x14, 0x58})
_PASSING = frozenset({0x08, 0x45, 0x64, 0xFF})
_VENDOR = 0x400
"""From here to 0x4FF codes are each vendor's own. They may pass, as running out of credit does, so they are tried again until it has been enough."""


def described(status: int) -> str:
    """For people: the words of the specification, and the number to look up."""
    known = _WORDS.get(status, "a reason of its own")
    return f"{known} (status 0x{status:08X})"


def judged(status: int, *, usual_sender: bool = True) -> Outcome:
    """The outcome of a submit_sm (or of its generic_nack) that was not ESME_ROK. `usual_sender`: others go out under the same."""
    reason, code = f"the message was not taken: {described(status)}", f"0x{status:08X}"
    if status in _OURS or (status in _SENDER and usual_sender):
        return paused(reason)
    if status in CROWDED:
        return deferred(reason, code, SECOND if status == 0x58 else MINUTE)
    if status in _PASSING or _VENDOR <= status < _VENDOR + 0x100:
        return deferred(reason, code)
    return refused(reason, code)
