"""Manifests in a bucket (gs://) or in a folder (file://), listed and read; nothing is written.

They lie at `<prefix>/<robot>/<date>/<case id>/manifest.json`, the last object of a case, so a case
whose manifest is there is whole.
"""

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from edge_case_recorder.manifest import MANIFEST, MAX_BYTES

from ..gcs import BucketError, open_bucket
from .errors import CatalogueError

_PLACE = re.compile(r'[A-Za-z0-9][A-Za-z0-9_.-]{0,63}/[0-9]{4}-[0-9]{2}-[0-9]{2}/[^/]+')
_DATE = re.compile(r'[0-9]{4}-[0-9]{2}-[0-9]{2}')


@dataclass(frozen=True)
class Listed:
    """folder: `<robot>/<date>/<case id>`. generation: another one is another object."""

    folder: str
    generation: str
    bytes: int


class Objects(Protocol):
    """Every method raises CatalogueError where the bucket cannot be used."""

    url: str

    def manifests(self, since: str = '') -> Iterator[Listed]:
        """Of every case whose date (UTC, `2026-11-24`) is not before `since`; in any order."""

    def read(self, listed: Listed) -> bytes:
        """The manifest in that generation, at most MAX_BYTES and one."""


def open_objects(url: str) -> Objects:
    """By a bucket's URL; STORAGE_EMULATOR_HOST is heeded. Raises CatalogueError."""
    parts = urlsplit(url)
    if parts.scheme == 'gs' and parts.netloc:
        return GcsObjects(parts.netloc, parts.path.strip('/'))
    if parts.scheme == 'file' and not parts.netloc and parts.path.startswith('/'):
        return FolderObjects(Path(unquote(parts.path)))
    raise CatalogueError(f'bucket {url!r}: must be gs://bucket/prefix or file:///folder')


class FolderObjects:
    """Links are never followed: they could lead anywhere."""

    def __init__(self, root: Path) -> None:
        self.url = root.absolute().as_uri()
        self._root = root

    def manifests(self, since: str = '') -> Iterator[Listed]:
        try:
            for robot in _folders(self._root):
                for date in _folders(Path(robot.path)):
                    if date.name < since or not _DATE.fullmatch(date.name):
                        continue
                    for case in _folders(Path(date.path)):
                        yield from self._listed(f'{robot.name}/{date.name}/{case.name}')
        except OSError as error:
            raise CatalogueError(f'{self.url}: {error.strerror or error}') from None

    def _listed(self, folder: str) -> Iterator[Listed]:
        try:
            found = os.lstat(f'{self._root}/{folder}/{MANIFEST}')
        except OSError:
            return              # not whole yet
        if stat.S_ISREG(found.st_mode):
            yield Listed(folder, f'{found.st_mtime_ns}-{found.st_size}', found.st_size)

    def read(self, listed: Listed) -> bytes:
        try:
            descriptor = os.open(f'{self._root}/{listed.folder}/{MANIFEST}',
                                 os.O_RDONLY | os.O_NOFOLLOW)
            with open(descriptor, 'rb') as file:
                return file.read(MAX_BYTES + 1)
        except OSError as error:
            raise CatalogueError(f'{self.url}/{listed.folder}: {error.strerror or error}') from None


class GcsObjects:
    """A bucket of Google Cloud Storage, or an emulator of it."""

    def __init__(self, bucket: str, prefix: str = '', *, client: Any = None) -> None:
        self.url = f'gs://{bucket}/{prefix}'.rstrip('/')
        try:
            self._bucket = open_bucket(bucket, client)
        except BucketError as error:
            raise CatalogueError(f'{self.url}: {error}') from error
        self._prefix = f'{prefix}/' if prefix else ''

    def manifests(self, since: str = '') -> Iterator[Listed]:
        if not since:
            yield from self._under(self._prefix, None)
            return
        for robot in self._robots():
            yield from self._under(robot, f'{robot}{since}')

    def read(self, listed: Listed) -> bytes:
        with _Told(f'{self.url}/{listed.folder}'):
            blob = self._bucket.blob(f'{self._prefix}{listed.folder}/{MANIFEST}')
            return bytes(blob.download_as_bytes(end=MAX_BYTES, checksum=None, raw_download=True,
                                                if_generation_match=int(listed.generation)))

    def _robots(self) -> list[str]:
        with _Told(self.url):
            pages = self._bucket.client.list_blobs(self._bucket, prefix=self._prefix or None,
                                                   delimiter='/')
            for _ in pages:     # the prefixes are known once all pages were seen
                pass
            return sorted(pages.prefixes)

    def _under(self, prefix: str, start: str | None) -> Iterator[Listed]:
        with _Told(self.url):
            for blob in self._bucket.client.list_blobs(
                    self._bucket, prefix=prefix or None, start_offset=start,
                    fields='items(name,generation,size),nextPageToken'):
                name = str(blob.name).removeprefix(self._prefix)
                folder, _, file = name.rpartition('/')
                if file == MANIFEST and _PLACE.fullmatch(folder):
                    yield Listed(folder, str(blob.generation), int(blob.size or 0))


class _Told:
    """Errors of Google's client become CatalogueErrors that name the place."""

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.exceptions import GoogleAuthError
        from requests.exceptions import RequestException
        if isinstance(error, (GoogleAPIError, GoogleAuthError, RequestException, OSError)):
            raise CatalogueError(f'{self._where}: {str(error).splitlines()[0][:300]}') from error


def _folders(path: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield entry
