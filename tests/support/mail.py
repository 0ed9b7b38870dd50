"""Mail servers nobody here wrote, started for a test or a benchmark: Postfix's `smtp-sink`, and a whole Postfix of its own."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesHeaderParser
from pathlib import Path
from typing import Self

READY_WITHIN = 20.0
DAEMONS = Path("/usr/lib/postfix/sbin")
NOBODY = 65534


class MailServerMissingError(Exception):
    """This machine has no such server, or does not let us start it; the message says what is wanted."""


@dataclass(frozen=True)
class SunkMail:
    """One mail as the sink saw it: envelope addresses without brackets, the parameters of MAIL, and the message with CRLF line ends."""

    sender: str
    mail_parameters: str
    recipients: tuple[str, ...]
    raw: bytes


class SmtpSink:
    """A running `smtp-sink`: takes everything; `dump=True` keeps it to be read, `count=True` only counts. Further options as in smtp-sink(1)."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
        self._process = process
        self._folder = folder
        self.host = "127.0.0.1"
        self.port = port

    @classmethod
    def start(cls, *options: str, dump: bool = False, count: bool = False) -> Self:
        """Start one on a free port; raises MailServerMissingError where Postfix is not installed."""
        program = shutil.which("smtp-sink", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        if program is None:
            raise MailServerMissingError("smtp-sink is not installed (Debian: apt-get install postfix)")
        folder = Path(tempfile.mkdtemp(prefix="smtp-sink-"))
        folder.chmod(0o777)
        # It refuses to work as root.
        given = [*(["-u", "nobody"] if os.geteuid() == 0 else []), *(["-d", f"{folder}/m."] if dump else []), *(["-c"] if count else [])]
        for _ in range(5):
            port = free_port()
            with (folder / "counters").open("wb") as counters:
                command = [program, *given, *options, f"127.0.0.1:{port}", "1000"]
                process = subprocess.Popen(command, stdout=counters, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
            if _answers(process, port):
                return cls(process, port, folder)
            end(process)
        shutil.rmtree(folder)
        raise MailServerMissingError("smtp-sink does not start")

    @property
    def url(self) -> str:
        """Its address, without TLS or log-in."""
        return f"smtp://{self.host}:{self.port}?tls=none"

    def messages(self) -> list[SunkMail]:
        """All it has taken so far, in no particular order; only with `dump=True`. Transactions that were not finished are left out."""
        found: list[SunkMail] = []
        for path in self._folder.glob("m.*"):
            with contextlib.suppress(FileNotFoundError):  # the sink throws away what a client broke off
                if mail := _sunk(path.read_bytes()):
                    found.append(mail)
        return found

    def count(self) -> int:
        """How many it has taken so far; only with `count=True`."""
        with (self._folder / "counters").open("rb") as counters:
            counters.seek(-min(200, counters.seek(0, os.SEEK_END)), os.SEEK_CUR)
            last = counters.read().rpartition(b"mesg=")[2]
        return int(last.split()[0]) if last else 0

    def suspend(self) -> None:
        """Let it hang: connections stay, nothing is read or answered until `resume`."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it and throw away what it kept."""
        self.resume()
        end(self._process)
        shutil.rmtree(self._folder, ignore_errors=True)


@contextlib.contextmanager
def smtp_sink(*options: str, dump: bool = False, count: bool = False) -> Generator[SmtpSink]:
    """A sink for as long as the block lasts."""
    sink = SmtpSink.start(*options, dump=dump, count=count)
    try:
        yield sink
    finally:
        sink.stop()


def free_port() -> int:
    """A TCP port of the loopback that nobody had a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process we started, kindly first."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(5)


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + READY_WITHIN
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return True
        except OSError:
            time.sleep(0.01)
    return False


def _sunk(dumped: bytes) -> SunkMail | None:
    """One dump file: the sink's own headers, the three lines of its Received header, the message, an empty line; LF line ends."""
    head, received, rest = dumped.partition(b"Received: ")
    lines = rest.split(b"\n", 3)
    if not received or len(lines) < 4 or not lines[3].endswith(b"\n\n"):
        return None
    told: Message = BytesHeaderParser().parsebytes(head)
    sender, _, parameters = str(told["X-Mail-Args"]).partition("<")[2].partition(">")
    recipients = tuple(str(value).partition("<")[2].partition(">")[0] for value in told.get_all("X-Rcpt-Args", []))
    return SunkMail(sender, parameters.strip(), recipients, lines[3][:-1].replace(b"\n", b"\r\n"))


MAIN_CF = """
compatibility_level = 3.6
queue_directory = {home}/queue
data_directory = {home}/data
daemon_directory = {daemons}
command_directory = /usr/sbin
maillog_file = {home}/log
maillog_file_prefixes = {home}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mx.example.net
mydestination =
mynetworks = 127.0.0.0/8
alias_maps =
alias_database =
local_recipient_maps =
virtual_mailbox_domains = example.net
virtual_mailbox_base = {home}/mail
virtual_mailbox_maps = inline:{{ reader@example.net=box/, second@example.net=box/ }}
virtual_uid_maps = static:{nobody}
virtual_gid_maps = static:{nobody}
virtual_minimum_uid = 1
default_transport = error:nothing leaves this machine
smtputf8_enable = yes
{more}
"""

MASTER_CF = """
{port}     inet  n - n - - smtpd
pickup     unix  n - n 60 1 pickup
cleanup    unix  n - n - 0 cleanup
qmgr       unix  n - n 300 1 qmgr
tlsmgr     unix  - - n 1000? 1 tlsmgr
rewrite    unix  - - n - - trivial-rewrite
bounce     unix  - - n - 0 bounce
defer      unix  - - n - 0 bounce
trace      unix  - - n - 0 bounce
verify     unix  - - n - 1 verify
flush      unix  n - n 1000? 0 flush
proxymap   unix  - - n - - proxymap
proxywrite unix  - - n - 1 proxymap
showq      unix  n - n - - showq
error      unix  - - n - - error
retry      unix  - - n - - error
discard    unix  - - n - - discard
virtual    unix  - n n - - virtual
lmtp       unix  - - n - - lmtp
anvil      unix  - - n - 1 anvil
scache     unix  - - n - 1 scache
postlog    unix-dgram n - n - 1 postlogd
"""


@dataclass(frozen=True)
class Postfix:
    """A running Postfix that delivers reader@example.net and second@example.net to one Maildir and knows nobody else there."""

    port: int
    home: Path

    @property
    def url(self) -> str:
        """Its address, without TLS or log-in."""
        return f"smtp://127.0.0.1:{self.port}?tls=none"

    def delivered(self) -> list[bytes]:
        """The mails in the Maildir, with Postfix's own headers on top and LF line ends."""
        return [path.read_bytes() for path in (self.home / "mail" / "box" / "new").glob("*")]

    def log(self) -> str:
        """What it has to say."""
        path = self.home / "log"
        return path.read_text(errors="replace") if path.exists() else ""


@contextlib.contextmanager
def running_postfix(*, more: str = "") -> Generator[Postfix]:
    """A Postfix with its configuration (`more` is added), queue and mailbox in a folder of its own; raises MailServerMissingError."""
    program = shutil.which("postfix", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None or not (DAEMONS / "smtpd").exists():
        raise MailServerMissingError("Postfix is not installed (Debian: apt-get install postfix)")
    if os.geteuid() != 0:
        raise MailServerMissingError("Postfix can only be started by root")
    with tempfile.TemporaryDirectory(prefix="postfix-") as folder:
        server = Postfix(free_port(), Path(folder))
        _prepare(server, more)
        command = [program, "-c", str(server.home / "etc"), "start-fg"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            if not _answers(process, server.port):
                raise MailServerMissingError(f"Postfix does not start: {server.log()[-500:]}")
            yield server
        finally:
            _stop_postfix(server, process)


def _stop_postfix(server: Postfix, script: subprocess.Popen[bytes]) -> None:
    """End the master; the script only waits for it."""
    with contextlib.suppress(OSError, ValueError, subprocess.TimeoutExpired):
        os.kill(int((server.home / "queue" / "pid" / "master.pid").read_text()), signal.SIGTERM)
        script.wait(10)
    end(script)


def _prepare(server: Postfix, more: str) -> None:
    server.home.chmod(0o755)
    for name in ("etc", "queue", "data", "mail"):
        (server.home / name).mkdir()
    shutil.chown(server.home / "data", "postfix")
    os.chown(server.home / "mail", NOBODY, NOBODY)
    (server.home / "etc" / "main.cf").write_text(MAIN_CF.format(home=server.home, daemons=DAEMONS, nobody=NOBODY, more=more))
    (server.home / "etc" / "master.cf").write_text(MASTER_CF.format(port=server.port))
