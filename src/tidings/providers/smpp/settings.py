"""Where an SMSC is, as whom we bind there, and how texts are written for it."""

from typing import Literal

import msgspec

Alphabet = Literal["gsm", "latin1"]
MessageIds = Literal["auto", "same", "hex", "decimal"]

PORT = 2775


class SmppSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where and how to hand texts over by SMPP 3.4. The password never shows in a repr.

    `source_ton` and `source_npi` None: by the looks of the sender. `window` is how many requests may be without an answer, `rate` how
    many of them go out in a second, 0 for as many as the window lets through. `alphabet` is what data coding 0 means there.
    `message_ids` tells how names in receipts are spelt: the same as when the message was taken, `hex` (hexadecimal when it was taken,
    decimal in the receipt), `decimal` (the other way round), or `auto` (the same, and where nothing is known by that, the other two).
    Seconds: `timeout` for connecting and each answer, `enquire` until a silent line is asked whether it is alive.
    """

    host: str
    port: int = PORT
    tls: bool = False
    ca: str = ""
    system_id: str
    password: str = ""
    system_type: str = ""
    sender: str = ""
    source_ton: int | None = None
    source_npi: int | None = None
    window: int = 10
    rate: float = 0.0
    alphabet: Alphabet = "gsm"
    smart_encoding: bool = False
    receipts: bool = True
    message_ids: MessageIds = "auto"
    timeout: float = 30.0
    enquire: float = 30.0

    @property
    def place(self) -> str:
        """Host and port, for people."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __repr__(self) -> str:
        return f"SmppSettings(place={self.place!r}, system_id={self.system_id!r}, sender={self.sender!r}, tls={self.tls!r})"
