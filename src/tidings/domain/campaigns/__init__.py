"""Campaigns: named sequences of Messages with their rules; a folder split by what is done. Who walks through them is `enrollments`' matter."""

from tidings.domain.campaigns.crowd import enroll_later
from tidings.domain.campaigns.messages import Message, Words, add_message, delete_message, message, messages, update_message
from tidings.domain.campaigns.record import Campaign, Figures, Settings, State, create, figures, find, get, page, update
from tidings.domain.campaigns.state import activate, archive, pause

__all__ = [
    "Campaign",
    "Figures",
    "Message",
    "Settings",
    "State",
    "Words",
    "activate",
    "add_message",
    "archive",
    "create",
    "delete_message",
    "enroll_later",
    "figures",
    "find",
    "get",
    "message",
    "messages",
    "page",
    "pause",
    "update",
    "update_message",
]
