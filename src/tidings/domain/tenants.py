"""Tenants: who owns rows. A tenant is born with a provider for each channel, so that its first message has a way out."""

import re
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from tidings.database import Tx
from tidings.errors import Conflict, Invalid, NotFound
from tidings.message import address
from tidings.signing import LONGEST_REPLY

_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NAME_LIMIT = 200
_LOCAL_LIMIT = 64
_DOMAIN_LIMIT = 180
LONGEST_KEPT = 36_500
"""Days: a hundred years."""


class Tenant(msgspec.Struct, frozen=True):
    """`slug` is its name on the command line. `unknown_rule` (resend, hold) settles messages whose outcome nobody knows.

    Answers and bounces go to `reply_address` and `bounce_address`, each with a tag that says to which message; None: wherever the mail
    says. `keywords` is JSON (see `message.keywords`), None for the usual ones. `keep_…` are the days for which a part is kept, None: for
    ever. `audit_reads` is 1 when the audit has whoever reads personal data, too.
    """

    id: int
    slug: str
    name: str
    sender_email: str
    sender_name: str
    unknown_rule: str
    reply_address: str | None
    bounce_address: str | None
    keywords: str | None
    created_at: int
    updated_at: int
    keep_bodies: int | None = None
    keep_interactions: int | None = None
    keep_inbound: int | None = None
    keep_audit: int | None = None
    audit_reads: int = 0

    def kept(self) -> "Kept":
        """How long it keeps what."""
        return Kept(self.keep_bodies, self.keep_interactions, self.keep_inbound, self.keep_audit, bool(self.audit_reads))


class Kept(msgspec.Struct, frozen=True):
    """Days for which a tenant keeps what messages said, what happened to them, what was received, and its audit; None: for ever.

    As a change, what is UNSET stays as it is.
    """

    bodies: int | UnsetType | None = UNSET
    interactions: int | UnsetType | None = UNSET
    inbound: int | UnsetType | None = UNSET
    audit: int | UnsetType | None = UNSET
    audit_reads: bool | UnsetType = UNSET


_TENANT: Final = (
    "SELECT id, slug, name, sender_email, sender_name, unknown_rule, reply_address, bounce_address, keywords, created_at, updated_at,"
    " keep_bodies, keep_interactions, keep_inbound, keep_audit, audit_reads"
    " FROM tenants"
)


def create(tx: Tx, slug: str, *, name: str, sender_email: str, now: int) -> Tenant:
    """A new tenant with the server's own provider chosen for email and for SMS.

    `slug` is 1 to 63 of a-z, 0-9 and inner hyphens (a DNS label, RFC 1123); `name` is who mail comes from.
    Raises Invalid, or Conflict when the slug is taken.
    """
    if not _SLUG.fullmatch(slug):
        raise Invalid.field("slug", "must be 1 to 63 lower-case letters, digits and hyphens, with no hyphen at either end")
    name = _checked_name(name or slug)
    sender_email = address.normalise(sender_email, "sender_email")
    tenant_id = tx.value(
        """INSERT INTO tenants (slug, name, sender_email, sender_name, created_at, updated_at)
           VALUES (:slug, :name, :sender_email, :name, :now, :now) ON CONFLICT (slug) DO NOTHING RETURNING id""",
        slug=slug,
        name=name,
        sender_email=sender_email,
        now=now,
    )
    if tenant_id is None:
        raise Conflict(f"A tenant named {slug} exists already")
    for channel in ("email", "sms"):
        tx.run(
            """INSERT INTO providers (tenant_id, channel, kind, name, chosen_at, created_at, updated_at)
               VALUES (:tenant_id, :channel, 'system', :name, :now, :now, :now)""",
            tenant_id=tenant_id,
            channel=channel,
            name=f"default-{channel}",
            now=now,
        )
    return get(tx, tenant_id)


def update(
    tx: Tx,
    tenant: Tenant,
    *,
    name: str | None = None,
    sender_email: str | None = None,
    unknown_rule: str | None = None,
    reply_address: str | None = None,
    bounce_address: str | None = None,
    now: int,
) -> Tenant:
    """Changes what is not None: who mail comes from, the sender's address, the rule (resend, hold) for messages that may have gone out,
    and where answers and bounces go ("": wherever the mail says).

    Raises Invalid.
    """
    if unknown_rule is not None and unknown_rule not in {"resend", "hold"}:
        raise Invalid.field("unknown_rule", "must be resend or hold")
    tx.run(
        "UPDATE tenants SET name = :name, sender_name = :name, sender_email = :sender_email, unknown_rule = :unknown_rule,"
        " reply_address = :reply_address, bounce_address = :bounce_address, updated_at = :now WHERE id = :tenant_id",
        tenant_id=tenant.id,
        name=tenant.name if name is None else _checked_name(name),
        sender_email=tenant.sender_email if sender_email is None else address.normalise(sender_email, "sender_email"),
        unknown_rule=unknown_rule or tenant.unknown_rule,
        reply_address=tenant.reply_address if reply_address is None else _taggable(reply_address, "reply_address"),
        bounce_address=tenant.bounce_address if bounce_address is None else _taggable(bounce_address, "bounce_address"),
        now=now,
    )
    return get(tx, tenant.id)


def set_keywords(tx: Tx, tenant_id: int, stored: str, *, now: int) -> None:
    """Other words that stop, start and help, and what is answered to them: the JSON of checked `message.keywords`."""
    tx.run(
        "UPDATE tenants SET keywords = :stored, updated_at = :now WHERE id = :tenant_id",
        tenant_id=tenant_id,
        stored=stored,
        now=now,
    )


def keep(tx: Tx, tenant_id: int, change: Kept, *, now: int) -> Tenant:
    """Changes for how long what is kept; a worker looks at once for what is older. Raises NotFound, Invalid naming each that is wrong."""
    before = get(tx, tenant_id).kept()
    wrong: dict[str, list[str]] = {}
    days: dict[str, int | None] = {}
    for part in ("bodies", "interactions", "inbound", "audit"):
        wanted = getattr(change, part)
        days[part] = getattr(before, part) if wanted is UNSET else wanted
        if days[part] is not None and not 1 <= (days[part] or 0) <= LONGEST_KEPT:
            wrong[part] = [f"must be a whole number of days from 1 to {LONGEST_KEPT}, or empty: for ever"]
    if wrong:
        raise Invalid("; ".join(f"{part} {texts[0]}" for part, texts in wrong.items()), wrong)
    watched = before.audit_reads if change.audit_reads is UNSET else change.audit_reads
    tx.run(
        "UPDATE tenants SET keep_bodies = :bodies, keep_interactions = :interactions, keep_inbound = :inbound, keep_audit = :audit,"
        " audit_reads = :watched, updated_at = :now WHERE id = :tenant_id",
        tenant_id=tenant_id,
        **days,
        watched=int(bool(watched)),
        now=now,
    )
    tx.run(
        "INSERT INTO keeping (tenant_id, due_at) VALUES (:tenant_id, 0) ON CONFLICT (tenant_id) DO UPDATE SET due_at = 0",
        tenant_id=tenant_id,
    )
    tx.notify("keeping")
    tx.notify("keys")
    return get(tx, tenant_id)


def get(tx: Tx, tenant_id: int) -> Tenant:
    """The tenant with this id. Raises NotFound."""
    found = tx.one(
        Tenant,
        _TENANT + " WHERE id = :tenant_id",
        tenant_id=tenant_id,
    )
    if found is None:
        raise NotFound("There is no such tenant")
    return found


def find(tx: Tx, slug: str) -> Tenant | None:
    """The tenant of this slug, or None."""
    return tx.one(
        Tenant,
        _TENANT + " WHERE slug = :slug",
        slug=slug,
    )


def all(tx: Tx) -> list[Tenant]:  # noqa: A001 - tenants.all reads as what it is
    """Every tenant, by slug."""
    return tx.all(
        Tenant,
        _TENANT + " ORDER BY slug",
    )


def _checked_name(name: str) -> str:
    if len(name) > _NAME_LIMIT:
        raise Invalid.field("name", f"must be at most {_NAME_LIMIT} characters long")
    return address.refuse_control(name, "name").strip()


def _taggable(text: str, field: str) -> str | None:
    """An address with room for the tag of each mail: a local part has 64 octets at most, and an address 254 (RFC 5321, 4.5.3.1)."""
    if not text.strip():
        return None
    found = address.normalise(text, field)
    local, _, domain = found.rpartition("@")
    longest = _LOCAL_LIMIT - LONGEST_REPLY - len("+")
    if not found.isascii() or len(local) > longest or len(domain) > _DOMAIN_LIMIT or local.startswith('"'):
        raise Invalid.field(field, f"must have at most {longest} plain ASCII characters before the @, and {_DOMAIN_LIMIT} after it")
    return found
