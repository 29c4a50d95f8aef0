"""Clearance between a robot's outline and people, as plain plane geometry."""

import math
from collections.abc import Sequence

from .layout import Point


def clearance_m(outline: Sequence[Point], pose: tuple[float, float, float], person: Point,
                radius_m: float) -> float:
    """Gap between a convex outline (counter-clockwise, base_link) and a cylinder.

    Negative when they overlap: then it is how deep the cylinder reaches in.
    """
    dx, dy = person[0] - pose[0], person[1] - pose[1]
    c, s = math.cos(pose[2]), math.sin(pose[2])
    x, y = c * dx + s * dy, c * dy - s * dx
    nearest, inside = math.inf, -math.inf
    ax, ay = outline[-1]
    for bx, by in outline:
        ex, ey = bx - ax, by - ay
        length2 = ex * ex + ey * ey
        along = min(1.0, max(0.0, ((x - ax) * ex + (y - ay) * ey) / length2))
        nearest = min(nearest, math.hypot(x - ax - along * ex, y - ay - along * ey))
        inside = max(inside, ((x - ax) * ey - (y - ay) * ex) / math.sqrt(length2))
        ax, ay = bx, by
    return (nearest if inside > 0.0 else inside) - radius_m
