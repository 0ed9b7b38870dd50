"""What can be done once for a content: its dynamic segments compiled together, its literal text encoded, its links rewritten or put back."""

import html as htmllib
from collections.abc import Sequence
from typing import Any

import msgspec

from tidings.domain.templates import Content
from tidings.message import build
from tidings.rendering import marks
from tidings.rendering.context import Variable
from tidings.rendering.engine import Program
from tidings.rendering.segments import Segment, segments, tokens

LINK_PATH = "/api/v1/communications/link/"
"""Then the communication's token, a slash, and the link's index."""
TRACK_PATH = "/api/v1/communications/track/"
"""Then the communication's token."""

_PIXEL_STYLE = "display:block;width:1px;height:1px;border:0"


class Skeleton:
    """The bytes of a body with gaps: where the token goes, and where which rendered segment goes."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.token_at: list[int] = []
        self.value_at: list[tuple[int, int]] = []

    def verbatim(self, raw: bytes) -> None:
        """Bytes that are no body text: a MIME frame."""
        self.pieces.append(raw)

    def body(self, part: Sequence[Segment], first_value: int) -> None:
        """One part's segments; its dynamic ones are the rendered texts from `first_value` on."""
        for segment in part:
            if segment.dynamic:
                self.value_at.append((len(self.pieces), first_value))
                self.pieces.append(b"")
                first_value += 1
                continue
            for position, literal in enumerate(segment.source.split(marks.TOKEN)):
                if position:
                    self.token_at.append(len(self.pieces))
                    self.pieces.append(b"")
                if literal:
                    self.pieces.append(build.open_ended(build.quoted(literal)))

    def close(self) -> None:
        """Joins neighbouring pieces; nothing may be added any more."""
        gaps = {*self.token_at, *(position for position, _ in self.value_at)}
        joined: list[bytes] = []
        moved: dict[int, int] = {}
        fresh = True
        for position, piece in enumerate(self.pieces):
            if position in gaps or fresh:
                moved[position] = len(joined)
                joined.append(piece)
            else:
                joined[-1] += piece
            fresh = position in gaps
        self.pieces = joined
        self.token_at = [moved[position] for position in self.token_at]
        self.value_at = [(moved[position], value) for position, value in self.value_at]

    def filled(self, head: bytes, token: bytes, values: Sequence[str]) -> bytes:
        """`head` and the body, its gaps filled."""
        pieces = self.pieces.copy()
        for position in self.token_at:
            pieces[position] = token
        quoted_value = build.quoted_value
        for position, value in self.value_at:
            pieces[position] = quoted_value(values[value])
        pieces.insert(0, head)
        return b"".join(pieces)


class Plan:
    """A content made ready for one choice of tracking. Rendered texts come in the order subject, text, HTML."""

    def __init__(self, content: Content, public_url: str, *, opens: bool, links: bool) -> None:
        targets: list[str] = msgspec.json.decode(content.links, type=list[str])
        self.subject = segments(content.subject)
        self.text = segments(_ended(_with_links(content.text, targets, public_url if links else "", escape=False)))
        html = _with_links(content.html, targets, public_url if links else "", escape=True)
        self.html = segments(_ended(html.replace(marks.PIXEL, _pixel(public_url) if opens else "")))
        if content.channel == "sms":
            self.text, self.html = segments(content.text), []
        self.program = Program([(False, self.subject), (False, self.text), (True, self.html)])
        self.names = tuple(sorted(self.program.names))
        in_subject, in_text, in_html = self.program.counts
        self.first_text, self.first_html = in_subject, in_subject + in_text
        self.expected = self.first_html + in_html
        self.fixed_subject = "" if in_subject else "".join(segment.source for segment in self.subject).strip()
        self.subject_line = b"" if in_subject else build.header("Subject", self.fixed_subject)
        self.mime, self.skeleton = self._framed(content)

    def _framed(self, content: Content) -> tuple[bytes, Skeleton]:
        skeleton = Skeleton()
        if self.html and any(segment.dynamic or segment.source.strip() for segment in self.text):
            line, before, between, after = build.frame(f"=_tidings_{content.id:x}")
            skeleton.verbatim(before)
            skeleton.body(self.text, self.first_text)
            skeleton.verbatim(between)
            skeleton.body(self.html, self.first_html)
            skeleton.verbatim(after)
            mime = line
        elif self.html:
            mime = build.content_lines("html")
            skeleton.body(self.html, self.first_html)
        else:
            mime = build.content_lines("plain")
            skeleton.body(self.text, self.first_text)
        skeleton.close()
        return mime, skeleton


class Ready:
    """A content and what has been made of it so far: one plan for each choice of tracking that was asked for."""

    def __init__(self, content: Content, public_url: str) -> None:
        self.content = content
        self._public_url = public_url
        self._plans: dict[tuple[bool, bool], Plan] = {}
        declared = msgspec.json.decode(content.variables, type=list[Variable])
        self.defaults: dict[str, Any] = {variable.name: variable.default for variable in declared if variable.default is not None}

    def plan(self, opens: bool, links: bool) -> Plan:
        """The plan for this tracking, made when first asked for."""
        found = self._plans.get((opens, links))
        if found is None:
            found = self._plans[opens, links] = Plan(self.content, self._public_url, opens=opens, links=links)
        return found


def joined(part: Sequence[Segment], values: Sequence[str], first_value: int, token: str) -> str:
    """One part as text: its literals and its rendered segments, tokens filled in."""
    out: list[str] = []
    for segment in part:
        if segment.dynamic:
            out.append(values[first_value])
            first_value += 1
        else:
            out.append(segment.source)
    return "".join(out).replace(marks.TOKEN, token)


def _with_links(template: str, targets: Sequence[str], public_url: str, *, escape: bool) -> str:
    """The template with every slot filled: the tracked URL when `public_url` is given, else the target as it was."""

    def fill(index: int) -> str:
        if index >= len(targets):
            return ""
        if public_url:
            return f"{public_url}{LINK_PATH}{marks.TOKEN}/{index}"
        return _escaped(targets[index]) if escape else targets[index]

    return marks.SLOT.sub(lambda found: fill(int(found.group(1))), template)


def _escaped(target: str) -> str:
    return "".join(htmllib.escape(token.source) if token.kind == "text" else token.source for token in tokens(target))


def _pixel(public_url: str) -> str:
    return f'<img src="{public_url}{TRACK_PATH}{marks.TOKEN}" width="1" height="1" alt="" style="{_PIXEL_STYLE}">'


def _ended(template: str) -> str:
    # A body ends with a line end, so that no soft break is the last thing in it.
    return template if not template or template.endswith("\n") else template + "\n"
