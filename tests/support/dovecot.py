"""Dovecot, an IMAP server nobody here wrote, started for a test with everything of it in a folder of its own."""

import contextlib
import getpass
import imaplib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Generator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.mail import MailServerMissingError, end, free_port

READY_WITHIN = 20.0
PASSWORD = "the right pässword"

CONFIGURATION = """
base_dir = {home}/run
state_dir = {home}/run
log_path = {home}/log
protocols = imap
listen = 127.0.0.1
ssl = yes
ssl_cert = <{home}/cert.pem
ssl_key = <{home}/key.pem
disable_plaintext_auth = no
auth_mechanisms = plain login
mail_location = maildir:{home}/mail/%u
first_valid_uid = 0
mail_uid = {uid}
mail_gid = {gid}
default_internal_user = {internal}
default_login_user = {login}
default_internal_group = {group}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {home}/users
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={home}/mail/%u
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {tls_port}
    ssl = yes
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
{more}
"""


@dataclass
class Dovecot:
    """A running Dovecot, where ann has a mailbox."""

    port: int
    tls_port: int
    home: Path

    @contextlib.contextmanager
    def client(self) -> Generator[imaplib.IMAP4]:
        """Another client, ann's own, with INBOX open."""
        client = imaplib.IMAP4("127.0.0.1", self.port)
        try:
            client.authenticate("PLAIN", lambda _: f"\0ann\0{PASSWORD}".encode())
            client.select("INBOX")
            yield client
        finally:
            client.logout()

    def deliver(self, *mails: bytes, folder: str = "INBOX", at: datetime | None = None) -> None:
        """Puts mails into a folder; `at` is when they came, now unless given."""
        when = imaplib.Time2Internaldate(at or datetime.now(UTC))
        with self.client() as client:
            for raw in mails:
                answer, told = client.append(folder, "", when, raw)
                assert answer == "OK", told

    def mails(self, folder: str = "INBOX") -> list[tuple[str, bytes]]:
        """(flags, message) of what lies in a folder."""
        with self.client() as client:
            answer, _ = client.select(folder, readonly=True)
            if answer != "OK":
                return []
            _, parts = client.fetch("1:*", "(FLAGS BODY.PEEK[])")
            return [(part[0].partition(b"FLAGS (")[2].partition(b")")[0].decode(), part[1]) for part in parts if isinstance(part, tuple)]

    def recreate(self) -> None:
        """Makes INBOX another folder with the same mails: other UIDs under another UIDVALIDITY."""
        with self.client() as client:
            _, (told, *_) = client.response("UIDVALIDITY")
        for path in (self.home / "mail" / "ann").glob("dovecot*"):
            path.unlink()
        # it is the second in which the folder was made
        while time.time() < int(told or b"0") + 1:
            time.sleep(0.05)

    def kick(self) -> None:
        """Ends every connection of ann's."""
        self._administer("kick", "ann")

    def connections(self) -> int:
        """How many connections of ann's there are."""
        lines = [line.split("\t") for line in self._administer("-f", "tab", "who", "ann").splitlines()[1:]]
        return sum(int(line[1]) for line in lines if len(line) > 1 and line[1].isdigit())

    def log(self) -> str:
        """What it has to say."""
        path = self.home / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def _administer(self, *words: str) -> str:
        command = [_program("doveadm"), "-c", str(self.home / "dovecot.conf"), *words]
        return subprocess.run(command, check=False, capture_output=True, text=True).stdout


@contextlib.contextmanager
def running_dovecot(*, more: str = "") -> Generator[Dovecot]:
    """A Dovecot for as long as the block lasts; `more` is added to its configuration. Raises MailServerMissingError."""
    program = _program("dovecot")
    with tempfile.TemporaryDirectory(prefix="dovecot-", ignore_cleanup_errors=True) as folder:
        server = Dovecot(free_port(), free_port(), Path(folder))
        _prepare(server, more)
        process = subprocess.Popen(
            [program, "-F", "-c", str(server.home / "dovecot.conf")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            if not _ready(server, process):
                raise MailServerMissingError(f"Dovecot does not start: {server.log()[-500:]}")
            yield server
        finally:
            end(process)


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        raise MailServerMissingError("Dovecot is not installed (Debian: apt-get install dovecot-imapd)")
    return found


def _prepare(server: Dovecot, more: str) -> None:
    root = os.geteuid() == 0
    me = getpass.getuser()
    users = {"internal": "dovecot", "login": "dovenull", "group": "dovecot"} if root else {"internal": me, "login": me, "group": me}
    owner = 65534 if root else os.getuid()
    server.home.chmod(0o755)
    (server.home / "mail").mkdir()
    if root:
        os.chown(server.home / "mail", owner, owner)
    (server.home / "users").write_text(f"ann:{{PLAIN}}{PASSWORD}\n", encoding="utf-8")
    (server.home / "users").chmod(0o644)
    _certify(server.home)
    text = CONFIGURATION.format(home=server.home, port=server.port, tls_port=server.tls_port, uid=owner, gid=owner, more=more, **users)
    (server.home / "dovecot.conf").write_text(text)


def _certify(folder: Path) -> None:
    """A certificate that nobody trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "imap.example.net")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=30))
    pem = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    (folder / "cert.pem").write_bytes(pem)
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(private)


def _ready(server: Dovecot, process: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + READY_WITHIN
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with server.client():
                return True
        except (OSError, imaplib.IMAP4.error):
            time.sleep(0.05)
    return False
