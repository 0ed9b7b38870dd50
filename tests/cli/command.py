"""Running the `tidings` command as its users do: as a process of its own, in a data folder of its own."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.shape.project import ROOT

PATIENCE = 60.0
"""Seconds; a command takes about one."""


def environment(home: Path, **settings: str) -> dict[str, str]:
    """What the process is given: this one's environment without any setting of Tidings but those named."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TIDINGS_")}
    return kept | {"PYTHONPATH": str(ROOT / "src"), "TIDINGS_HOME": str(home), "COLUMNS": "200", **settings}


def arguments(*words: str) -> list[str]:
    """The command line."""
    return [sys.executable, "-m", "tidings", *words]


def tidings(home: Path, *words: str, settings: Mapping[str, str] | None = None, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Runs it to its end."""
    return subprocess.run(
        arguments(*words),
        env=environment(home, **(settings or {})),
        cwd=home.parent,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
