"""How long a tenant keeps what: a file for each part, and one for whose turn it is. What is counted stays counted."""

from tidings.domain.keeping.bodies import GRACE, blank, doom, empty, spent, unsent
from tidings.domain.keeping.inbound import received, remove_inbound
from tidings.domain.keeping.interactions import drop, old
from tidings.domain.keeping.turn import SLACK, Turn, claim, finish, settled_bodies, soon

__all__ = [
    "GRACE",
    "SLACK",
    "Turn",
    "blank",
    "claim",
    "doom",
    "drop",
    "empty",
    "finish",
    "old",
    "received",
    "remove_inbound",
    "settled_bodies",
    "soon",
    "spent",
    "unsent",
]
