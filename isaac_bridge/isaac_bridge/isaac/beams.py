"""The beams of a plane lidar as rays that leave its own robot behind. Pure numpy.

A ray that began at the scanner would end at once, inside the robot's own body. Nothing else can be
inside the outline, so each ray begins where its beam crosses it, and the way to there is added to
what the ray measured.
"""

import numpy as np

from ..robot import Lidar, Robot

_SKIN_M = 1e-3      # beyond the outline, so that rounding cannot put an origin into the body


class Beams:
    """Rays of `robot.lidar` in the frame of a sensor at the lidar's place, unturned."""

    def __init__(self, robot: Robot) -> None:
        lidar = robot.lidar
        angles = (lidar.angle_min_rad + lidar.pose[2]
                  + lidar.angle_increment_rad * np.arange(lidar.beams))
        flat = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        self._lidar: Lidar = lidar
        self.directions = np.concatenate([flat, np.zeros((lidar.beams, 1))], axis=1)
        self.offsets = _ways_out(np.array(robot.outline), np.array(lidar.pose[:2]), flat) + _SKIN_M
        self.origins = self.directions * self.offsets[:, None]

    def distances(self, depths: np.ndarray) -> np.ndarray:
        """float64 (beams,) from the lidar, +inf where nothing was hit, of what the rays measured:
        range_max_m, or more, where nothing was. Raises ValueError for a wrong number of depths.
        """
        lidar = self._lidar
        if depths.shape != (lidar.beams,):
            raise ValueError(f'{depths.shape} depths for {lidar.beams} beams')
        return np.where(depths >= lidar.range_max_m, np.inf,
                        depths.astype(np.float64) + self.offsets)


def _ways_out(outline: np.ndarray, at: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """How far it is from a point to the rim of a convex outline; 0 from outside of it.

    outline: (n, 2), counter-clockwise. Inside of an edge from a along e the cross product of e and
    (p - a) is positive; a ray p + s d leaves through the edge that it meets first.
    """
    edges = np.roll(outline, -1, axis=0) - outline
    inside = _cross(edges, at - outline)
    if np.any(inside < 0.0):
        return np.zeros(len(directions))
    closing = -_cross(edges[None, :, :], directions[:, None, :])
    with np.errstate(divide='ignore', invalid='ignore'):
        ways = np.where(closing > 0.0, inside[None, :] / closing, np.inf)
    result: np.ndarray = ways.min(axis=1)
    return result


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    product: np.ndarray = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    return product
