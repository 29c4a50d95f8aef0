"""What must hold of everything that leaves the reflex, whatever came in: see fuzz_reflex.py."""

import math
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from safety_reflex import cdr
from safety_reflex.profile import Profile
from safety_reflex.reasons import Effect, Reason, effect
from safety_reflex.reflex import Reflex, sentence
from safety_reflex.states import State
from safety_reflex.times import Instant

Array = NDArray[np.float64]
_FREE = (State.RUNNING, State.SLOWED)
_MAX_STEP_S, _PERIOD_NS = 0.25, 20_000_000
# What a command may exceed its limit by, and still be rounding (commander.py, joints.py).
_ROUNDING = 1e-3
_EPS = 1e-9
# joints.py: an arm further than this (rad, m) from its set point is captured where it is.
_HELD_AWAY = 0.2


class RuleBroken(AssertionError):
    """A rule of fuzz_reflex.py does not hold."""


class Rules:
    """Takes one reflex's decisions and raises RuleBroken at the first that is wrong.

    output (v m/s, w rad/s) and joints (positions, velocities; None before the first) are the
    newest that came out.
    """

    def __init__(self, profile: Profile, escape_mps: float, now_ns: int) -> None:
        self._profile, self._escape_mps = profile, escape_mps
        self.output: tuple[float, float] = (0.0, 0.0)
        self.joints: tuple[Array, Array] | None = None
        self._decided_ns = self._joints_ns = now_ns
        self._state, self._granted = State.STARTING, False
        names = profile.arm.names if profile.arm is not None else ()
        self._writer = cdr.TwistStampedWriter('base_link')
        self._joint_writer = cdr.JointTrajectoryWriter(names, _PERIOD_NS)
        self.counts: Counter[str] = Counter()

    def reset(self, reflex: Reflex, at: Instant) -> None:
        """An operator asks the reflex for a reset."""
        self._granted |= reflex.reset(at)[0]

    def decide(self, reflex: Reflex, at: Instant, must_stop: str) -> None:
        """A decision; must_stop says what is known to hold the robot, empty if nothing is."""
        stamp_ns, v, w = reflex.decide(at)
        dt_s, self._decided_ns = self._since(self._decided_ns, at), at.now_ns
        read = cdr.read_twist_stamped(self._writer.write(stamp_ns, v, w))
        _must((read.stamp_ns, read.v_mps, read.w_radps) == (stamp_ns, v, w), 'the writer differs')
        status = reflex.status(at.now_ns)
        reasons = [Reason(name) for name in status['reasons'].split(',') if name]
        state = State(status['state'])
        _must(bool(sentence(state, status['reasons'])), 'there is nothing to say')
        self._check_state(state, reasons, must_stop)
        self._check_velocity(v, w, dt_s, free=state in _FREE, escaping=Reason.ESCAPING in reasons)
        self.output, self._state = (v, w), state
        self.counts[str(state)] += 1
        self.counts['escaping'] += Reason.ESCAPING in reasons
        self.counts['in motion'] += v != 0.0 or w != 0.0
        self._check_joints(reflex, at, free=state in _FREE)

    def early(self, stop: tuple[int, float, float] | None, at: Instant) -> None:
        """What a first look at a scan had published, None if nothing: it can only be a stop."""
        if stop is None:
            return
        stamp_ns, v, w = stop
        dt_s, self._decided_ns = self._since(self._decided_ns, at), at.now_ns
        self._writer.write(stamp_ns, v, w)
        self._check_velocity(v, w, dt_s, free=False, escaping=False)
        self.output = (v, w)
        self.counts['early stops'] += 1

    def _check_state(self, state: State, reasons: list[Reason], must_stop: str) -> None:
        free = state in _FREE
        _must(not (free and any(effect(reason) >= Effect.STOP for reason in reasons)),
              f'{state} with {reasons}')
        _must(not (free and must_stop), f'{state} with {must_stop}')
        if state is State.LATCHED:
            self._granted &= self._state is State.LATCHED
        elif self._state is State.LATCHED:
            _must(self._granted, f'from LATCHED to {state} without a reset')
        _must(self._state is not State.STARTING or not free, f'from STARTING to {state}')

    def _check_velocity(self, v: float, w: float, dt_s: float, *, free: bool,
                        escaping: bool) -> None:
        limits, (old_v, old_w) = self._profile.limits, self.output
        _must(-limits['max_reverse_mps'] - _ROUNDING <= v <= limits['max_speed_mps'] + _ROUNDING,
              f'an output of {v} m/s')
        _must(abs(w) <= limits['max_turn_radps'] + _ROUNDING, f'an output of {w} rad/s')
        for new, old, gain in ((v, old_v, limits['max_acceleration_mps2']),
                               (w, old_w, limits['max_turn_acceleration_radps2'])):
            _must(abs(new) <= abs(old) + gain * dt_s + _EPS, f'from {old} to {new} in {dt_s} s')
        corner_m = self._profile.corner_radius_m
        if free or (escaping and abs(v) + abs(w) * corner_m <= max(
                self._escape_mps, abs(old_v) + abs(old_w) * corner_m) + _ROUNDING):
            return
        for new, old, loss in ((v, old_v, limits['braking_mps2']),
                               (w, old_w, limits['turn_braking_radps2'])):
            wanted = math.copysign(max(abs(old) - loss * dt_s, 0.0), old)
            _must(abs(new - wanted) <= _EPS, f'{new} in a stop, not {wanted}')

    def _check_joints(self, reflex: Reflex, at: Instant, *, free: bool) -> None:
        found, before, arm = reflex.decide_joints(at), self.joints, self._profile.arm
        dt_s, self._joints_ns = self._since(self._joints_ns, at), at.now_ns
        if found is None or arm is None:
            _must(before is None, 'the joints\' stream ceased')
            return
        positions, velocities = self.joints = found[0].copy(), found[1].copy()
        self.counts['joints in motion'] += bool(velocities.any())
        read = cdr.read_joint_trajectory(self._joint_writer.write(0, positions, velocities))
        _must(np.array_equal(read.positions, positions[None]), 'the joint writer differs')
        _must(bool(np.all(np.abs(velocities) <= arm.max_velocity + _EPS)),
              f'joint velocities {velocities}')
        if before is None:
            return
        step = np.abs(positions - before[0])
        captured = not free and not velocities.any() and bool(np.any(step > _HELD_AWAY))
        self.counts['captures that step'] += captured
        # An arm that is beyond a limit is held where it is, and goes no farther.
        _must(captured or bool(np.all((positions >= np.minimum(arm.lower, before[0]) - _EPS)
                                      & (positions <= np.maximum(arm.upper, before[0]) + _EPS))),
              f'joint positions {positions}')
        _must(captured or bool(np.all(step <= arm.max_velocity * dt_s + _EPS)),
              f'joints from {before[0]} to {positions} in {dt_s} s')
        _must(free or bool(np.all(np.abs(velocities) <= np.abs(before[1]) + _EPS)),
              'joints that speed up in a stop')

    @staticmethod
    def _since(before_ns: int, at: Instant) -> float:
        """Seconds, as the reflex counts them: a pause is no step of a ramp."""
        return min(max(at.now_ns - before_ns, 0) / 1e9, _MAX_STEP_S)


def _must(holds: bool, what: str) -> None:
    if not holds:
        raise RuleBroken(what)
