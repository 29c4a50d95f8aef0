"""Files that show nothing without the site's key, written as they grow and read at any place.

A sealed file is a header and records; what is read back is the plaintext.

    header   magic (8 bytes), key id (8), salt (32)
    record   length of the plaintext and, in the highest bit, whether it is the last (4 bytes,
             big-endian); AES-256-GCM of at most 64 KiB; its tag (16)

The construction is STREAM (Hoang, Reyhanitabar, Rogaway, Vizar: Online Authenticated-Encryption and
its Nonce-Reuse Misuse-Resistance, CRYPTO 2015): a record's nonce is its number and whether it is
the last, so records cannot be exchanged, left out, repeated or cut off unseen. Associated with each
are its length and its place in the plaintext, so one record can be read without those before it.
The key of a file comes from the site's by HKDF-SHA256 (RFC 5869) with the file's salt and its name,
which begins with the case's id: no two files share a key, and none passes for another.

Google Tink's streaming AEAD is not used: its segments have one fixed length, so nothing reaches the
disk at a flush, and its readers in Python cannot seek.
"""

import os
import struct
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from edge_case_recorder.site_key import ID_BYTES, KEY_BYTES, Key, derived

RECORD_BYTES = 1 << 16
MAGIC = b'SPSEAL\x00\x01'       # the last byte is the version
SALT_BYTES, TAG_BYTES = 32, 16
HEADER_BYTES = len(MAGIC) + ID_BYTES + SALT_BYTES
LENGTH = struct.Struct('>I')
PLACE = struct.Struct('>IQ')    # the length as it is written, the place in the plaintext
LAST = 1 << 31


class GrowingFile(Protocol):
    """What a bag is written to: a plain file, or a sealed one."""

    def write(self, data: bytes, /) -> int: ...

    def tell(self) -> int: ...

    def flush(self) -> None: ...

    def fileno(self) -> int: ...

    def close(self) -> None: ...


class SealedWriter:
    """A file that grows. After flush() and fsync all that was written can be read back.

    close() says that the file is whole; one that is abandoned, or whose process was killed, reads
    as torn. Not thread-safe. Raises OSError.
    """

    def __init__(self, path: Path, key: Key) -> None:
        salt = os.urandom(SALT_BYTES)
        self._cipher = cipher_of(key, salt, path.name)
        self._pending = bytearray()
        self._sealed = 0        # bytes of plaintext that are in records
        self._records = 0
        self._file = open(path, 'xb')   # noqa: SIM115 closed by close() or abandon()
        self._file.write(MAGIC + key.id + salt)

    def write(self, data: bytes, /) -> int:
        view = memoryview(data)
        at = 0
        while len(self._pending) + len(view) - at >= RECORD_BYTES:
            if self._pending:
                at += self._fill(view)
                self._seal(self._take(), last=False)
            else:       # the usual way: a chunk of a bag is large, and copying it costs most
                self._seal(view[at:at + RECORD_BYTES], last=False)
                at += RECORD_BYTES
        self._pending += view[at:]
        return len(data)

    def tell(self) -> int:
        """In the plaintext."""
        return self._sealed + len(self._pending)

    def flush(self) -> None:
        if self._pending:
            self._seal(self._take(), last=False)
        self._file.flush()

    def fileno(self) -> int:
        return self._file.fileno()

    def close(self) -> None:
        if not self._file.closed:
            self._seal(self._take(), last=True)
            self._file.close()

    def abandon(self) -> None:
        """Let go of the file as it is: whoever reads it finds it torn."""
        self._file.close()

    def _fill(self, view: memoryview) -> int:
        """Complete the pending record from the beginning of view; how much that took."""
        count = RECORD_BYTES - len(self._pending)
        self._pending += view[:count]
        return count

    def _take(self) -> bytes:
        data = bytes(self._pending)
        self._pending.clear()
        return data

    def _seal(self, data: bytes | memoryview, last: bool) -> None:
        length = len(data) | (LAST if last else 0)
        nonce, place = nonce_of(self._records, last), PLACE.pack(length, self._sealed)
        # Counted first: a nonce is never used again, also where the disk refuses the record.
        self._records += 1
        self._sealed += len(data)
        self._file.write(LENGTH.pack(length) + self._cipher.encrypt(nonce, data, place))


def sealed_bytes(plain: int) -> int:
    """The most that one flush of so many bytes adds to a sealed file."""
    return plain + (plain // RECORD_BYTES + 1) * (LENGTH.size + TAG_BYTES)


def cipher_of(key: Key, salt: bytes, name: str) -> AESGCM:
    """A file's own. name: without folders."""
    return AESGCM(derived(key.secret, salt, b'spinal sealing: file ' + name.encode(), KEY_BYTES))


def nonce_of(number: int, last: bool) -> bytes:
    """Of a record, counted from 0: 12 bytes."""
    return number.to_bytes(11, 'big') + bytes([last])
