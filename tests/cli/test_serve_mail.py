"""Mail into a server that runs as a process: it listens where it is told, and says in a sentence why it cannot."""

import smtplib
import socket
import sqlite3
from pathlib import Path

from tests.cli.command import running, tidings
from tests.support.mail import free_port


def test_mail_handed_in_is_in_the_database_when_it_is_answered(tmp_path: Path):
    home, port = tmp_path / "home", free_port()
    settings = {"TIDINGS_INBOUND_LISTEN": f"lmtp://127.0.0.1:{port}"}
    assert tidings(home, "tenants", "create", "acme", "--sender", "hello@acme.example").returncode == 0
    assert tidings(home, "inboxes", "add", "all", "--tenant", "acme", "--kind", "address", "--address", "acme.example").returncode == 0
    with running(home, "serve", "--port", "0", settings=settings) as server:
        server.until(r"mail is taken")
        with smtplib.LMTP("127.0.0.1", port) as client:
            client.ehlo_or_helo_if_needed()
            client.sendmail("ann@reader.test", ["desk@acme.example"], "From: ann@reader.test\r\nSubject: Hello\r\n\r\nHello\r\n")
            with sqlite3.connect(f"file:{home / 'tidings.db'}?mode=ro", uri=True) as database:
                assert database.execute("SELECT subject FROM inbound_messages").fetchall() == [("Hello",)]
            database.close()


def test_a_place_that_is_taken_ends_it_with_a_sentence(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        place = f"lmtp://127.0.0.1:{other.getsockname()[1]}"
        ended = tidings(tmp_path / "home", "serve", "--port", "0", settings={"TIDINGS_INBOUND_LISTEN": place})
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == f"Mail cannot be taken on {place}: address already in use."


def test_a_place_that_makes_no_sense_ends_it_too(tmp_path: Path):
    for place, complaint in (("imap://x", "TIDINGS_INBOUND_LISTEN must begin with"), ("lmtp://x", "must be lmtp://host:port")):
        ended = tidings(tmp_path / "home", "serve", "--port", "0", settings={"TIDINGS_INBOUND_LISTEN": place})
        assert ended.returncode == 1
        assert complaint in ended.stderr
