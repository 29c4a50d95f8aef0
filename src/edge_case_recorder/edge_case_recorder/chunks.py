"""Records of an MCAP file, whatever its bytes are: a small file never becomes all of the memory.

The `mcap` package unpacks a chunk to whatever is in it, and takes zeros for records. Here a chunk
is held to the size that it claims, and that to a limit.
"""

import dataclasses
import heapq
import io
from collections.abc import Iterator
from typing import IO

import lz4.frame
import zstandard
from mcap.exceptions import McapError
from mcap.records import (
    Channel,
    Chunk,
    ChunkIndex,
    Footer,
    McapRecord,
    Message,
    Schema,
    Statistics,
)
from mcap.stream_reader import StreamReader, breakup_chunk

MAX_CHUNK_BYTES = 256 << 20
_MAX_RECORD_BYTES = 1 << 30
# The footer's record, and the magic behind it.
_END_BYTES = 9 + 20 + 8


class ChunkError(ValueError):
    """A chunk is not what it says it is."""


def in_file_order(stream: IO[bytes]) -> Iterator[McapRecord]:
    """Every record from the front, chunks opened. Raises almost anything at a torn end."""
    for record in _Strict(stream, emit_chunks=True, validate_crcs=True,
                          record_size_limit=_MAX_RECORD_BYTES).records:
        if isinstance(record, Chunk):
            yield from opened(record)
        else:
            yield record


def in_log_order(stream: IO[bytes]) -> Iterator[tuple[Schema, Channel, Message]]:
    """Messages of a finished file in the order of log time, then of the file.

    Only chunks that overlap in time are held at once. Raises McapError, ValueError and what
    decompressors raise.
    """
    schemas, channels, indexes = _summary(stream)
    indexes.sort(key=lambda index: (index.message_start_time, index.chunk_start_offset))
    held: list[tuple[int, int, int, Message]] = []
    for index in indexes:
        while held and held[0][0] < index.message_start_time:
            yield _described(heapq.heappop(held)[3], channels, schemas)
        for place, message in enumerate(_messages(stream, index)):
            heapq.heappush(held, (message.log_time, index.chunk_start_offset, place, message))
    while held:
        yield _described(heapq.heappop(held)[3], channels, schemas)


def opened(chunk: Chunk) -> list[McapRecord]:
    """The records in a chunk, whose checksum is right. Raises ChunkError."""
    data = _unpacked(chunk)
    if len(data) != chunk.uncompressed_size:
        raise ChunkError(f'a chunk claims {chunk.uncompressed_size} bytes and has {len(data)}')
    return breakup_chunk(dataclasses.replace(chunk, compression='', data=data), validate_crc=True)


def _unpacked(chunk: Chunk) -> bytes:
    size = chunk.uncompressed_size
    if size > MAX_CHUNK_BYTES:
        raise ChunkError(f'it has a chunk of more than {MAX_CHUNK_BYTES} bytes')
    # One more than is claimed: whatever has more is seen, and stopped there.
    if chunk.compression == 'zstd':
        with zstandard.ZstdDecompressor(max_window_size=MAX_CHUNK_BYTES).stream_reader(
                chunk.data) as reader:
            return reader.read(size + 1)
    if chunk.compression == 'lz4':
        return lz4.frame.LZ4FrameDecompressor().decompress(chunk.data, max_length=size + 1)
    if chunk.compression:
        raise ChunkError(f'the compression {chunk.compression[:20]!r} is not known here')
    return chunk.data


def _summary(stream: IO[bytes]) -> tuple[dict[int, Schema], dict[int, Channel], list[ChunkIndex]]:
    """What the end of a finished file says of the rest."""
    stream.seek(-_END_BYTES, io.SEEK_END)
    footer = next(_records(stream), None)
    if not isinstance(footer, Footer) or not footer.summary_start:
        raise ChunkError('it has no summary')
    stream.seek(footer.summary_start)
    schemas: dict[int, Schema] = {}
    channels: dict[int, Channel] = {}
    indexes: list[ChunkIndex] = []
    messages: int | None = None
    for record in _records(stream):
        if isinstance(record, Schema):
            schemas[record.id] = record
        elif isinstance(record, Channel):
            channels[record.id] = record
        elif isinstance(record, ChunkIndex):
            indexes.append(record)
        elif isinstance(record, Statistics):
            messages = record.message_count
    if not indexes and messages != 0:
        raise ChunkError('it has no index of chunks')
    return schemas, channels, indexes


def _records(stream: IO[bytes]) -> Iterator[McapRecord]:
    """From here on, chunks closed."""
    return iter(_Strict(stream, skip_magic=True, emit_chunks=True,
                        record_size_limit=_MAX_RECORD_BYTES).records)


def _messages(stream: IO[bytes], index: ChunkIndex) -> Iterator[Message]:
    stream.seek(index.chunk_start_offset)
    chunk = next(_records(stream), None)
    if not isinstance(chunk, Chunk):
        raise ChunkError('its index leads to no chunk')
    for record in opened(chunk):
        if isinstance(record, Message):
            yield record


def _described(message: Message, channels: dict[int, Channel],
               schemas: dict[int, Schema]) -> tuple[Schema, Channel, Message]:
    channel = channels.get(message.channel_id)
    if channel is None:
        raise ChunkError(f'a message is of channel {message.channel_id}, which is none')
    schema = schemas.get(channel.schema_id, Schema(id=0, data=b'', encoding='', name=''))
    return schema, channel, message


class _Strict(StreamReader):
    """Opcode 0 is no record: a tail of zeros, as a power cut leaves it, ends the file."""

    def _read_record(self, opcode: int, length: int) -> McapRecord | None:
        if opcode == 0:
            raise McapError('a record with opcode 0')
        return super()._read_record(opcode, length)
