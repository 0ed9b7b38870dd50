"""Hides template expressions from HTML tools behind harmless words, and brings them back: an inliner must not escape or move `{{ }}`."""

import re
from collections.abc import Iterator

from tidings.rendering.segments import Token, closes, opens, tokens

_MARKUP = re.compile(r"""<!--|-->|<(/?)([A-Za-z][\w:-]*)|["'>]""")
_RAW_TEXT = frozenset({"title", "textarea", "style", "script", "mj-title", "mj-preview", "mj-style"})


class Shield:
    """One template's expressions, by number. `hidden` is the HTML with a word for each, a comment where it stands between tags."""

    def __init__(self, template: str) -> None:
        self._word = _unused(template)
        self._place = re.compile(rf'<!--{self._word}(\d+)q-->|{self._word}(\d+)q(?:="")?')
        self._tokens: list[Token] = []
        place = _Place()
        out: list[str] = []
        stream = tokens(template)
        for token in stream:
            if token.kind == "text":
                out.append(token.source)
                place.pass_over(token.source)
            elif token.kind != "comment":
                # A comment may stand anywhere between tags, even among table rows, whence an HTML parser throws text out.
                word = f"{self._word}{len(self._tokens)}q"
                out.append(f"<!--{word}-->" if place.between_tags else word)
                self._tokens.append(_whole(token, stream) if place.among_attributes and opens(token) else token)
        self.hidden = "".join(out)

    def survives(self, changed: str) -> bool:
        """Whether a tool left every expression in, and the blocks in their order: attributes may change places, `if` and `endif` not."""
        before, after = self._numbers(self.hidden), self._numbers(changed)
        blocks = [[number for number in numbers if self._tokens[number].kind == "tag"] for numbers in (before, after)]
        return blocks[0] == blocks[1] and sorted(before) == sorted(after)

    def _numbers(self, text: str) -> list[int]:
        return [int(found.group(1) or found.group(2)) for found in self._place.finditer(text)]

    @property
    def places(self) -> re.Pattern[str]:
        """Finds a hidden expression: group 1 or 2 is its number."""
        return self._place

    def token(self, number: int) -> Token:
        """The expression hidden under `number`."""
        return self._tokens[number]

    def joined_lines(self, text: str) -> str:
        """`text` with the line end behind each tag that has a line to itself taken away: a loop adds no empty lines."""
        alone = re.compile(rf"^[ ]*({self._place.pattern})\n+", re.MULTILINE)
        return alone.sub(
            lambda found: found.group(1) if self._tokens[int(found.group(2) or found.group(3))].kind == "tag" else found.group(), text
        )

    def without_blocks(self, text: str) -> str:
        """`text` with the words of printed expressions only."""
        return self._place.sub(
            lambda found: found.group() if self._tokens[int(found.group(1) or found.group(2))].kind == "print" else "", text
        )

    def restore(self, text: str) -> str:
        """`text` with every expression back in its place."""
        return self._place.sub(lambda found: self._tokens[int(found.group(1) or found.group(2))].source, text)


class _Place:
    """Where in HTML one stands: between tags, within a tag, a comment, or the text of an element that knows no comments."""

    def __init__(self) -> None:
        self._raw = ""
        self._in_tag = ""
        self._quote = ""
        self._in_comment = False

    @property
    def between_tags(self) -> bool:
        return not (self._raw or self._in_tag or self._in_comment)

    @property
    def among_attributes(self) -> bool:
        return bool(self._in_tag) and not self._quote

    def pass_over(self, text: str) -> None:
        for found in _MARKUP.finditer(text):
            mark = found.group()
            if self._in_comment:
                self._in_comment = mark != "-->"
            elif self._in_tag:
                self._within_tag(mark)
            elif self._raw:
                if found.group(1) == "/" and found.group(2).lower() == self._raw:
                    self._raw, self._in_tag = "", "/"
            elif mark == "<!--":
                self._in_comment = True
            elif found.group(2):
                self._in_tag = "/" if found.group(1) else found.group(2).lower()

    def _within_tag(self, mark: str) -> None:
        if self._quote:
            if mark == self._quote:
                self._quote = ""
        elif mark in ('"', "'"):
            self._quote = mark
        elif mark in (">", "-->"):
            self._raw = self._in_tag if self._in_tag in _RAW_TEXT else ""
            self._in_tag = ""


def _whole(first: Token, stream: Iterator[Token]) -> Token:
    """A block among a tag's attributes as one expression, its end and all between included: attributes may be put in another order."""
    depth, sources = 1, [first.source]
    for token in stream:
        depth += opens(token) - closes(token)
        sources.append(token.source)
        if not depth:
            break
    return Token("block", "".join(sources), first.start, first.word)


def _unused(template: str) -> str:
    word = "tjx"
    lower = template.lower()
    while word in lower:
        word += "z"
    return word
