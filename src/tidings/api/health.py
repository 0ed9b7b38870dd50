"""How the house is: alive, ready, and in figures for Prometheus. Public, and silent about whose messages these are."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any, LiteralString

import msgspec
from msgspec import UNSET, UnsetType
from prometheus_client import CollectorRegistry, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector

from tidings import __version__
from tidings.api.wire import Call, Reply, Route, instant, ok
from tidings.database import Database, Tx
from tidings.database.migrate import migrations
from tidings.errors import Unavailable

PATIENCE = 3.0
"""Seconds the database may take to answer before it counts as not answering."""
DEPTH_AGE = 5.0
"""Seconds a count of the queue is good for: counting a long one is work."""
_COUNTED = ("accepted", "sent", "delivered", "failed", "canceled", "bounced")
_HAPPENED = ("opens", "clicks", "human_opens", "human_clicks", "complained", "unsubscribed", "replied")
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Alive(msgspec.Struct, frozen=True):
    """The process answers: its version, and its clock."""

    status: str
    version: str
    time: str


class Ready(msgspec.Struct, frozen=True, omit_defaults=True):
    """`status` is ready or unavailable, and the rest says why; what could not be asked for is left out."""

    status: str
    database: str
    migrations: str | UnsetType = UNSET
    paused_providers: int | UnsetType = UNSET


class Metrics:
    """What this process measures itself, and what the database has counted exactly for all processes."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._registry = CollectorRegistry()
        self._latency = Histogram(
            "tidings_http_request_seconds",
            "Time to answer a request",
            ["method", "path", "status"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        # a label lookup takes a lock and hashes strings; a request's outcome is nearly always one seen before
        self._seen: dict[tuple[str, str, int], Histogram] = {}
        Gauge("tidings_info", "The version that runs", ["version"], registry=self._registry).labels(__version__).set(1)
        ProcessCollector(registry=self._registry)
        self._stored = _Stored()
        self._registry.register(self._stored)
        self._depth: tuple[float, list[tuple[Any, ...]]] = (0.0, [])
        self._counting = asyncio.Lock()
        self._expected = frozenset(version for version, _, _ in migrations(db.kind))

    def observe(self, path: str, method: str, status: int, seconds: float) -> None:
        """Notes one answered request; `path` is the route's, so that ids make no labels."""
        known = self._seen.get((path, method, status))
        if known is None:
            method_label = method if method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} else "other"
            known = self._latency.labels(method_label, path, str(status))
            if len(self._seen) < 10_000:
                self._seen[path, method, status] = known
        known.observe(seconds)

    def routes(self) -> list[Route]:
        """What is served."""
        return [
            Route("GET", "/healthz", alive, "", "Whether the process answers", gives=Alive, public=True),
            Route(
                *("GET", "/readyz", self.ready, "", "Whether it can work: database, migrations, providers"),
                gives=Ready,
                public=True,
                also={503: Ready},
            ),
            Route(*("GET", "/metrics", self.figures, "", "Figures for Prometheus"), public=True, media=("text/plain",), refuses=(503,)),
        ]

    async def ready(self, call: Call) -> Reply:
        """200 when messages can be taken; 503 with the reason when not. A paused provider delays messages and refuses none: still ready."""
        try:
            async with asyncio.timeout(PATIENCE):
                applied, paused = await call.db.read(_state, call.now)
        except (Unavailable, TimeoutError) as error:
            reason = error.message if isinstance(error, Unavailable) else "The database does not answer"
            return Reply(503, Ready("unavailable", reason), {"retry-after": "2"})
        missing = sorted(self._expected - applied)
        behind = f"{len(missing)} to be applied; run tidings migrate"
        return Reply(503, Ready("unavailable", "ok", behind, paused)) if missing else Reply(200, Ready("ready", "ok", "current", paused))

    async def figures(self, call: Call) -> Reply:
        """The text format 0.0.4."""
        async with self._counting:
            totals = await call.db.read(_totals)
            if time.monotonic() - self._depth[0] > DEPTH_AGE or not self._depth[0]:
                self._depth = (time.monotonic(), await call.db.read(_depth, call.now))
            self._stored.take(totals, self._depth[1])
            text = generate_latest(self._registry)
        return Reply(200, text, {"content-type": "text/plain; version=0.0.4; charset=utf-8"})


class _Stored:
    """The database's own counts as metric families; exact across processes and restarts.

    They say what there is and fall when a communication is deleted or sent again: gauges, for a Prometheus counter must never fall
    (https://prometheus.io/docs/concepts/metric_types/) and its `rate` would take each fall for a restart.
    """

    def __init__(self) -> None:
        self._totals: list[tuple[Any, ...]] = []
        self._depth: list[tuple[Any, ...]] = []

    def take(self, totals: list[tuple[Any, ...]], depth: list[tuple[Any, ...]]) -> None:
        """What the next collection shows."""
        self._totals, self._depth = totals, depth

    def collect(self) -> Iterator[Metric]:
        """The families, for the registry."""
        communications = GaugeMetricFamily(
            "tidings_communications", "Communications there are that reached a state", labels=["channel", "state"]
        )
        interactions = GaugeMetricFamily(
            "tidings_interactions", "What recipients did with the communications there are", labels=["channel", "kind"]
        )
        enrollments = GaugeMetricFamily("tidings_enrollments", "Enrollments there are, made and completed", labels=["state"])
        enrolled = completed = 0
        for channel, *counts in self._totals:
            named = dict(zip((*_COUNTED, *_HAPPENED, "enrolled", "completed"), counts, strict=True))
            enrolled += named["enrolled"]
            completed += named["completed"]
            if not channel:
                continue
            for state in _COUNTED:
                communications.add_metric([channel, state], named[state])
            for kind in _HAPPENED:
                interactions.add_metric([channel, kind], named[kind])
        enrollments.add_metric(["enrolled"], enrolled)
        enrollments.add_metric(["completed"], completed)
        depth = GaugeMetricFamily("tidings_queue_depth", "Communications on their way: waiting, due or being sent", labels=["channel"])
        due = GaugeMetricFamily("tidings_queue_due", "Of these, how many should have gone out by now", labels=["channel"])
        for channel, waiting, late in self._depth:
            depth.add_metric([channel], waiting)
            due.add_metric([channel], late)
        yield from (communications, interactions, enrollments, depth, due)


async def alive(call: Call) -> Reply:
    """Asks nothing of anybody: a slow database is no reason to restart the process."""
    return ok(Alive("ok", __version__, instant(call.now)))


def _state(tx: Tx, now: int) -> tuple[set[int], int]:
    """(versions applied, how many providers are paused now), over all tenants: whose they are is nobody's business without a key."""
    applied = {row[0] for row in tx.rows("SELECT version FROM schema_migrations")}
    paused: int = tx.value("SELECT COUNT(*) FROM providers WHERE paused_until > :now AND chosen_at IS NOT NULL", now=now)
    return applied, paused


def _totals(tx: Tx) -> list[tuple[Any, ...]]:
    """Every count by channel, over all tenants; enrollments are counted under no channel."""
    columns: LiteralString = (
        "channel, accepted, sent, delivered, failed, canceled, bounced, opens, clicks, human_opens, human_clicks, complained, unsubscribed, replied,"
        " enrolled, completed"
    )
    return tx.rows(
        "SELECT channel, CAST(SUM(accepted) AS bigint), CAST(SUM(sent) AS bigint), CAST(SUM(delivered) AS bigint), CAST(SUM(failed) AS bigint),"
        " CAST(SUM(canceled) AS bigint), CAST(SUM(bounced) AS bigint), CAST(SUM(opens) AS bigint), CAST(SUM(clicks) AS bigint),"
        " CAST(SUM(human_opens) AS bigint), CAST(SUM(human_clicks) AS bigint),"
        " CAST(SUM(complained) AS bigint), CAST(SUM(unsubscribed) AS bigint), CAST(SUM(replied) AS bigint), CAST(SUM(enrolled) AS bigint),"
        " CAST(SUM(completed) AS bigint) FROM (SELECT " + columns + " FROM days WHERE tenant_id > 0 AND day = -1"
        " UNION ALL SELECT " + columns + " FROM counters WHERE tenant_id > 0 AND slot > 0) c GROUP BY channel ORDER BY channel"
    )


def _depth(tx: Tx, now: int) -> list[tuple[Any, ...]]:
    """(channel, on their way, due by now) over all tenants."""
    return tx.rows(
        "SELECT channel, COUNT(*), CAST(SUM(CASE WHEN due_at <= :now THEN 1 ELSE 0 END) AS bigint) FROM communications"
        " WHERE tenant_id > 0 AND due_at IS NOT NULL GROUP BY channel ORDER BY channel",
        now=now,
    )
