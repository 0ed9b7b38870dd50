"""Conversations: what was sent and what was received, as one thread: a folder split by verb. Nothing here sends, parses or renders."""

from tidings.domain.threads.join import is_name, join, rooted
from tidings.domain.threads.keep import STATUSES, Change, change, mark, read_all
from tidings.domain.threads.lineage import Ancestor, Lineage, lineage
from tidings.domain.threads.listing import Filters, Received, last_heard, last_sent, page, received_page, said
from tidings.domain.threads.pieces import Whole
from tidings.domain.threads.pieces import forget as forget_pieces
from tidings.domain.threads.pieces import keep as keep_piece
from tidings.domain.threads.pieces import tidy as tidy_pieces
from tidings.domain.threads.pieces import untidy as untidy_pieces
from tidings.domain.threads.read import BEGINNING, END, Said, get, inbound, of_entity, outbound, received, thread
from tidings.domain.threads.receive import Incoming, store_inbound
from tidings.domain.threads.record import Conversation, Inbound, Status
from tidings.domain.threads.take import NOBODY, Arrival, Clue, Keyword, Taken, take

__all__ = [
    "BEGINNING",
    "END",
    "NOBODY",
    "STATUSES",
    "Ancestor",
    "Arrival",
    "Change",
    "Clue",
    "Conversation",
    "Filters",
    "Inbound",
    "Incoming",
    "Keyword",
    "Lineage",
    "Received",
    "Said",
    "Status",
    "Taken",
    "Whole",
    "change",
    "forget_pieces",
    "get",
    "inbound",
    "is_name",
    "join",
    "keep_piece",
    "last_heard",
    "last_sent",
    "lineage",
    "mark",
    "of_entity",
    "outbound",
    "page",
    "read_all",
    "received",
    "received_page",
    "rooted",
    "said",
    "store_inbound",
    "take",
    "thread",
    "tidy_pieces",
    "untidy_pieces",
]
