"""How deep a template may nest. The parsers behind us recurse in native code: a stack that runs out there ends the process, not the request."""

import re
from collections import Counter

from tidings.errors import Invalid
from tidings.rendering.segments import tokens

MAX_PARTS = 500
"""Operators, filters, attributes and brackets of one expression, and branches of all conditions together."""
MAX_DEPTH = 200
"""Elements within one another; a mail made of nested tables has some thirty."""

_STRING = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'""", re.DOTALL)
_PART = re.compile(r"[-+*/%~|.\[(<>=!]|\b(?:not|and|or|is|in|if|else)\b")
_TAG = re.compile(
    r"<!--(?:-?>|.*?(?:--!?>|\Z))"
    r"|<(?P<raw>style|script|title|textarea|xmp|iframe|noembed|noframes)\b.*?(?:</(?P=raw)\b|\Z)"
    r"|<(?P<end>/?)(?P<name>[a-z][^\s/>]*)(?P<rest>(?:=\s*\"[^\"]*\"|=\s*'[^']*'|[^>])*)>",
    re.IGNORECASE | re.DOTALL,
)
_VOID = frozenset({"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"})
_CLOSED_BY_ANOTHER = frozenset("p li dt dd option optgroup tr td th thead tbody tfoot colgroup caption rb rt rp rtc html head body".split())
"""Elements whose end tag may be left out: the next of the kind ends them, so that they nest only within others."""
_FOREIGN = re.compile(r"<(?:svg|math)\b", re.IGNORECASE)


def check_expressions(template: str, field: str) -> None:
    """Raises Invalid naming `field` and line for an expression of too many parts, or too many branches."""
    branches = 0
    for token in tokens(template):
        if token.kind not in ("tag", "print"):
            continue
        branches += token.word == "elif"
        parts = sum(1 for _ in _PART.finditer(_STRING.sub("", token.source)))
        if parts > MAX_PARTS or branches > MAX_PARTS:
            line = template.count("\n", 0, token.start) + 1
            complaint = f"line {line}: more than {MAX_PARTS} {'parts in one expression' if parts > MAX_PARTS else 'branches'}"
            raise Invalid(f"{field}: {complaint}", {field: [complaint]})


def check_depth(markup: str, *, xml: bool) -> None:
    """Raises Invalid for HTML, or MJML (`xml`), whose elements stand more than MAX_DEPTH deep within one another."""
    lenient = frozenset[str]() if xml or _FOREIGN.search(markup) else _CLOSED_BY_ANOTHER
    open_now: Counter[str] = Counter()
    depth = 0
    for found in _TAG.finditer(markup):
        name = (found["name"] or "").lower()
        if not name or name in lenient or (not xml and name in _VOID) or (xml and found["rest"].endswith("/")):
            continue
        if not found["end"]:
            open_now[name] += 1
            depth += 1
        elif open_now[name]:
            # an end tag without a beginning ends nothing
            open_now[name] -= 1
            depth -= 1
        if depth > MAX_DEPTH:
            raise too_deep()


def too_deep() -> Invalid:
    """The refusal of a body that nests too deeply."""
    return Invalid.field("body", f"has elements nested more than {MAX_DEPTH} deep")
