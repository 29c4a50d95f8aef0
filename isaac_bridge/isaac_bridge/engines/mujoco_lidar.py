"""Rays in a MuJoCo model against what is solid."""

import numpy as np

from .backend import mujoco
from .scene import SOLID


class Rays:
    """So many at once, each as far as reach_m."""

    def __init__(self, count: int, reach_m: float) -> None:
        self._count, self._reach_m = count, reach_m
        self._hit_m = np.empty(count)
        self._hit_geom = np.empty(count, np.int32)
        self._visible = np.zeros(6, np.uint8)
        self._visible[SOLID] = 1

    def cast(self, model: mujoco.MjModel, data: mujoco.MjData, origin: np.ndarray,
             directions: np.ndarray) -> np.ndarray:
        """Distances (count,) along unit directions (count, 3); +inf where nothing is hit."""
        mujoco.mj_multiRay(model, data, origin, directions.reshape(-1), self._visible, True,
                    -1, self._hit_geom, self._hit_m, None, self._count, self._reach_m)
        return np.where(self._hit_geom < 0, np.inf, self._hit_m)
