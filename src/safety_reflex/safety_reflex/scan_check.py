"""Is a scan believable? A scan that proves nothing must never read as clear.

After REP-117: +inf is 'nothing in range', -inf is 'too close', NaN is a failed measurement.
"""

from dataclasses import dataclass

import numpy as np

from safety_reflex.cdr import Scan
from safety_reflex.reasons import Reason


@dataclass(frozen=True)
class ScanLimits:
    """What a site believes of its scanner.

    beams, angle_min_rad, angle_increment_rad and range_max_m: the scanner's, by its robot's file.
    max_invalid_share: NaN and out-of-range beams; max_nothing_share: +inf beams.
    max_blocked_rad: the widest run of invalid beams. frozen_scans: so many equal scans in a row.
    max_age_ns, max_ahead_ns: how far a stamp may lie behind and before the time of arrival.
    slowest_period_ns: a longer mean period is a rate drop.
    """

    beams: int
    angle_min_rad: float
    angle_increment_rad: float
    max_invalid_share: float
    max_nothing_share: float
    max_blocked_rad: float
    range_max_m: float
    frozen_scans: int
    max_age_ns: int
    max_ahead_ns: int
    period_ns: int
    slowest_period_ns: int


class ScanCheck:
    """Checks the scans of one source, in order of arrival."""

    def __init__(self, limits: ScanLimits) -> None:
        self._limits = limits
        self._stamp_ns = -1
        self._arrived_ns: int | None = None
        self._mean_period_ns = float(limits.period_ns)
        self._previous = b''
        self._equal = 0
        self._most_invalid = int(limits.max_invalid_share * limits.beams)
        self._most_nothing = int(limits.max_nothing_share * limits.beams)
        self._most_blocked = limits.max_blocked_rad / limits.angle_increment_rad

    def check(self, scan: Scan, now_ns: int, ros_now_ns: int) -> set[Reason]:
        """Every reason against this scan; empty when it can be trusted."""
        limits, reasons = self._limits, set()
        # The stamp before is the measure even when it was wrong: a clock that was set back costs
        # one scan, and never leaves a robot that only a restart can move.
        if not self._stamp_ns < scan.stamp_ns or not (
                -limits.max_ahead_ns <= ros_now_ns - scan.stamp_ns <= limits.max_age_ns):
            reasons.add(Reason.SCAN_STAMP)
        self._stamp_ns = scan.stamp_ns
        if self._arrived_ns is not None:
            self._mean_period_ns += (now_ns - self._arrived_ns - self._mean_period_ns) / 8
        self._arrived_ns = now_ns
        if self._mean_period_ns > limits.slowest_period_ns:
            reasons.add(Reason.SCAN_SLOW)
        # Half a beam over the whole sweep is the most the geometry may differ.
        tolerance = 0.5 * limits.angle_increment_rad
        if (len(scan.ranges) != limits.beams
                or not abs(scan.angle_min_rad - limits.angle_min_rad) <= tolerance
                or not abs(scan.angle_increment_rad - limits.angle_increment_rad) * limits.beams
                <= tolerance
                # A longer range would make +inf, 'nothing in range', a distance like any other.
                or not 0 <= scan.range_min_m < scan.range_max_m <= 1.01 * limits.range_max_m):
            return reasons | {Reason.SCAN_GEOMETRY}
        return reasons | self._check_ranges(scan)

    def _check_ranges(self, scan: Scan) -> set[Reason]:
        limits, ranges, reasons = self._limits, scan.ranges, set()
        valid_count = int(np.count_nonzero(ranges <= scan.range_max_m))
        if valid_count < limits.beams:
            nothing = ranges == np.inf
            nothing_count = int(np.count_nonzero(nothing))
            invalid_count = limits.beams - valid_count - nothing_count
            if invalid_count > self._most_invalid:
                reasons.add(Reason.SCAN_INVALID)
            if nothing_count > self._most_nothing:
                reasons.add(Reason.SCAN_EMPTY)
            if invalid_count > self._most_blocked and _longest_run(
                    ~(ranges <= scan.range_max_m) & ~nothing) > self._most_blocked:
                reasons.add(Reason.SECTOR_BLOCKED)
        content = ranges.tobytes()
        self._equal = self._equal + 1 if content == self._previous else 0
        self._previous = content
        if self._equal >= limits.frozen_scans:
            reasons.add(Reason.SCAN_FROZEN)
        return reasons


def _longest_run(flags: np.ndarray) -> int:
    """Longest run of true values, (n,) bool; a full circle is taken round its seam."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, flags, [False]))))
    return min(len(flags), int(np.max(edges[1::2] - edges[::2], initial=0)))
