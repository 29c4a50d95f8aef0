"""The digests of a file while it is written: nobody has to read it again to know them."""

import base64
import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import google_crc32c

from edge_case_recorder.sealing import GrowingFile


class DigestedFile:
    """Passes on what is written, all of which must go through it. Not thread-safe.

    After the disk's first error it refuses everything (OSError): how much of a refused write is on
    the disk nobody knows, so no digest would be the file's, and no end may be put to it.
    """

    def __init__(self, file: GrowingFile) -> None:
        self._file = file
        self._sha256, self._crc32c, self._size = hashlib.sha256(), google_crc32c.Checksum(), 0
        self._is_torn = False

    def write(self, data: bytes, /) -> int:
        self._sha256.update(data)
        self._crc32c.update(data)
        self._size += len(data)
        with self._torn_by_errors():
            return self._file.write(data)

    def tell(self) -> int:
        return self._file.tell()

    def flush(self) -> None:
        with self._torn_by_errors():
            self._file.flush()

    def fsync(self) -> None:
        """A failed one is final too: the kernel may have let go of what it could not write."""
        with self._torn_by_errors():
            os.fsync(self._file.fileno())

    def entry(self, name: str) -> dict[str, Any]:
        """As `manifest.describe` has it: name, size, sha256 in hex, crc32c in Base64."""
        return {'path': name, 'bytes': self._size, 'sha256': self._sha256.hexdigest(),
                'crc32c': base64.b64encode(self._crc32c.digest()).decode()}

    @contextmanager
    def _torn_by_errors(self) -> Iterator[None]:
        if self._is_torn:
            raise OSError(errno.EIO, 'the disk refused a write before')
        try:
            yield
        except OSError:
            self._is_torn = True
            raise
