"""Polygons in base_link: what fields and footprints are made of. Metres, counter-clockwise."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Polygon = tuple[tuple[float, float], ...]
_CIRCLE_SIDES = 48


def circle(radius_m: float, centre: tuple[float, float] = (0.0, 0.0)) -> Polygon:
    """A polygon around a circle: its sides touch the circle, so nothing of it is lost."""
    outer = radius_m / math.cos(math.pi / _CIRCLE_SIDES)
    return tuple((centre[0] + outer * math.cos(2 * math.pi * i / _CIRCLE_SIDES),
                  centre[1] + outer * math.sin(2 * math.pi * i / _CIRCLE_SIDES))
                 for i in range(_CIRCLE_SIDES))


def grown(footprint: Polygon, front_m: float, side_m: float, rear_m: float) -> Polygon:
    """The box around a footprint, grown by so much to the front, both sides and the rear."""
    xs, ys = [x for x, _ in footprint], [y for _, y in footprint]
    left, right = max(ys) + side_m, min(ys) - side_m
    rear_x, front_x = min(xs) - rear_m, max(xs) + front_m
    return ((rear_x, right), (front_x, right), (front_x, left), (rear_x, left))


def corner_radius(footprint: Polygon) -> float:
    """Distance of the outermost corner from the turning centre, metres."""
    return max(math.hypot(x, y) for x, y in footprint)


def area(polygon: Polygon) -> float:
    """Square metres, positive for counter-clockwise corners (the shoelace formula)."""
    return 0.5 * sum(ax * by - bx * ay for (ax, ay), (bx, by) in edges(polygon))


def crosses_itself(polygon: Polygon) -> bool:
    """Whether two sides that are no neighbours meet."""
    sides = list(edges(polygon))
    return any(_meet(*sides[i], *sides[j]) for i in range(len(sides))
               for j in range(i + 2, len(sides)) if (i, j) != (0, len(sides) - 1))


def contains(polygon: Polygon, x: float, y: float) -> bool:
    """Even-odd rule; a point on an edge may count either way."""
    inside = False
    for (ax, ay), (bx, by) in edges(polygon):
        if (ay > y) != (by > y) and x < (bx - ax) * (y - ay) / (by - ay) + ax:
            inside = not inside
    return inside


def edges(polygon: Polygon) -> Sequence[tuple[tuple[float, float], tuple[float, float]]]:
    return list(zip(polygon, polygon[1:] + polygon[:1], strict=True))


def clearance(points: NDArray[np.float64], polygon: Polygon) -> NDArray[np.float64]:
    """Distance (n,) of each point (n, 2) from a polygon's outline; negative inside it."""
    nearest = np.full(len(points), np.inf)
    inside = np.zeros(len(points), bool)
    px, py = points[:, 0], points[:, 1]
    for (ax, ay), (bx, by) in edges(polygon):
        ex, ey = bx - ax, by - ay
        along = np.clip(((px - ax) * ex + (py - ay) * ey) / (ex * ex + ey * ey), 0.0, 1.0)
        nearest = np.minimum(nearest, np.hypot(px - ax - along * ex, py - ay - along * ey))
        if ay != by:
            crossing = ((ay > py) != (by > py)) & (px < (bx - ax) * (py - ay) / (by - ay) + ax)
            inside ^= crossing
    return np.where(inside, -nearest, nearest)


def _meet(a: tuple[float, float], b: tuple[float, float],
          c: tuple[float, float], d: tuple[float, float]) -> bool:
    def side(p: tuple[float, float], q: tuple[float, float], r: tuple[float, float]) -> float:
        return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])
    return side(a, b, c) * side(a, b, d) <= 0 and side(c, d, a) * side(c, d, b) <= 0
