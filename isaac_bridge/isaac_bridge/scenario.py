"""Scenarios: a world, a robot's task and people, from `config/scenarios/*.yaml`.

What a suite needs beside them, faults and criteria, stands in the same file; see `suite/`.
"""

import dataclasses
from itertools import pairwise
from pathlib import Path
from typing import Any

from .documents import check, read_document
from .layout import Aisle, Box, Point

PERSON_RADIUS_M = 0.20
PERSON_HEIGHT_M = 1.70
Interval = tuple[float, float]


class ScenarioError(ValueError):
    """A scenario is missing or breaks a rule; the message names the file, the key, the rule."""


@dataclasses.dataclass(frozen=True)
class Jitter:
    """Half widths of the uniform draws around a person's nominal values."""

    speed_mps: float = 0.0
    trigger_m: float = 0.0
    start_m: float = 0.0


@dataclasses.dataclass(frozen=True)
class Person:
    """Stands at `start`; walks along the way points, never stopping for the robot.

    At one speed; or, with times_s (seconds since the trigger, one a way point), as was recorded.
    trigger: x, y, yaw of the line that the robot has to pass before they walk; None: at once.
    """

    name: str
    start: Point
    way_points: tuple[Point, ...]
    speed_mps: float
    trigger: tuple[float, float, float] | None
    jitter: Jitter
    times_s: tuple[float, ...] = ()


@dataclasses.dataclass(frozen=True)
class Task:
    instruction: str = 'drive to the goal'
    limit_s: float = 90.0


@dataclasses.dataclass(frozen=True)
class Faults:
    """What is not as it should be. policy_delay_ms: (median, 95th percentile) of a reply's delay;
    None as the target has it. odometry_error, lidar_noise_m: see `engines`; None: as the robot."""

    policy_delay_ms: tuple[float, float] | None = None
    policy_outages_s: tuple[Interval, ...] = ()
    camera: bool = True
    odometry_error: float = 0.0
    lidar_noise_m: float | None = None


@dataclasses.dataclass(frozen=True)
class Criteria:
    """What an episode must hold to beside arriving in time, with no contact in motion.

    max_stops: of the reflex, in motion; None: any number.
    min_clearance_m: to people, while the robot moves.
    """

    max_stops: int | None = None
    min_clearance_m: float = 0.0


@dataclasses.dataclass(frozen=True)
class Scenario:
    name: str
    aisle: Aisle
    start: tuple[float, float, float]   # x, y, yaw of the robot
    goal: Point
    people: tuple[Person, ...]
    task: Task = Task()
    faults: Faults = Faults()
    criteria: Criteria = Criteria()


def read_scenario(path: str | Path) -> Scenario:
    """Raises ScenarioError."""
    return _build(read_document(path, 'scenario', ScenarioError), str(path))


def parse_scenario(document: Any, name: str) -> Scenario:
    """A scenario from what its YAML file holds; raises ScenarioError under the given name."""
    check(document, 'scenario', ScenarioError, name)
    return _build(document, name)


def _build(document: dict[str, Any], name: str) -> Scenario:
    scenario = Scenario(
        name=document['name'],
        aisle=_aisle(document['world'], document.get('obstacles', [])),
        start=_floats(document['robot']['start']), goal=_floats(document['goal']),
        people=tuple(_person(entry) for entry in document['people']),
        task=Task(**document.get('task', {})), faults=_faults(document.get('faults', {}), name),
        criteria=Criteria(**document.get('criteria', {})))
    _check_aisle(scenario.aisle, name)
    for key, point in (('robot.start', scenario.start[:2]), ('goal', scenario.goal)):
        _check_free(scenario.aisle, point, point, f'{name}: {key}')
    for i, person in enumerate(scenario.people):
        _check_person(scenario.aisle, person, f'{name}: people[{i}]')
    return scenario


def _aisle(world: dict[str, Any], obstacles: list[list[float]]) -> Aisle:
    gaps = {side: tuple(_floats(gap) for gap in world['gaps'][side]) for side in ('left', 'right')}
    return Aisle(
        x_m=_floats(world['x_m']), half_width_m=float(world['aisle_half_width_m']),
        rack_depth_m=float(world['rack_depth_m']), rack_height_m=float(world['rack_height_m']),
        passage_m=float(world['passage_m']), gaps_left=gaps['left'], gaps_right=gaps['right'],
        lane_line_width_m=float(world['lane_line_width_m']),
        obstacles=tuple(Box(*_floats(box)) for box in obstacles))


def _person(entry: dict[str, Any]) -> Person:
    trigger = entry.get('trigger', {})
    line = (float(trigger['robot_x_m']), 0.0, 0.0) if 'robot_x_m' in trigger else (
        _floats(trigger['line']) if trigger else None)
    jitter = Jitter(**entry.get('jitter', {}))
    if 'track' in entry:
        times, *places = zip(*entry['track'], strict=True)
        points = tuple(_floats(place) for place in zip(*places, strict=True))
        return Person(entry['name'], points[0], points[1:], 1.0, line, jitter,
                      _floats(times[1:]))
    return Person(
        name=entry['name'], start=_floats(entry['start']),
        way_points=tuple(_floats(point) for point in entry['way_points']),
        speed_mps=float(entry['speed_mps']), trigger=line, jitter=jitter)


def _faults(entry: dict[str, Any], name: str) -> Faults:
    delay = entry.get('policy_delay_ms')
    if delay and delay['p50'] > delay['p95']:
        raise ScenarioError(f'{name}: faults.policy_delay_ms: p50 must not be above p95')
    outages = tuple(_floats(outage) for outage in entry.get('policy_outages_s', []))
    for i, (begin, end) in enumerate(outages):
        if begin >= end:
            raise ScenarioError(f'{name}: faults.policy_outages_s[{i}]: must be [from, to] with '
                                'from below to')
    known = {key: entry[key] for key in ('camera', 'odometry_error', 'lidar_noise_m')
             if key in entry}
    return Faults((float(delay['p50']), float(delay['p95'])) if delay else None, outages, **known)


def _check_aisle(aisle: Aisle, name: str) -> None:
    if aisle.x_m[0] >= aisle.x_m[1]:
        raise ScenarioError(f'{name}: world.x_m: must be [from, to] with from below to')
    for side, gaps in (('left', aisle.gaps_left), ('right', aisle.gaps_right)):
        edge = aisle.x_m[0]
        for begin, end in sorted(gaps):
            if not edge <= begin < end <= aisle.x_m[1]:
                raise ScenarioError(f'{name}: world.gaps.{side}: [{begin:g}, {end:g}] is not '
                                    'inside x_m, or overlaps another gap')
            edge = end
    for i, box in enumerate(aisle.obstacles):
        if box.x0 >= box.x1 or box.y0 >= box.y1:
            raise ScenarioError(f'{name}: obstacles[{i}]: must be [x0, y0, x1, y1] with x0 below '
                                'x1 and y0 below y1')


def _check_person(aisle: Aisle, person: Person, key: str) -> None:
    if person.times_s:
        # As it was recorded, and no more exactly than that: it may lead along an obstacle's edge.
        if any(later <= earlier for earlier, later in pairwise((0.0, *person.times_s))):
            raise ScenarioError(f'{key}.track: its times must begin near 0 and grow')
        return
    if person.jitter.speed_mps >= person.speed_mps:
        raise ScenarioError(f'{key}.jitter.speed_mps: must be below speed_mps')
    here = person.start
    for i, there in enumerate(person.way_points):
        if here == there:
            raise ScenarioError(f'{key}.way_points[{i}]: is where the person already is')
        _check_free(aisle, here, there, f'{key}.way_points[{i}]')
        here = there


def _check_free(aisle: Aisle, a: Point, b: Point, key: str) -> None:
    for box in (*aisle.racks(), *aisle.walls()):
        if box.grown(PERSON_RADIUS_M).crossed(a, b):
            raise ScenarioError(f'{key}: leads through the rack or wall at x = {box.x0:g} to '
                                f'{box.x1:g}, y = {box.y0:g} to {box.y1:g}')
    if not (aisle.x_m[0] < b[0] < aisle.x_m[1] and abs(b[1]) < aisle.hall_half_width_m):
        raise ScenarioError(f'{key}: is outside the hall')


def _floats(values: Any) -> Any:
    return tuple(float(value) for value in values)
