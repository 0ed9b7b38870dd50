"""The text part of a mail, read off its HTML: paragraphs, headings, lists, tables and links as one would type them."""

import re
from collections.abc import Sequence

import msgspec
from selectolax.lexbor import LexborHTMLParser, LexborNode

_HIDDEN = frozenset({"head", "style", "script", "title", "template", "noscript", "textarea", "select", "svg", "object"})
_BLOCKS = frozenset(
    """address article aside blockquote body center dd div dl dt fieldset figcaption figure footer form h1 h2 h3 h4 h5 h6 header
    li main nav ol p pre section table tbody td tfoot th thead tr ul""".split()
)
_SPACED = frozenset({"p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "table", "blockquote", "pre", "dl"})
_SPACES = re.compile(r"[ \t\r\n\f]+")
_NOT_SHOWN = re.compile(r"display\s*:\s*none|mso-hide\s*:\s*all", re.IGNORECASE)
_NOWHERE = re.compile("(?!)")


class Marks(msgspec.Struct, frozen=True):
    """What in prepared HTML stands for something else and is kept: `slot` finds the place of link target `targets[group 1]`, `place` others."""

    slot: re.Pattern[str]
    targets: Sequence[str]
    place: re.Pattern[str]


_NONE = Marks(_NOWHERE, (), _NOWHERE)


def from_html(html: str, marks: Marks = _NONE) -> str:
    """Text for HTML. A link reads `text (url)`; only the URL, where its text says the same. Raises RecursionError on very deep HTML."""
    tree = LexborHTMLParser(html)
    writer = _Writer(marks)
    root = tree.root
    if root is not None:
        # An expression in front of the first tag stands beside the root, not in it.
        writer.walk(root.parent or root)
    return writer.finished()


class _Writer:
    """Collects lines. `_gap` is how many line ends are owed before the next word."""

    def __init__(self, marks: Marks) -> None:
        self._marks = marks
        self._out: list[str] = []
        self._gap = 0
        self._space = False
        self._indent = ""
        self._bullets: list[int] = []

    def finished(self) -> str:
        text = "".join(self._out).strip("\n ")
        return text + "\n" if text else ""

    def walk(self, node: LexborNode) -> None:
        child = node.first_child
        while child is not None:
            self._visit(child)
            child = child.next

    def _visit(self, node: LexborNode) -> None:
        tag = node.tag or ""
        if tag == "-text":
            self._text(node.text_content or "")
        elif tag == "-comment":
            found = self._marks.place.fullmatch(node.html or "")
            if found:
                self._word(found.group())
        elif tag in _HIDDEN or _NOT_SHOWN.search(node.attributes.get("style") or ""):
            return
        elif tag == "br":
            self._gap += 1
            self._space = False
        elif tag == "hr":
            self._break(2)
            self._word("-" * 40)
            self._break(2)
        elif tag == "img":
            self._text(node.attributes.get("alt") or "")
        elif tag == "a":
            self._link(node)
        elif tag in _BLOCKS:
            self._block(node, tag)
        else:
            self.walk(node)

    def _block(self, node: LexborNode, tag: str) -> None:
        if tag in ("td", "th") and _is_cell_of_words(node):
            # Cells of a plain row stand beside one another; those of a layout table below.
            self._space = True
            self.walk(node)
            self._space = True
            return
        wide = 2 if tag in _SPACED and not (tag in ("ul", "ol") and self._bullets) and not (tag == "table" and _is_layout(node)) else 1
        self._break(wide)
        before = self._indent
        if tag in ("ul", "ol"):
            self._bullets.append(1 if tag == "ol" else 0)
        elif tag == "li":
            self._bullet()
        elif tag == "blockquote":
            self._indent += "> "
        self.walk(node)
        if tag in ("ul", "ol"):
            self._bullets.pop()
        self._indent = before
        self._break(wide)

    def _bullet(self) -> None:
        number = self._bullets[-1] if self._bullets else 0
        mark = f"{number}. " if number else "- "
        if number:
            self._bullets[-1] += 1
        self._word(mark.rstrip())
        self._space = True
        self._indent += " " * len(mark)

    def _link(self, node: LexborNode) -> None:
        href = (node.attributes.get("href") or "").strip()
        before, gap, space = len(self._out), self._gap, self._space
        self.walk(node)
        label = _SPACES.sub(" ", "".join(self._out[before:])).strip()
        found = self._marks.slot.fullmatch(href)
        target = self._marks.targets[int(found.group(1))] if found else href
        if not target or target.startswith(("#", "javascript:")):
            return
        shown = target.removeprefix("mailto:").removeprefix("tel:")
        if _plain(label) == _plain(shown):
            if found:
                del self._out[before:]
                self._gap, self._space = gap, space
                self._word(href)
        elif label:
            self._space = True
            self._word(f"({href if found else shown})")
        else:
            self._word(href if found else shown)

    def _text(self, text: str) -> None:
        text = text.replace("\u00a0", " ").replace("\u00ad", "").replace("\u200c", "")
        words = _SPACES.sub(" ", text)
        if words.startswith(" "):
            self._space = True
        if words.strip():
            self._word(words.strip())
        if words.endswith(" "):
            self._space = True

    def _word(self, text: str) -> None:
        if self._gap and self._out:
            self._out.append("\n" * min(self._gap, 2))
        if (self._gap or not self._out) and self._indent and not text.startswith(("- ", "> ")):
            self._out.append(self._indent)
        elif self._space and self._out and not self._gap:
            self._out.append(" ")
        self._out.append(text)
        self._gap, self._space = 0, False

    def _break(self, lines: int) -> None:
        self._gap = max(self._gap, lines)
        self._space = False


def _is_cell_of_words(node: LexborNode) -> bool:
    return not any(node.css(",".join(sorted(_SPACED | {"div", "li", "br"}))))


def _is_layout(node: LexborNode) -> bool:
    return node.attributes.get("role") == "presentation" or not _is_cell_of_words(node)


def _plain(text: str) -> str:
    return re.sub(r"^https?://|/$", "", text.strip(), flags=re.IGNORECASE)
