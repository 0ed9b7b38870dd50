"""The dispatch walk beside its peers, in one run: a campaign on PostgreSQL into Postfix's smtp-sink, a nodemailer pool, a bare pipelining client.

Prints messages a second and the ratios of the speed table in docs/architecture.md. The walk is the whole of it: due enrollments are
planned, claimed, rendered per recipient with tracked links and pixel, sent and settled with their ledger, fsync at every commit.
"""

import argparse
import asyncio
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import uvloop

from tests.support.mail import smtp_sink
from tests.support.postgres import running_postgres
from tests.support.walk import NO_FILES, SIGNER, OneCarrier
from tidings import clock
from tidings.database import Tx, open_database
from tidings.database.migrate import migrate
from tidings.delivery.dispatch import Dispatcher
from tidings.delivery.planner import Planner
from tidings.domain import campaigns, enrollments, tenants
from tidings.domain.templates import Content
from tidings.providers.smtp import Smtp
from tidings.providers.smtp.settings import SmtpSettings
from tidings.rendering.compose import Composer
from tidings.rendering.template import content_hash, prepare

PEERS = Path(__file__).parent / "peers"
LINKS = " ".join(f'<a href="https://example.org/offer/{number}?x=1">Offer {number}</a>' for number in range(3))
PARAGRAPH = "<p>The quick brown fox jumps over the lazy dog, and goes on to the next line of it.</p>\n"


def content(tenant_id: int, size: int) -> Content:
    """A two-part mail of about `size` bytes with three values and three links."""
    filler = PARAGRAPH * max(1, (size - 900) // (2 * len(PARAGRAPH)))
    body = f"<html><body><p>Dear {{{{ first_name }}}} {{{{ last_name }}}},</p>{filler}<p>{LINKS} {{{{ email }}}}</p></body></html>"
    return prepare(tenant_id=tenant_id, channel="email", format="html", subject="News for {{ first_name }}", body=body)


def fill(tx: Tx, tenant_id: int, count: int, mail: Content, now: int) -> int:
    """`count` contacts, and an active campaign of one message; answers its id."""
    step = 10_000
    for begin in range(0, count, step):
        rows = [(f"person{number}@example.net", f"Ann{number}", "Lee") for number in range(begin, min(begin + step, count))]
        tx.run(
            "INSERT INTO contacts (tenant_id, email, email_key, first_name, last_name, created_at, updated_at)"
            " SELECT :tenant_id, r.email, r.email, r.first_name, r.last_name, :now, :now FROM :rows(email text, first_name text, last_name text) r",
            tenant_id=tenant_id,
            now=now,
            rows=rows,
        )
    campaign = campaigns.create(tx, tenant_id, campaigns.Settings(name="Bench"), now=now)
    words = campaigns.Words(content=mail, hash=content_hash(mail))
    campaigns.add_message(tx, tenant_id, campaign.id, channel="email", delay=0, name="", words=words, now=now)
    campaigns.activate(tx, tenant_id, campaign.id, now=now)
    return campaign.id


async def walk(url: str, smtp_url: str, count: int, size: int, connections: int) -> dict[str, float]:
    """Sends a campaign to `count` contacts; answers its figures."""
    db = await open_database(url)
    tenant = await db.write(tenants.create, "bench", name="Bench", sender_email="news@example.org", now=clock.now())
    campaign_id = await db.write(fill, tenant.id, count, content(tenant.id, size), clock.now())
    began = time.perf_counter()
    await db.write(enrollments.enroll_some, tenant.id, campaign_id, list_id=None, contact_ids=None, after=0, limit=count, now=clock.now())
    enrolled = time.perf_counter() - began
    await db.refresh()
    provider = Smtp(SmtpSettings.from_url(f"{smtp_url}&connections={connections}"))
    stop = asyncio.Event()
    before = resource.getrusage(resource.RUSAGE_SELF)
    began = time.perf_counter()
    planning = asyncio.create_task(Planner(db, clock.now).run(stop))
    composer = Composer("https://t.example.org", SIGNER, "t.example.org")
    dispatching = asyncio.create_task(Dispatcher(db, composer, OneCarrier(provider), NO_FILES, clock.now).run(stop))
    # the ledger is asked, as anybody outside the worker would have to
    while await db.read(_left, tenant.id):  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_SELF)
    stop.set()
    await asyncio.gather(planning, dispatching)
    await provider.close()
    sent = await db.read(lambda tx: tx.value("SELECT COUNT(*) FROM communications WHERE tenant_id = :t AND state = 'sent'", t=tenant.id))
    await db.close()
    if sent != count:
        raise SystemExit(f"{sent} of {count} were sent")
    return {
        "seconds": seconds,
        "messages": count,
        "cpu_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "enroll_seconds": enrolled,
        "peak_mb": after.ru_maxrss / 1024,
    }


def _left(tx: Tx, tenant_id: int) -> bool:
    """Whether an enrollment is not through; one index probe."""
    waiting = tx.value("SELECT 1 FROM enrollments WHERE tenant_id = :t AND due_at IS NOT NULL LIMIT 1", t=tenant_id)
    return bool(waiting or tx.value("SELECT 1 FROM communications WHERE tenant_id = :t AND due_at IS NOT NULL LIMIT 1", t=tenant_id))


def peer(command: list[str]) -> dict[str, Any] | None:
    """A peer's figures from the JSON it prints; None where it cannot run here."""
    if shutil.which(command[0]) is None:
        return None
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=PEERS)
    if done.returncode:
        print(f"  {command[1]}: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return None
    figures: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def main() -> None:
    """Runs everybody in turn and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--size", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only-walk", action="store_true")
    asked = parser.parse_args()
    if not asked.only_walk and shutil.which("npm") and not (PEERS / "node_modules").exists():
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--silent"], cwd=PEERS, check=True)
    best: dict[str, dict[str, Any]] = {}
    with running_postgres(settings={}) as server, smtp_sink() as sink:
        common = ["--host", sink.host, "--port", str(sink.port), "--connections", str(asked.connections), "--size", str(asked.size)]
        for turn in range(asked.rounds):
            url = server.create(f"bench{turn}")
            migrate(url)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runs: dict[str, dict[str, Any] | None] = {
                    "tidings": runner.run(walk(url, sink.url, asked.messages, asked.size, asked.connections)),
                }
            if not asked.only_walk:
                count = ["--messages", str(asked.messages)]
                runs["bare client"] = peer([sys.executable, str(PEERS / "bare_client.py"), *common, *count])
                few = ["--messages", str(max(asked.messages // 4, 1000))]
                for mode in ("raw", "compose"):
                    runs[f"nodemailer {mode}"] = peer(["node", str(PEERS / "nodemailer_pool.mjs"), "--mode", mode, *common, *few])
            for name, figures in runs.items():
                if figures and (name not in best or _rate(figures) > _rate(best[name])):
                    best[name] = figures
    print(f"{asked.messages} mails of {asked.size} bytes, {asked.connections} connections, {os.cpu_count()} cores, best of {asked.rounds}")
    for name, figures in best.items():
        cpu = figures["cpu_seconds"] / figures["messages"] * 1e6
        print(
            f"  {name:20} {_rate(figures):9.0f} messages/s   {cpu:6.0f} µs CPU each   tidings is {_rate(best['tidings']) / _rate(figures):5.2f} of that"
        )
    walked = best["tidings"]
    print(
        f"  enrolling             {walked['messages'] / walked['enroll_seconds']:9.0f} contacts/s; peak memory {walked['peak_mb']:.0f} MB"
    )


def _rate(figures: dict[str, Any]) -> float:
    return figures["messages"] / figures["seconds"]


if __name__ == "__main__":
    main()
