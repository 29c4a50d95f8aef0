"""A quaternion in the conventions that data sets use for an orientation.

| convention | parts | meaning |
|---|---|---|
| rpy | roll, pitch, yaw | radians about the fixed axes x, y, z, in this order (REP-103) |
| axis_angle | x, y, z | rotation vector: the unit axis times the angle in radians |
| rot6d | 0 to 5 | the rotation matrix's first two rows, one after the other |

A convention's part is written `rpy.roll`, `axis_angle.x`, `rot6d.0`.
"""

import math
from collections.abc import Sequence

PARTS = {
    'rpy': ('roll', 'pitch', 'yaw'),
    'axis_angle': ('x', 'y', 'z'),
    'rot6d': ('0', '1', '2', '3', '4', '5'),
}
ROTATIONS = tuple(f'{convention}.{part}' for convention, parts in PARTS.items() for part in parts)
AXIS_ANGLE = tuple(f'axis_angle.{part}' for part in PARTS['axis_angle'])
# A quaternion further from length one is no rotation: nobody filled it in, or it was interpolated.
_LENGTH_TOLERANCE = 0.01

Quaternion = tuple[float, float, float, float]  # x, y, z, w, as in a ROS message


def unit(quaternion: Quaternion) -> Quaternion:
    """The quaternion at length one exactly; raises ValueError when it was far from it."""
    length = math.hypot(*quaternion)
    if not abs(length - 1.0) <= _LENGTH_TOLERANCE:  # NaN too
        raise ValueError(f'the quaternion has the length {length:.3g}, not 1')
    x, y, z, w = quaternion
    return x / length, y / length, z / length, w / length


def value(rotation: str, quaternion: Quaternion,
          near: Sequence[float] | None = None) -> float:
    """One part of one convention, as `rotation` names it, of a quaternion (x, y, z, w).

    Raises ValueError for a quaternion that is no rotation.
    """
    convention, _, part = rotation.partition('.')
    place = PARTS[convention].index(part)
    exact = unit(quaternion)
    if convention == 'rpy':
        return rpy(exact)[place]
    if convention == 'axis_angle':
        return axis_angle(exact, near)[place]
    return rot6d(exact)[place]


def matrix(quaternion: Quaternion) -> tuple[tuple[float, float, float], ...]:
    """The three rows of the rotation matrix of a unit quaternion."""
    x, y, z, w = quaternion
    return (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)))


def rpy(quaternion: Quaternion) -> tuple[float, float, float]:
    """Roll, pitch, yaw with R = Rz(yaw) Ry(pitch) Rx(roll); pitch is within +-pi/2."""
    rows = matrix(quaternion)
    return (math.atan2(rows[2][1], rows[2][2]),
            math.asin(max(-1.0, min(1.0, -rows[2][0]))),
            math.atan2(rows[1][0], rows[0][0]))


def axis_angle(quaternion: Quaternion,
               near: Sequence[float] | None = None) -> tuple[float, float, float]:
    """The rotation vector of a unit quaternion.

    An orientation has two within one turn: theta about an axis, and 2 pi - theta about its
    opposite. Without `near` it is the shorter one, so it jumps where the angle is pi; with it the
    one nearer to `near`, for a tool that points down, say, and is never far from there.
    """
    x, y, z, w = quaternion if quaternion[3] >= 0 else tuple(-part for part in quaternion)
    sine = math.hypot(x, y, z)
    angle = 2.0 * math.atan2(sine, w)
    # Twice the vector part is the limit for a small angle.
    scale = angle / sine if sine > 1e-9 else 2.0
    short = (x * scale, y * scale, z * scale)
    if near is None or sine <= 1e-9:
        return short
    back = (angle - 2.0 * math.pi) / sine
    other = (x * back, y * back, z * back)
    return min(short, other, key=lambda vector: math.dist(vector, near))


def rot6d(quaternion: Quaternion) -> tuple[float, ...]:
    """The first two rows of the rotation matrix (Zhou et al. 2019, in GR00T's order)."""
    rows = matrix(quaternion)
    return (*rows[0], *rows[1])
