"""Blobs as files below one folder: written aside, synced and renamed into place, so that a name always means the whole file."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

from tidings.errors import NotFound, Unavailable
from tidings.storage.base import CHUNK, place, whole


class Folder:
    """A store in a folder of this machine (or of a share that all machines mount); made when the first blob comes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = f"file://{root.absolute()}"

    async def put(self, tenant_id: int, digest: str, data: bytes) -> None:
        """See `Store.put`."""
        await asyncio.to_thread(self._put, self.root / place(tenant_id, digest), data)

    async def get(self, tenant_id: int, digest: str) -> bytes:
        """See `Store.get`."""
        return await asyncio.to_thread(self._get, self.root / place(tenant_id, digest), digest)

    async def stream(self, tenant_id: int, digest: str) -> AsyncIterator[bytes]:
        """See `Store.stream`."""
        file = await asyncio.to_thread(self._open, self.root / place(tenant_id, digest), digest)
        try:
            while chunk := await asyncio.to_thread(file.read, CHUNK):
                yield chunk
        except OSError as error:
            raise self._away(error) from error
        finally:
            file.close()

    async def drop(self, tenant_id: int, digest: str) -> None:
        """See `Store.drop`."""
        try:
            await asyncio.to_thread((self.root / place(tenant_id, digest)).unlink, missing_ok=True)
        except OSError as error:
            raise self._away(error) from error

    def _put(self, path: Path, data: bytes) -> None:
        try:
            if path.exists() and path.stat().st_size == len(data):
                return
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
            try:
                _write(aside, data)
                aside.replace(path)
            finally:
                aside.unlink(missing_ok=True)
            # a name is safe once its folder is on the disk, and the folder once those above it are
            for folder in (path.parent, path.parent.parent, self.root):
                _sync(folder)
        except OSError as error:
            raise self._away(error) from error

    def _get(self, path: Path, digest: str) -> bytes:
        with self._open(path, digest) as file:
            try:
                return whole(file.read(), digest)
            except OSError as error:
                raise self._away(error) from error

    def _open(self, path: Path, digest: str) -> BinaryIO:
        try:
            return path.open("rb")
        except FileNotFoundError as error:
            if not self.root.exists():
                # a share that is not mounted: the file may well be there
                raise self._away(error) from error
            raise NotFound(f"The stored file {digest[:12]}… is gone from {self.url}") from error
        except OSError as error:
            raise self._away(error) from error

    def _away(self, error: OSError) -> Unavailable:
        return Unavailable(f"The files in {self.url} cannot be reached: {error.strerror or error}")


def _write(path: Path, data: bytes) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
