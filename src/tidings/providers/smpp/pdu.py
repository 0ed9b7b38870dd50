"""SMPP 3.4 as bytes (https://smpp.org/SMPP_v3_4_Issue1_2.pdf): packets there and back. What they mean is codes.py's, what is done about it wire.py's."""

import struct
from collections.abc import Mapping

import msgspec

from tidings.errors import Malformed

GENERIC_NACK = 0x80000000
BIND_TRANSMITTER = 0x00000002
SUBMIT_SM = 0x00000004
DELIVER_SM = 0x00000005
UNBIND = 0x00000006
BIND_TRANSCEIVER = 0x00000009
ENQUIRE_LINK = 0x00000015
ALERT_NOTIFICATION = 0x00000102
RESPONSE = 0x80000000
"""Set in the command of every answer."""

UDHI = 0x40
"""In `esm_class`: the message begins with a user data header (3GPP TS 23.040, 9.2.3.24)."""

SAR_REFERENCE = 0x020C
SAR_TOTAL = 0x020E
SAR_SEQUENCE = 0x020F
NETWORK_ERROR = 0x0423
PAYLOAD = 0x0424
MESSAGE_STATE = 0x0427
RECEIPTED_ID = 0x001E

_HEADER = struct.Struct(">IIII")
HEADER = _HEADER.size
LARGEST = 128 * 1024
"""Bytes of a packet: a payload of 64 KiB and all else twice over. Whoever announces more does not speak SMPP."""
_VERSION = 0x34
_FIELDS = struct.Struct(">BBB")


class Packet(msgspec.Struct, frozen=True):
    """One packet: `command` and `status` as numbers of the specification, `body` what follows the header."""

    command: int
    status: int
    sequence: int
    body: bytes = b""

    def encoded(self) -> bytes:
        """As it goes on the wire."""
        return _HEADER.pack(HEADER + len(self.body), self.command, self.status, self.sequence) + self.body


class Number(msgspec.Struct, frozen=True):
    """An address with its type of number and numbering plan (5.2.5, 5.2.6)."""

    ton: int
    npi: int
    digits: str


class Message(msgspec.Struct, frozen=True):
    """The body of submit_sm and deliver_sm, as far as either side uses it. `data` is the text as octets, of `message_payload` where it came there."""

    source: Number
    destination: Number
    data: bytes
    esm_class: int = 0
    data_coding: int = 0
    registered: bool = False
    extras: Mapping[int, bytes] = {}

    def encoded(self) -> bytes:
        """The body of a submit_sm (4.4.1): no service type, no priority, at once, with the validity that the SMSC gives."""
        return b"".join(
            (
                b"\0",
                *(bytes((number.ton, number.npi)) + _c_string(number.digits) for number in (self.source, self.destination)),
                _FIELDS.pack(self.esm_class, 0, 0),
                b"\0\0",
                bytes((self.registered, 0, self.data_coding, 0, len(self.data))),
                self.data,
                *(struct.pack(">HH", tag, len(value)) + value for tag, value in self.extras.items()),
            )
        )


def bind(system_id: str, password: str, system_type: str) -> bytes:
    """The body of a bind (4.1.5): version 3.4, every address."""
    return _c_string(system_id) + _c_string(password) + _c_string(system_type) + bytes((_VERSION, 0, 0, 0))


def packets(buffer: bytearray) -> list[Packet]:
    """Takes every whole packet off the front of the buffer. Raises Malformed for a length that cannot be one."""
    found: list[Packet] = []
    start = 0
    while len(buffer) - start >= HEADER:
        length, command, status, sequence = _HEADER.unpack_from(buffer, start)
        if not HEADER <= length <= LARGEST:
            raise Malformed(f"a packet of {length} bytes")
        if len(buffer) - start < length:
            break
        found.append(Packet(command, status, sequence, bytes(buffer[start + HEADER : start + length])))
        start += length
    del buffer[:start]
    return found


def message(body: bytes) -> Message:
    """Reads the body of a deliver_sm (4.6.1), or of a submit_sm. Raises Malformed."""
    at = _Reader(body)
    at.c_string()
    source, destination = at.number(), at.number()
    esm_class, _, _ = at.octets(3)
    at.c_string()
    at.c_string()
    registered, _, data_coding, _, length = at.octets(5)
    data = at.octets(length)
    extras = at.extras()
    return Message(source, destination, data or extras.get(PAYLOAD, b""), esm_class, data_coding, bool(registered), extras)


def name(body: bytes) -> str:
    """The name in an answer to submit_sm (4.4.2); "" where there is none. Some end it without a NUL."""
    return body.partition(b"\0")[0].decode("latin-1")


def text(value: bytes) -> str:
    """A C-octet string of an optional parameter."""
    return value.partition(b"\0")[0].decode("latin-1").strip()


class _Reader:
    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    def c_string(self) -> str:
        end = self._body.find(b"\0", self._at)
        if end < 0:
            raise Malformed("a string without its end")
        found = self._body[self._at : end]
        self._at = end + 1
        return found.decode("latin-1")

    def octets(self, count: int) -> bytes:
        found = self._body[self._at : self._at + count]
        if len(found) < count:
            raise Malformed("a packet that is cut off")
        self._at += count
        return found

    def number(self) -> Number:
        ton, npi = self.octets(2)
        return Number(ton, npi, self.c_string())

    def extras(self) -> dict[int, bytes]:
        """The optional parameters. What cannot be read at the end is passed over: the message before it can."""
        found: dict[int, bytes] = {}
        while len(self._body) - self._at >= 4:
            tag, length = struct.unpack_from(">HH", self._body, self._at)
            value = self._body[self._at + 4 : self._at + 4 + length]
            if len(value) < length:
                break
            found.setdefault(tag, value)
            self._at += 4 + length
        return found


def _c_string(value: str) -> bytes:
    return value.encode("latin-1", "replace").replace(b"\0", b"") + b"\0"
