"""Makes a house of any size in PostgreSQL within minutes: as the product would have written it, with counters that equal a recount.

A year and more of one tenant: instant messages of several templates day and night, one campaign to a fifth of all communications' worth of
contacts in two messages, many small campaigns, opens, clicks, bounces, failures. The same shape at every size, the same rows every time.
Rows are made inside PostgreSQL, by several connections at once, while the indexes are away; if it is broken off, begin with a new database.
"""

import argparse
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, cast

import psycopg
from psycopg.sql import SQL, Identifier

from benchmarks.seed_sql import ACTIVITY, COMMUNICATIONS, CONTACTS, COUNTERS, ENROLLMENTS, INTERACTIONS, PREPARE, SETTLE
from tidings import clock
from tidings.clock import DAY, HOUR, SECOND
from tidings.database.migrate import migrate
from tidings.database.postgres import PostgresTx, configure, ensure_partitions, libpq
from tidings.domain import activity, campaigns, counters, marks, templates, tenants
from tidings.rendering.template import content_hash, prepare

DAYS = 400
BIG, SMALL = 0.2, 0.3
"""Of all communications: those of each of the big campaign's two messages, and those of all the small campaigns together."""
CHUNK = 100_000
WEEK = 7
WITHOUT_INDEXES = ("contacts", "enrollments", "communications", "renderings", "interactions")
_LINKS = " ".join(f'<a href="https://example.org/offer/{number}">Offer {number}</a>' for number in range(3))
_PARAGRAPH = "<p>The quick brown fox jumps over the lazy dog, and goes on to the next line of it.</p>"
_KINDS = ("OFFERTE", "OFFERTE", "INVOICE", "INVOICE", "REMINDER", "REMINDER", "NOTICE", "SMS")


class Block(NamedTuple):
    """Communications that follow one another: `many` of them from the id `first` on, one each `pace` milliseconds from `begin` on.

    `kind` is the row of the kinds they are of, None for instant messages of all of them. `waiting` 1 for what is not due yet.
    """

    first: int
    many: int
    begin: int
    pace: float
    kind: int | None = None
    campaign_id: int | None = None
    message_id: int | None = None
    sole: int = 0
    first_enrollment: int | None = None
    first_contact: int = 0
    waiting: int = 0


class Walk(NamedTuple):
    """A campaign's enrollments: `many` of them from the id `first` on, of as many contacts; `last` is when the last message began."""

    first: int
    many: int
    campaign_id: int
    first_contact: int
    begin: int
    last: int
    messages: int


class Plan(NamedTuple):
    """What is made: everything but the rows themselves."""

    tenant_id: int
    contacts: int
    until: int
    blocks: list[Block]
    walks: list[Walk]


def seed(url: str, communications: int, interactions: int, *, until: int | None = None, say: Callable[[str], None] = print) -> int:
    """Fills an empty database up to the instant `until` (milliseconds, this hour unless given); answers the tenant's id."""
    migrate(url)
    end = until if until is not None else clock.now() // HOUR * HOUR
    conninfo = libpq(url)[0]
    with psycopg.connect(conninfo, autocommit=True) as connection:
        if connection.execute("SELECT EXISTS (SELECT 1 FROM communications)").fetchone() != (False,):
            raise SystemExit("This database has communications already; seed a new one.")
        begun = time.perf_counter()
        plan = _plan(connection, communications, end)
        for day in range(DAYS + WEEK):
            if day % 20 == 0:
                ensure_partitions(connection, end - (DAYS - day) * DAY)
        rebuilt = _without_indexes(connection)
        _prepare(connection, plan, (interactions / communications - 1.15) / 1.32)
        say(f"  planned: {len(plan.blocks):,} blocks, {len(plan.walks):,} campaigns, {plan.contacts:,} contacts")
    hands = os.cpu_count() or 2
    with ThreadPoolExecutor(hands) as pool:
        _filled(pool, conninfo, plan, communications)
        say(f"  rows: {time.perf_counter() - begun:.0f} s")
        list(pool.map(_alone, [conninfo] * len(rebuilt), rebuilt))
        say(f"  indexes: {time.perf_counter() - begun:.0f} s")
        _catch_up(conninfo, plan)
        say(f"  caught up: {time.perf_counter() - begun:.0f} s")
        vacuums = [f"VACUUM (ANALYZE) {table}" for table in _tables(conninfo)]
        list(pool.map(_alone, [conninfo] * len(vacuums), vacuums))
    say(f"  vacuumed: {time.perf_counter() - begun:.0f} s")
    return plan.tenant_id


def _plan(connection: psycopg.Connection[Any], total: int, end: int) -> Plan:
    """Writes tenant, templates, campaigns and messages as the product does, and lays out who is written to when."""
    configure(connection)
    begin, contacts = end - DAYS * DAY, max(total // 4, 4)
    many = min(600, max(20, total // 15_000))
    big, each = int(total * BIG), int(total * SMALL) // many
    with connection.transaction():
        tx = PostgresTx(connection)
        tenant = tenants.create(tx, "bench", name="Bench", sender_email="hello@example.org", now=begin)
        _kinds(tx, tenant.id, begin)
        days = [4 + number * (DAYS - 10) // many for number in range(many)]
        made = [_campaign(tx, tenant.id, f"Small {number}", 1, begin + days[number] * DAY) for number in range(many)]
        large = _campaign(tx, tenant.id, "Big", 2, begin + 250 * DAY)
    walks = [
        Walk(1 + number * each, each, campaign_id, number * 7919 % contacts, begin + days[number] * DAY + 9 * HOUR, 0, 1)
        for number, (campaign_id, _) in enumerate(made)
    ]
    walks.append(Walk(1 + many * each, big, large[0], 0, begin + 250 * DAY + 9 * HOUR, begin + 257 * DAY + 9 * HOUR, 2))
    steps: dict[int, list[tuple[Walk, int, int]]] = {}
    for walk, (_, messages) in zip(walks, [*made, large], strict=True):
        for number, message_id in enumerate(messages):
            steps.setdefault((walk.begin - begin) // DAY + WEEK * number, []).append((walk, message_id, number))
    waiting = total // 10_000 + 1
    instant = total - waiting - many * each - 2 * big
    blocks = list(_blocks(begin, instant, steps))
    last = blocks[-1]
    blocks.append(Block(last.first + last.many, waiting, end + DAY, 60 * SECOND, waiting=1))
    return Plan(tenant.id, contacts, end, blocks, walks)


def _blocks(begin: int, instant: int, steps: dict[int, list[tuple[Walk, int, int]]]) -> Iterator[Block]:
    """Day by day: instant messages until nine, then the day's campaigns, then instant messages again; ids follow time as closely as that."""
    following = 1
    for day in range(DAYS):
        today = begin + day * DAY
        count = instant * (day + 1) // DAYS - instant * day // DAYS
        early = count * 9 // 24
        if early:
            yield Block(following, early, today, 9 * HOUR / early)
            following += early
        for walk, message_id, number in steps.get(day, []):
            at = walk.begin + number * WEEK * DAY
            ids = (walk.campaign_id, message_id, int(walk.messages == 1), walk.first, walk.first_contact)
            yield Block(following, walk.many, at, 1.0, 100 + message_id, *ids)
            following += walk.many
        if count > early:
            yield Block(following, count - early, today + 9 * HOUR, 15 * HOUR / (count - early))
            following += count - early


def _kinds(tx: PostgresTx, tenant_id: int, now: int) -> None:
    """What instant messages are made of: a template each."""
    tx.run("CREATE SCHEMA seed")
    tx.run(
        "CREATE TABLE seed.kinds (kind bigint PRIMARY KEY, type text, channel text, template_id bigint, content_id bigint)",
    )
    for number, name in enumerate(_KINDS):
        channel = "sms" if name == "SMS" else "email"
        body = "Your code is 1234." if channel == "sms" else f"<p>{name} {number}</p>{_PARAGRAPH * 10}<p>{_LINKS}</p>"
        content = prepare(
            tenant_id=tenant_id,
            channel=channel,
            format="text" if channel == "sms" else "html",
            subject="" if channel == "sms" else f"{name.capitalize()} number {number}",
            body=body,
        )
        revision = templates.Revision(content, content_hash(content))
        made = templates.create(tx, tenant_id, f"{name} {number}", revision, now=now)
        tx.run(
            "INSERT INTO seed.kinds VALUES (:kind, :type, :channel, :template_id, :content_id)",
            kind=number,
            type=name,
            channel=channel,
            template_id=made.id,
            content_id=made.content_id,
        )


def _campaign(tx: PostgresTx, tenant_id: int, name: str, steps: int, now: int) -> tuple[int, list[int]]:
    """An active campaign of so many messages a week apart: its id and theirs."""
    campaign = campaigns.create(tx, tenant_id, campaigns.Settings(name=name), now=now)
    found: list[int] = []
    for number in range(steps):
        body = f"<p>{name}, part {number}</p>{_PARAGRAPH * 10}<p>{_LINKS}</p>"
        content = prepare(tenant_id=tenant_id, channel="email", format="html", subject=f"News of {name}", body=body)
        words = campaigns.Words(content=content, hash=content_hash(content))
        message = campaigns.add_message(
            tx, tenant_id, campaign.id, channel="email", delay=number * WEEK * DAY, name="", words=words, now=now
        )
        tx.run(
            "INSERT INTO seed.kinds SELECT 100 + id, 'CAMPAIGN', channel, NULL, content_id FROM messages WHERE tenant_id = :t AND id = :id",
            t=tenant_id,
            id=message.id,
        )
        found.append(message.id)
    campaigns.activate(tx, tenant_id, campaign.id, now=now)
    return campaign.id, found


def _prepare(connection: psycopg.Connection[Any], plan: Plan, opening: float) -> None:
    connection.execute(PREPARE)
    connection.execute(
        "INSERT INTO seed.facts VALUES (%s, %s, %s, %s)",
        (plan.tenant_id, plan.contacts, plan.until, max(0, min(1000, round(opening * 1000)))),
    )
    for table, rows in (("blocks", plan.blocks), ("walks", plan.walks)):
        with connection.cursor().copy(SQL("COPY seed.{} FROM STDIN").format(Identifier(table))) as copy:
            for row in rows:
                copy.write_row(row)
    connection.execute("ANALYZE seed.blocks")


def _without_indexes(connection: psycopg.Connection[Any]) -> list[str]:
    """Takes the indexes of the large tables away; answers the statements that make them again, the costliest first."""
    found = connection.execute(
        "SELECT c.relname, i.relname, pg_get_indexdef(x.indexrelid), k.conname, pg_get_constraintdef(k.oid), t.relkind"
        " FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid JOIN pg_class c ON c.oid = t.oid"
        " LEFT JOIN pg_constraint k ON k.conindid = i.oid AND k.contype IN ('p', 'u')"
        " WHERE c.relname = ANY(%s) AND c.relnamespace = 'public'::regnamespace ORDER BY i.relname",
        (list(WITHOUT_INDEXES),),
    ).fetchall()
    statements: list[str] = []
    for table, index, definition, constraint, wording, kind in found:
        if kind == "p" and constraint:
            continue  # rows come almost in the order of this key
        if constraint:
            statements.append(f"ALTER TABLE {table} ADD CONSTRAINT {constraint} {wording}")
            connection.execute(SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(Identifier(table), Identifier(constraint)))
        else:
            # of a partitioned table the definition is of the table alone
            statements.append(definition.replace(" ON ONLY ", " ON "))
            connection.execute(SQL("DROP INDEX {}").format(Identifier(index)))
    return sorted(statements, key=lambda statement: ("gin" not in statement, " ON communications" not in statement))


def _filled(pool: ThreadPoolExecutor, conninfo: str, plan: Plan, total: int) -> None:
    """Every row, chunk after chunk; each chunk counts what it has made in a transaction of its own."""
    local = threading.local()
    opened: list[psycopg.Connection[Any]] = []

    def work(step: tuple[Sequence[str], int, int]) -> None:
        if not hasattr(local, "connection"):
            local.connection = psycopg.connect(conninfo, autocommit=True)
            local.connection.execute("SET synchronous_commit = off")
            local.connection.execute("SET work_mem = '256MB'")
            opened.append(local.connection)
        statements, begin, end = step
        for statement in statements:
            local.connection.execute(cast(Any, statement), {"begin": begin, "end": end, "t": plan.tenant_id})

    def chunks(statements: Sequence[str], count: int) -> list[tuple[Sequence[str], int, int]]:
        return [(statements, begin, min(begin + CHUNK - 1, count)) for begin in range(1, count + 1, CHUNK)]

    list(pool.map(work, chunks((CONTACTS,), plan.contacts)))
    list(pool.map(work, [((ENROLLMENTS,), walk.first, walk.first) for walk in plan.walks]))
    list(pool.map(work, chunks((COMMUNICATIONS, INTERACTIONS, COUNTERS, ACTIVITY), total)))
    with psycopg.connect(conninfo, autocommit=True) as connection:
        for statement in SETTLE:
            connection.execute(cast(Any, statement), {"t": plan.tenant_id})
    for connection in opened:
        connection.close()


def _catch_up(conninfo: str, plan: Plan) -> None:
    """What workers do in their own time: counts of hours that are over are settled, large messages get their marks."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        configure(connection)
        tx = PostgresTx(connection)
        for settle in (counters.settle, activity.settle):
            while settle(tx, before=counters.hour_of(plan.until), limit=10_000):
                pass
        marks.want_large(tx, plan.tenant_id, since=0, now=plan.until)
        while series := marks.wanted(tx):
            marks.lay(tx, series, now=plan.until)


def _alone(conninfo: str, statement: str) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("SET maintenance_work_mem = '512MB'")
        connection.execute(cast(Any, statement))


def _tables(conninfo: str) -> list[str]:
    """Every table of ours, the largest first; partitions on their own."""
    with psycopg.connect(conninfo) as connection:
        rows = connection.execute(
            "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
            " ORDER BY pg_relation_size(oid) DESC"
        ).fetchall()
        return [row[0] for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--communications", type=int, default=10_000)
    parser.add_argument("--interactions", type=int, help="one and a half for each communication unless given")
    parser.add_argument("--database-url", default=os.environ.get("TIDINGS_DATABASE_URL", ""), help="of an empty PostgreSQL database")
    given = parser.parse_args()
    if not given.database_url.startswith("postgres"):
        sys.exit("--database-url must name a PostgreSQL database")
    begun = time.perf_counter()
    seed(given.database_url, given.communications, given.interactions or given.communications * 3 // 2)
    print(f"{given.communications:,} communications in {time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
