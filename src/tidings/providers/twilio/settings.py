"""Where Twilio is asked, as whom, from which number, and how fast."""

import re

import msgspec

BASE_URL = "https://api.twilio.com"

# Message segments a second that Twilio lets through for a kind of sender unless more was agreed on
# (https://support.twilio.com/hc/en-us/articles/115002943027); beyond them it queues, out of our sight.
LONG_CODE, ALPHANUMERIC, POOL = 1.0, 10.0, 100.0


class TwilioSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`username` and `password` are an API key and its secret, or the account and its auth token. Which of the two never shows in a repr.

    `sender` is an E.164 number, a short code or an alphanumeric id; "" where `service` (a Messaging Service) chooses one.
    `rate` is in message segments a second, `timeout` in seconds.
    """

    account: str
    username: str
    password: str
    sender: str = ""
    service: str = ""
    base_url: str = BASE_URL
    rate: float = LONG_CODE
    connections: int = 10
    timeout: float = 30.0
    smart_encoding: bool = False

    def __repr__(self) -> str:
        return f"TwilioSettings(account={self.account!r}, sender={self.sender!r}, service={self.service!r}, base_url={self.base_url!r})"


def usual_rate(sender: str) -> float:
    """What a sender may send unless more was agreed on, in segments a second. A short code, or a service with its pool of senders, may most."""
    if re.fullmatch(r"\+[0-9]+", sender):
        return LONG_CODE
    return POOL if not sender or sender.isdigit() else ALPHANUMERIC
