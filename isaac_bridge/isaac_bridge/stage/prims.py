"""The few kinds of prim that a stage is made of."""

import math
from typing import Any

from pxr import Gf, Sdf, Tf, Usd, UsdGeom, UsdPhysics, UsdSemantics, UsdShade

from .paths import OWN

Vector = tuple[float, float, float]


def name_of(text: str) -> str:
    """A prim name as near to the text as USD allows."""
    return Tf.MakeValidIdentifier(text)


def own(prim: Usd.Prim, **values: Any) -> None:
    """Attributes `spinal:<name>` in double precision; a_name becomes aName."""
    for name, value in values.items():
        first, *rest = name.split('_')
        key = f'{OWN}:{first}{"".join(word.capitalize() for word in rest)}'
        prim.CreateAttribute(key, _type_of(value), custom=True).Set(_typed(value))


def _type_of(value: Any) -> Sdf.ValueTypeName:
    names = Sdf.ValueTypeNames
    if isinstance(value, bool):
        return names.Bool
    if isinstance(value, int):
        return names.Int
    if isinstance(value, float):
        return names.Double
    if isinstance(value, str):
        return names.String
    if value and isinstance(value[0], tuple):
        return names.Double2Array
    return names.Double3


def _typed(value: Any) -> Any:
    if not isinstance(value, tuple):
        return value
    return [Gf.Vec2d(*pair) for pair in value] if isinstance(value[0], tuple) else Gf.Vec3d(*value)


def place(prim: UsdGeom.Xformable, position: Vector, yaw_rad: float = 0.0) -> None:
    """Put a prim at a position in its parent's frame, turned about z."""
    prim.AddTranslateOp(UsdGeom.XformOp.PrecisionDouble).Set(Gf.Vec3d(*position))
    if yaw_rad:
        prim.AddRotateZOp(UsdGeom.XformOp.PrecisionDouble).Set(math.degrees(yaw_rad))


def xform(stage: Usd.Stage, path: str, position: Vector | None = None,
          yaw_rad: float = 0.0) -> Usd.Prim:
    group = UsdGeom.Xform.Define(stage, path)
    if position is not None:
        place(group, position, yaw_rad)
    return group.GetPrim()


def box(stage: Usd.Stage, path: str, position: Vector, size: Vector,
        colour: Vector) -> Usd.Prim:
    """A cuboid about its middle; size: its full edges, m."""
    cube = UsdGeom.Cube.Define(stage, path)
    cube.CreateSizeAttr(1.0)
    cube.CreateExtentAttr([Gf.Vec3f(-0.5), Gf.Vec3f(0.5)])
    place(cube, position)
    cube.AddScaleOp(UsdGeom.XformOp.PrecisionDouble).Set(Gf.Vec3d(*size))
    return _painted(cube, colour)


def cylinder(stage: Usd.Stage, path: str, position: Vector, radius: float, height: float,
             colour: Vector, axis: str = 'Z') -> Usd.Prim:
    shape = UsdGeom.Cylinder.Define(stage, path)
    shape.CreateRadiusAttr(radius)
    shape.CreateHeightAttr(height)
    shape.CreateAxisAttr(axis)
    half = [height / 2 if name == axis else radius for name in 'XYZ']
    shape.CreateExtentAttr([-Gf.Vec3f(*half), Gf.Vec3f(*half)])
    place(shape, position)
    return _painted(shape, colour)


def sphere(stage: Usd.Stage, path: str, position: Vector, radius: float,
           colour: Vector) -> Usd.Prim:
    shape = UsdGeom.Sphere.Define(stage, path)
    shape.CreateRadiusAttr(radius)
    shape.CreateExtentAttr([Gf.Vec3f(-radius), Gf.Vec3f(radius)])
    place(shape, position)
    return _painted(shape, colour)


def bar(stage: Usd.Stage, path: str, tip: Vector, radius: float, colour: Vector) -> Usd.Prim:
    """A capsule from the origin of its parent to tip, its round ends beyond them."""
    length = math.hypot(*tip)
    shape = UsdGeom.Capsule.Define(stage, path)
    shape.CreateRadiusAttr(radius)
    shape.CreateHeightAttr(length)
    shape.CreateAxisAttr('Z')
    shape.CreateExtentAttr([Gf.Vec3f(-radius, -radius, -length / 2 - radius),
                            Gf.Vec3f(radius, radius, length / 2 + radius)])
    x, y, z = (part / 2 for part in tip)
    place(shape, (x, y, z))
    shape.AddOrientOp(UsdGeom.XformOp.PrecisionDouble).Set(turn_to((0.0, 0.0, 1.0), tip))
    own(shape.GetPrim(), tip=tip)
    return _painted(shape, colour)


def turn_to(one: Vector, other: Vector) -> Gf.Quatd:
    """The shortest rotation that takes the direction of one into that of the other."""
    return Gf.Rotation(Gf.Vec3d(*one), Gf.Vec3d(*other)).GetQuat()


def _painted(shape: UsdGeom.Gprim, colour: Vector) -> Usd.Prim:
    shape.CreateDisplayColorAttr([Gf.Vec3f(*colour)])
    return shape.GetPrim()


def label(prim: Usd.Prim, kind: str) -> None:
    """The semantic class, as renderers' segmentation reads it."""
    UsdSemantics.LabelsAPI.Apply(prim, 'class').CreateLabelsAttr([kind])


def collide(prim: Usd.Prim, material: UsdShade.Material | None = None) -> None:
    UsdPhysics.CollisionAPI.Apply(prim)
    if material is not None:
        UsdShade.MaterialBindingAPI.Apply(prim).Bind(
            material, UsdShade.Tokens.weakerThanDescendants, 'physics')


def material(stage: Usd.Stage, path: str, friction: float,
             least: bool = False) -> UsdShade.Material:
    """A surface; least: its friction is the pair's, however rough the other is."""
    surface = UsdShade.Material.Define(stage, path)
    api = UsdPhysics.MaterialAPI.Apply(surface.GetPrim())
    api.CreateStaticFrictionAttr(friction)
    api.CreateDynamicFrictionAttr(friction)
    api.CreateRestitutionAttr(0.0)
    if least:
        prim = surface.GetPrim()
        prim.AddAppliedSchema('PhysxMaterialAPI')
        prim.CreateAttribute('physxMaterial:frictionCombineMode', Sdf.ValueTypeNames.Token,
                             custom=False, variability=Sdf.VariabilityUniform).Set('min')
    return surface


def weigh(prim: Usd.Prim, mass_kg: float, inertia: Vector, centre: Vector,
          axes: Gf.Quatd | None = None) -> None:
    """Mass, its middle in the body's frame, and the principal moments along axes (identity)."""
    api = UsdPhysics.MassAPI.Apply(prim)
    api.CreateMassAttr(mass_kg)
    api.CreateDiagonalInertiaAttr(Gf.Vec3f(*inertia))
    api.CreateCenterOfMassAttr(Gf.Vec3f(*centre))
    api.CreatePrincipalAxesAttr(Gf.Quatf(1.0) if axes is None else Gf.Quatf(axes))
    own(prim, mass=mass_kg)
