"""An export of any length takes the same memory: a process of its own writes many communications out, and looks at itself meanwhile."""

import json
import subprocess
import sys
from pathlib import Path

from tests.cli.command import environment, tidings
from tests.shape.project import ROOT
from tidings.database.sqlite import connect

ROWS = 30_000
MOST = 20 * 1024 * 1024
WARM = 2_000
"""Records after which everything that is loaded once has been."""
PROGRAM = """
import asyncio, json, psutil
from tidings.analytics.query import Query
from tidings.api.alpha import export
from tidings.cli import context

async def work():
    process, written, first, most = psutil.Process(), 0, 0, 0
    async with context.opened() as house:
        owner = await context.find_tenant(house.db, "acme")
        async for count, lines in export.batches(house, owner.id, Query()):
            written += count
            if written >= %d:
                most = max(most, process.memory_info().rss)
                first = first or most
    print(json.dumps([written, most - first]))

context.run(work())
"""


def test_memory_does_not_grow_with_the_number_of_communications(tmp_path: Path):
    home = tmp_path / "home"
    for words in (
        ["tenants", "create", "acme", "--sender", "hello@acme.example"],
        ["send", "--tenant", "acme", "--to", "ann@example.org", "--subject", "Hello", "--body", "Hello"],
    ):
        assert tidings(home, *words).returncode == 0
    connection = connect(str(home / "tidings.db"))
    connection.execute(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
        " INSERT INTO communications (tenant_id, channel, state, lane, contact_id, content_id, type, address, track_opens, track_links, created_at,"
        " updated_at) SELECT 1, 'email', 'failed', 0, 1, 1, 'BULK', 'p' || i || '@example.org', 0, 0, i, i FROM n",
        (ROWS,),
    )
    connection.close()
    command = [sys.executable, "-c", PROGRAM % WARM]
    ended = subprocess.run(command, env=environment(home), cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    written, grown = json.loads(ended.stdout)
    assert written == ROWS + 1
    assert grown < MOST
