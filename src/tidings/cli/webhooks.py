"""`tidings webhooks`: who else is told of what happens, what they were told, and telling it again."""

import getpass
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, TypeVar, cast

import typer

from tidings import ids
from tidings.api.native import webhook_deliveries, webhooks
from tidings.api.native.webhooks import NewWebhook, WebhookAuth, WebhookFilters
from tidings.api.wire import House
from tidings.cli import context
from tidings.cli.output import Json, print_json, print_table
from tidings.database import Tx
from tidings.domain import endpoints
from tidings.domain.endpoints import Delivery, Endpoint, Range, Style, Verb
from tidings.domain.page import Page
from tidings.domain.tenants import Tenant
from tidings.errors import Invalid, NotFound
from tidings.webhooks import secrets
from tidings.webhooks.payload import KINDS, TYPES
from tidings.webhooks.post import Courier
from tidings.webhooks.wire import Caller

T = TypeVar("T")

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Say who else is told of what happens.")

LONGEST_LIST = 1000
"""Rows that `log` shows at most."""

Owner = Annotated[str, typer.Option("--tenant", metavar="SLUG", help="Whose webhook it is.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="Which webhook: hook_…")]
Event = Annotated[str | None, typer.Option("--event", metavar="TYPE", help="Only this type, such as communication.bounced.")]


@app.command("create")
def create(
    url: Annotated[str, typer.Argument(metavar="URL", help="Where to post.")],
    tenant: Owner,
    event: Annotated[
        list[str] | None, typer.Option("--event", metavar="TYPE", help="Tell of this; repeat for more. Of all unless given.")
    ] = None,
    name: Annotated[str, typer.Option(help="What you call it.")] = "",
    channel: Annotated[str | None, typer.Option(metavar="CHANNEL", help="Tell of email or of sms alone.")] = None,
    user: Annotated[str | None, typer.Option(metavar="NAME", help="Authenticate by this name; its password is asked for.")] = None,
    style: Annotated[str, typer.Option(metavar="STYLE", help="standard, or everlytic.")] = "standard",
    verb: Annotated[str, typer.Option(metavar="VERB", help="For style everlytic: GET, POST, PUT, PATCH or DELETE.")] = "POST",
    as_json: Json = False,
) -> None:
    """Set up a webhook; the secret it signs with is shown this once."""
    if style not in {"standard", "everlytic"}:
        raise Invalid("--style is standard or everlytic.")
    if verb.upper() not in {"GET", "POST", "PUT", "PATCH", "DELETE"}:
        raise Invalid("--verb is GET, POST, PUT, PATCH or DELETE.")
    if channel not in {None, "email", "sms"}:
        raise Invalid("--channel is email or sms.")
    asked = NewWebhook(
        url=url,
        events=event or [],
        name=name,
        filters=WebhookFilters(channel=cast(webhooks.Channel | None, channel)),
        style=cast(Style, style),
        verb=cast(Verb, verb.upper()),
        auth=None if user is None else WebhookAuth(user, _password()),
    )
    secret = secrets.new_secret() if style == "standard" else None

    async def work(house: House, owner: Tenant) -> Endpoint:
        new, now = webhooks.made(house, asked, secret), house.clock()
        return await context.change(
            house, owner.id, "Set up a webhook", lambda tx: endpoints.create(tx, owner.id, new, now=now), subject="webhook"
        )

    made = _run(tenant, work)
    if as_json:
        print_json(_shown(made) | {"secret": secret})
    else:
        print(f"webhook  {ids.spell('webhook', made.id)}")
        if secret is not None:
            print(f"secret   {secret}\n\nKeep it now: it is not shown again.")


@app.command("list")
def listed(tenant: Owner, as_json: Json = False) -> None:
    """List them, oldest first, with what is wrong with each."""

    async def work(house: House, owner: Tenant) -> list[Endpoint]:
        return await context.everything(house.db, endpoints.page, owner.id)

    found = _run(tenant, work)
    if as_json:
        print_json([_shown(row) for row in found])
    else:
        rows = [
            (ids.spell("webhook", row.id), row.name, row.url, ", ".join(TYPES[kind] for kind in row.kinds) or "all", _trouble(row))
            for row in found
        ]
        print_table(("id", "name", "url", "told of", ""), rows)


@app.command("test")
def test(webhook: Id, tenant: Owner) -> None:
    """Post a test now and say what came back; ends with 1 when it was not taken."""

    async def work(house: House, owner: Tenant) -> Delivery:
        endpoint = await house.db.read(endpoints.get, owner.id, _meant(webhook))
        courier = Courier(house.vault, house.signer, house.clock, Caller(allow_private=house.allow_private))
        try:
            await context.enter(house, owner.id, "Test a webhook", subject="webhook", subject_id=endpoint.id)
            return await courier.test(house.db, endpoint)
        finally:
            await courier.close()

    tried = webhook_deliveries.shown(_run(tenant, work))
    for attempt in tried.log:
        print(f"{attempt.status or attempt.error} in {attempt.duration_ms} ms{': ' if attempt.answer else ''}{attempt.answer}")
    if tried.state != "delivered":
        raise typer.Exit(1)


@app.command("rotate")
def rotate(webhook: Id, tenant: Owner) -> None:
    """Sign with another secret, shown this once; the one before signs beside it for a day."""
    secret = secrets.new_secret()

    async def work(house: House, owner: Tenant) -> None:
        identity, sealed, now = _meant(webhook), secrets.seal(house.vault, secret), house.clock()
        await _changed(
            house, owner, "Rotate a webhook's secret", identity, lambda tx: endpoints.rotate(tx, owner.id, identity, sealed, now=now)
        )

    _run(tenant, work)
    print(f"secret   {secret}\n\nKeep it now: it is not shown again. The one before signs as well until tomorrow.")


@app.command("enable")
def enable(webhook: Id, tenant: Owner) -> None:
    """Switch it on: it is told of what happens from now on."""

    async def work(house: House, owner: Tenant) -> None:
        identity, now = _meant(webhook), house.clock()
        await _changed(house, owner, "Switch a webhook on", identity, lambda tx: endpoints.enable(tx, owner.id, identity, now=now))

    _run(tenant, work)
    print("Switched on. What has failed meanwhile can be replayed.")


@app.command("disable")
def disable(webhook: Id, tenant: Owner) -> None:
    """Switch it off: it is told nothing more, and what was waiting has failed."""

    async def work(house: House, owner: Tenant) -> None:
        identity, now = _meant(webhook), house.clock()

        def unit(tx: Tx) -> None:
            endpoints.get(tx, owner.id, identity)
            endpoints.disable(tx, owner.id, identity, endpoints.BY_HAND, now=now)

        await _changed(house, owner, "Switch a webhook off", identity, unit)

    _run(tenant, work)
    print("Switched off.")


@app.command("remove")
def remove(webhook: Id, tenant: Owner) -> None:
    """Forget it, its secrets and its log."""

    async def work(house: House, owner: Tenant) -> None:
        identity = _meant(webhook)
        await _changed(house, owner, "Remove a webhook", identity, lambda tx: endpoints.delete(tx, owner.id, identity))

    _run(tenant, work)
    print("Removed.")


@app.command("log")
def log(
    webhook: Id,
    tenant: Owner,
    state: Annotated[str | None, typer.Option(metavar="STATE", help="Only what is waiting, delivered or failed.")] = None,
    event: Event = None,
    limit: Annotated[int, typer.Option(min=1, max=LONGEST_LIST, help="How many.")] = 50,
    as_json: Json = False,
) -> None:
    """Show what it was told, newest first, and what came of it."""
    if state is not None and state not in endpoints.STATES:
        raise Invalid(f"--state is one of {', '.join(endpoints.STATES)}.")
    which = Range(state, _kind(event))

    async def work(house: House, owner: Tenant) -> Page[Delivery]:
        endpoint = await house.db.read(endpoints.get, owner.id, _meant(webhook))
        return await house.db.read(endpoints.deliveries, owner.id, endpoint.id, which, limit=limit, page=1)

    found = [webhook_deliveries.shown(row) for row in _run(tenant, work).rows]
    if as_json:
        print_json(found)
    else:
        rows = [
            (row.at, row.id, row.event, str(row.communication_id or ""), row.state, str(row.attempts), row.error or "") for row in found
        ]
        print_table(("at", "id", "event", "of", "", "tries", ""), rows)


@app.command("replay")
def replay(
    webhook: Id,
    tenant: Owner,
    delivery: Annotated[str | None, typer.Option(metavar="ID", help="This one (dlv_…), whatever became of it.")] = None,
    since: Annotated[datetime | None, typer.Option(help="What happened then (UTC) or later.")] = None,
    until: Annotated[datetime | None, typer.Option(help="What happened before (UTC).")] = None,
    event: Event = None,
) -> None:
    """Tell it again: one delivery, or everything that has failed."""
    which = Range(None, _kind(event), _instant(since), _instant(until))

    async def work(house: House, owner: Tenant) -> int:
        identity, now = _meant(webhook), house.clock()

        def unit(tx: Tx) -> int:
            if delivery is None:
                return endpoints.replay_failed(tx, owner.id, identity, which, now=now)
            endpoints.replay(tx, owner.id, identity, ids.parse("delivery", delivery) or 0, now=now)
            return 1

        return await _changed(house, owner, "Replay deliveries of a webhook", identity, unit)

    count = _run(tenant, work)
    print(f"{count} {'is' if count == 1 else 'are'} due again.")


def _run(tenant: str, work: Callable[[House, Tenant], Awaitable[T]]) -> T:
    """Does it for this tenant."""

    async def whole() -> T:
        async with context.opened() as house:
            return await work(house, await context.find_tenant(house.db, tenant))

    return context.run(whole())


async def _changed(house: House, owner: Tenant, operation: str, identity: int, unit: Callable[[Tx], T]) -> T:
    """Does it to this webhook, and enters it in the audit."""
    return await context.change(house, owner.id, operation, unit, subject="webhook", subject_id=identity)


def _meant(webhook: str) -> int:
    found = ids.parse("webhook", webhook)
    if found is None:
        raise NotFound(f"There is no webhook {webhook}.")
    return found


def _kind(event: str | None) -> str | None:
    if event is not None and event not in KINDS:
        raise Invalid(f"There is no event {event!r}; there are {', '.join(KINDS)}.")
    return None if event is None else KINDS[event]


def _instant(at: datetime | None) -> int | None:
    return None if at is None else int(at.replace(tzinfo=at.tzinfo or UTC).timestamp() * 1000)


def _password() -> str:
    return getpass.getpass("password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")


def _trouble(row: Endpoint) -> str:
    return f"off: {row.disabled_why}" if row.disabled_at is not None else row.error or ""


def _shown(row: Endpoint) -> dict[str, object]:
    return {
        "id": ids.spell("webhook", row.id),
        "name": row.name,
        "url": row.url,
        "events": [TYPES[kind] for kind in row.kinds],
        "style": row.style,
        "verb": row.verb,
        "error": row.error,
        "disabled_at": row.disabled_at,
        "disabled_reason": row.disabled_why,
    }
