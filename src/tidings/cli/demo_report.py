"""The demonstration's end: what became of every row and message, whether those who ought to know agree, and what to try next."""

import re
from collections.abc import Sequence

import httpx2
import msgspec
from rich.console import Console

from tidings.api.wire import House
from tidings.cli import demo_figures
from tidings.cli.demo_figures import Figures
from tidings.cli.demo_screen import rows, steps_table
from tidings.cli.demo_story import Story
from tidings.domain import counters

PATIENCE = 10.0


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
    compared = await _compared(house, story, url, twice)
    console = Console()
    imported, rejected, counts = figures.imported, figures.rejected, figures.counts
    print(f"\n{imported} imported + {rejected} rejected = {imported + rejected} rows; {counts.enrolled} contacts enrolled.\n")
    console.print(steps_table(figures))
    for reason, count in figures.reasons:
        print(f"  {count} failed: {reason}")
    print(f"\n{counts.accepted} accepted = {counts.sent} sent + {counts.failed} failed + {counts.canceled} canceled.")
    print("Opens and clicks are those of simulated readers.\n")
    body = [(line.what, line.ledger, line.told, "agree" if line.agrees else "DISAGREE") for line in compared]
    console.print(rows(("", "ledger", "told", ""), body))
    if twice:
        print(f"{twice} more were in flight when a server was killed, and went out again: better twice than never.")
    print("\n".join(_to_try(url, story.token)), flush=True)
    return all(line.agrees for line in compared)


async def _compared(house: House, story: Story, url: str, twice: int) -> Sequence[Comparison]:
    totals = await house.db.read(counters.totals, story.tenant_id)
    async with httpx2.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {story.token}"}, timeout=PATIENCE) as client:
        listed = await _total(client, "/api/v1/communications")
        kept = await _total(client, "/api/v1/sandbox/messages")
        metrics = (await client.get("/metrics")).raise_for_status().text
    return (
        Comparison("communications listed by the API", totals.accepted, listed),
        Comparison("messages in the sandbox", totals.sent, kept - twice),
        Comparison("accepted, by /metrics", totals.accepted, _metric(metrics, "accepted")),
        Comparison("sent, by /metrics", totals.sent, _metric(metrics, "sent")),
        Comparison("failed, by /metrics", totals.failed, _metric(metrics, "failed")),
    )


async def _total(client: httpx2.AsyncClient, path: str) -> int:
    answer = await client.get(path, params={"limit": 1})
    return int(answer.raise_for_status().json()["pagination"]["total"])


def _metric(text: str, state: str) -> int:
    """The sum of a counter's samples for this state."""
    samples = re.findall(rf'^tidings_communications_total\{{[^}}]*state="{state}"[^}}]*\}} ([0-9.e+]+)$', text, re.MULTILINE)
    return round(sum(float(sample) for sample in samples))


def _to_try(url: str, token: str) -> list[str]:
    """The key, and three commands that work as they stand."""
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
        "",
        f"Browse the API: {url}/docs    Stop: Ctrl-C",
    ]
