"""Where bytes are kept that are too large for the database: by tenant and SHA-256, in a folder or in S3-compatible storage.

Which bytes are wanted and for how long is not known here: `domain.attachments` keeps the book.
"""

from tidings.storage.base import Store, sha256
from tidings.storage.folder import Folder
from tidings.storage.opening import open_store

__all__ = ["Folder", "Store", "open_store", "sha256"]
