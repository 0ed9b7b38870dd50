"""MiniJinja as Tidings sets it up: escaping said in the template, missing is empty, fuel against endless loops, a limit on output."""

import re
import threading
from collections.abc import Iterable, Mapping
from typing import Any

from minijinja import Environment, TemplateError

from tidings.errors import Invalid, TooLarge
from tidings.rendering.bounds import check_expressions
from tidings.rendering.marks import DELIMITER
from tidings.rendering.segments import Segment, tokens

FUEL = 100_000
"""Instructions of MiniJinja's machine a rendering may take; some three milliseconds of an empty loop."""
MAX_OUTPUT = 10 * 1024 * 1024
"""Characters one communication may render to."""
_LITERAL_BUDGET = 64 * 1024 * 1024
"""Characters of literal text that loops may copy: the longest literal inside a block, times the fuel, stays near it."""
_LEAST_FUEL = 2_000

FILTERS = frozenset(
    """abs attr batch bool capitalize chain count d default dictsort e escape filesizeformat first float format groupby indent int items
    join last length lines list lower map max min pluralize pprint reject rejectattr replace reverse round safe select selectattr slice
    sort split string striptags sum title tojson trim truncate unique upper urlencode wordwrap zip""".split()
)
FUNCTIONS = frozenset({"range", "dict", "namespace", "cycler", "joiner"})

_MAX_INDENT = 200
_FORMAT_METHOD = re.compile(r"\.\s*format\s*\(")
_WIDE = re.compile(r"[0-9]{5,}|\*")


class _Meter(threading.local):
    """Characters printed so far by the rendering in this thread."""

    used = 0


_meter = _Meter()


class Program:
    """Templates' dynamic segments compiled as one, so that one call renders them all. Safe to use from several threads."""

    def __init__(self, parts: Iterable[tuple[bool, list[Segment]]]) -> None:
        """`parts`: (autoescape for HTML?, segments). Raises TemplateError when a segment does not compile."""
        dynamic = [(escaped, [segment for segment in part if segment.dynamic]) for escaped, part in parts]
        self.counts = [len(part) for _, part in dynamic]
        self._looped = any(segment.looped for _, part in dynamic for segment in part)
        longest = max((_longest_literal(segment.source) for _, part in dynamic for segment in part if segment.looped), default=1)
        fuel = max(_LEAST_FUEL, min(FUEL, _LITERAL_BUDGET // max(longest, 1)))
        self._env = environment(fuel=fuel, metered=self._looped)
        self._env.add_template("it", DELIMITER.join(_scoped(escaped, part) for escaped, part in dynamic if part))
        self.names: frozenset[str] = frozenset(self._env.undeclared_variables_in_template("it")) - FUNCTIONS

    def render(self, context: Mapping[str, Any]) -> list[str]:
        """The text of every dynamic segment in order. Raises TemplateError, or TooLarge; the wrong number of texts if a value holds our mark."""
        if not any(self.counts):
            return []
        _meter.used = 0
        rendered = self._env.render_template("it", **context)
        if len(rendered) > MAX_OUTPUT:
            raise TooLarge(_too_much())
        return rendered.split(DELIMITER)


def environment(fuel: int = FUEL, *, metered: bool = False) -> Environment:
    """A MiniJinja environment of ours. `metered` ones stop when a loop has printed more than we take; it costs 0.2 µs a print."""
    env = Environment(
        fuel=fuel,
        debug=False,
        undefined_behavior="chainable",
        auto_escape_callback=lambda _: False,
        keep_trailing_newline=True,
        finalizer=_count if metered else None,
    )
    env.add_filter("format", _format)
    env.add_filter("indent", _indent)
    env.remove_global("debug")
    return env


def compile_check(template: str, field: str) -> None:
    """Raises Invalid naming `field`, line and complaint when `template` does not compile, or calls a filter or function nobody has."""
    check_expressions(template, field)
    try:
        environment().add_template("it", template)
    except TemplateError as error:
        raise refusal(field, error.line, error.detail or error.kind) from error
    for token in tokens(template):
        if token.kind not in ("print", "tag"):
            continue
        bare = bare_source(token.source)
        named = re.findall(r"\|\s*([A-Za-z_]\w*)", bare) + (re.findall(r"\{%[-+]?\s*filter\s+(\w+)", bare))
        if _FORMAT_METHOD.search(bare):
            raise refusal(field, template.count("\n", 0, token.start) + 1, "there is no method format; use the filter")
        for name in named:
            if name not in FILTERS:
                raise refusal(field, template.count("\n", 0, token.start) + 1, f"there is no filter named {name}")
        if token.word in ("extends", "include", "import", "from"):
            raise refusal(field, template.count("\n", 0, token.start) + 1, f"{token.word} is not available: a template stands alone")


def bare_source(source: str) -> str:
    """A tag's source with every string literal emptied, for looking at names and operators."""
    return re.sub(r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'""", '""', source)


def refusal(field: str, line: int | None, complaint: str) -> Invalid:
    """`body: line 3: …`, with the field named."""
    where = f"line {line}: {complaint}" if line else complaint
    return Invalid(f"{field}: {where}", {field: [where]})


def _scoped(escaped: bool, part: list[Segment]) -> str:
    # `with` keeps what one part sets out of the next, as if each were rendered alone.
    mode = "'html'" if escaped else "false"
    inner = DELIMITER.join(segment.source for segment in part)
    return f"{{% with %}}{{% autoescape {mode} %}}{inner}{{% endautoescape %}}{{% endwith %}}"


def _longest_literal(source: str) -> int:
    return max((len(token.source) for token in tokens(source) if token.kind in ("text", "raw")), default=1)


def _count(value: object) -> object:
    if isinstance(value, str):
        _meter.used += len(value)
    elif isinstance(value, list | tuple | dict):
        _meter.used += 16 * len(value)  # pyright: ignore[reportUnknownArgumentType]  # whatever a template prints
    else:
        _meter.used += 8
    if _meter.used > MAX_OUTPUT:
        raise TooLarge(_too_much())
    return NotImplemented


def _format(pattern: object, *values: object) -> str:
    text = str(pattern)
    if _WIDE.search(text):
        raise Invalid("format: no width above 9999")
    try:
        return text % values
    except (TypeError, ValueError) as error:
        raise Invalid(f"format: {error}") from error


def _indent(text: object, width: object = 4, first: object = False, blank: object = False) -> str:
    if not isinstance(width, int) or width > _MAX_INDENT:
        raise Invalid(f"indent: the width is a number up to {_MAX_INDENT}")
    pad = " " * width
    lines = str(text).split("\n")
    return "\n".join(pad + line if (number or first) and (line or blank) else line for number, line in enumerate(lines))


def _too_much() -> str:
    return f"the template renders to more than {MAX_OUTPUT // 1024 // 1024} MiB"
