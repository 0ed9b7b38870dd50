"""What carriers tell of mail they took, as their documentation shows it, signed with keys made here.

Amazon SES: https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-examples.html
Amazon SNS: https://docs.aws.amazon.com/sns/latest/dg/http-notification-json.html
Postmark: https://postmarkapp.com/developer/webhooks/webhooks-overview
Mailgun: https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/webhook-payloads
SendGrid: https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event
Resend: https://resend.com/docs/webhooks/event-types
"""

import base64
import datetime
import hashlib
import hmac
import json
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.inbound import carriers
from tidings.domain.inboxes import Kind
from tidings.inbound.sources import Mailgun, Postmark, Resend, SendGrid, Ses, Settings

AT = carriers.AT
TOPIC = "arn:aws:sns:us-east-1:123456789012:mail-events"
CERT_URL = "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem"
JSON = {"content-type": "application/json"}
PLAIN = {"content-type": "text/plain; charset=UTF-8"}
SETTINGS: dict[Kind, Settings] = {
    "postmark": Postmark("acme", "a password"),
    "mailgun": Mailgun(carriers.SIGNING_KEY),
    "sendgrid": SendGrid(event_public_key=carriers.PUBLIC_KEY),
    "resend": Resend(carriers.SECRET),
    "ses": Ses(TOPIC),
}
_SNS_KEY = rsa.generate_private_key(65537, 2048)


class Mail(NamedTuple):
    """A mail that a carrier took: to whom, under which names of ours and of the carrier's."""

    address: str
    token: str = ""
    message_id: str = ""
    provider_id: str = "0000014644fe5ef6-9a483358-9170-4cb4-a269-f5dcdf415321-000000"


def iso(at: int) -> str:
    return datetime.datetime.fromtimestamp(at / 1000, datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def certificate(key: rsa.RSAPrivateKey = _SNS_KEY) -> bytes:
    """One as Amazon's are."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    begun = datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    made = made.not_valid_before(begun).not_valid_after(begun + datetime.timedelta(days=3650))
    return made.sign(key, SHA256()).public_bytes(Encoding.PEM)


CERTIFICATE = certificate()


def sns(message: str, *, kind: str = "Notification", at: int = AT, version: str = "2", key: Any = _SNS_KEY, **fields: Any) -> bytes:
    """A message of SNS, signed."""
    said: dict[str, Any] = {
        "Type": kind,
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": TOPIC,
        "Message": message,
        "Timestamp": iso(at),
        "SignatureVersion": version,
        "SigningCertURL": CERT_URL,
        "UnsubscribeURL": "https://sns.us-east-1.amazonaws.com/?Action=Unsubscribe",
    }
    if kind == "Notification":
        said["Subject"] = "Amazon SES Email Event Notification"
    else:
        said |= {"Token": "2336412f37", "SubscribeURL": "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&Token=2336412f37"}
    said |= fields
    names = ["Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
    signed = "".join(f"{name}\n{said[name]}\n" for name in names if name in said)
    digest = SHA1() if version == "1" else SHA256()
    said["Signature"] = base64.b64encode(key.sign(signed.encode(), padding.PKCS1v15(), digest)).decode()
    return json.dumps(said).encode()


SES = {
    "sent": ("Send", {"send": {}}),
    "delivered": ("Delivery", {"delivery": {"timestamp": "…", "recipients": ["@"], "smtpResponse": "250 2.6.0 Message received"}}),
    "bounced": (
        "Bounce",
        {
            "bounce": {
                "bounceType": "Permanent",
                "bounceSubType": "General",
                "bouncedRecipients": [
                    {"emailAddress": "@", "action": "failed", "status": "5.1.1", "diagnosticCode": "smtp; 550 5.1.1 user unknown"}
                ],
                "timestamp": "…",
                "feedbackId": "01000157c44f053b-61b59c11",
                "reportingMTA": "dsn; mta.example.com",
            }
        },
    ),
    "soft": (
        "Bounce",
        {
            "bounce": {
                "bounceType": "Transient",
                "bounceSubType": "MailboxFull",
                "bouncedRecipients": [{"emailAddress": "@", "action": "failed", "status": "5.2.2", "diagnosticCode": "552 mailbox full"}],
                "timestamp": "…",
                "feedbackId": "01000157c44f053b-61b59c12",
            }
        },
    ),
    "deferred": (
        "DeliveryDelay",
        {
            "deliveryDelay": {
                "timestamp": "…",
                "delayType": "TransientCommunicationFailure",
                "delayedRecipients": [{"emailAddress": "@", "status": "4.4.1", "diagnosticCode": "smtp; 421 4.4.1 Unable to connect"}],
            }
        },
    ),
    "complained": (
        "Complaint",
        {
            "complaint": {
                "complainedRecipients": [{"emailAddress": "@"}],
                "timestamp": "…",
                "feedbackId": "01000157c44f053b-61b59c13",
                "complaintFeedbackType": "abuse",
            }
        },
    ),
    "failed": ("Reject", {"reject": {"reason": "Bad content"}}),
    "opened": ("Open", {"open": {"ipAddress": "192.0.2.17", "timestamp": "…", "userAgent": "Mozilla/5.0"}}),
    "clicked": (
        "Click",
        {"click": {"ipAddress": "192.0.2.17", "link": "https://shop.test/", "timestamp": "…", "userAgent": "Mozilla/5.0"}},
    ),
    "unsubscribed": ("Subscription", {"subscription": {"timestamp": "…", "newTopicPreferences": {"unsubscribeAll": True}}}),
    "resubscribed": (
        "Subscription",
        {
            "subscription": {
                "timestamp": "…",
                "newTopicPreferences": {"unsubscribeAll": False},
                "oldTopicPreferences": {"unsubscribeAll": True},
            }
        },
    ),
}
POSTMARK: dict[str, dict[str, Any]] = {
    "delivered": {"RecordType": "Delivery", "Recipient": "@", "DeliveredAt": "…", "Details": "Test delivery webhook details"},
    "bounced": {
        "RecordType": "Bounce",
        "ID": 42,
        "Type": "HardBounce",
        "TypeCode": 1,
        "Name": "Hard bounce",
        "Description": "The server was unable to deliver your message (ex: unknown user, mailbox not found).",
        "Details": "smtp;550 5.1.1 The email account that you tried to reach does not exist.",
        "Email": "@",
        "BouncedAt": "…",
        "Inactive": True,
    },
    "soft": {"RecordType": "Bounce", "ID": 43, "Type": "SoftBounce", "Details": "552 5.2.2 mailbox full", "Email": "@", "BouncedAt": "…"},
    "deferred": {"RecordType": "Bounce", "ID": 44, "Type": "Transient", "Details": "421 4.4.1 timed out", "Email": "@", "BouncedAt": "…"},
    "complained": {"RecordType": "SpamComplaint", "ID": 45, "Type": "SpamComplaint", "Details": "abuse", "Email": "@", "BouncedAt": "…"},
    "failed": {"RecordType": "Bounce", "ID": 46, "Type": "ManuallyDeactivated", "Details": "by hand", "Email": "@", "BouncedAt": "…"},
    "opened": {"RecordType": "Open", "Recipient": "@", "ReceivedAt": "…", "UserAgent": "Mozilla/5.0", "Geo": {"IP": "192.0.2.17"}},
    "clicked": {
        "RecordType": "Click",
        "Recipient": "@",
        "ReceivedAt": "…",
        "OriginalLink": "https://shop.test/",
        "UserAgent": "Mozilla/5.0",
        "Geo": {"IP": "192.0.2.17"},
    },
    "unsubscribed": {
        "RecordType": "SubscriptionChange",
        "Recipient": "@",
        "ChangedAt": "…",
        "Origin": "Recipient",
        "SuppressSending": True,
        "SuppressionReason": "ManualSuppression",
    },
    "resubscribed": {
        "RecordType": "SubscriptionChange",
        "Recipient": "@",
        "ChangedAt": "…",
        "Origin": "Customer",
        "SuppressSending": False,
    },
}
MAILGUN: dict[str, dict[str, Any]] = {
    "sent": {"event": "accepted"},
    "delivered": {"event": "delivered", "delivery-status": {"code": 250, "message": "OK", "description": ""}},
    "bounced": {
        "event": "failed",
        "severity": "permanent",
        "reason": "bounce",
        "delivery-status": {"code": 550, "message": "5.1.1 The email account that you tried to reach does not exist", "description": ""},
    },
    "soft": {
        "event": "failed",
        "severity": "permanent",
        "reason": "bounce",
        "delivery-status": {"code": 552, "message": "5.2.2 mailbox full"},
    },
    "deferred": {
        "event": "failed",
        "severity": "temporary",
        "reason": "generic",
        "delivery-status": {"code": 452, "message": "4.4.1 timed out"},
    },
    "complained": {"event": "complained"},
    "failed": {"event": "rejected", "reject": {"reason": "Sandbox subdomains are for test purposes only", "description": ""}},
    "opened": {"event": "opened", "ip": "192.0.2.17", "client-info": {"user-agent": "Mozilla/5.0", "client-type": "browser", "bot": ""}},
    "clicked": {"event": "clicked", "url": "https://shop.test/", "ip": "192.0.2.17", "client-info": {"user-agent": "Mozilla/5.0"}},
    "unsubscribed": {"event": "unsubscribed"},
}
SENDGRID: dict[str, dict[str, Any]] = {
    "sent": {"event": "processed"},
    "delivered": {"event": "delivered", "response": "250 OK"},
    "bounced": {
        "event": "bounce",
        "bounce_classification": "Invalid Address",
        "reason": "550 5.1.1 user unknown",
        "status": "5.1.1",
        "type": "bounce",
    },
    "soft": {"event": "bounce", "type": "blocked", "reason": "550 5.7.1 policy", "status": "5.7.1"},
    "deferred": {"event": "deferred", "response": "421 4.4.1 try again later", "attempt": "5"},
    "complained": {"event": "spamreport"},
    "failed": {"event": "dropped", "reason": "Recipient List over Package Quota", "status": "5.0.0"},
    "opened": {"event": "open", "useragent": "Mozilla/5.0", "ip": "192.0.2.17", "sg_machine_open": False},
    "clicked": {"event": "click", "useragent": "Mozilla/5.0", "ip": "192.0.2.17", "url": "https://shop.test/"},
    "unsubscribed": {"event": "group_unsubscribe", "asm_group_id": 10},
    "resubscribed": {"event": "group_resubscribe", "asm_group_id": 10},
}
RESEND: dict[str, tuple[str, dict[str, Any]]] = {
    "sent": ("email.sent", {}),
    "delivered": ("email.delivered", {}),
    "bounced": (
        "email.bounced",
        {"bounce": {"type": "Permanent", "subType": "General", "message": "m", "diagnosticCode": ["smtp; 550 5.1.1 user unknown"]}},
    ),
    "soft": ("email.bounced", {"bounce": {"type": "Transient", "subType": "MailboxFull", "message": "mailbox full"}}),
    "deferred": ("email.delivery_delayed", {}),
    "complained": ("email.complained", {}),
    "failed": ("email.failed", {"failed": {"reason": "reached_daily_quota"}}),
    "opened": ("email.opened", {"open": {"ipAddress": "192.0.2.17", "timestamp": "…", "userAgent": "Mozilla/5.0"}}),
    "clicked": (
        "email.clicked",
        {"click": {"ipAddress": "192.0.2.17", "link": "https://shop.test/", "timestamp": "…", "userAgent": "Mozilla/5.0"}},
    ),
}
CAN: dict[str, list[str]] = {"ses": [*SES], "postmark": [*POSTMARK], "mailgun": [*MAILGUN], "sendgrid": [*SENDGRID], "resend": [*RESEND]}
"""Which of them each carrier tells of."""


def filled(value: Any, mail: Mail, at: int) -> Any:
    """With the address for "@" and the instant for "…"."""
    if isinstance(value, dict):
        return {name: filled(inner, mail, at) for name, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, mail, at) for inner in value]
    return {"@": mail.address, "…": iso(at)}.get(value, value) if isinstance(value, str) else value


def ses(what: str, mail: Mail, at: int = AT) -> dict[str, Any]:
    kind, inner = SES[what]
    headers = [{"name": "Message-ID", "value": mail.message_id}] if mail.message_id else []
    told = {
        "timestamp": iso(at if what in ("sent", "failed") else AT),
        "messageId": mail.provider_id,
        "source": "Acme <hello@acme.test>",
        "destination": [mail.address],
        "headersTruncated": False,
        "headers": headers,
        "commonHeaders": {"to": [mail.address], "subject": "Hello"},
        "tags": {"ses:configuration-set": ["ConfigSet"]},
    }
    return {"eventType": kind, "mail": told, **filled(inner, mail, at)}


def body(carrier: str, what: str, mail: Mail, at: int = AT, *, number: int = 1) -> bytes:
    """The body of one event, `number` in its name; Mailgun's signature is within it."""
    if carrier == "ses":
        return sns(json.dumps(ses(what, mail, at)))
    if carrier == "postmark":
        said = filled(POSTMARK[what], mail, at) | {"MessageID": mail.provider_id, "Metadata": {"tidings": mail.token}, "ServerID": 23}
        return json.dumps(said).encode()
    if carrier == "mailgun":
        headers = {"to": mail.address, "message-id": mail.message_id.strip("<>"), "from": "hello@acme.test"}
        said = MAILGUN[what] | {"id": f"CPgfbmQMTCKtHW6uIWtuVe{number}", "timestamp": at / 1000, "recipient": mail.address}
        said |= {"message": {"headers": headers}, "user-variables": {}}
        return mailgun(said, token=hashlib.sha256(f"{what} {mail} {number}".encode()).hexdigest()[:50])
    if carrier == "sendgrid":
        return json.dumps([sendgrid(what, mail, at, number=number)]).encode()
    kind, inner = RESEND[what]
    data = {"email_id": mail.provider_id, "from": "hello@acme.test", "to": [mail.address], "tags": {"tidings": mail.token}}
    return json.dumps({"type": kind, "created_at": iso(at), "data": data | filled(inner, mail, at)}).encode()


def sendgrid(what: str, mail: Mail, at: int = AT, *, number: int = 1) -> dict[str, Any]:
    said = {"email": mail.address, "timestamp": at // 1000, "sg_event_id": f"sg{number}", "sg_message_id": f"{mail.provider_id}.filter0001"}
    said |= {"tidings": mail.token} if mail.token else {}
    return said | ({"smtp-id": mail.message_id} if mail.message_id else {}) | SENDGRID[what]


def mailgun(said: Any, *, at: int = AT, token: str = "t" * 50, key: str = carriers.SIGNING_KEY) -> bytes:
    signature = hmac.new(key.encode(), f"{at // 1000}{token}".encode(), hashlib.sha256).hexdigest()
    return json.dumps({"signature": {"token": token, "timestamp": str(at // 1000), "signature": signature}, "event-data": said}).encode()


def signed(carrier: str, sent: bytes, *, at: int = AT, named: str = "msg_p5jXN8AQM9LWM0D4loKWxJek") -> dict[str, str]:
    """The headers with which the carrier posts this body."""
    if carrier == "ses":
        return PLAIN | {"x-amz-sns-message-type": "Notification"}
    if carrier == "postmark":
        return JSON | {"authorization": "Basic YWNtZTphIHBhc3N3b3Jk"}
    if carrier == "sendgrid":
        return JSON | carriers.sendgrid_signed(sent, at=at)
    if carrier == "resend":
        return JSON | carriers.resend_signed(sent, at=at, named=named)
    return JSON
