"""The part of `config/robots/*.yaml` that a world needs: outline, limits, lidar, camera, arm."""

import dataclasses
import math
from pathlib import Path
from typing import Any

from .arm import Arm, arm_of
from .documents import read_document

Point = tuple[float, float]


class RobotError(ValueError):
    """A robot file is missing or breaks a rule; the message names the file, the key, the rule."""


@dataclasses.dataclass(frozen=True)
class Limits:
    max_speed_mps: float
    max_reverse_mps: float
    max_turn_radps: float
    max_acceleration_mps2: float
    max_turn_acceleration_radps2: float
    braking_mps2: float
    turn_braking_radps2: float
    command_timeout_s: float


@dataclasses.dataclass(frozen=True)
class Lidar:
    name: str
    topic: str
    frame: str
    pose: tuple[float, float, float]    # x, y, yaw in base_link
    height_m: float
    beams: int
    angle_min_rad: float
    angle_max_rad: float
    rate_hz: float
    range_min_m: float
    range_max_m: float
    noise_m: float                      # one sigma
    dropout: float = 0.0                # share of the beams that come back empty
    latency_ms: float = 0.0             # of its ranges, which the stamp knows nothing of

    @property
    def angle_increment_rad(self) -> float:
        return (self.angle_max_rad - self.angle_min_rad) / (self.beams - 1)


@dataclasses.dataclass(frozen=True)
class Camera:
    name: str
    frame: str
    pose: tuple[float, float, float]    # x, y, z in base_link, looking forward
    pitch_rad: float                    # nose down is positive, as REP-103 turns about y
    width: int
    height: int
    fov_y_rad: float
    rate_hz: float
    joint: str | None = None            # of the arm, whose link carries it; pose is then in that
    parent_frame: str = 'base_link'     # the name of that link's frame
    noise: float = 0.0                  # one sigma, of 255 levels
    dropout: float = 0.0                # share of the images that do not come
    latency_ms: float = 0.0             # of an image, which its stamp knows nothing of

    @property
    def focal_px(self) -> float:
        """Pinhole focal length; pixels are square."""
        return self.height / 2 / math.tan(self.fov_y_rad / 2)


@dataclasses.dataclass(frozen=True)
class Robot:
    name: str
    outline: tuple[Point, ...]          # base_link, counter-clockwise, convex
    height_m: float
    mass_kg: float                      # with the arm
    wheel_radius_m: float
    wheel_separation_m: float
    joints: tuple[str, str]
    limits: Limits
    lidar: Lidar
    camera: Camera | None
    arm: Arm | None = None

    @property
    def joint_names(self) -> tuple[str, ...]:
        """The wheels, then the arm's."""
        return self.joints if self.arm is None else (*self.joints, *self.arm.names)

    @property
    def told_names(self) -> tuple[str, ...]:
        """The joints of a frame: those, then what the arm tells without having it."""
        return (self.joint_names if self.arm is None
                else (*self.joint_names, *(name for name, _ in self.arm.constant)))

    @property
    def half_width_m(self) -> float:
        return max(abs(y) for _, y in self.outline)

    @property
    def circumradius_m(self) -> float:
        return max(math.hypot(x, y) for x, y in self.outline)


def read_robot(path: str | Path) -> Robot:
    """Raises RobotError."""
    document = read_document(path, 'robot', RobotError)
    base = document['base']
    outline = tuple((float(x), float(y)) for x, y in base['footprint'])
    if not _is_convex_around_origin(outline):
        raise RobotError(f'{path}: base.footprint: must be convex, counter-clockwise, around 0, 0')
    lidars, cameras = document['lidars'], document.get('cameras', [])
    if len(lidars) > 1 or len(cameras) > 1:
        raise RobotError(f'{path}: this world carries one lidar and at most one camera, '
                         f'not {len(lidars)} and {len(cameras)}')
    lidar = _part(Lidar, lidars[0])
    if lidar.angle_max_rad <= lidar.angle_min_rad or lidar.range_max_m <= lidar.range_min_m:
        raise RobotError(f'{path}: lidars[0]: a maximum is not above its minimum')
    robot = Robot(
        name=document['name'], outline=outline, height_m=float(base['height_m']),
        mass_kg=float(base['mass_kg']), wheel_radius_m=float(base['wheel_radius_m']),
        wheel_separation_m=float(base['wheel_separation_m']), joints=tuple(base['joints']),
        limits=_part(Limits, document['limits']), lidar=lidar,
        camera=_part(Camera, cameras[0]) if cameras else None,
        arm=_arm(path, document['arm']) if 'arm' in document else None)
    if robot.camera is not None and robot.camera.joint is not None and (
            robot.arm is None or robot.camera.joint not in robot.arm.names):
        raise RobotError(f'{path}: cameras[0].joint: {robot.camera.joint} is no joint of the arm')
    if len(set(robot.told_names)) < len(robot.told_names):
        raise RobotError(f'{path}: arm.joints: a wheel has the same name')
    if robot.arm is not None and robot.arm.mass_kg >= robot.mass_kg:
        raise RobotError(f'{path}: base.mass_kg: is of the whole robot, and its arm is no lighter')
    return robot


def _arm(path: str | Path, document: dict[str, Any]) -> Arm:
    try:
        return arm_of(document)
    except ValueError as problem:
        raise RobotError(f'{path}: {problem}') from problem


def _part(cls: type, values: dict[str, Any]) -> Any:
    """A dataclass from a validated mapping, which may hold keys for other packages."""
    picked = {field.name: values[field.name] for field in dataclasses.fields(cls)
              if field.name in values}
    return cls(**{name: tuple(map(float, value)) if isinstance(value, list) else value
                  for name, value in picked.items()})


def _is_convex_around_origin(points: tuple[Point, ...]) -> bool:
    around = zip(points, (*points[1:], points[0]), (*points[2:], *points[:2]), strict=True)
    return all((bx - ax) * (cy - by) - (by - ay) * (cx - bx) > 0 and ax * by - ay * bx > 0
               for (ax, ay), (bx, by), (cx, cy) in around)
