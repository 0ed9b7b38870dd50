"""The project's own files, read as data."""

import ast
import functools
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "src" / "tidings"


@functools.cache
def files() -> tuple[Path, ...]:
    """Everything that belongs to the project: what git knows or would take, or every file where there is no git."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True, timeout=30
        )
    except (OSError, subprocess.CalledProcessError):
        skipped = {".venv", "var", "build", "dist", "__pycache__"}
        return tuple(path for path in sorted(ROOT.rglob("*")) if path.is_file() and not skipped & set(path.relative_to(ROOT).parts))
    return tuple(path for name in sorted(listed.stdout.decode().split("\0")) if name and (path := ROOT / name).is_file())


def texts(*suffixes: str) -> Iterator[tuple[str, str]]:
    """Every text file of the project (those ending so, when suffixes are given), as (path from the root, text)."""
    for path in files():
        if suffixes and not path.name.endswith(suffixes):
            continue
        try:
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Every module of the program, parsed, as (path below src/tidings, tree)."""
    for path in sorted(SOURCES.rglob("*.py")):
        yield path.relative_to(SOURCES).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def lines(node: ast.AST) -> int:
    """How many lines a definition takes, its decorators not counted."""
    return (getattr(node, "end_lineno", 0) or 0) - getattr(node, "lineno", 0) + 1
