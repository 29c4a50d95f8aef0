"""What a lidar makes of true distances, the same over every engine: noise, drop-outs, latency.

All that is random is drawn from the seed and the step's number: a scan of an instant is the same
however often, or seldom, a frame was asked for before it.
"""

import math
from collections import deque
from typing import Protocol

import numpy as np

from ..robot import Lidar

_DROPS = 1 << 64        # in a key: another stream than the noise's
Pose = tuple[float, float, float]


class LidarModel:
    """One lidar. noise_m: one sigma; the rest as the robot's file says."""

    def __init__(self, lidar: Lidar, noise_m: float, step_ns: int) -> None:
        angles = lidar.angle_min_rad + lidar.angle_increment_rad * np.arange(lidar.beams)
        self.lidar = lidar
        self._noise_m = noise_m
        self._beams = np.exp(1j * (angles + lidar.pose[2]))     # directions in base_link
        self._rays = np.zeros((lidar.beams, 3))
        self.latency_steps = round(lidar.latency_ms * 1e6 / step_ns)
        self.period_steps = max(1, round(1e9 / lidar.rate_hz / step_ns))

    def rays(self, pose: Pose) -> tuple[np.ndarray, np.ndarray]:
        """Origin (3,) and unit directions (beams, 3) in the world, of a base at pose (x, y, yaw).

        The directions are overwritten by the next call.
        """
        lidar, (x, y, yaw) = self.lidar, pose
        c, s = math.cos(yaw), math.sin(yaw)
        origin = np.array([x + c * lidar.pose[0] - s * lidar.pose[1],
                           y + s * lidar.pose[0] + c * lidar.pose[1], lidar.height_m])
        beams = self._beams * complex(c, s)
        self._rays[:, 0], self._rays[:, 1] = beams.real, beams.imag
        return origin, self._rays

    def ranges(self, distances_m: np.ndarray, seed: int, step: int) -> np.ndarray:
        """float32 (beams,) by REP-117 of true distances, +inf where nothing was hit."""
        lidar, ranges = self.lidar, distances_m.copy()
        if self._noise_m > 0.0:
            # The counter's low word counts what a step draws, so the step stands in the next.
            random = np.random.Generator(np.random.Philox(key=seed, counter=step << 64))
            ranges += self._noise_m * random.standard_normal(lidar.beams)
        ranges[ranges > lidar.range_max_m] = np.inf
        ranges[ranges < lidar.range_min_m] = -np.inf
        if lidar.dropout > 0.0:
            # A beam without an echo looks like one into the open.
            random = np.random.Generator(np.random.Philox(key=seed | _DROPS, counter=step << 64))
            ranges[random.random(lidar.beams) < lidar.dropout] = np.inf
        return ranges.astype(np.float32)


class _Late(Protocol):
    latency_steps: int
    period_steps: int


class DelayLine:
    """Scans under way from a lidar that delivers them late, or whatever another sensor measures.

    Steps are counted since the reset.
    """

    def __init__(self, model: _Late) -> None:
        self._model = model
        self._scans: deque[tuple[int, np.ndarray]] = deque()

    def wants(self, step: int) -> bool:
        """Whether the lidar measures at this step; never, if it is not late."""
        return self._model.latency_steps > 0 and step % self._model.period_steps == 0

    def put(self, step: int, ranges: np.ndarray) -> None:
        """Another scan of the same step takes its place."""
        if self._scans and self._scans[-1][0] == step:
            self._scans.pop()
        self._scans.append((step, ranges))

    def newest(self, step: int) -> np.ndarray:
        """The last scan that has arrived; the first of all until then."""
        arrived = step - self._model.latency_steps
        while len(self._scans) > 1 and self._scans[1][0] <= arrived:
            self._scans.popleft()
        return self._scans[0][1]

    def clear(self) -> None:
        self._scans.clear()

    @property
    def state(self) -> bytes:
        """Of what is still under way; nothing for a lidar that is not late."""
        return b''.join(step.to_bytes(8, 'little') + scan.tobytes() for step, scan in self._scans)
