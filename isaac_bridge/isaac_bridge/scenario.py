"""Scenarios: a world, a robot's task and people, from `config/scenarios/*.yaml`."""

import dataclasses
from pathlib import Path
from typing import Any

from .documents import read_document
from .layout import Aisle, Point

PERSON_RADIUS_M = 0.20
PERSON_HEIGHT_M = 1.70


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
    """Stands at `start`; walks along the way points, never stopping for the robot."""

    name: str
    start: Point
    way_points: tuple[Point, ...]
    speed_mps: float
    robot_x_m: float | None     # starts to walk when the robot has passed it; None: at once
    jitter: Jitter


@dataclasses.dataclass(frozen=True)
class Scenario:
    name: str
    aisle: Aisle
    start: tuple[float, float, float]   # x, y, yaw of the robot
    goal: Point
    people: tuple[Person, ...]


def read_scenario(path: str | Path) -> Scenario:
    """Raises ScenarioError."""
    return _build(read_document(path, 'scenario', ScenarioError), str(path))


def _build(document: dict[str, Any], name: str) -> Scenario:
    scenario = Scenario(
        name=document['name'], aisle=_aisle(document['world']),
        start=_floats(document['robot']['start']), goal=_floats(document['goal']),
        people=tuple(_person(entry) for entry in document['people']))
    _check_aisle(scenario.aisle, name)
    for key, point in (('robot.start', scenario.start[:2]), ('goal', scenario.goal)):
        _check_free(scenario.aisle, point, point, f'{name}: {key}')
    for i, person in enumerate(scenario.people):
        _check_person(scenario.aisle, person, f'{name}: people[{i}]')
    return scenario


def _aisle(world: dict[str, Any]) -> Aisle:
    gaps = {side: tuple(_floats(gap) for gap in world['gaps'][side]) for side in ('left', 'right')}
    return Aisle(
        x_m=_floats(world['x_m']), half_width_m=float(world['aisle_half_width_m']),
        rack_depth_m=float(world['rack_depth_m']), rack_height_m=float(world['rack_height_m']),
        passage_m=float(world['passage_m']), gaps_left=gaps['left'], gaps_right=gaps['right'],
        lane_line_width_m=float(world['lane_line_width_m']))


def _person(entry: dict[str, Any]) -> Person:
    return Person(
        name=entry['name'], start=_floats(entry['start']),
        way_points=tuple(_floats(point) for point in entry['way_points']),
        speed_mps=float(entry['speed_mps']), robot_x_m=entry.get('trigger', {}).get('robot_x_m'),
        jitter=Jitter(**entry.get('jitter', {})))


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


def _check_person(aisle: Aisle, person: Person, key: str) -> None:
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


def _floats(values: list[float]) -> Any:
    return tuple(float(value) for value in values)
