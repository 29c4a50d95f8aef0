"""What the scanners see in the fields of a profile, and how fast that lets the robot go."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from safety_reflex.fields import FieldSet, in_use
from safety_reflex.motion import leads_away, time_to_collision
from safety_reflex.profile import Lidar, Profile, ProfileError
from safety_reflex.reasons import Reason
from safety_reflex.scan_check import ScanLimits
from safety_reflex.scanner import Scanner, Sighting
from safety_reflex.settings import Settings
from safety_reflex.shapes import Polygon, area

# Velocities (v m/s, w rad/s), the measured and the granted one.
Motions = Sequence[tuple[float, float]]


class Guard:
    """All scanners against all fields. Raises ProfileError for fields that react too late."""

    def __init__(self, profile: Profile, settings: Settings) -> None:
        self._profile, self._escape_mps = profile, settings.escape_speed_mps
        shapes = list(dict.fromkeys([s.polygon for s in profile.sets]
                                    + [s.polygon for s in profile.slow]))
        self._stop_shapes = [shapes.index(s.polygon) for s in profile.sets]
        self._slow_shapes = np.array([shapes.index(s.polygon) for s in profile.slow], int)
        self._slow_limits = np.array([s.limit_mps for s in profile.slow])
        self._areas = [area(s.polygon) for s in profile.sets]
        self._reach_m = float(2 * max(np.hypot(x, y) for shape in shapes for x, y in shape))
        self.scanners = [_scanner(lidar, profile, settings, shapes) for lidar in profile.lidars]
        self._in_use = 0

    @property
    def set_in_use(self) -> FieldSet:
        """The set that guards the motion; the largest where more than one does."""
        return self._profile.sets[self._in_use]

    def glimpse(self, index: int, data: bytes) -> bool:
        """Whether the bytes of a scan, at a first look, show something in the field in use."""
        return self.scanners[index].glimpse(data, self._stop_shapes[self._in_use])

    def occupied(self, motions: Motions) -> bool:
        """Whether a field that guards one of the motions holds something.

        The measured and the granted one both count, so the larger of the two wins.
        """
        guards = set[int]()
        for v, w in motions:
            guards.update(in_use(self._profile.sets, v, w, self.outline(v, w)))
        self._in_use = max(guards, key=self._areas.__getitem__)
        return any(scanner.occupied[self._stop_shapes[i]]
                   for scanner in self.scanners if not scanner.all_clear for i in guards)

    def slow_down(self, wish: tuple[float, float],
                  caps: Mapping[Reason, float]) -> tuple[float, set[Reason]]:
        """The factor on the wish (v m/s, w rad/s), and why it is not one.

        One factor on both parts keeps the curvature. caps: other limits of the outline's speed.
        """
        asked, reasons = self.outline(*wish), set(caps)
        limit = min(caps.values(), default=asked)
        for scanner in self.scanners:
            if scanner.all_clear:
                continue
            held = self._slow_limits[scanner.occupied[self._slow_shapes]]
            if len(held) and held.min() < asked:
                reasons.add(Reason.WARNING_FIELD)
                limit = min(limit, float(held.min()))
        scale = limit / asked if limit < asked else 1.0
        horizon_s = self._profile.collision_time_s
        if horizon_s > 0.0 and asked > 0.0:
            time_s = time_to_collision(self._points(), self._profile.footprint,
                                       self._profile.corner_radius_m, *wish, horizon_s)
            if time_s < horizon_s:
                reasons.add(Reason.APPROACH_FIELD)
                scale = min(scale, time_s / horizon_s)
        return scale, reasons

    def pace(self, caps: Mapping[Reason, float]) -> float:
        """The share of its speed that anything else of the robot, an arm, may use now."""
        limits = [*caps.values(), *(float(limit) for scanner in self.scanners
                                    for limit in self._slow_limits[
                                        scanner.occupied[self._slow_shapes]])]
        return min(1.0, min(limits, default=np.inf) / self._profile.limits['max_speed_mps'])

    def escape(self, wish: tuple[float, float],
               caps: Mapping[Reason, float]) -> tuple[float, float] | None:
        """The wish as a creep out of an occupied field; None where no clearance is gained."""
        asked, limit = self.outline(*wish), min(self._escape_mps, *caps.values(), np.inf)
        if asked == 0.0 or limit == 0.0:
            return None
        scale = min(1.0, limit / asked)
        v, w = scale * wish[0], scale * wish[1]
        return (v, w) if leads_away(self._points(), self._profile.footprint, v, w) else None

    def nearest(self) -> Sighting | None:
        """The nearest object in the field in use, or else in a slow field."""
        for shape in (self._stop_shapes[self._in_use], *self._slow_shapes):
            found = [s for s in (scanner.sighting(shape) for scanner in self.scanners) if s]
            if found:
                return min(found, key=lambda sighting: sighting.distance_m)
        return None

    def outline(self, v_mps: float, w_radps: float) -> float:
        """Speed of the outline's fastest point, m/s."""
        return abs(v_mps) + abs(w_radps) * self._profile.corner_radius_m

    def _points(self) -> NDArray[np.float64]:
        return np.concatenate([scanner.points(self._reach_m) for scanner in self.scanners])


def _scanner(lidar: Lidar, profile: Profile, settings: Settings,
             shapes: list[Polygon]) -> Scanner:
    period_ns = int(1e9 / lidar.rate_hz)
    late_ns = (profile.scans - 1) * period_ns + settings.source_timeout_ns
    if profile.approach.reaction_s * 1e9 < late_ns:
        raise ProfileError(
            f'reaction_s = {profile.approach.reaction_s}: must not be shorter than '
            f'{late_ns / 1e9:.3f} s, the source timeout, for which a lost scan is unseen, and '
            f'{profile.scans - 1} scans of {lidar.name} for the debounce')
    return Scanner(lidar, shapes, [m.polygon for m in profile.mutings], ScanLimits(
        lidar.beams, lidar.angle_min_rad, lidar.angle_increment_rad, settings.max_invalid_share,
        settings.max_nothing_share, settings.max_blocked_rad, lidar.range_max_m,
        settings.frozen_scans, settings.max_stamp_age_ns, settings.max_stamp_ahead_ns, period_ns,
        int(period_ns / settings.min_rate_share)), profile.min_points, profile.scans)
