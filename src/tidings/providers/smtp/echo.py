"""Our id for a mail as a header that its carrier takes off and hands back in its webhooks, for carriers that give the mail a Message-ID of theirs."""

import msgspec

from tidings.message.outgoing import Email

# https://postmarkapp.com/support/article/1125-custom-metadata-faq
# https://www.twilio.com/docs/sendgrid/for-developers/sending-email/unique-arguments (opens and clicks name the mail by nothing else)
_HEADERS = {
    "postmarkapp.com": "X-PM-Metadata-tidings: {}\r\n",
    "sendgrid.net": 'X-SMTPAPI: {{"unique_args": {{"tidings": "{}"}}}}\r\n',
}


def header_for(host: str) -> str | None:
    """The header line that the carrier at this host wants, with {} for the id; None where the Message-ID does."""
    name = host.lower().rstrip(".")
    return next((line for domain, line in _HEADERS.items() if name == domain or name.endswith("." + domain)), None)


def named(email: Email, line: str) -> Email:
    """The mail with that header on top, outside of what is signed with DKIM. Unchanged when its Message-ID is none of ours."""
    token = email.message_id.strip("<>").partition("@")[0].rpartition(".")[0]
    if not token.isascii() or not token.replace("-", "").replace("_", "").isalnum():
        return email
    return msgspec.structs.replace(email, raw=line.format(token).encode("ascii") + email.raw)
