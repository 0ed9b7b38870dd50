"""Which store a URL means. The only place that knows every kind."""

from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from tidings.errors import Invalid
from tidings.storage.base import Store
from tidings.storage.folder import Folder

FOLDER = "blobs"
"""Below the data folder, where no URL says otherwise."""
_OPTIONS = frozenset({"endpoint", "region", "style"})


def open_store(url: str, home: Path) -> Store:
    """The store of a URL: `s3://key:secret@bucket/prefix?endpoint=…&region=…&style=path|virtual`, `file:///path`, "" for the data folder.

    Nothing is asked over the network yet. Raises Invalid.
    """
    parts = urlsplit(url)
    if not url:
        return Folder(home / FOLDER)
    if parts.scheme == "file":
        return Folder(_path(url))
    if parts.scheme == "s3":
        return _bucket(url)
    raise Invalid("The storage URL must begin with s3:// or file:///")


def _path(url: str) -> Path:
    parts = urlsplit(url)
    if parts.netloc or not parts.path.startswith("/") or parts.path == "/":
        raise Invalid("A storage URL for a folder is file:/// and an absolute path")
    return Path(unquote(parts.path))


def _bucket(url: str) -> Store:
    # a library of 16 MB that only those pay for who use it
    from tidings.storage.s3 import S3, Bucket

    name, prefix, options, key, secret = _bucket_parts(url)
    bucket = Bucket(
        name=name,
        prefix=prefix,
        endpoint=options.get("endpoint", "").rstrip("/"),
        region=options.get("region", ""),
        key=key,
        secret=secret,
        virtual=options.get("style") == "virtual",
    )
    return S3(bucket)


def _bucket_parts(url: str) -> tuple[str, str, dict[str, str], str, str]:
    """(bucket, prefix, options, key, secret) of an `s3://` URL. Raises Invalid."""
    parts = urlsplit(url)
    userinfo, _, name = parts.netloc.rpartition("@")
    key, _, secret = userinfo.partition(":")
    options = {option: values[-1] for option, values in parse_qs(parts.query, keep_blank_values=True).items()}
    if not name:
        raise Invalid("The storage URL names no bucket: s3://bucket/prefix")
    if unknown := sorted(options.keys() - _OPTIONS):
        raise Invalid(f"The storage URL has an unknown option {unknown[0]!r}; there are endpoint, region and style")
    if bool(key) != bool(secret):
        raise Invalid("The storage URL has half of its credentials: s3://key:secret@bucket")
    endpoint = options.get("endpoint", "")
    if endpoint and not endpoint.startswith(("http://", "https://")):
        raise Invalid("The storage URL's endpoint must begin with http:// or https://")
    if options.get("style", "path") not in {"path", "virtual"}:
        raise Invalid("The storage URL's style is path or virtual")
    return name, unquote(parts.path).strip("/"), options, unquote(key), unquote(secret)
