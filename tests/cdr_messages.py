"""All messages that the reflex hears as CDR bytes; test_fuzz.py holds them against rclpy's."""

import math
import struct
from collections.abc import Sequence

from isaac_bridge.episode.cdr import HEADER, Writer, odometry, scan, twist

__all__ = ['HEADER', 'Writer', 'flag', 'joint_state', 'odometry', 'scan', 'trajectory', 'twist']


def flag(value: int) -> bytes:
    return HEADER + bytes([value & 0xff])


def joint_state(stamp_ns: int, names: Sequence[bytes], positions: Sequence[float],
                velocities: Sequence[float] = ()) -> bytes:
    writer = Writer(stamp_ns).count(len(names))
    for name in names:
        writer.text(name)
    return bytes(writer.sequence(positions).sequence(velocities).sequence(()).data)


def trajectory(stamp_ns: int, names: Sequence[bytes],
               points: Sequence[tuple[Sequence[float], float]]) -> bytes:
    """points: (positions, seconds from start)."""
    writer = Writer(stamp_ns).count(len(names))
    for name in names:
        writer.text(name)
    writer.count(len(points))
    for positions, seconds in points:
        writer.sequence(positions).sequence(()).sequence(()).sequence(())
        whole = math.floor(seconds)
        writer.pad(4).data += struct.pack('<iI', whole, round((seconds - whole) * 1e9))
    return bytes(writer.data)
