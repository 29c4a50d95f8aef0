"""The digests of a file while it is written: nobody has to read it again to know them."""

import base64
import hashlib
from typing import Any

import google_crc32c

from edge_case_recorder.sealing import GrowingFile


class DigestedFile:
    """Passes on what is written, all of which must go through it. Not thread-safe."""

    def __init__(self, file: GrowingFile) -> None:
        self._file = file
        self._sha256, self._crc32c, self._size = hashlib.sha256(), google_crc32c.Checksum(), 0

    def write(self, data: bytes, /) -> int:
        self._sha256.update(data)
        self._crc32c.update(data)
        self._size += len(data)
        return self._file.write(data)

    def tell(self) -> int:
        return self._file.tell()

    def flush(self) -> None:
        self._file.flush()

    def entry(self, name: str) -> dict[str, Any]:
        """As `manifest.describe` has it: name, size, sha256 in hex, crc32c in Base64."""
        return {'path': name, 'bytes': self._size, 'sha256': self._sha256.hexdigest(),
                'crc32c': base64.b64encode(self._crc32c.digest()).decode()}
