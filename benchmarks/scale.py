"""Asking a house of ten million communications the same as one of ten thousand: how long each answer takes, as a ratio of the two.

Both houses are made by `seed.py` on one PostgreSQL and asked in turn through the whole application; the ratios are those of the
medians, of the lower quartiles and of the quickest answers, which other work on the machine moves less and less. What each line is, and
why some lines are where they are, is in docs/scale.md. `--communications` (or BENCH_SCALE) says how large the large one is: half a million
unless given, 10000000 for the figures of the documentation.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.seed import DAYS, seed
from tests.support.api import Api
from tests.support.postgres import CARELESS, running_postgres
from tidings import clock, ids
from tidings.clock import DAY, HOUR
from tidings.database import open_database
from tidings.domain import tenants

SMALL, LARGE = 10_000, 500_000
WITHIN, AT_MOST, SLACK = 1.2, 2.0, 3.0
"""What is wanted: of the medians, the lower quartiles or the quickest answers, for a machine that is busy with something else is slow at
times and never quick. And what the quickest answer must not exceed for the run to succeed: so many times that of the small house, and so
many milliseconds more."""
AGAIN = 3
"""How many times as many rounds a question gets that is not within that yet."""
ROUNDS = 15
LONG, FEW = 1.0, 3
"""Seconds from which an answer is asked for only a few times."""
SERVER = {
    "shared_buffers": "3GB",
    "effective_cache_size": "10GB",
    "maintenance_work_mem": "512MB",
    "max_wal_size": "16GB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}


class Case(NamedTuple):
    """One question. `path` and `body` may name facts of the house in braces; `free` says that it costs what it costs: see docs/scale.md."""

    name: str
    path: str
    body: dict[str, Any] | None = None
    free: bool = False


LIST = "/api/v1/communications?limit=25"
ALPHA = "/api/v1/communications"
REPORTS = "/api/v1/reports"
INTERACTIONS = "/api/v1/interactions"
EVERLYTIC = "/api/3.0/messages/interaction-data/{message}"

CASES = [
    Case("communications, first page", LIST),
    Case("communications, 100th page", f"{LIST}&page=100"),
    Case("communications of email", f"{LIST}&type=email"),
    Case("communications of SMS", f"{LIST}&type=sms"),
    Case("communications sent", f"{LIST}&sent=true"),
    Case("communications not sent", f"{LIST}&sent=false"),
    Case("communications not sent, 5th page", f"{LIST}&sent=false&page=5"),
    Case("communications by hand", f"{LIST}&manual=true"),
    Case("communications of campaigns", f"{LIST}&manual=false", free=True),
    Case("communications by hand, not sent", f"{LIST}&manual=true&sent=false"),
    Case("enrollments, first page", "/api/v1/enrollments?limit=25"),
    Case("enrollments of the big campaign", "/api/v1/enrollments?limit=25&campaign_id={campaign}"),
    Case("enrollments of a contact", "/api/v1/enrollments?limit=25&contact_id={contact}"),
    Case("campaigns", "/api/v1/campaigns?limit=10"),
    Case("contacts, 10th page", "/api/v1/contacts?limit=25&page=10", free=True),
    Case("alpha: page", f"{ALPHA}/page?pageSize=20"),
    Case("alpha: page 100, newest first", f"{ALPHA}/page?pageSize=20&pageNumber=100&direction=DESC"),
    Case("alpha: page by sentAt", f"{ALPHA}/page?pageSize=20&sortBy=sentAt&direction=DESC"),
    Case("alpha: page by created", f"{ALPHA}/page?pageSize=20&sortBy=created&direction=DESC", free=True),
    Case("alpha: page by type", f"{ALPHA}/page?pageSize=20&sortBy=type", free=True),
    Case("alpha: a rare word", f"{ALPHA}/page?pageSize=20&search={{invoice}}", free=True),
    Case("alpha: an address", f"{ALPHA}/dynamic-search?search=recipients:{{email}}", free=True),
    Case("alpha: filter by status", f"{ALPHA}/dynamic-search?filters=status:SENT", free=True),
    Case("alpha: filter by rare status", f"{ALPHA}/dynamic-search?filters=status:SCHEDULED", free=True),
    Case("alpha: filter by failed", f"{ALPHA}/dynamic-search?filters=status:FAILED", free=True),
    Case("alpha: filter by type", f"{ALPHA}/dynamic-search?filters=type:INVOICE"),
    Case("alpha: filter by a day", f"{ALPHA}/dynamic-search?filters=sentAt:gte:{{day}},sentAt:lt:{{next_day}}", free=True),
    Case("alpha: filter by opened", f"{ALPHA}/dynamic-search?filters=opened:true", free=True),
    Case("analytics of all time", f"{ALPHA}/analytics"),
    Case("analytics of a month", f"{ALPHA}/analytics?startDate={{month}}&endDate={{month_end}}"),
    Case("analytics between odd instants", f"{ALPHA}/analytics?startDate={{odd}}&endDate={{odd_end}}"),
    Case("analytics cut through the big campaign", f"{ALPHA}/analytics?startDate={{burst}}&endDate={{odd_end}}", free=True),
    Case(
        "everlytic: first page",
        EVERLYTIC,
        {"fromDate": "{from}", "toDate": "{to}", "interactionType": "sends", "order": "asc", "pageNumber": 1},
    ),
    Case(
        "everlytic: middle page",
        EVERLYTIC,
        {"fromDate": "{from}", "toDate": "{to}", "interactionType": "opens", "order": "asc", "pageNumber": 2},
    ),
    Case(
        "everlytic: last page",
        EVERLYTIC,
        {"fromDate": "{from}", "toDate": "{to}", "interactionType": "sends", "order": "asc", "pageNumber": "{last}"},
    ),
    Case("report of the big campaign", f"{REPORTS}/campaigns/{{campaign}}"),
    Case("report of a small campaign", f"{REPORTS}/campaigns/{{small_campaign}}"),
    Case("links of the big campaign", f"{REPORTS}/campaigns/{{campaign}}/links"),
    Case("links of a small campaign", f"{REPORTS}/campaigns/{{small_campaign}}/links"),
    Case("two campaigns compared", f"{REPORTS}/compare?campaigns={{campaign}},{{small_campaign}}"),
    Case("who missed the big campaign", f"{REPORTS}/campaigns/{{campaign}}/missed", free=True),
    Case("who missed a small campaign", f"{REPORTS}/campaigns/{{small_campaign}}/missed"),
    Case("series of a year by day", f"{REPORTS}/series?since={{year}}&until={{month_end}}"),
    Case("series of a year by day, Zurich", f"{REPORTS}/series?since={{year}}&until={{month_end}}&time_zone=Europe/Zurich", free=True),
    Case("series of a month by hour", f"{REPORTS}/series?interval=hour&since={{month}}&until={{month_end}}", free=True),
    Case("series of the big campaign", f"{REPORTS}/series?since={{sending}}&until={{sent}}&campaign={{campaign}}"),
    Case("series of the big campaign by hour", f"{REPORTS}/series?interval=hour&since={{sending}}&until={{sent}}&campaign={{campaign}}"),
    Case("series of a small campaign", f"{REPORTS}/series?since={{year}}&until={{month_end}}&campaign={{small_campaign}}"),
    Case("by template, all time", f"{REPORTS}/templates"),
    Case("by type, all time", f"{REPORTS}/types"),
    Case("by template, a month", f"{REPORTS}/templates?since={{month}}&until={{month_end}}"),
    Case("by template, the big campaign", f"{REPORTS}/templates?campaign={{campaign}}"),
    Case("contact's timeline", "/api/v1/contacts/{contact}/timeline"),
    Case("interactions of a communication", f"{INTERACTIONS}?communication_id={{communication}}"),
    Case("interactions of a contact", f"{INTERACTIONS}?contact_id={{contact}}"),
    Case("interactions of the big campaign's message", f"{INTERACTIONS}?message_id={{message}}"),
    Case("interactions of a small campaign's message", f"{INTERACTIONS}?message_id={{small_message}}"),
    Case("recipient's messages", "/v1/recipients/{recipient}/messages"),
]


class Asked:
    """One house behind the application, and what the questions name of it."""

    def __init__(self, api: Api, facts: dict[str, str]) -> None:
        self.api, self.facts = api, facts

    async def ask(self, case: Case) -> tuple[float, int]:
        """Milliseconds that an answer takes, and its status."""
        path = case.path.format(**self.facts)
        body = case.body and {name: value.format(**self.facts) if isinstance(value, str) else value for name, value in case.body.items()}
        begun = time.perf_counter()
        answer = await (self.api.client.get(path) if body is None else self.api.client.post(path, json=body))
        return (time.perf_counter() - begun) * 1000, answer.status_code


async def moved_in(url: str, count: int, until: int, folder: Path) -> Asked:
    """A house that has been seeded, with a key of its own."""
    api = Api(await open_database(url), folder)
    api.at = until
    rows = await api.rows("SELECT id FROM tenants WHERE slug = 'bench'")
    tenant = await api.db.read(tenants.get, rows[0][0])
    assert tenant is not None
    api.tenant, api.key = tenant, await api.new_key(tenant)
    api.client = api.client_for(api.key)
    t = tenant.id
    campaign, message, second = (
        await api.rows(
            "SELECT m.campaign_id, MIN(m.id), MAX(m.id) FROM messages m JOIN campaigns k ON k.tenant_id = m.tenant_id AND k.id = m.campaign_id"
            " WHERE m.tenant_id = :t AND k.name = 'Big' GROUP BY m.campaign_id",
            t=t,
        )
    )[0]
    ((small, small_message),) = await api.rows(
        "SELECT campaign_id, id FROM messages WHERE tenant_id = :t ORDER BY campaign_id LIMIT 1 OFFSET 2", t=t
    )
    ((contact, communication),) = await api.rows(
        "SELECT contact_id, id FROM communications WHERE tenant_id = :t AND message_id = :m AND click_count > 0 ORDER BY id LIMIT 1 OFFSET 3",
        t=t,
        m=message,
    )
    ((worded,),) = await api.rows("SELECT communication_id FROM renderings WHERE tenant_id = :t ORDER BY 1 LIMIT 1 OFFSET 50", t=t)
    ((sends,),) = await api.rows("SELECT SUM(sent)::bigint FROM counters WHERE tenant_id = :t AND message_id = :m", t=t, m=message)
    begin = until - DAYS * DAY
    instants = {
        "day": begin + 300 * DAY,
        "next_day": begin + 301 * DAY,
        "month": begin + 320 * DAY,
        "month_end": begin + 350 * DAY,
        "odd": begin + 200 * DAY + 12 * HOUR + 1_234_567,
        "odd_end": begin + 380 * DAY + 13 * HOUR + 2_345_678,
        "year": begin - 15 * DAY,
        "sending": begin + 249 * DAY,
        "sent": begin + 270 * DAY,
        "burst": begin + 250 * DAY + 9 * HOUR + 2_000,
    }
    facts = {
        "campaign": ids.spell("campaign", campaign),
        "small_campaign": ids.spell("campaign", small),
        "message": str(message),
        "message_two": str(second),
        "small_message": str(small_message),
        "contact": ids.spell("contact", contact),
        "recipient": ids.uuid("contact", contact),
        "communication": str(communication),
        "opaque": api.signer.communication(t, communication),
        "invoice": f"invoice+{worded}",
        "email": f"person{contact}@example.org",
        "last": str(-(-sends // 100)),
        "from": _date(begin),
        "to": _date(until),
        **{name: _instant(at) for name, at in instants.items()},
    }
    return Asked(api, facts)


def _instant(at: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at // 1000)) + f".{at % 1000:03}Z"


def _date(at: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(at // 1000))


def _lower(values: list[float]) -> float:
    """The lower quartile."""
    return sorted(values)[len(values) // 4]


def _ratios(taken: dict[str, list[float]]) -> tuple[float, float, float]:
    """The large house's times over those of the small one: of the medians, the lower quartiles and the quickest answers."""
    small = taken["small"] + taken["again"]
    return (
        statistics.median(taken["large"]) / statistics.median(small),
        _lower(taken["large"]) / _lower(small),
        min(taken["large"]) / min(small),
    )


async def timed(small: Asked, large: Asked, case: Case) -> tuple[dict[str, list[float]], set[int]]:
    """How long the answers took, the small house asked twice for each time the large one is; and their statuses."""
    taken: dict[str, list[float]] = {"small": [], "again": [], "large": []}
    statuses = {(await small.ask(case))[1]}
    first, status = await large.ask(case)
    statuses.add(status)
    rounds = FEW if first > LONG * 1000 else ROUNDS
    for turn in range(rounds * (1 if case.free else AGAIN)):
        if turn and turn % rounds == 0 and min(_ratios(taken)) <= WITHIN:
            break
        for name, asked in (("small", small), ("large", large), ("again", small)):
            milliseconds, status = await asked.ask(case)
            taken[name].append(milliseconds)
            statuses.add(status)
    return taken, statuses


async def compared(small: Asked, large: Asked, cases: list[Case]) -> bool:
    """Prints a line for each question; whether none of those that are to be the same is clearly not."""
    broken: list[str] = []
    within = 0
    noises: list[float] = []
    for case in cases:
        taken, statuses = await timed(small, large, case)
        both = taken["small"] + taken["again"]
        ratios = _ratios(taken)
        noise = statistics.median(taken["again"]) / statistics.median(taken["small"])
        noises.append(max(noise, 1 / noise))
        ok = min(ratios) <= WITHIN
        within += ok
        if statuses != {200} or (not case.free and min(taken["large"]) > AT_MOST * min(both) + SLACK):
            broken.append(case.name)
        wrong = f"   answers: {sorted(statuses)}" if statuses != {200} else ""
        note = "" if ok else "   (see docs/scale.md)" if case.free else "   <--"
        times = f"{statistics.median(both):8.2f} ms {statistics.median(taken['large']):10.2f} ms"
        print(f"  {case.name:44} {times}   {' '.join(f'{ratio:8.2f}' for ratio in ratios)}{note}{wrong}", flush=True)
    print(
        f"  {within} of {len(cases)} within {WITHIN}; the small house beside itself: {statistics.median(noises):.2f}, at most {max(noises):.2f}"
    )
    if broken:
        print(f"  clearly not the same: {', '.join(broken)}")
    return not broken


async def measured(urls: dict[int, str], until: int, only: str) -> bool:
    """Asks both houses everything."""
    with tempfile.TemporaryDirectory(prefix="tidings-bench-") as name:
        houses = [await moved_in(url, count, until, Path(name)) for count, url in urls.items()]
        try:
            print(f"  {'':44} {min(urls):>8,} rows {max(urls):>9,} rows   median quartile quickest")
            return await compared(houses[0], houses[1], [case for case in CASES if only in case.name])
        finally:
            for house in houses:
                await house.api.db.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--communications", type=int, default=int(os.environ.get("BENCH_SCALE", LARGE)))
    parser.add_argument("--only", default="", help="questions whose name has this in it")
    parser.add_argument("--database-urls", nargs=2, help="two houses that are seeded already, the small one first, and stay")
    parser.add_argument(
        "--until", type=int, default=clock.now() // HOUR * HOUR, help="with them: the instant they were seeded up to, in milliseconds"
    )
    given = parser.parse_args()
    if given.database_urls:
        reached = asyncio.run(measured(dict(zip((SMALL, given.communications), given.database_urls, strict=True)), given.until, given.only))
        sys.exit(0 if reached else 1)
    with running_postgres({**CARELESS, **SERVER}) as server:
        urls = {SMALL: server.create("small"), given.communications: server.create("large")}
        for count, url in urls.items():
            begun = time.perf_counter()
            print(f"  seeding {count:,} communications with {count * 3 // 2:,} interactions", flush=True)
            seed(url, count, count * 3 // 2, until=given.until)
            print(f"  took {time.perf_counter() - begun:.0f} s")
        reached = asyncio.run(measured(urls, given.until, given.only))
    sys.exit(0 if reached else 1)


if __name__ == "__main__":
    main()
