"""Texts as the octets of short messages, and what receipts say: no socket."""

import contextlib

import pytest
import smsutil
from hypothesis import given
from hypothesis import strategies as st

from tidings.errors import Malformed
from tidings.message import gsm, phone, pieces
from tidings.providers.smpp import alphabet, codes, pdu, receipts
from tidings.providers.smpp.alphabet import Place
from tidings.providers.smpp.pdu import Message, Number

GSM = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCXYZÄÖÑÜ§¿abcxyzäöñüà\f^{}\\[~]|€"
ANY = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=700)
NOBODY = Number(1, 1, "1")


def read(data: bytes, coding: int) -> str:
    return pieces.joined({1: (alphabet.charset(coding, "gsm"), data)}, 1)


def joined(written: alphabet.Written) -> str:
    """What a phone makes of the parts."""
    found: list[str] = []
    for data in written.parts:
        text = alphabet.unwrapped(data)[1] if len(written.parts) > 1 else data
        found.append(read(text, written.data_coding))
    return "".join(found)


# Out


@given(st.one_of(ANY, st.text(GSM, max_size=700)))
def test_every_text_arrives_whole_in_as_many_parts_as_it_has_segments(text: str):
    written = alphabet.written(text, "gsm", 7)
    assert joined(written) == text
    assert len(written.parts) == phone.segments(text).count
    places = [alphabet.unwrapped(data)[0] for data in written.parts]
    if len(places) > 1:
        assert places == [Place(7, len(places), index) for index in range(1, len(places) + 1)]


@given(st.one_of(ANY, st.text(GSM, max_size=700)))
def test_no_part_is_longer_than_a_phone_takes_and_none_ends_within_a_character(text: str):
    written = alphabet.written(text, "gsm", 0)
    several = len(written.parts) > 1
    for data in written.parts:
        rest = data[6:] if several else data
        if written.data_coding == 8:
            assert len(rest) <= (134 if several else 140)
            rest.decode("utf-16-be")
        else:
            assert len(rest) <= (153 if several else 160)
            assert rest[-1:] != b"\x1b"


@given(ANY)
def test_latin1_is_used_where_the_characters_are_in_both_alphabets(text: str):
    written = alphabet.written(text, "latin1", 0)
    assert written.data_coding in (3, 8)
    assert joined(written) == text


def test_the_alphabet_is_that_of_the_standard():
    assert gsm.written("@£$") == bytes((0, 1, 2))
    assert gsm.written("ÄÖÑÜ§¿a") == bytes(range(0x5B, 0x62))
    assert gsm.written("äöñüà") == bytes(range(0x7B, 0x80))
    assert gsm.written("€[]") == b"\x1be\x1b<\x1b>"
    assert gsm.written("ΞÆ") == b"\x1a\x1c"
    characters = [gsm.read(bytes((code,))) for code in range(128) if code != 0x1B]
    assert [smsutil.encode(char) for char in characters] == [bytes((code,)) for code in range(128) if code != 0x1B]


@given(st.one_of(ANY, st.text(GSM, max_size=700)))
def test_a_codec_of_somebody_else_cuts_and_codes_alike(text: str):
    if text:
        theirs = [part.content for part in smsutil.split(text).parts]
        assert phone.parts(text) == theirs
        written = alphabet.written(text, "gsm", 0)
        rest = [data[6:] if len(theirs) > 1 else data for data in written.parts]
        assert written.data_coding == 8 or rest == [smsutil.encode(piece) for piece in theirs]


def test_a_text_alone_has_no_header():
    assert alphabet.written("a" * 160, "gsm", 1).parts == (b"a" * 160,)
    assert alphabet.written("ж" * 70, "gsm", 1).parts == ("ж".encode("utf-16-be") * 70,)
    assert alphabet.written("", "gsm", 1).parts == ()


def test_parts_of_a_text_are_cut_before_what_belongs_together():
    assert [len(part) for part in phone.parts("a" * 152 + "€" + "b" * 10)] == [152, 11]
    assert [len(part) for part in phone.parts("ж" * 66 + "😀" + "ж" * 10)] == [66, 11]
    assert phone.parts("short") == ["short"]


# In


@given(st.binary(max_size=300), st.integers(0, 255))
def test_whatever_comes_in_is_some_text(data: bytes, coding: int):
    assert isinstance(read(data, coding), str)
    alphabet.unwrapped(data)


@pytest.mark.parametrize(
    ("data", "coding", "text"),
    [
        (b"caf\x05", 0x00, "café"),
        (b"caf\x05", 0xF1, "café"),
        (b"caf\xe9", 0x03, "café"),
        (b"caf\xe9", 0xF5, "café"),
        ("жé".encode("utf-16-be"), 0x08, "жé"),
        ("жé".encode("utf-16-be"), 0x18, "жé"),
        ("Привет".encode("iso8859-5"), 0x06, "Привет"),
        (b"\x1b\x1b\x1be", 0x00, "  €"),
        (b"a\x1b", 0x00, "a"),
    ],
)
def test_data_codings_are_read_as_the_standard_has_them(data: bytes, coding: int, text: str):
    assert read(data, coding) == text


def test_a_header_tells_of_parts_with_references_of_one_and_of_two_octets():
    assert alphabet.unwrapped(b"\x05\x00\x03\x2a\x02\x01hi") == (Place(42, 2, 1), b"hi")
    assert alphabet.unwrapped(b"\x06\x08\x04\x01\x2a\x02\x02hi") == (Place(298, 2, 2), b"hi")
    assert alphabet.unwrapped(b"\x0b\x05\x04\x0b\x84\x23\xf0\x00\x03\x01\x02\x01hi") == (Place(1, 2, 1), b"hi")


@pytest.mark.parametrize("data", [b"", b"\x05", b"\x20abc", b"\xff" * 40])
def test_a_header_that_cannot_be_read_is_left_where_it_is(data: bytes):
    assert alphabet.unwrapped(data) == (None, data)


@pytest.mark.parametrize("header", [b"\x05\x00\x03\x01\x00\x00", b"\x05\x00\x03\x01\x02\x03", b"\x05\x00\x03\x01\x01\x01"])
def test_a_part_of_none_is_a_text_of_its_own(header: bytes):
    assert alphabet.unwrapped(header + b"hi") == (None, b"hi")


@given(st.lists(st.integers(0, 1 << 20), max_size=5), st.binary(max_size=400))
def test_packets_come_whole_whatever_they_are_cut_into(cuts: list[int], body: bytes):
    wire = b"".join(pdu.Packet(5, 0, sequence, body).encoded() for sequence in range(1, 4))
    ends = sorted({cut % len(wire) for cut in cuts} | {len(wire)})
    buffer, found = bytearray(), list[pdu.Packet]()
    for begin, end in zip([0, *ends], ends, strict=False):
        buffer += wire[begin:end]
        found += pdu.packets(buffer)
    assert [packet.sequence for packet in found] == [1, 2, 3]
    assert {packet.body for packet in found} == {body}
    assert not buffer


@given(st.binary(max_size=200))
def test_a_body_is_read_or_malformed(body: bytes):
    with contextlib.suppress(Malformed):
        pdu.message(body)


@pytest.mark.parametrize("length", [0, 15, 1 << 20, 0x48545450])
def test_a_packet_of_an_impossible_length_is_no_smpp(length: int):
    with pytest.raises(Malformed):
        pdu.packets(bytearray(length.to_bytes(4) + bytes(12)))


# Receipts


def receipt(text: str, **extras: bytes) -> Message:
    tags = {"id": pdu.RECEIPTED_ID, "state": pdu.MESSAGE_STATE, "network": pdu.NETWORK_ERROR}
    return Message(NOBODY, NOBODY, text.encode(), esm_class=4, extras={tags[name]: value for name, value in extras.items()})


USUAL = "id:{id} sub:001 dlvrd:001 submit date:2506181200 done date:2506181201 stat:{stat} err:{err} text:id:no stat:no"


@pytest.mark.parametrize(
    ("stat", "err", "kind", "code"),
    [
        ("DELIVRD", "000", "delivered", ""),
        ("DELIVERED", "000", "delivered", ""),
        ("UNDELIV", "069", "bounced", "UNDELIV 069"),
        ("EXPIRED", "000", "bounced", "EXPIRED"),
        ("REJECTD", "", "bounced", "REJECTD"),
        ("DELETED", "0", "bounced", "DELETED"),
    ],
)
def test_the_usual_receipt_is_read(stat: str, err: str, kind: str, code: str):
    text = USUAL.format(id="A1B2", stat=stat, err=err)
    found = receipts.notice(receipt(text), text, 5)
    assert found is not None
    assert (found.provider_id, found.kind, found.code, found.at) == ("A1B2", kind, code, 5)
    assert kind == "delivered" or (found.detail and not found.hard)


@pytest.mark.parametrize("stat", ["ENROUTE", "ACCEPTD", "UNKNOWN", "", "nonsense"])
def test_a_step_on_the_way_is_no_end(stat: str):
    text = USUAL.format(id="1", stat=stat, err="0")
    assert receipts.notice(receipt(text), text, 5) is None


def test_optional_parameters_outweigh_the_words():
    text = USUAL.format(id="1", stat="DELIVRD", err="000")
    found = receipts.notice(receipt(text, id=b"beef\0", state=b"\x05", network=b"\x03\x00\x01"), text, 5)
    assert found is not None
    assert (found.provider_id, found.kind, found.hard) == ("beef", "bounced", True)


def test_an_absent_subscriber_is_no_hard_bounce():
    found = receipts.notice(receipt("", id=b"1\0", state=b"\x05", network=b"\x03\x00\x1b"), "", 5)
    assert found is not None
    assert not found.hard


@given(st.text(max_size=200))
def test_no_receipt_is_a_crash(text: str):
    receipts.notice(receipt(text), text, 0)
    receipts.spellings(text, "auto")


def test_names_are_looked_for_as_the_carrier_spells_them():
    assert receipts.spellings("6699", "same") == ("6699",)
    assert receipts.spellings("6699", "hex")[:2] == ("1A2B", "1a2b")
    assert receipts.spellings("1a2B", "decimal")[0] == "6699"
    assert receipts.spellings("6699", "auto")[:2] == ("6699", "1A2B")
    assert receipts.spellings("not-a-number", "hex") == ("not-a-number",)


# What a status means


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (0x0B, "refused"), (0x01, "refused"), (0x65, "refused"), (0xFE, "refused"), (0x33, "refused"), (0x12345678, "refused"),
        (0x58, "deferred"), (0x14, "deferred"), (0x08, "deferred"), (0x45, "deferred"), (0x64, "deferred"), (0x411, "deferred"),
        (0x0A, "paused"), (0x04, "paused"), (0x0D, "paused"), (0x53, "paused"),
    ],
)  # fmt: skip
def test_a_status_means(status: int, kind: str):
    outcome = codes.judged(status)
    assert outcome.kind == kind
    assert f"{status:08X}" in outcome.reason


# Parts


def test_parts_are_joined_in_their_order_and_missing_ones_show():
    parts = {5: ("latin-1", b"e"), 2: ("latin-1", b"b")}
    assert pieces.joined(parts, 5) == "[…]b[…]e"
    assert pieces.joined(parts | {1: ("gsm", b"\x00"), 3: ("utf-16-be", "ж".encode("utf-16-be")), 4: ("latin-1", b"d")}, 5) == "@bжde"


def test_a_character_that_was_cut_in_two_is_whole_again():
    octets = "жук 🐞!".encode("utf-16-be")
    cut = octets.index("🐞".encode("utf-16-be")) + 2
    assert pieces.joined({1: ("utf-16-be", octets[:cut]), 2: ("utf-16-be", octets[cut:])}, 2) == "жук 🐞!"
    assert pieces.joined({1: ("gsm", b"5 \x1b"), 2: ("gsm", b"e")}, 2) == "5 €"
