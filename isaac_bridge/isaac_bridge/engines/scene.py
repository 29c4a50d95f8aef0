"""The MuJoCo model of a stage: what the USD scene of a scenario and a robot says, and no more.

Group 0 is what a lidar can see (racks, walls, people, the robot's own body left out); group 1 is
paint and the robot, which only the camera sees. Geoms are named by their prims' paths.

The base is planar here: it slides on three joints (x, y, yaw), and the wheels are part of its mass.
So the floor carries nothing, wheels and casters have no shapes, and only the chassis collides.
"""

import math
from collections.abc import Sequence

from ..entities import Resource
from ..robot import Robot
from ..scenario import Scenario
from ..stage import paths
from ..stage.author import author
from ..stage.description import Description, Shape, read
from ..stage.paths import GRAVITY, TRACTION
from .arm import add_arm
from .backend import mujoco

__all__ = ['GRAVITY', 'PAINT', 'SOLID', 'TRACTION', 'compose', 'model_of']

SOLID, PAINT = 0, 1
KINDS = {'box': mujoco.mjtGeom.mjGEOM_BOX, 'plane': mujoco.mjtGeom.mjGEOM_PLANE,
         'cylinder': mujoco.mjtGeom.mjGEOM_CYLINDER, 'sphere': mujoco.mjtGeom.mjGEOM_SPHERE}


def compose(scenario: Scenario, robot: Robot, step_ns: int,
            props: Sequence[Resource] = ()) -> mujoco.MjSpec:
    """The model; bodies `robot`, one of each joint of an arm, `person_<i>` and `prop_<i>` (mocap,
    in this order), camera `camera`. Of the people only their number counts."""
    return model_of(read(author(scenario, robot, props)), step_ns)


def model_of(stage: Description, step_ns: int) -> mujoco.MjSpec:
    spec = mujoco.MjSpec()
    spec.modelname = stage.name
    spec.compiler.degree = False
    spec.option.timestep = step_ns * 1e-9
    # The base is planar and cannot fall; an arm can.
    arm = [hinge for hinge in stage.hinges if hinge.lower is not None]
    spec.option.gravity = [0.0, 0.0, -stage.gravity if arm else 0.0]
    spec.visual.headlight.ambient = [0.35, 0.35, 0.35]
    spec.visual.headlight.diffuse = [0.25, 0.25, 0.25]
    # Clip planes are in units of the extent.
    spec.stat.extent = 10.0
    spec.visual.map.znear = 0.005
    spec.visual.map.zfar = 10.0
    for lens in stage.lenses:
        spec.visual.global_.offwidth = lens.width
        spec.visual.global_.offheight = lens.height
    _materials(spec)
    for shape in stage.of(None):
        _add(spec.worldbody, shape)
    for lamp in stage.lamps:
        spec.worldbody.add_light(pos=lamp.position, dir=lamp.direction, diffuse=[0.5, 0.5, 0.5],
                                 type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL)
    _robot(spec, stage)
    for folder, touch in ((paths.PEOPLE, 0), (paths.SPAWNED, 1)):
        for moved in stage.bodies:
            if moved.path.startswith(f'{folder}/'):
                body = spec.worldbody.add_body(name=moved.path.rpartition('/')[2], mocap=True)
                for shape in stage.of(moved.path):
                    _add(body, shape, touch)
    return spec


def _materials(spec: mujoco.MjSpec) -> None:
    spec.add_texture(
        name='sky', type=mujoco.mjtTexture.mjTEXTURE_SKYBOX, width=64, height=64,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
        rgb1=[0.80, 0.82, 0.85], rgb2=[0.55, 0.58, 0.62])
    spec.add_texture(
        name='concrete', type=mujoco.mjtTexture.mjTEXTURE_2D, width=128, height=128,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_CHECKER,
        rgb1=[0.46, 0.46, 0.47], rgb2=[0.52, 0.52, 0.53])
    material = spec.add_material(name='concrete', texuniform=True, texrepeat=[0.5, 0.5])
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = 'concrete'


def _robot(spec: mujoco.MjSpec, stage: Description) -> None:
    body = spec.worldbody.add_body(name='robot')
    for name, kind, axis in (('x', mujoco.mjtJoint.mjJNT_SLIDE, [1, 0, 0]),
                             ('y', mujoco.mjtJoint.mjJNT_SLIDE, [0, 1, 0]),
                             ('yaw', mujoco.mjtJoint.mjJNT_HINGE, [0, 0, 1])):
        body.add_joint(name=name, type=kind, axis=axis)
    wheels = [hinge for hinge in stage.hinges if hinge.lower is None]
    mass = stage.by_path[paths.BASE].mass_kg
    for wheel in wheels:
        mass += stage.by_path[wheel.child].mass_kg
    chassis = next(shape for shape in stage.of(paths.BASE) if shape.path == paths.CHASSIS)
    half = [edge / 2 for edge in chassis.size]
    # The mass sits in the turning axis, so the three joints are free of each other.
    body.explicitinertial = True
    body.mass, body.ipos = mass, [0, 0, half[2]]
    body.inertia = [mass * (a * a + b * b) / 3
                    for a, b in ((half[1], half[2]), (half[0], half[2]), (half[0], half[1]))]
    body.add_geom(name=chassis.path, type=KINDS[chassis.kind], size=half, group=PAINT,
                  pos=chassis.position, rgba=[*chassis.colour, 1], contype=1, conaffinity=1,
                  friction=[0.3, 0.005, 1e-4])
    bodies = add_arm(body, stage, PAINT)
    for lens in stage.lenses:
        camera = bodies[lens.body].add_camera(name='camera', pos=lens.position,
                                 fovy=math.degrees(lens.fov_y_rad))
        camera.alt.type = mujoco.mjtOrientation.mjORIENTATION_XYAXES
        camera.alt.xyaxes = [*lens.right, *lens.up]


def _add(body: mujoco.MjsBody, shape: Shape, touch: int = 1) -> None:
    """A geom; touch: whether the robot is stopped by it, if it collides at all."""
    size = {'box': [edge / 2 for edge in shape.size],
            'plane': [*(edge / 2 for edge in shape.size), 1.0],
            'cylinder': [shape.size[0], shape.size[-1] / 2, 0.0],
            'sphere': [shape.size[0], 0.0, 0.0]}[shape.kind]
    floor = shape.kind == 'plane'
    solid = shape.collides and not floor
    touch = touch if solid else 0
    paint = {'material': 'concrete'} if floor else {'rgba': [*shape.colour, 1]}
    body.add_geom(name=shape.path, type=KINDS[shape.kind], pos=shape.position, size=size,
                  group=SOLID if solid else PAINT, contype=touch, conaffinity=touch, **paint)
