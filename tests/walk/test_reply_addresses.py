"""Where answers and bounces go: addresses with a tag for each mail, as they leave the building, and what comes back to them."""

from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import pytest

from tests.support.answering import Post, bounce, mail
from tests.support.walk import SIGNER, House
from tests.walk.test_replies import ANN, again
from tidings.domain import tenants
from tidings.errors import Invalid
from tidings.message.outgoing import Email


@pytest.fixture
def post(house: House, tmp_path: Path) -> Post:
    return Post(house, tmp_path)


async def addressed(house: House, **changes: str) -> None:
    tenant = await house.db.read(tenants.get, house.tenant_id)
    await house.db.write(tenants.update, tenant, **changes, now=house.now)


def headers(mail: Any) -> EmailMessage:
    assert isinstance(mail, Email)
    parsed = message_from_bytes(mail.raw, policy=default)
    assert isinstance(parsed, EmailMessage)
    return parsed


async def test_an_answer_to_what_left_the_building_finds_it_by_its_reply_to_alone(house: House, post: Post):
    await addressed(house, reply_address="reply@IN.example.com", name="Grüße & Co, Ltd")
    row = await house.accept(ANN)
    (left,) = await house.dispatch()
    assert isinstance(left, Email)
    (box,) = headers(left)["reply-to"].addresses
    assert box.display_name == "Grüße & Co, Ltd"
    assert box.addr_spec == f"reply+{SIGNER.reply(row.tenant_id, row.id)}@in.example.com"
    assert left.envelope_from == "news@acme.example"
    assert not left.utf8
    line = next(line for line in left.raw.split(b"\r\n\r\n")[0].replace(b"\r\n ", b" ").split(b"\r\n") if line.startswith(b"Reply-To: "))
    taken = await post.mail(mail(to=line.removeprefix(b"Reply-To: ").decode("ascii")))
    assert taken.communication_id == row.id
    assert (await again(house, row)).reply_to is None


async def test_what_could_not_be_delivered_comes_back_to_an_address_of_its_own(house: House, post: Post):
    await addressed(house, bounce_address="bounce@in.example.com")
    row = await house.accept(ANN)
    (left,) = await house.dispatch()
    assert isinstance(left, Email)
    assert left.envelope_from == f"bounce+{SIGNER.reply(row.tenant_id, row.id)}@in.example.com"
    assert headers(left)["reply-to"] is None
    assert str(headers(left)["from"]) == "Acme <news@acme.example>"
    await post.mail(bounce(ANN, to=left.envelope_from, message_id=""))
    assert (await again(house, row)).state == "bounced"


async def test_a_reply_to_that_somebody_gave_is_kept(house: House):
    await addressed(house, reply_address="reply@in.example.com")
    await house.accept(ANN, reply_to="boss@acme.example")
    (left,) = await house.dispatch()
    assert str(headers(left)["reply-to"]) == "boss@acme.example"
    await addressed(house, reply_address="", bounce_address="")
    await house.accept("bob@example.com")
    (left,) = await house.dispatch()
    assert headers(left)["reply-to"] is None


async def test_a_reply_to_with_a_long_name_is_folded_and_read_back(house: House):
    name = "A very long name that goes on and on, " * 5
    await addressed(house, reply_address=f"{'r' * 31}@in.example.com", name=name[:190])
    row = await house.accept(ANN)
    (left,) = await house.dispatch()
    assert isinstance(left, Email)
    (box,) = headers(left)["reply-to"].addresses
    # Python's parser keeps the white space between two encoded words of a name (RFC 2047, 6.2 has it dropped)
    assert box.display_name.replace(" ", "") == name[:190].replace(" ", "")
    assert box.username == f"{'r' * 31}+{SIGNER.reply(row.tenant_id, row.id)}"
    assert max(map(len, left.raw.split(b"\r\n\r\n")[0].split(b"\r\n"))) <= 100


@pytest.mark.parametrize("wrong", ["nobody", "a b@in.example.com", f"{'r' * 32}@in.example.com", "grüße@in.example.com", "a@b@c.example"])
async def test_an_address_without_room_for_a_tag_is_refused(house: House, wrong: str):
    for field in ("reply_address", "bounce_address"):
        with pytest.raises(Invalid, match=field):
            await addressed(house, **{field: wrong})
