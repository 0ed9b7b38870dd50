"""`tidings webhooks`: a secret is shown once, a test says what came back, and what failed is told again."""

import http.server
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import audited, tidings

OPEN = {"TIDINGS_WEBHOOKS_ALLOW_PRIVATE": "true"}


class Taking(http.server.BaseHTTPRequestHandler):
    """Takes what is posted; `status` says how."""

    status = 200

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(b"thanks")

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def url() -> Iterator[str]:
    with http.server.HTTPServer(("127.0.0.1", 0), Taking) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/hook"
        server.shutdown()
        thread.join()


def test_a_webhook_is_made_tried_looked_at_and_removed(tmp_path: Path, url: str):
    home = tmp_path / "var"
    assert tidings(home, "tenants", "create", "acme", "--sender", "hello@acme.example").returncode == 0

    def said(*words: str, stdin: str = "", **settings: str) -> str:
        ended = tidings(home, "webhooks", *words, "--tenant", "acme", settings=OPEN | settings, stdin=stdin)
        return ended.stdout.strip() if ended.returncode == 0 else f"! {(ended.stdout or ended.stderr).strip()}"

    refused = said("create", url, TIDINGS_WEBHOOKS_ALLOW_PRIVATE="false")
    assert refused == "! url must not lead to 127.0.0.1: webhooks are sent to public addresses alone"
    assert said("create", url, "--event", "communication.read").startswith(
        "! events has no communication.read; there are communication.sent,"
    )
    everlytic = ("create", url, "--style", "everlytic")
    assert said(*everlytic, "--channel", "email") == "! filters.channel must be sms: the style everlytic tells of texts alone"
    assert said(*everlytic, "--event", "communication.opened").startswith(
        "! events must not have opened: the style everlytic tells of sent,"
    )
    shown = said("create", url, "--event", "communication.sent", "--name", "Shop", "--user", "us", stdin="hush hush\n")
    made = re.fullmatch(r"webhook  (hook_\w{18})\nsecret   whsec_\S{44}\n\nKeep it now: it is not shown again\.", shown)
    assert made, shown
    (row,) = json.loads(said("list", "--json"))
    assert (row["id"], row["name"], row["url"], row["events"]) == (made[1], "Shop", url, ["communication.sent"])
    assert "communication.sent" in said("list")
    assert re.fullmatch(r"200 in \d+ ms: thanks", said("test", made[1]))
    Taking.status = 500
    assert re.fullmatch(r"! 500 in \d+ ms: thanks", said("test", made[1]))
    Taking.status = 200
    assert [entry["state"] for entry in json.loads(said("log", made[1], "--json"))] == ["failed", "delivered"]
    assert "The answer was 500" in said("log", made[1], "--state", "failed")
    assert said("rotate", made[1]).startswith("secret   whsec_")
    assert said("disable", made[1]) == "Switched off."
    assert said("replay", made[1]) == "! This webhook is switched off: switch it on first"
    assert "off: Switched off by its owner" in said("list")
    assert said("enable", made[1]) == "Switched on. What has failed meanwhile can be replayed."
    assert said("replay", made[1], "--since", "2025-01-01", "--event", "communication.sent") == "0 are due again."
    assert said("remove", made[1]) == "Removed."
    assert said("test", made[1]) == "! Webhook not found"
    assert said("remove", "hook_nothing") == "! There is no webhook hook_nothing."
    assert audited(home) == [
        ("Make a tenant", "tenant"),
        ("Set up a webhook", "webhook"),
        ("Test a webhook", "webhook"),
        ("Test a webhook", "webhook"),
        ("Rotate a webhook's secret", "webhook"),
        ("Switch a webhook off", "webhook"),
        ("Switch a webhook on", "webhook"),
        ("Replay deliveries of a webhook", "webhook"),
        ("Remove a webhook", "webhook"),
    ]
