"""What a compiled MuJoCo model holds, by the prims of the stage that it was made from."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..stage.check import Numbers, differences, expected_planar, number_of
from ..stage.description import Description
from ..stage.paths import BASE, CHASSIS
from .backend import mujoco
from .scene import SOLID

# The model is in double precision; the stage rounds inertia and centres of mass to single.
TOLERANCE = 1e-6
_SIZES = {mujoco.mjtGeom.mjGEOM_BOX: lambda size: tuple(2 * size),
          mujoco.mjtGeom.mjGEOM_PLANE: lambda size: tuple(2 * size[:2]),
          mujoco.mjtGeom.mjGEOM_CYLINDER: lambda size: (size[0], 2 * size[1]),
          mujoco.mjtGeom.mjGEOM_CAPSULE: lambda size: (size[0], 2 * size[1]),
          mujoco.mjtGeom.mjGEOM_SPHERE: lambda size: (size[0],)}


def check(stage: Description, model: mujoco.MjModel) -> list[str]:
    """One sentence for each difference."""
    return differences(expected_planar(stage), held(stage, model), TOLERANCE)


def held(stage: Description, model: mujoco.MjModel) -> Numbers:
    """The paths of joints and bodies are the stage's; every number is the model's."""
    numbers: Numbers = {f'{BASE} mass': (float(model.body('robot').mass[0]),),
                        'gravity': (-float(model.opt.gravity[2]),)}
    for path, geom in _geoms(model):
        size = _SIZES[mujoco.mjtGeom(int(geom.type[0]))]
        numbers[f'{path} size'] = tuple(map(float, size(geom.size)))
        numbers[f'{path} position'] = tuple(map(float, geom.pos))
        numbers[f'{path} seen by the lidar'] = (float(geom.group[0] == SOLID),)
        numbers[f'{path} stops the robot'] = (
            float(path == CHASSIS or bool(geom.contype[0] & model.geom(CHASSIS).conaffinity[0])),)
    for hinge in stage.hinges:
        joint = _joint(model, hinge.name)
        if joint is None:
            continue
        body = model.body(hinge.name)
        slides = model.jnt_type[joint.id] == mujoco.mjtJoint.mjJNT_SLIDE
        numbers[f'{hinge.path} slides'] = (float(slides),)
        numbers[f'{hinge.path} hangs on'] = (_number_of(stage, model, body.parentid[0]),)
        limited = bool(model.jnt_limited[joint.id])
        numbers[f'{hinge.path} limits'] = (tuple(map(float, joint.range)) if limited
                                           else (-math.inf, math.inf))
        numbers[f'{hinge.path} armature'] = (float(model.dof_armature[joint.dofadr[0]]),)
        numbers[f'{hinge.path} at'] = tuple(map(float, body.pos))
        numbers[f'{hinge.path} axis'] = tuple(map(float, joint.axis))
        numbers[f'{hinge.child} mass'] = (float(body.mass[0]),)
        numbers[f'{hinge.child} centre'] = tuple(map(float, body.ipos))
        numbers[f'{hinge.child} inertia'] = tuple(1000 * float(x) for x in sorted(body.inertia))
    for lens in stage.lenses[:model.ncam]:
        camera = model.camera('camera')
        numbers[f'{lens.path} hangs on'] = (_number_of(stage, model, camera.bodyid[0]),)
        turn = np.empty(9)
        mujoco.mju_quat2Mat(turn, camera.quat)
        numbers[f'{lens.path} position'] = tuple(map(float, camera.pos))
        numbers[f'{lens.path} right'] = tuple(map(float, turn[0::3]))
        numbers[f'{lens.path} up'] = tuple(map(float, turn[1::3]))
        numbers[f'{lens.path} fov'] = (math.radians(float(camera.fovy[0])),)
        numbers[f'{lens.path} pixels'] = (float(model.vis.global_.offwidth),
                                          float(model.vis.global_.offheight))
    return numbers


def _number_of(stage: Description, model: mujoco.MjModel, body: int) -> float:
    children = {hinge.name: hinge.child for hinge in stage.hinges} | {'robot': BASE}
    return number_of(stage, children[model.body(body).name])


def _geoms(model: mujoco.MjModel) -> Iterator[tuple[str, Any]]:
    for i in range(model.ngeom):
        geom = model.geom(i)
        if geom.name:               # props of a crowd have none
            yield geom.name, geom


def _joint(model: mujoco.MjModel, name: str) -> Any:
    try:
        return model.joint(name)
    except KeyError:
        return None
