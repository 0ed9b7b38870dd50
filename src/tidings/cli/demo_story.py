"""What the demonstration makes, each thing only where it is not there yet: tenant, key, templates, a campaign of three messages, the import, the enrollment."""

import asyncio
import csv
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from tidings.api.wire import House
from tidings.database import Tx
from tidings.delivery.planner import EnrollParams
from tidings.domain import campaigns, contacts, jobs, keys, lists, templates, tenants
from tidings.domain.contacts import Source
from tidings.domain.jobs import Job
from tidings.domain.templates import Revision, Template
from tidings.errors import Conflict, Unavailable
from tidings.rendering import template

SLUG, LIST, CAMPAIGN = "demo", "Demo", "First steps in the garden"
SENDER, SENDER_NAME = "ada@fern-and-furrow.example", "Fern & Furrow"
TOKEN_FILE = "demo-token"
ROWS_ARE_IN = "contacts.csv"
ENROLL = "enroll"
DELAYS = "0s,1m,1m"
"""Each after the message before: the text message a minute after the first mail, the second mail a minute later."""


class Story(msgspec.Struct, frozen=True):
    """What there is to follow. `fresh` tells that this start made it."""

    tenant_id: int
    campaign_id: int
    import_id: int
    token: str
    fresh: bool


class Part(msgspec.Struct, frozen=True):
    """One message of the campaign: from a template of this name, or (without one) with content of its own."""

    name: str
    file: str
    channel: Literal["email", "sms"]
    format: str
    subject: str = ""
    template: str = ""


PARTS = (
    Part(
        "Welcome", "welcome.mjml", "email", "mjml", "{{ first_name | default('Welcome', true) }}, your first week in the garden", "Welcome"
    ),
    Part("Reminder", "reminder.txt", "sms", "text", template="Reminder"),
    Part("Afterwards", "afterwards.html", "email", "html", "How is it coming up?"),
)


def examples() -> Path:
    """The folder of the examples: beside the sources, or where the package was installed. Raises Unavailable when there is none."""
    places = [Path(__file__).resolve().parents[3] / "examples", Path(sys.prefix) / "share" / "tidings" / "examples"]
    for place in places:
        if (place / ROWS_ARE_IN).is_file():
            return place
    raise Unavailable("The examples are not installed: run the demonstration from a checkout of the sources (`make run`).")


async def begin(house: House, delays: Sequence[int]) -> Story:
    """Makes what is missing up to the import, which a worker then does. `delays` in milliseconds, one for each message."""
    folder = examples()
    revisions = await asyncio.to_thread(lambda: {part.name: _revision(0, part, folder) for part in PARTS})
    tenant = await house.db.write(_tenant, now=house.clock())
    token = await _token(house, tenant.id)
    campaign_id, fresh = await house.db.write(_campaign, tenant.id, revisions, delays, now=house.clock())
    import_id = await house.db.write(_import, tenant.id, folder / ROWS_ARE_IN, now=house.clock())
    return Story(tenant.id, campaign_id, import_id, token, fresh)


async def import_job(house: House, story: Story) -> Job:
    """How far the import has come."""
    job = await house.db.read(jobs.get, story.tenant_id, story.import_id)
    assert job is not None
    return job


async def rejects(house: House, story: Story) -> list[str]:
    """Each rejected row of the file in a sentence."""
    return await asyncio.to_thread(_rejects, contacts.rejects_file(house.data_folder, story.import_id))


async def enroll(house: House, story: Story) -> None:
    """Starts the campaign and enrolls the list, unless that was done before."""
    await house.db.write(_enroll, story, now=house.clock())


async def all_enrolled(house: House, story: Story) -> bool:
    """Whether the enrollment has come to its end. Raises Unavailable when that was a failure."""
    job = await house.db.read(_enroll_job, story)
    if job is None:
        raise Unavailable("The enrollment failed; start the demonstration again to have another go at it.")
    return job.state == "done"


def _tenant(tx: Tx, *, now: int) -> tenants.Tenant:
    return tenants.find(tx, SLUG) or tenants.create(tx, SLUG, name=SENDER_NAME, sender_email=SENDER, now=now)


async def _token(house: House, tenant_id: int) -> str:
    """The demonstration's key. Only its hash is in the database, so it is kept in a file, for its owner, to be shown again."""
    path = house.data_folder / TOKEN_FILE
    if path.exists():
        token = path.read_text(encoding="ascii").strip()
        parts = keys.split(token)
        if parts is not None and await house.db.read(keys.authenticate, *parts) is not None:
            return token
    made = await house.db.write(keys.create, tenant_id, name="demonstration", scopes=(), now=house.clock())
    await asyncio.to_thread(_keep, path, made.token)
    return made.token


def _keep(path: Path, token: str) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
        file.write(token + "\n")


def _revision(tenant_id: int, part: Part, folder: Path) -> Revision:
    body = (folder / "templates" / part.file).read_text(encoding="utf-8").strip()
    content = template.prepare(tenant_id=tenant_id, channel=part.channel, format=part.format, subject=part.subject, body=body)
    return Revision(content, template.content_hash(content), "demonstration")


def _campaign(tx: Tx, tenant_id: int, revisions: dict[str, Revision], delays: Sequence[int], *, now: int) -> tuple[int, bool]:
    """(campaign's id, made just now?). Campaign and messages come in one transaction: there is no half of it."""
    found = campaigns.page(tx, tenant_id, name=CAMPAIGN, limit=1).rows
    if found:
        return found[0].id, False
    settings = campaigns.Settings(name=CAMPAIGN, sender_email=SENDER, sender_name=SENDER_NAME, stop_on_reply=True)
    campaign = campaigns.create(tx, tenant_id, settings, now=now)
    for part, delay in zip(PARTS, delays, strict=True):
        revision = revisions[part.name]
        revision = msgspec.structs.replace(revision, content=msgspec.structs.replace(revision.content, tenant_id=tenant_id))
        if part.template:
            words = campaigns.Words(template_id=_template(tx, tenant_id, part.template, revision, now).id)
        else:
            words = campaigns.Words(content=revision.content, hash=revision.hash)
        campaigns.add_message(tx, tenant_id, campaign.id, words, name=part.name, delay=delay, now=now)
    return campaign.id, True


def _template(tx: Tx, tenant_id: int, name: str, revision: Revision, now: int) -> Template:
    try:
        return templates.create(tx, tenant_id, name, revision, now=now)
    except Conflict:
        # somebody has used the name for their own: the demonstration leaves it alone
        return templates.create(tx, tenant_id, f"{name} {now}", revision, now=now)


def _import(tx: Tx, tenant_id: int, file: Path, *, now: int) -> int:
    """The id of the import's job, made where there is none that can end well."""
    list_id = lists.ensure(tx, tenant_id, LIST, now=now).id
    mine = [job for job in _jobs(tx, tenant_id, contacts.KIND) if msgspec.json.decode(job.params, type=Source).list_id == list_id]
    if mine:
        return mine[0].id
    source = Source(str(file.resolve()), uploaded=False, list_id=list_id)
    return jobs.create(tx, tenant_id, contacts.KIND, msgspec.json.encode(source).decode(), total=0, now=now).id


def _enroll(tx: Tx, story: Story, *, now: int) -> None:
    if campaigns.get(tx, story.tenant_id, story.campaign_id).state == "draft":
        campaigns.activate(tx, story.tenant_id, story.campaign_id, now=now)
    if _enroll_job(tx, story) is None:
        people = lists.ensure(tx, story.tenant_id, LIST, now=now)
        params = EnrollParams(story.campaign_id, people.id)
        jobs.create(tx, story.tenant_id, ENROLL, msgspec.json.encode(params).decode(), total=people.members, now=now)


def _enroll_job(tx: Tx, story: Story) -> Job | None:
    mine = (
        job
        for job in _jobs(tx, story.tenant_id, ENROLL)
        if msgspec.json.decode(job.params, type=EnrollParams).campaign_id == story.campaign_id
    )
    return next(mine, None)


def _jobs(tx: Tx, tenant_id: int, kind: str) -> list[Job]:
    """The demonstration's own job comes first: oldest first, without those that failed."""
    page = jobs.page(tx, tenant_id, kind=kind, limit=100, page=1)
    return [job for job in reversed(page.rows) if job.state != "failed"]


def _rejects(file: Path) -> list[str]:
    if not file.exists():
        return []
    with file.open(encoding="utf-8", errors="replace", newline="") as rows:
        return [f"rejected line {row['line']}: {row['reason']}" for row in csv.DictReader(rows)]
