"""Spellings of ids come back as they went out, and no other way; tokens cannot be made up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings import ids
from tidings.errors import Invalid
from tidings.signing import Signer, Vault

some_id = st.integers(min_value=1, max_value=ids.MAX_ID)
kinds = st.sampled_from(sorted(ids.PREFIXES))
signer = Signer(b"a secret of some length")


@given(kinds, some_id)
def test_a_prefixed_spelling_comes_back_as_the_id(kind: str, identity: int) -> None:
    spelt = ids.spell(kind, identity)
    assert spelt.startswith(ids.PREFIXES[kind])
    assert len(spelt) == len(ids.PREFIXES[kind]) + 18
    assert ids.parse(kind, spelt) == identity


@given(some_id)
def test_another_kinds_spelling_is_nothing(identity: int) -> None:
    rest = ids.spell("contact", identity).removeprefix("cont_")
    assert ids.parse("campaign", "camp_" + rest) is None
    assert ids.parse("campaign", "cont_" + rest) is None
    assert ids.parse_uuid("campaign", ids.uuid("contact", identity)) is None


@given(st.text(alphabet="ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", min_size=18, max_size=18))
def test_a_made_up_spelling_is_nothing(text: str) -> None:
    assert ids.parse("contact", "cont_" + text) is None


@given(st.text(max_size=40))
def test_any_text_at_all_can_be_asked_about(text: str) -> None:
    assert ids.parse("contact", text) is None
    assert ids.parse_uuid("contact", text) is None
    assert signer.parse_communication(text) is None
    assert signer.parse_unsubscribe("u" + text) is None
    assert signer.parse_reply(text) is None


@given(some_id)
def test_a_uuid_comes_back_in_any_case(identity: int) -> None:
    spelt = ids.uuid("message", identity)
    assert spelt == spelt.lower()
    assert ids.is_uuid(spelt)
    assert spelt[14] == "8"
    assert spelt[19] in "89ab"
    assert ids.parse_uuid("message", spelt.upper()) == identity


@given(st.uuids())
def test_a_uuid_of_somebody_else_is_nothing(value: object) -> None:
    assert ids.parse_uuid("message", str(value)) is None


@pytest.mark.parametrize(
    "text", ["0", "-1", "+1", "01", " 1", "1 ", "", "\u0661", "1.0", "1e3", "9223372036854775808", "99999999999999999999"]
)
def test_what_is_no_plain_id_is_nothing(text: str) -> None:
    assert ids.parse_int(text) is None


def test_plain_ids_reach_to_the_end_of_a_bigint() -> None:
    assert ids.parse_int("1") == 1
    assert ids.parse_int("9223372036854775807") == ids.MAX_ID


@given(some_id, some_id)
def test_tokens_come_back_as_tenant_and_communication(tenant: int, communication: int) -> None:
    token = signer.communication(tenant, communication)
    assert not token.isdigit()
    assert all(char.isascii() and (char.isalnum() or char in "-_") for char in token)
    assert signer.parse_communication(token) == (tenant, communication)
    assert signer.parse_unsubscribe(signer.unsubscribe(tenant, communication)) == (tenant, communication)
    assert signer.parse_callback(signer.callback(tenant, communication)) == (tenant, communication)
    reply = signer.reply(tenant, communication)
    assert reply == reply.lower()
    assert len(reply) <= 64
    assert signer.parse_reply(reply.upper()) == (tenant, communication)


@given(some_id, some_id, st.integers(min_value=0), st.characters(min_codepoint=33, max_codepoint=126))
def test_a_token_with_one_character_changed_is_nothing(tenant: int, communication: int, place: int, char: str) -> None:
    token = signer.communication(tenant, communication)
    at = place % len(token)
    changed = token[:at] + char + token[at + 1 :]
    assert changed == token or signer.parse_communication(changed) is None


def test_a_token_of_one_purpose_is_nothing_to_another() -> None:
    assert signer.parse_unsubscribe("u" + signer.communication(1, 2)[1:]) is None
    assert signer.parse_communication("c" + signer.unsubscribe(1, 2)[1:]) is None
    assert signer.parse_callback("p" + signer.communication(1, 2)[1:]) is None
    assert signer.parse_callback(signer.communication(1, 2)) is None
    assert Signer(b"another secret").parse_communication(signer.communication(1, 2)) is None


@given(st.binary(max_size=200))
def test_a_sealed_secret_opens_again(plain: bytes) -> None:
    vault = Vault(b"k" * 32)
    assert vault.open(vault.seal(plain)) == plain


def test_a_secret_sealed_with_another_key_is_refused_in_words() -> None:
    sealed = Vault(b"one").seal(b"password")
    assert "password" not in sealed
    for damaged in (sealed, sealed[:-4], "v1.", "v9.abc", "", "v1.é"):
        with pytest.raises(Invalid, match=r"another secret key|version we know"):
            Vault(b"two").open(damaged)
