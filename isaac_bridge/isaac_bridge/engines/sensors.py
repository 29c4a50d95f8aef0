"""What cameras and encoders make of the truth, the same over every engine: noise, loss, latency.

As with the lidar, all that is random is drawn from the seed and the step's number: an image or a
reading of an instant is the same however often, or seldom, somebody looked. Latency is whole
physics steps, and a stamp knows nothing of it: a frame's image, or its joints, are the newest that
are at least so old, and the first of all until then.
"""

import math
from collections.abc import Sequence

import numpy as np

from ..arm import JointSensor
from ..robot import Camera
from .lidar import DelayLine

# In a key: streams of their own, beside the lidar's 0 and 1.
_JOINT_NOISE, _JOINT_LOSS, _IMAGE_NOISE, _IMAGE_LOSS = (stream << 64 for stream in (2, 3, 4, 5))


class JointModel:
    """The readings of an arm's joints."""

    def __init__(self, sensor: JointSensor, step_ns: int) -> None:
        self._sensor = sensor
        self.latency_steps = round(sensor.latency_ms * 1e6 / step_ns)
        self.period_steps = (1 if math.isinf(sensor.rate_hz)
                             else max(1, round(1e9 / sensor.rate_hz / step_ns)))
        self._line = DelayLine(self)

    def wants(self, step: int) -> bool:
        """Whether the joints are read at this step."""
        return step % self.period_steps == 0

    def put(self, step: int, positions: Sequence[float], velocities: Sequence[float],
            seed: int) -> None:
        """The truth of this step; a lost reading leaves the one before in its place."""
        sensor = self._sensor
        if step > 0 and sensor.dropout > 0.0 and (
                _random(seed | _JOINT_LOSS, step).random() < sensor.dropout):
            return
        reading = np.array([positions, velocities], np.float64)
        if sensor.noise > 0.0 or sensor.velocity_noise > 0.0:
            noise = _random(seed | _JOINT_NOISE, step).standard_normal(reading.shape)
            reading += noise * [[sensor.noise], [sensor.velocity_noise]]
        self._line.put(step, reading)
        self._line.newest(step)         # forgets what is older, whether anybody asks or not

    def newest(self, step: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """(positions, velocities) that have arrived."""
        positions, velocities = self._line.newest(step).tolist()
        return tuple(positions), tuple(velocities)

    def clear(self) -> None:
        self._line.clear()

    @property
    def state(self) -> bytes:
        return self._line.state


class CameraModel:
    """The images of a camera."""

    def __init__(self, lens: Camera, step_ns: int) -> None:
        self._lens = lens
        self.latency_steps = round(lens.latency_ms * 1e6 / step_ns)
        self.period_steps = max(1, round(1e9 / lens.rate_hz / step_ns))
        self._line = DelayLine(self)

    def wants(self, step: int) -> bool:
        """Whether an image must be rendered at this step, since it will be asked for later."""
        return self._line.wants(step)

    def put(self, step: int, pixels: np.ndarray) -> None:
        self._line.put(step, pixels)
        self._line.newest(step)

    def late(self, step: int) -> np.ndarray:
        """The true image that has arrived at this step; only with latency."""
        return self._line.newest(step)

    def seen(self, pixels: np.ndarray, step: int, seed: int) -> np.ndarray | None:
        """What comes of a true image, uint8 (height, width, 3), at this step; None: it is lost."""
        lens, taken = self._lens, self._taken(step)
        if lens.dropout > 0.0 and _random(seed | _IMAGE_LOSS, taken).random() < lens.dropout:
            return None
        if lens.noise == 0.0:
            return pixels
        noise = _random(seed | _IMAGE_NOISE, taken).standard_normal(pixels.shape, np.float32)
        return np.clip(np.rint(pixels + np.float32(lens.noise) * noise), 0, 255).astype(np.uint8)

    def _taken(self, step: int) -> int:
        if self.latency_steps == 0:
            return step
        return max(0, (step - self.latency_steps) // self.period_steps * self.period_steps)

    def clear(self) -> None:
        self._line.clear()

    @property
    def state(self) -> bytes:
        """Of what is under way; nothing for a camera that is not late."""
        return self._line.state


def _random(key: int, step: int) -> np.random.Generator:
    # The counter's low word counts what a step draws, so the step stands in the next.
    return np.random.Generator(np.random.Philox(key=key, counter=step << 64))
