"""Writes the stage of a scenario and a robot: hall, racks, people; `body` adds the robot.

The same scenario and robot give the same bytes. Metres, z up, degrees where USD wants degrees.
"""

from collections.abc import Sequence

from pxr import Gf, Sdf, Usd, UsdGeom, UsdLux, UsdPhysics, UsdShade

from ..entities import Resource
from ..layout import Box
from ..robot import Robot
from ..scenario import PERSON_HEIGHT_M, PERSON_RADIUS_M, Scenario
from . import paths
from .body import add_robot
from .prims import box, collide, cylinder, label, material, own, place, sphere, xform

RACK_COLOURS = ((0.85, 0.33, 0.16), (0.20, 0.40, 0.70), (0.70, 0.55, 0.25), (0.35, 0.55, 0.40))
PERSON_COLOURS = ((0.90, 0.85, 0.10), (0.95, 0.45, 0.05), (0.55, 0.85, 0.20))
PROP_COLOUR = (0.60, 0.45, 0.30)
WALL_HEIGHT_M = 3.0
HEAD_M = 0.125
FLOOR_COLOUR = (0.49, 0.49, 0.50)


def author(scenario: Scenario, robot: Robot, props: Sequence[Resource] = ()) -> Usd.Stage:
    """A stage in memory, its default prim /World. People stand where their walks begin.

    props: boxes and cylinders that can be put anywhere; here they lie in the origin.
    """
    stage = Usd.Stage.CreateInMemory(f'{scenario.name}.usda')
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.z)
    UsdPhysics.SetStageKilogramsPerUnit(stage, 1.0)
    world = xform(stage, paths.WORLD)
    stage.SetDefaultPrim(world)
    own(world, scenario=scenario.name, robot=robot.name)
    _physics(stage)
    rubber = material(stage, f'{paths.MATERIALS}/rubber', paths.TRACTION)
    slick = material(stage, f'{paths.MATERIALS}/slick', 0.0, least=True)
    concrete = material(stage, f'{paths.MATERIALS}/concrete', paths.TRACTION)
    sheet = material(stage, f'{paths.MATERIALS}/sheet', 0.3)
    _hall(stage, scenario, concrete)
    _racks(stage, scenario, concrete)
    add_robot(stage, robot, scenario.start, rubber=rubber, slick=slick, sheet=sheet)
    xform(stage, paths.PEOPLE)
    for i, person in enumerate(scenario.people):
        add_person(stage, f'{paths.PEOPLE}/person_{i}', person.name, (*person.start, 0.0),
                   PERSON_COLOURS[i % 3])
    xform(stage, paths.SPAWNED)
    for i, prop in enumerate(props):
        _prop(stage, f'{paths.SPAWNED}/prop_{i}', prop)
    _groups(stage)
    return stage


def text_of(stage: Usd.Stage) -> str:
    """The stage as a .usda file holds it."""
    return str(stage.GetRootLayer().ExportToString())


def _physics(stage: Usd.Stage) -> None:
    scene = UsdPhysics.Scene.Define(stage, paths.SCENE)
    scene.CreateGravityDirectionAttr(Gf.Vec3f(0.0, 0.0, -1.0))
    scene.CreateGravityMagnitudeAttr(paths.GRAVITY)
    prim = scene.GetPrim()
    own(prim, gravity=paths.GRAVITY)
    prim.AddAppliedSchema('PhysxSceneAPI')
    for name, kind, value in (
            ('timeStepsPerSecond', Sdf.ValueTypeNames.UInt, 1_000_000_000 // paths.STEP_NS),
            # The order in which bodies were made shall not matter to what they do.
            ('enableEnhancedDeterminism', Sdf.ValueTypeNames.Bool, True),
            ('enableGPUDynamics', Sdf.ValueTypeNames.Bool, False),
            ('broadphaseType', Sdf.ValueTypeNames.Token, 'MBP')):
        prim.CreateAttribute(f'physxScene:{name}', kind, custom=False).Set(value)


def _hall(stage: Usd.Stage, scenario: Scenario, concrete: UsdShade.Material) -> None:
    aisle = scenario.aisle
    (x0, x1), y = aisle.x_m, aisle.hall_half_width_m
    middle, length = (x0 + x1) / 2, x1 - x0
    xform(stage, paths.HALL)
    floor = UsdGeom.Plane.Define(stage, f'{paths.HALL}/floor')
    floor.CreateAxisAttr('Z')
    floor.CreateLengthAttr(2 * y)
    floor.CreateWidthAttr(length)
    floor.CreateExtentAttr([Gf.Vec3f(-length / 2, -y, 0.0), Gf.Vec3f(length / 2, y, 0.0)])
    floor.CreateDisplayColorAttr([Gf.Vec3f(*FLOOR_COLOUR)])
    place(floor, (middle, 0.0, 0.0))
    collide(floor.GetPrim(), concrete)
    label(floor.GetPrim(), 'floor')
    _strip(stage, 'lane_line', (x0, x1), 0.0, aisle.lane_line_width_m, (0.95, 0.80, 0.10))
    for side, name in ((-1, 'right_line'), (1, 'left_line')):
        _strip(stage, name, (x0, x1), side * (aisle.half_width_m - 0.15), 0.06, (0.90, 0.90, 0.90))
    goal = box(stage, f'{paths.HALL}/goal', (*scenario.goal, 0.002), (1.0, 1.0, 0.004),
               (0.10, 0.65, 0.25))
    label(goal, 'goal')
    for i, wall in enumerate(aisle.walls()):
        _upright(stage, f'{paths.HALL}/wall_{i}', wall, WALL_HEIGHT_M, (0.75, 0.78, 0.80), 'wall',
                 concrete)
    _lights(stage, middle)


def _lights(stage: Usd.Stage, middle: float) -> None:
    lamp = UsdLux.DistantLight.Define(stage, f'{paths.HALL}/lamp')
    lamp.CreateIntensityAttr(500.0)
    # Lights shine along their own -z.
    towards = Gf.Vec3d(0.2, 0.3, -1.0)
    place(lamp, (middle, 0.0, 8.0))
    lamp.AddOrientOp(UsdGeom.XformOp.PrecisionDouble).Set(
        Gf.Rotation(Gf.Vec3d(0.0, 0.0, -1.0), towards).GetQuat())
    own(lamp.GetPrim(), direction=tuple(towards))
    UsdLux.DomeLight.Define(stage, f'{paths.HALL}/daylight').CreateIntensityAttr(300.0)


def _racks(stage: Usd.Stage, scenario: Scenario, concrete: UsdShade.Material) -> None:
    xform(stage, paths.RACKS)
    for i, rack in enumerate(scenario.aisle.racks()):
        _upright(stage, f'{paths.RACKS}/rack_{i:02d}', rack, scenario.aisle.rack_height_m,
                 RACK_COLOURS[i % 4], 'rack', concrete)


def add_person(stage: Usd.Stage, path: str, name: str, position: tuple[float, float, float],
               colour: tuple[float, float, float]) -> None:
    """Somebody who is moved along a walk: a lidar sees the trunk, nothing pushes it."""
    body = xform(stage, path, position)
    UsdPhysics.RigidBodyAPI.Apply(body).CreateKinematicEnabledAttr(True)
    own(body, name=name)
    label(body, 'person')
    trunk = PERSON_HEIGHT_M - 2 * HEAD_M
    collide(cylinder(stage, f'{path}/trunk', (0.0, 0.0, trunk / 2), PERSON_RADIUS_M, trunk, colour))
    sphere(stage, f'{path}/head', (0.0, 0.0, trunk + HEAD_M), HEAD_M, (0.80, 0.62, 0.50))


def _prop(stage: Usd.Stage, path: str, prop: Resource) -> None:
    """Something that stays where it is put; its origin is on its underside."""
    body = xform(stage, path, (0.0, 0.0, 0.0))
    UsdPhysics.RigidBodyAPI.Apply(body).CreateKinematicEnabledAttr(True)
    label(body, 'prop')
    middle = (0.0, 0.0, prop.size_m[2] / 2)
    collide(box(stage, f'{path}/{prop.kind}', middle, prop.size_m, PROP_COLOUR)
            if prop.kind == 'box' else
            cylinder(stage, f'{path}/{prop.kind}', middle, prop.size_m[0] / 2, prop.size_m[2],
                     PROP_COLOUR))


def _groups(stage: Usd.Stage) -> None:
    """What passes through what. The chassis reaches down to the floor, but stands on its wheels;
    touching a person is found by geometry, since a push would not be believable."""
    members = {
        'floor': [f'{paths.HALL}/floor'],
        'chassis': [paths.CHASSIS],
        'gear': [prim.GetPath() for prim in Usd.PrimRange(stage.GetPrimAtPath(paths.ROBOT))
                 if prim.HasAPI(UsdPhysics.CollisionAPI) and prim.GetPath() != paths.CHASSIS],
        'people': [prim.GetPath().AppendChild('trunk')
                   for prim in stage.GetPrimAtPath(paths.PEOPLE).GetChildren()],
    }
    xform(stage, paths.GROUPS)
    through = {'floor': ('chassis', 'people'), 'chassis': ('floor', 'people'),
               'gear': ('people',), 'people': ('floor', 'chassis', 'gear', 'people')}
    for name, colliders in members.items():
        group = UsdPhysics.CollisionGroup.Define(stage, f'{paths.GROUPS}/{name}')
        group.GetCollidersCollectionAPI().CreateIncludesRel().SetTargets(colliders)
        group.CreateFilteredGroupsRel().SetTargets(
            [f'{paths.GROUPS}/{other}' for other in through[name]])


def _upright(stage: Usd.Stage, path: str, plan: Box, height: float,
             colour: tuple[float, float, float], kind: str, concrete: UsdShade.Material) -> None:
    prim = box(stage, path, ((plan.x0 + plan.x1) / 2, (plan.y0 + plan.y1) / 2, height / 2),
               (plan.x1 - plan.x0, plan.y1 - plan.y0, height), colour)
    collide(prim, concrete)
    label(prim, kind)


def _strip(stage: Usd.Stage, name: str, x_m: tuple[float, float], y: float, width: float,
           colour: tuple[float, float, float]) -> None:
    label(box(stage, f'{paths.HALL}/{name}', ((x_m[0] + x_m[1]) / 2, y, 0.001),
              (x_m[1] - x_m[0], width, 0.002), colour), 'line')


