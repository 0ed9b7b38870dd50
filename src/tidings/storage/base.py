"""What every store of blobs does, and the name a blob has in it. Nothing here touches a disk or a network."""

import hashlib
import re
from collections.abc import AsyncIterator
from typing import Protocol

from tidings.errors import NotFound

CHUNK = 256 * 1024
"""Bytes that are handed on at a time when a blob is streamed."""
_HASH = re.compile(r"[0-9a-f]{64}")


class Store(Protocol):
    """Blobs by tenant and hash (SHA-256 in lower-case hexadecimal). `url` is safe to show: it holds no credentials.

    Every method raises Unavailable while the store cannot be reached, is full or refuses us.
    """

    url: str

    async def put(self, tenant_id: int, digest: str, data: bytes) -> None:
        """Keeps `data`, whose hash it is; on return it outlives a crash. What is there already is not written again."""
        ...

    async def get(self, tenant_id: int, digest: str) -> bytes:
        """The whole blob. Raises NotFound when there is none, or when what is there is not what was put."""
        ...

    def stream(self, tenant_id: int, digest: str) -> AsyncIterator[bytes]:
        """The blob piece by piece. Raises NotFound before the first piece."""
        ...

    async def drop(self, tenant_id: int, digest: str) -> None:
        """Removes the blob; one that is not there is removed already."""
        ...


def sha256(data: bytes) -> str:
    """The name of these bytes."""
    return hashlib.sha256(data).hexdigest()


def place(tenant_id: int, digest: str) -> str:
    """Where a blob lies below its store: `<tenant>/<first two digits>/<hash>`, so that no folder grows without end."""
    if not _HASH.fullmatch(digest):
        raise ValueError(f"{digest!r} is no SHA-256 in lower-case hexadecimal")
    return f"{tenant_id}/{digest[:2]}/{digest}"


def whole(data: bytes, digest: str) -> bytes:
    """`data`, when it is what its name says. Raises NotFound: half a file must not be sent as if it were one."""
    if sha256(data) != digest:
        raise NotFound(f"The stored file {digest[:12]}… is damaged: it is not what was put there")
    return data
