"""What an import is told and how far it has come: the params and the cursor of its job, and where its files are."""

import codecs
import secrets
from pathlib import Path

import msgspec

from tidings import ids
from tidings.database import Tx
from tidings.domain import jobs
from tidings.domain.jobs import Job
from tidings.errors import Invalid

KIND = "import"
"""The kind of an import's job."""
DELIMITERS = {",": ",", ";": ";", "|": "|", "\t": "\t", "comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}
_ENCODINGS = ("utf-8", "ascii", "cp", "iso8859", "koi8", "mac", "gb", "big5", "shift_jis", "euc")


class Source(msgspec.Struct, frozen=True):
    """The file and how to read it. `path` is below the data folder when it was uploaded (then it goes away at the end), else absolute.

    "" as `delimiter` is for finding out; `region` (ISO 3166) reads phone numbers without a country code; `fingerprint` tells files apart.
    """

    path: str
    uploaded: bool
    list_id: int | None = None
    region: str = ""
    encoding: str = "utf-8"
    delimiter: str = ""
    fingerprint: str = ""

    def file(self, data_folder: Path) -> Path:
        """Where the file is on this machine."""
        return data_folder / self.path


class Cursor(msgspec.Struct, frozen=True):
    """Where an import goes on: records read, bytes of the rejects file that belong to them, and what became of the rows."""

    records: int = 0
    rejects: int = 0
    created: int = 0
    updated: int = 0
    rejected: int = 0


def checked_source(source: Source) -> Source:
    """The same with its options in their one spelling. Raises Invalid naming the option that is wrong."""
    delimiter = ""
    if source.delimiter:
        found = DELIMITERS.get(source.delimiter.lower())
        if found is None:
            raise Invalid.field("delimiter", "must be comma, semicolon, tab or pipe")
        delimiter = found
    region = source.region.strip().upper()
    if region and not (len(region) == 2 and region.isascii() and region.isalpha()):
        raise Invalid.field("region", "must be a country code of two letters such as IT")
    return msgspec.structs.replace(source, delimiter=delimiter, region=region, encoding=_encoding(source.encoding))


def begin_import(tx: Tx, tenant_id: int, source: Source, *, now: int, by_hand: bool = False) -> Job:
    """The job that imports a checked source; done by a worker, unless `by_hand`."""
    return jobs.create(tx, tenant_id, KIND, msgspec.json.encode(source).decode(), total=0, now=now, by_hand=by_hand)


def imports_folder(data_folder: Path) -> Path:
    """Where uploads and rejects files are kept; made if it is not there."""
    folder = data_folder / "imports"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def new_upload(data_folder: Path) -> Path:
    """Where a file that is being received goes; nothing is there yet."""
    return imports_folder(data_folder) / f"upload-{secrets.token_hex(12)}.csv"


def uploads(data_folder: Path) -> list[Path]:
    """Every file that was received and is still there."""
    return sorted(imports_folder(data_folder).glob("upload-*.csv"))


def rejects_file(data_folder: Path, job_id: int) -> Path:
    """The rejects file of an import: CSV of line, reason and the cells as they were."""
    return imports_folder(data_folder) / f"{ids.spell('job', job_id)}.rejects.csv"


def _encoding(name: str) -> str:
    try:
        found = codecs.lookup(name.strip() or "utf-8").name
    except (LookupError, ValueError):
        found = ""
    if not found.startswith(_ENCODINGS):
        raise Invalid.field("encoding", "is not one we read; utf-8 and cp1252 are usual")
    return "utf-8" if found == "utf-8-sig" else found
