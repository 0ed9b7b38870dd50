"""A file of contacts uploaded: answered with a job, done by a worker, its rejects to be fetched."""

import asyncio
import csv
import io
from typing import Any

import pytest

from tests.api.conftest import Api
from tidings.delivery import imports
from tidings.domain import jobs

CSV = "email,first_name\nann@example.com,Ann\nbad,Bob\nzoe@example.com,Zoë\n"


async def uploaded(api: Api, content: str | bytes = CSV, **fields: str) -> Any:
    return await api.client.post("/api/v1/contacts/import", files={"file": ("people.csv", content, "text/csv")}, data=fields)


async def worked(api: Api) -> None:
    """What a worker does with the job."""
    job = await api.db.write(jobs.claim, now=api.at, lease_ms=imports.LEASE)
    assert job is not None
    await imports.run_import(api.db, api.house.clock, api.house.data_folder, job, asyncio.Event())


async def test_an_upload_becomes_a_job_that_is_polled_to_its_end(api: Api) -> None:
    answer = await uploaded(api, list="Garden")
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert (job["kind"], job["state"], job["done"], job["total"]) == ("import", "waiting", 0, 0)
    assert (await api.client.get(f"/api/v1/jobs/{job['id']}/rejects")).text == "line,reason\r\n"
    await worked(api)
    done = (await api.client.get(f"/api/v1/jobs/{job['id']}")).json()
    assert (done["state"], done["done"], done["rejected"], done["total"], done["error"]) == ("done", 2, 1, 3, None)
    assert (done["imported"], done["finished_at"]) == ({"created": 2, "updated": 0}, "2025-06-18T12:00:00Z")
    found = (await api.client.get("/api/v1/contacts?list=Garden")).json()["contacts"]
    assert [contact["first_name"] for contact in found] == ["Zoë", "Ann"]
    rejects = await api.client.get(f"/api/v1/jobs/{job['id']}/rejects")
    assert rejects.headers["content-type"] == "text/csv; charset=utf-8"
    (row,) = csv.DictReader(io.StringIO(rejects.text, newline=""))
    assert (row["line"], row["email"], row["first_name"]) == ("3", "bad", "Bob")
    assert [job["id"] for job in (await api.client.get("/api/v1/jobs?kind=import")).json()["jobs"]] == [job["id"]]
    assert not list(api.house.data_folder.glob("imports/upload-*"))


async def test_the_bare_file_is_taken_too(api: Api) -> None:
    answer = await api.client.post("/api/v1/contacts/import?list=Garden", content=CSV.encode(), headers={"content-type": "text/csv"})
    assert answer.status_code == 202, answer.text
    await worked(api)
    assert (await api.client.get("/api/v1/lists")).json()["lists"][0]["members"] == 2


@pytest.mark.parametrize(
    ("content", "fields", "wrong"),
    [
        (b"PK\x03\x04....", {}, "file"),
        (b"", {}, "file"),
        (b"just text\n", {}, "file"),
        (b"email\na@example.com", {"delimiter": "x"}, "delimiter"),
        (b"email\na@example.com", {"encoding": "utf-16"}, "encoding"),
        (b"email\na@example.com", {"region": "Italy"}, "region"),
        (b"email\na@example.com", {"list": "two\nlines"}, "list"),
    ],
)
async def test_what_cannot_be_imported_is_refused_at_once_and_not_kept(
    api: Api, content: bytes, fields: dict[str, str], wrong: str
) -> None:
    answer = await uploaded(api, content, **fields)
    assert answer.status_code == 422, answer.text
    assert list(answer.json()["errors"]) == [wrong]
    assert (await api.client.get("/api/v1/jobs")).json()["jobs"] == []
    assert not list(api.house.data_folder.glob("imports/upload-*"))


async def test_a_form_without_file_or_cut_off_is_refused(api: Api) -> None:
    form = {"content-type": "multipart/form-data; boundary=x"}
    other = b'--x\r\nContent-Disposition: form-data; name="other"\r\n\r\n1\r\n--x--\r\n'
    cut = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nemail\na@exam'
    for body, headers, statuses in ((other, form, {422}), (cut, form, {400, 422}), (b"{}", {"content-type": "application/json"}, {422})):
        answer = await api.client.post("/api/v1/contacts/import", content=body, headers=headers)
        assert answer.status_code in statuses, answer.text
        assert "error" in answer.json()
    assert not list(api.house.data_folder.glob("imports/upload-*"))


async def test_another_tenants_job_is_not_there(api: Api) -> None:
    job = (await uploaded(api)).json()
    rival = await api.rival()
    assert (await rival.get(f"/api/v1/jobs/{job['id']}")).status_code == 404
    assert (await rival.get(f"/api/v1/jobs/{job['id']}/rejects")).status_code == 404
    assert (await rival.get("/api/v1/jobs")).json()["jobs"] == []
    assert (await api.client.get("/api/v1/jobs/job_nothing")).status_code == 404


async def test_two_files_in_one_form_are_refused_and_not_run_together(api: Api) -> None:
    files = [("file", ("a.csv", CSV, "text/csv")), ("file", ("b.csv", CSV, "text/csv"))]
    answer = await api.client.post("/api/v1/contacts/import", files=files)
    assert (answer.status_code, list(answer.json()["errors"])) == (422, ["file"])
    assert not list(api.house.data_folder.glob("imports/upload-*"))


async def test_a_data_folder_that_takes_nothing_is_a_503(api: Api) -> None:
    (api.house.data_folder / "imports").write_text("a file where the folder should be")
    answer = await uploaded(api)
    assert (answer.status_code, "cannot be kept" in answer.json()["error"]) == (503, True)
