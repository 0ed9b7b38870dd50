"""Charts as SVG, drawn without a library: lines over time, and bars. Each stands alone, as a page of its own or in an `<img>`. Pure.

Everything that comes from outside is escaped text; there are no scripts, no links and nothing that is loaded from elsewhere.
"""

import math
import re
from collections.abc import Sequence
from html import escape

import msgspec

WIDTH = 800
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 44, 84, 44
_PLOT = 240
_CHARACTER = 7.2
"""About how wide a character of the labels is, in the units of the drawing."""
# XML 1.0 takes none of these, not even escaped (section 2.2)
_CONTROL = re.compile(r"[^\t\n\x20-\x7e\x80-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
COLORS = ("#2f7ed8", "#2a9d5c", "#c9781b", "#9b59c9", "#1d9aa8", "#d64550", "#8a6d3b", "#d2559b")
"""Told apart on white and on black alike."""
_STYLE = (
    "<style>.c{--ink:#1c2430;--dim:#5b6675;--grid:#dfe3e8;--paper:#fff;font:12px system-ui,-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif}"
    "@media (prefers-color-scheme:dark){.c{--ink:#e8ecf1;--dim:#9aa6b5;--grid:#333c48;--paper:#12171e}}"
    ".c text{fill:var(--ink)}.c .d{fill:var(--dim)}.c .t{font-size:16px;font-weight:600}.c .h{font-weight:600}"
    ".c .g{stroke:var(--grid);stroke-width:1}.c .p{fill:var(--paper)}.c .l{fill:none;stroke-width:2;stroke-linejoin:round}</style>"
)


class Line(msgspec.Struct, frozen=True):
    """A line of a chart: a value for every label of it. `color` is one of COLORS by its number."""

    name: str
    values: Sequence[int]
    color: int


class Bar(msgspec.Struct, frozen=True):
    """A bar: its length is its value among all of the chart, `note` is written beside it."""

    name: str
    value: int
    color: int
    note: str = ""


class Group(msgspec.Struct, frozen=True):
    """Bars under a heading."""

    name: str
    bars: Sequence[Bar]


def lines(title: str, subtitle: str, labels: Sequence[str], drawn: Sequence[Line]) -> str:
    """Values over time, from the left to the right. `labels` name the places; as many of them are written as there is room for."""
    highest, step = scale(max((value for line in drawn for value in line.values), default=0))
    width, across = WIDTH - _LEFT - _RIGHT, max(1, len(labels) - 1)
    parts = _legend(drawn)
    for tick in range(0, highest + 1, step):
        y = _TOP + _PLOT - _PLOT * tick / highest
        parts.append(f'<line class="g" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="d" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:,}</text>')
    xs = [_LEFT + width * (place / across if len(labels) > 1 else 0.5) for place in range(len(labels))]
    parts += [
        f'<text class="d" x="{xs[place]:.1f}" y="{_TOP + _PLOT + 20}" text-anchor="middle">{_text(labels[place], 24)}</text>'
        for place in _written(labels)
    ]
    for line in drawn:
        color = COLORS[line.color]
        points = [f"{x:.1f},{_TOP + _PLOT - _PLOT * value / highest:.1f}" for x, value in zip(xs, line.values, strict=True)]
        if len(points) == 1:
            x, y = points[0].split(",")
            parts.append(f'<circle cx="{x}" cy="{y}" r="4" fill="{color}"/>')
        elif points:
            parts.append(f'<polyline class="l" stroke="{color}" points="{" ".join(points)}"/>')
    said = "; ".join(f"{line.name}: {sum(line.values):,}" for line in drawn) or "nothing happened"
    return _svg(title, subtitle, f"{subtitle}. {said}.", _TOP + _PLOT + _BOTTOM, parts)


def bars(title: str, subtitle: str, groups: Sequence[Group]) -> str:
    """Bars from the left, one below the other, group by group, all on one scale."""
    most = max((bar.value for group in groups for bar in group.bars), default=0) or 1
    begin, room = 150, WIDTH - 150 - 170
    parts: list[str] = []
    y = 72
    for group in groups:
        parts.append(f'<text class="h" x="24" y="{y + 14}">{_text(group.name, 96)}</text>')
        y += 24
        for bar in group.bars:
            length = room * bar.value / most
            parts.append(f'<text class="d" x="{begin - 10}" y="{y + 14}" text-anchor="end">{_text(bar.name, 20)}</text>')
            parts.append(f'<rect x="{begin}" y="{y + 2}" width="{max(length, 1):.1f}" height="16" rx="2" fill="{COLORS[bar.color]}"/>')
            note = f'<tspan class="d" dx="8">{_text(bar.note, 24)}</tspan>' if bar.note else ""
            parts.append(f'<text x="{begin + length + 8:.1f}" y="{y + 14}">{bar.value:,}{note}</text>')
            y += 22
        y += 12
    said = " ".join(f"{group.name}: {', '.join(f'{bar.name} {bar.value:,}' for bar in group.bars)}." for group in groups)
    return _svg(title, subtitle, f"{subtitle}. {said}", y + 8, parts)


def scale(most: int) -> tuple[int, int]:
    """(end, step) of an axis from 0 that has room for `most`: four to six steps of 1, 2 or 5 times a power of ten, whole numbers alone."""
    raw = max(1.0, most / 5)
    power = 10 ** math.floor(math.log10(raw))
    step = next(int(power * factor) for factor in (1, 2, 5, 10) if power * factor >= raw)
    return step * max(1, -(-most // step)), step


def _svg(title: str, subtitle: str, description: str, height: int, parts: Sequence[str]) -> str:
    # the description comes first for who cannot see the rest; sizes in a viewBox, so that it fits where it is put
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="c" role="img" aria-labelledby="title desc" viewBox="0 0 {WIDTH} {height}"'
        f' width="{WIDTH}" height="{height}">'
        f'<title id="title">{_clean(title)}</title><desc id="desc">{_clean(description)}</desc>{_STYLE}'
        f'<rect class="p" width="{WIDTH}" height="{height}"/><text class="t" x="24" y="30">{_text(title, 84)}</text>'
        f'<text class="d" x="24" y="50">{_text(subtitle, 110)}</text>{"".join(parts)}</svg>'
    )


def _legend(drawn: Sequence[Line]) -> list[str]:
    parts: list[str] = []
    x = float(_LEFT)
    for line in drawn:
        parts.append(f'<rect x="{x:.0f}" y="62" width="12" height="12" rx="2" fill="{COLORS[line.color]}"/>')
        parts.append(f'<text x="{x + 17:.0f}" y="72">{_text(line.name, 20)}</text>')
        x += 17 + len(line.name) * _CHARACTER + 18
    return parts


def _written(labels: Sequence[str]) -> list[int]:
    """The places whose labels are written: evenly apart, as many as do not touch."""
    longest = min(24, max((len(label) for label in labels), default=1))
    room = max(2, int((WIDTH - _LEFT - _RIGHT) / (longest * _CHARACTER + 16)))
    stride = max(1, -(-len(labels) // room))
    return list(range(0, len(labels), stride))


def _text(text: str, most: int) -> str:
    """At most so many characters of it, escaped."""
    return _clean(text if len(text) <= most else text[: most - 1] + "…")


def _clean(text: str) -> str:
    return escape(_CONTROL.sub("", text))
