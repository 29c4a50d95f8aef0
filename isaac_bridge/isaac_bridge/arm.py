"""The `arm` of a robot's file: joints with their limits, links, drives; a plain chain."""

import dataclasses
from collections.abc import Mapping
from typing import Any

Vector = tuple[float, float, float]


@dataclasses.dataclass(frozen=True)
class Joint:
    """One position-controlled hinge, and what its drive keeps to."""

    name: str
    lower: float                # rad
    upper: float
    max_velocity: float         # rad/s
    max_acceleration: float     # rad/s2, speeding up
    braking: float              # rad/s2, slowing down


@dataclasses.dataclass(frozen=True)
class Link:
    """What a joint moves: a bar from the joint to `tip`. At zero all frames are as base_link's."""

    at: Vector                  # of the joint, in the frame of the link before it, m
    axis: Vector                # of the joint, a unit vector
    tip: Vector                 # m, from the joint
    radius_m: float
    mass_kg: float


@dataclasses.dataclass(frozen=True)
class Servo:
    """What each drive does about a deviation: torque = stiffness * angle + damping * speed."""

    stiffness: float            # N m/rad
    damping: float              # N m s/rad
    inertia: float              # kg m2, of the motor behind its gears
    max_torque: float           # N m


@dataclasses.dataclass(frozen=True)
class Arm:
    """Everything that a world knows of an arm; tuples are in the order of the trajectories."""

    mount: Vector               # where the chain begins, in base_link
    joints: tuple[Joint, ...]
    links: tuple[Link, ...]
    rest: tuple[float, ...]     # where the joints are when the world begins, rad
    servo: Servo

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(joint.name for joint in self.joints)

    @property
    def mass_kg(self) -> float:
        return sum(link.mass_kg for link in self.links)


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
    return Arm(_vector(document['mount']), joints,
               tuple(_part(Link, values) for values in document['links']), rest,
               _part(Servo, document['servo']))


def _part(cls: type, values: Mapping[str, Any]) -> Any:
    """A dataclass from a validated mapping, which may hold keys for other packages."""
    picked = {field.name: values[field.name] for field in dataclasses.fields(cls)}
    return cls(**{name: _vector(value) if isinstance(value, list) else value
                  for name, value in picked.items()})


def _vector(values: Any) -> Vector:
    x, y, z = map(float, values)
    return x, y, z
