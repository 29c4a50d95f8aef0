"""The model repository: `<model>/<version>/<files>`, as Triton reads it, versions side by side.

A version is complete when its manifest is there: that is written last. Nothing is ever written
over; a publication that was cut off is taken up by doing it again.
"""

import contextlib
import hashlib
from collections.abc import Mapping
from pathlib import Path

from .errors import ReleaseError
from .gate_record import check_gate
from .manifest import GATE_RECORD, MANIFEST, Manifest, Release, sha256_of, verified
from .store import CHUNK, Store, TakenError, digest_of, read

CONFIG = 'config.pbtxt'
_MAX_ENVELOPE = 30_000_000


class Repository:
    """Releases in a store, signed by one of the known keys (PEM by key id)."""

    def __init__(self, store: Store, public_keys: Mapping[str, bytes]) -> None:
        self.store = store
        self._keys = dict(public_keys)

    def publish(self, release: Release, folder: Path, gate_record: bytes,
                gate_public_key_pem: bytes, *, config: bytes | None = None) -> None:
        """Check everything, then upload what lacks, the manifest last, then read it all back.

        folder: the files of the release under their paths. config: Triton's config.pbtxt of the
        model, which all versions share: written once, and the same ever after.
        Raises ReleaseError; a version that is published already, as it is, is no error.
        """
        manifest = verified(release.envelope, self._keys).manifest
        check_gate(manifest, gate_record, gate_public_key_pem)
        self._check_local(manifest, folder)
        prefix = f'{manifest.name}/{manifest.version}'
        there = self.store.size(f'{prefix}/{MANIFEST}') is not None
        if there and self.release(manifest.name, manifest.version).digest != release.digest:
            raise ReleaseError(f'{self.store.url}/{prefix} is another release already: a '
                                   'version is never replaced')
        if config is not None:
            self._put(f'{manifest.name}/{CONFIG}', config)
        for file in manifest.files:
            self._put(f'{prefix}/{file.path}', folder / file.path, file.sha256)
        self._put(f'{prefix}/{GATE_RECORD}', gate_record)
        if not there:
            self._put(f'{prefix}/{MANIFEST}', release.envelope)
        self.verify(manifest.name, manifest.version)

    def release(self, name: str, version: int) -> Release:
        """The signed manifest of a version; raises ReleaseError for one that is not complete."""
        where = f'{name}/{version}/{MANIFEST}'
        if self.store.size(where) is None:
            raise ReleaseError(f'{self.store.url}: there is no release {name}:{version}')
        found = verified(read(self.store, where, _MAX_ENVELOPE), self._keys)
        if (found.manifest.name, found.manifest.version) != (name, version):
            raise ReleaseError(f'{self.store.url}/{where} is the manifest of '
                               f'{found.manifest.name}:{found.manifest.version}')
        return found

    def verify(self, name: str, version: int) -> Release:
        """Every byte of a version against its signed manifest. Raises ReleaseError."""
        found = self.release(name, version)
        prefix = f'{name}/{version}'
        wanted = {f'{prefix}/{file.path}': (file.sha256, file.bytes)
                  for file in found.manifest.files}
        wanted[f'{prefix}/{GATE_RECORD}'] = (found.manifest.gate_sha256, -1)
        present = set(self.store.names(prefix))
        if strange := sorted(present - wanted.keys() - {f'{prefix}/{MANIFEST}'}):
            raise ReleaseError(f'{self.store.url}/{strange[0]} is not in the manifest')
        for where, (sha256, length) in sorted(wanted.items()):
            if where not in present:
                raise ReleaseError(f'{self.store.url}/{where} is missing')
            digest, size = digest_of(self.store, where)
            if digest != sha256 or length not in (-1, size):
                raise ReleaseError(f'{self.store.url}/{where} is not the file that was released')
        return found

    def versions(self, name: str) -> list[int]:
        """The complete ones, rising."""
        found = set()
        for each in self.store.names(name):
            parts = each.split('/')
            if len(parts) == 3 and parts[2] == MANIFEST and parts[1].isdecimal():
                found.add(int(parts[1]))
        return sorted(found)

    def download(self, release: Release, path: str, target: Path) -> None:
        """One file of a release, checked; raises ReleaseError and leaves nothing behind."""
        manifest = release.manifest
        file = next((each for each in manifest.files if each.path == path), None)
        if file is None:
            raise ReleaseError(f'{path} is no file of {manifest.name}:{manifest.version}')
        hashed, length = hashlib.sha256(), 0
        try:
            with open(target, 'xb') as copy, self.store.open(
                    f'{manifest.name}/{manifest.version}/{path}') as stream:
                while block := stream.read(CHUNK):
                    hashed.update(block)
                    length += len(block)
                    copy.write(block)
            if (hashed.hexdigest(), length) != (file.sha256, file.bytes):
                raise ReleaseError(f'{path} is not the file that was released')
        except BaseException:
            with contextlib.suppress(OSError):
                target.unlink(missing_ok=True)
            raise

    def _put(self, name: str, content: Path | bytes, sha256: str = '') -> None:
        """A name that is taken by the same bytes is as good as written."""
        try:
            self.store.put_new(name, content)
        except TakenError:
            if isinstance(content, bytes):
                same = read(self.store, name, len(content)) == content \
                    if self.store.size(name) == len(content) else False
            else:
                same = digest_of(self.store, name)[0] == sha256
            if not same:
                raise ReleaseError(f'{self.store.url}/{name} is there already and is another '
                                   'file: nothing is written over') from None

    @staticmethod
    def _check_local(manifest: Manifest, folder: Path) -> None:
        for file in manifest.files:
            path = folder / file.path
            if path.is_symlink() or not path.is_file():
                raise ReleaseError(f'{path} is missing, or is no file')
            if path.stat().st_size != file.bytes or sha256_of(path) != file.sha256:
                raise ReleaseError(f'{path} is not the file that the manifest describes')
