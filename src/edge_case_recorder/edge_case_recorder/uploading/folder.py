"""A folder as a bucket: another disk, a share, a test."""

import contextlib
import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

from edge_case_recorder import manifest
from edge_case_recorder.durable import fsync_file, fsync_folder
from edge_case_recorder.uploading.pace import Body, TokenBucket
from edge_case_recorder.uploading.trouble import Item, ObjectInfo, StoreError, Trouble
from edge_case_recorder.uploading.wall_clock import WallClock

_CHUNK_BYTES = 4 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


class FolderStore:
    """Objects are files. Hard links make 'only if the name is free' true for two writers too."""

    def __init__(self, root: Path, *, cap: TokenBucket | None = None,
                 steady_s: Callable[[], float] = time.monotonic,
                 sleep: Callable[[float], object] = time.sleep) -> None:
        self.url = root.as_uri()
        self.clock = WallClock()
        self._root = root
        self._cap, self._steady_s, self._sleep = cap, steady_s, sleep

    def sending(self, item: Item) -> 'FolderSending':
        return FolderSending(self, item, self._root / item.name)

    def stat(self, name: str) -> ObjectInfo | None:
        try:
            found = manifest.describe(self._root / name)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise translated(self._root / name, error) from error
        return ObjectInfo(found['bytes'], found['crc32c'])

    def get(self, name: str) -> bytes:
        try:
            return (self._root / name).read_bytes()
        except OSError as error:
            raise translated(self._root / name, error) from error

    def learn_time(self) -> None:
        """A folder has the machine's time."""

    def body(self, item: Item, first: int, end: int) -> Body:
        return Body(item.path, first, end, cap=self._cap, steady_s=self._steady_s,
                    sleep=self._sleep, keys=item.keys)


class FolderSending:
    """One file, a piece at a time, beside its name until it is whole; resumed at its length."""

    def __init__(self, store: FolderStore, item: Item, target: Path) -> None:
        self.item = item
        self._store = store
        self._target = target
        self._beside = target.with_name(f'.{target.name}.part')

    @property
    def persisted(self) -> int:
        with contextlib.suppress(OSError):
            return min(self._beside.stat().st_size, self.item.bytes)
        return 0

    def step(self) -> ObjectInfo | None:
        """As of gcs.GcsSending."""
        try:
            if self._target.exists():
                self._beside.unlink(missing_ok=True)    # a kill came after the link
                return self._store.stat(self.item.name)
            self._target.parent.mkdir(parents=True, exist_ok=True)
            self._copy()
            if self.persisted < self.item.bytes:
                return None
            return self._finish()
        except OSError as error:
            raise translated(self._target, error) from error

    def _copy(self) -> None:
        first = self.persisted
        end = min(first + _CHUNK_BYTES, self.item.bytes)
        with open(self._beside, 'ab') as copy:
            body = self._store.body(self.item, first, end)
            try:
                while block := body.read():
                    copy.write(block)
            finally:
                body.close()

    def _finish(self) -> ObjectInfo | None:
        fsync_file(self._beside)
        found = manifest.describe(self._beside)
        if (found['bytes'], found['crc32c']) != (self.item.bytes, self.item.crc32c):
            # A power cut may have left a piece that is not ours.
            self._beside.unlink()
            raise StoreError(Trouble.EXPIRED, f'{self._beside}: not what was copied; it begins '
                                              'anew')
        with contextlib.suppress(FileExistsError):
            os.link(self._beside, self._target)
        self._beside.unlink()
        fsync_folder(self._target.parent)
        return self._store.stat(self.item.name)


def translated(path: Path, error: OSError) -> StoreError:
    """A disk's refusal as a trouble."""
    trouble = (Trouble.FULL if error.errno in _FULL
               else Trouble.CREDENTIALS if error.errno in _FORBIDDEN else Trouble.UNREACHABLE)
    return StoreError(trouble, f'{path}: {error.strerror or error}')
