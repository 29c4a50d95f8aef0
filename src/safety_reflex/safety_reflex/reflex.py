"""The reflex without ROS: bytes and times in, one limited velocity out, and why.

    bytes -> cdr -> scan_check, fields, gate -> reasons -> states -> velocity

Every callback only takes in what arrived; `decide` is the one place where all of it becomes a
verdict. It runs after every scan and on every tick, so a command is never what makes it look.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from safety_reflex import cdr
from safety_reflex.fields import BeamLimits, beam_limits
from safety_reflex.gate import Gate, GateLimits
from safety_reflex.profile import Lidar, Profile, ProfileError
from safety_reflex.reasons import Reason
from safety_reflex.scan_check import ScanCheck, ScanLimits
from safety_reflex.states import State, StateLimits, StateMachine

_MILLISECOND = 1_000_000
# Longer pauses of the loop never become one large step of a ramp.
_MAX_STEP_S = 0.05


@dataclass(frozen=True)
class Settings:
    """What a target chooses; times in nanoseconds, shares of one."""

    source_timeout_ns: int
    command_timeout_ns: int
    clear_ns: int
    neutral_ns: int
    bad_data_latch_ns: int
    loop_gap_ns: int
    max_invalid_share: float
    max_nothing_share: float
    max_blocked_rad: float
    frozen_scans: int
    command_source: str


@dataclass(frozen=True, slots=True)
class Sighting:
    """The nearest object inside the field that decided: which scanner, beam, and how far."""

    source: str
    beam: int
    distance_m: float


class _Source:
    """One scanner: its checks, its beam limits for every field set, its last verdict."""

    def __init__(self, lidar: Lidar, profile: Profile, settings: Settings) -> None:
        self.lidar = lidar
        self.check = ScanCheck(ScanLimits(
            lidar.beams, lidar.angle_min_rad, lidar.angle_increment_rad,
            settings.max_invalid_share, settings.max_nothing_share, settings.max_blocked_rad,
            settings.frozen_scans))
        self.fields: list[BeamLimits] = [
            beam_limits(s.polygon, lidar.pose, lidar.angle_min_rad, lidar.angle_increment_rad,
                        lidar.beams) for s in profile.sets]
        self.at_ns: int | None = None
        self.stamp_ns = 0
        self.reasons: set[Reason] = set()
        # Field sets hold each other: the largest clear one is all there is to know. -1: none is.
        self.clear_set = -1
        self.sighting: Sighting | None = None

    def take(self, scan: cdr.Scan, now_ns: int, min_points: int) -> None:
        self.at_ns, self.stamp_ns = now_ns, scan.stamp_ns
        self.reasons = self.check.check(scan)
        if Reason.SCAN_GEOMETRY in self.reasons:
            self.clear_set = -1
            return
        # Too close to measure (-inf, or below the scanner's minimum) is inside every field.
        ranges = np.where(scan.ranges < scan.range_min_m, np.float32(0), scan.ranges)
        too_close = int(np.count_nonzero(ranges == 0))
        self.clear_set, self.sighting = len(self.fields) - 1, None
        while self.clear_set >= 0 and (
                too_close + self.fields[self.clear_set].count(ranges) >= min_points):
            self.clear_set -= 1
        if self.clear_set < len(self.fields) - 1:
            limits = self.fields[self.clear_set + 1]
            inside = (ranges == 0) | ((ranges <= limits.far) & (ranges >= limits.near))
            beam = int(np.argmin(np.where(inside, ranges, np.inf)))
            self.sighting = Sighting(self.lidar.name, beam, float(ranges[beam]))


class Reflex:
    """One robot's reflex. All `now_ns` come from one clock that never goes back."""

    def __init__(self, profile: Profile, settings: Settings, estops: tuple[str, ...] = ()) -> None:
        if profile.approach.reaction_s * 1e9 < settings.source_timeout_ns:
            raise ProfileError(
                f'reaction_s = {profile.approach.reaction_s}: must not be shorter than the source '
                f'timeout of {settings.source_timeout_ns / 1e9} s, for which a lost scan is unseen')
        self._profile, self._settings = profile, settings
        self._sources = [_Source(lidar, profile, settings) for lidar in profile.lidars]
        limits = profile.limits
        self.gate = Gate(GateLimits(
            **{key: limits[key] for key in (
                'max_speed_mps', 'max_reverse_mps', 'max_turn_radps', 'max_acceleration_mps2',
                'max_turn_acceleration_radps2', 'braking_mps2', 'turn_braking_radps2')},
            command_timeout_ns=settings.command_timeout_ns, fault_hold_ns=500 * _MILLISECOND))
        self.machine = StateMachine(StateLimits(
            settings.clear_ns, settings.bad_data_latch_ns, settings.neutral_ns,
            reset_expires_ns=5_000 * _MILLISECOND))
        self._measured = (0.0, 0.0)
        self._odom_at_ns: int | None = None
        self._odom_reason: Reason | None = None
        self._estops: dict[str, tuple[int, bool] | None] = dict.fromkeys(estops)
        self._second_publishers: dict[str, int] = {}
        self._decided_at_ns: int | None = None
        self._active: set[Reason] = set()
        self._set_in_use = 0

    def on_scan(self, index: int, data: bytes, now_ns: int) -> None:
        source = self._sources[index]
        try:
            scan = cdr.read_scan(data, source.lidar.beams)
        except cdr.MalformedMessage:
            source.reasons, source.clear_set = {Reason.SCAN_MALFORMED}, -1
            return
        source.take(scan, now_ns, self._profile.min_points)

    def on_odometry(self, data: bytes, now_ns: int) -> None:
        try:
            twist = cdr.read_odometry(data)
        except cdr.MalformedMessage:
            self._odom_reason = Reason.ODOM_MALFORMED
            return
        self._odom_at_ns, self._odom_reason = now_ns, None
        if np.isfinite(twist.v_mps) and np.isfinite(twist.w_radps):
            self._measured = (twist.v_mps, twist.w_radps)
        else:
            self._odom_reason = Reason.ODOM_NOT_FINITE

    def on_command(self, data: bytes, now_ns: int) -> None:
        try:
            self.gate.command(now_ns, cdr.read_twist_stamped(data))
        except cdr.MalformedMessage:
            self.gate.fault(now_ns, Reason.COMMAND_MALFORMED)

    def on_estop(self, name: str, data: bytes, now_ns: int) -> None:
        try:
            pressed = cdr.read_bool(data)
        except cdr.MalformedMessage:
            pressed = True
        self._estops[name] = (now_ns, pressed)

    def on_publishers(self, topic: str, extra: int) -> None:
        """How many publishers a protected topic has beyond the one that it should have."""
        self._second_publishers[topic] = extra

    def decide(self, now_ns: int, ros_now_ns: int) -> tuple[int, float, float]:
        """(newest scan stamp, v m/s, w rad/s) to publish now.

        ros_now_ns only stamps the end of a reset: commands stamped earlier never run.
        """
        dt_s, gap = self._step(now_ns)
        active = self._reasons(now_ns) | gap
        speed = self._speed()
        sets = self._profile.sets
        needed = next((i for i, s in enumerate(sets) if s.max_speed_mps >= speed - 1e-9),
                      len(sets) - 1)
        clear_set = min(source.clear_set for source in self._sources)
        if clear_set < needed:
            active.add(Reason.PROTECTIVE_FIELD)
        scale = self._slow_down(now_ns, clear_set)
        if scale < 1.0:
            active.add(Reason.WARNING_FIELD)
        self._set_in_use, self._active = needed, active
        fresh = self._sources_fresh(now_ns)
        if self.machine.update(now_ns, active, sources_fresh=fresh,
                               neutral=self.gate.neutral(now_ns)):
            self.gate.accept_only_after(ros_now_ns)
        if self.machine.may_move:
            v, w = self.gate.drive(now_ns, dt_s, scale)
        else:
            v, w = self.gate.stop(dt_s)
        return max(source.stamp_ns for source in self._sources), v, w

    def reset(self, now_ns: int) -> tuple[bool, str]:
        """An operator's reset: (granted, the sentence for the operator)."""
        granted, sentence = self.machine.request_reset(now_ns, self._active)
        if granted:
            self.gate.forget()
        return granted, sentence

    def status(self, now_ns: int) -> Mapping[str, str]:
        """The values of safety/state that this class knows."""
        shown = self.machine.reasons(self._active)
        sightings = [s.sighting for s in self._sources if s.sighting is not None]
        nearest = min(sightings, key=lambda s: s.distance_m, default=None)
        ages = [now_ns - s.at_ns for s in self._sources if s.at_ns is not None]
        extra = [topic for topic, count in self._second_publishers.items() if count > 0]
        return {
            'state': self.machine.state,
            'reasons': ','.join(shown),
            'source': nearest.source if nearest else '',
            'beam': str(nearest.beam) if nearest else '',
            'distance_m': f'{nearest.distance_m:.3f}' if nearest else '',
            'zone': f'{self._profile.sets[self._set_in_use].max_speed_mps:.2f}',
            'scan_age_ms': f'{max(ages) / _MILLISECOND:.1f}' if ages else '',
            'trip_count': str(self.machine.trip_count),
            'command_source': self._settings.command_source,
            'second_publisher_on': ','.join(extra),
        }

    def _step(self, now_ns: int) -> tuple[float, set[Reason]]:
        before, self._decided_at_ns = self._decided_at_ns, now_ns
        if before is None:
            return 0.0, set()
        gap = {Reason.LOOP_GAP} if now_ns - before > self._settings.loop_gap_ns else set()
        return min(max(now_ns - before, 0) / 1e9, _MAX_STEP_S), gap

    def _speed(self) -> float:
        """The larger of measured and granted speed; a turn counts as its outermost corner's."""
        radius = self._profile.corner_radius_m
        return max(abs(v) + abs(w) * radius for v, w in (self._measured, self.gate.output))

    def _slow_down(self, now_ns: int, clear_set: int) -> float:
        """The factor on the wish that keeps the robot one set below the largest that is clear.

        So each field is the warning field of the set two below: what comes nearer slowly slows
        the robot step by step, and only what comes fast stops it.
        """
        sets = self._profile.sets
        if clear_set == len(sets) - 1:
            return 1.0
        v, w = self.gate.wish(now_ns)
        asked = abs(v) + abs(w) * self._profile.corner_radius_m
        allowed = sets[clear_set - 1].max_speed_mps if clear_set > 0 else 0.5 * (
            sets[0].max_speed_mps)
        return 1.0 if asked <= allowed else allowed / asked

    def _reasons(self, now_ns: int) -> set[Reason]:
        timeout = self._settings.source_timeout_ns
        active = self.gate.reasons(now_ns)
        for source in self._sources:
            active |= source.reasons
            if not _fresh(source.at_ns, now_ns, timeout):
                active.add(Reason.SCAN_LOST)
        if self._odom_reason is not None:
            active.add(self._odom_reason)
        if not _fresh(self._odom_at_ns, now_ns, timeout):
            active.add(Reason.ODOM_LOST)
        for heard in self._estops.values():
            # Buttons speak at 10 Hz or more; two and a half periods of silence are a press.
            if heard is None or not _fresh(heard[0], now_ns, 250 * _MILLISECOND):
                active.add(Reason.ESTOP_LOST)
            elif heard[1]:
                active.add(Reason.ESTOP)
        if any(extra > 0 for extra in self._second_publishers.values()):
            active.add(Reason.SECOND_PUBLISHER)
        return active

    def _sources_fresh(self, now_ns: int) -> bool:
        timeout = self._settings.source_timeout_ns
        return (_fresh(self._odom_at_ns, now_ns, timeout)
                and all(_fresh(s.at_ns, now_ns, timeout) for s in self._sources)
                and all(heard is not None for heard in self._estops.values()))


def _fresh(at_ns: int | None, now_ns: int, timeout_ns: int) -> bool:
    return at_ns is not None and 0 <= now_ns - at_ns <= timeout_ns


def sentence(state: State, reasons: str) -> str:
    """One sentence for a person: what the reflex does, and why."""
    why = reasons.replace(',', ', ').replace('_', ' ')
    return {
        State.STARTING: 'waiting for every required source',
        State.RUNNING: 'running',
        State.SLOWED: f'slowed: {why}',
        State.STOPPED: f'stopped: {why or "clear, waiting before it resumes"}',
        State.LATCHED: f'latched: {why}; needs a reset',
    }[state]
