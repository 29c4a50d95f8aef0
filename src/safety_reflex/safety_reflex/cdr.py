"""The few CDR layouts that the reflex reads and writes, straight from the bytes.

Deserialising a 720-beam LaserScan into Python objects costs more than the whole verdict, so the
reflex takes raw messages. The layout is OMG DDS-XTYPES plain CDR, version 1, little endian, as
every ROS 2 middleware on x86-64 and arm64 sends it: a 4-byte encapsulation header, then the fields
in order, each aligned to its size counted from the end of that header.

Every reader checks lengths before it touches data, never allocates by a number that the sender
chose, and raises MalformedMessage on anything else.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_STRING_BYTES = 256
MAX_JOINTS = 64
MAX_POINTS = 256
_HEADER = b'\x00\x01\x00\x00'


class MalformedMessage(ValueError):
    """The bytes are not the message that the topic promises."""


@dataclass(frozen=True, slots=True)
class Scan:
    """A LaserScan. `ranges` is a float32 view (n,) into the message's bytes, metres.

    ranges_at: where they begin in those bytes.
    """

    stamp_ns: int
    frame_id: bytes
    angle_min_rad: float
    angle_increment_rad: float
    range_min_m: float
    range_max_m: float
    ranges: NDArray[np.float32]
    ranges_at: int = 0


@dataclass(frozen=True, slots=True)
class Twist:
    """A stamped planar velocity: metres and radians per second, and the axes that must be zero."""

    stamp_ns: int
    v_mps: float
    w_radps: float
    others: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Joints:
    """A JointState: names, and positions and velocities (n,) in radians or metres, per second."""

    stamp_ns: int
    names: tuple[bytes, ...]
    positions: NDArray[np.float64]
    velocities: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Trajectory:
    """A JointTrajectory: positions (points, joints), and when each is due, seconds from start."""

    stamp_ns: int
    names: tuple[bytes, ...]
    positions: NDArray[np.float64]
    times_s: NDArray[np.float64]


def read_stamp(data: bytes) -> int:
    """Nanoseconds of the stamp of a message that begins with a header."""
    if len(data) < 12:
        raise MalformedMessage('a message ends in its header')
    seconds, nanoseconds = struct.unpack_from('<iI', data, 4)
    if nanoseconds >= 1_000_000_000:
        raise MalformedMessage(f'a stamp has {nanoseconds} nanoseconds')
    return int(seconds * 1_000_000_000 + nanoseconds)


def read_scan(data: bytes, max_beams: int) -> Scan:
    """sensor_msgs/LaserScan with at most max_beams ranges; intensities are ignored."""
    stamp_ns, frame_id, at = _read_header(data)
    at = _aligned(at, 4)
    if len(data) < at + 32:
        raise MalformedMessage('a LaserScan ends inside its fixed fields')
    (angle_min, _, increment, _, _, range_min, range_max,
     count) = struct.unpack_from('<7fI', data, at)
    at += 32
    if count > max_beams:
        raise MalformedMessage(f'a LaserScan claims {count} beams, more than {max_beams}')
    if len(data) < at + 4 * count:
        raise MalformedMessage(f'a LaserScan ends before its {count} beams')
    ranges = np.frombuffer(data, np.float32, count, at)
    return Scan(stamp_ns, frame_id, angle_min, increment, range_min, range_max, ranges, at)


def read_twist_stamped(data: bytes) -> Twist:
    """geometry_msgs/TwistStamped."""
    stamp_ns, _, at = _read_header(data)
    return Twist(stamp_ns, *_read_twist(data, at))


def read_odometry(data: bytes) -> Twist:
    """nav_msgs/Odometry: the measured velocity in the child frame."""
    stamp_ns, _, at = _read_header(data)
    _, at = _read_string(data, _aligned(at, 4))
    pose_bytes = (7 + 36) * 8
    return Twist(stamp_ns, *_read_twist(data, _aligned(at, 8) + pose_bytes))


def read_bool(data: bytes) -> bool:
    """std_msgs/Bool. Anything but a clean 0 or 1 is malformed: an e-stop must not be guessed."""
    if len(data) < 5 or data[:4] != _HEADER or data[4] > 1:
        raise MalformedMessage('a Bool is neither true nor false')
    return data[4] == 1


def read_joint_state(data: bytes) -> Joints:
    """sensor_msgs/JointState; velocities may be left out and are then zero."""
    stamp_ns, _, at = _read_header(data)
    names, at = _read_names(data, at)
    positions, at = _read_doubles(data, at)
    velocities, _ = _read_doubles(data, at)
    if len(positions) != len(names) or len(velocities) not in (0, len(names)):
        raise MalformedMessage(f'a JointState has {len(names)} names, {len(positions)} positions '
                               f'and {len(velocities)} velocities')
    return Joints(stamp_ns, names, positions,
                  velocities if len(velocities) else np.zeros(len(names)))


def read_joint_trajectory(data: bytes) -> Trajectory:
    """trajectory_msgs/JointTrajectory by positions; other values must fit, and are not used."""
    stamp_ns, _, at = _read_header(data)
    names, at = _read_names(data, at)
    count, at = _read_count(data, at, MAX_POINTS)
    if count == 0:
        raise MalformedMessage('a JointTrajectory has no point')
    positions, times_s = np.empty((count, len(names))), np.empty(count)
    for point in range(count):
        values, at = _read_doubles(data, at)
        if len(values) != len(names):
            raise MalformedMessage(f'point {point} has {len(values)} positions for '
                                   f'{len(names)} joints')
        positions[point] = values
        for _ in ('velocities', 'accelerations', 'effort'):
            values, at = _read_doubles(data, at)
            if len(values) not in (0, len(names)):
                raise MalformedMessage(f'point {point} has {len(values)} values for '
                                       f'{len(names)} joints')
        at = _aligned(at, 4)
        if len(data) < at + 8:
            raise MalformedMessage('a JointTrajectory ends before a time_from_start')
        seconds, nanoseconds = struct.unpack_from('<iI', data, at)
        at += 8
        if nanoseconds >= 1_000_000_000:
            raise MalformedMessage(f'a duration has {nanoseconds} nanoseconds')
        times_s[point] = seconds + nanoseconds / 1e9
    return Trajectory(stamp_ns, names, positions, times_s)


class TwistStampedWriter:
    """Serialised TwistStamped messages of one frame; only the stamp and the numbers change."""

    def __init__(self, frame_id: str) -> None:
        name = frame_id.encode() + b'\x00'
        head = struct.pack('<iII', 0, 0, len(name)) + name
        self._buffer = bytearray(_HEADER + head + b'\x00' * (-len(head) % 8) + b'\x00' * 48)
        self._twist_at = len(self._buffer) - 48

    def write(self, stamp_ns: int, v_mps: float, w_radps: float) -> bytes:
        seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
        struct.pack_into('<iI', self._buffer, 4, seconds, nanoseconds)
        struct.pack_into('<d', self._buffer, self._twist_at, v_mps)
        struct.pack_into('<d', self._buffer, self._twist_at + 40, w_radps)
        return bytes(self._buffer)


class TwistWriter:
    """Serialised Twist messages, for a base that does not know the stamped one."""

    def write(self, _stamp_ns: int, v_mps: float, w_radps: float) -> bytes:
        return _HEADER + struct.pack('<6d', v_mps, 0.0, 0.0, 0.0, 0.0, w_radps)


class JointTrajectoryWriter:
    """Serialised JointTrajectory messages of one point, for the same joints each time."""

    def __init__(self, names: Sequence[str], period_ns: int) -> None:
        head = bytearray(_HEADER + struct.pack('<iIIB3xI', 0, 0, 1, 0, len(names)))
        for name in names:
            _pad(head, 4)
            head += struct.pack('<I', len(name.encode()) + 1) + name.encode() + b'\x00'
        _pad(head, 4)
        head += struct.pack('<I', 1)
        self._joints, self._at = len(names), []
        for _ in ('positions', 'velocities'):
            _pad(head, 4)
            head += struct.pack('<I', len(names))
            _pad(head, 8)
            self._at.append(len(head))
            head += bytes(8 * len(names))
        head += struct.pack('<IIiI', 0, 0, *divmod(period_ns, 1_000_000_000))
        self._buffer = head

    def write(self, stamp_ns: int, positions: NDArray[np.float64],
              velocities: NDArray[np.float64]) -> bytes:
        struct.pack_into('<iI', self._buffer, 4, *divmod(stamp_ns, 1_000_000_000))
        for at, values in zip(self._at, (positions, velocities), strict=True):
            self._buffer[at:at + 8 * self._joints] = values.astype('<f8').tobytes()
        return bytes(self._buffer)


def _read_header(data: bytes) -> tuple[int, bytes, int]:
    """(stamp in ns, frame id, offset behind it) of a std_msgs/Header."""
    if len(data) < 16 or data[:4] != _HEADER:
        raise MalformedMessage('a message is not little-endian plain CDR, or ends in its header')
    stamp_ns = read_stamp(data)
    frame_id, at = _read_string(data, 12)
    return stamp_ns, frame_id, at


def _read_string(data: bytes, at: int) -> tuple[bytes, int]:
    if len(data) < at + 4:
        raise MalformedMessage('a message ends before a string')
    length = struct.unpack_from('<I', data, at)[0]
    end = at + 4 + length
    if length == 0 or length > MAX_STRING_BYTES or len(data) < end:
        raise MalformedMessage(f'a string claims {length} bytes')
    return data[at + 4:end - 1], end


def _read_count(data: bytes, at: int, limit: int) -> tuple[int, int]:
    at = _aligned(at, 4)
    if len(data) < at + 4:
        raise MalformedMessage('a message ends before a sequence')
    count = struct.unpack_from('<I', data, at)[0]
    if count > limit:
        raise MalformedMessage(f'a sequence claims {count} items, more than {limit}')
    return count, at + 4


def _read_names(data: bytes, at: int) -> tuple[tuple[bytes, ...], int]:
    count, at = _read_count(data, at, MAX_JOINTS)
    names = []
    for _ in range(count):
        name, at = _read_string(data, _aligned(at, 4))
        names.append(name)
    return tuple(names), at


def _read_doubles(data: bytes, at: int) -> tuple[NDArray[np.float64], int]:
    count, at = _read_count(data, at, MAX_JOINTS)
    if count == 0:
        return np.empty(0), at
    at = _aligned(at, 8)
    if len(data) < at + 8 * count:
        raise MalformedMessage(f'a message ends before its {count} numbers')
    return np.frombuffer(data, np.float64, count, at), at + 8 * count


def _read_twist(data: bytes, at: int) -> tuple[float, float, tuple[float, float, float, float]]:
    at = _aligned(at, 8)
    if len(data) < at + 48:
        raise MalformedMessage('a message ends before its velocity')
    vx, vy, vz, wx, wy, wz = struct.unpack_from('<6d', data, at)
    return vx, wz, (vy, vz, wx, wy)


def _pad(buffer: bytearray, size: int) -> None:
    buffer += bytes(_aligned(len(buffer), size) - len(buffer))


def _aligned(at: int, size: int) -> int:
    return 4 + (at - 4 + size - 1) // size * size
