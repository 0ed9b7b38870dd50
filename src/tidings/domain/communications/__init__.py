"""One email or SMS going out once: a folder split by verb. Nothing here sends or renders."""

from tidings.domain.communications.accept import Draft, accept, entity, plain
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
from tidings.domain.communications.mailing import begin_mailing, continue_mailing
from tidings.domain.communications.receipt import Receipt, heed, receive, receive_all
from tidings.domain.communications.record import Communication, Due, Noted, due, dues, get, history, hold, page, scheduled, several, subject
from tidings.domain.communications.report import Hit, followed, link_target, track
from tidings.domain.communications.settle import Settled, Settlement, settle
from tidings.domain.communications.strikes import by_address_and_name, by_provider_message
from tidings.domain.communications.wording import forget_wording, keep_wording

__all__ = [
    "HELD",
    "Communication",
    "Deleted",
    "Draft",
    "Due",
    "Hit",
    "Noted",
    "Queue",
    "Receipt",
    "Settled",
    "Settlement",
    "accept",
    "begin_mailing",
    "by_address_and_name",
    "by_provider_message",
    "cancel",
    "cancel_of_campaign",
    "cancel_of_contact",
    "cancel_of_enrollments",
    "claim",
    "comment",
    "continue_mailing",
    "delete",
    "due",
    "dues",
    "entity",
    "followed",
    "forget_wording",
    "get",
    "hasten",
    "heed",
    "history",
    "hold",
    "in_process",
    "keep_wording",
    "link_target",
    "lock",
    "page",
    "park",
    "plain",
    "queues",
    "receive",
    "receive_all",
    "release",
    "renew",
    "resend",
    "scheduled",
    "settle",
    "several",
    "subject",
    "sweep",
    "track",
    "unpark",
    "waiting",
]
