"""The whole way with servers nobody here wrote: a CSV goes in over HTTP, mail comes out of a Postfix mailbox, and its links work."""

import asyncio
import email
import json
import re
from collections.abc import Iterator
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import httpx2
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from tests.support import missing
from tests.support.mail import MailServerMissingError, Postfix, free_port, running_postfix
from tests.support.server import Server, serving
from tests.support.walk import House, minutes
from tidings.domain import carriers
from tidings.providers.smtp import Smtp, SmtpSettings

CSV = 'E-Mail;First name;Note\r\nreader@example.net;Zoë;"two\nlines"\r\nsecond@example.net;;\r\nnonsense;X;\r\n'
BODY = '<h1>Grüße, {{ first_name | default("you") }}!</h1><p>.\n<a href="https://example.org/?a=1&amp;b=é">More</a></p>'


@pytest.fixture
def postfix() -> Iterator[Postfix]:
    try:
        with running_postfix() as server:
            yield server
    except MailServerMissingError as error:
        missing(str(error))


def _key(server: Server) -> str:
    server.run("tenants", "create", "acme", "--sender", "news@acme.example")
    made: dict[str, str] = json.loads(server.run("keys", "create", "--tenant", "acme", "--json"))
    return made["token"]


async def _until(client: httpx2.AsyncClient, path: str, found: Any) -> Any:
    """Asks until the answer is as wanted; the answer."""
    async with asyncio.timeout(60):
        while True:
            answer = (await client.get(path)).json()
            if found(answer):
                return answer
            await asyncio.sleep(0.05)


async def _campaign(client: httpx2.AsyncClient) -> tuple[str, str]:
    """Imports the CSV into a list and enrolls it in a campaign of one mail; the campaign and the list's name."""
    files = {"file": ("people.csv", CSV.encode("utf-8-sig"), "text/csv")}
    job = (await client.post("/api/v1/contacts/import", files=files, data={"list": "readers"})).json()
    done = await _until(client, f"/api/v1/jobs/{job['id']}", lambda answer: answer["state"] in {"done", "failed"})
    assert (done["state"], done["done"], done["rejected"]) == ("done", 2, 1)
    campaign = (
        await client.post("/api/v1/campaigns", json={"name": "Spring", "sender": {"email": "news@acme.example", "name": "Acmé"}})
    ).json()
    message = {"channel": "email", "delay": "0s", "subject": "Für {{ first_name }}", "body": BODY}
    assert (await client.post(f"/api/v1/campaigns/{campaign['id']}/messages", json=message)).status_code == 201
    assert (await client.post(f"/api/v1/campaigns/{campaign['id']}/activate")).status_code == 200
    assert (await client.post(f"/api/v1/campaigns/{campaign['id']}/enroll", json={"list": "readers"})).status_code == 202
    return campaign["id"], "readers"


async def _delivered(postfix: Postfix, count: int) -> dict[str, EmailMessage]:
    """The mails in the box by recipient, once there are as many."""
    async with asyncio.timeout(60):
        # a mailbox tells nobody when something is in it
        while len(found := postfix.delivered()) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    mails = [email.message_from_bytes(raw, policy=default) for raw in found]
    return {str(mail["To"]): mail for mail in mails if isinstance(mail, EmailMessage)}


async def test_from_a_csv_to_a_mailbox_and_back_by_its_links(database_url: str, tmp_path: Path, postfix: Postfix) -> None:
    with serving(database_url, tmp_path, smtp_url=postfix.url) as (server, address):
        token = _key(server)
        async with httpx2.AsyncClient(base_url=address, headers={"authorization": f"Bearer {token}"}) as client:
            await _campaign(client)
            sent = await _until(client, "/api/v1/communications?sent=true", lambda answer: answer["pagination"]["total"] == 2)
            mail = (await _delivered(postfix, 2))["reader@example.net"]
            assert mail["Subject"] == "Für Zoë"
            assert mail["From"] == "Acmé <news@acme.example>"
            html = mail.get_body(("html",)).get_content()  # type: ignore[union-attr]
            assert "Grüße, Zoë!" in html
            assert "Grüße, Zoë!" in mail.get_body(("plain",)).get_content()  # type: ignore[union-attr]

            link = re.search(r'href="([^"]+/link/[^"]+)"', html)
            pixel = re.search(r'src="([^"]+/track/[^"]+)"', html)
            assert link
            assert pixel
            here = len(address)
            assert link.group(1).startswith(address)
            stranger = httpx2.AsyncClient(base_url=address)
            followed = await stranger.get(link.group(1)[here:])
            assert (followed.status_code, followed.headers["location"]) == (302, "https://example.org/?a=1&b=%C3%A9")
            assert (await stranger.get(pixel.group(1)[here:])).headers["content-type"] == "image/gif"
            clicked = {row["id"] for row in (await client.get("/api/v1/communications")).json()["communications"] if row["clicked"]}
            assert len(clicked) == 1

            leave = str(mail["List-Unsubscribe"]).strip("<>")[here:]
            assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
            assert (await stranger.post(leave, data={"List-Unsubscribe": "One-Click"})).status_code == 200
            await stranger.aclose()
            (gone,) = (await client.get("/api/v1/suppressions")).json()["suppressions"]
            assert (gone["address"], gone["reason"]) == ("reader@example.net", "unsubscribed")
            assert {row["communication_type"] for row in sent["communications"]} == {"email"}


class _Door:
    """Lets in whoever knows the password."""

    def __init__(self) -> None:
        self.tries = 0

    def __call__(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        self.tries += 1
        return AuthResult(success=data.password == b"right", handled=False)


class _Box:
    def __init__(self) -> None:
        self.mails: list[bytes] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        self.mails.append(envelope.content)
        return "250 taken"


async def test_mail_waits_for_a_server_that_is_down_and_goes_out_when_it_is_back(house: House) -> None:
    port = free_port()
    house.carrying = Smtp(SmtpSettings.from_url(f"smtp://127.0.0.1:{port}?tls=none"))  # type: ignore[assignment]
    await house.accept("ann@example.com")
    await _dispatched(house)
    (row,) = await house.rows()
    assert (row.state, row.attempts) == ("pending", 0)
    assert "connect" in (row.error or "").lower()
    box = _Box()
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        house.later(minutes(2))
        await _dispatched(house)
    finally:
        controller.stop()
    assert await house.states() == ["sent"]
    assert len(box.mails) == 1
    await house.carrying.close()


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
async def test_a_wrong_password_pauses_the_provider_and_burns_no_attempt(house: House) -> None:
    door, box = _Door(), _Box()
    controller = Controller(box, hostname="127.0.0.1", port=free_port(), authenticator=door, auth_required=True, auth_require_tls=False)
    controller.start()
    address = f"127.0.0.1:{controller.port}?tls=none"
    try:
        house.carrying = Smtp(SmtpSettings.from_url(f"smtp://me:wrong@{address}"))  # type: ignore[assignment]
        for number in range(20):
            await house.accept(f"p{number}@example.com")
        await _dispatched(house)
        assert {(row.state, row.attempts) for row in await house.rows()} == {("pending", 0)}
        carrier = await house.db.read(carriers.chosen, house.tenant_id, "email")
        assert carrier is not None
        assert "535" in (carrier.paused_reason or "")
        assert door.tries <= 3
        await house.carrying.close()
        house.carrying = Smtp(SmtpSettings.from_url(f"smtp://me:right@{address}"))  # type: ignore[assignment]
        house.later(minutes(10))
        await _dispatched(house)
        assert await house.states() == ["sent"] * 20
        await house.carrying.close()
    finally:
        controller.stop()


async def _dispatched(house: House) -> None:
    """As `House.dispatch`, for a provider that is not the told one: until nothing is due at this instant."""
    stop = asyncio.Event()
    running = asyncio.create_task(house.dispatcher().run(stop))
    async with asyncio.timeout(30):
        while await house.db.read(house._is_due):
            paused = await house.db.read(
                lambda tx: tx.value("SELECT paused_until FROM providers WHERE tenant_id = :t AND channel = 'email'", t=house.tenant_id)
            )
            if paused and paused > house.now:
                break
            await asyncio.sleep(0.01)
    stop.set()
    await running
