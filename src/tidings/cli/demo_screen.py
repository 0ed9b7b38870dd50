"""How the demonstration looks: a live table on a terminal, one plain line a change anywhere else."""

from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tidings import clock
from tidings.cli.demo_figures import Figures

EIGHTHS = " ▏▎▍▌▋▊▉█"
WIDTH = 30


class Screen(Protocol):
    """Where progress is shown."""

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

    def say(self, line: str) -> None:
        """A line that stays."""
        ...

    def show(self, figures: Figures, now: int) -> None:
        """The newest figures, in place of those before."""
        ...


def screen() -> Screen:
    """A terminal's, or a plain one where standard output is none."""
    console = Console()
    return LiveScreen(console) if console.is_terminal else PlainScreen()


class LiveScreen:
    """A table that moves."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._live.stop()

    def say(self, line: str) -> None:
        """A line above the table."""
        self._console.print(Text(line))

    def show(self, figures: Figures, now: int) -> None:
        """Draws the table anew."""
        self._live.update(_drawn(figures, now), refresh=True)


class PlainScreen:
    """Lines, each flushed, so that a log or a pipe has them at once."""

    def __init__(self) -> None:
        self._last = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return

    def say(self, line: str) -> None:
        """The line as it is."""
        print(line, flush=True)

    def show(self, figures: Figures, now: int) -> None:
        """One line, unless nothing has changed since the last."""
        line = summary(figures)
        if line != self._last:
            self._last = line
            print(line, flush=True)


def summary(figures: Figures) -> str:
    """The figures in one line."""
    steps, talk = figures.everything, figures.talk
    told = {
        "imported": figures.imported,
        "rejected": figures.rejected,
        "enrolled": figures.counts.enrolled,
        "accepted": sum(step.accepted for step in steps),
        "sent": sum(step.sent for step in steps),
        "failed": sum(step.failed for step in steps),
        "canceled": sum(step.canceled for step in steps),
        "opened": sum(step.opened for step in steps),
        "clicked": sum(step.clicked for step in steps),
        "replies": talk.replies,
        "automatic": talk.automatic,
        "stop": talk.stops,
    }
    return "  ".join(f"{name} {count}" for name, count in told.items())


def rows(columns: Sequence[str], body: Sequence[Sequence[str | int]], *, numbers_from: int = 1) -> Table:
    """A plain table whose columns from `numbers_from` on are aligned as numbers."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index >= numbers_from else "left")
    for row in body:
        table.add_row(*(Text(str(cell)) for cell in row))
    return table


def steps_table(figures: Figures) -> Table:
    """The campaign's messages, and each kind of message beside it, a row each."""
    columns = ("message", "channel", "accepted", "sent", "failed", "opened", "clicked", "replied")
    body = [
        (step.name, step.channel, step.accepted, step.sent, step.failed, step.opened, step.clicked, step.replied)
        for step in figures.everything
    ]
    return rows(columns, body, numbers_from=2)


def _drawn(figures: Figures, now: int) -> RenderableType:
    talk, due = figures.talk, figures.planned - figures.spared
    parts: list[RenderableType] = [
        Text(f"contacts       {figures.imported} imported, {figures.rejected} rejected, {figures.counts.enrolled} enrolled"),
        Text(f"messages       {_bar(figures.settled, due)} {figures.settled} of {due} settled"),
        Text(f"conversations  {talk.conversations}: {talk.replies} replies, {talk.automatic} automatic, {talk.stops} STOP"),
        Text(""),
        steps_table(figures),
    ]
    parts += [Text(f"  {count} failed: {reason}", "yellow") for reason, count in figures.reasons]
    if figures.next_due is not None:
        parts.append(Text(f"\nnext message due in {max(0, figures.next_due - now) // clock.SECOND} s", "dim"))
    parts.append(Text("Simulated readers fetch pixels and links of the kept mail, and some write back.", "dim"))
    return Group(*parts)


def _bar(done: int, total: int) -> str:
    eighths = WIDTH * 8 * done // total if total else 0
    full, rest = divmod(min(eighths, WIDTH * 8), 8)
    return ("█" * full + (EIGHTHS[rest] if rest else "")).ljust(WIDTH, "·")
