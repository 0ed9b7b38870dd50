"""The fields of a communication that can be asked for, by their names in alpha's record: of which kind each is, and where it is kept."""

import re
from typing import LiteralString, NamedTuple

NUMERIC = re.compile(r"-?[0-9]{1,18}")
VARIABLES = "variables."


class Field(NamedTuple):
    """`kind` says what it can be compared with: text, said (folded text of subject and body), listed (addresses, a line each), number,
    instant, flag, state, id (`names`: of what) or variable. `sql` is its value in a row `c` of communications; `sorts` whether there
    is an order of it.
    """

    kind: str
    sql: LiteralString
    sorts: bool = True
    names: str = ""


def _inherited(column: LiteralString) -> LiteralString:
    """A column of the communication that its campaign stands in for, then its tenant."""
    return _from_campaign(column, ", (SELECT t." + column + " FROM tenants t WHERE t.id = c.tenant_id)")


def _from_campaign(column: LiteralString, otherwise: LiteralString = "") -> LiteralString:
    campaign = "(SELECT k." + column + " FROM campaigns k WHERE k.tenant_id = c.tenant_id AND k.id = c.campaign_id)"
    return "COALESCE(c." + column + ", " + campaign + otherwise + ")"


def _said(rendered: LiteralString, written: LiteralString) -> LiteralString:
    """What it says: in words of its own where it has some, else in those of its content."""
    own = "(SELECT r." + rendered + " FROM renderings r WHERE r.tenant_id = c.tenant_id AND r.communication_id = c.id)"
    shared = "(SELECT t." + written + " FROM contents t WHERE t.tenant_id = c.tenant_id AND t.id = c.content_id)"
    return "CASE WHEN c.worded > 0 THEN " + own + " ELSE " + shared + " END"


_BODY = _said("body", "said_text")

FIELDS: dict[str, Field] = {
    "bcc": Field("listed", "listed(c.recipients, 'bcc')", sorts=False),
    "body": Field("said", _BODY, sorts=False),
    "cc": Field("listed", "listed(c.recipients, 'cc')", sorts=False),
    "conversationId": Field(
        "conversation", "(SELECT v.key FROM conversations v WHERE v.tenant_id = c.tenant_id AND v.id = c.conversation_id)", names="thread"
    ),
    "created": Field("instant", "c.created_at"),
    "createdBy": Field("text", "NULLIF(c.created_by, '')"),
    "errorMessage": Field("text", "c.error"),
    "id": Field("id", "c.id", names="communication"),
    "linkTrackingEnabled": Field("flag", "c.track_links"),
    "messageId": Field("text", "NULLIF(c.provider_message_id, '')"),
    "openCount": Field("number", "c.open_count"),
    "opened": Field("flag", "CASE WHEN c.opened_at IS NULL THEN 0 ELSE 1 END"),
    "openedAt": Field("instant", "c.opened_at"),
    "originalBody": Field("said", _BODY, sorts=False),
    "providerType": Field("text", "upper(c.provider)"),
    "recipientListId": Field("id", "c.list_id", names="list"),
    "recipients": Field("listed", "COALESCE(listed(c.recipients, 'to'), c.address)"),
    "relatedEntityId": Field("text", "c.related_entity_id"),
    "relatedEntityType": Field("text", "c.related_entity_type"),
    "replyTo": Field("text", _from_campaign("reply_to")),
    "scheduledAt": Field("instant", "c.scheduled_at"),
    "senderEmail": Field("text", _inherited("sender_email")),
    "senderName": Field("text", _inherited("sender_name")),
    "sentAt": Field("instant", "c.sent_at"),
    "status": Field("state", "c.state"),
    "subject": Field("said", _said("subject", "said_subject")),
    "templateId": Field("id", "c.template_id", names="template"),
    "templateName": Field("text", "(SELECT n.name FROM templates n WHERE n.tenant_id = c.tenant_id AND n.id = c.template_id)"),
    "tenantId": Field("id", "c.tenant_id", names="tenant"),
    "trackingEnabled": Field("flag", "c.track_opens"),
    "type": Field("text", "c.type"),
    "updated": Field("instant", "c.updated_at"),
    "updatedBy": Field("text", "NULLIF(c.updated_by, '')"),
    VARIABLES: Field("variable", "member(c.variables, :path)", sorts=False),
}
"""Not among them: clickedLinks and events, which are lists of records; internetMessageId, which is computed; variables as a whole."""
