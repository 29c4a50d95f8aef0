"""Bags of the recorder's own writer, and what can be wrong with the bytes of an MCAP file.

The format is https://mcap.dev/spec: a record is an opcode, a length of 8 bytes, and its content; a
chunk holds records, compressed or not.
"""

import struct
import zlib
from pathlib import Path
from random import Random

import lz4.frame
import zstandard
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import Twist
from rclpy.serialization import serialize_message
from sensor_msgs.msg import LaserScan
from std_msgs.msg import String

from edge_case_recorder.bag import BagWriter, TopicInfo
from edge_case_recorder.definitions import find_definition

COMPRESSIONS = 'zstd', 'lz4', 'none'
START_NS = 1_795_435_200_000_000_000
_MAGIC = b'\x89MCAP0\r\n'
_CHUNK, _CHUNK_INDEX, _DATA_END, _FOOTER = 6, 8, 15, 2
_LIES = (0, 1, 8, 255, 1 << 16, 1 << 31, (1 << 32) - 1, 1 << 40, (1 << 63) - 1, (1 << 64) - 1)
_BLOCK = 1 << 17
Records = list[tuple[int, bytes]]


def a_bag(folder: Path, compression: str, messages: int = 60) -> Path:
    """A finished bag of four types and several chunks; the file."""
    folder.mkdir(parents=True)
    writer = BagWriter(folder, 'case', compression)
    for name, type_name in (('/cmd_vel', 'geometry_msgs/msg/Twist'),
                            ('/scan', 'sensor_msgs/msg/LaserScan'),
                            ('/safety/state', 'diagnostic_msgs/msg/DiagnosticArray'),
                            ('/task', 'std_msgs/msg/String')):
        found = find_definition(type_name)
        writer.add_topic(TopicInfo(name, type_name, found.type_hash, found.text))
    for number in range(messages):
        name, message = _message(number)
        stamp = START_NS + number * 50_000_000
        writer.write(name, stamp, stamp, serialize_message(message))
        if number % 20 == 19:
            writer.flush()
    writer.close({})
    return writer.path


def _message(number: int) -> tuple[str, object]:
    match number % 4:
        case 0:
            twist = Twist()
            twist.linear.x = number / 10
            return '/cmd_vel', twist
        case 1:
            return '/scan', LaserScan(ranges=[float(each % 7) for each in range(90)])
        case 2:
            state = 'STOPPED' if number % 40 > 20 else 'RUNNING'
            return '/safety/state', DiagnosticArray(status=[DiagnosticStatus(
                name='safety_reflex', values=[KeyValue(key='state', value=state),
                                              KeyValue(key='reasons', value='protective_field'),
                                              KeyValue(key='trip_count', value=str(number))])])
    return '/task', String(data=f'drive {number}')


def truncated(random: Random, data: bytes) -> bytes:
    return data[:random.randrange(len(data))]


def damaged(random: Random, data: bytes) -> bytes:
    """One file with one to three injuries of any kind."""
    for _ in range(random.choice((1, 1, 2, 3))):
        data = random.choice((truncated, _flipped, _records, _records, _inside, _inside, _inside)
                             )(random, data)
    return data


def _flipped(random: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(random.choice((1, 3, 40))):
        if changed:
            changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def split(data: bytes) -> Records:
    """(opcode, content) of each record that is there whole."""
    found, at = [], 0
    while at + 9 <= len(data):
        opcode, length = struct.unpack_from('<BQ', data, at)
        if at + 9 + length > len(data):
            break
        found.append((opcode, data[at + 9:at + 9 + length]))
        at += 9 + length
    return found


def joined(records: Records) -> bytes:
    return b''.join(struct.pack('<BQ', opcode, len(content)) + content
                    for opcode, content in records)


def _records(random: Random, data: bytes) -> bytes:
    """Outside of chunks; the file's magic stays."""
    records = split(data[len(_MAGIC):])
    return _MAGIC + _shuffled(random, records) + _MAGIC


def _shuffled(random: Random, records: Records) -> bytes:
    """Records doubled, dropped, exchanged, filled with noise, or with a length that is a lie."""
    if not records:
        return random.randbytes(30)
    one, other = random.randrange(len(records)), random.randrange(len(records))
    match random.randrange(6):
        case 0:
            records.insert(other, records[one])
        case 1:
            del records[one]
        case 2:
            records[one], records[other] = records[other], records[one]
        case 3:
            opcode, content = records[one]
            records[one] = opcode, _lied(random, content)
        case 4:
            records[one] = random.randrange(256), records[one][1]
        case _:
            opcode, content = records[one]
            return (joined(records[:one]) + struct.pack('<BQ', opcode, random.choice(_LIES))
                    + content + joined(records[one + 1:]))
    return joined(records)


def _lied(random: Random, content: bytes) -> bytes:
    """A number within a record (a count, a length, a time, an id) becomes another, or noise."""
    if not content:
        return content
    width = random.choice((2, 4, 8))
    at = random.randrange(len(content))
    lie = (random.choice(_LIES) & ((1 << 8 * width) - 1)).to_bytes(width, 'little')
    return content[:at] + random.choice((lie, random.randbytes(width), b'')) + content[at + width:]


def _inside(random: Random, data: bytes) -> bytes:
    """The records within one chunk, which is closed again so that its checksum is true."""
    records = split(data[len(_MAGIC):])
    chunks = [number for number, (opcode, _) in enumerate(records) if opcode == _CHUNK]
    if not chunks:
        return _flipped(random, data)
    number = random.choice(chunks)
    try:
        head, compression, inner = open_chunk(records[number][1])
    except (struct.error, ValueError, RuntimeError, zstandard.ZstdError):
        return _flipped(random, data)   # an injury before this one
    inner = _shuffled(random, split(inner))
    size = random.choice((len(inner), len(inner), len(inner), random.choice(_LIES)))
    records[number] = _CHUNK, closed_chunk(head, compression, packed(inner, compression), size,
                                           random.choice((zlib.crc32(inner), 0)))
    return sealed(records, random.random() < 0.7) if random.random() < 0.8 else (
        _MAGIC + joined(records) + _MAGIC)


def sealed(records: Records, is_indexed: bool) -> bytes:
    """A file whose index points at its chunks again, or that has a summary without their index."""
    ends = [number for number, (opcode, _) in enumerate(records) if opcode == _DATA_END]
    if not ends:
        return _MAGIC + joined(records) + _MAGIC
    body, at, places = records[:ends[0]], len(_MAGIC), []
    for opcode, content in body:
        if opcode == _CHUNK:
            places.append((at, 9 + len(content)))
        at += 9 + len(content)
    summary: Records = []
    for opcode, content in records[ends[0] + 1:]:
        if opcode == _CHUNK_INDEX and is_indexed and places and len(content) >= 32:
            summary.append((opcode, content[:16] + struct.pack('<QQ', *places.pop(0))
                            + content[32:]))
        elif opcode in (3, 4, 11):   # schemas, channels, statistics
            summary.append((opcode, content))
    body.append((_DATA_END, bytes(4)))
    footer = struct.pack('<QQI', at + 13, 0, 0)
    return _MAGIC + joined(body) + joined(summary) + joined([(_FOOTER, footer)]) + _MAGIC


def open_chunk(content: bytes) -> tuple[bytes, str, bytes]:
    """(start and end time, compression, the records inside)."""
    _, _, size, _, length = struct.unpack_from('<QQQII', content)
    compression = content[32:32 + length].decode('ascii')
    packed_records = content[40 + length:]
    if size > 10_000_000:
        raise ValueError('a lie of before')
    if compression == 'zstd':
        return content[:16], compression, zstandard.decompress(packed_records, size)
    if compression == 'lz4':
        return content[:16], compression, lz4.frame.decompress(packed_records)
    return content[:16], compression, packed_records


def packed(data: bytes, compression: str) -> bytes:
    if compression == 'zstd':
        return zstandard.compress(data)
    return bytes(lz4.frame.compress(data)) if compression == 'lz4' else data


def closed_chunk(times: bytes, compression: str, data: bytes, size: int, crc: int) -> bytes:
    name = compression.encode()
    return (times + struct.pack('<QII', size & ((1 << 64) - 1), crc, len(name)) + name
            + struct.pack('<Q', len(data)) + data)


def bomb(data: bytes, compression: str, size: int, claimed: int,
         is_indexed: bool = True) -> bytes:
    """The first chunk becomes one that unpacks to so many bytes of 1; it claims another size."""
    records = split(data[len(_MAGIC):])
    number = next(number for number, (opcode, _) in enumerate(records) if opcode == _CHUNK)
    content = _zstd_ones(size) if compression == 'zstd' else _lz4_ones(size)
    records[number] = _CHUNK, closed_chunk(records[number][1][:16], compression, content, claimed,
                                           0)
    return sealed(records, is_indexed)


def _zstd_ones(size: int) -> bytes:
    """RFC 8878: a frame that states its size, and blocks of one byte that is repeated."""
    blocks = size // _BLOCK
    return (struct.pack('<IBBQ', 0xFD2FB528, 0xC0, 0x50, blocks * _BLOCK)
            + b''.join((_BLOCK << 3 | 1 << 1 | (number == blocks - 1)).to_bytes(3, 'little') + b'\1'
                       for number in range(blocks)))


def _lz4_ones(size: int) -> bytes:
    """LZ4's frame format: independent blocks of 4 MiB, no size, no checksums of the content."""
    context = lz4.frame.create_compression_context()
    head = bytes(lz4.frame.compress_begin(context, block_size=lz4.frame.BLOCKSIZE_MAX4MB,
                                          block_linked=False))
    block = bytes(lz4.frame.compress_chunk(context, b'\1' * (1 << 22)))
    return head + block * (size >> 22) + bytes(4)
