"""Position-controlled joints: what of a trajectory reaches the controllers, and their stop.

A zero is safe for a velocity, but for a position it means 'go to the zero pose'. So a stop here is:
decelerate, capture the position once, and stream that. A freshly measured position each cycle would
sink under gravity. Once means once: until an operator resets, or until the arm has been elsewhere
for so long that it is held, or without drives.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from safety_reflex import cdr
from safety_reflex.profile import ArmLimits
from safety_reflex.reasons import Reason
from safety_reflex.times import Instant, Stamps, fresh

Array = NDArray[np.float64]
# Of a commanded position or velocity; below it lies the rounding of a float32 policy.
_ROUNDING = 1e-3
_LONGEST_S = 10.0
_RESTING = 1e-6
# An arm this far (rad, m) from its set point is held by something, or has no drives.
_TRACKING = 0.2
# Two samples that agree so well are where the arm is; one alone may be anything.
_AGREEING = 0.05


@dataclass(frozen=True)
class JointTimes:
    """Nanoseconds; see CommandLimits."""

    timeout_ns: int
    measured_timeout_ns: int
    fault_hold_ns: int
    lag_ns: int
    max_age_ns: int
    max_ahead_ns: int


class JointGate:
    """Trajectories in, one limited set point a cycle out. Arrays are (joints,), SI units."""

    def __init__(self, arm: ArmLimits, times: JointTimes) -> None:
        self._arm, self._times = arm, times
        self._names = tuple(name.encode() for name in arm.names)
        self._stamps = Stamps(times.max_age_ns, times.max_ahead_ns)
        self._state_stamps = Stamps(times.max_age_ns, times.max_ahead_ns)
        self._last = b''
        self._order: tuple[tuple[bytes, ...], Array] | None = None
        self._faults: dict[Reason, int] = {}
        self._bad: Reason | None = None
        self._measured_at_ns: int | None = None
        self._measured: Array | None = None
        self._settled = False                               # the last two samples agree
        self._far_since_ns: int | None = None
        self._plan: tuple[Array, Array] | None = None      # times (k,), positions (k, joints)
        self._plan_at_ns: int | None = None
        self._plan_s = 0.0
        self._gain = np.zeros(len(arm.names))
        self._velocity = np.zeros(len(arm.names))
        self._position: Array | None = None                 # None until it was captured
        self._capture_due = True

    # What arrives

    def on_joint_state(self, data: bytes, at: Instant) -> None:
        try:
            joints = cdr.read_joint_state(data)
            if self._order is None or self._order[0] != joints.names:
                self._order = joints.names, np.array([joints.names.index(name)
                                                      for name in self._names])
        except ValueError:  # MalformedMessage, or a joint of ours that is not in it
            self._bad = Reason.JOINTS_MALFORMED
            return
        positions = joints.positions[self._order[1]]
        self._measured_at_ns, self._bad = at.now_ns, None
        if not np.all(np.isfinite(positions)):
            self._bad = Reason.JOINTS_NOT_FINITE
        elif not self._state_stamps.believable(joints.stamp_ns, at.ros_ns):
            self._bad = Reason.JOINTS_STAMP
        else:
            self._settled = self._measured is not None and bool(
                np.all(np.abs(positions - self._measured) <= _AGREEING))
            self._measured = positions

    def on_command(self, data: bytes, at: Instant) -> None:
        if data == self._last:
            return  # the same message again says nothing new; silence will make it stale
        self._last = data
        try:
            trajectory = cdr.read_joint_trajectory(data)
        except cdr.MalformedMessage:
            fault: Reason | None = Reason.COMMAND_MALFORMED
        else:
            fault = self._fault(trajectory, at.ros_ns)
        if fault is not None:
            self._faults[fault] = at.now_ns
            self.forget()
        elif self._stamps.may_move(trajectory.stamp_ns) and self._position is not None:
            self._plan = (np.concatenate(([0.0], trajectory.times_s)),
                          np.concatenate((self._position[None], trajectory.positions)))
            self._plan_at_ns, self._plan_s = at.now_ns, 0.0

    # What holds

    def forget(self) -> None:
        """Drop the plan: the next movement needs a fresh trajectory."""
        self._plan, self._plan_at_ns = None, None

    def recapture(self) -> None:
        """An operator has reset: the arm is held, and goes on, from where it is."""
        self.forget()
        self._capture_due = True

    def forget_stamps(self) -> None:
        self._stamps.forget()
        self._state_stamps.forget()
        self.forget()

    def accept_only_after(self, stamp_ns: int) -> None:
        self._stamps.accept_only_after(stamp_ns)
        self.forget()

    def fresh(self, now_ns: int) -> bool:
        return fresh(self._measured_at_ns, now_ns, self._times.measured_timeout_ns)

    def command_reasons(self, now_ns: int) -> set[Reason]:
        """What is wrong with the trajectories."""
        return {reason for reason, at_ns in self._faults.items()
                if now_ns - at_ns < self._times.fault_hold_ns}

    def reasons(self, now_ns: int) -> set[Reason]:
        """What is wrong with the measured joints. A contradiction is told once, and ends there."""
        found = set() if self._bad is None else {self._bad}
        if not self.fresh(now_ns):
            return found | {Reason.JOINTS_LOST}
        if self._measured is None or self._position is None or not np.any(
                np.abs(self._measured - self._position) > _TRACKING):
            self._far_since_ns = None
        elif self._far_since_ns is None:
            self._far_since_ns = now_ns
        elif now_ns - self._far_since_ns >= self._times.lag_ns:
            found.add(Reason.JOINTS_CONTRADICT)
            self._far_since_ns, self._capture_due = None, True
        return found

    # What leaves

    def drive(self, now_ns: int, dt_s: float, scale: float) -> tuple[Array, Array] | None:
        """The next (positions, velocities) along the plan.

        scale: of a slow-down, 0 to 1. It stretches the plan's time, and lowers the joints' largest
        velocity too: of a stream of short plans there is no time to stretch.
        """
        if self._plan is None or self._capture_due or not fresh(
                self._plan_at_ns, now_ns, self._times.timeout_ns):
            return self.stop(dt_s)
        self._plan_s += scale * dt_s
        times_s, positions = self._plan
        goal = np.array([np.interp(self._plan_s, times_s, column) for column in positions.T])
        return self._towards(goal, dt_s, scale * self._arm.max_velocity)

    def stop(self, dt_s: float) -> tuple[Array, Array] | None:
        """The next set point of a stop; None while nobody knows where the joints are."""
        self.forget()
        if (self._capture_due and self._measured is not None and self._settled
                and self._bad is None):
            self._position, self._velocity = self._measured.copy(), np.zeros(len(self._measured))
            self._capture_due = False
        if self._position is None:
            return None
        self._gain[:] = 0.0
        loss = self._arm.braking * dt_s
        self._velocity = np.sign(self._velocity) * np.maximum(np.abs(self._velocity) - loss, 0.0)
        return self._step(dt_s)

    def _towards(self, goal: Array, dt_s: float, fastest: Array) -> tuple[Array, Array]:
        """Follow a goal within velocity, acceleration and jerk, always able to end at it."""
        arm = self._arm
        assert self._position is not None
        if dt_s <= 0.0:
            return self._position, self._velocity
        left = goal - self._position
        # The largest velocity from which braking in steps of dt still ends at the goal:
        # v dt + v^2 / 2b <= |left|.
        ends = arm.braking * (np.sqrt(dt_s ** 2 + 2 * np.abs(left) / arm.braking) - dt_s)
        wanted = np.sign(left) * np.minimum(ends, fastest)
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
        # An arm that was captured beyond a limit may stay there, and come back; no more.
        self._position = np.clip(self._position + self._velocity * dt_s,
                                 np.minimum(self._arm.lower, self._position),
                                 np.maximum(self._arm.upper, self._position))
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
