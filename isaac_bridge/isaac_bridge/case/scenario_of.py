"""From a recorded case to a scenario: where the robot was, how fast, who moved, what stood there.

The robot starts at rest so far before the window's first pose that it can reach the speed it had
there; people begin to move when it passes that pose, along the tracks that its lidar saw.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from edge_case_recorder import manifest

from ..robot import Robot
from ..scenario import Scenario, parse_scenario
from .recorded import CaseError, Recorded, read
from .surroundings import boxes
from .tracks import Track, people, standing

# Of a robot that has just been reset, until it moves: neutral first, then the first chunk.
_READY_M = 0.3
_STANDING_MPS = 0.05
_AHEAD_M = 8.0              # the goal, where the bag knows none
_SLOWEST_MPS = 0.25         # for the time limit
_GRACE_S = 30.0
_WALK_ON_S = 5.0            # whoever walked goes on like that, and out of the way
_WALKING_MPS = 0.3
_STEP_S = 0.1
_ROUND = 3


def scenario_document(bag: Path, robot: Robot, world: dict[str, Any] | None = None,
                      name: str = '') -> dict[str, Any]:
    """The YAML document of a scenario, valid against scenario.schema.json.

    world: the site's own (`world` of a scenario whose frame is the robot's `odom`); without it what
    stood still in the scans becomes obstacles. name: by default of the manifest, or the file.
    Raises CaseError.
    """
    case = read(bag, robot)
    tracks = people(case, robot)
    start, line = _start(case, robot)
    goal = case.goal or _ahead(case)
    obstacles: list[list[float]] = []
    if world is None:
        world, obstacles = _surroundings(case, robot, tracks, start, goal)
    document: dict[str, Any] = {
        'schema_version': 1, 'name': name or _name(bag), 'world': world, 'obstacles': obstacles,
        'robot': {'start': start}, 'goal': [round(value, _ROUND) for value in goal],
        'people': [_person(i, track, line) for i, track in enumerate(tracks)],
        'task': {'instruction': case.instruction or 'drive to the goal', 'limit_s': _limit_s(
            math.dist(start[:2], goal))},
        'criteria': {'max_stops': 0},
    }
    try:
        parse_scenario(document, str(bag))
    except ValueError as error:
        raise CaseError(f'{error} (the world does not fit the bag)') from None
    return document


def scenario_of(bag: Path, robot: Robot, world: dict[str, Any] | None = None) -> Scenario:
    """The same as `scenario_document`, read."""
    return parse_scenario(scenario_document(bag, robot, world), str(bag))


def write(document: dict[str, Any], path: Path, bag: Path) -> None:
    """With a line that says what it was made of."""
    path.write_text(f'# Made of {bag.name}: what its lidar saw. Metres, seconds, radians.\n'
                    + yaml.safe_dump(document, sort_keys=False, default_flow_style=None,
                                     width=100))


def _name(bag: Path) -> str:
    try:
        content = manifest.read(bag if bag.is_dir() else bag.parent)
        return f'case_{content["cause"]}_{content["case_id"].rsplit("-", 1)[-1]}'
    except manifest.ManifestError:
        return 'case_' + ''.join(c if c.isalnum() else '_' for c in bag.stem.lower())[:60]


def _start(case: Recorded, robot: Robot) -> tuple[list[float], list[float] | None]:
    """(start pose, the line behind which people move; None: at once)."""
    x, y, yaw = case.poses[0]
    speed = float(case.speeds[0, 0])
    if speed < _STANDING_MPS:
        return [round(float(value), _ROUND) for value in (x, y, yaw)], None
    # At half the service acceleration: policies do not use all of it.
    back_m = _READY_M + speed ** 2 / robot.limits.max_acceleration_mps2
    return ([round(float(x - back_m * math.cos(yaw)), _ROUND),
             round(float(y - back_m * math.sin(yaw)), _ROUND), round(float(yaw), _ROUND)],
            [round(float(value), _ROUND) for value in (x, y, yaw)])


def _ahead(case: Recorded) -> tuple[float, float]:
    x, y, yaw = case.poses[-1]
    return float(x + _AHEAD_M * math.cos(yaw)), float(y + _AHEAD_M * math.sin(yaw))


def _limit_s(distance_m: float) -> float:
    return round(_GRACE_S + distance_m / _SLOWEST_MPS, 1)


def _person(number: int, track: Track, line: list[float] | None) -> dict[str, Any]:
    """A track on a grid; before its first sight and after its last, they walked on as they did."""
    points = track.points
    grid = np.arange(points[0, 0], points[-1, 0], _STEP_S)
    rows = [[t, *(np.interp(t, points[:, 0], points[:, axis]) for axis in (1, 2))] for t in grid]
    if points[0, 0] > _STEP_S:
        vx, vy = _velocity(points[:6])
        rows.insert(0, [0.0, points[0, 1] - vx * points[0, 0], points[0, 2] - vy * points[0, 0]])
    vx, vy = _velocity(points[-6:])
    if math.hypot(vx, vy) > _WALKING_MPS:
        t, x, y = points[-1]
        rows.append([t + _WALK_ON_S, x + vx * _WALK_ON_S, y + vy * _WALK_ON_S])
    rows[0][0] = 0.0
    entry: dict[str, Any] = {'name': f'seen_{number}', 'track': [
        [round(float(value), _ROUND) for value in row] for row in rows]}
    if line is not None:
        entry['trigger'] = {'line': line}
    return entry


def _velocity(points: np.ndarray) -> tuple[float, float]:
    (t0, x0, y0), (t1, x1, y1) = points[0], points[-1]
    span = max(float(t1 - t0), 1e-3)
    return float(x1 - x0) / span, float(y1 - y0) / span


def _surroundings(case: Recorded, robot: Robot, tracks: list[Track], start: list[float],
                  goal: tuple[float, float]) -> tuple[dict[str, Any], list[list[float]]]:
    """(a hall that is large enough and empty, what stood in it)."""
    driven = np.concatenate([case.poses[:, :2], [start[:2], goal]])
    walked = [track.points[:, 1:] for track in tracks]
    found = boxes(standing(case, robot), np.concatenate([driven, *walked]),
                  robot.circumradius_m)
    corners = [*driven.tolist(), *([box.x0, box.y0] for box in found),
               *([box.x1, box.y1] for box in found)]
    low, high = np.min(corners, axis=0) - 4.0, np.max(corners, axis=0) + 4.0
    x_m = [math.floor(low[0]), math.ceil(high[0])]
    half_m = float(max(abs(low[1]), abs(high[1])))
    world = {'x_m': x_m, 'aisle_half_width_m': round(min(half_m, 19.0), 1), 'rack_depth_m': 0.1,
             'rack_height_m': 2.0, 'passage_m': round(max(0.5, half_m - 19.0), 1),
             'gaps': {'left': [x_m], 'right': [x_m]}, 'lane_line_width_m': 0.12}
    return world, [[box.x0, box.y0, box.x1, box.y1] for box in found]
