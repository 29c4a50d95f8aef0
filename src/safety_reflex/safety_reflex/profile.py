"""A robot's file and its fields' file as the reflex needs them; a wrong key is named."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from safety_reflex.fields import Approach, FieldSet, Polygon, corner_radius, derive

MAX_FILE_BYTES = 1_000_000


class ProfileError(ValueError):
    """A robot or fields file cannot be used; the message names the file, the key and the rule."""


@dataclass(frozen=True)
class Lidar:
    name: str
    topic: str
    pose: tuple[float, float, float]
    beams: int
    angle_min_rad: float
    angle_increment_rad: float


@dataclass(frozen=True)
class Profile:
    """Everything the reflex knows of one robot. SI units, base_link."""

    robot: str
    footprint: Polygon
    corner_radius_m: float
    limits: Mapping[str, float]
    lidars: tuple[Lidar, ...]
    approach: Approach
    sets: tuple[FieldSet, ...]
    min_points: int


_LIMITS = ('max_speed_mps', 'max_reverse_mps', 'max_turn_radps', 'max_acceleration_mps2',
           'max_turn_acceleration_radps2', 'braking_mps2', 'turn_braking_radps2')


def load_profile(robot_file: Path, fields_file: Path) -> Profile:
    """Read and check both files; raises ProfileError."""
    robot, fields = _Reader(robot_file), _Reader(fields_file)
    footprint = tuple((float(x), float(y)) for x, y in robot.value('base', 'footprint'))
    limits = {key: robot.number('limits', key, low=0.01, high=20.0) for key in _LIMITS}
    lidars = tuple(_lidar(robot, index) for index in range(len(robot.value('lidars'))))
    if not lidars:
        raise ProfileError(f'{robot_file}: lidars: at least one scanner is needed')
    approach = Approach(
        fields.number('walking_speed_mps', low=0.5, high=5.0),
        fields.number('reaction_s', low=0.01, high=2.0),
        limits['braking_mps2'] / fields.number('brake_wear_factor', low=1.0, high=3.0),
        fields.number('supplement_m', low=0.0, high=2.0))
    speeds = [float(speed) for speed in fields.value('speeds_mps')]
    if speeds != sorted(speeds) or not speeds or speeds[0] <= 0:
        raise ProfileError(f'{fields_file}: speeds_mps: must rise from above zero')
    if speeds[-1] < limits['max_speed_mps']:
        raise ProfileError(f'{fields_file}: speeds_mps: {speeds[-1]} does not cover the robot\'s '
                           f'max_speed_mps {limits["max_speed_mps"]}')
    return Profile(robot.value('name'), footprint, corner_radius(footprint), limits, lidars,
                   approach, tuple(derive(approach, speed, footprint) for speed in speeds),
                   int(fields.number('min_points', low=1, high=20)))


def _lidar(robot: '_Reader', index: int) -> Lidar:
    beams = int(robot.number('lidars', index, 'beams', low=2, high=20_000))
    first = robot.number('lidars', index, 'angle_min_rad', low=-2 * math.pi, high=2 * math.pi)
    last = robot.number('lidars', index, 'angle_max_rad', low=first, high=first + 2 * math.pi)
    x, y, yaw = (float(value) for value in robot.value('lidars', index, 'pose'))
    return Lidar(robot.value('lidars', index, 'name'), robot.value('lidars', index, 'topic'),
                 (x, y, yaw), beams, first, (last - first) / (beams - 1))


class _Reader:
    """Keys of a YAML file, each with an error that names it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                raise ProfileError(f'{path}: larger than {MAX_FILE_BYTES} bytes')
            self._content = yaml.safe_load(path.read_text())
        except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
            reason = ' '.join(str(error).split())
            raise ProfileError(f'{path}: cannot be read: {reason}') from error

    def value(self, *keys: str | int) -> Any:
        at = self._content
        for key in keys:
            try:
                at = at[key]
            except (KeyError, TypeError, IndexError):
                raise ProfileError(f'{self._path}: {".".join(map(str, keys))}: missing') from None
        return at

    def number(self, *keys: str | int, low: float, high: float) -> float:
        value = self.value(*keys)
        if isinstance(value, bool) or not isinstance(value, int | float) \
                or not low <= value <= high:
            raise ProfileError(f'{self._path}: {".".join(map(str, keys))} = {value!r}: '
                               f'must be a number from {low} to {high}')
        return float(value)
