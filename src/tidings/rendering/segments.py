"""Cuts a Jinja template into what never changes and what must be rendered. It reads the outer syntax only; meaning is MiniJinja's.

A dynamic segment is a `{{ }}`, a `{% set %}`, or a whole block from `{% if %}` to its `{% endif %}` and the like.
"""

import re
from collections.abc import Iterable, Iterator

import msgspec

_OPEN = re.compile(r"\{\{|\{%|\{#")
_INSIDE = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[{}]|%\}""", re.DOTALL)
_WORD = re.compile(r"\{%[-+]?\s*(\w+)")
_ASSIGNMENT = re.compile(r"\{%[-+]?\s*set\s+[\w.,\s()]+=(?!=)")
_RAW_END = re.compile(r"\{%[-+]?\s*endraw\s*[-+]?%\}")
_BLOCKS = frozenset({"if", "for", "macro", "call", "filter", "with", "autoescape", "block"})


class Token(msgspec.Struct, frozen=True, gc=False):
    """A stretch of template source. `kind` is text, raw, comment, print or tag; `word` a tag's first word; `start` its place."""

    kind: str
    source: str
    start: int
    word: str = ""

    @property
    def trims_before(self) -> bool:
        """Whether it takes the white space in front of it away (`{{-`)."""
        return self.source[2:3] == "-"

    @property
    def trims_after(self) -> bool:
        """Whether it takes the white space behind it away (`-}}`)."""
        return self.source[-3:-2] == "-"


class Segment(msgspec.Struct, frozen=True, gc=False):
    """A piece of a template: literal text, or (`dynamic`) source that has to be rendered. `looped` says that it holds more than prints."""

    source: str
    dynamic: bool = False
    looped: bool = False


def tokens(template: str) -> Iterator[Token]:
    """Every stretch of `template` in order; joined, their sources are the template again."""
    position = 0
    while found := _OPEN.search(template, position):
        start = found.start()
        if start > position:
            yield Token("text", template[position:start], position)
        token = _token(template, start)
        yield token
        position = start + len(token.source)
    if position < len(template):
        yield Token("text", template[position:], position)


def segments(template: str) -> list[Segment]:
    """The template as literal and dynamic segments, neighbouring literals joined, white space control already applied to literals."""
    out: list[Segment] = []
    literal: list[str] = []
    trim, after_text = False, False
    for group in _grouped(tokens(template)):
        first, last = group[0], group[-1]
        if first.kind == "text":
            literal.append(first.source.lstrip() if trim else first.source)
            trim, after_text = False, True
            continue
        if first.trims_before and after_text:
            literal[-1] = literal[-1].rstrip()
        after_text = False
        if first.kind == "raw":
            literal.append(_unraw(first.source))
        elif first.kind != "comment":
            if "".join(literal):
                out.append(Segment("".join(literal)))
            literal = []
            out.append(Segment("".join(token.source for token in group), dynamic=True, looped=first.kind == "tag"))
        trim = last.trims_after
    if "".join(literal):
        out.append(Segment("".join(literal)))
    return out


def line_of(template: str, position: int) -> int:
    """The line, counted from one, on which `position` stands."""
    return template.count("\n", 0, position) + 1


def opens(token: Token) -> bool:
    """Whether a tag needs an end tag of its own."""
    return token.kind == "tag" and (token.word in _BLOCKS or (token.word == "set" and not _assigns(token.source)))


def closes(token: Token) -> bool:
    """Whether a tag is an end tag."""
    return token.kind == "tag" and token.word.startswith("end")


def _grouped(stream: Iterable[Token]) -> Iterator[list[Token]]:
    group: list[Token] = []
    depth = 0
    for token in stream:
        depth += opens(token) - closes(token)
        group.append(token)
        if depth <= 0:
            yield group
            group, depth = [], 0
    if group:
        yield group


def _token(template: str, start: int) -> Token:
    mark = template[start : start + 2]
    if mark == "{#":
        end = template.find("#}", start + 2)
        return Token("comment", template[start : end + 2 if end >= 0 else None], start)
    if mark == "{{":
        return Token("print", template[start : _print_end(template, start + 2)], start)
    found = _WORD.match(template, start)
    word = found.group(1) if found else ""
    end = _tag_end(template, start + 2)
    if word == "raw":
        close = _RAW_END.search(template, end)
        return Token("raw", template[start : close.end() if close else None], start)
    return Token("tag", template[start:end], start, word)


def _print_end(template: str, position: int) -> int:
    depth = 0
    while found := _INSIDE.search(template, position):
        position = found.end()
        char = found.group()
        if char == "{":
            depth += 1
        elif char == "}" and depth:
            depth -= 1
        elif char == "}" and template.startswith("}", position):
            return position + 1
    return len(template)


def _tag_end(template: str, position: int) -> int:
    while found := _INSIDE.search(template, position):
        position = found.end()
        if found.group() == "%}":
            return position
    return len(template)


def _assigns(source: str) -> bool:
    return _ASSIGNMENT.match(source) is not None


def _unraw(source: str) -> str:
    start = source.index("%}") + 2
    close = list(_RAW_END.finditer(source))[-1] if _RAW_END.search(source) else None
    inner = source[start : close.start() if close else None]
    if source[start - 3] == "-":
        inner = inner.lstrip()
    if close and close.group()[2] == "-":
        inner = inner.rstrip()
    return inner
