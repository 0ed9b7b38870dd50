"""One email or SMS going out once: a folder split by verb. Nothing here sends or renders."""

from tidings.domain.communications.accept import Draft, accept
from tidings.domain.communications.cancel import (
    HELD,
    cancel_of_campaign,
    cancel_of_contact,
    cancel_of_enrollments,
    in_process,
    lock,
    park,
    unpark,
)
from tidings.domain.communications.change import Deleted, cancel, comment, delete, resend
from tidings.domain.communications.claim import Queue, claim, hasten, queues, release, renew, sweep, waiting
from tidings.domain.communications.record import Communication, Due, Noted, due, dues, get, history, page, scheduled, several
from tidings.domain.communications.report import Hit, followed, link_target, track
from tidings.domain.communications.settle import Settled, Settlement, settle

__all__ = [
    "HELD",
    "Communication",
    "Deleted",
    "Draft",
    "Due",
    "Hit",
    "Noted",
    "Queue",
    "Settled",
    "Settlement",
    "accept",
    "cancel",
    "cancel_of_campaign",
    "cancel_of_contact",
    "cancel_of_enrollments",
    "claim",
    "comment",
    "delete",
    "due",
    "dues",
    "followed",
    "get",
    "hasten",
    "history",
    "in_process",
    "link_target",
    "lock",
    "page",
    "park",
    "queues",
    "release",
    "renew",
    "resend",
    "scheduled",
    "settle",
    "several",
    "sweep",
    "track",
    "unpark",
    "waiting",
]
