"""Sealed files by name: opened, read at any place, checked. Their format: sealed_records.py."""

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from edge_case_recorder.sealed_records import (
    HEADER_BYTES,
    LAST,
    LENGTH,
    MAGIC,
    PLACE,
    RECORD_BYTES,
    SALT_BYTES,
    TAG_BYTES,
    GrowingFile,
    SealedWriter,
    cipher_of,
    nonce_of,
    sealed_bytes,
)
from edge_case_recorder.site_key import ID_BYTES, Key, NoKeyError, SealError

__all__ = ['HOW_TO_UNSEAL', 'RECORD_BYTES', 'SUFFIX', 'GrowingFile', 'Key', 'NoKeyError',
           'SealError', 'SealedWriter', 'UnsealedFile', 'check_key', 'lying', 'open_plain',
           'plain_name', 'plain_size', 'seal', 'sealed_bytes', 'sealed_sentence', 'unseal',
           'validate']

SUFFIX = '.sealed'
HOW_TO_UNSEAL = 'ros2 run edge_case_recorder cases unseal CASE --key FILE --output DIR'


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
            self._cipher = self._opened(keys, torn)
            self._records: list[_Record] = []
            end = self._find_records(torn)
            if not torn:
                if not self.is_whole or end != os.fstat(self._file.fileno()).st_size:
                    raise SealError(f'{path}: was cut short, never closed, or added to')
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

    def _opened(self, keys: Sequence[Key], torn: bool) -> AESGCM | None:
        header = self._read(0, HEADER_BYTES)
        if len(header) < HEADER_BYTES and torn and keys:
            return None     # the crash came before the header was on the disk
        key = _key_for(self._path, header, keys)
        return cipher_of(key, header[-SALT_BYTES:], self._path.name)

    def _find_records(self, torn: bool) -> int:
        """Fill in the records as their lengths say; where the last one ends in the file.

        Of a torn file each is read at once, and from the first bad one on there are none: a power
        cut may leave lengths and no content, and what follows was never flushed.
        """
        size = os.fstat(self._file.fileno()).st_size
        at, place = HEADER_BYTES, 0
        is_last = self._cipher is None      # there are no records without
        while not is_last and at + LENGTH.size + TAG_BYTES <= size:
            told = LENGTH.unpack(self._read(at, LENGTH.size))[0]
            length, is_last = told & ~LAST, bool(told & LAST)
            end = at + LENGTH.size + length + TAG_BYTES
            # Only the last one may be empty: zeros are no records.
            if length > RECORD_BYTES or end > size or not (length or is_last):
                break
            self._records.append(_Record(at + LENGTH.size, place, length, is_last))
            if torn and not self._is_good(len(self._records) - 1):
                self._records.pop()
                break
            at, place = end, place + length
        return at

    def _read(self, at: int, count: int) -> bytes:
        """Just these bytes: a buffer would read all between the lengths."""
        return os.pread(self._file.fileno(), count, at)

    def _is_good(self, number: int) -> bool:
        try:
            self._plaintext(number)
        except SealError:
            return False
        return True

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
        sealed = self._read(record.at, record.length + TAG_BYTES)
        told = record.length | (LAST if record.is_last else 0)
        try:
            data = self._cipher.decrypt(nonce_of(number, record.is_last), sealed,
                                        PLACE.pack(told, record.place))
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
        header = file.read(HEADER_BYTES)
    if not keys or (len(header) == HEADER_BYTES and header.startswith(MAGIC)):
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


def sealed_sentence(path: Path) -> str:
    """Why a file or a bag's folder cannot be read as a bag, if that is because it is sealed."""
    is_sealed = path.suffix == SUFFIX or (path.is_dir() and any(path.glob('*.mcap' + SUFFIX)))
    return f'{path}: is sealed; unseal it with: {HOW_TO_UNSEAL}' if is_sealed else ''


def _key_for(path: Path, header: bytes, keys: Sequence[Key]) -> Key:
    if not keys:
        raise NoKeyError(f'{path}: is sealed, and no key was given')
    if len(header) < HEADER_BYTES or not header.startswith(MAGIC):
        raise SealError(f'{path}: is no sealed file, or one of another version')
    wanted = header[len(MAGIC):len(MAGIC) + ID_BYTES]
    for key in keys:
        if key.id == wanted:
            return key
    raise NoKeyError(f'{path}: is sealed with key {wanted.hex()}, and given was '
                     f'{", ".join(key.id.hex() for key in keys)}')
