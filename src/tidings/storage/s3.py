"""Blobs in a bucket of S3-compatible storage, over obstore (the Rust object_store). What a bucket's URL may say is read in `opening`."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Generator
from datetime import timedelta

import msgspec
import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from tidings.errors import Invalid, NotFound, Unavailable
from tidings.storage.base import CHUNK, place, whole

_PATIENCE = timedelta(seconds=120)
"""For one request, the body included: 25 MiB at 2 MBit/s."""
_RETRYING = timedelta(seconds=10)
_NO_BUCKET = "NoSuchBucket"
"""S3's code for it, in the body of a 404 that otherwise says the same as that of a missing file."""


class Bucket(msgspec.Struct, frozen=True):
    """Where blobs go. Without `key` the credentials are the environment's (AWS_ACCESS_KEY_ID, …) or the machine's own role.

    `endpoint` is the base URL of a service other than Amazon's; `virtual` puts the bucket's name into the host instead of the path.
    """

    name: str
    prefix: str = ""
    endpoint: str = ""
    region: str = ""
    key: str = ""
    secret: str = ""
    virtual: bool = False


class S3:
    """A store in a bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self.url = f"s3://{bucket.name}/{bucket.prefix}".rstrip("/") + (f" at {bucket.endpoint}" if bucket.endpoint else "")
        try:
            self._store = _opened(bucket)
        except (BaseError, ValueError) as error:
            raise Invalid(f"The storage at {self.url} cannot be used: {_reason(error)}") from error

    async def put(self, tenant_id: int, digest: str, data: bytes) -> None:
        """See `Store.put`."""
        path = place(tenant_id, digest)
        with self._mapped(digest):
            if await self._size(path) != len(data):
                # in one request: what breaks off leaves no parts behind that somebody pays for
                await obstore.put_async(self._store, path, data, use_multipart=False)

    async def get(self, tenant_id: int, digest: str) -> bytes:
        """See `Store.get`."""
        with self._mapped(digest):
            found = await obstore.get_async(self._store, place(tenant_id, digest))
            buffer = await found.bytes_async()
        # the library's buffer becomes bytes of ours: as large as the file, so not in the loop's thread
        return await asyncio.to_thread(_checked, buffer, digest)

    async def stream(self, tenant_id: int, digest: str) -> AsyncIterator[bytes]:
        """See `Store.stream`."""
        with self._mapped(digest):
            found = await obstore.get_async(self._store, place(tenant_id, digest))
            async for chunk in found.stream(min_chunk_size=CHUNK):
                yield bytes(chunk)

    async def drop(self, tenant_id: int, digest: str) -> None:
        """See `Store.drop`."""
        with contextlib.suppress(NotFound), self._mapped(digest):
            await obstore.delete_async(self._store, place(tenant_id, digest))

    async def _size(self, path: str) -> int | None:
        try:
            return (await obstore.head_async(self._store, path))["size"]
        except FileNotFoundError:
            return None

    @contextlib.contextmanager
    def _mapped(self, digest: str) -> Generator[None]:
        """What the library raises, in our words."""
        try:
            yield
        except FileNotFoundError as error:
            if _NO_BUCKET in str(error):
                # not the file's fault, and mended by whoever keeps the bucket: messages wait for that
                raise Unavailable(f"The files in {self.url} cannot be reached: there is no such bucket") from error
            raise NotFound(f"The stored file {digest[:12]}… is gone from {self.url}") from error
        except BaseError as error:
            raise Unavailable(f"The files in {self.url} cannot be reached: {_reason(error)}") from error


def _opened(bucket: Bucket) -> S3Store:
    config: dict[str, str | bool] = {"virtual_hosted_style_request": bucket.virtual}
    if bucket.region:
        config["region"] = bucket.region
    if bucket.endpoint:
        config["endpoint"] = bucket.endpoint
    if bucket.key:
        config["access_key_id"] = bucket.key
        config["secret_access_key"] = bucket.secret
    return S3Store(
        bucket.name,
        prefix=bucket.prefix or None,
        config=config,  # pyright: ignore[reportArgumentType] - a TypedDict of the same keys
        client_options={"allow_http": bucket.endpoint.startswith("http://"), "timeout": _PATIENCE},
        retry_config={"max_retries": 3, "retry_timeout": _RETRYING},
    )


def _checked(buffer: obstore.Bytes, digest: str) -> bytes:
    return whole(bytes(buffer), digest)


def _reason(error: Exception) -> str:
    """The first line of what the library says: the rest may be a whole answer of the service, signature and all."""
    return str(error).strip().partition("\n")[0][:200]
