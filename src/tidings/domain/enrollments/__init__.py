"""One contact walking through one campaign: a folder split by verb. The messages themselves are communications."""

from tidings.domain.enrollments.advance import DueCampaign, advance, due_campaigns
from tidings.domain.enrollments.end import complete, complete_of_campaign, delete, delete_of_contact, end_of_contact, stop
from tidings.domain.enrollments.enroll import RECENTLY, Chunk, enroll, enroll_some
from tidings.domain.enrollments.record import Enrollment, get, page
from tidings.domain.enrollments.rest import Preview, Rest, begin_rest, continue_rest, preview_rest
from tidings.domain.enrollments.texted import stop_texting
from tidings.domain.enrollments.unsubscribe import Reader, reader, unsubscribe

__all__ = [
    "RECENTLY",
    "Chunk",
    "DueCampaign",
    "Enrollment",
    "Preview",
    "Reader",
    "Rest",
    "advance",
    "begin_rest",
    "complete",
    "complete_of_campaign",
    "continue_rest",
    "delete",
    "delete_of_contact",
    "due_campaigns",
    "end_of_contact",
    "enroll",
    "enroll_some",
    "get",
    "page",
    "preview_rest",
    "reader",
    "stop",
    "stop_texting",
    "unsubscribe",
]
