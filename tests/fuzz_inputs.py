"""Numbers, stamps and bytes that mean harm, drawn from a seed."""

import math
import struct
from collections.abc import Callable
from random import Random

from cdr_messages import HEADER

LARGEST = 1_000_000
_COUNTS = (0, 1, 2, 63, 64, 65, 255, 256, 257, 719, 720, 721, 20_000, 0x7fff_ffff, 0x8000_0000,
           0xffff_ffff, 0x4000_0000, 0x4000_0001)
_DOUBLES = (math.nan, math.inf, -math.inf, -0.0, 5e-324, 1e-12, 1e308, -1e308, 1e300, 0.901, 0.902,
            -0.201, 1.2, 1.201, -1.3, 3.4e38, 1e6, -1e6, 2.0 ** 63)
_STAMPS_S = (0, -1, -2 ** 31, 2 ** 31 - 1, 1, 3600, -3600)


def number(random: Random) -> float:
    """A double of the kind that breaks something."""
    kind = random.randrange(4)
    if kind == 0:
        return random.uniform(-1.5, 1.5)
    if kind == 1:
        return struct.unpack('<d', random.randbytes(8))[0]
    return random.choice(_DOUBLES)


def stamp(random: Random, now_ns: int) -> int:
    """A stamp near now, or one of another age."""
    kind = random.randrange(4)
    if kind == 0:
        return random.choice(_STAMPS_S) * 1_000_000_000
    if kind == 1:
        return struct.unpack('<i', random.randbytes(4))[0] * 1_000_000_000
    return now_ns + random.choice((0, 0, -1, 1, 51_000_000, -251_000_000, -25_000_000,
                                   3_600_000_000_000))


def worsen(random: Random, data: bytes) -> bytes:
    """One to three mutations of a message."""
    for _ in range(random.choice((1, 1, 2, 3))):
        data = random.choice(_MUTATIONS)(random, data)
    return data


def garbage(random: Random) -> bytes:
    """Bytes that were never a message; mostly with a header that says so."""
    size = random.choice((0, 1, 3, 4, 5, 15, 16, 64, 300, 4_000))
    if random.random() < 0.002:
        size = LARGEST
    return (HEADER if random.random() < 0.7 else b'') + random.randbytes(size)


def _truncate(random: Random, data: bytes) -> bytes:
    return data[:random.randrange(len(data) + 1)]


def _flip(random: Random, data: bytes) -> bytes:
    if not data:
        return data
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 8, 32))):
        changed[_early(random, len(data))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _count(random: Random, data: bytes) -> bytes:
    """A four-byte field replaced: mostly a length or a count, sometimes half of a number."""
    at = 4 * (_early(random, max(len(data), 4)) // 4)
    return data[:at] + struct.pack('<I', random.choice(_COUNTS)) + data[at + 4:]


def _float(random: Random, data: bytes) -> bytes:
    at = 4 * (_early(random, max(len(data), 4)) // 4)
    value = random.choice((math.nan, math.inf, -math.inf, 3.4e38, -1.0, 0.0, 1e-40))
    return data[:at] + struct.pack('<f', value) + data[at + 4:]


def _double(random: Random, data: bytes) -> bytes:
    at = 4 + 8 * (random.randrange(max(len(data) - 4, 8)) // 8)
    return data[:at] + struct.pack('<d', random.choice(_DOUBLES)) + data[at + 8:]


def _encapsulation(random: Random, data: bytes) -> bytes:
    head = random.choice((b'\x00\x00\x00\x00', b'\x00\x02\x00\x00', b'\x00\x03\x00\x00',
                          b'\x00\x07\x00\x00', b'\x00\x01\x00\x03', random.randbytes(4)))
    return head + data[4:]


def _big_endian(_: Random, data: bytes) -> bytes:
    whole = len(data) // 4 * 4
    words = struct.unpack(f'<{whole // 4}I', data[:whole])
    return b'\x00\x00\x00\x00' + struct.pack(f'>{len(words)}I', *words)[4:] + data[whole:]


def _insert(random: Random, data: bytes) -> bytes:
    at = random.randrange(len(data) + 1)
    return data[:at] + random.randbytes(random.choice((1, 2, 4, 8, 100))) + data[at:]


def _remove(random: Random, data: bytes) -> bytes:
    at = random.randrange(len(data) + 1)
    return data[:at] + data[at + random.choice((1, 2, 4, 8)):]


def _append(random: Random, data: bytes) -> bytes:
    size = LARGEST if random.random() < 0.005 else random.choice((1, 4, 1000))
    return (data + random.randbytes(size))[:LARGEST]


def _early(random: Random, size: int) -> int:
    """An index, as often among the first 80 bytes, where the lengths are, as anywhere."""
    return random.randrange(min(size, 80) if random.random() < 0.5 else size)


_MUTATIONS: tuple[Callable[[Random, bytes], bytes], ...] = (
    _truncate, _flip, _flip, _count, _count, _float, _double, _encapsulation, _big_endian, _insert,
    _remove, _append)
