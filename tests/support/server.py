"""A real server process, `tidings serve`, that tests talk to over HTTP and end at will."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


class Server:
    """A running server in a process group of its own, so that nothing of it outlives the test."""

    def __init__(self, url: str, home: Path, *, command: tuple[str, ...] = ("serve", "--port", "0"), **settings: str) -> None:
        """Starts on the database at `url` with the data folder `home`; `settings` are variables without their TIDINGS_."""
        self.home = home
        self._environment = {
            **os.environ,
            "TIDINGS_DATABASE_URL": url,
            "TIDINGS_HOME": str(home),
            "TIDINGS_LOG_LEVEL": "error",
            **{f"TIDINGS_{name.upper()}": value for name, value in settings.items()},
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tidings", *command],
            env=self._environment,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def listening(self) -> str:
        """Waits until it answers requests; its address."""
        assert self._process.stderr is not None
        told: list[bytes] = []
        for line in self._process.stderr:
            if found := re.search(rb"listens on (http://\S+)", line):
                return found.group(1).decode()
            told.append(line)
        pytest.fail(f"the server ended before it listened: {b''.join(told).decode()}")

    def run(self, *arguments: str) -> str:
        """What another `tidings` command prints, with the same settings."""
        command = [sys.executable, "-m", "tidings", *arguments]
        return subprocess.run(command, env=self._environment, check=True, capture_output=True, text=True).stdout

    def kill(self) -> None:
        """Ends it as a power cut would."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Ends it as an operator would; its exit status."""
        return self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> int:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, how)
        try:
            self._process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.communicate()
            pytest.fail(f"the server did not end on {how.name}")
        return self._process.returncode


@contextlib.contextmanager
def serving(url: str, home: Path, **settings: str) -> Iterator[tuple[Server, str]]:
    """A server and its address for as long as the block lasts."""
    server = Server(url, home, **settings)
    try:
        yield server, server.listening()
    finally:
        server.stop()
