"""Segments are counted as another codec counts them, and typographic characters give way where that makes a text cheaper."""

import unicodedata

import pytest
import smsutil
from hypothesis import example, given
from hypothesis import strategies as st

from tidings.message import phone

GSM = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCXYZÄÖÑÜ§¿abcxyzäöñüà"
EXTENSION = "^{}\\[~]|€"
ANYTHING = st.text(st.one_of(st.sampled_from(GSM + EXTENSION), st.characters(exclude_categories=("Cs",))), min_size=1, max_size=330)
GSM_ONLY = st.text(st.sampled_from(GSM + EXTENSION), min_size=120, max_size=480)


@given(st.one_of(ANYTHING, GSM_ONLY))
@example("{" * 77 + "a" + "{" * 76)
@example("a" * 152 + "€" * 90)
@example("я" * 66 + "🎉" * 3)
@example("🎉" * 35)
@example("🎉" * 36)
@example("a" * 160)
@example("a" * 161)
@example("я" * 70)
@example("я" * 71)
def test_a_codec_of_somebody_else_divides_a_text_into_as_many(text: str):
    theirs = smsutil.split(text)
    ours = phone.segments(text)
    assert (ours.encoding == "GSM-7") == smsutil.is_valid_gsm(text)
    assert ours.count == len(theirs.parts)


@given(ANYTHING)
def test_smart_text_is_gsm_and_no_dearer_or_what_it_was(text: str):
    made = phone.smart(text)
    assert made == text or phone.segments(made).encoding == "GSM-7"
    assert phone.segments(made).count <= phone.segments(text).count
    assert phone.smart(made) == made


@given(st.text(st.sampled_from(GSM + EXTENSION)))
def test_a_text_that_is_gsm_already_stays_as_it_is(text: str):
    assert phone.smart(text) == text


@pytest.mark.parametrize(
    ("text", "smart"),
    [
        ("\u201cHello\u201d \u2018you\u2019", "\"Hello\" 'you'"),
        ("\u00abOui\u00bb \u2013 non \u2014 \u2212 1", '"Oui" - non - - 1'),
        ("wait\u2026", "wait..."),
        ("10\u00a0000\u202f€\u2009x", "10 000 €x".replace("€x", "€ x")),
        ("\u2022 one\n\u2022 two", "* one\n* two"),
        ("o\ufb03ce \ufb02at", "office flat"),
        ("\uff33\uff2f\uff33\uff01", "SOS!"),
        ("soft\u00adhyphen zero\u200bwidth\ufeff", "softhyphen zerowidth"),
        ("col\tumn", "col umn"),
        ("line\u2028end", "line\nend"),
        ("caf" + unicodedata.normalize("NFD", "é"), "café"),
        ("`code` and 5\u2032", "'code' and 5'"),
    ],
)
def test_typographic_characters_give_way(text: str, smart: str):
    assert phone.smart(text) == smart
    assert phone.segments(smart).encoding == "GSM-7"


@pytest.mark.parametrize("text", ["\u201cHi\u201d 🎉", "\u2018Эй\u2019", "\u2026 ça va", "\u2013 žluťoučký"])
def test_what_needs_ucs2_anyway_keeps_its_typography(text: str):
    assert phone.smart(text) == text
