"""A keyword is found when it is the whole message, however it is dressed, and never when there is another word; and what a tenant may add."""

import unicodedata

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.errors import Invalid, Malformed
from tidings.message import keywords
from tidings.message.keywords import USUAL, Keywords

MEANT = [(word, meaning) for meaning, words in USUAL.items() for word in words]
DRESS = st.text(
    st.characters(categories=("P", "S", "Z", "Cc", "Cf")).filter(
        # a sign that stands for letters (™, ℠, №) is a word to the reader and to us
        lambda char: not any(unicodedata.category(part)[0] in "LN" for part in unicodedata.normalize("NFKC", char))
    ),
    max_size=20,
)
WORD = st.text(st.characters(categories=("L", "N")), min_size=1, max_size=12)


@pytest.mark.parametrize(("word", "meaning"), MEANT)
def test_every_usual_word_means_what_it_says(word: str, meaning: str):
    assert Keywords().find(word) == meaning
    assert Keywords().find(word.lower()) == meaning


@pytest.mark.parametrize(
    "text",
    [
        "Stop!",
        '  "STOP".  ',
        "sToP",
        "STOP\n",
        "«stop»",
        "“Stop”",
        "¡STOP!",
        "\uff0a\uff33\uff34\uff2f\uff30\uff0a",
        "\uff53\uff54\uff4f\uff50\uff01",
        "ⓢⓣⓞⓟ",
        "\u200bST\u200bOP\u200b",
        "\ufeffstop",
        "STOP\u00a0🛑",
        "STOP ❤️",
        "STOP 👍🏽",
        "STOP\u00b4",
        "-stop-",
        "> STOP",
        "(stop)",
        "STOP…",
        "*STOP*\r\n\r\n",
    ],
)
def test_a_dressed_stop_stops(text: str):
    assert Keywords().find(text) == "stop"


@pytest.mark.parametrize(
    "text",
    [
        "please don't stop",
        "stop it",
        "Stop, please",
        "STOP STOP",
        "s t o p",
        "st.op",
        "stop-and-go",
        "nonstop",
        "STOP 2",
        "STOP1",
        "stop\n--\nSent from my phone",
        "st\u0300op",
        "yes please",
        "the end",
        "",
        "   ",
        "?",
        "🛑",
        "STOP" + "!" * 300,
    ],
)
def test_anything_more_than_the_word_is_a_message_like_others(text: str):
    assert Keywords().find(text) is None


@given(st.sampled_from(MEANT), st.lists(st.booleans(), min_size=11, max_size=11), DRESS, DRESS)
def test_a_word_in_any_case_between_any_signs_is_found(meant: tuple[str, str], capitals: list[bool], before: str, after: str):
    word, meaning = meant
    cased = "".join(char.upper() if capital else char.lower() for char, capital in zip(word, capitals, strict=False))
    assert Keywords().find(before + cased + after) == meaning


@given(st.sampled_from(MEANT), WORD, DRESS, st.booleans())
def test_a_word_beside_another_is_not(meant: tuple[str, str], other: str, dress: str, first: bool):
    text = f"{other}{dress} {meant[0]}" if first else f"{meant[0]} {dress}{other}"
    assert Keywords().find(text) is None


@given(st.text(max_size=60))
def test_folding_is_done_after_one_go(text: str):
    once = keywords.folded(text)
    assert keywords.folded(once) == once


def test_a_tenants_words_add_to_the_usual_ones():
    own = keywords.parse('{"stop": ["ARRÊT", "No más", "रोको", "İPTAL", "停止"], "start": ["OUI"], "help": ["AIDE"]}')
    assert own.find("arrêt!") == own.find("ARRE\u0302T") == own.find("no  MÁS.") == own.find("रोको।") == own.find("停止。") == "stop"
    assert own.find("iptal") == own.find("IPTAL") == own.find("İptal") == "stop"
    assert own.find("Oui") == "start"
    assert own.find("aide ?") == "help"
    assert own.find("STOP") == "stop"
    assert own.find("yes") == "start"
    assert Keywords().find("arrêt") is None


def test_answers_name_the_sender():
    assert Keywords().answer("stop", "Acme").startswith("Acme: You are unsubscribed")
    assert "STOP" in Keywords().answer("start", "Acme")
    assert "STOP" in Keywords().answer("help", "Acme")
    own = keywords.parse('{"answers": {"stop": "Au revoir de {sender}. {price}", "help": ""}}')
    assert own.answer("stop", "Acme") == "Au revoir de Acme. {price}"
    assert own.answer("help", "Acme") == ""
    assert own.answer("start", "Acme") == Keywords().answer("start", "Acme")


def test_nothing_stored_is_the_usual():
    assert keywords.parse(None) == keywords.parse("") == keywords.parse("{}") == Keywords()


def test_words_are_kept_once_and_trimmed_and_survive_being_stored():
    own = keywords.parse('{"stop": [" Stopp ", "Stopp", "ENDE"]}')
    assert own.stop == ("Stopp", "ENDE")
    assert keywords.parse(msgspec.json.encode(own)) == own


@pytest.mark.parametrize(
    ("stored", "complaint"),
    [
        ('{"stop": ["ja"], "start": ["Ja!"]}', "start has 'Ja!', which means stop"),
        ('{"stop": ["yes"]}', "stop has 'yes', which means start"),
        ('{"help": ["!?"]}', "help has '!?', which is no word"),
        ('{"help": [""]}', "help has '', which is no word"),
        ('{"start": ["' + "a" * 41 + '"]}', "longer than 40 characters"),
        ('{"start": ["a\\u0000b"]}', "cannot be seen"),
        (msgspec.json.encode({"stop": [f"wort{number}" for number in range(51)]}), "at most 50 words"),
        ('{"answers": {"stop": "bye\\u0000"}}', "answers.stop must have no control characters"),
        (msgspec.json.encode({"answers": {"stop": "a" * 641}}), "640"),
        ('{"answers": {"help": "Hello {{ first_name }}"}}', "answers.help must not contain"),
        ('{"stopp": []}', "stopp"),
        ('{"stop": "ende"}', "stop"),
        ("[]", "object"),
    ],
)
def test_what_cannot_be_used_is_said(stored: str | bytes, complaint: str):
    with pytest.raises(Invalid, match=r".*") as refusal:
        keywords.parse(stored)
    assert complaint in refusal.value.message


@pytest.mark.parametrize("stored", ["{", "no"])
def test_what_is_not_json_is_malformed(stored: str):
    with pytest.raises(Malformed):
        keywords.parse(stored)
