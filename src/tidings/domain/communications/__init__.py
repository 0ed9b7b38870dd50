"""One email or SMS going out once: a folder split by verb. Nothing here sends or renders."""

from tidings.domain.communications.accept import Draft, accept
from tidings.domain.communications.cancel import (
    HELD,
    cancel_of_campaign,
    cancel_of_contact,
    cancel_of_enrollments,
    in_process,
    park,
    unpark,
)
from tidings.domain.communications.claim import Queue, claim, hasten, queues, release, renew, sweep, waiting
from tidings.domain.communications.record import Communication, Due, due, get, page
from tidings.domain.communications.report import Click, Hit, clicks, link_target, track
from tidings.domain.communications.settle import Settled, Settlement, settle

__all__ = [
    "HELD",
    "Click",
    "Communication",
    "Draft",
    "Due",
    "Hit",
    "Queue",
    "Settled",
    "Settlement",
    "accept",
    "cancel_of_campaign",
    "cancel_of_contact",
    "cancel_of_enrollments",
    "claim",
    "clicks",
    "due",
    "get",
    "hasten",
    "in_process",
    "link_target",
    "page",
    "park",
    "queues",
    "release",
    "renew",
    "settle",
    "sweep",
    "track",
    "unpark",
    "waiting",
]
