"""Where cases go: a Google Cloud Storage bucket, or a folder. Objects are written once.

    gs://bucket/prefix     with google-cloud-storage's own credentials; STORAGE_EMULATOR_HOST works
    file:///folder         the same layout on a disk
"""

import contextlib
import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from edge_case_recorder import manifest
from edge_case_recorder.durable import fsync_file, fsync_folder

_TIMEOUT_S = 60.0
# The library's default sends 100 MiB in one request, which a slow link cannot do within a time-out.
_CHUNK_BYTES = 8 << 20


class Trouble(StrEnum):
    """Why an upload did not happen; nothing is lost by any of them."""

    UNREACHABLE = 'unreachable'        # network, server, quota: try again
    CREDENTIALS = 'credentials'        # missing, expired or refused
    NO_BUCKET = 'no_bucket'
    CONFLICT = 'conflict'              # another object has the name: a person must look
    DAMAGED = 'damaged'                # the file differs from its manifest: a person must look
    REFUSED = 'refused'                # the server will not have it, and says why


class StoreError(RuntimeError):
    """An upload or a look failed; `trouble` says which kind it is."""

    def __init__(self, trouble: Trouble, message: str) -> None:
        super().__init__(f'{trouble}: {message}')
        self.trouble = trouble


@dataclass(frozen=True)
class ObjectInfo:
    bytes: int
    crc32c: str


class Store(Protocol):
    """One bucket and prefix. Names are relative to the prefix, with slashes."""

    url: str

    def put(self, name: str, path: Path, content_type: str) -> ObjectInfo | None:
        """Write the object whole if the name is free; None when something has it already."""

    def stat(self, name: str) -> ObjectInfo | None:
        """What the store says of an object; None when there is none."""

    def get(self, name: str) -> bytes:
        """An object's content, checked on the way."""


def open_store(url: str) -> Store:
    """A store by its URL; raises ValueError with one sentence."""
    parts = urlsplit(url)
    if parts.scheme == 'gs' and parts.netloc:
        return GcsStore(parts.netloc, parts.path.strip('/'))
    if parts.scheme == 'file' and not parts.netloc and parts.path.startswith('/'):
        return FolderStore(Path(unquote(parts.path)))
    raise ValueError(f'bucket {url!r}: must be gs://bucket/prefix or file:///folder')


class FolderStore:
    """A folder as a bucket. Hard links make 'only if the name is free' true for two writers too."""

    def __init__(self, root: Path) -> None:
        self.url = root.as_uri()
        self._root = root

    def put(self, name: str, path: Path, content_type: str) -> ObjectInfo | None:
        target = self._root / name
        beside = target.with_name(f'.{target.name}.{os.getpid()}')
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with open(path, 'rb') as source, open(beside, 'wb') as copy:
                while block := source.read(_CHUNK_BYTES):
                    copy.write(block)
            fsync_file(beside)
            try:
                os.link(beside, target)
            except FileExistsError:
                return None
            finally:
                beside.unlink()
            fsync_folder(target.parent)
        except OSError as error:
            raise StoreError(Trouble.UNREACHABLE, f'{target}: {error.strerror or error}') from error
        return self.stat(name)

    def stat(self, name: str) -> ObjectInfo | None:
        with contextlib.suppress(FileNotFoundError):
            found = manifest.describe(self._root / name)
            return ObjectInfo(found['bytes'], found['crc32c'])
        return None

    def get(self, name: str) -> bytes:
        try:
            return (self._root / name).read_bytes()
        except OSError as error:
            raise StoreError(Trouble.UNREACHABLE, f'{name}: {error.strerror or error}') from error


class GcsStore:
    """A bucket of Google Cloud Storage. The library's own retries are off: the caller's rule.

    Raises StoreError of CREDENTIALS when there are none on this machine.
    """

    def __init__(self, bucket: str, prefix: str) -> None:
        # Importing costs a second: only who needs it pays.
        from google.auth.exceptions import DefaultCredentialsError
        from google.cloud import storage
        self.url = f'gs://{bucket}/{prefix}'.rstrip('/')
        self._prefix = f'{prefix}/' if prefix else ''
        try:
            # Objects need no project; without this the library insists on finding one.
            self._bucket: Any = storage.Client(project=None).bucket(bucket)
        except (DefaultCredentialsError, OSError) as error:
            raise StoreError(Trouble.CREDENTIALS, f'{self.url}: {error}') from error

    def put(self, name: str, path: Path, content_type: str) -> ObjectInfo | None:
        from google.api_core.exceptions import PreconditionFailed
        blob = self._bucket.blob(self._prefix + name, chunk_size=_CHUNK_BYTES)
        try:
            with _translated(f'{self.url}/{name}'):
                blob.upload_from_filename(
                    str(path), content_type=content_type, if_generation_match=0,
                    checksum='crc32c', timeout=_TIMEOUT_S, retry=None)
        except PreconditionFailed:
            return None
        return ObjectInfo(blob.size, blob.crc32c)

    def stat(self, name: str) -> ObjectInfo | None:
        with _translated(f'{self.url}/{name}'):
            blob = self._bucket.get_blob(self._prefix + name, timeout=_TIMEOUT_S, retry=None)
        return None if blob is None else ObjectInfo(blob.size, blob.crc32c)

    def get(self, name: str) -> bytes:
        with _translated(f'{self.url}/{name}'):
            return self._bucket.blob(self._prefix + name).download_as_bytes(
                checksum='crc32c', timeout=_TIMEOUT_S, retry=None)


@contextlib.contextmanager
def _translated(where: str) -> Any:
    """The library's exceptions as ours; PreconditionFailed passes through."""
    import requests
    from google.api_core import exceptions as gcs
    from google.auth.exceptions import GoogleAuthError
    from google.cloud.storage.exceptions import DataCorruption
    try:
        yield
    except gcs.PreconditionFailed:
        raise
    except (gcs.Unauthorized, gcs.Forbidden, GoogleAuthError) as error:
        raise StoreError(Trouble.CREDENTIALS, f'{where}: {error}') from error
    except gcs.NotFound as error:
        raise StoreError(Trouble.NO_BUCKET, f'{where}: {error}') from error
    except (gcs.TooManyRequests, gcs.ServerError, gcs.RetryError, DataCorruption,
            requests.RequestException, ConnectionError, TimeoutError) as error:
        raise StoreError(Trouble.UNREACHABLE, f'{where}: {error}') from error
    except gcs.GoogleAPICallError as error:
        raise StoreError(Trouble.REFUSED, f'{where}: {error}') from error
