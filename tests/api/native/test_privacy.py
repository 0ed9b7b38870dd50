"""What the law gives a person: everything known of it in a ZIP, and its erasure, after which nothing tells of it and every count is as it was."""

import io
import zipfile
from email import message_from_bytes
from email.policy import default
from typing import Any

import msgspec

from tests.api.conftest import Api
from tests.support import recount
from tidings import ids
from tidings.clock import HOUR
from tidings.database import Tx
from tidings.delivery.keeping import Keeper
from tidings.domain import attachments, suppressions, threads
from tidings.domain.attachments import File
from tidings.domain.threads import Arrival, Clue, Incoming

BODY = '<p>Dear Ann Zebrowski</p><a href="https://shop.test/{{ who }}">shop</a>'
LINK, TRACK = "/api/v1/communications/link/", "/api/v1/communications/track/"
EMAIL, PHONE = "ann@example.test", "+393331234567"
TRACES = ("ann@example", "zebrowski", "3331234567", "quokka", "192.0.2", "netscape")


class Life:
    """Ann has a mail with a file, one with others, a text, a campaign she is in, and has answered; Ben has a mail she had a copy of."""

    def __init__(self, api: Api) -> None:
        self.api = api

    async def live(self) -> "Life":
        api = self.api
        made = await api.client.post(
            "/api/v1/contacts",
            json={"email": EMAIL, "phone": PHONE, "first_name": "Ann", "last_name": "Zebrowski", "attributes": {"pet": "quokka"}},
        )
        self.id = made.json()["id"]
        self.number = made.json()["number"]
        await api.send(recipients=["root@example.test"])  # contents of campaigns are the first one's
        campaign_id = await api.campaign()
        enrolled = await api.client.post(
            "/api/v1/enrollments", json={"campaign_id": ids.spell("campaign", campaign_id), "contact_id": self.id}
        )
        assert enrolled.status_code == 201, enrolled.text
        file = {"filename": "offer.txt", "content": "cXVva2th", "contentType": "text/plain"}
        self.own = await api.send(body=BODY, variables={"who": "quokka"}, subject="For Ann Zebrowski", attachments=[file])
        self.shared = await api.send(recipients=[f"Ann Zebrowski <{EMAIL}>", "ben@example.test"], subject="For all")
        self.copied = await api.send(recipients=["ben@example.test"], cc=[EMAIL], subject="For Ben")
        await api.dispatch()
        self.waiting = await api.send(scheduledAt="2025-06-20T12:00:00Z")
        agent = {"user-agent": "Netscape", "x-forwarded-for": "192.0.2.7"}
        for path in (f"{TRACK}{self.own['id']}", f"{LINK}{self.own['id']}/0", f"{TRACK}{self.shared['id']}"):
            assert (await api.stranger.get(path, headers=agent)).status_code in {200, 302}
        await self.answer("quokka says hello")
        return self

    async def answer(self, text: str) -> None:
        api = self.api
        raw = f"From: Ann Zebrowski <{EMAIL}>\r\nSubject: Re\r\n\r\n{text}\r\n".encode()
        digest = await attachments.keep(api.db, api.house.store, api.tenant.id, raw, now=api.house.clock)
        signed = api.signer.parse_communication(self.own["id"])
        assert signed is not None
        incoming = Incoming(
            source="test",
            source_id=text,
            channel="email",
            contact_id=0,
            received_at=api.at,
            sender=EMAIL,
            sender_name="Ann Zebrowski",
            subject="Re: quokka",
            text=text,
            raw_hash=digest,
        )
        arrival = Arrival(incoming=incoming, files=(File("a.txt", "text/plain", 4, digest),), clues=(Clue(communication_id=signed[1]),))
        await api.db.write(threads.take, api.tenant.id, arrival, now=api.at)


async def everything(api: Api) -> str:
    """Every text in every row of every table, but for what other tables of the database's own keep."""

    def read(tx: Tx) -> str:
        if api.db.kind == "sqlite":
            names: Any = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name NOT LIKE '%trigrams%'"
        else:
            names = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        found: list[str] = []
        for (name,) in tx.rows(names):
            if name not in {"idempotency_keys", "schema_migrations"}:
                sql: Any = f"SELECT * FROM {name}"
                found += [f"{name}: {value!s}" for row in tx.rows(sql) for value in row if isinstance(value, str | bytes)]
        return "\n".join(found).lower()

    return await api.db.read(read)


async def counted(api: Api) -> tuple[Any, ...]:
    def read(tx: Tx) -> tuple[Any, ...]:
        return tuple(part(tx, api.tenant.id) for part in (recount.counted, recount.happened, recount.clicks))

    return await api.db.read(read)


async def test_an_export_holds_everything_with_the_mails_as_they_went_out(api: Api):
    life = await Life(api).live()
    went_out = {sealed.communication_id: sealed for sealed in api.carrying.sent}
    answer = await api.client.get(f"/api/v1/contacts/{life.id}/export")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
    packed = zipfile.ZipFile(io.BytesIO(answer.content))
    assert packed.testzip() is None
    names = set(packed.namelist())
    own = f"communications/{life.own['id']}"
    assert {"README.txt", "contact.json", "enrollments.json", f"{own}.json", f"{own}.eml", "inbound/1.json", "inbound/1.eml"} <= names
    assert msgspec.json.decode(packed.read("contact.json"))["attributes"] == {"pet": "quokka"}
    assert [row["kind"] for row in msgspec.json.decode(packed.read("interactions.json"))].count("opened") == 3
    assert packed.read("inbound/1.eml").endswith(b"quokka says hello\r\n")
    signed = api.signer.parse_communication(life.own["id"])
    assert signed is not None
    composed, sent = packed.read(f"{own}.eml"), went_out[signed[1]]
    assert composed == sent.raw  # type: ignore[union-attr]
    mail = message_from_bytes(composed, policy=default)
    assert [part.get_filename() for part in mail.iter_attachments()] == ["offer.txt"]
    assert (await api.client.get("/api/v1/audit", params={"action": "export"})).json()["audit"][0]["contact_id"] == life.id


async def test_an_erased_contact_leaves_no_trace_and_every_count(api: Api):
    life = await Life(api).live()
    await api.db.write(suppressions.add, api.tenant.id, "sms", PHONE, "manual", detail="Zebrowski asked", now=api.at)
    canceled = await api.client.post(f"/api/v1/communications/{life.waiting['id']}/cancel")
    assert canceled.status_code == 200, canceled.text
    before = await counted(api)
    answer = await api.client.post(f"/api/v1/contacts/{life.id}/erase")
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"id": life.id, "communications": 3, "shared": 2, "inbound": 1, "enrollments": 0, "suppressed": True}
    assert await counted(api) == before
    api.at += HOUR
    assert await Keeper(api.db, api.house.clock, idle=0).turn() is not None
    left = [line for line in (await everything(api)).splitlines() if any(trace in line for trace in TRACES)]
    assert left == [f"suppressions: {PHONE}"]
    assert (await api.client.get(f"/api/v1/contacts/{life.id}")).status_code == 404
    shared = await api.find(life.shared["id"])
    assert (shared["recipients"], shared["subject"]) == (["ben@example.test"], "For all")
    assert (await api.find(life.copied["id"]))["cc"] == []
    own = await api.find(life.own["id"])
    assert (own["body"], own["originalBody"], own["subject"], own["recipients"]) == ("", "", "", [""])


async def test_mail_to_an_erased_contact_is_under_no_domain_but_counted_with_the_others(api: Api):
    life = await Life(api).live()
    before = (await api.client.get("/api/v1/reports/domains")).json()
    await api.client.post(f"/api/v1/contacts/{life.id}/erase")
    after = (await api.client.get("/api/v1/reports/domains")).json()
    assert before["others"] is None
    assert sum(row["sent"] for row in before["domains"]) == 5
    assert (sum(row["sent"] for row in after["domains"]), after["others"]["sent"]) == (3, 2)


async def test_links_of_mail_to_an_erased_contact_lead_on_and_note_nothing_of_who_follows_them(api: Api):
    life = await Life(api).live()
    assert (await api.client.post(f"/api/v1/contacts/{life.id}/erase")).status_code == 200
    answer = await api.stranger.get(f"{LINK}{life.own['id']}/0", headers={"user-agent": "Netscape"})
    assert (answer.status_code, answer.headers["location"]) == (302, "https://shop.test/")
    seen = await api.rows(
        "SELECT DISTINCT user_agent, ip FROM interactions WHERE tenant_id = :t AND contact_id = :c", t=api.tenant.id, c=life.number
    )
    assert seen == [(None, None)]
    signed = api.signer.parse_communication(life.own["id"])
    assert signed is not None
    assert (await api.stranger.post(f"/unsubscribe/{api.signer.unsubscribe(*signed)}")).status_code == 200
    assert await api.rows("SELECT 1 FROM suppressions WHERE tenant_id = :t", t=api.tenant.id) == []


async def test_nothing_that_was_pending_goes_out_and_who_comes_back_is_somebody_new(api: Api):
    life = await Life(api).live()
    sent = len(api.carrying.sent)
    assert (await api.client.post(f"/api/v1/contacts/{life.id}/erase")).status_code == 200
    api.at += 72 * HOUR
    await api.dispatch()
    assert len(api.carrying.sent) == sent
    assert (await api.find(life.waiting["id"]))["status"] == "CANCELLED"
    await life.answer("back again")
    (found,) = (await api.client.get("/api/v1/contacts", params={"email": EMAIL})).json()["contacts"]
    assert found["id"] != life.id


async def test_whose_contact_it_is_not_or_whose_key_may_not_gets_none_of_it(api: Api):
    life = await Life(api).live()
    rival, lesser = await api.rival(), api.client_for(await api.new_key(api.tenant, "contacts:read", "contacts:write"))
    for method, path in (("GET", "export"), ("POST", "erase")):
        assert (await rival.request(method, f"/api/v1/contacts/{life.id}/{path}")).status_code == 404
        assert (await lesser.request(method, f"/api/v1/contacts/{life.id}/{path}")).status_code == 403
    assert (await api.client.get(f"/api/v1/contacts/{life.id}")).status_code == 200


async def test_lifted_the_address_may_be_written_to_again(api: Api):
    life = await Life(api).live()
    await api.db.write(suppressions.add, api.tenant.id, "email", EMAIL, "unsubscribed", now=api.at)
    answer = await api.client.post(f"/api/v1/contacts/{life.id}/erase", params={"lift": "true"})
    assert answer.json()["suppressed"] is False
    assert await api.rows("SELECT 1 FROM suppressions WHERE tenant_id = :t", t=api.tenant.id) == []
