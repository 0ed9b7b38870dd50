"""The contract's page taken at its word: its own command lines, run by curl against a real server, and its answers compared key by key."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import msgspec
import pytest

from tests.contracts.alpha.page import ERROR, HOST, LINES, differences
from tests.support import missing, replies
from tests.support.api import Api
from tests.support.served import serving
from tidings import ids
from tidings.api.alpha import portions
from tidings.clock import HOUR

BELOW = "/api/v1/communications/"
NULLABLE = frozenset(
    """authorId clickedAt createdBy errorMessage graphMessageId inReplyTo internetMessageId messageId openedAt parentCommunicationId providerType
    recipientListId relatedEntityId relatedEntityType replyTo scheduledAt sentAt templateId templateName updatedBy""".split()
)
"""Keys of what may not have happened, or may not have been said."""
COMMANDS = {line.name: line.command for line in LINES}
SHAPES = {line.name: line.shape for line in LINES}


class Answer(NamedTuple):
    """What curl got."""

    status: int
    kind: str
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Shell:
    """Runs the page's commands, with the host and the key of a running house."""

    def __init__(self, api: Api, url: str) -> None:
        self.api, self.url = api, url

    async def run(self, command: str) -> Answer:
        """A command line as it stands, but for the host, the key, and that curl shall tell the status."""
        told = f"curl -sS -H 'Authorization: Bearer {self.api.key.token}' -w '\\n%{{http_code}} %{{content_type}}' "
        line = command.replace(HOST, self.url).replace("curl ", told, 1)
        process = await asyncio.create_subprocess_exec("sh", "-c", line, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
        out, error = await process.communicate()
        assert process.returncode == 0, error.decode()
        body, _, last = out.rpartition(b"\n")
        status, _, kind = last.decode().partition(" ")
        return Answer(int(status), kind, body)

    async def rows(self) -> Any:
        return await self.api.rows("SELECT COUNT(*) FROM communications WHERE tenant_id = :t", t=self.api.tenant.id)


@pytest.fixture
async def shell(api: Api) -> AsyncIterator[Shell]:
    if shutil.which("curl") is None:
        missing("curl is not installed (Debian: apt-get install curl)")
    async with serving(api) as served:
        yield Shell(api, served.url)


class Lived:
    """A house in which something has happened: the ids that a command needs in place of the page's `string`."""

    def __init__(self, api: Api) -> None:
        self.api = api

    async def live(self) -> None:
        api = self.api
        template = await self._made("/api/v1/templates", name="Offer", channel="email", subject="Offer", body=self.body)
        self.template = template["id"]
        member = await self._made("/api/v1/contacts", email="bob@example.test")
        everybody = await self._made("/api/v1/lists", name="Everybody")
        await self._made(f"/api/v1/lists/{everybody['id']}/contacts", contact_ids=[member["id"]])
        rich = {
            "recipients": ["ann@example.test"],
            "cc": ["cc@example.test"],
            "bcc": ["bcc@example.test"],
            "replyTo": "desk@acme.test",
            "relatedEntityType": "string",
            "relatedEntityId": "string",
            "recipientListId": everybody["id"],
            "conversationId": "deal-7",
            "variables": {"name": "Ann"},
        }
        sent = await self._made(f"{BELOW}send-template/{self.template}", **rich)
        self.sent = sent["id"]
        self.waiting = (await self._later("bob@example.test"))["id"]
        await api.dispatch()
        await api.stranger.get(f"{BELOW}track/{self.sent}")
        await api.stranger.get(f"{BELOW}link/{self.sent}/0")
        await api.client.post(f"{BELOW}{self.sent}/comment", content="called back")
        await self._answered(sent["conversationId"])

    body = '<p>Hi {{ name }}</p><a href="https://shop.test/">shop</a>'

    async def _made(self, path: str, **fields: Any) -> dict[str, Any]:
        answer = await self.api.client.post(path, json=fields)
        assert answer.is_success, answer.text
        return answer.json()

    async def _later(self, recipient: str) -> dict[str, Any]:
        return await self._made(f"{BELOW}schedule", body="x", subject="x", recipients=[recipient], scheduledAt="2025-06-19T12:00:00Z")

    async def _answered(self, conversation: str) -> None:
        sql = "SELECT id, conversation_id FROM communications WHERE tenant_id = :t ORDER BY id LIMIT 1"
        communication_id, conversation_id = (await self.api.rows(sql, t=self.api.tenant.id))[0]
        self.api.at += HOUR
        await replies.receive(
            self.api.db,
            self.api.tenant.id,
            conversation_id,
            now=self.api.at,
            communication_id=communication_id,
            sender_name="Ann",
            subject="Re: Offer",
            html="<p>Yes, please</p>",
        )


@pytest.fixture
async def lived(api: Api) -> Lived:
    house = Lived(api)
    await house.live()
    return house


AS_THEY_STAND = {
    "analytics": (200, ""),
    "by-entity": (200, ""),
    "csv-export": (200, ""),
    "delete-list": (204, ""),
    "search": (200, ""),
    "search by POST": (400, "property1"),
    "find": (200, ""),
    "find-all": (200, ""),
    "find-list": (200, ""),
    "find by id": (404, "Not found"),
    "link": (404, "Not found"),
    "page": (200, ""),
    "schedule": (400, "scheduledAt must be in the future"),
    "scheduled": (200, ""),
    "send": (400, "recipients[0] is not an email address: 'string'"),
    "send-template": (404, "Template not found"),
    "track": (404, "Not found"),
    "delete": (404, "Not found"),
    "cancel": (404, "Not found"),
    "comment": (404, "Not found"),
    "resend": (404, "Not found"),
    "thread": (404, "Not found"),
}
"""What each line gets where nothing is called `string`, and words of the refusal."""


def test_there_are_twenty_two_operations():
    assert len(LINES) == len(COMMANDS) == 22
    assert AS_THEY_STAND.keys() == COMMANDS.keys()


async def test_each_line_as_it_stands_is_granted_or_refused_in_the_contracts_words(shell: Shell):
    for line in LINES:
        status, words = AS_THEY_STAND[line.name]
        answer = await shell.run(line.command)
        assert answer.status == status, (line.name, answer)
        if status >= 400:
            assert differences(answer.json, ERROR) == []
            assert words in answer.json["detail"], line.name
        elif line.shape is not None:
            assert differences(answer.json, line.shape, nullable=NULLABLE) == [], line.name
    assert await shell.rows() == [(0,)]


async def test_each_line_with_the_names_of_what_is_there_is_granted_in_the_pages_shape(shell: Shell, lived: Lived):
    for name, command in with_names(lived).items():
        answer = await shell.run(command)
        assert answer.status == (302 if name == "link" else 204 if name.startswith("delete") else 200), (name, answer)
        if SHAPES[name] is not None:
            assert differences(answer.json, SHAPES[name], nullable=NULLABLE) == [], name
        elif name == "track":
            assert (answer.kind, answer.body[:6]) == ("image/gif", b"GIF89a")
        else:
            assert answer.body == b""


def with_names(lived: Lived) -> dict[str, str]:
    """The lines with real names in place of the page's; in an order in which each finds what it needs."""
    commands = dict(COMMANDS)
    for name in ("find by id", "link", "track", "comment", "resend", "thread"):
        commands[name] = commands[name].replace("/string", f"/{lived.sent}")
    commands["cancel"] = commands["cancel"].replace("/string", f"/{lived.waiting}")
    commands["send-template"] = commands["send-template"].replace("send-template/string", f"send-template/{lived.template}")
    for name in ("send", "send-template", "schedule"):
        commands[name] = commands[name].replace('[ "string" ]', '[ "ann@example.test" ]')
    commands["schedule"] = commands["schedule"].replace("2019-08-24", "2026-08-24")
    commands["search by POST"] = (
        commands["search by POST"]
        .replace('"property1": null, "property2": null', '"relatedEntityId": "string"')
        .replace('"search": [ "string" ]', '"search": [ "subject:offer" ]')
        .replace('"field": "string"', '"field": "created"')
    )
    for name in ("find", "find-list"):
        commands[name] = commands[name][:-1] + f'?ids={lived.sent}"'
    last = ("delete", "delete-list")
    commands["delete"] = commands["delete"].replace("/string", f"/{lived.waiting}")
    commands["delete-list"] = commands["delete-list"].replace("=string", f"={lived.sent}")
    return {name: command for name, command in commands.items() if name not in last} | {name: commands[name] for name in last}


async def test_every_list_of_the_pages_answers_has_something_in_it_here(shell: Shell, lived: Lived):
    """Or the comparison above would not have seen what is inside."""
    record = (await shell.run(with_names(lived)["find by id"])).json
    assert all(record[name] for name in ("bcc", "cc", "clickedLinks", "events", "recipients", "variables", "openedAt", "templateName"))
    thread = (await shell.run(with_names(lived)["thread"])).json
    assert [len(thread[name]) > 0 for name in ("inbound", "outbound")] == [True, True]
    items = (await shell.run(COMMANDS["by-entity"])).json
    assert {item["direction"] for item in items} == {"INBOUND", "OUTBOUND"}
    figures = (await shell.run(COMMANDS["analytics"])).json
    assert all(figures[name] for name in ("byTemplate", "byType", "sendVolumeByDay"))
    for name in ("search", "search by POST", "page"):
        assert (await shell.run(with_names(lived)[name])).json["content"], name


async def test_the_pages_comment_is_taken_as_the_raw_text_it_is(shell: Shell, lived: Lived):
    await shell.run(with_names(lived)["comment"])
    event = (await shell.run(with_names(lived)["find by id"])).json["events"][-1]
    assert (event["type"], event["description"], event["authorId"]) == ("COMMENT", "string", "test")


async def test_the_pages_mail_goes_out(shell: Shell, lived: Lived):
    answer = await shell.run(with_names(lived)["send"])
    assert not answer.json["id"].isdigit()
    assert ids.parse("template", lived.template) is not None
    sealed = await lived.api.dispatch()
    assert [mail.recipients for mail in sealed if hasattr(mail, "recipients")] == [("ann@example.test",)]


async def test_a_page_of_large_mails_is_written_piece_by_piece_and_reads_the_same(api: Api, monkeypatch: pytest.MonkeyPatch):
    for number in range(5):
        await api.send(subject=f"Offer {number}", body=f"<p>{'word ' * 400 * number}</p>")
    asked = {"pageSize": 4, "pageNumber": 0, "sortBy": "created"}
    whole = await api.client.get("/api/v1/communications/page", params=asked)
    monkeypatch.setattr(portions, "BYTES_AT_ONCE", 9_000)
    pieces = await api.client.get("/api/v1/communications/page", params=asked)
    assert "content-length" not in pieces.headers
    assert pieces.text == whole.text
    everything = (await api.client.get("/api/v1/communications/find-all")).json()
    assert [record["subject"] for record in everything] == [f"Offer {number}" for number in (4, 3, 2, 1, 0)]
    sheet = (await api.client.get("/api/v1/communications/csv-export", headers={"accept": "text/csv"})).text
    assert [sheet.count(f"Offer {number}") for number in range(5)] == [1] * 5
