"""Messages of chosen topics from a rosbag2 folder, or from one MCAP file."""

import struct
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from mcap.reader import SeekingReader

MAX_FILES = 1000
MAX_MESSAGES = 5_000_000
MAX_CHUNK_BYTES = 1 << 30
MAX_KEPT_BYTES = 4 << 30
_S = 1_000_000_000


class BagError(ValueError):
    """The bag cannot be read or replayed; the message says why in one sentence."""


@dataclass(frozen=True)
class Logged:
    """A serialised message (CDR) and when it was received, ns since the epoch."""
    log_ns: int
    data: bytes


def topics(path: Path) -> dict[str, str]:
    """Topic -> message type of everything in the bag; raises BagError."""
    found: dict[str, str] = {}
    for file in _files(path):
        with _opened(file) as reader:
            for channel in reader.summary.channels.values():
                schema = reader.summary.schemas.get(channel.schema_id)
                if schema is not None and channel.message_encoding == 'cdr':
                    found[channel.topic] = schema.name
    return found


def messages(path: Path, wanted: Collection[str],
             keep: Callable[[str, bytes], bool] = lambda topic, data: True,
             ) -> dict[str, list[Logged]]:
    """The messages of the wanted topics in order of log time, those that `keep` says yes to.

    Raises BagError, also where more is kept than memory should hold.
    """
    found: dict[str, list[Logged]] = {topic: [] for topic in wanted}
    count = size = 0
    for file in _files(path):
        with _opened(file) as reader:
            for topic, logged in reader.messages(wanted):
                count += 1
                if not keep(topic, logged.data):
                    continue
                size += len(logged.data)
                if count > MAX_MESSAGES or size > MAX_KEPT_BYTES:
                    raise BagError(f'{path}: more than {MAX_MESSAGES} messages or '
                                   f'{MAX_KEPT_BYTES >> 30} GiB of them; cut a shorter bag')
                found[topic].append(logged)
    for kept in found.values():
        kept.sort(key=lambda logged: logged.log_ns)
    return found


def stamp_ns(data: bytes) -> int | None:
    """The stamp of a serialised message that begins with a std_msgs/Header; None if too short.

    CDR: four bytes of encapsulation, the second of them odd for little-endian, then the stamp.
    """
    if len(data) < 12:
        return None
    seconds, nanoseconds = struct.unpack_from('<iI' if data[1] & 1 else '>iI', data, 4)
    return int(seconds) * _S + int(nanoseconds)


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise BagError(f'there is no {path}')
    files = [path] if path.is_file() else sorted(path.glob('*.mcap'))
    if path.suffix == '.sealed' or (path.is_dir() and any(path.glob('*.mcap.sealed'))):
        raise BagError(f'{path}: is sealed; unseal it with: ros2 run edge_case_recorder cases '
                       'unseal CASE --key FILE --output DIR')
    if not files:
        raise BagError(f'{path}: holds no .mcap file')
    if len(files) > MAX_FILES:
        raise BagError(f'{path}: holds more than {MAX_FILES} .mcap files')
    return files


class _opened:
    """A finished MCAP file with its summary; whatever is wrong in it becomes a BagError."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._stream: IO[bytes] | None = None

    def __enter__(self) -> '_opened':
        try:
            self._stream = self._file.open('rb')
            self._reader = SeekingReader(self._stream, validate_crcs=True,
                                         record_size_limit=MAX_CHUNK_BYTES)
            summary = self._reader.get_summary()
        # The decompressors' and the parser's exceptions have no common base.
        except Exception as error:
            self.__exit__()
            raise self._unreadable(error) from None
        if summary is None:
            self.__exit__()
            raise BagError(f'{self._file}: is not a finished MCAP file')
        self.summary = summary
        if any(index.uncompressed_size > MAX_CHUNK_BYTES for index in summary.chunk_indexes):
            self.__exit__()
            raise BagError(f'{self._file}: has a chunk of more than {MAX_CHUNK_BYTES} bytes')
        return self

    def __exit__(self, *_: Any) -> None:
        if self._stream:
            self._stream.close()

    def messages(self, wanted: Collection[str]) -> Iterator[tuple[str, Logged]]:
        try:
            for schema, channel, message in self._reader.iter_messages(topics=list(wanted)):
                if schema is not None and channel.message_encoding == 'cdr':
                    yield channel.topic, Logged(message.log_time, message.data)
        except GeneratorExit:
            raise
        except Exception as error:
            raise self._unreadable(error) from None

    def _unreadable(self, error: Exception) -> BagError:
        words = ' '.join(str(error).split())[:200] or type(error).__name__
        return BagError(f'{self._file}: is not a readable MCAP file: {words}')
