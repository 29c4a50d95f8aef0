"""What a stage says, as plain numbers: the form in which engines read it, and are checked."""

import dataclasses
import functools
import math
from collections.abc import Iterator
from typing import Any

from pxr import Gf, Usd, UsdGeom, UsdLux, UsdPhysics

from . import paths
from .paths import OWN

Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]      # w, x, y, z
UPRIGHT: Quaternion = (1.0, 0.0, 0.0, 0.0)


class StageError(ValueError):
    """A stage is not one that `author` could have written; the message names the prim."""


@dataclasses.dataclass(frozen=True)
class Shape:
    """One geometric primitive. size: of a box its edges, of a plane its edges along x and y, of a
    cylinder and a capsule radius and length, of a sphere its radius; m."""

    path: str
    body: str | None            # of which it is a part; None: it stands in the hall
    kind: str                   # box, plane, cylinder, capsule, sphere
    size: tuple[float, ...]
    position: Vector            # of its middle, in the body's frame or the world's
    turn: Quaternion
    axis: str                   # of a cylinder or capsule, before it is turned
    colour: Vector
    collides: bool
    label: str                  # its semantic class, or its parents'
    tip: Vector | None = None   # of a link's bar, in the body's frame


@dataclasses.dataclass(frozen=True)
class Body:
    path: str
    name: str
    position: Vector            # in its parent prim's frame, with all joints at zero
    kinematic: bool
    mass_kg: float              # 0 for what is moved
    inertia: Vector             # principal moments, kg m2
    centre: Vector              # of mass


@dataclasses.dataclass(frozen=True)
class Hinge:
    """A revolute joint, or one that slides: then all rad are m. None: without a limit."""

    path: str
    name: str
    parent: str
    child: str
    at: Vector                  # in the parent's frame
    axis: Vector
    lower: float | None         # rad
    upper: float | None
    armature: float             # kg m2
    stiffness: float            # N m/rad
    damping: float              # N m s/rad
    max_torque: float           # N m; inf without a bound
    slides: bool = False


@dataclasses.dataclass(frozen=True)
class Lens:
    path: str
    body: str                   # which carries it
    position: Vector            # in the body's frame
    right: Vector               # of the image's x, in the body's frame
    up: Vector
    width: int
    height: int
    fov_y_rad: float


@dataclasses.dataclass(frozen=True)
class Lamp:
    position: Vector
    direction: Vector


@dataclasses.dataclass(frozen=True)
class Description:
    """Tuples are in the order of the stage's prims, which is the order of authoring."""

    name: str
    gravity: float
    shapes: tuple[Shape, ...]
    bodies: tuple[Body, ...]
    hinges: tuple[Hinge, ...]
    lenses: tuple[Lens, ...]
    lamps: tuple[Lamp, ...]

    def of(self, body: str | None) -> tuple[Shape, ...]:
        """The shapes of one body; None: of the hall."""
        return tuple(shape for shape in self.shapes if shape.body == body)

    @functools.cached_property
    def by_path(self) -> dict[str, Body]:
        return {body.path: body for body in self.bodies}


KINDS = {'Cube': 'box', 'Plane': 'plane', 'Cylinder': 'cylinder', 'Capsule': 'capsule',
         'Sphere': 'sphere'}


def read(stage: Usd.Stage) -> Description:
    """Raises StageError."""
    world = stage.GetPrimAtPath(paths.WORLD)
    if not world:
        raise StageError(f'the stage has no prim {paths.WORLD}')
    prims = list(Usd.PrimRange(world))
    scene = stage.GetPrimAtPath(paths.SCENE)
    if not scene:
        raise StageError(f'the stage has no prim {paths.SCENE}')
    return Description(
        name=own(world, 'scenario'), gravity=own(scene, 'gravity'),
        shapes=tuple(_shape(prim) for prim in prims if prim.GetTypeName() in KINDS),
        bodies=tuple(_body(prim) for prim in prims if prim.HasAPI(UsdPhysics.RigidBodyAPI)),
        hinges=tuple(_hinge(prim) for prim in prims if prim.IsA(UsdPhysics.RevoluteJoint)
                     or prim.IsA(UsdPhysics.PrismaticJoint)),
        lenses=tuple(_lens(prim) for prim in prims if prim.IsA(UsdGeom.Camera)),
        lamps=tuple(Lamp(_op(prim, 'translate'), _vector(own(prim, 'direction')))
                    for prim in prims if prim.IsA(UsdLux.DistantLight)))


def own(prim: Usd.Prim, name: str, default: Any = None) -> Any:
    """An attribute of ours; StageError without one and without a default."""
    value = prim.GetAttribute(f'{OWN}:{name}').Get()
    if value is None and default is None:
        raise StageError(f'{prim.GetPath()} has no {OWN}:{name}')
    return default if value is None else value


def _of(prim: Usd.Prim, name: str) -> Any:
    value = prim.GetAttribute(name).Get() if prim else None
    if value is None:
        raise StageError(f'{prim.GetPath()} has no {name}')
    return value


def _shape(prim: Usd.Prim) -> Shape:
    kind = KINDS[prim.GetTypeName()]
    body = next((parent for parent in _parents(prim) if parent.HasAPI(UsdPhysics.RigidBodyAPI)),
                None)
    if body is not None and prim.GetParent() != body:
        raise StageError(f'{prim.GetPath()} is not a child of its body {body.GetPath()}')
    tip = prim.GetAttribute(f'{OWN}:tip').Get()
    return Shape(
        path=str(prim.GetPath()), body=None if body is None else str(body.GetPath()), kind=kind,
        size=_size(prim, kind), position=_op(prim, 'translate'), turn=_turn(prim),
        axis=_of(prim, 'axis') if kind in ('plane', 'cylinder', 'capsule') else 'Z',
        colour=_vector(_of(prim, 'primvars:displayColor')[0]),
        collides=prim.HasAPI(UsdPhysics.CollisionAPI), label=_label(prim),
        tip=None if tip is None else _vector(tip))


def _size(prim: Usd.Prim, kind: str) -> tuple[float, ...]:
    if kind == 'box':
        x, y, z = _op(prim, 'scale')
        edge = _of(prim, 'size')
        return (x * edge, y * edge, z * edge)
    names = {'plane': ('width', 'length'), 'cylinder': ('radius', 'height'),
             'capsule': ('radius', 'height'), 'sphere': ('radius',)}
    return tuple(_of(prim, name) for name in names[kind])


def _body(prim: Usd.Prim) -> Body:
    kinematic = bool(prim.GetAttribute('physics:kinematicEnabled').Get())
    return Body(
        path=str(prim.GetPath()), name=own(prim, 'name', prim.GetName()),
        position=_op(prim, 'translate'), kinematic=kinematic,
        mass_kg=0.0 if kinematic else own(prim, 'mass'),
        inertia=(0.0, 0.0, 0.0) if kinematic else _vector(_of(prim, 'physics:diagonalInertia')),
        centre=(0.0, 0.0, 0.0) if kinematic else _vector(_of(prim, 'physics:centerOfMass')))


def _hinge(prim: Usd.Prim) -> Hinge:
    joint, slides = UsdPhysics.Joint(prim), prim.IsA(UsdPhysics.PrismaticJoint)
    bodies = [rel.GetTargets() for rel in (joint.GetBody0Rel(), joint.GetBody1Rel())]
    if [len(targets) for targets in bodies] != [1, 1]:
        raise StageError(f'{prim.GetPath()} does not join two bodies')
    drive = UsdPhysics.DriveAPI(prim, 'linear' if slides else 'angular')
    limited = prim.GetAttribute(f'{OWN}:lower').Get() is not None
    # USD counts angles in degrees: a drive's gains are per degree.
    per_radian = 1.0 if slides else math.degrees(1.0)
    return Hinge(
        path=str(prim.GetPath()), name=own(prim, 'name'), parent=str(bodies[0][0]),
        child=str(bodies[1][0]), at=_vector(own(prim, 'at')), axis=_vector(own(prim, 'axis')),
        lower=own(prim, 'lower') if limited else None,
        upper=own(prim, 'upper') if limited else None, armature=own(prim, 'armature', 0.0),
        stiffness=drive.GetStiffnessAttr().Get() * per_radian,
        damping=drive.GetDampingAttr().Get() * per_radian,
        max_torque=drive.GetMaxForceAttr().Get(), slides=slides)


def _lens(prim: Usd.Prim) -> Lens:
    rows = Gf.Matrix4d(_of(prim, 'xformOp:transform'))
    return Lens(path=str(prim.GetPath()), body=str(prim.GetParent().GetPath()),
                position=_vector(rows.GetRow3(3)), right=_vector(rows.GetRow3(0)),
                up=_vector(rows.GetRow3(1)),
                width=own(prim, 'width'), height=own(prim, 'height'), fov_y_rad=own(prim, 'fovY'))


def _label(prim: Usd.Prim) -> str:
    for one in (prim, *_parents(prim)):
        labels = one.GetAttribute('semantics:labels:class').Get()
        if labels:
            return str(labels[0])
    return ''


def _op(prim: Usd.Prim, name: str) -> Vector:
    return _vector(_of(prim, f'xformOp:{name}'))


def _turn(prim: Usd.Prim) -> Quaternion:
    turn = prim.GetAttribute('xformOp:orient').Get()
    return UPRIGHT if turn is None else (turn.GetReal(), *turn.GetImaginary())


def _parents(prim: Usd.Prim) -> Iterator[Usd.Prim]:
    while (prim := prim.GetParent()) and not prim.IsPseudoRoot():
        yield prim


def _vector(values: Any) -> Vector:
    x, y, z = values
    return float(x), float(y), float(z)
