"""Where cases go: a Google Cloud Storage bucket, or a folder. Objects are written once.

    gs://bucket/prefix     with this machine's Google credentials; STORAGE_EMULATOR_HOST works
    file:///folder         the same layout on a disk
"""

from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from edge_case_recorder.uploading.folder import FolderStore
from edge_case_recorder.uploading.gcs import GcsStore
from edge_case_recorder.uploading.pace import TokenBucket
from edge_case_recorder.uploading.trouble import Item, ObjectInfo, StoreError, Trouble
from edge_case_recorder.uploading.wall_clock import WallClock

__all__ = ['FolderStore', 'GcsStore', 'Item', 'ObjectInfo', 'Sending', 'Store', 'StoreError',
           'Trouble', 'open_store']


class Sending(Protocol):
    """One object on its way."""

    item: Item

    @property
    def persisted(self) -> int:
        """How many bytes are known to be there."""

    def step(self) -> ObjectInfo | None:
        """Send at most one chunk; what has the name, once something has all of it.

        Raises StoreError. Left at any time, also by kill -9, it goes on where it was.
        """


class Store(Protocol):
    """One bucket and prefix. Names are relative to the prefix, with slashes."""

    url: str
    clock: WallClock

    def sending(self, item: Item) -> Sending:
        """The object's way into the store, going on from an earlier process."""

    def stat(self, name: str) -> ObjectInfo | None:
        """What the store says of an object; None when there is none."""

    def get(self, name: str) -> bytes:
        """An object's content, checked on the way."""

    def learn_time(self) -> None:
        """Ask for the time of day, for `clock`."""


def open_store(url: str, cap: TokenBucket | None = None) -> Store:
    """A store by its URL; raises ValueError with one sentence. cap: of what is sent."""
    parts = urlsplit(url)
    if parts.scheme == 'gs' and parts.netloc:
        return GcsStore(parts.netloc, parts.path.strip('/'), cap=cap)
    if parts.scheme == 'file' and not parts.netloc and parts.path.startswith('/'):
        return FolderStore(Path(unquote(parts.path)), cap=cap)
    raise ValueError(f'bucket {url!r}: must be gs://bucket/prefix or file:///folder')
