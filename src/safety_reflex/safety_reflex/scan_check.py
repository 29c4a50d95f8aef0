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

    beams, angle_min_rad and angle_increment_rad: the geometry the fields were computed for.
    max_invalid_share: NaN and out-of-range beams; max_nothing_share: +inf beams.
    max_blocked_rad: the widest run of invalid beams. frozen_scans: so many equal scans in a row.
    """

    beams: int
    angle_min_rad: float
    angle_increment_rad: float
    max_invalid_share: float
    max_nothing_share: float
    max_blocked_rad: float
    frozen_scans: int


class ScanCheck:
    """Checks the scans of one source, in order of arrival."""

    def __init__(self, limits: ScanLimits) -> None:
        self._limits = limits
        self._stamp_ns = -1
        self._previous = b''
        self._equal = 0

    def check(self, scan: Scan) -> set[Reason]:
        """Every reason against this scan; empty when it can be trusted."""
        limits, reasons = self._limits, set()
        if scan.stamp_ns <= self._stamp_ns:
            reasons.add(Reason.SCAN_STAMP)
        self._stamp_ns = max(self._stamp_ns, scan.stamp_ns)
        # Half a beam over the whole sweep is the most the geometry may differ.
        tolerance = 0.5 * limits.angle_increment_rad
        if (len(scan.ranges) != limits.beams
                or not abs(scan.angle_min_rad - limits.angle_min_rad) <= tolerance
                or not abs(scan.angle_increment_rad - limits.angle_increment_rad) * limits.beams
                <= tolerance
                or not 0 <= scan.range_min_m < scan.range_max_m):
            return reasons | {Reason.SCAN_GEOMETRY}
        return reasons | self._check_ranges(scan)

    def _check_ranges(self, scan: Scan) -> set[Reason]:
        limits, ranges, reasons = self._limits, scan.ranges, set()
        nothing = ranges == np.inf
        invalid = ~(ranges <= scan.range_max_m) & ~nothing
        invalid_count = int(np.count_nonzero(invalid))
        if invalid_count > limits.max_invalid_share * limits.beams:
            reasons.add(Reason.SCAN_INVALID)
        if np.count_nonzero(nothing) > limits.max_nothing_share * limits.beams:
            reasons.add(Reason.SCAN_EMPTY)
        blocked = limits.max_blocked_rad / limits.angle_increment_rad
        if invalid_count > blocked and _longest_run(invalid) > blocked:
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
