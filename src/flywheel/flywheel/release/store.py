"""Where releases lie: a folder or a bucket. An object is written once and never again."""

import contextlib
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Protocol, cast
from urllib.parse import unquote, urlsplit

from ..gcs import BucketError, open_bucket
from .errors import ReleaseError
from .manifest import check_path

CHUNK = 1 << 20


class TakenError(ReleaseError):
    """The name is taken; nothing was written."""


class Store(Protocol):
    """Objects by names with `/`. Every method raises ReleaseError."""
    url: str

    def put_new(self, name: str, content: Path | bytes) -> None:
        """All of it or nothing, and only where the name is free; else TakenError."""

    def open(self, name: str) -> contextlib.AbstractContextManager[IO[bytes]]: ...

    def size(self, name: str) -> int | None:
        """None where there is no such object."""

    def names(self, prefix: str) -> list[str]: ...


def open_store(url: str) -> Store:
    """`gs://BUCKET/PREFIX`, `file:///FOLDER` or a folder's path. Raises ReleaseError."""
    if url.startswith('gs://'):
        parts = urlsplit(url)
        return GcsStore(parts.netloc, parts.path.strip('/'))
    return FolderStore(Path(unquote(urlsplit(url).path) if url.startswith('file://') else url))


class FolderStore:
    """Objects are files; hard links make 'only if the name is free' true for two writers too."""

    def __init__(self, root: Path) -> None:
        self.url = root.absolute().as_uri()
        self._root = root

    def put_new(self, name: str, content: Path | bytes) -> None:
        target = self.path(name)
        with self._told(name):
            target.parent.mkdir(parents=True, exist_ok=True)
            beside = target.with_name(f'.{target.name}.{secrets.token_hex(8)}.part')
            try:
                with open(beside, 'xb') as copy:
                    if isinstance(content, bytes):
                        copy.write(content)
                    else:
                        with open(content, 'rb') as source:
                            shutil.copyfileobj(source, copy, CHUNK)
                    copy.flush()
                    os.fsync(copy.fileno())
                try:
                    os.link(beside, target)
                except FileExistsError:
                    raise TakenError(f'{self.url}/{name} is there already') from None
            finally:
                beside.unlink(missing_ok=True)
            _sync_folder(target.parent)

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        with self._told(name), open(self.path(name), 'rb') as stream:
            yield stream

    def size(self, name: str) -> int | None:
        try:
            return self.path(name).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None

    def names(self, prefix: str) -> list[str]:
        folder = self.path(prefix)
        return sorted(each.relative_to(self._root).as_posix() for each in folder.rglob('*')
                      if each.is_file() and not each.name.startswith('.'))

    def path(self, name: str) -> Path:
        path = self._root
        for segment in check_path(name).split('/'):
            path = path / segment
            if path.is_symlink():
                raise ReleaseError(f'{path} is a link: it could lead anywhere')
        return path

    @contextlib.contextmanager
    def _told(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ReleaseError(f'{self.url}/{name}: {error.strerror or error}') from error


class GcsStore:
    """A bucket of Google Cloud Storage. if_generation_match=0 is 'only if the name is free'."""

    def __init__(self, bucket: str, prefix: str = '', *, client: Any = None) -> None:
        """Raises ReleaseError where nobody is logged in. STORAGE_EMULATOR_HOST is heeded."""
        self.url = f'gs://{bucket}/{prefix}'.rstrip('/')
        try:
            self._bucket = open_bucket(bucket, client)
        except BucketError as error:
            raise ReleaseError(f'{self.url}: {error}') from error
        self._prefix = f'{prefix}/' if prefix else ''

    def put_new(self, name: str, content: Path | bytes) -> None:
        from google.api_core.exceptions import PreconditionFailed
        with self._told(name):
            blob = self._blob(name)
            try:
                if isinstance(content, bytes):
                    blob.upload_from_string(content, content_type='application/octet-stream',
                                            if_generation_match=0, checksum='crc32c')
                else:
                    blob.upload_from_filename(str(content), if_generation_match=0,
                                              checksum='crc32c')
            except PreconditionFailed:
                raise TakenError(f'{self.url}/{name} is there already') from None

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        with self._told(name):
            blob = self._blob(name)
            # The generation is pinned: what is read is one object, whatever happens meanwhile.
            blob.reload()
            with blob.open('rb', chunk_size=8 * CHUNK) as stream:
                yield cast(IO[bytes], stream)

    def size(self, name: str) -> int | None:
        with self._told(name):
            blob = self._bucket.get_blob(self._prefix + check_path(name))
            return None if blob is None else blob.size

    def names(self, prefix: str) -> list[str]:
        with self._told(prefix):
            found = self._bucket.client.list_blobs(
                self._bucket, prefix=f'{self._prefix}{check_path(prefix)}/')
            return sorted(each.name.removeprefix(self._prefix) for each in found)

    def _blob(self, name: str) -> Any:
        return self._bucket.blob(self._prefix + check_path(name))

    @contextlib.contextmanager
    def _told(self, name: str) -> Iterator[None]:
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.exceptions import GoogleAuthError
        from requests.exceptions import RequestException
        try:
            yield
        except (GoogleAPIError, GoogleAuthError, RequestException, OSError) as error:
            raise ReleaseError(f'{self.url}/{name}: {str(error).splitlines()[0][:300]}') from error


def digest_of(store: Store, name: str) -> tuple[str, int]:
    """SHA-256 and length of an object, read whole."""
    hashed, length = hashlib.sha256(), 0
    with store.open(name) as stream:
        while block := stream.read(CHUNK):
            hashed.update(block)
            length += len(block)
    return hashed.hexdigest(), length


def read(store: Store, name: str, limit: int) -> bytes:
    """An object of at most `limit` bytes."""
    with store.open(name) as stream:
        content = stream.read(limit + 1)
    if len(content) > limit:
        raise ReleaseError(f'{store.url}/{name} is longer than {limit} bytes')
    return content


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
