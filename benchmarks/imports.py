"""Importing 200,000 email-only rows, beside email-validator alone on the same addresses, on both databases: rates and their ratio."""

import asyncio
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

import email_validator

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.support.postgres import running_postgres
from tidings import clock
from tidings.database import Database, open_database
from tidings.database.migrate import migrate
from tidings.delivery.imports import LEASE, run_import
from tidings.domain import contacts, jobs, tenants
from tidings.domain.contacts import Source

ROWS, SAMPLE = 200_000, 40_000
AT_LEAST = 0.5


def addresses() -> list[str]:
    """As real ones are: names and numbers of all lengths, in no order, a few hundred domains."""
    dice = random.Random(7)
    letters = "abcdefghijklmnopqrstuvwxyz"
    domains = ["".join(dice.choices(letters, k=dice.randint(4, 12))) + dice.choice([".com", ".net", ".co.uk", ".it"]) for _ in range(300)]
    names = ["".join(dice.choices(letters, k=dice.randint(3, 9))) for _ in range(3000)]
    return [f"{dice.choice(names)}.{dice.choice(names)}{number}@{dice.choice(domains)}" for number in range(ROWS)]


def peer(rows: list[str]) -> float:
    """Rows a second of email-validator alone."""
    begun = time.perf_counter()
    for row in rows[:SAMPLE]:
        email_validator.validate_email(row, check_deliverability=False)
    return SAMPLE / (time.perf_counter() - begun)


async def imported(db: Database, path: Path, folder: Path) -> float:
    """Rows a second from the file on the disk to the last commit."""
    tenant = await db.write(tenants.create, "bench", name="", sender_email="bench@example.com", now=clock.now())
    source = Source(path=str(path), uploaded=False)
    await db.write(contacts.begin_import, tenant.id, source, now=clock.now())
    job = await db.write(jobs.claim, now=clock.now(), lease_ms=LEASE)
    assert job is not None
    begun = time.perf_counter()
    await run_import(db, clock.now, folder, job, asyncio.Event())
    rate = ROWS / (time.perf_counter() - begun)
    found = await db.read(contacts.page, tenant.id, contacts.Filters(), limit=1, page=1)
    assert found.total == ROWS, found.total
    return rate


async def against(url: str, path: Path, folder: Path, rows: list[str]) -> bool:
    """Measures one database, the peer before and after; prints a line; whether the ratio is reached."""
    await asyncio.to_thread(migrate, url)
    db = await open_database(url)
    try:
        before = await asyncio.to_thread(peer, rows)
        held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        rate = await imported(db, path, folder)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - held) / 1024
        alone = (before + await asyncio.to_thread(peer, rows)) / 2
    finally:
        await db.close()
    ratio = rate / alone
    print(
        f"{db.kind:9} imports {rate:8,.0f} rows/s   email-validator alone {alone:8,.0f} rows/s   ratio {ratio:.2f} (at least {AT_LEAST})"
        f"   memory +{grown:.0f} MB"
    )
    return ratio >= AT_LEAST


def main() -> None:
    rows = addresses()
    with tempfile.TemporaryDirectory(prefix="tidings-bench-") as name:
        folder = Path(name)
        path = folder / "rows.csv"
        path.write_text("email\n" + "\n".join(rows) + "\n")
        reached = asyncio.run(against(f"sqlite:///{folder}/bench.db", path, folder, rows))
        with running_postgres({}) as server:
            reached &= asyncio.run(against(server.create("bench"), path, folder, rows))
    sys.exit(0 if reached else 1)


if __name__ == "__main__":
    main()
