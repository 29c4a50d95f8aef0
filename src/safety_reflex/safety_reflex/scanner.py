"""One scanner: what it is believed, and which fields it sees something in.

Two scanners that see the same place are two channels: each decides for itself, and either trips.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from safety_reflex.cdr import Scan
from safety_reflex.fields import beam_limits
from safety_reflex.profile import Lidar
from safety_reflex.reasons import Reason
from safety_reflex.scan_check import ScanCheck, ScanLimits
from safety_reflex.shapes import Polygon

# Behind it lies what does not change from scan to scan, up to the ranges.
_STAMP_END = 12


@dataclass(frozen=True, slots=True)
class Sighting:
    """The nearest object inside a field: which scanner, beam, and how far along it."""

    source: str
    beam: int
    distance_m: float


class Scanner:
    """Holds the verdict of the newest scan; `shapes` and `mutings` are polygons in base_link.

    occupied (shapes,) tells what holds something; all_clear that none of them does.
    """

    def __init__(self, lidar: Lidar, shapes: Sequence[Polygon], mutings: Sequence[Polygon],
                 limits: ScanLimits, min_points: int, scans: int) -> None:
        self.lidar, self.name = lidar, lidar.name
        self._check = ScanCheck(limits)
        self._min_points, self._scans = min_points, scans
        self._shapes, self._mutings = _stacked(lidar, shapes), _stacked(lidar, mutings)
        # One comparison tells that nothing is in any field, which is nearly every scan.
        self._any_near = self._shapes[0].min(axis=0)
        self._any_far = self._shapes[1].max(axis=0)
        near, far = self._shapes
        self._nested = bool(np.all(near[1:] <= near[:-1]) and np.all(far[1:] >= far[:-1]))
        # A field around the scanner has no near side to compare with.
        self._around = [bool(near.max() < 1e-6) for near in self._shapes[0]]
        self._usual: tuple[int, int, bytes] | None = None
        angles = (lidar.pose[2] + lidar.angle_min_rad
                  + lidar.angle_increment_rad * np.arange(lidar.beams))
        self._directions = np.stack((np.cos(angles), np.sin(angles)), axis=1)
        self._ranges = np.full(lidar.beams, np.inf, np.float32)
        self._a, self._b = (np.zeros(lidar.beams, bool) for _ in range(2))
        self._hits = np.zeros(len(shapes), int)
        self.all_clear = True
        self.occupied = np.zeros(len(shapes), bool)
        self.reasons: set[Reason] = set()
        self.at_ns: int | None = None
        self.stamp_ns = 0

    def glimpse(self, data: bytes, shape: int) -> bool:
        """Whether the bytes of a scan show something in a field, at a first look.

        False for whatever differs from the scan before, but for stamp and ranges: `take` decides.
        """
        if self._usual is None or self._scans > 1:
            return False
        length, at, head = self._usual
        if len(data) != length or data[_STAMP_END:at] != head:
            return False
        ranges = np.frombuffer(data, np.float32, self.lidar.beams, at)
        np.less_equal(ranges, self._shapes[1][shape], out=self._a)
        if not self._around[shape]:
            np.greater_equal(ranges, self._shapes[0][shape], out=self._b)
            np.logical_and(self._a, self._b, out=self._a)
        return bool(np.count_nonzero(self._a) >= self._min_points)

    def remember(self, data: bytes, ranges_at: int) -> None:
        """Keep the layout of a scan that could be trusted, for the next first look."""
        self._usual = len(data), ranges_at, data[_STAMP_END:ranges_at]

    def malformed(self) -> None:
        self.reasons = {Reason.SCAN_MALFORMED}

    def take(self, scan: Scan, now_ns: int, ros_now_ns: int, muted: int | None) -> None:
        """Judge a scan; `muted` is the index of the muting in force."""
        self.at_ns, self.stamp_ns = now_ns, scan.stamp_ns
        self.reasons = self._check.check(scan, now_ns, ros_now_ns)
        if self.reasons & {Reason.SCAN_GEOMETRY, Reason.SCAN_STAMP}:
            return  # its beams mean nothing; or a copy is no further scan of the debounce
        ranges = self._ranges
        np.copyto(ranges, scan.ranges)
        # Too close to measure (-inf, or below the scanner's minimum) is inside every field.
        np.less(ranges, scan.range_min_m, out=self._a)
        too_close = int(np.count_nonzero(self._a))
        if too_close:
            ranges[self._a] = 0.0
        if muted is not None:
            ranges[self._inside(self._mutings, muted) & ~self._a] = np.inf
        np.less_equal(ranges, self._any_far, out=self._a)
        np.greater_equal(ranges, self._any_near, out=self._b)
        self._a &= self._b
        if not too_close and not self._a.any():
            if not self.all_clear:
                self._hits[:] = 0
                self.occupied[:] = False
                self.all_clear = True
            return
        self.all_clear = False
        if self._nested:
            # What is in one field is in every larger one: only the smallest is to be found.
            low, high = 0, len(self._hits)
            while low < high:
                middle = (low + high) // 2
                low, high = (low, middle) if self._seen(middle, too_close) else (middle + 1, high)
            self._hits[:low] = 0
            self._hits[low:] += 1
        else:
            for shape in range(len(self._hits)):
                seen = self._seen(shape, too_close)
                self._hits[shape] = self._hits[shape] + 1 if seen else 0
        np.greater_equal(self._hits, self._scans, out=self.occupied)

    def _seen(self, shape: int, too_close: int) -> bool:
        """Whether enough beams of the newest scan end in a field."""
        np.less_equal(self._ranges, self._shapes[1][shape], out=self._a)
        np.greater_equal(self._ranges, self._shapes[0][shape], out=self._b)
        np.logical_and(self._a, self._b, out=self._a)
        return too_close + int(np.count_nonzero(self._a)) >= self._min_points

    def sighting(self, shape: int) -> Sighting | None:
        """The nearest beam in a field that is occupied."""
        if not self.occupied[shape] or self.at_ns is None:
            return None
        inside = self._inside(self._shapes, shape)
        if not inside.any():
            return None
        beam = int(np.argmin(np.where(inside, self._ranges, np.inf)))
        return Sighting(self.name, beam, float(self._ranges[beam]))

    def points(self, reach_m: float) -> NDArray[np.float64]:
        """Where beams end, (n, 2) in base_link, no farther than reach_m from the scanner."""
        near = np.flatnonzero(self._ranges <= reach_m)
        too_close = self._ranges[near] == 0.0
        if np.count_nonzero(too_close) < self._min_points:
            near = near[~too_close]  # dirt on the window, no object by the profile
        along = self._ranges[near].astype(np.float64)[:, None] * self._directions[near]
        return along + np.array(self.lidar.pose[:2])

    def _inside(self, stack: tuple[NDArray[np.float32], NDArray[np.float32]],
                row: int) -> NDArray[np.bool_]:
        ranges = self._ranges
        return ((ranges <= stack[1][row]) & (ranges >= stack[0][row])) | (ranges == 0.0)


def _stacked(lidar: Lidar,
             shapes: Sequence[Polygon]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(near, far), each (shapes, beams); a range of zero is in none: it is counted by itself."""
    limits = [beam_limits(polygon, lidar.pose, lidar.angle_min_rad, lidar.angle_increment_rad,
                          lidar.beams) for polygon in shapes]
    empty = np.empty((0, lidar.beams), np.float32)
    above_zero = np.finfo(np.float32).tiny
    return (np.stack([np.maximum(limit.near, above_zero) for limit in limits]) if limits else empty,
            np.stack([limit.far for limit in limits]) if limits else empty)
