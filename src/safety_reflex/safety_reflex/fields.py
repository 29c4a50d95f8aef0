"""Protective fields: how long they must be, when each is in use, what they mean for each beam.

Lengths, after ISO 13855 `S = K * T + C` and the field length of a mobile machine (brake path plus
controller and scanner time), for the speed v:

    T     = t_reaction + v / a_brake                       time until the robot is at rest
    side  = K_side * T + Z
    front = v * t_reaction + v^2 / (2 a_brake) + K * T + Z

K is the walking speed, Z the sum of the supplements (range tolerance, ground, brake wear). A turn
rate counts as the speed of the outermost corner. A derived field is the footprint's box grown by
these lengths, so a person is seen from every side.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from safety_reflex.shapes import Polygon, contains, edges, grown

_ANY = (-np.inf, np.inf)
_BAND_M = 0.001


@dataclass(frozen=True)
class Approach:
    """What the lengths are derived from. SI units; `reaction_s` runs from light to brake.

    side_walking_speed_mps is K for whoever comes from the side or from behind the corner of a
    rack; equal to walking_speed_mps where nothing keeps people from stepping in.
    """

    walking_speed_mps: float
    side_walking_speed_mps: float
    reaction_s: float
    braking_mps2: float
    supplement_m: float


@dataclass(frozen=True)
class Lengths:
    """What `derive` found for one speed: seconds and metres."""

    speed_mps: float
    stop_time_s: float
    brake_path_m: float
    side_m: float
    front_m: float


@dataclass(frozen=True)
class FieldSet:
    """A stop field and the motion that it covers: ranges of v and w, and of the outline's speed.

    The outline's speed is |v| + |w| r, r being the distance of the outermost corner.
    """

    name: str
    polygon: Polygon
    speed_mps: tuple[float, float] = _ANY
    turn_radps: tuple[float, float] = _ANY
    outline_mps: float = float('inf')


@dataclass(frozen=True)
class SlowField:
    """While something is in it, the outline moves no faster than limit_mps."""

    name: str
    polygon: Polygon
    limit_mps: float


@dataclass(frozen=True)
class Muting:
    """Where, how long and how fast a robot may approach what its field would stop it for."""

    name: str
    topic: str
    polygon: Polygon
    max_s: float
    max_speed_mps: float


@dataclass(frozen=True)
class BeamLimits:
    """A field as one scanner sees it: beam i is inside while near[i] <= range <= far[i] (metres).

    A beam that never crosses the field has far < near. Where a field is not star-shaped around the
    scanner, the interval runs from the first entry to the last exit: more is protected, not less.
    """

    near: NDArray[np.float32]
    far: NDArray[np.float32]


def derive(approach: Approach, speed_mps: float) -> Lengths:
    """The lengths for one speed of the outline, by the formula of this module's head."""
    stop_time = approach.reaction_s + speed_mps / approach.braking_mps2
    brake_path = speed_mps ** 2 / (2 * approach.braking_mps2)
    return Lengths(
        speed_mps, stop_time, brake_path,
        approach.side_walking_speed_mps * stop_time + approach.supplement_m,
        speed_mps * approach.reaction_s + brake_path
        + approach.walking_speed_mps * stop_time + approach.supplement_m)


def derived_sets(approach: Approach, speeds_mps: Sequence[float],
                 footprint: Polygon) -> tuple[tuple[FieldSet, ...], tuple[SlowField, ...]]:
    """One stop field a speed, and the same shapes as slow-down fields.

    Something in the field of one speed holds the robot to the speed two below, one below the
    largest that is clear: so what it approaches slowly slows it step by step, and only what comes
    fast stops it. The robot may reverse as fast as it drives, so the rear is as long as the front.
    """
    sets, slow = [], []
    for index, speed in enumerate(speeds_mps):
        lengths = derive(approach, speed)
        polygon = grown(footprint, lengths.front_m, lengths.side_m, lengths.front_m)
        name = f'{speed:.2f}'
        sets.append(FieldSet(name, polygon, outline_mps=speed))
        limit = speeds_mps[index - 2] if index >= 2 else 0.5 * speeds_mps[0]
        slow.append(SlowField(name, polygon, limit))
    return tuple(sets), tuple(slow)


def in_use(sets: Sequence[FieldSet], v_mps: float, w_radps: float,
           outline_mps: float) -> tuple[int, ...]:
    """Indices of the sets that guard this motion: the first that covers it, or all if none does.

    All of them hold at least what the largest holds, and more where that looks another way.
    """
    for index, field_set in enumerate(sets):
        (v_low, v_high), (w_low, w_high) = field_set.speed_mps, field_set.turn_radps
        # What a base reports of a speed that it was given exactly differs by rounding.
        if (outline_mps <= field_set.outline_mps + 1e-9
                and v_low - 1e-9 <= v_mps <= v_high + 1e-9
                and w_low - 1e-9 <= w_radps <= w_high + 1e-9):
            return (index,)
    return tuple(range(len(sets)))


def beam_limits(polygon: Polygon, pose: tuple[float, float, float], angle_min_rad: float,
                angle_increment_rad: float, beams: int) -> BeamLimits:
    """Intersect every beam of a scanner at pose (x, y, yaw in base_link) with a polygon.

    What lies within a millimetre of the polygon counts as inside it: so neither the rounding of a
    range nor a beam that grazes a corner ever decides for 'free'.
    """
    x0, y0, yaw = pose
    angles = yaw + angle_min_rad + angle_increment_rad * np.arange(beams)
    dx, dy = np.cos(angles), np.sin(angles)
    near = np.zeros(beams) if contains(polygon, x0, y0) else np.full(beams, np.inf)
    far = np.full(beams, -np.inf)
    for (ax, ay), (bx, by) in edges(polygon):
        ex, ey = bx - ax, by - ay
        length = np.hypot(ex, ey)
        # The edge, moved outwards by the band (corners run counter-clockwise), ...
        sx, sy = ax - x0 + _BAND_M * ey / length, ay - y0 - _BAND_M * ex / length
        with np.errstate(divide='ignore', invalid='ignore'):
            cross = dx * ey - dy * ex
            along_beam = (sx * ey - sy * ex) / cross
            along_edge = (sx * dy - sy * dx) / cross
        hit = ((np.abs(cross) > 1e-12) & (along_beam >= 0)
               & (along_edge >= -1e-9) & (along_edge <= 1 + 1e-9))
        near = np.where(hit, np.minimum(near, along_beam), near)
        far = np.where(hit, np.maximum(far, along_beam), far)
        # ... and the circle of the band's radius around its corner.
        middle = dx * (ax - x0) + dy * (ay - y0)
        aside = dx * (ay - y0) - dy * (ax - x0)
        half = np.sqrt(np.maximum(_BAND_M ** 2 - aside ** 2, 0.0))
        hit = (np.abs(aside) <= _BAND_M) & (middle + half >= 0)
        near = np.where(hit, np.minimum(near, np.maximum(middle - half, 0.0)), near)
        far = np.where(hit, np.maximum(far, middle + half), far)
    # Rounding to float32 must not take anything back from the field.
    return BeamLimits(np.nextafter(near.astype(np.float32), np.float32(-np.inf)),
                      np.nextafter(far.astype(np.float32), np.float32(np.inf)))
