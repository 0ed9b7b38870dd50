"""HTML of strangers made harmless to parsers: balanced, and no deeper than mail ever is. What it may show is for the sanitiser to say.

HTML parsers need time quadratic in the depth of a document: a megabyte of `<div>` keeps one busy for minutes. So everything incoming
is rewritten here, in one linear pass, before any parser sees it. Text is never lost; only tags are.
"""

import re

DEEPEST = 120
"""Levels of the tree that a parser makes of it, with those that tables and lists imply."""
MOST_TAGS = 100_000
_MOST_FORMATTING = 12
"""A parser opens every open formatting element anew in each paragraph, so that many of them multiply."""
_MOST_ATTRIBUTES = 40
_VOID = frozenset("br hr img wbr col".split())
_IMPLIED = frozenset("p li dd dt tr td th tbody thead tfoot caption colgroup".split())
"""Closed by their next sibling or their parent; as they come, so they go on."""
_FORMATTING = frozenset("a b big code em font i nobr s small strike strong tt u".split())
_NESTING = frozenset(
    """address article aside blockquote body center dl div fieldset figure figcaption footer form h1 h2 h3 h4 h5 h6 header main nav
    ol pre section table ul abbr acronym bdi bdo cite del dfn ins kbd label mark q samp span sub sup time var""".split()
)
_WEIGHTS = {"table": 5, "ul": 2, "ol": 2, "dl": 2}
_BLOCKS = _NESTING - frozenset("abbr acronym bdi bdo cite del dfn ins kbd label mark q samp span sub sup time var".split())
_SILENT = frozenset("script style title textarea xmp iframe noembed noframes template select svg math object applet".split())
"""Gone with all that is in them."""
_MARKUP = re.compile(r"<(?:(!--)|(/?)([A-Za-z][^\s/>]{0,40})|(?=[!?/]))")
_ATTRIBUTE = re.compile(r"""[\s/]*([^\s/>=][^\s/>=]*|=[^\s/>=]*)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>"'][^\s>]*)|(?=>)|(["'])))?""")
_TAG_END = re.compile(r"[\s/]*>")
_COMMENT_END = re.compile(r"--!?>")
_BRACKET = re.compile(">")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,40}")


def tame(html: str) -> str:
    """`html` with every element closed, no comments, scripts or styles, at most DEEPEST levels and MOST_TAGS tags; all text is kept."""
    tamer = _Tamer(html)
    tamer.run()
    return "".join(tamer.out)


class _Tamer:
    def __init__(self, html: str) -> None:
        self.out: list[str] = []
        self._html = html
        self._at = 0
        self._tags = 0
        self._open: list[str] = []
        self._depth = 0
        self._formatting = 0
        self._endless: set[re.Pattern[str]] = set()

    def run(self) -> None:
        html = self._html
        while True:
            found = _MARKUP.search(html, self._at)
            # A `<` that begins nothing is text, and stays so.
            self._text(html[self._at : found.start() if found else len(html)])
            if found is None:
                break
            if found[3] is None:
                self._past_comment(found)
            elif not self._tag(found[2] == "/", found[3].lower(), found.end()):
                self._text(html[found.start() :])
                break
        for name in reversed(self._open):
            self.out.append(f"</{name}>")

    def _text(self, text: str) -> None:
        self.out.append(text.replace("<", "&lt;"))

    def _past_comment(self, found: re.Match[str]) -> None:
        html, at = self._html, found.end()
        closing = self._ahead(_BRACKET if found[1] is None or html.startswith((">", "->"), at) else _COMMENT_END, at)
        # One that never ends hides the rest from a browser, and with it perhaps all there is; so its text is shown.
        self._at = closing.end() if closing else at

    def _ahead(self, closing: re.Pattern[str], at: int) -> re.Match[str] | None:
        """The next of these from here on. That there is none is found out once: the rest is not read through again for each beginning."""
        found = None if closing in self._endless else closing.search(self._html, at)
        if found is None:
            self._endless.add(closing)
        return found

    def _tag(self, closing: bool, name: str, at: int) -> bool:
        """Goes past one tag; False when the text ends within it."""
        attributes: list[str] = []
        end = _TAG_END.match(self._html, at)
        while end is None:
            found = _ATTRIBUTE.match(self._html, at)
            if found is None or found[5] is not None:
                return False
            at = found.end()
            if not closing and len(attributes) < _MOST_ATTRIBUTES and _NAME.fullmatch(found[1]):
                attributes.append(_written(found))
            end = _TAG_END.match(self._html, at)
        self._at = end.end()
        self._tags += 1
        if name in _SILENT:
            if not closing:
                self._past_silent(name)
        elif self._tags <= MOST_TAGS:
            self._close(name) if closing else self._begin(name, attributes)
        return True

    def _past_silent(self, name: str) -> None:
        end = self._ahead(re.compile(rf"</{name}[\s/>]", re.IGNORECASE), self._at)
        if end is not None:
            self._at = end.start()

    def _begin(self, name: str, attributes: list[str]) -> None:
        if name in _NESTING or name in _FORMATTING:
            weight = _WEIGHTS.get(name, 1)
            if self._depth + weight > DEEPEST or (name in _FORMATTING and self._formatting >= _MOST_FORMATTING):
                return
            self._open.append(name)
            self._count(name, 1)
        elif name not in _VOID and name not in _IMPLIED:
            return
        self.out.append(f"<{name}{''.join(attributes)}>")

    def _close(self, name: str) -> None:
        if name in _IMPLIED or name == "br":
            self.out.append(f"</{name}>")
            return
        if name not in self._open:
            return
        # What stands inside a block was closed with it, but a block is not closed by what merely decorates text.
        above = self._open[len(self._open) - self._open[::-1].index(name) :]
        if name not in _BLOCKS and any(inner in _BLOCKS for inner in above):
            return
        if name != "table" and "table" in above:
            return
        for _ in range(len(above) + 1):
            inner = self._open.pop()
            self._count(inner, -1)
            self.out.append(f"</{inner}>")

    def _count(self, name: str, step: int) -> None:
        self._depth += step * _WEIGHTS.get(name, 1)
        self._formatting += step * (name in _FORMATTING)


def _written(found: re.Match[str]) -> str:
    value = found[2] if found[2] is not None else found[3] if found[3] is not None else found[4] or ""
    safe = value.replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")
    return f' {found[1]}="{safe}"'
