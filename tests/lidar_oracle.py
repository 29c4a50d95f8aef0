"""What real scans hold, told by shapely: an oracle for the fields, written apart from them.

Where the reflex compares ranges with limits that it computed for each beam, the oracle turns ranges
into points (complex numbers, float64) and asks shapely how far each lies from a field's polygon.
It shares the polygons' corners with the reflex, and nothing else.

A field is *occupied* if at least min_points beams of one scan end in it. Polygons are drawn to the
millimetre, so a beam

    must count      when its end is inside the polygon, or no further than BAND_M outside of it
    may count       when it must, or is further by no more than ROUNDING_M (ranges and limits are
                    float32), or lies between the first entry and the last exit of a beam that
                    crosses the field more than once: there the reflex protects more than was drawn

and the reflex is right if it says occupied whenever enough beams must count, and free whenever not
enough may. For a field that every beam crosses once that is equality but for a micrometre; for
another it is one-sided between the crossings, and equality elsewhere. A range below the scanner's
minimum, and one of zero, is too close to measure, and counts in every field.

In `Tally`, one line a log:

    false stop      the reflex sees the set in use occupied, and too few beams may count
    missed stop     the reflex sees it free, and enough beams must count
    set in use      that of the speed at which the log's own robot drove, from its odometry, where
                    the log has usable times (freiburg-079); else that of KEY_FRAME_MPS, because
                    key frames a metre apart say nothing of speed
    occupied        the share of scans in which the set for KEY_FRAME_MPS holds something: how
                    often this building would stop this robot
    one beam        scans with exactly one beam in the set in use, which min_points = 2 passes over

Per hour, false and missed stops are given for the dense log only.
"""

import gzip
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cdr_messages as messages
import numpy as np
import shapely
from numpy.typing import NDArray

from bringup.replay.carmen import CarmenScan, read_carmen
from safety_reflex import cdr
from safety_reflex.profile import Lidar
from safety_reflex.scan_check import ScanLimits
from safety_reflex.scanner import Scanner
from safety_reflex.shapes import Polygon

DATA = Path(__file__).resolve().parents[2] / 'shared/data/lidar'
LOGS = ('intel', 'freiburg-079', 'csail', 'orebro', 'seattle')
DENSE = 'freiburg-079'
KEY_FRAME_MPS = 0.4
BAND_M, ROUNDING_M = 1e-3, 1e-6
MS = 1_000_000
Pose = tuple[float, float, float]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Log:
    """ranges float32 (scans, beams); speeds (scans, 2) of v and w, or None without times."""

    name: str
    ranges: NDArray[np.float32]
    speeds: NDArray[np.float64] | None
    hours: float | None


def read_log(name: str) -> Log:
    scans = read_carmen(DATA / f'{name}.log.gz')
    ranges = np.stack([scan.ranges for scan in scans])
    if name != DENSE:
        return Log(name, ranges, None, None)
    return Log(name, ranges, _speeds(scans), (scans[-1].stamp_s - scans[0].stamp_s) / 3600)


def lines_of(name: str) -> int:
    """The log's scans, counted without the reader."""
    with gzip.open(DATA / f'{name}.log.gz', 'rt', errors='replace') as lines:
        return sum(line.startswith('FLASER ') for line in lines)


def lidar_of(beams: int, pose: Pose) -> Lidar:
    """The scanner of these logs: half a circle from right to left."""
    return Lidar('base_scan', 'scan', pose, beams, -math.pi / 2, math.pi / (beams - 1), 40.0, 100.0)


# The oracle

def bounds_of_counts(ranges: NDArray[np.float32], lidar: Lidar,
                     polygon: Polygon) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(beams that must count, beams that may), each (scans,), for a field."""
    x, y, yaw = lidar.pose
    first = yaw + lidar.angle_min_rad
    directions = np.exp(1j * (first + lidar.angle_increment_rad * np.arange(lidar.beams)))
    measured = ranges.astype(np.float64)
    too_close = measured <= 0.0
    shape = shapely.Polygon(polygon)
    shapely.prepare(shape)
    reach = max(math.hypot(px - x, py - y) for px, py in polygon) + 0.01
    scan, beam = np.nonzero(~too_close & (measured <= reach))
    ends = complex(x, y) + measured[scan, beam] * directions[beam]
    points = shapely.points(ends.real, ends.imag)
    must, may = too_close.copy(), too_close.copy()
    must[scan, beam] = shapely.dwithin(shape, points, BAND_M)
    may[scan, beam] = shapely.dwithin(shape, points, BAND_M + ROUNDING_M)
    for index, (near, far) in _crossed_often(shape, complex(x, y), directions, reach).items():
        may[:, index] |= (measured[:, index] >= near) & (measured[:, index] <= far)
    return must.sum(axis=1), may.sum(axis=1)


def _crossed_often(shape: shapely.Polygon, origin: complex, directions: NDArray[np.complex128],
                   reach: float) -> dict[int, tuple[float, float]]:
    """(first entry, last exit) of the beams that cross a field more than once."""
    ends = origin + reach * directions
    rays = shapely.linestrings(np.stack((
        np.full((len(ends), 2), (origin.real, origin.imag)),
        np.stack((ends.real, ends.imag), axis=1)), axis=1))
    found = {}
    grown = shape.buffer(BAND_M + ROUNDING_M)
    for index, crossing in enumerate(shapely.intersection(rays, grown)):
        if shapely.get_num_geometries(crossing) > 1:
            along = shapely.get_coordinates(crossing) - (origin.real, origin.imag)
            lengths = np.hypot(*along.T)
            found[index] = (float(lengths.min()), float(lengths.max()))
    return found


# The reflex

def occupied(ranges: NDArray[np.float32], lidar: Lidar, shapes: Sequence[Polygon],
             min_points: int) -> Bools:
    """(scans, shapes): what the reflex's scanner says of each scan, through the real bytes."""
    scanner = Scanner(lidar, shapes, (), ScanLimits(
        lidar.beams, lidar.angle_min_rad, lidar.angle_increment_rad, 1.0, 1.0, 10.0, 100.0, 1000,
        250 * MS, 50 * MS, 25 * MS, 50 * MS), min_points, 1)
    found = np.zeros((len(ranges), len(shapes)), bool)
    for index, row in enumerate(ranges):
        now_ns = (index + 1) * 25 * MS
        data = messages.scan(now_ns, row.tobytes(), lidar.angle_min_rad,
                             lidar.angle_increment_rad, (0.0, 100.0))
        scanner.take(cdr.read_scan(data, lidar.beams), now_ns, now_ns, None)
        found[index] = scanner.occupied
    return found


@dataclass(frozen=True)
class Comparison:
    """How reflex and oracle agree over a log's scans in one field. Counts of scans."""

    scans: int
    occupied: int
    missed: int         # free, though enough beams must count
    false: int          # occupied, though not enough may
    undecided: int      # neither: only a micrometre or a second crossing decides


def compare(said: Bools, must: NDArray[np.int64], may: NDArray[np.int64],
            min_points: int) -> Comparison:
    surely, possibly = must >= min_points, may >= min_points
    return Comparison(len(said), int(said.sum()), int((surely & ~said).sum()),
                      int((said & ~possibly).sum()), int((possibly & ~surely).sum()))


@dataclass(frozen=True)
class Tally:
    """One line of the report; see the module's head."""

    log: str
    scans: int
    false_stops: int
    missed_stops: int
    stops_in_use: int
    one_beam: int
    occupied_share: float
    hours: float | None

    def row(self) -> dict[str, object]:
        per_hour = None if self.hours is None else round(self.false_stops / self.hours, 3)
        missed = None if self.hours is None else round(self.missed_stops / self.hours, 3)
        return {'log': self.log, 'scans': self.scans,
                'false_stops_per_1000': round(1000 * self.false_stops / self.scans, 3),
                'missed_stops': self.missed_stops, 'false_stops_per_hour': per_hour,
                'missed_stops_per_hour': missed, 'occupied_in_use': self.stops_in_use,
                'one_beam': self.one_beam,
                f'occupied_share_at_{KEY_FRAME_MPS}_mps': round(self.occupied_share, 4)}


def tally(log: Log, said: Bools, must: NDArray[np.int64], may: NDArray[np.int64],
          speeds_mps: Sequence[float], corner_m: float, min_points: int) -> Tally:
    """said, must and may are (scans, sets), in the order of the sets' speeds."""
    slow = int(np.searchsorted(speeds_mps, KEY_FRAME_MPS - 1e-9))
    used = np.full(len(said), slow)
    if log.speeds is not None:
        outline = np.abs(log.speeds[:, 0]) + corner_m * np.abs(log.speeds[:, 1])
        used = np.minimum(np.searchsorted(speeds_mps, outline - 1e-9), len(speeds_mps) - 1)
    rows = np.arange(len(said))
    says, surely, possibly = said[rows, used], must[rows, used], may[rows, used]
    return Tally(log.name, len(said), int((says & (possibly < min_points)).sum()),
                 int((~says & (surely >= min_points)).sum()), int(says.sum()),
                 int((surely == 1).sum()), float(said[:, slow].mean()), log.hours)


def table(tallies: Sequence[Tally]) -> str:
    rows = [tally.row() for tally in tallies]
    lines = ['| ' + ' | '.join(rows[0]) + ' |', '|---' * len(rows[0]) + '|']
    lines += ['| ' + ' | '.join('' if value is None else str(value) for value in row.values())
              + ' |' for row in rows]
    return '\n'.join(lines)


def _speeds(scans: Sequence[CarmenScan]) -> NDArray[np.float64]:
    """v and w between successive poses; two scans of one instant repeat the speed before."""
    poses = np.array([scan.pose for scan in scans])
    stamps = np.array([scan.stamp_s for scan in scans])
    found = np.zeros((len(scans), 2))
    for i in range(1, len(scans)):
        dt = stamps[i] - stamps[i - 1]
        if dt < 0.02:
            found[i] = found[i - 1]
            continue
        dx, dy, turned = poses[i] - poses[i - 1]
        found[i] = (math.hypot(dx, dy) / dt, math.remainder(turned, 2 * math.pi) / dt)
    return found
