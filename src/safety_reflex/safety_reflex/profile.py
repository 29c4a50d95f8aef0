"""A robot's file and its fields' file as the reflex needs them; a wrong key is named."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from safety_reflex.fields import Approach, FieldSet, Muting, SlowField, derived_sets
from safety_reflex.shapes import Polygon, corner_radius
from safety_reflex.yaml_file import Key, ProfileError, YamlFile

__all__ = ['ArmLimits', 'Lidar', 'Profile', 'ProfileError', 'load_profile']

_LIMITS = ('max_speed_mps', 'max_reverse_mps', 'max_turn_radps', 'max_acceleration_mps2',
           'max_turn_acceleration_radps2', 'braking_mps2', 'turn_braking_radps2')
_MAX_LIDARS, _MAX_SETS, _MAX_JOINTS = 8, 64, 64
# Muting is for docking: nothing faster, longer or larger than that is one.
_MUTING_MAX_S, _MUTING_MAX_MPS, _MUTING_MAX_AREA_M2 = 60.0, 0.3, 4.0


@dataclass(frozen=True)
class Lidar:
    """One scanner; its pose (x, y, yaw) in base_link is static: no transform is looked up."""

    name: str
    topic: str
    pose: tuple[float, float, float]
    beams: int
    angle_min_rad: float
    angle_increment_rad: float
    rate_hz: float
    range_max_m: float


@dataclass(frozen=True)
class ArmLimits:
    """Position-controlled joints, in the order of their trajectories. Arrays (joints,), SI."""

    names: tuple[str, ...]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    max_velocity: NDArray[np.float64]
    max_acceleration: NDArray[np.float64]
    braking: NDArray[np.float64]
    max_jerk: NDArray[np.float64]


@dataclass(frozen=True)
class Profile:
    """Everything the reflex knows of one robot. SI units, base_link."""

    robot: str
    footprint: Polygon
    corner_radius_m: float
    limits: Mapping[str, float]
    max_jerk_mps3: float
    lidars: tuple[Lidar, ...]
    arm: ArmLimits | None
    approach: Approach
    sets: tuple[FieldSet, ...]
    slow: tuple[SlowField, ...]
    collision_time_s: float
    mutings: tuple[Muting, ...]
    min_points: int
    scans: int


def load_profile(robot_file: Path, fields_file: Path) -> Profile:
    """Read and check both files; raises ProfileError."""
    robot, fields = YamlFile(robot_file), YamlFile(fields_file)
    footprint = robot.corners('base', 'footprint')
    limits = {key: robot.number('limits', key, low=0.01, high=20.0) for key in _LIMITS}
    lidars = tuple(_lidar(robot, index)
                   for index in range(robot.count('lidars', most=_MAX_LIDARS)))
    if not lidars:
        raise ProfileError(f'{robot_file}: lidars: at least one scanner is needed')
    fields.only(allowed=(
        'schema_version', 'robot', 'walking_speed_mps', 'side_walking_speed_mps', 'reaction_s',
        'brake_wear_factor', 'supplement_m', 'speeds_mps', 'field_sets', 'slow_fields',
        'collision_time_s', 'muting', 'min_points', 'scans'))
    names = fields.value('robot')
    if robot.text('name') not in ([names] if isinstance(names, str) else names):
        raise ProfileError(f'{fields_file}: robot: {names} is not {robot.text("name")}, the robot '
                           f'of {robot_file}')
    for what in ('name', 'topic'):
        if len({getattr(lidar, what) for lidar in lidars}) < len(lidars):
            raise ProfileError(f'{robot_file}: lidars: two scanners have one {what}')
    walking = fields.number('walking_speed_mps', low=0.5, high=5.0)
    approach = Approach(
        walking, fields.number('side_walking_speed_mps', low=0.0, high=5.0, default=walking),
        fields.number('reaction_s', low=0.01, high=2.0),
        limits['braking_mps2'] / fields.number('brake_wear_factor', low=1.0, high=3.0),
        fields.number('supplement_m', low=0.0, high=2.0))
    mutings = tuple(_muting(fields, footprint, index)
                    for index in range(fields.count('muting', most=4)))
    if len({muting.topic for muting in mutings}) < len(mutings):
        raise ProfileError(f'{fields_file}: muting: two have one topic')
    sets, slow = _fields(fields, approach, footprint, limits['max_speed_mps'])
    return Profile(
        robot.text('name'), footprint, corner_radius(footprint), limits,
        robot.number('limits', 'max_jerk_mps3', low=0.1, high=1000.0, default=1000.0),
        lidars, _arm(robot), approach, sets, slow,
        fields.number('collision_time_s', low=0.0, high=10.0, default=0.0),
        mutings,
        int(fields.number('min_points', low=1, high=20)),
        int(fields.number('scans', low=1, high=16, default=1)))


def _fields(file: YamlFile, approach: Approach, footprint: Polygon,
            top_speed_mps: float) -> tuple[tuple[FieldSet, ...], tuple[SlowField, ...]]:
    """Drawn field sets first, then derived ones; the first that covers a motion guards it."""
    drawn = tuple(_drawn_set(file, footprint, index)
                  for index in range(file.count('field_sets', most=_MAX_SETS)))
    slow = tuple(SlowField(file.text('slow_fields', index, 'name'),
                           file.shape(footprint, 'slow_fields', index, 'shape'),
                           file.number('slow_fields', index, 'limit_mps', low=0.01, high=20.0))
                 for index in range(file.count('slow_fields', most=_MAX_SETS)))
    if not file.has('speeds_mps'):
        if not drawn:
            raise ProfileError(f'{file.path}: needs speeds_mps, field_sets, or both')
        return drawn, slow
    speeds = file.numbers('speeds_mps')
    if list(speeds) != sorted(set(speeds)) or not speeds or speeds[0] <= 0:
        raise ProfileError(f'{file.path}: speeds_mps: must rise from above zero')
    if speeds[-1] < top_speed_mps:
        raise ProfileError(f'{file.path}: speeds_mps: {speeds[-1]} does not cover the robot\'s '
                           f'max_speed_mps {top_speed_mps}')
    derived, ladder = derived_sets(approach, speeds, footprint)
    # The ladder slows a robot for what stands in the derived fields; beside drawn ones it would
    # take back what they were drawn for.
    return drawn + derived, slow + (() if drawn else ladder)


def _drawn_set(file: YamlFile, footprint: Polygon, index: int) -> FieldSet:
    at: tuple[Key, ...] = ('field_sets', index)
    file.only(*at, allowed=('name', 'speed_mps', 'turn_radps', 'stop'))
    return FieldSet(file.text(*at, 'name'), file.shape(footprint, *at, 'stop'),
                    file.band(*at, 'speed_mps'), file.band(*at, 'turn_radps'))


def _muting(file: YamlFile, footprint: Polygon, index: int) -> Muting:
    at: tuple[Key, ...] = ('muting', index)
    file.only(*at, allowed=('name', 'topic', 'shape', 'max_s', 'max_speed_mps'))
    polygon = file.shape(footprint, *at, 'shape')
    if not _convex(polygon):
        raise file.error((*at, 'shape'), 'must be convex, so that no beam is muted beyond it')
    if not file.text(*at, 'topic').startswith('safety/muting/'):
        raise file.error((*at, 'topic'), 'must begin with safety/muting/')
    xs, ys = [x for x, _ in polygon], [y for _, y in polygon]
    if (max(xs) - min(xs)) * (max(ys) - min(ys)) > _MUTING_MAX_AREA_M2:
        raise file.error((*at, 'shape'), f'must fit into {_MUTING_MAX_AREA_M2} square metres')
    return Muting(file.text(*at, 'name'), file.text(*at, 'topic'), polygon,
                  file.number(*at, 'max_s', low=0.5, high=_MUTING_MAX_S),
                  file.number(*at, 'max_speed_mps', low=0.01, high=_MUTING_MAX_MPS))


def _lidar(robot: YamlFile, index: int) -> Lidar:
    at: tuple[Key, ...] = ('lidars', index)
    beams = int(robot.number(*at, 'beams', low=2, high=20_000))
    first = robot.number(*at, 'angle_min_rad', low=-2 * math.pi, high=2 * math.pi)
    last = robot.number(*at, 'angle_max_rad', low=first, high=first + 2 * math.pi)
    if last == first:
        raise robot.error((*at, 'angle_max_rad'), 'must be above angle_min_rad')
    x, y, yaw = robot.numbers(*at, 'pose', length=3)
    return Lidar(robot.text(*at, 'name'), robot.text(*at, 'topic'), (x, y, yaw), beams, first,
                 (last - first) / (beams - 1), robot.number(*at, 'rate_hz', low=1.0, high=1000.0),
                 robot.number(*at, 'range_max_m', low=0.1, high=1000.0))


def _arm(robot: YamlFile) -> ArmLimits | None:
    number = robot.count('arm', 'joints', most=_MAX_JOINTS)
    if number == 0:
        return None

    def column(key: str, low: float, high: float) -> NDArray[np.float64]:
        return np.array([robot.number('arm', 'joints', index, key, low=low, high=high)
                         for index in range(number)])
    names = tuple(robot.text('arm', 'joints', index, 'name') for index in range(number))
    if len(set(names)) != number:
        raise robot.error(('arm', 'joints'), 'two joints have one name')
    arm = ArmLimits(names, column('lower', -1000.0, 1000.0), column('upper', -1000.0, 1000.0),
                    column('max_velocity', 0.001, 100.0), column('max_acceleration', 0.001, 1e4),
                    column('braking', 0.001, 1e4), column('max_jerk', 0.001, 1e6))
    if not np.all(arm.lower < arm.upper):
        raise robot.error(('arm', 'joints'), 'lower must be below upper')
    return arm


def _convex(polygon: Polygon) -> bool:
    corners = zip(polygon, polygon[1:] + polygon[:1], polygon[2:] + polygon[:2], strict=True)
    return all((bx - ax) * (cy - by) - (by - ay) * (cx - bx) >= -1e-12
               for (ax, ay), (bx, by), (cx, cy) in corners)
