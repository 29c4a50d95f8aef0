"""Where a motion leads among the points that the scanners see. Points are (n, 2) in base_link.

A robot that holds v and w drives an arc; a point at rest moves, as the robot sees it, by

    x(t) = cos(w t) (x - px) + sin(w t) (y - py),   y(t) = -sin(w t) (x - px) + cos(w t) (y - py)
    px = v sin(w t) / w,   py = v (1 - cos(w t)) / w        (px = v t, py = 0 for w = 0)
"""

import numpy as np
from numpy.typing import NDArray

from safety_reflex.shapes import Polygon, clearance

_STEPS = 16
_STRAIGHT = 1e-6
# An escape looks this far ahead, in these steps.
_ESCAPE_S = (0.25, 0.5, 1.0)
# Range noise that is no loss of clearance, and how far what is near reaches.
_NOISE_M, _NEAR_M = 0.002, 1.0


def carried(points: NDArray[np.float64], v_mps: float, w_radps: float,
            t_s: float) -> NDArray[np.float64]:
    """The points as the robot sees them after driving v and w for t_s."""
    turned = w_radps * t_s
    if abs(w_radps) < _STRAIGHT:
        px, py = v_mps * t_s, 0.0
    else:
        px = v_mps * np.sin(turned) / w_radps
        py = v_mps * (1 - np.cos(turned)) / w_radps
    c, s = np.cos(turned), np.sin(turned)
    x, y = points[:, 0] - px, points[:, 1] - py
    return np.stack((c * x + s * y, c * y - s * x), axis=1)


def time_to_collision(points: NDArray[np.float64], footprint: Polygon, radius_m: float,
                      v_mps: float, w_radps: float, horizon_s: float) -> float:
    """Seconds until the footprint meets a point; inf if not within the horizon.

    Between two instants that are looked at, the outline moves at most (|v| + |w| r) dt: half of
    that is added to the footprint, so nothing slips through, and the earlier of the two is told.
    """
    outline = abs(v_mps) + abs(w_radps) * radius_m
    if outline == 0.0 or len(points) == 0:
        return np.inf
    step_s = horizon_s / _STEPS
    reach = radius_m + outline * (horizon_s + step_s)
    points = points[np.hypot(points[:, 0], points[:, 1]) <= reach]
    for step in range(_STEPS + 1):
        seen = carried(points, v_mps, w_radps, step * step_s)
        if len(seen) and clearance(seen, footprint).min() <= 0.5 * outline * step_s:
            return max(step - 1, 0) * step_s
    return np.inf


def leads_away(points: NDArray[np.float64], footprint: Polygon, v_mps: float,
               w_radps: float) -> bool:
    """Whether a motion gains clearance: none of it to the nearest point is lost on the way, and
    all that is near is farther away at its end, taken together.

    The first alone would hold a robot between two walls; the second alone would let it trade one
    object for another. False for a point inside the outline: nobody knows which way that is clear.
    """
    if len(points) == 0:
        return True
    before = clearance(points, footprint)
    nearest = before.min()
    if nearest <= 0.0:
        return False
    for t_s in _ESCAPE_S:
        after = clearance(carried(points, v_mps, w_radps, t_s), footprint)
        if after.min() < nearest - _NOISE_M:
            return False
    return _closeness(after) < _closeness(before)


def _closeness(distances: NDArray[np.float64]) -> float:
    return float(np.maximum(_NEAR_M - distances, 0.0).sum())
