"""Refuses templates that double a text over and over: fuel counts steps, and thirty steps of doubling fill any memory."""

import re

from tidings.errors import Invalid
from tidings.rendering.engine import bare_source, refusal
from tidings.rendering.segments import Token, line_of, opens, tokens

MAX_GROWTH = 1_000
"""How many times over a text may come to hold another one by assignments in a row."""
MAX_MACROS = 16

_ASSIGN = re.compile(r"\{%[-+]?\s*(?:set|with)\s+(.*?)\s*=(?!=)(.*)", re.DOTALL)
_FOR = re.compile(r"\{%[-+]?\s*for\s+(.*?)\s+in\s+(.*)", re.DOTALL)
_SET_BLOCK = re.compile(r"\{%[-+]?\s*set\s+([\w.]+)")
_MACRO = re.compile(r"\{%[-+]?\s*macro\s+(\w+)")
_NAME = re.compile(r"(?<![\w.])([A-Za-z_]\w*)")
_JOINS = re.compile(r"[~+*]|join|replace")
_REPEATED = re.compile(r"\]\s*\*|\*\s*\[")


class _Weights:
    """For each name, how many copies its value may hold: `growth` of any first text, `carried` of a namespace's attribute."""

    def __init__(self) -> None:
        self.growth: dict[str, int] = {}
        self.carried: dict[str, int] = {}

    def of(self, expression: str) -> tuple[int, int]:
        names: list[str] = _NAME.findall(expression)
        joins = sum if _JOINS.search(expression) else max
        growth = joins([self.growth.get(name, 1) for name in names] or [1])
        return growth, joins([self.carried.get(name, 0) for name in names] or [0])

    def keep(self, target: str, expression: str, weight: tuple[int, int]) -> None:
        for name in _NAME.findall(target):
            self.growth[name] = weight[0]
            self.carried[name] = 1 if "namespace(" in expression or "." in target else weight[1]


def check_growth(template: str, field: str) -> None:
    """Raises Invalid naming `field` and line. Follows, for each name, how many copies of a first text its value may hold."""
    weights = _Weights()
    macros: list[str] = []
    blocks: list[tuple[str, int, int]] = []
    for token in tokens(template):
        if token.kind not in ("tag", "print"):
            continue
        bare = bare_source(token.source)
        if _REPEATED.search(bare):
            raise _refused(template, token, field, "a list cannot be repeated with *")
        _check_macro(template, token, field, macros)
        if token.kind == "print":
            growth, carried = weights.of(bare)
            blocks = [(name, held + growth, kept + carried) for name, held, kept in blocks]
        elif token.word == "endset" and blocks:
            name, *weight = blocks.pop()
            _assign(template, token, field, weights, (name, "", (weight[0], weight[1])))
        elif token.word == "set" and opens(token):
            found = _SET_BLOCK.match(bare)
            blocks.append((found.group(1) if found else "", 0, 0))
        elif found := _ASSIGN.match(bare) or _FOR.match(bare):
            target, expression = found.groups()
            _assign(template, token, field, weights, (target, expression, weights.of(expression)))


def _assign(template: str, token: Token, field: str, weights: _Weights, what: tuple[str, str, tuple[int, int]]) -> None:
    target, _, (growth, carried) = what
    # A plain name set in a loop is forgotten at its end; a namespace's attribute lives on, so that one doubling repeats.
    if "." in target and carried > 1 and _in_loop(template, token):
        raise _refused(template, token, field, f"{target} grows without limit")
    if growth > MAX_GROWTH:
        raise _refused(template, token, field, f"{target} grows too large")
    weights.keep(*what)


def _check_macro(template: str, token: Token, field: str, macros: list[str]) -> None:
    found = _MACRO.match(token.source)
    if not found:
        return
    name = found.group(1)
    macros.append(name)
    if len(macros) > MAX_MACROS:
        raise _refused(template, token, field, f"more than {MAX_MACROS} macros")
    body = template[token.start + len(token.source) :]
    inside = re.split(r"\{%[-+]?\s*endmacro", body, maxsplit=1)[0]
    if any(re.search(rf"(?<![\w.]){re.escape(known)}\s*\(", inside) for known in macros):
        raise _refused(template, token, field, f"macro {name} calls itself or an earlier macro")


def _in_loop(template: str, token: Token) -> bool:
    depth = 0
    for other in tokens(template[: token.start]):
        depth += (other.kind == "tag" and other.word in ("for", "macro")) - (other.word in ("endfor", "endmacro"))
    return depth > 0


def _refused(template: str, token: Token, field: str, complaint: str) -> Invalid:
    return refusal(field, line_of(template, token.start), complaint)
