"""The protocol of a simulated world: what every engine offers, whatever is behind it.

Time is integer nanoseconds of the world itself; units are SI; angles are radians; the frame is the
world's, which equals `odom` (REP-103, REP-105). A world never reads a clock: it goes on when
`step` is called, so a verdict does not depend on how fast the computer is.
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from .robot import Robot
from .scenario import Scenario

# ROS takes a stamp of zero for 'no time', so a world's first instant is one second.
START_NS = 1_000_000_000


class WorldError(RuntimeError):
    """A world cannot do what was asked; the message says what and why."""


@dataclasses.dataclass(frozen=True)
class Odometry:
    """What the wheels say: pose (x, y, yaw) in `odom` and twist (v, w) in `base_link`."""

    pose: tuple[float, float, float]
    twist: tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Frame:
    """Everything that can be known at one instant. The arrays are the reader's to keep."""

    t_ns: int                                   # START_NS after a reset
    robot: tuple[float, float, float]           # x, y, yaw: the truth
    twist: tuple[float, float]                  # v, w: the truth
    odometry: Odometry
    joint_positions: tuple[float, ...]          # left and right wheel, then the arm's, rad
    joint_velocities: tuple[float, ...]         # rad/s
    ranges: np.ndarray                          # float32 (beams,), metres; REP-117: +inf, -inf
    image: np.ndarray | None                    # uint8 (height, width, 3) RGB
    people: np.ndarray                          # float64 (n, 4): x, y, vx, vy
    clearance_m: float                          # outline to nearest person; +inf with nobody
    contact: int                                # who touched since the frame before, or -1

    def truth(self, camera: bool) -> dict[str, Any]:
        """The record of `world/truth` (docs/contracts.md); a clearance to nobody is null."""
        return {
            't_ns': self.t_ns,
            'robot': [*self.robot, *self.twist],
            'people': self.people.tolist(),
            'clearance_m': self.clearance_m if np.isfinite(self.clearance_m) else None,
            'contact': self.contact,
            'camera': camera,
        }

    def digest(self) -> str:
        """sha256 over the whole frame, image included: equal digests mean equal bytes."""
        digest = hashlib.sha256()
        numbers = (*self.robot, *self.twist, *self.odometry.pose, *self.odometry.twist,
                   *self.joint_positions, *self.joint_velocities, self.clearance_m)
        digest.update(np.array([self.t_ns, self.contact], np.int64).tobytes())
        digest.update(np.array(numbers, np.float64).tobytes())
        for array in (self.ranges, self.people, self.image):
            digest.update(b'none' if array is None else array.tobytes())
        return digest.hexdigest()


class World(Protocol):
    """A robot among racks and people. Used by one thread."""

    step_ns: int        # physics period

    @property
    def has_camera(self) -> bool:
        """False: frames carry no image, whatever is asked."""

    @property
    def t_ns(self) -> int:
        """The world's time: START_NS after a reset."""

    @property
    def scenario(self) -> Scenario:
        """What was loaded. Raises WorldError before that."""

    @property
    def robot(self) -> Robot:
        """What was loaded. Raises WorldError before that."""

    def load(self, scenario: Scenario, robot: Robot, seed: int = 0) -> None:
        """Build the scene and reset it. Raises WorldError."""

    def reset(self, seed: int) -> None:
        """Everything back to the start, with people and noise drawn anew from the seed."""

    def command(self, v_mps: float, w_radps: float) -> None:
        """Ask for a twist, held until the next command or until it is stale.

        Clipped to the robot's limits. Raises ValueError for a number that is not finite.
        """

    def command_arm(self, positions: Sequence[float], velocities: Sequence[float],
                    ahead_s: float) -> None:
        """Ask the arm's drives to be there (rad, rad/s) in ahead_s; held once that is stale.

        Clipped to the joints' limits. Raises ValueError for a wrong count or a number that is not
        finite, WorldError without an arm.
        """

    def hold_arm(self) -> None:
        """Let the arm's drives brake and stay. Raises WorldError without an arm."""

    def step(self, n: int = 1) -> None:
        """Exactly n physics steps."""

    def frame(self, render: bool = False) -> Frame:
        """The present instant. Asking twice gives the same ranges; only render costs anew."""

    def close(self) -> None:
        """Give back what the engine holds; a second call does nothing."""
