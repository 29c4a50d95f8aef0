"""Protective fields: how long they must be, and what they mean for each beam of a scanner.

A field set belongs to a speed: it is long enough that a robot up to that speed, from the scan that
first sees an object, is at rest before it touches a person who walks towards it.

Lengths, after ISO 13855 `S = K * T + C` and the field length of a mobile machine (brake path plus
controller and scanner time), for the speed v:

    T     = t_reaction + v / a_brake                       time until the robot is at rest
    side  = K * T + Z
    front = v * t_reaction + v^2 / (2 a_brake) + K * T + Z

K is the walking speed, Z the sum of the supplements (range tolerance, ground, brake wear). A turn
rate counts as the speed of the outermost corner. A field is the footprint grown by these lengths:
a rectangle around the robot, so a person is seen from every side.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Polygon = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Approach:
    """What the lengths are derived from. SI units; `reaction_s` runs from light to brake."""

    walking_speed_mps: float
    reaction_s: float
    braking_mps2: float
    supplement_m: float


@dataclass(frozen=True)
class FieldSet:
    """The protective field for speeds up to max_speed_mps; the polygon is in base_link, metres."""

    max_speed_mps: float
    stop_time_s: float
    front_m: float
    side_m: float
    polygon: Polygon


@dataclass(frozen=True)
class BeamLimits:
    """A field as one scanner sees it: beam i is inside while near[i] <= range <= far[i] (metres).

    A beam that never crosses the field has far < near. Where a field is not star-shaped around the
    scanner, the interval runs from the first entry to the last exit: more is protected, not less.
    """

    near: NDArray[np.float32]
    far: NDArray[np.float32]

    def count(self, ranges: NDArray[np.float32]) -> int:
        """How many beams end inside the field; NaN and infinities are never inside."""
        return int(np.count_nonzero((ranges <= self.far) & (ranges >= self.near)))


def derive(approach: Approach, max_speed_mps: float, footprint: Polygon) -> FieldSet:
    """The field set for one speed, the formula of this module's head."""
    stop_time = approach.reaction_s + max_speed_mps / approach.braking_mps2
    side = approach.walking_speed_mps * stop_time + approach.supplement_m
    brake_path = max_speed_mps ** 2 / (2 * approach.braking_mps2)
    front = max_speed_mps * approach.reaction_s + brake_path + side
    xs, ys = [x for x, _ in footprint], [y for _, y in footprint]
    left, right = max(ys) + side, min(ys) - side
    # The robot may reverse as fast as it drives forward within one set, so the rear is as long.
    rear_x, front_x = min(xs) - front, max(xs) + front
    return FieldSet(max_speed_mps, stop_time, front, side,
                    ((rear_x, right), (front_x, right), (front_x, left), (rear_x, left)))


def corner_radius(footprint: Polygon) -> float:
    """Distance of the outermost corner from the turning centre, metres."""
    return max(math.hypot(x, y) for x, y in footprint)


def beam_limits(polygon: Polygon, pose: tuple[float, float, float], angle_min_rad: float,
                angle_increment_rad: float, beams: int) -> BeamLimits:
    """Intersect every beam of a scanner at pose (x, y, yaw in base_link) with a polygon."""
    x0, y0, yaw = pose
    angles = yaw + angle_min_rad + angle_increment_rad * np.arange(beams)
    dx, dy = np.cos(angles), np.sin(angles)
    inside = _contains(polygon, x0, y0)
    near = np.zeros(beams) if inside else np.full(beams, np.inf)
    far = np.full(beams, -np.inf)
    for (ax, ay), (bx, by) in zip(polygon, polygon[1:] + polygon[:1], strict=True):
        ex, ey = bx - ax, by - ay
        with np.errstate(divide='ignore', invalid='ignore'):
            cross = dx * ey - dy * ex
            along_beam = ((ax - x0) * ey - (ay - y0) * ex) / cross
            along_edge = ((ax - x0) * dy - (ay - y0) * dx) / cross
        # The tolerance closes the gap between two edges at a corner.
        hit = ((np.abs(cross) > 1e-12) & (along_beam >= 0)
               & (along_edge >= -1e-9) & (along_edge <= 1 + 1e-9))
        near = np.where(hit, np.minimum(near, along_beam), near)
        far = np.where(hit, np.maximum(far, along_beam), far)
    # Rounding to float32 must not take a millimetre from the field.
    return BeamLimits(np.nextafter(near.astype(np.float32), np.float32(-np.inf)),
                      np.nextafter(far.astype(np.float32), np.float32(np.inf)))


def table(sets: Sequence[FieldSet], approach: Approach) -> str:
    """The derivation as a Markdown table, for the README and for an assessor."""
    rows = [f'K = {approach.walking_speed_mps} m/s, t = {approach.reaction_s} s, '
            f'a = {approach.braking_mps2} m/s2, Z = {approach.supplement_m} m', '',
            '| up to m/s | T, s | K*T, m | brake path, m | side, m | front, m |',
            '|---|---|---|---|---|---|']
    for field_set in sets:
        v = field_set.max_speed_mps
        rows.append(f'| {v:.2f} | {field_set.stop_time_s:.3f} | '
                    f'{approach.walking_speed_mps * field_set.stop_time_s:.3f} | '
                    f'{v * v / (2 * approach.braking_mps2):.3f} | {field_set.side_m:.3f} | '
                    f'{field_set.front_m:.3f} |')
    return '\n'.join(rows)


def _contains(polygon: Polygon, x: float, y: float) -> bool:
    inside = False
    for (ax, ay), (bx, by) in zip(polygon, polygon[1:] + polygon[:1], strict=True):
        if (ay > y) != (by > y) and x < (bx - ax) * (y - ay) / (by - ay) + ax:
            inside = not inside
    return inside
