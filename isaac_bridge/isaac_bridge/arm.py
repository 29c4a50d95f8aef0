"""The `arm` of a robot's file: joints with their limits, links, drives; a chain or a tree.

A link hangs on the link of the joint before it, or on the one that its `parent` names: so two arms
hang on one torso. The order of the file is the order of commands and measurements; it need not be
the tree's.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any

Vector = tuple[float, float, float]
BASE = -1                       # as a parent: the robot's base
HINGE, SLIDE = 'hinge', 'slide'


@dataclasses.dataclass(frozen=True)
class Joint:
    """One position-controlled joint, and what its drive keeps to. Of a slide all rad are m."""

    name: str
    lower: float                # rad
    upper: float
    max_velocity: float         # rad/s
    max_acceleration: float     # rad/s2, speeding up
    braking: float              # rad/s2, slowing down
    kind: str = HINGE


@dataclasses.dataclass(frozen=True)
class Servo:
    """What each drive does about a deviation: torque = stiffness * angle + damping * speed."""

    stiffness: float            # N m/rad; of a slide N/m
    damping: float              # N m s/rad
    inertia: float              # kg m2, of the motor behind its gears; of a slide kg
    max_torque: float           # N m; of a slide N


@dataclasses.dataclass(frozen=True)
class Link:
    """What a joint moves: a bar from the joint to `tip`. At zero all frames are as base_link's."""

    at: Vector                  # of the joint, in the frame of the link that it hangs on, m
    axis: Vector                # of the joint, a unit vector
    tip: Vector                 # m, from the joint
    radius_m: float
    mass_kg: float
    parent: str | None = None   # the joint on whose link it hangs; base: on the robot's base
    servo: str | None = None    # a name in the arm's `servos`; without one it has the arm's `servo`


@dataclasses.dataclass(frozen=True)
class JointSensor:
    """What encoders and their bus make of true positions; see engines/sensors.py."""

    noise: float = 0.0              # of a position, one sigma, rad (m)
    velocity_noise: float = 0.0     # one sigma, rad/s (m/s)
    dropout: float = 0.0            # share of the readings that are lost: the one before stands
    latency_ms: float = 0.0         # of a reading, which its stamp knows nothing of
    rate_hz: float = math.inf       # of readings; inf: one at each physics step


@dataclasses.dataclass(frozen=True)
class Arm:
    """Everything that a world knows of an arm; tuples are in the order of the trajectories."""

    mount: Vector               # where the links begin that hang on the base, in base_link
    joints: tuple[Joint, ...]
    links: tuple[Link, ...]
    rest: tuple[float, ...]     # where the joints are when the world begins, rad
    servo: Servo
    servos: tuple[tuple[str, Servo], ...] = ()
    constant: tuple[tuple[str, float], ...] = ()    # joints that it has not, told at rest
    sensor: JointSensor | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(joint.name for joint in self.joints)

    @property
    def mass_kg(self) -> float:
        return sum(link.mass_kg for link in self.links)

    @functools.cached_property
    def drives(self) -> tuple[Servo, ...]:
        """Of each joint."""
        named = dict(self.servos)
        return tuple(named[link.servo] if link.servo else self.servo for link in self.links)

    @functools.cached_property
    def parents(self) -> tuple[int, ...]:
        """The joint on whose link each link hangs, as a number in `joints`, or BASE."""
        names = self.names
        return tuple(i - 1 if link.parent is None else
                     BASE if link.parent == 'base' else names.index(link.parent)
                     for i, link in enumerate(self.links))

    @functools.cached_property
    def order(self) -> tuple[int, ...]:
        """The joints' numbers so that none comes before the one it hangs on; of a chain 0, 1, ..

        Raises ValueError for a link that hangs on itself.
        """
        placed: list[int] = []
        while len(placed) < len(self.joints):
            ready = [i for i, parent in enumerate(self.parents)
                     if i not in placed and (parent == BASE or parent in placed)]
            if not ready:
                lost = next(i for i in range(len(self.joints)) if i not in placed)
                raise ValueError(f'arm.links: {self.joints[lost].name} hangs on itself')
            placed.append(ready[0])
        return tuple(placed)


def arm_of(document: Mapping[str, Any]) -> Arm:
    """An arm from a mapping that the schema has passed; ValueError with the key and the rule."""
    joints = tuple(_part(Joint, values) for values in document['joints'])
    rest = tuple(map(float, document['rest']))
    for key, values in (('links', document['links']), ('rest', rest)):
        if len(values) != len(joints):
            raise ValueError(f'arm.{key}: {len(values)} for {len(joints)} joints')
    names = [joint.name for joint in joints]
    if len(set(names)) < len(names):
        raise ValueError('arm.joints: two have one name')
    for joint, angle in zip(joints, rest, strict=True):
        if joint.lower >= joint.upper:
            raise ValueError(f'arm.joints: lower of {joint.name} is not below its upper')
        if not joint.lower <= angle <= joint.upper:
            raise ValueError(f'arm.rest: {angle} of {joint.name} is beyond its limits')
    servos = {name: _part(Servo, values) for name, values in document.get('servos', {}).items()}
    links = tuple(_part(Link, values) for values in document['links'])
    for i, link in enumerate(links):
        if link.parent not in (None, 'base', *names):
            raise ValueError(f'arm.links[{i}].parent: {link.parent} is no joint of the arm')
        if link.servo is not None and link.servo not in servos:
            raise ValueError(f'arm.links[{i}].servo: {link.servo} is none of the servos')
    constant = tuple((name, float(value)) for name, value in document.get('constant', {}).items())
    if set(names) & {name for name, _ in constant}:
        raise ValueError('arm.constant: names a joint that the arm has')
    sensor = document.get('sensor')
    arm = Arm(_vector(document['mount']), joints, links, rest, _part(Servo, document['servo']),
              tuple(servos.items()), constant, None if sensor is None else
              _part(JointSensor, sensor))
    assert len(arm.order) == len(joints)    # raises for a ring
    return arm


def _part(cls: type, values: Mapping[str, Any]) -> Any:
    """A dataclass from a validated mapping, which may hold keys for other packages."""
    picked = {field.name: values[field.name] for field in dataclasses.fields(cls)
              if field.name in values}
    return cls(**{name: _vector(value) if isinstance(value, list) else value
                  for name, value in picked.items()})


def _vector(values: Any) -> Vector:
    x, y, z = map(float, values)
    return x, y, z
