"""What the drives of an arm make of streamed set points, within their limits. Pure arithmetic.

A set point is a position, a velocity, and how far ahead of now it lies. Between two of them the
goal moves on with that velocity, so a stream of them is a smooth motion. Each drive has a reference
that follows the goal, speeding up by no more than `max_acceleration` and slowing down by `braking`;
the servo then pulls the joint towards its reference.

Without a fresh set point a drive brakes and holds the reference where it came to rest. It does not
go slack, as a bus servo does not while its torque is on: an arm that falls when a program ends
breaks what the base's stop leaves alone. And it does not hold what is *measured*: the joint hangs
below the reference by its weight over the servo's stiffness, and each new measurement taken for the
goal would let it sink by as much again.
"""

import math
from collections.abc import Sequence

from .arm import Arm, Joint
from .drive import ramp

# Of an error, rad, towards rad/s: how fast a reference makes up for what it is behind.
_GAIN = 10.0


class ArmDrive:
    """The references of all joints, in the order of the arm's file; rad, rad/s."""

    def __init__(self, arm: Arm, timeout_s: float) -> None:
        """timeout_s: after which a set point that nothing followed is stale."""
        self._joints = arm.joints
        self._timeout_ns = round(timeout_s * 1e9)
        self.positions = list(arm.rest)
        self.velocities = [0.0] * len(arm.joints)
        self._goal: tuple[tuple[float, ...], tuple[float, ...]] | None = None
        self._ahead_ns = 0
        self._commanded_ns = 0

    def command(self, positions: Sequence[float], velocities: Sequence[float], ahead_s: float,
                now_ns: int) -> None:
        """Be at these positions, with these velocities, in ahead_s seconds.

        Clips to the limits. Raises ValueError for a wrong count or a number that is not finite.
        """
        count = len(self._joints)
        if len(positions) != count or len(velocities) != count:
            raise ValueError(f'a set point of {len(positions)} positions and {len(velocities)} '
                             f'velocities is not for {count} joints')
        if not all(map(math.isfinite, (*positions, *velocities, ahead_s))) or ahead_s < 0.0:
            raise ValueError('a set point is not finite, or lies in the past')
        self._goal = tuple(positions), tuple(velocities)
        # Farther ahead than it is valid for, it would be stale before it is reached.
        self._ahead_ns = min(round(ahead_s * 1e9), self._timeout_ns)
        self._commanded_ns = now_ns

    def hold(self) -> None:
        """Brake, and stay."""
        self._goal = None

    @property
    def state(self) -> tuple[object, ...]:
        """All that the next references depend on."""
        return (tuple(self.positions), tuple(self.velocities), self._goal, self._ahead_ns,
                self._commanded_ns)

    def next(self, now_ns: int, dt: float) -> None:
        """Move the references on by dt, beginning at now_ns."""
        age_ns = now_ns - self._commanded_ns
        if age_ns > self._timeout_ns:
            self._goal = None
        broken_off = age_ns > 2 * self._ahead_ns    # the next one of a stream is long due
        for i, joint in enumerate(self._joints):
            wanted = 0.0
            if self._goal is not None:
                position, velocity = self._goal[0][i], self._goal[1][i]
                if velocity == 0.0 or not broken_off:
                    goal = position + velocity * (age_ns - self._ahead_ns) * 1e-9
                    goal = min(max(goal, joint.lower), joint.upper)
                    wanted = velocity + approach(goal - self.positions[i], joint.braking)
            self._follow(i, joint, wanted, dt)

    def _follow(self, i: int, joint: Joint, wanted: float, dt: float) -> None:
        wanted = min(max(wanted, -joint.max_velocity), joint.max_velocity)
        before = self.velocities[i]
        self.velocities[i] = ramp(before, wanted, joint.max_acceleration, joint.braking, dt)
        self.positions[i] += 0.5 * (before + self.velocities[i]) * dt


def approach(error: float, braking: float) -> float:
    """The velocity that makes up an error: in proportion to a small one, and towards a large one
    as fast as `braking` still ends at it.

    The two meet without a step in velocity or slope at e0 = braking / gain^2, where the root is
    that of v^2 = 2 braking (e - e0 / 2).
    """
    near = braking / (_GAIN * _GAIN)
    size = abs(error)
    speed = _GAIN * size if size <= near else math.sqrt(2.0 * braking * (size - 0.5 * near))
    return math.copysign(speed, error)
