"""Running the `tidings` command as its users do: as a process of its own, in a data folder of its own."""

import contextlib
import os
import queue
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
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


def audited(home: Path) -> list[tuple[str, str]]:
    """(operation, kind of what it was about) of what the command line has entered in the audit, in its order."""
    with contextlib.closing(sqlite3.connect(home / "tidings.db")) as connection:
        return connection.execute("SELECT operation, subject FROM audit WHERE author = 'command line' ORDER BY id").fetchall()


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


class Running:
    """A command that goes on. What it writes is collected as it comes; its end is waited for, never slept for."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.seen: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def until(self, pattern: str) -> re.Match[str]:
        """The first line, not yet looked at, in which the pattern is found. Fails when it ends before that, or takes too long."""
        deadline = time.monotonic() + PATIENCE
        while True:
            line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            assert line is not None, "\n".join([f"ended without {pattern!r}:", *self.seen])
            self.seen.append(line)
            if found := re.search(pattern, line):
                return found

    def close(self) -> None:
        """Waits until everything it wrote was read."""
        self._reader.join(PATIENCE)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Sends a signal and answers the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        while (line := self._lines.get(timeout=PATIENCE)) is not None:
            self.seen.append(line)
        return code


@contextlib.contextmanager
def running(home: Path, *words: str, settings: Mapping[str, str] | None = None) -> Iterator[Running]:
    """Starts it, stdout and stderr in one; kills it at the end of the block if it is still there."""
    with subprocess.Popen(
        arguments(*words),
        env=environment(home, **(settings or {})),
        cwd=home.parent,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        watched = Running(process)
        try:
            yield watched
        finally:
            process.kill()
            watched.close()


def free_port() -> int:
    """A port nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
