"""`tidings communications export`: what lands in the file, what is said meanwhile, and what an interruption leaves behind."""

import csv
import io
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cli.command import arguments, environment, tidings
from tidings.database.sqlite import connect


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the tenants `acme`, who has written to two people, and `rival`."""
    folder = tmp_path_factory.mktemp("export") / "home"
    for words in (
        ["tenants", "create", "acme", "--sender", "hello@acme.example"],
        ["tenants", "create", "rival", "--sender", "hello@rival.example"],
        ["send", "--tenant", "acme", "--to", "ann@example.org", "--subject", "Spring offer", "--body", "=1+1"],
        ["send", "--tenant", "acme", "--to", "bob@example.org", "--subject", "Your invoice", "--body", "Grüße"],
    ):
        made = tidings(folder, *words)
        assert made.returncode == 0, made.stderr
    return folder


def export(home: Path, *words: str, tenant: str = "acme") -> subprocess.CompletedProcess[str]:
    return tidings(home, "communications", "export", "--tenant", tenant, *words)


def records(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def test_everything_goes_to_standard_output_and_what_is_said_of_it_to_the_other(home: Path):
    ended = export(home)
    assert (ended.returncode, ended.stderr) == (0, "Exported 2 communications.\n")
    rows = records(ended.stdout)
    assert [row["subject"] for row in rows] == ["Your invoice", "Spring offer"]
    assert len(rows[0]) == 37


def test_a_file_is_written_whole(home: Path, tmp_path: Path):
    file = tmp_path / "all.csv"
    file.write_text("before")
    assert export(home, "--output", str(file)).returncode == 0
    content = file.read_bytes()
    assert content.startswith(b"bcc,body,")
    assert {row["recipients"] for row in records(content.decode("utf-8"))} == {"ann@example.org", "bob@example.org"}
    assert "Grüße" in content.decode("utf-8")
    assert list(tmp_path.iterdir()) == [file]


def test_searches_filters_and_an_order_narrow_it_down(home: Path):
    assert [row["subject"] for row in records(export(home, "--sort", "subject").stdout)] == ["Spring offer", "Your invoice"]
    assert [row["subject"] for row in records(export(home, "--search", "subject:OFFER").stdout)] == ["Spring offer"]
    both = export(home, "--search", "subject:offer", "--search", "subject:invoice", "--filter", "status:PENDING", "--sort", "subject:desc")
    assert [row["subject"] for row in records(both.stdout)] == ["Your invoice", "Spring offer"]
    assert records(export(home, "--filter", "status:SENT").stdout) == []
    assert export(home, tenant="rival").stdout.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--filter", "nothing:1"], "nothing"),
        (["--filter", "status"], "filters"),
        (["--search", "nothing:x"], "nothing"),
        (["--sort", "nothing"], "nothing"),
    ],
)
def test_what_cannot_be_asked_is_said_in_a_sentence_and_nothing_is_written(home: Path, tmp_path: Path, words: list[str], complaint: str):
    ended = export(home, *words, "--output", str(tmp_path / "out.csv"))
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (1, "", 1)
    assert complaint in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_tenant_and_a_folder_that_is_not_there_are_failures_and_no_tenant_is_wrong_usage(home: Path, tmp_path: Path):
    nobody = export(home, tenant="nobody")
    assert (nobody.returncode, nobody.stdout) == (1, "")
    assert nobody.stderr.startswith("There is no tenant 'nobody'")
    nowhere = export(home, "--output", str(tmp_path / "none" / "out.csv"))
    assert (nowhere.returncode, nowhere.stderr.count("\n")) == (1, 1)
    assert "No such file or directory" in nowhere.stderr
    assert tidings(home, "communications", "export").returncode == 2
    assert tidings(home, "communications").returncode == 2


@pytest.fixture
def large(home: Path) -> Path:
    """The same folder, where a third tenant has twenty-five thousand of them."""
    connection = connect(str(home / "tidings.db"))
    (copied, contact, content) = connection.execute(
        "SELECT tenant_id, contact_id, content_id FROM communications WHERE address = 'ann@example.org'"
    ).fetchone()
    connection.execute(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 25000)"
        " INSERT INTO communications (tenant_id, channel, state, lane, contact_id, content_id, type, address, track_opens, track_links, created_at,"
        " updated_at) SELECT ?, 'email', 'failed', 0, ?, ?, 'BULK', 'ann@example.org', 0, 0, 1, 1 FROM n",
        (copied, contact, content),
    )
    connection.execute(
        "INSERT INTO counters (tenant_id, hour, channel, type, template_id, campaign_id, message_id, slot, accepted, failed)"
        " VALUES (?, 0, 'email', 'BULK', 0, 0, 0, 1, 25000, 25000)",
        (copied,),
    )
    connection.close()
    return home


def test_a_long_one_says_now_and_then_how_far_it_is_and_leaves_nothing_when_interrupted(large: Path, tmp_path: Path):
    file = tmp_path / "long.csv"
    words = arguments("communications", "export", "--tenant", "acme", "--filter", "type:BULK", "--output", str(file))
    with subprocess.Popen(words, env=environment(large), cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "10,000 of 25,000 communications written\n"
        assert list(tmp_path.iterdir()) == [tmp_path / "long.csv.part"]
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
        assert process.wait(60) == 1
    assert said.splitlines()[-1].startswith("Interrupted after 1")
    assert said.splitlines()[-1].endswith(f" communications; {file} was left as it was.")
    assert list(tmp_path.iterdir()) == []
