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

from .entities import Bounds, Entity, Pose, Resource, Scope, State
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
    joint_positions: tuple[float, ...]          # of Robot.told_names: wheels, arm's; rad
    joint_velocities: tuple[float, ...]         # rad/s
    ranges: np.ndarray                          # float32 (beams,), metres; REP-117: +inf, -inf
    image: np.ndarray | None                    # uint8 (height, width, 3) RGB; None too if lost
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
        """The world's time: START_NS after a reset of Scope.TIME, and exact for ever."""

    @property
    def scenario(self) -> Scenario:
        """What was loaded. Raises WorldError before that."""

    @property
    def robot(self) -> Robot:
        """What was loaded. Raises WorldError before that."""

    def load(self, scenario: Scenario, robot: Robot, seed: int = 0) -> None:
        """Build the scene and reset all of it. Raises WorldError."""

    def reset(self, seed: int, scope: Scope = Scope.ALL) -> None:
        """Back to the start, as far as the scope says and no farther.

        TIME: t_ns is START_NS, and nothing else changes. STATE: poses, velocities, commands and
        walks, with people and noise drawn anew from the seed; what was spawned is where it was
        spawned. SPAWNED: what was spawned is gone. ALL: equal to newly loaded, bit for bit.
        """

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

    def entities(self) -> tuple[Entity, ...]:
        """The robot, the people, and what was spawned, in this order; racks and walls are none."""

    def state(self, name: str) -> State:
        """The truth. Raises EntityError (NOT_FOUND)."""

    def set_state(self, name: str, state: State) -> None:
        """Be there at once, moving so. The robot's drives go on from it; a person leaves their
        walk and goes straight on; what is static takes no twist.

        Raises EntityError (NOT_FOUND, POSE_INVALID, REFUSED).
        """

    def spawn(self, name: str, resource: Resource, pose: Pose) -> None:
        """Put a new thing there, seen by lidar and camera. The state of the rest does not change.

        Raises EntityError (NAME_TAKEN, NAME_INVALID, POSE_INVALID, RESOURCE, REFUSED).
        """

    def delete(self, name: str) -> None:
        """Take a person or a spawned thing away. Raises EntityError (NOT_FOUND, REFUSED)."""

    def spawnables(self) -> tuple[Resource, ...]:
        """One of each kind, with the size that it has if none is said."""

    def bounds(self, name: str) -> Bounds:
        """In the entity's own frame. Raises EntityError (NOT_FOUND)."""

    def digest(self) -> str:
        """sha256 over all that the future depends on: equal digests mean equal futures.

        Asking for frames, or not, makes no difference to it.
        """

    def close(self) -> None:
        """Give back what the engine holds; a second call does nothing."""
