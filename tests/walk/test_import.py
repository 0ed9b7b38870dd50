"""A file of contacts on its way into the store: what comes in, what is refused and with which words, and what an interruption changes (nothing)."""

import asyncio
import csv
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tidings.clock import SECOND
from tidings.database import Database
from tidings.delivery import imports
from tidings.delivery.imports import run_import
from tidings.domain import contacts, jobs, lists
from tidings.domain.contacts import Contact, Cursor, Filters, Source
from tidings.domain.jobs import Job
from tidings.errors import Conflict

NOON = 1_750_248_000_000
ACME = 1
EXAMPLE = Path(__file__).parents[2] / "examples" / "contacts.csv"


class Desk:
    """Where imports are made: files are written here and taken to their end."""

    def __init__(self, db: Database, folder: Path) -> None:
        self.db, self.folder, self.now = db, folder, NOON

    def file(self, content: str | bytes) -> Path:
        path = self.folder / "contacts.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    async def begin(self, path: Path, **options: Any) -> Job:
        source = contacts.checked_source(Source(str(path), uploaded=False, **options))
        await self.db.write(contacts.begin_import, ACME, source, now=self.now)
        return await self.claim()

    async def claim(self) -> Job:
        job = await self.db.write(jobs.claim, now=self.now, lease_ms=imports.LEASE)
        assert job is not None
        return job

    async def run(self, job: Job, **more: Any) -> Job:
        await run_import(self.db, lambda: self.now, self.folder, job, more.pop("stop", asyncio.Event()), **more)
        return await self.look(job)

    async def look(self, job: Job) -> Job:
        found = await self.db.read(jobs.get, ACME, job.id)
        assert found is not None
        return found

    async def bring(self, content: str | bytes, **options: Any) -> Job:
        return await self.run(await self.begin(self.file(content), **options))

    def rejects(self, job: Job) -> list[list[str]]:
        with contacts.rejects_file(self.folder, job.id).open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            return list(csv.reader(file))[1:]

    async def everybody(self, **filters: Any) -> list[Contact]:
        return await self.db.read(contacts.after, ACME, Filters(**filters), after_id=0, limit=100_000)

    async def emails(self) -> list[str | None]:
        return [contact.email for contact in await self.everybody()]


@pytest.fixture
def desk(db: Database, tmp_path: Path) -> Desk:
    return Desk(db, tmp_path)


async def test_the_example_comes_in_whole(desk: Desk) -> None:
    seen: list[imports.Report] = []
    job = await desk.run(await desk.begin(EXAMPLE), watch=seen.append)
    assert (job.state, job.total, job.done, job.rejected) == ("done", 500, 488, 12)
    people = await desk.everybody()
    assert len(people) == 488
    assert sum(1 for contact in people if contact.phone) == 149
    assert {row[1].split()[0] for row in desk.rejects(job)} == {"email", "phone", "timezone", "locale", "neither"}
    assert seen[-1] == imports.Report(total=500, created=488, updated=0, rejected=12)
    ann = next(contact for contact in people if contact.phone == "+442079460005")
    assert (ann.first_name, ann.last_name, ann.locale) == ("Świętosława", "Żółkiewska", "pl-PL")
    again = await desk.run(await desk.begin(EXAMPLE))
    assert (again.done, len(await desk.everybody())) == (488, 488)
    assert msgspec.json.decode(again.cursor, type=Cursor).updated == 488


async def test_any_order_any_words_and_other_columns_become_attributes(desk: Desk) -> None:
    await desk.bring(
        'Stadt;"Nachname";Vorname;E-Mail;Handy\n"Köln\nMitte";Müller;Jürgen;JM@Example.com;+49 171 3920005\n;;;only@example.com;\n'
    )
    jm, only = await desk.everybody()
    assert (jm.email, jm.first_name, jm.last_name, jm.phone) == ("JM@example.com", "Jürgen", "Müller", "+491713920005")
    assert msgspec.json.decode(jm.attributes) == {"Stadt": "Köln\nMitte"}
    assert (only.email, only.first_name, only.attributes) == ("only@example.com", "", "{}")


@pytest.mark.parametrize(
    "content",
    [
        "email,name\na@example.com,Ann Bell\n",
        "email;name\na@example.com;Ann Bell\n",
        "email\tname\na@example.com\tAnn Bell",
        "\ufeffname,email\r\nAnn Bell,a@example.com\r\n",
        "name,email\rAnn Bell,a@example.com\r",
        'sep=;\r\n"email";"name"\r\n"a@example.com"; "Ann Bell"\r\n\r\n\r\n',
        "\n\nE-MAIL | Full Name\n\na@example.com|Ann Bell\n",
    ],
)
async def test_delimiters_line_ends_marks_and_blank_lines_are_found_out(desk: Desk, content: str) -> None:
    job = await desk.bring(content)
    assert (job.state, job.done, job.rejected) == ("done", 1, 0)
    (ann,) = await desk.everybody()
    assert (ann.email, ann.first_name, ann.last_name) == ("a@example.com", "Ann", "Bell")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "The file is empty."),
        (b"\xef\xbb\xbf \r\n", "The file is empty."),
        (b"PK\x03\x04\x14\x00rest", "This is a spreadsheet"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "This is an old Excel file"),
        ("email\na@example.com".encode("utf-16"), "This file is UTF-16"),
        (b"email\n\x00\x01\x02", "This is a binary file"),
        (b"a@example.com\nb@example.com\n", "The first line must name the columns"),
        (b"city,plan\nOslo,gold\n", "The first line must name the columns"),
        (b'"email\na@example.com\n', "The first line cannot be read: a quote is opened and not closed."),
    ],
)
async def test_what_is_no_csv_of_contacts_fails_with_one_sentence(desk: Desk, content: bytes, sentence: str) -> None:
    job = await desk.bring(content)
    assert (job.state, await desk.emails()) == ("failed", [])
    assert job.error is not None
    assert job.error.startswith(sentence)


async def test_bad_rows_go_to_the_rejects_with_line_and_reason(desk: Desk) -> None:
    job = await desk.bring(
        b"email,first_name,phone,note\n"
        b"good@example.com,Ann,,fine\n"
        b'bad,"Bob\nby",,x\n'
        b"a@example.com,Car\xefl,,x\n"
        b"b@example.com,Dee,123,x\n"
        b'c@example.com,"E""d" x,,x\n'
        b"d@example.com,Fay,,x,too,much\n"
        b"e@example.com," + b"y" * 300 + b",,x\n"
        b",Gus,,=cmd()\n"
        b"f@example.com,\x07bell,,x\n"
        b"late@example.com,Hal\n"
    )
    assert await desk.emails() == ["good@example.com", "late@example.com"]
    assert (job.state, job.done, job.rejected, job.total) == ("done", 2, 8, 10)
    rejects = desk.rejects(job)
    assert [row[0] for row in rejects] == ["3", "5", "6", "7", "8", "9", "10", "11"]
    reasons = [row[1] for row in rejects]
    assert reasons[0].startswith("email is not an email address: 'bad'")
    assert reasons[1].startswith("first_name cannot be read in this encoding")
    assert reasons[2].startswith("phone is not a phone number")
    assert reasons[3:6] == [
        "a quote stands where none belongs",
        "the row has 6 cells, the header 4",
        "first_name is longer than 200 characters",
    ]
    assert reasons[6] == "neither an email nor a phone is given"
    assert reasons[7] == "first_name must not contain line breaks or control characters"
    assert rejects[0][2:] == ["bad", "Bob\nby", "", "x"]
    assert rejects[6][2:] == ["", "Gus", "", "'=cmd()"]


async def test_mended_rejects_can_be_imported_as_they_are(desk: Desk) -> None:
    job = await desk.bring("email,city\nbad,Oslo\n")
    text = contacts.rejects_file(desk.folder, job.id).read_text()
    again = await desk.bring(text.replace("not an email address: 'bad'", "").replace(",bad,", ",good@example.com,"))
    (good,) = await desk.everybody()
    assert (again.done, good.email, msgspec.json.decode(good.attributes)) == (1, "good@example.com", {"city": "Oslo"})


async def test_a_stray_quote_costs_its_own_row_alone(desk: Desk) -> None:
    rows = "".join(f"c{number}@example.com,x\n" for number in range(500))
    job = await desk.bring(f'email,note\na@example.com,"never closed\n{rows}')
    assert (job.done, job.rejected) == (500, 1)
    assert desk.rejects(job)[0][:2] == ["2", "a quote is opened and not closed"]
    job = await desk.bring(f'email,note\na@example.com,"closed late\n{rows}b@example.com,"fine"\n')
    assert (job.done, job.rejected) == (501, 1)


async def test_a_cell_without_end_does_not_fill_the_memory(desk: Desk) -> None:
    job = await desk.bring("email,note\na@example.com," + "x" * 3_000_000 + "\nb@example.com,fine\n")
    assert job.state == "done"
    assert (await desk.emails())[-1] == "b@example.com"
    assert job.rejected >= 1


async def test_another_encoding_is_read_when_it_is_named(desk: Desk) -> None:
    await desk.bring("email,first_name\na@example.com,Zoë\n".encode("cp1252"), encoding="windows-1252")
    assert [contact.first_name for contact in await desk.everybody()] == ["Zoë"]


async def test_national_numbers_are_read_for_the_region_named(desk: Desk) -> None:
    job = await desk.bring("phone\n020 7946 0123\n+46 70 174 06 05\n", region="gb")
    assert (job.rejected, [contact.phone for contact in await desk.everybody()]) == (0, ["+442079460123", "+46701740605"])


async def test_empty_cells_change_nothing_and_the_same_person_twice_is_updated(desk: Desk) -> None:
    await desk.bring("email,first_name,city,email_consent\nann@example.com,Ann,Oslo,denied\n")
    desk.now += 1000
    job = await desk.bring("email,first_name,company,plan\nANN@example.com,,Bell,gold\nann@EXAMPLE.com,Anna,,\nbob@example.com,Bob,,\n")
    cursor = msgspec.json.decode(job.cursor, type=Cursor)
    assert (job.done, cursor.created, cursor.updated) == (3, 1, 2)
    ann, bob = await desk.everybody()
    assert (ann.email, ann.first_name, ann.company, ann.email_consent(), ann.created_at) == (
        "ann@example.com",
        "Anna",
        "Bell",
        "denied",
        NOON,
    )
    assert msgspec.json.decode(ann.attributes) == {"city": "Oslo", "plan": "gold"}
    assert bob.created_at == desk.now


async def test_an_export_reads_back_as_it_was(desk: Desk) -> None:
    await desk.run(await desk.begin(EXAMPLE))
    before = await desk.everybody()
    exported = contacts.csv_header() + contacts.csv_rows(before)
    for contact in before:
        await desk.db.write(contacts.delete, ACME, contact.id)
    job = await desk.bring(exported)
    assert (job.rejected, job.done) == (0, len(before))

    def said(contact: Contact) -> list[Any]:
        whole = msgspec.structs.asdict(contact) | {
            "id": 0,
            "created_at": 0,
            "updated_at": 0,
            "attributes": msgspec.json.decode(contact.attributes),
        }
        return list(whole.values())

    assert [said(contact) for contact in await desk.everybody()] == [said(contact) for contact in before]


async def test_everybody_lands_in_the_list(desk: Desk) -> None:
    group = await desk.db.write(lists.ensure, ACME, "News", now=NOON)
    await desk.bring("email\na@example.com\nbad\nb@example.com\nA@example.com\n", list_id=group.id)
    assert [contact.email for contact in await desk.everybody(list_id=group.id)] == ["a@example.com", "b@example.com"]


def file_of(rows: int) -> str:
    """Every seventh row is bad, every fifth names somebody who was named before."""
    lines = [f"bad {n},x" if n % 7 == 0 else f"c{n - 1 if n % 5 == 0 else n}@example.com,{n}" for n in range(1, rows + 1)]
    return "\n".join(["email,number", *lines]) + "\n"


async def test_an_interrupted_import_goes_on_where_it_was(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "BATCH", 10)
    path = desk.file(file_of(95))
    whole = await desk.run(await desk.begin(path))
    expected, rejects = await desk.everybody(), desk.rejects(whole)
    for contact in expected:
        await desk.db.write(contacts.delete, ACME, contact.id)

    job, stops = await desk.begin(path), 0
    while True:
        stop = asyncio.Event()
        job = await desk.run(job, stop=stop, watch=lambda report, stop=stop: stop.set())
        if job.state == "done":
            break
        assert (job.state, job.due_at) == ("waiting", desk.now)
        stops += 1
        # what a killed process has written ahead of its last commit
        with contacts.rejects_file(desk.folder, job.id).open("ab") as file:
            file.write(b"99,half a li")
        job = await desk.claim()
    assert stops >= 9
    assert (job.done, job.rejected, job.total, job.cursor) == (whole.done, whole.rejected, whole.total, whole.cursor)
    assert [contact.email for contact in await desk.everybody()] == [contact.email for contact in expected]
    assert desk.rejects(job) == rejects


async def test_who_has_lost_the_lease_stores_nothing_more(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "BATCH", 10)
    job = await desk.begin(desk.file(file_of(50)))
    desk.now += imports.LEASE
    await desk.claim()
    with pytest.raises(Conflict):
        await desk.run(job)
    assert await desk.emails() == []


async def test_an_upload_goes_away_when_it_is_in_and_one_that_is_elsewhere_is_waited_for(desk: Desk) -> None:
    folder = contacts.imports_folder(desk.folder)
    (folder / "upload-1.csv").write_text("email\na@example.com\n")
    await desk.db.write(contacts.begin_import, ACME, Source("imports/upload-1.csv", uploaded=True), now=NOON)
    job = await desk.run(await desk.claim())
    assert (job.state, (folder / "upload-1.csv").exists()) == ("done", False)
    await desk.db.write(contacts.begin_import, ACME, Source("imports/upload-2.csv", uploaded=True), now=NOON)
    for _ in range(imports.SEARCHES - 1):
        waiting = await desk.run(await desk.claim())
        assert (waiting.state, waiting.due_at) == ("waiting", desk.now + imports.PAUSE)
        desk.now += imports.PAUSE
    lost = await desk.run(await desk.claim())
    assert (lost.state, lost.error) == ("failed", "The file to import is on none of the machines that run workers.")


async def test_uploads_that_no_job_waits_for_are_swept_once_they_are_old(desk: Desk) -> None:
    folder = contacts.imports_folder(desk.folder)
    files = {name: folder / f"upload-{name}.csv" for name in ("orphaned", "waiting", "done", "young")}
    for name, file in files.items():
        file.write_text("email\na@example.com\n")
        long_ago = (desk.now - imports.ORPHANED) / SECOND - 1
        os.utime(file, (long_ago, long_ago if name != "young" else desk.now / SECOND))
    for name in ("done", "waiting"):
        await desk.db.write(contacts.begin_import, ACME, Source(f"imports/upload-{name}.csv", uploaded=True), now=NOON)
    done = await desk.claim()
    await desk.db.write(jobs.finish, done, now=desk.now)
    (folder / "job_1.rejects.csv").write_text("line,reason\n")
    assert await imports.sweep_uploads(desk.db, desk.folder, now=desk.now) == 2
    assert {name for name, file in files.items() if file.exists()} == {"waiting", "young"}
    assert (folder / "job_1.rejects.csv").exists()
