"""What a case is like, in numbers, from its bag: for search by place and by likeness.

The sketch is the lidar's view at the trigger: the nearest range in each of SECTORS directions,
seen from the robot, so the same corner of the same aisle looks the same whoever drives by.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from edge_case_recorder import manifest
from isaac_bridge.case.recorded import CaseError, Recorded, read
from isaac_bridge.case.tracks import people
from isaac_bridge.robot import Robot

from .errors import CatalogueError
from .index import FEATURE_TABLE, Index

VERSION = 1
SECTORS = 24
FARTHEST_M = 10.0
FEATURES = pa.schema([
    ('case_id', pa.string()), ('version', pa.int32()), ('cause', pa.string()),
    ('start_x', pa.float64()), ('start_y', pa.float64()), ('start_yaw', pa.float64()),
    ('speed_mps', pa.float64()), ('turn_radps', pa.float64()), ('path_m', pa.float64()),
    ('nearest_m', pa.float64()), ('people', pa.int32()), ('duration_s', pa.float64()),
    ('sketch', pa.list_(pa.float32()))])


@dataclass(frozen=True)
class Features:
    """Frames: `odom` (x, y, yaw, metres and radians) and `base_link` (sketch).

    start_*: pose where the window begins. speed_mps, turn_radps: at the trigger. nearest_m: the
    least range around the trigger (1 s), or FARTHEST_M. people: who moved. sketch (SECTORS,):
    metres, up to FARTHEST_M.
    """

    case_id: str
    version: int
    cause: str
    start_x: float
    start_y: float
    start_yaw: float
    speed_mps: float
    turn_radps: float
    path_m: float
    nearest_m: float
    people: int
    duration_s: float
    sketch: list[float]


def of_case(folder: Path, robot: Robot) -> Features:
    """From a case's folder; raises CatalogueError where its bag has no drive."""
    try:
        content = manifest.read(folder)
        recorded = read(folder, robot)
    except (manifest.ManifestError, CaseError) as error:
        raise CatalogueError(str(error)) from None
    return of_recorded(recorded, robot, content['case_id'], content['cause'],
                       (content['trigger']['stamp_ns'] - content['window']['recorded_start_ns'])
                       * 1e-9)


def of_recorded(recorded: Recorded, robot: Robot, case_id: str, cause: str,
                trigger_s: float) -> Features:
    """trigger_s: since the first scan."""
    times, poses = recorded.times_s, recorded.poses
    at = int(np.argmin(np.abs(times - trigger_s)))
    near = recorded.scans[np.abs(times - trigger_s) <= 1.0]
    finite = near[np.isfinite(near)]
    x, y, yaw = (_rounded(value) for value in poses[0])
    return Features(
        case_id, VERSION, cause, x, y, yaw,
        _rounded(recorded.speeds[at, 0]), _rounded(recorded.speeds[at, 1]),
        _rounded(np.hypot(*np.diff(poses[:, :2], axis=0).T).sum()),
        _rounded(min(finite.min(initial=FARTHEST_M), FARTHEST_M)), len(people(recorded, robot)),
        _rounded(times[-1] - times[0]),
        [_rounded(value) for value in sketch(recorded.scans[at], recorded.angles_rad
                                             + robot.lidar.pose[2])])


def sketch(scan: NDArray[np.float64], angles_rad: NDArray[np.float64]) -> NDArray[np.float64]:
    """(SECTORS,): the nearest range in each sector, counter-clockwise from straight back."""
    sector = ((angles_rad + np.pi) % (2 * np.pi) / (2 * np.pi) * SECTORS).astype(int) % SECTORS
    ranges = np.where(np.isfinite(scan), np.minimum(scan, FARTHEST_M), FARTHEST_M)
    found = np.full(SECTORS, FARTHEST_M)
    np.minimum.at(found, sector, ranges)
    return found


def add(index: Index, features: list[Features]) -> int:
    """Add what the index does not have yet in this version; how many these were."""
    with index.writing():
        known = {each.case_id for each in of_index(index)}
        new = {each.case_id: asdict(each) for each in features if each.case_id not in known}
        index.add({FEATURE_TABLE: [pa.Table.from_pylist(list(new.values()), FEATURES)]})
    return len(new)


def of_index(index: Index) -> list[Features]:
    """All of this version, by case id."""
    table = index.read(FEATURE_TABLE, FEATURES.names)
    rows: list[Mapping[str, Any]] = [] if table is None else table.to_pylist()
    return sorted((Features(**row) for row in rows if row['version'] == VERSION),
                  key=lambda each: each.case_id)


def _rounded(value: Any) -> float:
    """To what float32 keeps, so that what is read again is equal."""
    return float(np.float32(value))
