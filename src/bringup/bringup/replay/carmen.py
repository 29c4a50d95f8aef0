"""CARMEN lidar logs, as the public robot data sets of the 2000s have them. Pure.

`FLASER n r1 .. rn x y theta odom_x odom_y odom_theta stamp host logger_stamp`: metres, radians,
seconds; the beams sweep 180 degrees from the robot's right to its left. A range at or above the
scanner's maximum means that nothing was seen.
"""

import gzip
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MAX_LINE_BYTES = 100_000
MAX_BEAMS = 5_000
# No scanner of these logs reaches further and still measures; some write 8.2, 51.2 or 81.9.
_NOTHING_M = (8.18, 51.1, 81.8)


class CarmenError(ValueError):
    """The file is no CARMEN log with front lasers; the message names the line."""


@dataclass(frozen=True)
class CarmenScan:
    """One front laser line. ranges float32 (n,), metres, +inf where nothing was seen."""

    stamp_s: float
    pose: tuple[float, float, float]
    ranges: NDArray[np.float32]


def read_carmen(path: Path) -> list[CarmenScan]:
    """Every FLASER line of a .log or .log.gz, in order; all have one number of beams."""
    opener = gzip.open if path.suffix == '.gz' else open
    with opener(path, 'rt', errors='replace') as lines:
        scans = list(_scans(path, lines))
    if not scans:
        raise CarmenError(f'{path}: holds no FLASER line')
    beams = {len(scan.ranges) for scan in scans}
    if len(beams) > 1:
        raise CarmenError(f'{path}: scans of different sizes: {sorted(beams)}')
    return _without_maximum(scans)


def _scans(path: Path, lines: Iterator[str]) -> Iterator[CarmenScan]:
    for number, line in enumerate(lines, 1):
        if not line.startswith('FLASER '):
            continue
        words = line[:MAX_LINE_BYTES].split()
        try:
            count = int(words[1])
            if not 2 <= count <= MAX_BEAMS:
                raise ValueError(f'{count} beams')
            values = [float(word) for word in words[2:2 + count + 3]]
            stamp = float(words[-1])
        except (ValueError, IndexError) as error:
            raise CarmenError(f'{path}: line {number}: {error}') from None
        if len(values) != count + 3:
            raise CarmenError(f'{path}: line {number}: ends before its {count} beams and pose')
        x, y, theta = values[count:]
        yield CarmenScan(stamp, (x, y, theta), np.array(values[:count], np.float32))


def _without_maximum(scans: list[CarmenScan]) -> list[CarmenScan]:
    """+inf (REP-117) where the log writes its scanner's maximum."""
    largest = max(float(scan.ranges.max()) for scan in scans)
    maximum = max((limit for limit in _NOTHING_M if limit <= largest), default=math.inf)
    return [CarmenScan(scan.stamp_s, scan.pose,
                       np.where(scan.ranges >= maximum, np.float32(np.inf), scan.ranges))
            for scan in scans]
