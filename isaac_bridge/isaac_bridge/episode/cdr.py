"""The messages that a reflex hears as CDR bytes, straight from struct: no ROS is needed for it.

It checks nothing, so every field can hold anything, and it costs a tenth of rclpy's serialiser.
"""

import struct
from collections.abc import Sequence

HEADER = b'\x00\x01\x00\x00'


class Writer:
    """CDR, version 1, little endian: each field aligned to its size from behind the header."""

    def __init__(self, stamp_ns: int | None = None, frame: bytes = b'') -> None:
        self.data = bytearray(HEADER)
        if stamp_ns is not None:
            seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
            self.data += struct.pack('<II', seconds & 0xffff_ffff, nanoseconds)
            self.text(frame)

    def pad(self, size: int) -> 'Writer':
        self.data += bytes(-(len(self.data) - 4) % size)
        return self

    def count(self, number: int) -> 'Writer':
        self.pad(4).data.extend(struct.pack('<I', number & 0xffff_ffff))
        return self

    def text(self, text: bytes) -> 'Writer':
        self.count(len(text) + 1).data.extend(text + b'\x00')
        return self

    def doubles(self, values: Sequence[float]) -> 'Writer':
        self.pad(8).data.extend(struct.pack(f'<{len(values)}d', *values))
        return self

    def sequence(self, values: Sequence[float]) -> 'Writer':
        self.count(len(values))
        return self.doubles(values) if len(values) else self


def scan(stamp_ns: int, ranges: bytes, angle_min: float, increment: float,
         limits: tuple[float, float] = (0.05, 20.0), frame: bytes = b'base_scan') -> bytes:
    """sensor_msgs/LaserScan. ranges: float32, little endian."""
    writer = Writer(stamp_ns, frame).pad(4)
    writer.data += struct.pack('<7f', angle_min, 0.0, increment, 0.0, 0.025, *limits)
    writer.count(len(ranges) // 4).data += ranges
    return bytes(writer.count(0).data)


def twist(stamp_ns: int, v: float, w: float, others: Sequence[float] = (0.0,) * 4) -> bytes:
    """geometry_msgs/TwistStamped. others: vy, vz, wx, wy."""
    vy, vz, wx, wy = others
    return bytes(Writer(stamp_ns, b'base_link').doubles((v, vy, vz, wx, wy, w)).data)


def odometry(stamp_ns: int, v: float, w: float) -> bytes:
    """nav_msgs/Odometry at the origin."""
    writer = Writer(stamp_ns, b'odom').text(b'base_link').doubles((0.0,) * 6 + (1.0,) + (0.0,) * 36)
    return bytes(writer.doubles((v, 0.0, 0.0, 0.0, 0.0, w) + (0.0,) * 36).data)
