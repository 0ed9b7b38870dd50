"""One contact walking through one campaign: a folder split by verb. The messages themselves are communications."""

from tidings.domain.enrollments.advance import DueCampaign, advance, due_campaigns
from tidings.domain.enrollments.end import complete, complete_of_campaign, delete, delete_of_contact, stop, unsubscribe
from tidings.domain.enrollments.enroll import RECENTLY, Chunk, enroll, enroll_some
from tidings.domain.enrollments.record import Enrollment, get, page

__all__ = [
    "RECENTLY",
    "Chunk",
    "DueCampaign",
    "Enrollment",
    "advance",
    "complete",
    "complete_of_campaign",
    "delete",
    "delete_of_contact",
    "due_campaigns",
    "enroll",
    "enroll_some",
    "get",
    "page",
    "stop",
    "unsubscribe",
]
