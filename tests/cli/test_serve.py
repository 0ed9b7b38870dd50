"""The server as a process: starting, keeping others out, sending, stopping."""

import json
import signal
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import Running, running, tidings

LISTENS = r"Tidings listens on (http://\S+)"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("serve") / "home"
    made = tidings(folder, "tenants", "create", "acme", "--sender", "hello@acme.example")
    assert made.returncode == 0, made.stderr
    return folder


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[tuple[Running, str]]:
    """`tidings serve` on a free port, and its URL."""
    with running(home, "serve", "--port", "0") as process:
        yield process, process.until(LISTENS).group(1)


def test_it_answers_where_it_says_it_listens(server: tuple[Running, str]):
    with urllib.request.urlopen(f"{server[1]}/healthz", timeout=10) as answer:
        assert answer.status == 200


def test_a_message_from_the_shell_goes_out_and_its_outcome_is_waited_for(home: Path, server: tuple[Running, str]):
    words = [
        "send",
        "--tenant",
        "acme",
        "--to",
        "ann@example.org",
        "--subject",
        "Hello",
        "--body",
        "Hello {{ first_name }}",
        "--wait",
        "--json",
    ]
    sent = tidings(home, *words)
    assert sent.returncode == 0, sent.stderr
    assert [(message["to"], message["state"]) for message in json.loads(sent.stdout)] == [("ann@example.org", "sent")]


def test_a_message_that_fails_ends_the_command_with_one_and_the_reason(home: Path, server: tuple[Running, str]):
    sent = tidings(home, "send", "--tenant", "acme", "--to", "bounce@sandbox.test", "--subject", "Hello", "--body", "Hello", "--wait")
    assert sent.returncode == 1
    assert "is failed: 550 5.1.1" in sent.stdout


def test_a_second_server_on_the_same_data_is_refused(home: Path, server: tuple[Running, str]):
    second = tidings(home, "serve", "--port", "0")
    assert second.returncode == 1
    assert second.stderr == (
        f"A Tidings server (process {server[0].process.pid}) works on {home} already: stop it, or name another data folder with --home.\n"
    )


def test_a_port_that_is_taken_is_refused_in_one_sentence(tmp_path: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = tidings(tmp_path / "home", "serve", "--port", str(port))
    assert refused.returncode == 1
    assert refused.stderr == f"Cannot listen on 127.0.0.1:{port}: Address already in use\n"


def test_a_mail_server_that_makes_no_sense_is_refused_before_anything_starts(tmp_path: Path):
    refused = tidings(tmp_path / "home", "serve", "--port", "0", settings={"TIDINGS_SMTP_URL": "smtp://user@host"})
    assert refused.returncode == 1
    assert refused.stderr.startswith("the SMTP address needs both a user name and a password")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_gracefully_when_asked(number: int, tmp_path: Path):
    with running(tmp_path / "home", "serve", "--port", "0") as process:
        process.until(LISTENS)
        assert process.end(number) == 0
        assert process.seen[-2:] == ["Stopping: finishing what is in flight (once more to end at once).", "Stopped."]


def test_killed_it_leaves_no_lock_behind(tmp_path: Path):
    home = tmp_path / "home"
    with running(home, "serve", "--port", "0") as process:
        process.until(LISTENS)
        assert process.end(signal.SIGKILL) == -signal.SIGKILL
    with running(home, "serve", "--port", "0") as process:
        process.until(LISTENS)
        assert process.end() == 0


def test_on_postgresql_the_halves_work_apart_and_together(postgres_url: str, tmp_path: Path):
    home, settings = tmp_path / "home", {"TIDINGS_DATABASE_URL": postgres_url}
    assert tidings(home, "tenants", "create", "acme", "--sender", "hello@acme.example", settings=settings).returncode == 0
    with running(home, "api", "--port", "0", settings=settings) as api, running(home, "worker", settings=settings) as worker:
        api.until(LISTENS)
        words = ["send", "--tenant", "acme", "--to", "ann@example.org", "--subject", "Hello", "--body", "Hello", "--wait"]
        sent = tidings(home, *words, settings=settings)
        assert sent.returncode == 0, sent.stderr
        assert "ann@example.org is sent" in sent.stdout
        assert (api.end(), worker.end()) == (0, 0)
