"""The MuJoCo model of a scenario and a robot.

Group 0 is what a lidar can see (racks, walls, people, the robot's own body left out); group 1 is
paint and the robot, which only the camera sees.
"""

import math

import mujoco

from ..layout import Box
from ..robot import Robot
from ..scenario import PERSON_HEIGHT_M, PERSON_RADIUS_M, Scenario
from .arm import add_arm

SOLID, PAINT = 0, 1
RACK_COLOURS = ((0.85, 0.33, 0.16), (0.20, 0.40, 0.70), (0.70, 0.55, 0.25), (0.35, 0.55, 0.40))
PERSON_COLOURS = ((0.90, 0.85, 0.10), (0.95, 0.45, 0.05), (0.55, 0.85, 0.20))
TRACTION = 0.6      # rubber on dry concrete, low
GRAVITY = 9.81


def build(scenario: Scenario, robot: Robot, step_ns: int) -> mujoco.MjModel:
    """The compiled model; bodies `robot`, one of each joint of an arm, and `person_<i>` (mocap),
    camera `camera`."""
    spec = mujoco.MjSpec()
    spec.modelname = scenario.name
    spec.option.timestep = step_ns * 1e-9
    # The base is planar and cannot fall; an arm can.
    spec.option.gravity = [0.0, 0.0, 0.0 if robot.arm is None else -GRAVITY]
    spec.visual.headlight.ambient = [0.35, 0.35, 0.35]
    spec.visual.headlight.diffuse = [0.25, 0.25, 0.25]
    # Clip planes are in units of the extent.
    spec.stat.extent = 10.0
    spec.visual.map.znear = 0.005
    spec.visual.map.zfar = 10.0
    if robot.camera is not None:
        spec.visual.global_.offwidth = robot.camera.width
        spec.visual.global_.offheight = robot.camera.height
    _hall(spec, scenario)
    _racks(spec, scenario)
    _robot(spec, robot)
    for i in range(len(scenario.people)):
        _person(spec, i)
    return spec.compile()


def _hall(spec: mujoco.MjSpec, scenario: Scenario) -> None:
    aisle, world = scenario.aisle, spec.worldbody
    (x0, x1), y = aisle.x_m, aisle.hall_half_width_m
    middle, length = (x0 + x1) / 2, x1 - x0
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
    world.add_geom(name='floor', type=mujoco.mjtGeom.mjGEOM_PLANE, material='concrete',
                   pos=[middle, 0, 0], size=[length / 2, y, 1], **_paint())
    _strip(world, (x0, x1), 0.0, aisle.lane_line_width_m, (0.95, 0.80, 0.10))
    for side in (-1, 1):
        _strip(world, (x0, x1), side * (aisle.half_width_m - 0.15), 0.06, (0.90, 0.90, 0.90))
    world.add_geom(name='goal', type=mujoco.mjtGeom.mjGEOM_BOX, pos=[*scenario.goal, 0.002],
                   size=[0.5, 0.5, 0.002], rgba=[0.10, 0.65, 0.25, 1], **_paint())
    for box in aisle.walls():
        _box(world, box, 3.0, (0.75, 0.78, 0.80))
    world.add_light(pos=[middle, 0, 8], dir=[0.2, 0.3, -1], diffuse=[0.5, 0.5, 0.5],
                    type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL)


def _racks(spec: mujoco.MjSpec, scenario: Scenario) -> None:
    for i, box in enumerate(scenario.aisle.racks()):
        _box(spec.worldbody, box, scenario.aisle.rack_height_m, RACK_COLOURS[i % 4])


def _robot(spec: mujoco.MjSpec, robot: Robot) -> None:
    body = spec.worldbody.add_body(name='robot')
    for name, kind, axis in (('x', mujoco.mjtJoint.mjJNT_SLIDE, [1, 0, 0]),
                             ('y', mujoco.mjtJoint.mjJNT_SLIDE, [0, 1, 0]),
                             ('yaw', mujoco.mjtJoint.mjJNT_HINGE, [0, 0, 1])):
        body.add_joint(name=name, type=kind, axis=axis)
    xs, ys = zip(*robot.outline, strict=True)
    half = [(max(xs) - min(xs)) / 2, (max(ys) - min(ys)) / 2, robot.height_m / 2]
    # The mass sits in the turning axis, so the three joints are free of each other.
    body.explicitinertial = True
    mass = robot.mass_kg if robot.arm is None else robot.mass_kg - robot.arm.mass_kg
    body.mass, body.ipos = mass, [0, 0, half[2]]
    body.inertia = [mass * (a * a + b * b) / 3
                    for a, b in ((half[1], half[2]), (half[0], half[2]), (half[0], half[1]))]
    body.add_geom(name='chassis', type=mujoco.mjtGeom.mjGEOM_BOX, size=half, group=PAINT,
                  pos=[(max(xs) + min(xs)) / 2, (max(ys) + min(ys)) / 2, half[2]],
                  rgba=[0.2, 0.2, 0.22, 1], contype=1, conaffinity=1, friction=[0.3, 0.005, 1e-4])
    if robot.camera is not None:
        lens, pitch = robot.camera, robot.camera.pitch_rad
        # MuJoCo's camera looks along -z with +y up: its x is base_link's -y.
        camera = body.add_camera(name='camera', pos=lens.pose, fovy=math.degrees(lens.fov_y_rad))
        camera.alt.type = mujoco.mjtOrientation.mjORIENTATION_XYAXES
        camera.alt.xyaxes = [0, -1, 0, math.sin(pitch), 0, math.cos(pitch)]
    if robot.arm is not None:
        add_arm(body, robot.arm, PAINT)


def _person(spec: mujoco.MjSpec, i: int) -> None:
    # Contact with people is found by geometry, at every step: a push would not be believable.
    body = spec.worldbody.add_body(name=f'person_{i}', mocap=True)
    trunk = PERSON_HEIGHT_M - 0.25
    body.add_geom(type=mujoco.mjtGeom.mjGEOM_CYLINDER, size=[PERSON_RADIUS_M, trunk / 2, 0],
                  pos=[0, 0, trunk / 2], rgba=[*PERSON_COLOURS[i % 3], 1], **_solid(touch=0))
    body.add_geom(type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[0.125, 0, 0],
                  pos=[0, 0, trunk + 0.125], rgba=[0.80, 0.62, 0.50, 1], **_paint())


def _box(world: mujoco.MjsBody, box: Box, height: float, colour: tuple[float, ...]) -> None:
    world.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, rgba=[*colour, 1], **_solid(touch=1),
                   pos=[(box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2, height / 2],
                   size=[(box.x1 - box.x0) / 2, (box.y1 - box.y0) / 2, height / 2])


def _strip(world: mujoco.MjsBody, x_m: tuple[float, float], y: float, width: float,
           colour: tuple[float, ...]) -> None:
    world.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, rgba=[*colour, 1], **_paint(),
                   pos=[(x_m[0] + x_m[1]) / 2, y, 0.001],
                   size=[(x_m[1] - x_m[0]) / 2, width / 2, 0.001])


def _solid(touch: int) -> dict[str, int]:
    return {'group': SOLID, 'contype': touch, 'conaffinity': touch}


def _paint() -> dict[str, int]:
    return {'group': PAINT, 'contype': 0, 'conaffinity': 0}
