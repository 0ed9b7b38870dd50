"""The contract's page of the communications API as data: its 22 command lines as they stand there, and the shape of the answer it shows to each."""

from typing import Any, NamedTuple

HOST = "http://localhost:18080"

TEXT, COUNT, FRACTION, FLAG = str, int, float, bool
ANYTHING: dict[str, Any] = {}
"""An object whose keys are the caller's."""


class Instant(str):
    """ISO 8601 in UTC, with a `Z`."""


class Line(NamedTuple):
    """One command and the shape of the answer: keys, `[what a list is of]`, and types; None where the page shows no answer of success."""

    name: str
    command: str
    shape: Any


ERROR = {"detail": TEXT, "time": Instant, "title": TEXT}

EVENT = {"authorId": TEXT, "date": Instant, "description": TEXT, "id": TEXT, "type": TEXT}

RECORD = {
    "bcc": [TEXT],
    "body": TEXT,
    "cc": [TEXT],
    "clickedLinks": [{"clickCount": COUNT, "clickedAt": Instant, "originalUrl": TEXT, "url": TEXT}],
    "conversationId": TEXT,
    "created": Instant,
    "createdBy": TEXT,
    "errorMessage": TEXT,
    "events": [EVENT],
    "id": TEXT,
    "internetMessageId": TEXT,
    "linkTrackingEnabled": FLAG,
    "messageId": TEXT,
    "openCount": COUNT,
    "opened": FLAG,
    "openedAt": Instant,
    "originalBody": TEXT,
    "providerType": TEXT,
    "recipientListId": TEXT,
    "recipients": [TEXT],
    "relatedEntityId": TEXT,
    "relatedEntityType": TEXT,
    "replyTo": TEXT,
    "scheduledAt": Instant,
    "senderEmail": TEXT,
    "senderName": TEXT,
    "sentAt": Instant,
    "status": TEXT,
    "subject": TEXT,
    "templateId": TEXT,
    "templateName": TEXT,
    "tenantId": TEXT,
    "trackingEnabled": FLAG,
    "type": TEXT,
    "updated": Instant,
    "updatedBy": TEXT,
    "variables": ANYTHING,
}

SORT = {"empty": FLAG, "sorted": FLAG, "unsorted": FLAG}

PAGE = {
    "content": [RECORD],
    "empty": FLAG,
    "first": FLAG,
    "last": FLAG,
    "number": COUNT,
    "numberOfElements": COUNT,
    "pageable": {"offset": COUNT, "pageNumber": COUNT, "pageSize": COUNT, "paged": FLAG, "sort": SORT, "unpaged": FLAG},
    "size": COUNT,
    "sort": SORT,
    "totalElements": COUNT,
    "totalPages": COUNT,
}

INBOUND = {
    "bodyHtml": TEXT,
    "bodyText": TEXT,
    "cc": [TEXT],
    "conversationId": TEXT,
    "created": Instant,
    "createdBy": TEXT,
    "events": [EVENT],
    "fromEmail": TEXT,
    "fromName": TEXT,
    "graphMessageId": TEXT,
    "id": TEXT,
    "inReplyTo": TEXT,
    "internetMessageId": TEXT,
    "parentCommunicationId": TEXT,
    "receivedAt": Instant,
    "recipients": [TEXT],
    "relatedEntityId": TEXT,
    "relatedEntityType": TEXT,
    "status": TEXT,
    "subject": TEXT,
    "tenantId": TEXT,
    "updated": Instant,
    "updatedBy": TEXT,
}

ITEM = {
    "bodyHtml": TEXT,
    "bodyText": TEXT,
    "cc": [TEXT],
    "conversationId": TEXT,
    "date": Instant,
    "direction": TEXT,
    "fromEmail": TEXT,
    "fromName": TEXT,
    "id": TEXT,
    "opened": FLAG,
    "recipients": [TEXT],
    "status": TEXT,
    "subject": TEXT,
}

_SHARE = {"clickRate": FRACTION, "openRate": FRACTION, "totalClicked": COUNT, "totalOpened": COUNT, "totalSent": COUNT}

ANALYTICS = {
    "byTemplate": [_SHARE | {"templateId": TEXT, "templateName": TEXT}],
    "byType": [_SHARE | {"type": TEXT}],
    "clickRate": FRACTION,
    "failureRate": FRACTION,
    "openRate": FRACTION,
    "sendVolumeByDay": [{"count": COUNT, "date": TEXT}],
    "totalClicked": COUNT,
    "totalOpened": COUNT,
    "totalSent": COUNT,
}

LINES = (
    Line("analytics", 'curl -X GET "http://localhost:18080/api/v1/communications/analytics"', ANALYTICS),
    Line("by-entity", 'curl -X GET "http://localhost:18080/api/v1/communications/by-entity?entityType=string&entityId=string"', [ITEM]),
    Line("csv-export", 'curl -X GET "http://localhost:18080/api/v1/communications/csv-export"', TEXT),
    Line("delete-list", 'curl -X DELETE "http://localhost:18080/api/v1/communications/delete-list?ids=string"', None),
    Line("search", 'curl -X GET "http://localhost:18080/api/v1/communications/dynamic-search"', PAGE),
    Line(
        "search by POST",
        r"""curl -X POST "http://localhost:18080/api/v1/communications/dynamic-search" \
  -H "Content-Type: application/json" \
  -d '{ "filters": { "property1": null, "property2": null }, "page": 0, "search": [ "string" ], "size": 0,"""
        r""" "sort": [ { "ascending": true, "field": "string" } ] }'""",
        PAGE,
    ),
    Line("find", 'curl -X GET "http://localhost:18080/api/v1/communications/find"', [RECORD]),
    Line("find-all", 'curl -X GET "http://localhost:18080/api/v1/communications/find-all"', [RECORD]),
    Line("find-list", 'curl -X GET "http://localhost:18080/api/v1/communications/find-list"', [RECORD]),
    Line("find by id", 'curl -X GET "http://localhost:18080/api/v1/communications/find/string"', RECORD),
    Line("link", 'curl -X GET "http://localhost:18080/api/v1/communications/link/string/0"', None),
    Line("page", 'curl -X GET "http://localhost:18080/api/v1/communications/page"', PAGE),
    Line(
        "schedule",
        r"""curl -X POST "http://localhost:18080/api/v1/communications/schedule" \
  -H "Content-Type: application/json" \
  -d '{ "body": "string", "recipients": [ "string" ], "scheduledAt": "2019-08-24T14:15:22Z", "subject": "string" }'""",
        RECORD,
    ),
    Line("scheduled", 'curl -X GET "http://localhost:18080/api/v1/communications/scheduled"', [RECORD]),
    Line(
        "send",
        r"""curl -X POST "http://localhost:18080/api/v1/communications/send" \
  -H "Content-Type: application/json" \
  -d '{ "body": "string", "recipients": [ "string" ], "subject": "string" }'""",
        RECORD,
    ),
    Line(
        "send-template",
        r"""curl -X POST "http://localhost:18080/api/v1/communications/send-template/string" \
  -H "Content-Type: application/json" \
  -d '{ "recipients": [ "string" ] }'""",
        RECORD,
    ),
    Line("track", 'curl -X GET "http://localhost:18080/api/v1/communications/track/string"', None),
    Line("delete", 'curl -X DELETE "http://localhost:18080/api/v1/communications/string"', None),
    Line("cancel", 'curl -X POST "http://localhost:18080/api/v1/communications/string/cancel"', RECORD),
    Line(
        "comment",
        r"""curl -X POST "http://localhost:18080/api/v1/communications/string/comment" \
  -H "Content-Type: application/json" \
  -d 'string'""",
        {},
    ),
    Line("resend", 'curl -X POST "http://localhost:18080/api/v1/communications/string/resend"', RECORD),
    Line(
        "thread", 'curl -X GET "http://localhost:18080/api/v1/communications/string/thread"', {"inbound": [INBOUND], "outbound": [RECORD]}
    ),
)


def differences(answer: Any, shape: Any, place: str = "$", *, nullable: frozenset[str] = frozenset()) -> list[str]:
    """Where an answer is not of this shape: keys missing or beyond it, and values of another type. A list may be empty."""
    if answer is None:
        return [] if place.rpartition(".")[2] in nullable else [f"{place} is null"]
    if isinstance(shape, dict):
        return _keys(answer, shape, place, nullable)
    if isinstance(shape, list):
        if not isinstance(answer, list):
            return [f"{place} is no list"]
        return [found for index, item in enumerate(answer) for found in differences(item, shape[0], f"{place}[{index}]", nullable=nullable)]
    if shape is Instant:
        return [] if isinstance(answer, str) and answer[10:11] == "T" and answer.endswith("Z") else [f"{place} is no instant: {answer!r}"]
    # JSON has no integers of its own, but a client's decoder tells 1 from true
    fits = isinstance(answer, int | float if shape is FRACTION else shape) and (shape is FLAG or not isinstance(answer, bool))
    return [] if fits else [f"{place} is no {shape.__name__}: {answer!r}"]


def _keys(answer: Any, shape: dict[str, Any], place: str, nullable: frozenset[str]) -> list[str]:
    if not isinstance(answer, dict):
        return [f"{place} is no object"]
    if shape is ANYTHING:
        return []
    found = [f"{place}.{name} is missing" for name in sorted(shape.keys() - answer.keys())]
    found += [f"{place}.{name} is not on the page" for name in sorted(answer.keys() - shape.keys())]
    for name in shape.keys() & answer.keys():
        found += differences(answer[name], shape[name], f"{place}.{name}", nullable=nullable)
    return found
