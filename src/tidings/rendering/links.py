"""Cuts link targets out of prepared HTML and text into numbered slots, and marks the place of the open pixel. Rewriting them is `plan`'s."""

import html
import re

from tidings.rendering import marks
from tidings.rendering.engine import bare_source
from tidings.rendering.segments import closes, tokens
from tidings.rendering.shield import Shield

_TAG = r"""<(a|area)\b((?:[^<>"']|"[^"]*"|'[^']*')*)>"""
_SKIP = r"<(style|script|title|textarea)\b.*?</\3\s*>|<!--.*?-->"
_HREF = re.compile(r"""(?<=\s)(href\s*=\s*)("([^"]*)"|'([^']*)'|([^\s"'>]+))""", re.IGNORECASE)
_UNTRACKED = re.compile(r"(?:^|\s)data-no-track(?=[\s=/]|$)", re.IGNORECASE)
_WEB = re.compile(r"https?://", re.IGNORECASE)
_BARE = re.compile(r"https?://[^\s<>\"'\u0000-\u001f]+", re.IGNORECASE)
_TRAILING = ".,;:!?*_~'\""
_BODY_END = re.compile(r"</body\s*>", re.IGNORECASE)
_NAME = re.compile(r"(?<![\w.])([A-Za-z_]\w*)")
_SCOPES = frozenset({"for", "macro", "call", "filter", "with", "set", "block", "autoescape"})


def cut_html(shield: Shield, hidden: str) -> tuple[str, list[str]]:
    """(HTML with a slot in place of each trackable target, the targets in document order, unescaped, expressions restored).

    Left alone: other schemes, `{{ unsubscribe_url }}`, anything with `data-no-track`, links in comments (Outlook's too), and
    targets made from a loop's or a macro's own names, which mean nothing outside of it.
    """
    targets: list[str] = []
    scope = _Scope(shield)

    def visit(found: re.Match[str]) -> str:
        whole = found.group()
        scope.pass_over(whole)
        if not found.group(1) or _UNTRACKED.search(found.group(2)):
            return whole
        return _HREF.sub(cut, whole, count=1)

    def cut(found: re.Match[str]) -> str:
        raw = next(group for group in found.groups()[2:] if group is not None)
        target = shield.restore(html.unescape(raw).strip())
        if not scope.can_cut(target):
            return found.group()
        targets.append(target)
        return f'{found.group(1)}"{marks.slot(len(targets) - 1)}"'

    pattern = re.compile(f"{_TAG}|{_SKIP}|{shield.places.pattern}", re.IGNORECASE | re.DOTALL)
    return pattern.sub(visit, hidden), targets


def cut_text(template: str, targets: list[str]) -> str:
    """The text template with a slot for each bare URL. One already among `targets` shares its slot; others are appended to it.

    URLs within an expression, or touching one, stay as they are.
    """
    shared = {target: index for index, target in reversed(list(enumerate(targets)))}
    pieces = [(token.kind, token.source) for token in tokens(template)]

    def cut(found: re.Match[str], touches: bool) -> str:
        url = _trimmed(found.group())
        if touches and found.end() == len(found.string):
            return found.group()
        index = shared.get(url)
        if index is None:
            targets.append(url)
            index = len(targets) - 1
        return marks.slot(index) + found.group()[len(url) :]

    out: list[str] = []
    for position, (kind, source) in enumerate(pieces):
        follows = position + 1 < len(pieces) and pieces[position + 1][0] != "comment"
        out.append(_BARE.sub(lambda found, touches=follows: cut(found, touches), source) if kind == "text" else source)
    return "".join(out)


def place_pixel(prepared: str) -> str:
    """The HTML with the pixel's mark before the last `</body>`, or at its end."""
    ends = list(_BODY_END.finditer(prepared))
    at = ends[-1].start() if ends else len(prepared)
    return prepared[:at] + marks.PIXEL + prepared[at:]


def is_web(target: str) -> bool:
    """Whether a rendered target is one we redirect to: http or https with a host, on one line."""
    return _WEB.match(target) is not None and len(target) > 10 and not re.search(r"[\s\x00-\x1f\x7f\\]", target)


class _Scope:
    """Which names mean something only inside a block, as one walks through the hidden expressions of a document."""

    def __init__(self, shield: Shield) -> None:
        self._shield = shield
        self._depth = 0
        self._bound: set[str] = set()

    def pass_over(self, text: str) -> None:
        for found in self._shield.places.finditer(text):
            token = self._shield.token(int(found.group(1) or found.group(2)))
            if token.kind != "tag":
                continue
            if token.word == "set":
                self._bound.update(_NAME.findall(bare_source(token.source).split("=", 1)[0]))
            if token.word in _SCOPES - {"set"}:
                self._depth += 1
            elif closes(token) and token.word[3:] in _SCOPES - {"set"}:
                self._depth = max(0, self._depth - 1)

    def can_cut(self, target: str) -> bool:
        pieces = list(tokens(target))
        dynamic = [piece for piece in pieces if piece.kind != "text"]
        if not dynamic:
            return _WEB.match(target) is not None
        if not (pieces[0].kind == "print" or _WEB.match(target)) or any(piece.kind != "print" for piece in dynamic):
            return False
        names = {name for piece in dynamic for name in _NAME.findall(bare_source(piece.source))}
        return self._depth == 0 and "unsubscribe_url" not in names and not names & self._bound


def _trimmed(url: str) -> str:
    """A bare URL without the punctuation of the sentence around it; a closing bracket stays only if it was opened inside."""
    while url:
        last = url[-1]
        if last in _TRAILING or (last in ")]}" and url.count(last) > url.count({")": "(", "]": "[", "}": "{"}[last])):
            url = url[:-1]
        else:
            break
    return url
