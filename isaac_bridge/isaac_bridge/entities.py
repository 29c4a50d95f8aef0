"""What stands in a world and can be asked for, moved, made and taken away, by its name.

Metres, radians, seconds. Poses and twists are in the world's frame. The origin of an entity is
on its underside: a box at z = 0 stands on the floor, as robots and people do.
"""

import dataclasses
import enum
import math
import re

from .layout import Aisle

Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]      # x, y, z, w

MAX_NAME = 64
MAX_SIZE_M, MIN_SIZE_M = 10.0, 0.01
MAX_Z_M = 10.0
MAX_MPS, MAX_RADPS = 10.0, 20.0
MAX_SPAWNED = 100
_NAME = re.compile(r'[A-Za-z][A-Za-z0-9_]*(/[A-Za-z][A-Za-z0-9_]*)*')
_UNIT = 1e-3            # how far a quaternion's length may be from 1
_FLAT = 1e-3            # what stands on the floor may be tilted or raised by no more


class Scope(enum.IntFlag):
    """What a reset takes back; the numbers are simulation_interfaces' (ResetSimulation)."""

    TIME = 1            # the clock, and nothing else
    STATE = 2           # poses, velocities, walks, commands; who was deleted is there again
    SPAWNED = 4         # what was spawned is gone
    ALL = 255           # as if newly loaded


class Category(enum.IntEnum):
    """simulation_interfaces' EntityCategory."""

    OBJECT = 0
    ROBOT = 1
    HUMAN = 2
    DYNAMIC_OBJECT = 4
    STATIC_OBJECT = 5


class Fault(enum.Enum):
    """Why something cannot be done to an entity."""

    NOT_FOUND = 'not found'
    NAME_TAKEN = 'name taken'
    NAME_INVALID = 'name invalid'
    POSE_INVALID = 'pose invalid'
    RESOURCE = 'resource'
    REFUSED = 'refused'


class EntityError(ValueError):
    """One sentence, and which kind of fault it is."""

    def __init__(self, fault: Fault, sentence: str) -> None:
        super().__init__(sentence)
        self.fault = fault


@dataclasses.dataclass(frozen=True)
class Pose:
    position: Vector = (0.0, 0.0, 0.0)
    quaternion: Quaternion = (0.0, 0.0, 0.0, 1.0)

    @staticmethod
    def flat(x: float, y: float, yaw: float = 0.0) -> 'Pose':
        return Pose((x, y, 0.0), (0.0, 0.0, math.sin(yaw / 2), math.cos(yaw / 2)))

    @property
    def yaw(self) -> float:
        """Of the x axis seen from above, -pi to pi."""
        x, y, z, w = self.quaternion
        return math.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))


@dataclasses.dataclass(frozen=True)
class State:
    """Where an entity is and how it moves; both in the world's frame."""

    pose: Pose = Pose()
    linear: Vector = (0.0, 0.0, 0.0)        # m/s
    angular: Vector = (0.0, 0.0, 0.0)       # rad/s

    @property
    def moves(self) -> bool:
        return any((*self.linear, *self.angular))


@dataclasses.dataclass(frozen=True)
class Entity:
    name: str
    category: Category
    spawned: bool = False


@dataclasses.dataclass(frozen=True)
class Bounds:
    """An upright box in the entity's own frame: two corners."""

    lower: Vector
    upper: Vector


@dataclasses.dataclass(frozen=True)
class Resource:
    """What can be spawned. size_m: full lengths along x, y, z of what holds it."""

    kind: str                               # box, cylinder (upright), person
    size_m: Vector

    @property
    def bounds(self) -> Bounds:
        x, y, z = self.size_m
        return Bounds((-x / 2, -y / 2, 0.0), (x / 2, y / 2, z))


def check_name(name: str) -> None:
    """Letters, digits and underscores, parts divided by '/': what a ROS name may be."""
    if len(name) > MAX_NAME or not _NAME.fullmatch(name):
        raise EntityError(Fault.NAME_INVALID, f'the name {name[:MAX_NAME]!r} is not letters, digits'
                          f" and '_' in parts divided by '/', at most {MAX_NAME} in all")


def check_resource(resource: Resource) -> None:
    if resource.kind not in ('box', 'cylinder', 'person'):
        raise EntityError(Fault.RESOURCE, f'{resource.kind!r} is not one of: box, cylinder, person')
    if not all(MIN_SIZE_M <= length <= MAX_SIZE_M for length in resource.size_m):
        raise EntityError(Fault.RESOURCE, f'a size of {resource.size_m} m is not within '
                          f'{MIN_SIZE_M} to {MAX_SIZE_M}')
    x, y, _ = resource.size_m
    if resource.kind != 'box' and x != y:
        raise EntityError(Fault.RESOURCE, f'a {resource.kind} is round, so {x} by {y} m is none')


def check_pose(pose: Pose, aisle: Aisle, *, flat: bool) -> None:
    """Finite, inside the hall, with a unit quaternion; flat: upright and on the floor.

    Raises EntityError (POSE_INVALID).
    """
    x, y, z = pose.position
    length = math.hypot(*pose.quaternion)
    sentence = ''
    if not all(map(math.isfinite, pose.position)):
        sentence = f'the position {pose.position} is not finite'
    elif not (aisle.x_m[0] <= x <= aisle.x_m[1] and abs(y) <= aisle.hall_half_width_m
              and 0.0 <= z <= MAX_Z_M):
        sentence = (f'the position ({x:g}, {y:g}, {z:g}) is outside the world: x {aisle.x_m[0]:g} '
                    f'to {aisle.x_m[1]:g}, y {-aisle.hall_half_width_m:g} to '
                    f'{aisle.hall_half_width_m:g}, z 0 to {MAX_Z_M:g}')
    elif not abs(length - 1.0) <= _UNIT:
        sentence = f'the quaternion {pose.quaternion} has length {length:g}, not 1'
    elif flat and (z > _FLAT or max(map(abs, pose.quaternion[:2])) > _FLAT):
        sentence = 'it stands on the floor: z must be 0, and only yaw may differ from zero'
    if sentence:
        raise EntityError(Fault.POSE_INVALID, sentence)


def check_twist(state: State) -> None:
    """Planar, finite and believable. Raises EntityError (REFUSED)."""
    vx, vy, vz = state.linear
    wx, wy, wz = state.angular
    if vz or wx or wy:
        raise EntityError(Fault.REFUSED, 'it moves on the floor: linear.z, angular.x and angular.y '
                          'must be 0')
    if not (math.hypot(vx, vy) <= MAX_MPS and abs(wz) <= MAX_RADPS):
        raise EntityError(Fault.REFUSED, f'a twist of ({vx:g}, {vy:g}) m/s and {wz:g} rad/s is not '
                          f'within {MAX_MPS:g} m/s and {MAX_RADPS:g} rad/s')
