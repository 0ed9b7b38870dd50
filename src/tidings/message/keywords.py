"""The words that stop, start and help when a text message consists of nothing else, and what is answered to them.

US carriers demand the English ones of everybody (CTIA Messaging Principles; 47 CFR 64.1200(a)(10)), so they always work; translations add to them.
"""

import unicodedata
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from tidings.errors import Invalid, Malformed

Keyword = Literal["stop", "start", "help"]

USUAL: Final[dict[Keyword, tuple[str, ...]]] = {
    "stop": ("STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT"),
    "start": ("START", "UNSTOP", "YES"),
    "help": ("HELP", "INFO"),
}
MOST_WORDS = 50
"""Translations in each list."""
LONGEST_WORD = 40
LONGEST_ANSWER = 640
"""Characters: about four segments of GSM-7."""
_LONGEST_MESSAGE = 200
"""Characters that are looked at: a longer text is no keyword, whatever surrounds it."""
_SENDER = "{sender}"

# Capitals that Unicode's case folding leaves with a dot, or without one, as only Turkish means them.
_TURKISH = str.maketrans({"\u0130": "i", "\u0131": "i"})
# Variation selectors and the keycap belong to the sign before them, and say nothing by themselves.
_SILENT = frozenset([*map(chr, range(0xFE00, 0xFE10)), *map(chr, range(0xE0100, 0xE01F0)), "\u20e3"])

Words = tuple[str, ...]
Said = Annotated[str, Meta(max_length=LONGEST_ANSWER)]


class Answers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is written back; `{sender}` stands for the tenant's name. An empty one answers nothing, for a carrier that answers itself."""

    stop: Said = "{sender}: You are unsubscribed and will get no more texts from us. Reply START to get them again."
    start: Said = "{sender}: You will get our texts again. Reply STOP to end them, HELP for help."
    help: Said = "{sender}: Reply STOP to get no more texts from us, START to get them again."


class Keywords(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tenant's own words, which add to the usual ones, and its answers."""

    stop: Words = ()
    start: Words = ()
    help: Words = ()
    answers: Answers = Answers()

    def find(self, text: str) -> Keyword | None:
        """What a text asks for: it is one of the words as a whole, in any case, whatever space, punctuation or emoji surround it."""
        if len(text) > _LONGEST_MESSAGE:
            return None
        said = folded(text)
        return next((keyword for keyword in _lists(self) if any(folded(word) == said for word in self.words(keyword))), None)

    def words(self, keyword: Keyword) -> Words:
        """Every word that means this, the usual ones first."""
        return USUAL[keyword] + _lists(self)[keyword]

    def answer(self, keyword: Keyword, sender: str) -> str:
        """What is written back to it in the name of `sender`; "" is nothing."""
        texts: dict[Keyword, str] = {"stop": self.answers.stop, "start": self.answers.start, "help": self.answers.help}
        return texts[keyword].replace(_SENDER, sender)


def folded(text: str) -> str:
    """A text as it is compared: one case and one width for every letter, what cannot be seen left out, and only words at its ends.

    What is between words stays as it is, but for white space, which becomes one space.
    """
    kept: list[str] = []
    lettered = False
    for char in unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text.translate(_TURKISH)).casefold()):
        category = unicodedata.category(char)
        if category == "Cf" or char in _SILENT:
            continue
        # an accent belongs to its letter; one alone is a sign like others
        lettered = category[0] in "LN" or (category[0] == "M" and lettered)
        kept.append(char if lettered else " " if char.isspace() or category[0] in "ZCM" else char)
    while kept and not _is_of_word(kept[-1]):
        kept.pop()
    first = next((index for index, char in enumerate(kept) if _is_of_word(char)), 0)
    return " ".join("".join(kept[first:]).split())


def checked(keywords: Keywords) -> Keywords:
    """The same, each word once and without space around it. Raises Invalid naming what is wrong."""
    lists = {name: tuple(dict.fromkeys(word.strip() for word in words)) for name, words in _lists(keywords).items()}
    meant = {folded(word): name for name, words in USUAL.items() for word in words}
    for name, words in lists.items():
        if len(words) > MOST_WORDS:
            raise Invalid.field(name, f"must have at most {MOST_WORDS} words")
        for word in words:
            _check(name, word)
            other = meant.setdefault(folded(word), name)
            if other != name:
                raise Invalid.field(name, f"has {word!r}, which means {other}")
    for name, text in msgspec.structs.asdict(keywords.answers).items():
        if any(unicodedata.category(char) in ("Cc", "Cs") and char != "\n" for char in text):
            raise Invalid.field(f"answers.{name}", "must have no control characters")
        if any(mark in text for mark in ("{{", "{%", "{#")):
            raise Invalid.field(f"answers.{name}", "must not contain {{, {% or {#: it is sent as it stands")
    return Keywords(lists["stop"], lists["start"], lists["help"], keywords.answers)


def parse(stored: str | bytes | None) -> Keywords:
    """Out of JSON; None and "" are the usual ones. Raises Malformed, or Invalid naming what is wrong."""
    if not stored:
        return Keywords()
    try:
        return checked(msgspec.json.decode(stored, type=Keywords))
    except msgspec.ValidationError as error:
        raise Invalid(f"The keywords cannot be used: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(f"The keywords are not JSON: {error}") from error


def _lists(keywords: Keywords) -> dict[Keyword, Words]:
    return {"stop": keywords.stop, "start": keywords.start, "help": keywords.help}


def _check(name: str, word: str) -> None:
    if not folded(word):
        raise Invalid.field(name, f"has {word!r}, which is no word")
    if len(word) > LONGEST_WORD:
        raise Invalid.field(name, f"has {word[:LONGEST_WORD]!r}…, which is longer than {LONGEST_WORD} characters")
    if not word.isprintable():
        raise Invalid.field(name, f"has {word!a}, which has characters that cannot be seen")


def _is_of_word(char: str) -> bool:
    return unicodedata.category(char)[0] in "LNM"
