"""Every refusal of the alpha contract: what was asked, the status, and words of the sentence that says why."""

import json
from typing import Any, NamedTuple

import httpx2
import pytest

from tests.contracts.alpha.page import ERROR, differences
from tests.support.api import NOON, Api
from tidings import ids
from tidings.api import alpha
from tidings.domain import lists, templates
from tidings.rendering.template import content_hash, prepare

BELOW = "/api/v1/communications/"
MAIL = {"body": "<p>Hello</p>", "subject": "Hello", "recipients": ["ann@example.test"]}
LATER = {"scheduledAt": "2025-06-20T12:00:00Z"}
TO = {"recipients": ["ann@example.test"]}
JSON = {"content-type": "application/json"}
LARGE = b'"' + b"x" * (50 * 1024 * 1024)


class Refused(NamedTuple):
    """One request and what it gets: `path` may hold {names} of what is there, `body` is JSON unless it is bytes."""

    operation: str
    path: str
    status: int
    words: str
    body: Any = None


def refused(operation: str, path: str, status: int, *cases: tuple[Any, str]) -> list[Refused]:
    """Several bodies of one operation."""
    return [Refused(operation, path, status, words, body) for body, words in cases]


def asked(operation: str, path: str, status: int, *cases: tuple[str, str]) -> list[Refused]:
    """Several queries of one operation."""
    return [Refused(operation, f"{path}?{query}", status, words) for query, words in cases]


NOT_JSON: list[tuple[Any, str]] = [
    (b"", "The request body is empty"),
    (b"{", "not valid JSON"),
    (b"recipients=ann", "not valid JSON"),
    (b'{"body": "\xff"}', "not UTF-8"),
    (b"[" * 100_000, "nested too deeply"),
    (b"[]", "must be a JSON object"),
    (b'"text"', "must be a JSON object"),
    (b"null", "must be a JSON object"),
]
WRONG_FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"recipients": []}, "recipients must name at least one address"),
    ({"recipients": "ann@example.test"}, "recipients must be a list, not text"),
    ({"recipients": None}, "recipients must be a list"),
    ({"recipients": ["Ann\r\nBcc: x <ann@example.test>"]}, "recipients[0] is not an email address"),
    ({"type": "1A"}, "type must be upper-case letters"),
    ({"conversationId": "a\0b"}, "conversationId must not contain a NUL character"),
    ({"recipients": [1]}, "recipients must be text, not a whole number (at [0])"),
    ({"recipients": ["ann@example.test", "nobody"]}, "recipients[1] is not an email address: 'nobody'"),
    ({"recipients": ["ann@example.test\r\nBcc: eve@example.test"]}, "recipients[0] is not an email address"),
    ({"recipients": ["a\0@example.test"]}, "recipients must not contain a NUL character"),
    ({"recipients": [f"r{number}@example.test" for number in range(1001)]}, "recipients are more than 1000"),
    ({"cc": ["bad@"]}, "cc[0] is not an email address"),
    ({"cc": {}}, "cc must be a list"),
    ({"bcc": ["ok@example.test", "@bad"]}, "bcc[1] is not an email address"),
    ({"replyTo": "x"}, "replyTo is not an email address"),
    ({"senderEmail": "nobody"}, "senderEmail is not an email address"),
    ({"senderEmail": "boss@elsewhere.test"}, "senderEmail"),
    ({"senderName": "A\r\nBcc: eve@example.test"}, "senderName must not contain line breaks"),
    ({"subject": "Hello\r\nBcc: eve@example.test"}, "subject must not contain line breaks"),
    ({"subject": "x" * 999}, "subject is longer than 998 characters"),
    ({"type": "lower"}, "type must be upper-case letters"),
    ({"relatedEntityId": "x" * 201}, "relatedEntityId is longer than 200 characters"),
    ({"relatedEntityType": "a\nb"}, "relatedEntityType must not contain line breaks"),
    ({"conversationId": "a\nb"}, "conversationId must not contain line breaks"),
    ({"variables": []}, "variables must be"),
    ({"variables": {"n": 2**64}}, "is a number beyond 64 bits"),
    ({"trackingEnabled": "yes"}, "trackingEnabled must be true or false"),
    ({"linkTrackingEnabled": 1}, "linkTrackingEnabled must be true or false"),
    ({"attachments": "x"}, "attachments must be a list"),
    ({"attachments": [{"filename": "a.txt"}]}, "content"),
    ({"attachments": [{"filename": "a.txt", "content": "?"}]}, "attachments[0].content is not base64"),
    ({"attachments": [{"filename": "a\r\nb", "content": ""}]}, "attachments[0].filename must not contain line breaks"),
    ({"recipientListId": "{empty_list}", "recipients": []}, "recipientListId names a list without anybody to write to"),
]
OWN_WORDS: list[tuple[dict[str, Any], str]] = [
    ({"body": " "}, "body must not be empty"),
    ({"body": 5}, "body must be text, not a whole number"),
    ({"subject": ""}, "subject must not be empty"),
    ({"body": "{% for %}", "variables": {}}, "body"),
]
TIMES: list[tuple[str, str]] = [
    ("2019-08-24T14:15:22Z", "scheduledAt must be in the future"),
    ("2025-06-18T12:00:00Z", "scheduledAt must be in the future"),
    ("9999-12-31T23:59:59Z", "no more than five years ahead"),
    ("2025-06-19T12:00:00", "scheduledAt needs a zone"),
    ("tomorrow", "scheduledAt must be a date and time"),
    ("2025-02-30T12:00:00Z", "scheduledAt must be a date and time"),
]
UNKNOWN = ["string", "1", "{other}", "%00", "a" * 300]

TABLE: list[Refused] = [
    *refused("POST send", "send", 400, *NOT_JSON, ({}, "body is required; recipients is required; subject is required")),
    *refused("POST send", "send", 400, *[(MAIL | wrong, words) for wrong, words in [*OWN_WORDS, *WRONG_FIELDS]]),
    *refused(
        "POST send",
        "send",
        404,
        (MAIL | {"templateId": "x"}, "Template not found"),
        (MAIL | {"templateId": "{other}"}, "Template not found"),
    ),
    *refused("POST send", "send", 404, (MAIL | {"recipientListId": "x"}, "Recipient list not found")),
    *refused("POST send", "send", 404, (MAIL | {"conversationId": "conv_x"}, "Conversation not found")),
    *refused("POST send", "send", 413, (LARGE, "larger than 48 MiB")),
    *refused(
        "POST schedule",
        "schedule",
        400,
        *NOT_JSON,
        ({}, "body is required; recipients is required; subject is required; scheduledAt is required"),
    ),
    *refused("POST schedule", "schedule", 400, *[(MAIL | LATER | wrong, words) for wrong, words in [*OWN_WORDS, *WRONG_FIELDS]]),
    *refused("POST schedule", "schedule", 400, *[(MAIL | {"scheduledAt": at}, words) for at, words in TIMES]),
    *refused(
        "POST schedule",
        "schedule",
        400,
        (MAIL | {"scheduledAt": None}, "scheduledAt must be text"),
        (MAIL | {"scheduledAt": " "}, "scheduledAt must not be empty"),
    ),
    *refused(
        "POST schedule",
        "schedule",
        404,
        (MAIL | LATER | {"templateId": "x"}, "Template not found"),
        (MAIL | LATER | {"recipientListId": "x"}, "Recipient list not found"),
    ),
    *refused("POST schedule", "schedule", 413, (LARGE, "larger than 48 MiB")),
    *refused("POST send-template/{templateId}", "send-template/{template}", 400, *NOT_JSON, ({}, "recipients is required")),
    *refused("POST send-template/{templateId}", "send-template/{template}", 400, *[(TO | wrong, words) for wrong, words in WRONG_FIELDS]),
    *refused(
        "POST send-template/{templateId}", "send-template/{template}", 400, *[(TO | {"scheduledAt": at}, words) for at, words in TIMES]
    ),
    *refused(
        "POST send-template/{templateId}",
        "send-template/{needy}",
        400,
        (TO, "variables lack name"),
        (TO | {"variables": {"place": "x"}}, "variables lack name"),
    ),
    *refused("POST send-template/{templateId}", "send-template/{sms}", 400, (TO, "This template is for text messages, not for mail")),
    *[Refused("POST send-template/{templateId}", f"send-template/{name}", 404, "Template not found", TO) for name in UNKNOWN],
    *refused(
        "POST send-template/{templateId}", "send-template/{template}", 404, (TO | {"recipientListId": "x"}, "Recipient list not found")
    ),
    *refused("POST send-template/{templateId}", "send-template/{template}", 413, (LARGE, "larger than 48 MiB")),
    *[Refused("GET find/{id}", f"find/{name}", 404, "Not found") for name in UNKNOWN],
    *[Refused("GET {id}/thread", f"{name}/thread", 404, "Not found") for name in UNKNOWN],
    *[Refused("GET {id}/attachments", f"{name}/attachments", 404, "Not found") for name in UNKNOWN],
    *[Refused("GET {id}/attachments/{attachmentId}", f"{{sent}}/attachments/{name}", 404, "Not found") for name in UNKNOWN],
    *[Refused("POST {id}/cancel", f"{name}/cancel", 404, "Not found") for name in UNKNOWN],
    *[
        Refused("POST {id}/cancel", f"{{{name}}}/cancel", 409, words)
        for name, words in (("sent", "It has been sent"), ("canceled", "canceled"), ("claimed", "It is being sent"))
    ],
    *[Refused("POST {id}/resend", f"{name}/resend", 404, "Not found") for name in UNKNOWN],
    *[
        Refused("POST {id}/resend", f"{{{name}}}/resend", 409, words)
        for name, words in (("waiting", "has not gone out yet"), ("canceled", "canceled"), ("claimed", "It is being sent"))
    ],
    *[Refused("POST {id}/comment", f"{name}/comment", 404, "Not found", b"x") for name in UNKNOWN],
    *refused(
        "POST {id}/comment",
        "{sent}/comment",
        400,
        (b"", "The comment must not be empty"),
        (b' " " ', "The comment must not be empty"),
        (b"a\0b", "NUL"),
    ),
    *refused(
        "POST {id}/comment", "{sent}/comment", 400, (b"\xff", "The comment is not UTF-8"), (b"x" * 20_001, "longer than 20000 characters")
    ),
    *refused("POST {id}/comment", "{sent}/comment", 413, (b"x" * (10 * 1024 * 1024 + 1), "larger than 10 MiB")),
    *[Refused("DELETE {id}", name, 404, "Not found") for name in UNKNOWN],
    *asked(
        "DELETE delete-list",
        "delete-list",
        400,
        ("", "ids is required"),
        ("ids=", "ids is required"),
        ("ids=a%00b", "ids must not contain a NUL character"),
    ),
    *asked("GET find", "find", 400, ("ids=a%00b", "ids must not contain a NUL character")),
    *asked("GET find-list", "find-list", 400, ("ids=a%00b", "ids must not contain a NUL character")),
    *asked(
        "GET by-entity",
        "by-entity",
        400,
        ("", "entityType is required"),
        ("entityType=Deal", "entityId is required"),
        ("entityType=+&entityId=7", "entityType is required"),
    ),
    *asked(
        "GET by-entity",
        "by-entity",
        400,
        ("entityType=a%00b&entityId=7", "NUL"),
        (f"entityType=Deal&entityId={'x' * 201}", "entityId is longer than 200"),
    ),
    *asked(
        "GET analytics",
        "analytics",
        400,
        ("startDate=yesterday", "startDate must be a date-time"),
        ("endDate=2025-02-30", "endDate must be a date-time"),
    ),
    *asked(
        "GET analytics",
        "analytics",
        400,
        ("startDate=2025-02-02&endDate=2025-02-01", "endDate must not be before startDate"),
        ("startDate=%00", "NUL"),
    ),
    *asked(
        "GET page",
        "page",
        400,
        ("pageNumber=-1", "pageNumber"),
        ("pageNumber=x", "pageNumber"),
        ("pageSize=0", "pageSize"),
        ("pageSize=1.5", "pageSize"),
    ),
    *asked("GET page", "page", 400, ("sortBy=colour", "colour"), ("direction=UP", "direction"), ("search=%00", "NUL")),
    *asked(
        "GET dynamic-search",
        "dynamic-search",
        400,
        ("search=colour:red", "colour"),
        ("filters=colour:red", "colour"),
        ("sort=colour:desc", "colour"),
    ),
    *asked("GET dynamic-search", "dynamic-search", 400, ("page=x", "page"), ("size=x", "size"), ("sort=created:sideways", "sideways")),
    *asked(
        "GET dynamic-search",
        "dynamic-search",
        400,
        ("filters=openCount:gt:many", "openCount"),
        ("filters=created:gt:soon", "created"),
        ("filters=openCount", "filters"),
    ),
    *asked(
        "GET csv-export",
        "csv-export",
        400,
        ("search=colour:red", "colour"),
        ("filters=colour:red", "colour"),
        ("sort=colour", "colour"),
        ("page=x", "page"),
        ("size=x", "size"),
    ),
    *refused(
        "POST dynamic-search",
        "dynamic-search",
        400,
        *NOT_JSON[1:],
        ({"filters": []}, "filters must be an object"),
        ({"search": "x"}, "search must be a list"),
    ),
    *refused(
        "POST dynamic-search",
        "dynamic-search",
        400,
        ({"page": "x"}, "page must be"),
        ({"size": "x"}, "size must be"),
        ({"sort": "created"}, "sort must be a list"),
    ),
    *refused("POST dynamic-search", "dynamic-search", 400, ({"filters": {"colour": 1}}, "colour"), ({"search": ["colour:red"]}, "colour")),
    *refused(
        "POST dynamic-search",
        "dynamic-search",
        400,
        ({"sort": [{"field": "colour", "ascending": True}]}, "colour"),
        ({"sort": [{"ascending": True}]}, "field"),
    ),
    *refused(
        "POST dynamic-search",
        "dynamic-search",
        400,
        ({"filters": {"openCount": {"above": 1}}}, "above"),
        ({"filters": {"subject": "a\0b"}}, "NUL"),
    ),
    *refused("POST dynamic-search", "dynamic-search", 413, (b'"' + b"x" * (10 * 1024 * 1024), "larger than 10 MiB")),
]
NEVER = {"GET find-all", "GET scheduled"}
"""Operations that take nothing, and so refuse nothing but a key."""


class House:
    """A communication in each state that refuses something, and a template of each kind."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.names: dict[str, str] = {}

    async def furnish(self) -> None:
        api = self.api
        for name, state in (("sent", "sent"), ("waiting", "scheduled"), ("canceled", "canceled"), ("claimed", "in_process")):
            self.names[name] = (await api.send())["id"]
            lease = 1 if state == "in_process" else None
            sent_at = api.at if state == "sent" else None
            sql = "UPDATE communications SET state = :s, due_at = NULL, sent_at = :a, lease = :l, lease_until = :l"
            await api.run(f"{sql} WHERE tenant_id = :t AND state = 'pending'", s=state, a=sent_at, l=lease, t=api.tenant.id)
        needs = [{"name": "name", "required": True}, {"name": "place", "required": True, "default": "here"}]
        self.names["template"] = await self._template("Offer", channel="email", form="html", body="<p>Hi</p>", variables=[])
        self.names["needy"] = await self._template(
            "Needy", channel="email", form="html", body="<p>{{ name }} {{ place }}</p>", variables=needs
        )
        self.names["sms"] = await self._template("Text", channel="sms", form="text", body="Hi", variables=[])
        self.names["other"] = ids.spell("contact", 1)
        empty = await api.db.write(lists.create, api.tenant.id, "Nobody", now=api.at)
        self.names["empty_list"] = ids.spell("list", empty.id)

    async def _template(self, name: str, *, channel: str, form: str, body: str, variables: list[dict[str, Any]]) -> str:
        tenant_id, subject = self.api.tenant.id, "Hi" if channel == "email" else ""
        content = prepare(tenant_id=tenant_id, channel=channel, format=form, subject=subject, body=body, variables=variables)
        made = await self.api.db.write(
            templates.create, tenant_id, name, templates.Revision(content, content_hash(content), "test"), now=NOON
        )
        return ids.spell("template", made.id)

    async def ask(self, refused: Refused) -> httpx2.Response:
        method = refused.operation.partition(" ")[0]
        path = refused.path
        body = refused.body if isinstance(refused.body, bytes | None) else json.dumps(refused.body)
        for name, value in self.names.items():
            path = path.replace(f"{{{name}}}", value)
            body = body.replace(f"{{{name}}}", value) if isinstance(body, str) else body
        return await self.api.client.request(method, BELOW + path, content=body, headers=JSON if body is not None else {})


@pytest.fixture
async def house(api: Api) -> House:
    found = House(api)
    await found.furnish()
    return found


def test_every_operation_has_its_refusals():
    operations = {f"{route.method} {route.path.removeprefix(BELOW)}" for route in alpha.ROUTES}
    assert {refused.operation for refused in TABLE} | NEVER == operations


@pytest.mark.parametrize("operation", sorted({refused.operation for refused in TABLE}))
async def test_what_is_wrong_is_refused_in_words_and_nothing_is_kept(house: House, operation: str):
    before = await everything(house.api)
    wrong: list[tuple[Any, ...]] = []
    for refused in TABLE:
        if refused.operation == operation:
            answer = await house.ask(refused)
            said = answer.json() if answer.content else None
            if answer.status_code != refused.status or differences(said, ERROR) or refused.words.lower() not in said["detail"].lower():
                wrong.append((refused.path[:60], str(refused.body)[:80], f"{refused.status} {refused.words}", answer.status_code, said))
    assert wrong == []
    assert await everything(house.api) == before


async def everything(api: Api) -> list[Any]:
    return [
        await api.rows("SELECT * FROM " + table + " WHERE tenant_id = :t ORDER BY id", t=api.tenant.id)
        for table in ("communications", "contacts", "contents", "interactions")
    ]
