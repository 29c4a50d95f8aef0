"""Position-controlled joints: what of a trajectory reaches the controllers, and their stop.

A zero is safe for a velocity, but for a position it means 'go to the zero pose'. So a stop here is:
decelerate, capture the position once, and stream that. A freshly measured position each cycle would
sink under gravity.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from safety_reflex import cdr
from safety_reflex.commander import Stamps
from safety_reflex.profile import ArmLimits
from safety_reflex.reasons import Reason
from safety_reflex.times import fresh

Array = NDArray[np.float64]
# Of a commanded position or velocity; below it lies the rounding of a float32 policy.
_ROUNDING = 1e-3
_LONGEST_S = 10.0
_RESTING = 1e-6
# An arm this far (rad, m) from its set point is held by something: it is captured where it is.
_TRACKING = 0.2


@dataclass(frozen=True)
class JointTimes:
    """Nanoseconds; see CommandLimits."""

    timeout_ns: int
    measured_timeout_ns: int
    fault_hold_ns: int
    max_age_ns: int
    max_ahead_ns: int


class JointGate:
    """Trajectories in, one limited set point a cycle out. Arrays are (joints,), SI units."""

    def __init__(self, arm: ArmLimits, times: JointTimes) -> None:
        self._arm, self._times = arm, times
        self._names = tuple(name.encode() for name in arm.names)
        self._stamps = Stamps(times.max_age_ns, times.max_ahead_ns)
        self._order: tuple[tuple[bytes, ...], Array] | None = None
        self._faults: dict[Reason, int] = {}
        self._bad: Reason | None = None
        self._measured_at_ns: int | None = None
        self._measured = self._measured_before = np.zeros(len(arm.names))
        self._plan: tuple[Array, Array] | None = None      # times (k,), positions (k, joints)
        self._plan_at_ns: int | None = None
        self._plan_s = 0.0
        self._gain = np.zeros(len(arm.names))
        self._velocity = np.zeros(len(arm.names))
        self._position: Array | None = None                 # None until it was captured
        self._captured = False

    # What arrives

    def on_joint_state(self, data: bytes, now_ns: int) -> None:
        try:
            joints = cdr.read_joint_state(data)
            if self._order is None or self._order[0] != joints.names:
                self._order = joints.names, np.array([joints.names.index(name)
                                                      for name in self._names])
        except ValueError:  # MalformedMessage, or a joint of ours that is not in it
            self._bad = Reason.JOINTS_MALFORMED
            return
        positions = joints.positions[self._order[1]]
        self._measured_at_ns, self._bad = now_ns, None
        if np.all(np.isfinite(positions)):
            self._measured_before, self._measured = self._measured, positions
        else:
            self._bad = Reason.JOINTS_NOT_FINITE

    def on_command(self, data: bytes, now_ns: int, ros_ns: int) -> None:
        try:
            trajectory = cdr.read_joint_trajectory(data)
        except cdr.MalformedMessage:
            fault: Reason | None = Reason.COMMAND_MALFORMED
        else:
            fault = self._fault(trajectory, ros_ns)
        if fault is not None:
            self._faults[fault] = now_ns
            self.forget()
        elif self._stamps.may_move(trajectory.stamp_ns) and self._position is not None:
            self._plan = (np.concatenate(([0.0], trajectory.times_s)),
                          np.concatenate((self._position[None], trajectory.positions)))
            self._plan_at_ns, self._plan_s = now_ns, 0.0

    # What holds

    def forget(self) -> None:
        """Drop the plan: the next movement needs a fresh trajectory."""
        self._plan, self._plan_at_ns = None, None

    def forget_stamps(self) -> None:
        self._stamps.forget()
        self.forget()

    def accept_only_after(self, stamp_ns: int) -> None:
        self._stamps.accept_only_after(stamp_ns)
        self.forget()

    def fresh(self, now_ns: int) -> bool:
        return fresh(self._measured_at_ns, now_ns, self._times.measured_timeout_ns)

    def reasons(self, now_ns: int) -> set[Reason]:
        found = {reason for reason, at_ns in self._faults.items()
                 if now_ns - at_ns < self._times.fault_hold_ns}
        if self._bad is not None:
            found.add(self._bad)
        if not self.fresh(now_ns):
            found.add(Reason.JOINTS_LOST)
        return found

    # What leaves

    def drive(self, now_ns: int, dt_s: float, scale: float) -> tuple[Array, Array] | None:
        """The next (positions, velocities) along the plan; a slow-down stretches its time."""
        if self._plan is None or not fresh(self._plan_at_ns, now_ns,
                                           self._times.timeout_ns + int(self._plan[0][-1] * 1e9)):
            return self.stop(dt_s)
        self._plan_s += scale * dt_s
        times_s, positions = self._plan
        goal = np.array([np.interp(self._plan_s, times_s, column) for column in positions.T])
        return self._towards(goal, dt_s)

    def stop(self, dt_s: float) -> tuple[Array, Array] | None:
        """The next set point of a stop; None before the joints were ever measured."""
        if self._position is None:
            if self._measured_at_ns is None or self._bad is not None:
                return None
            self._position = np.clip(self._measured, self._arm.lower, self._arm.upper)
        self.forget()
        self._gain[:] = 0.0
        loss = self._arm.braking * dt_s
        self._velocity = np.sign(self._velocity) * np.maximum(np.abs(self._velocity) - loss, 0.0)
        if not self._captured and not self._velocity.any():
            self._captured = True
            # Two samples: a single wrong one must not send the arm anywhere.
            far = np.minimum(np.abs(self._measured - self._position),
                             np.abs(self._measured_before - self._position)) > _TRACKING
            self._position = np.where(far, self._measured, self._position)
        return self._step(dt_s)

    def _towards(self, goal: Array, dt_s: float) -> tuple[Array, Array]:
        """Follow a goal within velocity, acceleration and jerk, always able to end at it."""
        arm = self._arm
        assert self._position is not None
        if dt_s <= 0.0:
            return self._position, self._velocity
        self._captured = False
        left = goal - self._position
        # The largest velocity from which braking in steps of dt still ends at the goal:
        # v dt + v^2 / 2b <= |left|.
        ends = arm.braking * (np.sqrt(dt_s ** 2 + 2 * np.abs(left) / arm.braking) - dt_s)
        wanted = np.sign(left) * np.minimum(ends, arm.max_velocity)
        self._gain = np.minimum(self._gain + arm.max_jerk * dt_s, arm.max_acceleration)
        faster = (wanted * self._velocity >= 0) & (np.abs(wanted) > np.abs(self._velocity))
        # Slowing down goes through zero first, with the braking limit.
        wanted = np.where(wanted * self._velocity < 0, 0.0, wanted)
        step = np.where(faster, self._gain, arm.braking) * dt_s
        self._gain = np.where(faster, self._gain, 0.0)
        self._velocity = np.clip(wanted, self._velocity - step, self._velocity + step)
        return self._step(dt_s)

    def _step(self, dt_s: float) -> tuple[Array, Array]:
        assert self._position is not None
        self._velocity[np.abs(self._velocity) < _RESTING] = 0.0
        self._position = np.clip(self._position + self._velocity * dt_s,
                                 self._arm.lower, self._arm.upper)
        return self._position, self._velocity

    def _fault(self, trajectory: cdr.Trajectory, ros_ns: int) -> Reason | None:
        arm, positions, times_s = self._arm, trajectory.positions, trajectory.times_s
        if trajectory.names != self._names:
            return Reason.COMMAND_JOINTS  # unknown, missing, or in another order
        if not (np.all(np.isfinite(positions)) and np.all(np.isfinite(times_s))):
            return Reason.COMMAND_NOT_FINITE
        if not self._stamps.believable(trajectory.stamp_ns, ros_ns):
            return Reason.COMMAND_STAMP
        if times_s[0] <= 0.0 or np.any(np.diff(times_s) <= 0.0) or times_s[-1] > _LONGEST_S:
            return Reason.COMMAND_MALFORMED
        if np.any(positions < arm.lower - _ROUNDING) or np.any(positions > arm.upper + _ROUNDING):
            return Reason.COMMAND_OVER_LIMIT
        speeds = np.abs(np.diff(positions, axis=0)) / np.diff(times_s)[:, None]
        return (Reason.COMMAND_OVER_LIMIT
                if np.any(speeds > arm.max_velocity * (1 + _ROUNDING)) else None)
