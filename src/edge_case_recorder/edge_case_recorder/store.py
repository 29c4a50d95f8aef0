"""Where cases go: a Google Cloud Storage bucket, or a folder. Objects are written once.

    gs://bucket/prefix     with this machine's Google credentials; STORAGE_EMULATOR_HOST works
    file:///folder         the same layout on a disk
"""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from edge_case_recorder.uploading.folder import FolderStore
from edge_case_recorder.uploading.gcs import GcsStore
from edge_case_recorder.uploading.pace import TokenBucket
from edge_case_recorder.uploading.store import Sending, Store
from edge_case_recorder.uploading.trouble import Item, ObjectInfo, StoreError, Trouble

__all__ = ['FolderStore', 'GcsStore', 'Item', 'ObjectInfo', 'Sending', 'Store', 'StoreError',
           'Trouble', 'open_store']


def open_store(url: str, cap: TokenBucket | None = None) -> Store:
    """A store by its URL; raises ValueError with one sentence. cap: of what is sent."""
    parts = urlsplit(url)
    if parts.scheme == 'gs' and parts.netloc:
        return GcsStore(parts.netloc, parts.path.strip('/'), cap=cap)
    if parts.scheme == 'file' and not parts.netloc and parts.path.startswith('/'):
        return FolderStore(Path(unquote(parts.path)), cap=cap)
    raise ValueError(f'bucket {url!r}: must be gs://bucket/prefix or file:///folder')
