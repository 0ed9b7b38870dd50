"""Addresses and numbers have one form, and what is none is refused in words that name the field."""

import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tidings.errors import Invalid
from tidings.message import address, phone
from tidings.message.outgoing import Address

_LOCAL = st.text(alphabet="abcXYZ019._+-!#'{}`~@ \"é", min_size=1, max_size=66)
_DOMAIN = st.text(alphabet="abXYZ09.-_xn", min_size=1, max_size=70)
_ENDING = st.sampled_from(["com", "test", "Local", "invalid", "co.uk", "c", "x1", "onion", "museum", "arpa", ""])


def _oracle(text: str) -> str | None:
    try:
        valid = validate_email(text, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        return None
    return f"{valid.local_part}@{valid.ascii_domain}" if "." in valid.ascii_domain else None


@settings(max_examples=600)
@given(_LOCAL, _DOMAIN, _ENDING)
@example("a", "b", "com")
@example("a" * 64, "x.y", "com")
@example("a" * 65, "x.y", "com")
@example("a.b+c", "ab--c", "com")
@example("a", "xn--bcher-kva", "de")
@example("a", ("a" * 60 + ".") * 3 + "aaaaaaaaaa", "com")
@example("a", "b", "com\n")
def test_an_address_gets_the_form_that_email_validator_gives_it(local: str, domain: str, ending: str) -> None:
    text = f"{local}@{domain}.{ending}"
    expected = _oracle(text.strip())
    if expected is None:
        with pytest.raises(Invalid, match="email is not an email address"):
            address.normalise(text)
    else:
        assert address.normalise(text) == expected
        assert address.normalise(expected) == expected
    if address.is_plain(text):
        assert expected == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a@b.test", Address("a@b.test")),
        ("<a@B.test>", Address("a@b.test")),
        ("Ann Lee <A@b.test>", Address("A@b.test", "Ann Lee")),
        ('"Lee, \\"Ann\\"" <a@b.test>', Address("a@b.test", 'Lee, "Ann"')),
        ("Zoë <zoë@bücher.test>", Address("zoë@xn--bcher-kva.test", "Zoë")),
    ],
)
def test_a_mailbox_is_read_with_its_name(text: str, expected: Address) -> None:
    assert address.parse(text) == expected


@pytest.mark.parametrize(
    "text", ["a@b", "a", "", "a@@b.test", "Ann <a@b.test", "a@b.test\r\nBcc: x@y.test", "A\r\nBcc: x <a@b.test>", "<>", "a b@c.test"]
)
def test_what_is_no_mailbox_is_refused_by_field(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        address.parse(text, "reply_to")
    assert list(caught.value.fields) == ["reply_to"]
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("bad", ["a\r\nb", "a\nb", "a\x00b", "a\tb", "a\x7f", "a\u2028b", "a\x85b"])
def test_control_characters_in_a_subject_are_refused(bad: str) -> None:
    with pytest.raises(Invalid, match="subject must not contain"):
        address.refuse_control(bad, "subject")


def test_numbers_become_e164() -> None:
    assert phone.normalise("+31 6 1234 5678") == "+31612345678"
    assert phone.normalise("06-12345678", "nl") == "+31612345678"
    assert phone.normalise("(212) 736-5000", "US") == "+12127365000"


@pytest.mark.parametrize("text", ["", "abc", "12", "0612345678", "+999123456789", "+31 6 12"])
def test_what_is_no_number_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(Invalid, match="phone is not a phone number"):
        phone.normalise(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ("GSM-7", 0, 0, 160)),
        ("a" * 160, ("GSM-7", 160, 1, 0)),
        ("a" * 161, ("GSM-7", 161, 2, 145)),
        ("a" * 306, ("GSM-7", 306, 2, 0)),
        ("a" * 307, ("GSM-7", 307, 3, 152)),
        ("€" * 80, ("GSM-7", 160, 1, 0)),
        ("a" * 152 + "€" + "b" * 10, ("GSM-7", 164, 2, 141)),
        ("it\u2019s", ("UCS-2", 4, 1, 66)),
        ("я" * 70, ("UCS-2", 70, 1, 0)),
        ("я" * 71, ("UCS-2", 71, 2, 63)),
        ("я" * 66 + "😀" + "я" * 4, ("UCS-2", 72, 2, 61)),
        ("ç", ("UCS-2", 1, 1, 69)),
        ("Ç\n@£", ("GSM-7", 4, 1, 156)),
    ],
)
def test_segments_are_counted_as_the_network_counts_them(text: str, expected: tuple[str, int, int, int]) -> None:
    found = phone.segments(text)
    assert (found.encoding, found.units, found.count, found.remaining) == expected


@given(st.text(alphabet="aé€^[я😀", max_size=400))
def test_segments_hold_all_units_and_divide_no_pair(text: str) -> None:
    found = phone.segments(text)
    per = {"GSM-7": 153, "UCS-2": 67}[found.encoding]
    if found.count > 1:
        wasted = found.count * per - found.units - found.remaining
        assert 0 <= wasted < found.count
