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

import io
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import IO, NamedTuple, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from edge_case_recorder.site_key import ID_BYTES, KEY_BYTES, Key, NoKeyError, SealError, derived

__all__ = ['HOW_TO_UNSEAL', 'SUFFIX', 'GrowingFile', 'Key', 'NoKeyError', 'SealError',
           'SealedWriter', 'UnsealedFile', 'check_key', 'lying', 'open_plain', 'plain_name',
           'plain_size', 'seal', 'sealed_bytes', 'sealed_sentence', 'unseal', 'validate']

SUFFIX = '.sealed'
RECORD_BYTES = 1 << 16
HOW_TO_UNSEAL = 'ros2 run edge_case_recorder cases unseal CASE --key FILE --output DIR'

_MAGIC = b'SPSEAL\x00\x01'      # the last byte is the version
_SALT_BYTES, _TAG_BYTES = 32, 16
_HEADER_BYTES = len(_MAGIC) + ID_BYTES + _SALT_BYTES
_LENGTH = struct.Struct('>I')
_PLACE = struct.Struct('>IQ')   # the length as it is written, the place in the plaintext
_LAST = 1 << 31


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
        salt = os.urandom(_SALT_BYTES)
        self._cipher = AESGCM(_file_key(key, salt, path.name))
        self._pending = bytearray()
        self._sealed = 0        # bytes of plaintext that are in records
        self._records = 0
        self._file = open(path, 'xb')   # noqa: SIM115 closed by close() or abandon()
        self._file.write(_MAGIC + key.id + salt)

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
        length = len(data) | (_LAST if last else 0)
        nonce, place = _nonce(self._records, last), _PLACE.pack(length, self._sealed)
        # Counted first: a nonce is never used again, also where the disk refuses the record.
        self._records += 1
        self._sealed += len(data)
        self._file.write(_LENGTH.pack(length) + self._cipher.encrypt(nonce, data, place))


class _Record(NamedTuple):
    """at: where its ciphertext begins in the file; place: where its plaintext does."""

    at: int
    place: int
    length: int
    is_last: bool


class UnsealedFile(io.RawIOBase):
    """The plaintext of a sealed file: binary, read-only, seekable. Made by `unseal`."""

    def __init__(self, path: Path, keys: Sequence[Key], torn: bool) -> None:
        super().__init__()
        self._path = path
        self._at = 0
        self._kept: tuple[int, bytes] = -1, b''
        self._file: IO[bytes] = open(path, 'rb')    # noqa: SIM115 closed by close()
        try:
            self._cipher, self._records, closed = self._opened(keys, torn)
            if torn:
                self._forget_from_the_first_bad_one()
            elif not closed:
                raise SealError(f'{path}: was cut short, never closed, or added to')
            elif self._records:
                self._plaintext(len(self._records) - 1)
        except BaseException:
            self._file.close()
            raise
        last = self._records[-1] if self._records else _Record(0, 0, 0, False)
        self.size = last.place + last.length

    @property
    def is_whole(self) -> bool:
        """Whether its writer closed it; a torn one has what was flushed, at least."""
        return bool(self._records) and self._records[-1].is_last

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        if start + offset < 0:
            raise OSError(f'{self._path}: no place {start + offset}')
        self._at = start + offset
        return self._at

    def readinto(self, buffer: memoryview | bytearray, /) -> int:   # type: ignore[override]
        """At most to the end of a record. Raises SealError where the file was changed."""
        if self._at >= self.size or not len(buffer):
            return 0
        number = self._number_at(self._at)
        skipped = self._at - self._records[number].place
        data = self._plaintext(number)[skipped:skipped + len(buffer)]
        buffer[:len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()

    def _opened(self, keys: Sequence[Key], torn: bool) -> tuple[AESGCM | None, list[_Record], bool]:
        """The cipher, the records as their lengths say, and whether they end as they must."""
        header = self._file.read(_HEADER_BYTES)
        if len(header) < _HEADER_BYTES and torn and keys:
            return None, [], False      # the crash came before the header was on the disk
        key = _key_for(self._path, header, keys)
        cipher = AESGCM(_file_key(key, header[-_SALT_BYTES:], self._path.name))
        size = os.fstat(self._file.fileno()).st_size
        at, place, records = _HEADER_BYTES, 0, list[_Record]()
        while at + _LENGTH.size + _TAG_BYTES <= size:
            self._file.seek(at)
            told = _LENGTH.unpack(self._file.read(_LENGTH.size))[0]
            length, is_last = told & ~_LAST, bool(told & _LAST)
            end = at + _LENGTH.size + length + _TAG_BYTES
            if length > RECORD_BYTES or end > size:
                break
            records.append(_Record(at + _LENGTH.size, place, length, is_last))
            at, place = end, place + length
            if is_last:
                break
        return cipher, records, at == size and bool(records) and records[-1].is_last

    def _forget_from_the_first_bad_one(self) -> None:
        """A power cut may leave lengths and no content: what follows was never flushed."""
        for number in range(len(self._records)):
            try:
                self._plaintext(number)
            except SealError:
                del self._records[number:]
                return

    def _number_at(self, place: int) -> int:
        """The record that has this place of the plaintext."""
        low, high = 0, len(self._records) - 1
        while low < high:
            middle = (low + high) // 2
            record = self._records[middle]
            if place < record.place + record.length:
                high = middle
            else:
                low = middle + 1
        return low

    def _plaintext(self, number: int) -> bytes:
        if self._kept[0] == number:
            return self._kept[1]
        record = self._records[number]
        assert self._cipher is not None     # there are no records without
        self._file.seek(record.at)
        sealed = self._file.read(record.length + _TAG_BYTES)
        told = record.length | (_LAST if record.is_last else 0)
        try:
            data = self._cipher.decrypt(_nonce(number, record.is_last), sealed,
                                        _PLACE.pack(told, record.place))
        except InvalidTag:
            raise SealError(f'{self._path}: was changed, or is not the file of this name (record '
                            f'{number})') from None
        self._kept = number, data
        return data


def seal(path: Path, key: Key) -> SealedWriter:
    """A new sealed file, to be written; raises FileExistsError, OSError."""
    return SealedWriter(path, key)


def unseal(path: Path, keys: Sequence[Key], *, torn: bool = False) -> UnsealedFile:
    """The plaintext of a sealed file, to be read and sought in.

    keys: one of them must be its own; several while keys are being changed.
    torn: take a file that was never closed, up to its last record that is whole. Every record is
    then checked at once, otherwise each when it is read.
    Raises NoKeyError, SealError, OSError; reading raises SealError where the file was changed.
    """
    return UnsealedFile(path, keys, torn)


def validate(path: Path, keys: Sequence[Key]) -> None:
    """Read all of a sealed file; raises as `unseal` when it is not exactly what was written."""
    with unseal(path, keys) as file:
        for _ in iter(lambda: file.read(RECORD_BYTES), b''):
            pass


def check_key(path: Path, keys: Sequence[Key]) -> None:
    """Raises NoKeyError when a sealed file cannot be read with these keys, OSError.

    A file that is no sealed one, or none yet, is left to its reader.
    """
    with open(path, 'rb') as file:
        header = file.read(_HEADER_BYTES)
    if not keys or (len(header) == _HEADER_BYTES and header.startswith(_MAGIC)):
        _key_for(path, header, keys)


def open_plain(path: Path, keys: Sequence[Key] = ()) -> IO[bytes]:
    """What a file holds, sealed or not (by its name); raises as `unseal`."""
    if path.suffix != SUFFIX:
        return open(path, 'rb')
    return io.BufferedReader(unseal(path, keys), RECORD_BYTES)


def plain_size(path: Path, keys: Sequence[Key] = ()) -> int:
    """Bytes of what a file holds; raises as `unseal`."""
    if path.suffix != SUFFIX:
        return path.stat().st_size
    with unseal(path, keys) as file:
        return file.size


def plain_name(path: Path) -> str:
    """The name under which a manifest knows a file."""
    return path.name.removesuffix(SUFFIX)


def lying(folder: Path, name: str) -> Path:
    """Where the file of a manifest lies: under its name, or sealed."""
    sealed = folder / (name + SUFFIX)
    return sealed if sealed.exists() else folder / name


def sealed_bytes(plain: int) -> int:
    """The most that one flush of so many bytes adds to a sealed file."""
    return plain + (plain // RECORD_BYTES + 1) * (_LENGTH.size + _TAG_BYTES)


def sealed_sentence(path: Path) -> str:
    """Why a file or a bag's folder cannot be read as a bag, if that is because it is sealed."""
    is_sealed = path.suffix == SUFFIX or (path.is_dir() and any(path.glob('*.mcap' + SUFFIX)))
    return f'{path}: is sealed; unseal it with: {HOW_TO_UNSEAL}' if is_sealed else ''


def _key_for(path: Path, header: bytes, keys: Sequence[Key]) -> Key:
    if not keys:
        raise NoKeyError(f'{path}: is sealed, and no key was given')
    if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
        raise SealError(f'{path}: is no sealed file, or one of another version')
    wanted = header[len(_MAGIC):len(_MAGIC) + ID_BYTES]
    for key in keys:
        if key.id == wanted:
            return key
    raise NoKeyError(f'{path}: is sealed with key {wanted.hex()}, and given was '
                     f'{", ".join(key.id.hex() for key in keys)}')


def _file_key(key: Key, salt: bytes, name: str) -> bytes:
    return derived(key.secret, salt, b'spinal sealing: file ' + name.encode(), KEY_BYTES)


def _nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(11, 'big') + bytes([last])
