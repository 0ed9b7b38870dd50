"""A house with one of everything in it, so that a request made up from the description of the API can name what is there."""

from typing import Any

from tests.support.api import Api
from tests.support.hooked import untold
from tidings import ids
from tidings.inbound import receive
from tidings.message.outgoing import refused
from tidings.providers.sandbox import Sandbox

CSV = b"email,first_name\ndora@example.test,Dora\nnobody,\n"
ANSWER = (
    b"From: ann@example.test\r\nSubject: Re: Hello\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\nContent-Type: text/plain\r\n\r\nYes\r\n--b\r\nContent-Type: text/csv; name=a.csv\r\n\r\n1\r\n--b--\r\n"
)
LATER = "2025-06-20T12:00:00Z"
REPORT = {"interactionType": "sends", "fromDate": "2025-01-01", "toDate": "2025-12-31", "order": "asc"}
WEBHOOK = {"event_types": ["sent"], "verb": "POST", "url": "https://hooks.example.test/sms"}


class Furnished:
    """What there is: `path(template, name)` is the text of a variable segment, `fields` are values of body fields by their name."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.fields: dict[str, Any] = {}
        self._segments: dict[str, str] = {}

    async def furnish(self) -> None:
        await self._people()
        await self._words()
        await self._walks()
        await self._mail()
        await self._answers()
        await self._rest()

    def body(self, label: str) -> Any:
        """A body that this operation takes, or None where it takes none or one of any words will do."""
        ann, crowd, offer = (self.fields[name] for name in ("contact_id", "list", "template_id"))
        mail = {"body": "<p>Hi</p>", "subject": "Hi", "recipients": ["ann@example.test"]}
        good: dict[str, Any] = {
            "POST /api/v1/instant_messages": {"contact_id": ann, "subject": "Hi", "body": "Hi"},
            "POST /api/v1/communications/send": mail,
            "POST /api/v1/communications/schedule": mail | {"scheduledAt": LATER},
            "POST /api/v1/communications/send-template/{templateId}": {"recipients": ["ann@example.test"]},
            "POST /api/v1/contacts": {"email": "new@example.test"},
            "PUT /api/v1/contacts": {"email": "ann@example.test"},
            "PATCH /api/v1/contacts/{id}": {"company": "Acme"},
            "POST /api/v1/lists/{id}/contacts": {"contact_ids": [ann]},
            "DELETE /api/v1/lists/{id}/contacts": {"contact_ids": [ann]},
            "POST /api/v1/templates": {"name": "Other", "channel": "sms", "body": "Hi"},
            "PATCH /api/v1/templates/{id}": {"body": "<p>Hello</p>"},
            "POST /api/v1/templates/{id}/preview": {"contact_id": ann},
            "PATCH /api/v1/campaigns/{id}": {"name": "Summer"},
            "POST /api/v1/campaigns/{id}/enroll": {"list": crowd},
            "POST /api/v1/campaigns/{id}/send_to_rest": {"list": crowd},
            "POST /api/v1/campaigns/{id}/messages": {"template_id": offer},
            "PATCH /api/v1/campaigns/{id}/messages/{message_id}": {"name": "First"},
            "POST /api/v1/suppressions": {"channel": "sms", "address": "+31612345678"},
            "POST /api/v1/senders": {"address": "third.test"},
            "POST /api/v1/providers": {"name": "Second", "channel": "email", "kind": "sandbox"},
            "PATCH /api/v1/providers/{id}": {"name": "Renamed"},
            "POST /api/v1/inboxes": {"name": "Desk", "kind": "address", "address": "desk@example.test"},
            "PATCH /api/v1/inboxes/{id}": {"name": "Answers"},
            "POST /api/v1/webhooks": {"url": "https://hooks.example.test/in"},
            "PATCH /api/v1/webhooks/{id}": {"name": "Shop"},
            "POST /api/v1/webhooks/{id}/replay": {"event": "communication.sent"},
            "PATCH /api/v1/conversations/{id}": {"status": "closed"},
            "POST /api/v1/conversations/{id}/reply": {"text": "Hi"},
            "PATCH /api/v1/inbound_messages/{id}": {"status": "read"},
            "POST /api/3.0/messages/interaction-data/{messageId}": REPORT,
            "POST /api/2.0/production/sms/webhooks/create": {"webhook": WEBHOOK},
            "POST /api/v1/sandbox/reply": {"communication_id": self.fields["communication_id"], "text": "Hi"},
        }
        return good.get(label)

    def segment(self, method: str, path: str, name: str) -> str:
        """The real value of a variable of this path. LookupError when nobody has thought of one."""
        before = path.partition("{" + name + "}")[0]
        known = (f"{method} {path} {name}", f"{method} {before}", before)
        found = next((self._segments[key] for key in known if key in self._segments), None)
        if found is None:
            raise LookupError(f"{method} {path}: nothing is called {{{name}}} here; furnish the house with one")
        return found

    async def _make(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await self.api.client.post(path, json=body)
        assert answer.is_success, answer.text
        return answer.json()

    async def _people(self) -> None:
        ann = await self._make("/api/v1/contacts", {"email": "ann@example.test", "first_name": "Ann"})
        crowd = await self._make("/api/v1/lists", {"name": "Crowd"})
        await self._make(f"/api/v1/lists/{crowd['id']}/contacts", {"contact_ids": [ann["id"]]})
        gone = await self._make("/api/v1/suppressions", {"channel": "email", "address": "gone@example.test"})
        self._segments |= {
            "/api/v1/contacts/": ann["id"],
            "/v1/recipients/": ann["uuid"],
            "/api/v1/lists/": crowd["id"],
            "/api/v1/lists/{id}/contacts/": ann["id"],
            "/api/v1/suppressions/": gone["id"],
        }
        self.fields |= {"contact_id": ann["id"], "contact_ids": [ann["id"]], "list": crowd["id"], "recipientListId": crowd["id"]}

    async def _words(self) -> None:
        offer = await self._make(
            "/api/v1/templates", {"name": "Offer", "channel": "email", "subject": "Hi", "body": "<p>Hi {{ name }}</p>"}
        )
        self._segments |= {"/api/v1/templates/": offer["id"], "/api/v1/communications/send-template/": offer["id"]}
        self.fields |= {"template_id": offer["id"], "templateId": offer["id"]}

    async def _walks(self) -> None:
        spring = await self._make("/api/v1/campaigns", {"name": "Spring", "reenroll_after": "0s"})
        step = await self._make(f"/api/v1/campaigns/{spring['id']}/messages", {"channel": "email", "subject": "Hi", "body": "<p>Hi</p>"})
        await self._make(f"/api/v1/campaigns/{spring['id']}/activate", {})
        plan = await self._make("/api/v1/campaigns", {"name": "Autumn"})
        first = await self._make(f"/api/v1/campaigns/{plan['id']}/messages", {"channel": "sms", "body": "Hi"})
        walk = await self._make("/api/v1/enrollments", {"campaign_id": spring["id"], "contact_id": self.fields["contact_id"]})
        self._segments |= {
            "/api/v1/campaigns/": spring["id"],
            "/api/v1/reports/campaigns/": spring["id"],
            "/api/v1/campaigns/{id}/messages/": str(step["id"]),
            "/api/3.0/messages/interaction-data/": str(step["id"]),
            "POST /api/v1/campaigns/{id}/activate id": plan["id"],
            "DELETE /api/v1/campaigns/{id}/messages/{message_id} id": plan["id"],
            "DELETE /api/v1/campaigns/{id}/messages/{message_id} message_id": str(first["id"]),
            "/api/v1/enrollments/": str(walk["id"]),
        }
        self.fields |= {"campaign_id": spring["id"], "campaign": spring["id"], "campaigns": f"{spring['id']},{plan['id']}"}

    async def _mail(self) -> None:
        file = {"filename": "offer.txt", "content": "SGk="}
        about = {"relatedEntityType": "Deal", "relatedEntityId": "7", "attachments": [file]}
        sent = await self.api.send(body='<a href="https://shop.test/">shop</a>', **about)
        await Sandbox(self.api.db, lambda: self.api.at, "email").send(await self.api.dispatch(), lambda *_: None)
        self.api.carrying.answer = lambda _: refused("no such user", "5.1.1")
        failed = await self.api.send()
        await self.api.dispatch()
        later = {"body": "Hi", "subject": "Hi", "recipients": ["bob@example.test"], "scheduledAt": LATER}
        waiting = await self._make("/api/v1/communications/schedule", later)
        number = (await self.api.rows("SELECT MIN(id) FROM communications WHERE tenant_id = :t", t=self.api.tenant.id))[0][0]
        below = "/api/v1/communications/"
        files = (await self.api.client.get(f"{below}{sent['id']}/attachments")).json()
        self._segments |= {
            f"GET {below}": sent["id"],
            f"GET {below}{{id}} id": str(number),
            f"GET {below}{{id}}/attachments/": files[0]["id"],
            f"DELETE {below}": failed["id"],
            **{f"{below}{word}/": sent["id"] for word in ("find", "track", "link")},
            f"{below}link/{{id}}/": "0",
            f"POST {below}": sent["id"],
            f"POST {below}{{id}}/cancel id": waiting["id"],
            "/unsubscribe/": self.api.signer.unsubscribe(self.api.tenant.id, number),
        }
        self.fields |= {"entityType": "Deal", "entityId": "7"}
        self.fields |= {"ids": [sent["id"], failed["id"]], "recipients": ["ann@example.test"], "scheduledAt": LATER}

    async def _answers(self) -> None:
        desk = receive.Desk(self.api.db, self.api.house.store, self.api.signer, lambda: self.api.at)
        taken = await receive.mail(desk, self.api.tenant.id, ANSWER)
        assert taken.inbound_id is not None
        assert taken.conversation_id is not None
        self._segments |= {
            "/api/v1/conversations/": ids.spell("conversation", taken.conversation_id),
            "/api/v1/inbound_messages/": ids.spell("inbound", taken.inbound_id),
            "/api/v1/inbound_messages/{id}/attachments/": "1",
        }

    async def _rest(self) -> None:
        relay = await self._make("/api/v1/providers", {"name": "Box", "channel": "email", "kind": "sandbox", "settings": {}})
        key = await self._make("/api/v1/keys", {"name": "crm"})
        sender = await self._make("/api/v1/senders", {"address": "elsewhere.test"})
        box = {"host": "imap.example.test", "username": "help", "password": "hush-hush"}
        inbox = await self._make("/api/v1/inboxes", {"name": "Help", "kind": "imap", "settings": box})
        hook, delivery = await untold(self.api)
        headers = {"content-type": "text/csv"}
        job = (await self.api.client.post("/api/v1/contacts/import", content=CSV, headers=headers)).json()
        kept = (await self.api.client.get("/api/v1/sandbox/messages")).json()["messages"]
        self._segments |= {
            "/api/v1/providers/": relay["id"],
            "/api/v1/keys/": key["id"],
            "/api/v1/inboxes/": inbox["id"],
            "/api/v1/webhooks/": hook,
            "/api/v1/webhooks/{id}/deliveries/": delivery,
            "/api/v1/senders/": sender["id"],
            "/api/v1/callbacks/": "nobody",
            "/api/v1/callbacks/{token}/": "nobody",
            "/api/v1/inbound/": "postmark",
            "/api/v1/inbound/{kind}/": "nobody",
            "/api/v1/jobs/": job["id"],
            "/api/v1/sandbox/messages/": str(kept[0]["id"]),
        }
        self.fields |= {"communication_id": kept[0]["communication_id"], "file": CSV.decode()}
