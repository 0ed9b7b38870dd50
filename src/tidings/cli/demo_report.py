"""The demonstration's end: what became of every row and message, whether those who ought to know agree, and what to try next."""

import re
import textwrap
from collections.abc import Sequence

import httpx2
import msgspec
from rich.console import Console

from tidings.api.wire import House
from tidings.cli import demo_figures, demo_people
from tidings.cli.demo_figures import Figures
from tidings.cli.demo_screen import rows, steps_table
from tidings.cli.demo_story import Story
from tidings.domain import counters

PATIENCE = 10.0
LINE = 100
"""Characters of a message that the conversation is told with."""


class Comparison(msgspec.Struct, frozen=True):
    """One figure as the ledger has it and as somebody else tells it."""

    what: str
    ledger: int
    told: int

    @property
    def agrees(self) -> bool:
        """Whether they are the same."""
        return self.ledger == self.told


async def conclude(house: House, story: Story, figures: Figures, url: str) -> bool:
    """Prints summary, comparisons and the lines to try; answers whether every figure agrees."""
    twice = await house.db.read(demo_figures.kept_twice, story.tenant_id)
    async with httpx2.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {story.token}"}, timeout=PATIENCE) as client:
        compared = await _compared(house, story, figures, client, twice)
        conversation = await demo_people.conversation_of(client, demo_people.TOLD)
        said = [] if conversation is None else await _said(client, conversation)
    console = Console()
    imported, rejected, counts = figures.imported, figures.rejected, figures.counts
    print(f"\n{imported} imported + {rejected} rejected = {imported + rejected} rows; {counts.enrolled} contacts enrolled.\n")
    console.print(steps_table(figures))
    for reason, count in figures.reasons:
        print(f"  {count} failed: {reason}")
    print("\n" + "\n".join(_accounted(figures)))
    print("Opens and clicks are those of simulated readers.\n")
    body = [(line.what, line.ledger, line.told, "agree" if line.agrees else "DISAGREE") for line in compared]
    console.print(rows(("", "ledger", "told", ""), body))
    if twice:
        print(f"{twice} more were in flight when a server was killed, and went out again: better twice than never.")
    print("\n".join([*said, *_to_try(url, story.token, conversation)]), flush=True)
    return all(line.agrees for line in compared)


def _accounted(figures: Figures) -> list[str]:
    """Every message the campaign had for anybody, and every one there is."""
    steps, counts = figures.everything, figures.counts
    ended = {ended.by: ended.enrollments for ended in figures.ended}
    answered, stopped = ended.get("reply", 0), ended.get("unsubscribe", 0)
    accepted, sent, failed, canceled = (sum(getattr(step, name) for step in steps) for name in ("accepted", "sent", "failed", "canceled"))
    return [
        f"{counts.enrolled} contacts x {len(figures.steps)} messages = {figures.planned} = {counts.accepted} accepted + {figures.spared} never made,",
        f"for the campaign ended early for {answered} who answered and {stopped} who said STOP; {accepted - counts.accepted} accepted beside it.",
        f"{accepted} accepted = {sent} sent + {failed} failed + {canceled} canceled.",
    ]


async def _said(client: httpx2.AsyncClient, conversation: str) -> list[str]:
    """A conversation as text: who said what."""
    answer = await client.get(f"/api/v1/conversations/{conversation}/messages")
    lines = ["", "One of the conversations:"]
    for number, message in enumerate(answer.raise_for_status().json()["messages"]):
        who = demo_people.TOLD.name if message["direction"] == "inbound" else message["from_name"]
        words = message["reply"] or message["text"]
        # what follows the first has its subject, with "Re: " before it
        whole = words if number else f"{message['subject']}. {words}"
        lines.append(f"  {who}: {textwrap.shorten(whole, LINE, placeholder=' ...')}")
    return lines


async def _compared(house: House, story: Story, figures: Figures, client: httpx2.AsyncClient, twice: int) -> Sequence[Comparison]:
    totals = await house.db.read(counters.totals, story.tenant_id)
    listed = await _total(client, "/api/v1/communications")
    kept = await _total(client, "/api/v1/sandbox/messages")
    received = await _total(client, "/api/v1/inbound_messages")
    metrics = (await client.get("/metrics")).raise_for_status().text
    return (
        Comparison("communications listed by the API", totals.accepted, listed),
        Comparison("messages in the sandbox", totals.sent, kept - twice),
        Comparison("accepted, by /metrics", totals.accepted, _metric(metrics, "accepted")),
        Comparison("sent, by /metrics", totals.sent, _metric(metrics, "sent")),
        Comparison("failed, by /metrics", totals.failed, _metric(metrics, "failed")),
        Comparison("messages received, listed by the API", figures.talk.received, received),
        Comparison("replied, by /metrics", totals.replied, _metric(metrics, "replied", of="interactions", label="kind")),
    )


async def _total(client: httpx2.AsyncClient, path: str) -> int:
    answer = await client.get(path, params={"limit": 1})
    return int(answer.raise_for_status().json()["pagination"]["total"])


def _metric(text: str, name: str, *, of: str = "communications", label: str = "state") -> int:
    """The sum of the samples that have this name for their label."""
    samples = re.findall(rf'^tidings_{of}\{{[^}}]*{label}="{name}"[^}}]*\}} ([0-9.e+]+)$', text, re.MULTILINE)
    return round(sum(float(sample) for sample in samples))


def _to_try(url: str, token: str, conversation: str | None) -> list[str]:
    """The key, and commands that work as they stand."""
    auth = f"-H 'Authorization: Bearer {token}'"
    mail = (
        '{"email": "you@example.com", "first_name": "You", "send_email": true, "subject": "Hello", "body": "<p>Hello from the shell.</p>"}'
    )
    return [
        "",
        f"The key of tenant demo: {token}",
        "",
        "Try:",
        f"curl -s {auth} '{url}/api/v1/communications?limit=3'",
        f"curl -s {auth} '{url}/api/v1/sandbox/messages?limit=1'",
        f"curl -s {auth} -H 'Content-Type: application/json' {url}/api/v1/instant_messages -d '{mail}'",
        *([f"curl -s {auth} '{url}/api/v1/conversations/{conversation}/messages'"] if conversation is not None else ()),
        "",
        f"Browse the API: {url}/docs    Stop: Ctrl-C",
    ]
