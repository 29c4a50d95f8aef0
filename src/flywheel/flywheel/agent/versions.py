"""Releases on the robot's disk: each in a folder of its own, named by its digest, whole or absent.

What is fetched lies under `<digest>.part` until every file is there and has its sha256; so a power
cut leaves a version or a beginning of one, and the beginning is taken up again.
"""

import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from flywheel.release.errors import ReleaseError
from flywheel.release.manifest import MANIFEST, Artifact, Release, sha256_of, verified
from flywheel.rollout.reports import is_digest

from .robot import Version

Download = Callable[[str, Path, int], None]    # path in the release, file to append to, length


class Versions:
    """The versions of one robot. target: the robot's, as manifests name it."""

    def __init__(self, root: Path, target: str, public_keys: Mapping[str, bytes]) -> None:
        self._root = root
        self._target = target
        self._keys = dict(public_keys)
        root.mkdir(parents=True, exist_ok=True)

    def has(self, digest: str) -> bool:
        return (self._folder(digest) / MANIFEST).is_file()

    def get(self, digest: str) -> Version:
        """A version, with its signature and every byte checked again. Raises ReleaseError."""
        folder = self._folder(digest)
        try:
            release = verified((folder / MANIFEST).read_bytes(), self._keys)
        except OSError as error:
            raise ReleaseError(f'{folder}: {error.strerror}') from error
        artifact = self._own(release, digest)
        for file in artifact.files:
            if not _is(folder / file.path, file.sha256, file.bytes):
                raise ReleaseError(f'{folder / file.path} is not the file that was released')
        manifest = release.manifest
        return Version(digest, manifest.name, manifest.version, artifact.format, folder,
                       manifest.modality_sha256)

    def fetch(self, digest: str, envelope: bytes, download: Download) -> None:
        """Verify a manifest, get what lacks of the target's files, check each. Raises ReleaseError
        for what is not as it was signed (that is thrown away), and what `download` raises."""
        release = verified(envelope, self._keys)
        artifact = self._own(release, digest)
        folder = self._folder(digest)
        if folder.exists():
            shutil.rmtree(folder)                 # without a manifest, or it would not be fetched
        beginning = self._root / f'{digest}.part'
        self._prepare(beginning, artifact)
        for file in artifact.files:
            path = beginning / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() and path.stat().st_size > file.bytes:
                path.unlink()
            if not path.exists() or path.stat().st_size < file.bytes or file.bytes == 0:
                download(file.path, path, file.bytes)
            if not _is(path, file.sha256, file.bytes):
                path.unlink(missing_ok=True)
                raise ReleaseError(f'{file.path} came as another file than was released')
        _write(beginning / MANIFEST, envelope)
        _sync(beginning)
        os.rename(beginning, folder)
        _sync_folder(self._root)

    def tidy(self, keep: Iterable[str]) -> None:
        """Remove all but these versions and what is being fetched of them."""
        kept = set(keep)
        for each in self._root.iterdir():
            if each.name.removesuffix('.part') not in kept:
                shutil.rmtree(each, ignore_errors=True)

    def _own(self, release: Release, digest: str) -> Artifact:
        if release.digest != digest:
            raise ReleaseError(f'the manifest is of {release.digest[:12]}, not of {digest[:12]}')
        return release.manifest.artifact(self._target)

    def _folder(self, digest: str) -> Path:
        if not is_digest(digest):
            raise ReleaseError(f'{digest[:80]!r} is no digest of a release')
        return self._root / digest

    @staticmethod
    def _prepare(beginning: Path, artifact: Artifact) -> None:
        """Refuse a disk that will not hold it, before it is full."""
        beginning.mkdir(parents=True, exist_ok=True)
        there = sum(each.stat().st_size for each in beginning.rglob('*') if each.is_file())
        needed = sum(file.bytes for file in artifact.files) - there
        free = shutil.disk_usage(beginning).free
        if needed > free:
            raise ReleaseError(f'it needs {needed} bytes more, the disk has {free}')


def _is(path: Path, sha256: str, length: int) -> bool:
    return (not path.is_symlink() and path.is_file() and path.stat().st_size == length
            and sha256_of(path) == sha256)


def _write(path: Path, content: bytes) -> None:
    with open(path, 'wb') as stream:
        stream.write(content)


def _sync(folder: Path) -> None:
    for each in folder.rglob('*'):
        if each.is_file():
            with open(each, 'rb') as stream:
                os.fsync(stream.fileno())
        else:
            _sync_folder(each)
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
