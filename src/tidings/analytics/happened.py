"""What happened to communications: the interactions of one of them, of a contact, a message or a campaign, newest first, a page at a time.

None of it counts rows, and all of it goes by the indexes that sending and its reports need anyway: there is none over a whole tenant's.
"""

from collections.abc import Sequence
from typing import Final, LiteralString, get_args

import msgspec

from tidings.database import Tx
from tidings.database.gate import Param
from tidings.domain import events
from tidings.errors import NotFound

KINDS: Final[tuple[events.Kind, ...]] = get_args(events.Kind)
_LATEST = 1 << 62


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Whose interactions: at least one of the four ids is needed. `kinds` are wanted; `since` is included, `before` is not (milliseconds)."""

    communication_id: int | None = None
    contact_id: int | None = None
    message_id: int | None = None
    campaign_id: int | None = None
    kinds: tuple[str, ...] = KINDS
    bot: bool | None = None
    since: int | None = None
    before: int | None = None


class Interaction(msgspec.Struct, frozen=True):
    """Something that happened. `link_index` is the place of the clicked link in the content (from 0), `bot` 1 where a machine did it.

    `reason` is why in words that are the same for every carrier, `code` the carrier's own, `author` the key of whoever asked for it.
    """

    id: int
    communication_id: int
    contact_id: int
    campaign_id: int | None
    message_id: int | None
    kind: str
    at: int
    link_index: int | None
    detail: str | None
    user_agent: str | None
    ip: str | None
    bot: int
    reason: str | None
    code: str | None
    author: str | None


class Place(msgspec.Struct, frozen=True, array_like=True):
    """Where a page ended: at an instant and, of what happened in the same millisecond, an id."""

    at: int
    id: int


_COLUMNS: LiteralString = (
    " i.id, i.communication_id, i.contact_id, i.campaign_id, i.message_id, i.kind, i.at, i.link_index, i.detail, i.user_agent, i.ip, i.bot,"
    " i.reason, i.code, i.author"
)
_OF_COMMUNICATION: LiteralString = " FROM interactions i WHERE i.tenant_id = :tenant_id AND i.communication_id = :communication_id"
_OF_CONTACT: LiteralString = (
    " FROM communications c JOIN interactions i ON i.tenant_id = c.tenant_id AND i.communication_id = c.id"
    " WHERE c.tenant_id = :tenant_id AND c.contact_id = :contact_id"
)
_OF_MESSAGE: LiteralString = " FROM interactions i WHERE i.tenant_id = :tenant_id AND i.message_id = :message_id AND i.kind = :kind"
_RANGE: LiteralString = " AND i.at >= :since AND i.at <= :upto AND (i.at < :upto OR i.id < :below)"
_NEWEST: LiteralString = " ORDER BY i.at DESC, i.id DESC LIMIT :limit"


def page(tx: Tx, tenant_id: int, asked: Asked, after: Place | None, *, limit: int) -> list[Interaction]:
    """Up to `limit` of them behind a place. Raises NotFound for an unknown campaign.

    One communication's are read in their order and no further; so are a message's, kind by kind, and a campaign's, message by message.
    A contact's are read whole for each page: a person has few, and what is asked for of one has an end.
    """
    begin = after if after is not None else Place(_LATEST if asked.before is None else asked.before, 0)
    params: dict[str, Param] = {"tenant_id": tenant_id, "since": asked.since or 0, "upto": begin.at, "below": begin.id, "limit": limit}
    wanted = _wanted(asked, params)
    if asked.communication_id is not None:
        params["communication_id"] = asked.communication_id
        kinds = _kinds(asked, params)
        return tx.all(Interaction, "SELECT" + _COLUMNS + _OF_COMMUNICATION + _RANGE + wanted + kinds + _NEWEST, **params)
    if asked.contact_id is not None:
        kinds = _kinds(asked, params)
        return tx.all(Interaction, "SELECT" + _COLUMNS + _OF_CONTACT + _RANGE + wanted + kinds + _NEWEST, **params)
    messages = [asked.message_id] if asked.message_id is not None else _messages(tx, tenant_id, asked.campaign_id or 0)
    return _merged(tx, messages, asked.kinds, wanted, params, limit)


def _merged(
    tx: Tx, messages: Sequence[int], kinds: Sequence[str], wanted: LiteralString, params: dict[str, Param], limit: int
) -> list[Interaction]:
    """The newest over several stretches of one index. What is older than a page that is full already is not read."""
    found: list[Interaction] = []
    for message_id in messages:
        for kind in kinds:
            statement: LiteralString = "SELECT" + _COLUMNS + _OF_MESSAGE + _RANGE + wanted + _NEWEST
            more = tx.all(Interaction, statement, **params | {"message_id": message_id, "kind": kind})
            if more:
                found = sorted([*found, *more], key=lambda row: (row.at, row.id), reverse=True)[:limit]
                if len(found) == limit:
                    params["since"] = found[-1].at
    return found


def _wanted(asked: Asked, params: dict[str, Param]) -> LiteralString:
    """What is asked for besides whose they are. The narrowest id chooses the index, the others are looked at."""
    sql: LiteralString = ""
    if asked.bot is not None:
        sql += " AND i.bot = :bot"
        params["bot"] = int(asked.bot)
    if asked.contact_id is not None:
        sql += " AND i.contact_id = :contact_id"
        params["contact_id"] = asked.contact_id
    if asked.campaign_id is not None:
        sql += " AND i.campaign_id = :campaign_id"
        params["campaign_id"] = asked.campaign_id
    if asked.message_id is not None and (asked.communication_id is not None or asked.contact_id is not None):
        sql += " AND i.message_id = :message_id"
        params["message_id"] = asked.message_id
    return sql


def _kinds(asked: Asked, params: dict[str, Param]) -> LiteralString:
    if asked.kinds == KINDS:
        return ""
    params["kinds"] = list(asked.kinds)
    return " AND i.kind IN :kinds[text]"


def _messages(tx: Tx, tenant_id: int, campaign_id: int) -> list[int]:
    """The campaign's messages, those taken out of it too."""
    if tx.value("SELECT 1 FROM campaigns WHERE tenant_id = :tenant_id AND id = :id", tenant_id=tenant_id, id=campaign_id) is None:
        raise NotFound("Campaign not found")
    rows = tx.rows(
        "SELECT id FROM messages WHERE tenant_id = :tenant_id AND campaign_id = :campaign_id ORDER BY id",
        tenant_id=tenant_id,
        campaign_id=campaign_id,
    )
    return [row[0] for row in rows]


def targets(tx: Tx, tenant_id: int, ids: Sequence[int]) -> dict[int, list[str]]:
    """Where the links of these communications lead, in the order of their content, by communication. One may be a template of its own."""
    contents: dict[int, int] = dict(
        tx.rows(
            "SELECT id, content_id FROM communications WHERE tenant_id = :tenant_id AND id IN :ids[bigint]",
            tenant_id=tenant_id,
            ids=list(ids),
        )
    )
    links: dict[int, str] = dict(
        tx.rows(
            "SELECT id, links FROM contents WHERE tenant_id = :tenant_id AND id IN :ids[bigint]",
            tenant_id=tenant_id,
            ids=sorted(set(contents.values())),
        )
    )
    known = {content_id: msgspec.json.decode(text, type=list[str]) for content_id, text in links.items()}
    return {communication_id: known.get(content_id, []) for communication_id, content_id in contents.items()}
