"""Whether an engine has loaded what its stage says: two lists of named numbers, side by side.

A name is a prim's path and a quantity. An engine says what it holds of which prim; `expected` says
the same of a stage. Each engine takes some things otherwise than the stage has them, and says so
here rather than in silence: `planar` is MuJoCo's base, `solid` is what PhysX keeps of shapes.
"""

import math
from collections.abc import Mapping

from .description import Body, Description, Hinge, Shape
from .paths import BASE, CHASSIS, PEOPLE

Numbers = dict[str, tuple[float, ...]]


def expected_planar(stage: Description) -> Numbers:
    """Of an engine whose base slides on the floor: the wheels belong to the base's mass, casters
    and tyres have no shapes."""
    wheels = {hinge.child for hinge in stage.hinges if hinge.lower is None}
    mass = sum(stage.by_path[path].mass_kg for path in (BASE, *sorted(wheels)))
    numbers: Numbers = {f'{BASE} mass': (mass,)}
    for shape in stage.shapes:
        if shape.body in wheels or (shape.body == BASE and shape.path != CHASSIS):
            continue
        numbers |= _of_shape(shape)
        carried = shape.collides and shape.kind != 'plane'
        numbers[f'{shape.path} seen by the lidar'] = (
            float(carried and shape.path != CHASSIS),)
        stops = carried and not (shape.body or '').startswith(PEOPLE)
        numbers[f'{shape.path} stops the robot'] = (float(stops),)
    for hinge in stage.hinges:
        if hinge.child in wheels:
            continue
        numbers |= _of_hinge(hinge)
        numbers[f'{hinge.path} slides'] = (float(hinge.slides),)
        numbers[f'{hinge.path} hangs on'] = (number_of(stage, hinge.parent),)
        numbers[f'{hinge.path} at'] = hinge.at
        numbers[f'{hinge.path} axis'] = hinge.axis
        numbers |= _of_body(stage.by_path[hinge.child])
    for lens in stage.lenses:
        numbers[f'{lens.path} hangs on'] = (number_of(stage, lens.body),)
        numbers[f'{lens.path} position'] = lens.position
        numbers[f'{lens.path} right'] = lens.right
        numbers[f'{lens.path} up'] = lens.up
        numbers[f'{lens.path} fov'] = (lens.fov_y_rad,)
        numbers[f'{lens.path} pixels'] = (lens.width, lens.height)
    numbers['gravity'] = (stage.gravity if len(stage.hinges) > len(wheels) else 0.0,)
    return numbers


def expected_solid(stage: Description) -> Numbers:
    """Of an engine that keeps only what collides: bodies, joints and the surfaces of shapes."""
    numbers: Numbers = {}
    for body in stage.bodies:
        if body.kinematic:
            numbers[f'{body.path} position'] = body.position
        else:
            numbers |= _of_body(body)
            numbers[f'{body.path} shapes'] = (
                float(sum(shape.collides for shape in stage.of(body.path))),)
    for hinge in stage.hinges:
        numbers |= _of_hinge(hinge)
        numbers[f'{hinge.path} stiffness'] = (hinge.stiffness,)
        numbers[f'{hinge.path} damping'] = (hinge.damping,)
        numbers[f'{hinge.path} torque'] = (hinge.max_torque,)
    for shape in stage.shapes:
        if shape.collides and shape.kind != 'plane':
            numbers[f'{shape.path} extent'] = extent(shape, stage)
    return numbers


def number_of(stage: Description, body: str) -> float:
    """Which of the stage's bodies it is."""
    return float(list(stage.by_path).index(body))


def extent(shape: Shape, stage: Description) -> tuple[float, ...]:
    """Along x, y and z through its middle: first and last surface, in the stage's frame; only for
    what stands upright."""
    x, y, z = shape.position
    body = stage.by_path.get(shape.body or '')
    if body is not None:
        x, y, z = x + body.position[0], y + body.position[1], z + body.position[2]
    if shape.kind == 'box':
        a, b, c = (edge / 2 for edge in shape.size)
    elif shape.kind == 'sphere':
        a = b = c = shape.size[0]
    else:
        radius, half = shape.size[0], shape.size[1] / 2
        a, b, c = (half if axis == shape.axis else radius for axis in 'XYZ')
    return (x - a, x + a, y - b, y + b, z - c, z + c)


def differences(expected: Mapping[str, tuple[float, ...]],
                found: Mapping[str, tuple[float, ...]], tolerance: float) -> list[str]:
    """One sentence for each; relative to the number, or to 1 for smaller ones."""
    sentences = [f'{name}: is in the stage, but was not loaded'
                 for name in expected if name not in found]
    sentences += [f'{name}: was loaded, but is not in the stage'
                  for name in found if name not in expected]
    for name in expected.keys() & found.keys():
        a, b = expected[name], found[name]
        if len(a) != len(b) or not all(_same(x, y, tolerance) for x, y in zip(a, b, strict=True)):
            sentences.append(f'{name}: {_text(a)} in the stage, {_text(b)} loaded')
    return sorted(sentences)


def _of_shape(shape: Shape) -> Numbers:
    return {f'{shape.path} size': shape.size, f'{shape.path} position': shape.position}


def _of_body(body: Body) -> Numbers:
    return {f'{body.path} mass': (body.mass_kg,), f'{body.path} centre': body.centre,
            # Of which axis is which, engines keep their own order; times 1000 since they are small.
            f'{body.path} inertia': tuple(1000 * moment for moment in sorted(body.inertia))}


def _of_hinge(hinge: Hinge) -> Numbers:
    limits = ((-math.inf, math.inf) if hinge.lower is None or hinge.upper is None
              else (hinge.lower, hinge.upper))
    return {f'{hinge.path} limits': limits, f'{hinge.path} armature': (hinge.armature,)}


def _same(a: float, b: float, tolerance: float) -> bool:
    return a == b or abs(a - b) <= tolerance * max(1.0, abs(a))


def _text(values: tuple[float, ...]) -> str:
    return ' '.join(f'{value:.7g}' for value in values)
