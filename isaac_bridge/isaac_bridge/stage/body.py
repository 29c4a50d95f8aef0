"""The robot in a stage: an articulation of base, wheels and arm, and the prims of its sensors.

Joints stand in the order of the tree, each behind the one that it hangs on, whatever the file's.

The base stands on two driven wheels and two casters that slide without friction (a caster that
rubs drags the robot off its line). Where the robot's file says nothing, the shapes of wheels and
casters are the constants here.
"""

import math

from pxr import Gf, Sdf, Usd, UsdGeom, UsdPhysics, UsdShade

from ..arm import BASE, SLIDE, Arm
from ..robot import Camera, Lidar, Robot
from . import paths
from .prims import (
    Vector,
    bar,
    box,
    collide,
    cylinder,
    label,
    name_of,
    own,
    sphere,
    turn_to,
    weigh,
    xform,
)

WHEEL_KG = 1.5
# As a tyre's patch touches the floor; a wider cylinder does along a line, which resists turning.
WHEEL_WIDTH_M = 0.005
CASTER_RADIUS_M = 0.04
CASTER_AT = 0.8                 # of the way from the axle to the ends
# A velocity drive stiff enough that the wheel has the commanded speed after a step or two. What
# turns behind the gears is no lighter than this; without it the solver balances grams against the
# robot's weight, and the wheel follows ten times slower.
WHEEL_DAMPING = 2000.0          # N m s/rad
WHEEL_ARMATURE = 0.1            # kg m2
CHASSIS_COLOUR = (0.20, 0.20, 0.22)
WHEEL_COLOUR = (0.08, 0.08, 0.08)
ARM_COLOUR = (0.95, 0.45, 0.10)
LAST_COLOUR = (0.15, 0.15, 0.15)
FOCAL_LENGTH = 20.0             # only its ratio to the apertures counts
AXES = {(1.0, 0.0, 0.0): 'X', (0.0, 1.0, 0.0): 'Y', (0.0, 0.0, 1.0): 'Z'}


def add_robot(stage: Usd.Stage, robot: Robot, start: Vector, *, rubber: UsdShade.Material,
              slick: UsdShade.Material, sheet: UsdShade.Material) -> None:
    """Everything under /World/robot, which stands at start (x, y, yaw)."""
    root = xform(stage, paths.ROBOT, (start[0], start[1], 0.0), start[2])
    label(root, 'robot')
    own(root, name=robot.name, footprint=robot.outline, wheel_radius=robot.wheel_radius_m,
        wheel_separation=robot.wheel_separation_m)
    wheel_kg = min(WHEEL_KG, 0.05 * robot.mass_kg)
    _base(stage, robot, wheel_kg, slick, sheet)
    for name, side in zip(robot.joints, (1.0, -1.0), strict=True):
        _wheel(stage, robot, name, side, wheel_kg, rubber)
    if robot.arm is not None:
        _arm(stage, robot.arm)
    _lidar(stage, robot.lidar)
    if robot.camera is not None:
        _camera(stage, robot.camera)


def link_path(joint: str) -> str:
    """Of the body that a joint of the robot moves."""
    return f'{paths.ROBOT}/{name_of(joint)}_link'


def joint_path(joint: str) -> str:
    return f'{paths.ROBOT}/joints/{name_of(joint)}'


def camera_path(lens: Camera) -> str:
    body = paths.BASE if lens.joint is None else link_path(lens.joint)
    return f'{body}/{name_of(lens.name)}'


def _base(stage: Usd.Stage, robot: Robot, wheel_kg: float, slick: UsdShade.Material,
          sheet: UsdShade.Material) -> None:
    xs, ys = zip(*robot.outline, strict=True)
    size = (max(xs) - min(xs), max(ys) - min(ys), robot.height_m)
    middle = ((max(xs) + min(xs)) / 2, (max(ys) + min(ys)) / 2, robot.height_m / 2)
    mass = robot.mass_kg if robot.arm is None else robot.mass_kg - robot.arm.mass_kg
    mass -= 2 * wheel_kg
    body = xform(stage, paths.BASE, (0.0, 0.0, 0.0))
    UsdPhysics.RigidBodyAPI.Apply(body)
    # On the base itself: from a prim above it, PhysX would take a link in the chain's middle.
    UsdPhysics.ArticulationRootAPI.Apply(body)
    body.AddAppliedSchema('PhysxArticulationAPI')
    kinds = Sdf.ValueTypeNames
    for name, kind, value in (('enabledSelfCollisions', kinds.Bool, False),
                              ('sleepThreshold', kinds.Float, 0.0),
                              ('solverPositionIterationCount', kinds.Int, 4),
                              ('solverVelocityIterationCount', kinds.Int, 16)):
        body.CreateAttribute(f'physxArticulation:{name}', kind, custom=False).Set(value)
    # As of a box whose mass sits in the turning axis.
    a, b, c = (edge * edge for edge in size)
    weigh(body, mass, (mass * (b + c) / 12, mass * (a + c) / 12, mass * (a + b) / 12),
          (0.0, 0.0, middle[2]))
    collide(box(stage, paths.CHASSIS, middle, size, CHASSIS_COLOUR), sheet)
    radius = min(CASTER_RADIUS_M, robot.wheel_radius_m / 2)
    for name, x in (('front_caster', max(xs)), ('rear_caster', min(xs))):
        collide(sphere(stage, f'{paths.BASE}/{name}', (CASTER_AT * x, 0.0, radius), radius,
                       WHEEL_COLOUR), slick)
    xform(stage, f'{paths.ROBOT}/joints')


def _wheel(stage: Usd.Stage, robot: Robot, name: str, side: float, mass: float,
           rubber: UsdShade.Material) -> None:
    radius, path = robot.wheel_radius_m, link_path(name)
    at = (0.0, side * robot.wheel_separation_m / 2, radius)
    body = xform(stage, path, at)
    UsdPhysics.RigidBodyAPI.Apply(body)
    across = mass * (3 * radius ** 2 + WHEEL_WIDTH_M ** 2) / 12
    weigh(body, mass, (across, mass * radius ** 2 / 2, across), (0.0, 0.0, 0.0))
    collide(cylinder(stage, f'{path}/tyre', (0.0, 0.0, 0.0), radius, WHEEL_WIDTH_M, WHEEL_COLOUR,
                     'Y'), rubber)
    joint = _joint(stage, name, paths.BASE, path, at, (0.0, 1.0, 0.0))
    _armature(joint, WHEEL_ARMATURE)
    _drive(joint, 0.0, WHEEL_DAMPING, math.inf)


def _arm(stage: Usd.Stage, arm: Arm) -> None:
    places: dict[int, Vector] = {BASE: (0.0, 0.0, 0.0)}
    for i in arm.order:
        joint, link, servo, on = arm.joints[i], arm.links[i], arm.drives[i], arm.parents[i]
        parent = paths.BASE if on == BASE else link_path(arm.joints[on].name)
        path = link_path(joint.name)
        at = _sum(arm.mount if on == BASE else (0.0, 0.0, 0.0), link.at)
        places[i] = _sum(places[on], at)
        body = xform(stage, path, places[i])
        UsdPhysics.RigidBodyAPI.Apply(body)
        inertia, axes = _of_capsule(link.mass_kg, link.radius_m, link.tip)
        x, y, z = link.tip
        weigh(body, link.mass_kg, inertia, (x / 2, y / 2, z / 2), axes)
        label(body, 'robot')
        last = i not in arm.parents
        bar(stage, f'{path}/bar', link.tip, link.radius_m, LAST_COLOUR if last else ARM_COLOUR)
        slides = joint.kind == SLIDE
        moving = _joint(stage, joint.name, parent, path, at, link.axis, slides)
        moving.CreateLowerLimitAttr(joint.lower if slides else math.degrees(joint.lower))
        moving.CreateUpperLimitAttr(joint.upper if slides else math.degrees(joint.upper))
        own(moving.GetPrim(), lower=joint.lower, upper=joint.upper)
        _armature(moving, servo.inertia)
        _drive(moving, servo.stiffness, servo.damping, servo.max_torque)


def _joint(stage: Usd.Stage, name: str, parent: str, child: str, at: Vector, axis: Vector,
           slides: bool = False) -> UsdPhysics.RevoluteJoint | UsdPhysics.PrismaticJoint:
    """A hinge at `at` in the parent's frame, where the child's frame begins; about the axis, or a
    slide along it."""
    kind = UsdPhysics.PrismaticJoint if slides else UsdPhysics.RevoluteJoint
    joint = kind.Define(stage, joint_path(name))
    joint.CreateBody0Rel().SetTargets([parent])
    joint.CreateBody1Rel().SetTargets([child])
    token = AXES.get(axis)
    turn = Gf.Quatf(1.0) if token else Gf.Quatf(turn_to((1.0, 0.0, 0.0), axis))
    joint.CreateAxisAttr(token or 'X')
    joint.CreateLocalPos0Attr(Gf.Vec3f(*at))
    joint.CreateLocalPos1Attr(Gf.Vec3f(0.0))
    joint.CreateLocalRot0Attr(turn)
    joint.CreateLocalRot1Attr(turn)
    own(joint.GetPrim(), name=name, at=at, axis=axis)
    return joint


def _motion(joint: UsdPhysics.Joint) -> str:
    return 'linear' if joint.GetPrim().IsA(UsdPhysics.PrismaticJoint) else 'angular'


def _armature(joint: UsdPhysics.Joint, inertia: float) -> None:
    prim, motion = joint.GetPrim(), _motion(joint)
    own(prim, armature=inertia)
    prim.AddAppliedSchema(f'PhysxJointAxisAPI:{motion}')
    prim.CreateAttribute(f'physxJointAxis:{motion}:armature', Sdf.ValueTypeNames.Float,
                         custom=False).Set(inertia)


def _drive(joint: UsdPhysics.Joint, stiffness: float, damping: float,
           torque: float) -> None:
    """In N m/rad and N m s/rad, of a slide N/m and N s/m; USD counts an angle in degrees."""
    motion = _motion(joint)
    drive = UsdPhysics.DriveAPI.Apply(joint.GetPrim(), motion)
    drive.CreateTypeAttr('force')
    drive.CreateStiffnessAttr(stiffness if motion == 'linear' else math.radians(stiffness))
    drive.CreateDampingAttr(damping if motion == 'linear' else math.radians(damping))
    drive.CreateTargetVelocityAttr(0.0)
    drive.CreateTargetPositionAttr(0.0)
    if math.isfinite(torque):
        drive.CreateMaxForceAttr(torque)


def _lidar(stage: Usd.Stage, lidar: Lidar) -> None:
    prim = xform(stage, f'{paths.BASE}/{name_of(lidar.name)}',
                 (lidar.pose[0], lidar.pose[1], lidar.height_m), lidar.pose[2])
    own(prim, sensor='lidar', topic=lidar.topic, frame=lidar.frame, beams=lidar.beams,
        angle_min=lidar.angle_min_rad, angle_max=lidar.angle_max_rad, rate=lidar.rate_hz,
        range_min=lidar.range_min_m, range_max=lidar.range_max_m, noise=lidar.noise_m,
        dropout=lidar.dropout, latency_ms=lidar.latency_ms)


def _camera(stage: Usd.Stage, lens: Camera) -> None:
    """A pinhole; USD's camera looks along its -z with +y up: its x is -y of what carries it."""
    camera = UsdGeom.Camera.Define(stage, camera_path(lens))
    height = 2 * FOCAL_LENGTH * math.tan(lens.fov_y_rad / 2)
    camera.CreateFocalLengthAttr(FOCAL_LENGTH)
    camera.CreateVerticalApertureAttr(height)
    camera.CreateHorizontalApertureAttr(height * lens.width / lens.height)
    camera.CreateClippingRangeAttr(Gf.Vec2f(0.05, 100.0))
    s, c = math.sin(lens.pitch_rad), math.cos(lens.pitch_rad)
    camera.AddTransformOp(UsdGeom.XformOp.PrecisionDouble).Set(Gf.Matrix4d(
        0.0, -1.0, 0.0, 0.0,    s, 0.0, c, 0.0,    -c, 0.0, s, 0.0,    *lens.pose, 1.0))
    own(camera.GetPrim(), sensor='camera', frame=lens.frame, width=lens.width, height=lens.height,
        fov_y=lens.fov_y_rad, rate=lens.rate_hz)
    faults = {'noise': lens.noise, 'dropout': lens.dropout, 'latency_ms': lens.latency_ms}
    if any(faults.values()):
        own(camera.GetPrim(), **faults)


def _of_capsule(mass: float, radius: float, tip: Vector) -> tuple[Vector, Gf.Quatd]:
    """Principal moments of a solid capsule, and the turn of z into its axis.

    A cylinder and two hemispheres of one density; for a hemisphere the centre of mass lies 3/8
    radius from its flat side (Steiner).
    """
    length = math.hypot(*tip)
    ends = 4 * radius / 3               # the two hemispheres as a length of cylinder
    rod, ball = mass * length / (length + ends), mass * ends / (length + ends)
    along = rod * radius ** 2 / 2 + ball * 2 * radius ** 2 / 5
    across = (rod * (radius ** 2 / 4 + length ** 2 / 12)
              + ball * (2 * radius ** 2 / 5 + length ** 2 / 4 + 3 * length * radius / 8))
    return (across, across, along), turn_to((0.0, 0.0, 1.0), tip)


def _sum(a: Vector, b: Vector) -> Vector:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]
