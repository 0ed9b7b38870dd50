"""What an inbox of each kind is set up with, and how that is sealed and opened. Nothing here connects."""

import binascii
import re
from typing import Any, Literal, NamedTuple, cast

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key

from tidings.clock import MINUTE, SECOND
from tidings.errors import Invalid
from tidings.message import address as addresses
from tidings.signing import Vault

After = Literal["leave", "seen", "move", "delete"]
Tls = Literal["tls", "starttls", "none"]

LONGEST = 1000
"""Characters of a setting that is text."""
USUAL_PORTS: dict[Tls, int] = {"tls": 993, "starttls": 143, "none": 143}


SECRETS = frozenset({"password", "signing_key", "signing_secret", "api_key"})


class _Masked(msgspec.Struct, frozen=True):
    """Settings that keep their secrets also where a traceback shows them."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [(name, "…" if name in SECRETS else getattr(self, name)) for name in self.__struct_fields__]


class Mailbox(_Masked, frozen=True, forbid_unknown_fields=True):
    """A folder on an IMAP server.

    `port` 0 is the usual one for `tls` (tls: from the first byte). `verify` checks the server's certificate. `after` says what becomes
    of a mail that was taken in; `move` needs `move_to`. `interval` is in seconds, for servers that do not tell of new mail by themselves.
    `from_beginning`: mail that was there before is taken in too.
    """

    host: str
    username: str
    password: str
    port: int = 0
    tls: Tls = "tls"
    verify: bool = True
    folder: str = "INBOX"
    after: After = "leave"
    move_to: str = ""
    interval: int = 60
    from_beginning: bool = False

    @property
    def place(self) -> str:
        """Host and port, for people."""
        return f"[{self.host}]:{self.usual_port}" if ":" in self.host else f"{self.host}:{self.usual_port}"

    @property
    def usual_port(self) -> int:
        """The port, the usual one filled in."""
        return self.port or USUAL_PORTS[self.tls]

    @property
    def pause(self) -> int:
        """Milliseconds between two looks into it."""
        return self.interval * SECOND

    def is_same_place(self, other: "Mailbox") -> bool:
        """Whether it is the same folder of the same account: what was read there was read here."""
        return (self.host, self.username, self.folder) == (other.host, other.username, other.folder)


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For an inbox that needs no more than its address."""


class Postmark(_Masked, frozen=True, forbid_unknown_fields=True):
    """Postmark signs nothing; it can be given a user name and a password in the webhook's URL, which are checked where they are set."""

    username: str = ""
    password: str = ""


class Mailgun(_Masked, frozen=True, forbid_unknown_fields=True):
    """`signing_key` is the HTTP webhook signing key of the account."""

    signing_key: str


class SendGrid(_Masked, frozen=True, forbid_unknown_fields=True):
    """`public_key` verifies Inbound Parse's signature (ECDSA, base64), where a security policy was attached to it; `event_public_key` that
    of the event webhook, where it is another one.
    """

    public_key: str = ""
    event_public_key: str = ""


class Resend(_Masked, frozen=True, forbid_unknown_fields=True):
    """`signing_secret` is the webhook's (`whsec_…`); mail that comes in is fetched with `api_key`, for the webhook only announces it."""

    signing_secret: str
    api_key: str = ""


class Ses(_Masked, frozen=True, forbid_unknown_fields=True):
    """Amazon SNS signs with its own certificate. `topic_arn` is the one topic that is listened to; "" for whichever posts to the URL."""

    topic_arn: str = ""


Settings = Mailbox | Nothing | Postmark | Mailgun | SendGrid | Resend | Ses


class Kind(NamedTuple):
    """What the settings of a kind look like, whether a carrier calls us for it, and which of its events to switch on there, in its own words."""

    form: type[Settings]
    webhook: bool = True
    events: tuple[str, ...] = ()


KINDS: dict[str, Kind] = {
    "imap": Kind(Mailbox, webhook=False),
    "address": Kind(Nothing, webhook=False),
    "postmark": Kind(Postmark, events=("Delivery", "Bounce", "Spam Complaint", "Subscription Change")),
    "mailgun": Kind(Mailgun, events=("delivered", "temporary_fail", "permanent_fail", "complained", "unsubscribed")),
    "sendgrid": Kind(
        SendGrid,
        events=(
            "processed",
            "delivered",
            "deferred",
            "bounce",
            "dropped",
            "spamreport",
            "unsubscribe",
            "group_unsubscribe",
            "group_resubscribe",
        ),
    ),
    "resend": Kind(
        Resend,
        events=(
            "email.received",
            "email.sent",
            "email.delivered",
            "email.delivery_delayed",
            "email.bounced",
            "email.complained",
            "email.failed",
            "email.suppressed",
        ),
    ),
    "ses": Kind(Ses, events=("SEND", "DELIVERY", "DELIVERY_DELAY", "BOUNCE", "COMPLAINT", "REJECT", "RENDERING_FAILURE", "SUBSCRIPTION")),
}
"""`events` leaves out opens and clicks, which are ours to track; who has the carrier track them switches them on too."""
_TOPIC = re.compile(r"arn:aws(?:-cn|-us-gov)?:sns:[a-z0-9-]{3,30}:\d{12}:[A-Za-z0-9_-]{1,256}(?:\.fifo)?")


def check(settings: Settings) -> Settings:
    """The settings themselves. Raises Invalid, naming `settings.<field>`, for what the types of the fields cannot say."""
    for name in settings.__struct_fields__:
        value = getattr(settings, name)
        if not isinstance(value, str):
            continue
        if len(value) > LONGEST or any(ord(letter) < 32 or ord(letter) == 127 for letter in value):
            raise _wrong(name, f"must be one line of at most {LONGEST} characters")
        if not value and name in _required(type(settings)):
            raise _wrong(name, "must not be empty")
    match settings:
        case Mailbox():
            _check_mailbox(settings)
        case Postmark() | Nothing() | Mailgun():
            pass
        case _:
            _check_keys(settings)
    return settings


def signing_key(secret: str) -> bytes | None:
    """The key in the signing secret of a Standard Webhook (`whsec_` and base64), None when there is none in it."""
    try:
        return binascii.a2b_base64(secret.removeprefix("whsec_") + "==") or None
    except ValueError:
        return None


def public_key(text: str) -> EllipticCurvePublicKey | None:
    """A public key for ECDSA (base64 of DER, or PEM), None when it is no such key."""
    try:
        armed = "-----BEGIN" in text
        found = load_pem_public_key(text.encode()) if armed else load_der_public_key(binascii.a2b_base64(text))
    except (ValueError, UnsupportedAlgorithm):
        return None
    return found if isinstance(found, EllipticCurvePublicKey) else None


def _check_keys(settings: SendGrid | Resend | Ses) -> None:
    match settings:
        case Resend() if signing_key(settings.signing_secret) is None:
            raise _wrong("signing_secret", "must be the webhook's signing secret: whsec_ and base64")
        case SendGrid():
            for name in ("public_key", "event_public_key"):
                if (key := getattr(settings, name)) and public_key(key) is None:
                    raise _wrong(name, "must be the verification key that SendGrid shows: a public key for ECDSA, in base64")
        case Ses() if settings.topic_arn and not _TOPIC.fullmatch(settings.topic_arn):
            raise _wrong("topic_arn", "must be the ARN of an SNS topic: arn:aws:sns:<region>:<account>:<name>")
        case _:
            pass


def _check_mailbox(box: Mailbox) -> None:
    if not all(letter.isalnum() or letter in "-._:" for letter in box.host):
        raise _wrong("host", "must be the name or the address of a server, without a port")
    if not 0 <= box.port <= 65535:
        raise _wrong("port", "must be a number from 1 to 65535, or 0 for the usual one")
    if not box.folder:
        raise _wrong("folder", "must not be empty")
    if not 10 * SECOND <= box.pause <= 24 * 60 * MINUTE:
        raise _wrong("interval", "must be 10 to 86400 seconds")
    if (box.after == "move") != bool(box.move_to):
        raise _wrong("move_to", "must name the folder when `after` is move, and only then")
    if box.after == "move" and box.move_to == box.folder:
        raise _wrong("move_to", "must be another folder than the one that is read")


def address(text: str) -> str:
    """The one form of what an inbox takes mail for: an address or a whole domain, lower-case, the domain in A-labels. Raises Invalid."""
    text = text.strip().removeprefix("@")
    if "@" in text:
        return addresses.key(addresses.normalise(text, "address"))
    try:
        return addresses.normalise(f"postmaster@{text}", "address").rpartition("@")[2].lower()
    except Invalid as error:
        raise Invalid.field("address", f"is neither an email address nor a domain: {text[:80]!a}") from error


def seal(vault: Vault, settings: Settings) -> str:
    """The settings as they are stored."""
    return vault.seal(msgspec.json.encode(settings))


def opened(vault: Vault, kind: str, sealed: str) -> Settings:
    """The settings as they were. Raises Invalid when they were sealed with another secret key."""
    form = cast(Any, KINDS[kind].form)
    return cast(Settings, msgspec.json.decode(vault.open(sealed) if sealed else b"{}", type=form))


def _required(form: type[msgspec.Struct]) -> set[str]:
    return {field.name for field in msgspec.structs.fields(form) if field.required}


def _wrong(name: str, complaint: str) -> Invalid:
    return Invalid.field(f"settings.{name}", complaint)
