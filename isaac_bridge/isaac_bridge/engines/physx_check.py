"""What a PhysX scene holds, by the prims of the stage that it was loaded from.

Masses, joints and limits are read. Shapes are measured, since no session tells their sizes: six
rays through the middle of each find its surfaces.
"""

import math

import numpy as np

from ..stage.check import Numbers, differences, expected_solid, extent
from ..stage.description import Description
from .physx_scene import JOINTS, LINKS, MOVED, PhysxScene

TOLERANCE = 2e-4        # single precision at up to 30 m; rays stop 0.1 mm before a round shape
FAR_M = 60.0
_FREE = 1e30            # what PhysX says for 'no limit' is beyond this


def check(stage: Description, scene: PhysxScene) -> list[str]:
    """One sentence for each difference. The scene must not have been stepped or moved."""
    return differences(expected_solid(stage), held(stage, scene), TOLERANCE)


def held(stage: Description, scene: PhysxScene) -> Numbers:
    numbers: Numbers = {}
    links = scene.read(LINKS, ('mass', 'inertia', 'centerOfMassPosition', 'shapeCount'))
    for path, (mass,) in links['mass'].items():
        moments = np.linalg.eigvalsh(links['inertia'][path].reshape(3, 3))
        numbers[f'{path} mass'] = (float(mass),)
        numbers[f'{path} centre'] = tuple(map(float, links['centerOfMassPosition'][path]))
        numbers[f'{path} inertia'] = tuple(1000 * float(moment) for moment in moments)
        numbers[f'{path} shapes'] = (float(links['shapeCount'][path][0]),)
    for path, place in scene.read(MOVED, ('position',)).get('position', {}).items():
        numbers[f'{path} position'] = tuple(map(float, place))
    joints = scene.read(JOINTS, ('jointLimit', 'jointArmature', 'jointStiffness', 'jointDamping',
                                 'jointMaxForce'))
    slides = {hinge.path for hinge in stage.hinges if hinge.slides}
    for path, limits in joints['jointLimit'].items():
        # PhysX counts angles in degrees here, and what slides in metres.
        unit = 1.0 if path in slides else math.radians(1.0)
        numbers[f'{path} limits'] = tuple(
            math.copysign(math.inf, limit) if abs(limit) > _FREE else unit * float(limit)
            for limit in limits)
        numbers[f'{path} armature'] = (float(joints['jointArmature'][path][0]),)
        numbers[f'{path} stiffness'] = (float(joints['jointStiffness'][path][0]) / unit,)
        numbers[f'{path} damping'] = (float(joints['jointDamping'][path][0]) / unit,)
        torque = float(joints['jointMaxForce'][path][0])
        numbers[f'{path} torque'] = (math.inf if torque > _FREE else torque,)
    for shape in stage.shapes:
        if shape.collides and shape.kind != 'plane':
            found = _measure(scene, shape.path, extent(shape, stage))
            if found:
                numbers[f'{shape.path} extent'] = found
    return numbers


def _measure(scene: PhysxScene, path: str, about: tuple[float, ...]) -> tuple[float, ...]:
    """First and last surface along x, y, z; nothing if no ray through the middle meets it."""
    middle = [(about[2 * i] + about[2 * i + 1]) / 2 for i in range(3)]
    surfaces = []
    for axis in range(3):
        for sign in (1.0, -1.0):
            origin, direction = list(middle), [0.0, 0.0, 0.0]
            origin[axis] -= sign * FAR_M / 2
            direction[axis] = sign
            distance = scene.hits(origin, direction, FAR_M).get(path)
            if distance is None:
                return ()
            surfaces.append(origin[axis] + sign * distance)
    return tuple(surfaces)
