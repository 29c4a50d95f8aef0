"""The reflex without ROS: bytes and times in, limited velocities and set points out, and why.

    bytes -> cdr -> guard, odometry, flags, commander, joints -> reasons -> states -> gates

Every `on_*` only takes in what arrived; `decide` is the one place where all of it becomes a
verdict. It runs after every scan and on every tick, so a command is never what makes it look.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from safety_reflex import cdr
from safety_reflex.commander import Arbiter, Commander, CommandLimits
from safety_reflex.flags import Flag, MutingTimer, estop_reason
from safety_reflex.gate import Gate, GateLimits
from safety_reflex.guard import Guard, Motions
from safety_reflex.joints import JointGate, JointTimes
from safety_reflex.odometry import Odometry
from safety_reflex.profile import Profile
from safety_reflex.publishers import Publishers
from safety_reflex.reasons import Effect, Reason, effect
from safety_reflex.settings import (
    ENABLE_SILENCE_NS,
    ESTOP_SILENCE_NS,
    FAULT_HOLD_NS,
    Settings,
)
from safety_reflex.states import State, StateLimits, StateMachine
from safety_reflex.times import Instant, Stamps, Timekeeper, fresh

_MS = 1_000_000
# So much faster than a muting allows a robot may measure itself, and count as slow enough.
_MUTED_SLACK_MPS = 0.02


class Reflex:
    """One robot's reflex.

    speed_cap_mps: the outline moves no faster, for a reflex that did not get what it needs of the
    machine. own_prefix: how the GIDs of its own publishers begin.
    """

    def __init__(self, profile: Profile, settings: Settings, *, own_prefix: bytes = b'',
                 speed_cap_mps: float | None = None) -> None:
        self.profile, self._settings, self._cap_mps = profile, settings, speed_cap_mps
        self.guard = Guard(profile, settings)
        self.times = Timekeeper(logical=settings.logical_time, frozen_ns=settings.loop_gap_ns)
        commands = _command_limits(profile, settings)
        self.arbiter = Arbiter(Commander(settings.command_topic, commands),
                               Commander(settings.teleop_topic, commands), settings.neutral_ns)
        limits = profile.limits
        self.gate = Gate(GateLimits(
            limits['max_acceleration_mps2'], limits['max_turn_acceleration_radps2'],
            profile.max_jerk_mps3, limits['braking_mps2'], limits['turn_braking_radps2']))
        self.joints = None if profile.arm is None else JointGate(profile.arm, JointTimes(
            settings.command_timeout_ns, settings.source_timeout_ns, FAULT_HOLD_NS,
            settings.odom_lag_ns, settings.max_stamp_age_ns, settings.max_stamp_ahead_ns))
        self.machine = StateMachine(StateLimits(
            settings.clear_ns, settings.bad_data_latch_ns, settings.neutral_ns,
            reset_expires_ns=5_000 * _MS, field_latches=settings.field_latches))
        self.odometry = Odometry(settings.source_timeout_ns, settings.odom_lag_ns,
                                 settings.odom_tolerance, Stamps(
                                     settings.max_stamp_age_ns, settings.max_stamp_ahead_ns))
        self.estops = {topic: Flag(ESTOP_SILENCE_NS, worse=True)
                       for topic in settings.estop_topics}
        self.enable = Flag(ENABLE_SILENCE_NS, worse=False)
        self.mutings = [MutingTimer(muting, ESTOP_SILENCE_NS) for muting in profile.mutings]
        self._flags = [*self.estops.values(), self.enable, *(m.flag for m in self.mutings)]
        self.publishers = Publishers(own_prefix)
        self._muted: int | None = None
        self._decided_at_ns: int | None = None
        self._joints_at_ns: int | None = None
        self._active: set[Reason] = set()
        self._pace, self._chosen, self._policy_leads = 1.0, '', False

    # What arrives

    def on_scan(self, index: int, data: bytes, at: Instant) -> None:
        scanner = self.guard.scanners[index]
        try:
            scan = cdr.read_scan(data, scanner.lidar.beams)
        except cdr.MalformedMessage:
            scanner.malformed()
            return
        scanner.take(scan, at.now_ns, at.ros_ns, self._muted)
        if not scanner.reasons:
            scanner.remember(data, scan.ranges_at)

    def on_command(self, data: bytes, at: Instant, *, teleop: bool = False) -> None:
        commander = self.arbiter.teleop if teleop else self.arbiter.policy
        try:
            twist = cdr.read_twist_stamped(data)
        except cdr.MalformedMessage:
            commander.fault(Reason.COMMAND_MALFORMED, at.now_ns)
        else:
            commander.command(twist, at.now_ns, at.ros_ns)

    # The verdict

    def glimpse(self, index: int, data: bytes, now_ns: int) -> tuple[int, float, float] | None:
        """What to publish before anything else, when a first look at a scan calls for a stop.

        The same scan goes to `on_scan` and `decide` right afterwards: what costs time in cold
        caches, its checks and its reasons, then delays no brake. None while time is logical.
        """
        before = self._decided_at_ns
        if (self._settings.logical_time or self._muted is not None or before is None
                or Reason.ESCAPING in self._active
                or now_ns - before > self._settings.loop_gap_ns
                or not self.guard.glimpse(index, data)):
            return None
        try:
            stamp_ns = cdr.read_stamp(data)
        except cdr.MalformedMessage:
            return None
        dt_s, _ = self._step(now_ns)
        return (stamp_ns, *self.gate.stop(dt_s))

    def decide(self, at: Instant) -> tuple[int, float, float]:
        """(newest scan stamp, v m/s, w rad/s) to publish now."""
        now_ns = at.now_ns
        dt_s, gap = self._step(now_ns)
        commander = self.arbiter.choose(now_ns)
        wish = commander.wish(now_ns) if commander else (0.0, 0.0)
        self._chosen = commander.topic if commander else ''
        active = self._source_reasons(now_ns)
        active |= gap | self.times.reasons()
        if Reason.CLOCK_JUMPED in active:
            self._forget_stamps()
        active |= self._command_reasons(now_ns, commander)
        motions = (self.odometry.velocity, self.gate.output)
        if self.guard.occupied(motions):
            active.add(Reason.PROTECTIVE_FIELD)
        caps = self._caps(now_ns, motions)
        scale, slower = self.guard.slow_down(wish, caps)
        active |= slower
        self._active = active
        if self.machine.update(
                now_ns, active, sources_fresh=self._sources_fresh(now_ns),
                neutral=commander is not None and commander.neutral(now_ns)):
            self.arbiter.accept_only_after(at.ros_ns)
            self.publishers.accepted()
            if self.joints is not None:
                self.joints.accept_only_after(at.ros_ns)
        self._policy_leads = commander is self.arbiter.policy
        self._pace = self.guard.pace(caps) if self.joints is not None else 1.0
        for flag in self._flags:
            flag.judged()
        if self.machine.may_move:
            v, w = self.gate.drive((scale * wish[0], scale * wish[1]), dt_s)
        elif self._may_escape(commander) and (
                creep := self.guard.escape(wish, caps)) is not None:
            active.add(Reason.ESCAPING)
            v, w = self.gate.drive(creep, dt_s)
        else:
            v, w = self.gate.stop(dt_s)
        self.odometry.granted(now_ns, v, w)
        return max(scanner.stamp_ns for scanner in self.guard.scanners), v, w

    def decide_joints(self, at: Instant) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """The joints' next (positions, velocities); None without an arm, or before it was heard."""
        if self.joints is None:
            return None
        before, self._joints_at_ns = self._joints_at_ns, at.now_ns
        dt_s = 0.0 if before is None else self._bounded_s(at.now_ns - before)
        if self.machine.may_move and self._policy_leads:
            return self.joints.drive(at.now_ns, dt_s, self._pace)
        return self.joints.stop(dt_s)

    def reset(self, at: Instant) -> tuple[bool, str]:
        """An operator's reset: (granted, the sentence for the operator)."""
        granted, sentence = self.machine.request_reset(at.now_ns, self._active)
        if granted:
            self.arbiter.forget()
            if self.joints is not None:
                self.joints.recapture()
        return granted, sentence

    def status(self, now_ns: int) -> Mapping[str, str]:
        """The values of safety/state that this class knows."""
        nearest = self.guard.nearest()
        ages = [now_ns - s.at_ns for s in self.guard.scanners if s.at_ns is not None]
        return {
            'state': self.machine.state,
            'reasons': ','.join(self.machine.reasons(self._active)),
            'source': nearest.source if nearest else '',
            'beam': str(nearest.beam) if nearest else '',
            'distance_m': f'{nearest.distance_m:.3f}' if nearest else '',
            'zone': self.guard.set_in_use.name,
            'muting': '' if self._muted is None else self.mutings[self._muted].muting.name,
            'scan_age_ms': f'{max(ages) / _MS:.1f}' if ages else '',
            'trip_count': str(self.machine.trip_count),
            'command_source': self._chosen,
            'pace': f'{self._pace:.2f}',
            'faulty': ','.join(self._faulty(now_ns)),
            'second_publisher_on': ','.join(self.publishers.topics()),
        }

    @property
    def disobeyed(self) -> bool:
        """The base does not do what it is told: then the last means left is the enable."""
        return Reason.ODOM_CONTRADICTS in self._active

    @property
    def active(self) -> frozenset[Reason]:
        """What held at the last verdict."""
        return frozenset(self._active)

    def _forget_stamps(self) -> None:
        """Stamps from before a jump of the clock say nothing about those after it."""
        self.arbiter.forget_stamps()
        self.odometry.forget_stamps()
        if self.joints is not None:
            self.joints.forget_stamps()

    def _step(self, now_ns: int) -> tuple[float, set[Reason]]:
        before, self._decided_at_ns = self._decided_at_ns, now_ns
        if before is None:
            return 0.0, set()
        gap = {Reason.LOOP_GAP} if now_ns - before > self._settings.loop_gap_ns else set()
        return self._bounded_s(now_ns - before), gap

    def _bounded_s(self, step_ns: int) -> float:
        """Longer pauses, which latch, never become one large step of a ramp."""
        return min(max(step_ns, 0), self._settings.loop_gap_ns) / 1e9

    def _caps(self, now_ns: int, motions: Motions) -> dict[Reason, float]:
        """What limits the speed without anything in a field; and whether a muting may blind one.

        A muting slows at once, and takes effect when the robot is as slow as it asks.
        """
        caps = {Reason.SPEED_CAPPED: self._cap_mps} if self._cap_mps is not None else {}
        if self.mutings:
            active = [muting.active(now_ns) for muting in self.mutings]
            index = active.index(True) if True in active else None
            if index is not None:
                caps[Reason.MUTED] = self.mutings[index].muting.max_speed_mps
                fastest = max(self.guard.outline(*motion) for motion in motions)
                if fastest > caps[Reason.MUTED] + _MUTED_SLACK_MPS:
                    index = None
            self._muted = index
        return caps

    def _may_escape(self, commander: Commander | None) -> bool:
        """An operator, and nothing but an object in the field that holds the robot."""
        stopping = {reason for reason in self._active if effect(reason) >= Effect.STOP}
        return (self.machine.state is State.STOPPED and commander is self.arbiter.teleop
                and stopping == {Reason.PROTECTIVE_FIELD})

    def _command_reasons(self, now_ns: int, commander: Commander | None) -> set[Reason]:
        """What is wrong with the commands of the one who is heard, and only of that one."""
        if commander is None:
            return {Reason.AWAITING_NEUTRAL}
        found = commander.reasons(now_ns)
        if not commander.fresh(now_ns):
            found.add(Reason.COMMAND_STALE)
        if self.joints is not None and commander is self.arbiter.policy:
            found |= self.joints.command_reasons(now_ns)
        return found

    def _faulty(self, now_ns: int) -> list[str]:
        """Names of the scanners and topics of e-stops that something is wrong with."""
        timeout = self._settings.source_timeout_ns
        return [s.name for s in self.guard.scanners
                if s.reasons or not fresh(s.at_ns, now_ns, timeout)] + [
                    topic for topic, flag in self.estops.items() if estop_reason(flag, now_ns)]

    def _source_reasons(self, now_ns: int) -> set[Reason]:
        active = self.odometry.reasons(now_ns) | self.publishers.reasons()
        for scanner in self.guard.scanners:
            active |= scanner.reasons
            if not fresh(scanner.at_ns, now_ns, self._settings.source_timeout_ns):
                active.add(Reason.SCAN_LOST)
        for flag in self.estops.values():
            if (reason := estop_reason(flag, now_ns)) is not None:
                active.add(reason)
        if self._settings.require_enable and not self.enable.holds(now_ns):
            active.add(Reason.ENABLE_LOST)
        if self.joints is not None:
            active |= self.joints.reasons(now_ns)
        return active

    def _sources_fresh(self, now_ns: int) -> bool:
        timeout = self._settings.source_timeout_ns
        return (self.odometry.fresh(now_ns)
                and all(fresh(s.at_ns, now_ns, timeout) for s in self.guard.scanners)
                and all(flag.heard() for flag in self.estops.values())
                and (not self._settings.require_enable or self.enable.holds(now_ns))
                and (self.joints is None or self.joints.fresh(now_ns)))


def _command_limits(profile: Profile, settings: Settings) -> CommandLimits:
    limits = profile.limits
    return CommandLimits(
        limits['max_speed_mps'], limits['max_reverse_mps'], limits['max_turn_radps'],
        settings.command_timeout_ns, FAULT_HOLD_NS,
        settings.max_stamp_age_ns, settings.max_stamp_ahead_ns)


def sentence(state: State, reasons: str) -> str:
    """One sentence for a person: what the reflex does, and why."""
    why = reasons.replace(',', ', ').replace('_', ' ')
    return {
        State.STARTING: 'waiting for every required source',
        State.RUNNING: f'running: {why}' if why else 'running',
        State.SLOWED: f'slowed: {why}',
        State.STOPPED: f'stopped: {why or "clear, waiting before it resumes"}',
        State.LATCHED: f'latched: {why}; needs a reset',
    }[state]
