"""The engine of Isaac Sim without Isaac Sim: its own logic, over a scene that is plain kinematics.

What Isaac Sim itself does is not tested here: the static gate checks what is called of it.
"""

import dataclasses
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from isaac_bridge.engines import create
from isaac_bridge.entities import Pose
from isaac_bridge.isaac import checks, rtx_lidar
from isaac_bridge.isaac.beams import Beams
from isaac_bridge.isaac.graph import rtx_graph
from isaac_bridge.isaac.kit_scene import KitScene, Reading
from isaac_bridge.isaac.world import IsaacWorld
from isaac_bridge.layout import Box
from isaac_bridge.robot import read_robot
from isaac_bridge.scenario import read_scenario
from isaac_bridge.world import START_NS, WorldError

CONFIG = Path(__file__).resolve().parents[2] / 'config'
SCENARIO = read_scenario(CONFIG / 'scenarios' / 'aisle.yaml')
ROBOT = read_robot(CONFIG / 'robots' / 'amr.yaml')
ARM_ROBOT = read_robot(CONFIG / 'robots' / 'amr_so100.yaml')


class PlainScene:
    """Wheels that never slip, drives that follow at once, rays by plane geometry.

    The methods are those of KitScene that the world uses; a test holds the two together.
    """

    def __init__(self, options, scenario, robot, step_ns, render_steps, camera):
        self.robot, self.step_s = robot, step_ns * 1e-9
        self.boxes = [*scenario.aisle.walls(), *scenario.aisle.racks()]
        self.beams = Beams(robot)
        self.people, self.props = 0, []
        self.places = []
        self.clock = self.steps = self.renders = 0
        self.extra = 0              # steps that nobody asked for
        self.closed = False

    def restart(self, until_s, place):
        self.clock = 0
        self.wheels = [0.0, 0.0]
        self.targets = [0.0, 0.0]
        place()
        self.advance(round(until_s / self.step_s))

    def advance(self, n):
        for _ in range(n + self.extra):
            v, w = self._twist()
            dt, yaw = self.step_s, self.yaw + w * self.step_s / 2
            self.at = (self.at[0] + v * dt * math.cos(yaw), self.at[1] + v * dt * math.sin(yaw))
            self.yaw += w * dt
            self.joints[:2] = [angle + speed * dt for angle, speed
                               in zip(self.joints, self.targets, strict=False)]
            self.clock += 1
        if self.extra:
            raise WorldError(f'{n + self.extra} steps, not {n}')
        self.seen = (*self.at, self.yaw), list(self.props)

    def _twist(self):
        radius = self.robot.wheel_radius_m
        left, right = (speed * radius for speed in self.targets)
        return (left + right) / 2, (right - left) / self.robot.wheel_separation_m

    def read(self):
        v, w = self._twist()
        speeds = (*self.targets, *[0.0] * (len(self.joints) - 2))
        return Reading(Pose.flat(*self.at, self.yaw),
                       (v * math.cos(self.yaw), v * math.sin(self.yaw), 0.0), (0.0, 0.0, w),
                       tuple(self.joints), speeds)

    def distances(self):
        pose, props = self.seen
        boxes = list(self.boxes)
        for resource, at in props:
            (x, y, _), (w, d, _) = at.position, resource.size_m
            boxes.append(Box(x0=x - w / 2, x1=x + w / 2, y0=y - d / 2, y1=y + d / 2))
        true = checks.expected_ranges(SimpleNamespace(robot=self.robot),
                                      SimpleNamespace(robot=pose), boxes)
        return self.beams.distances(np.where(np.isinf(true), self.robot.lidar.range_max_m,
                                             true - self.beams.offsets))

    def drive(self, wheels):
        self.targets = list(wheels)

    def drive_arm(self, positions, velocities):
        self.joints[2:] = positions

    def place_robot(self, state, joints=None):
        self.at, self.yaw = state.pose.position[:2], state.pose.yaw
        if joints is not None:
            self.joints = list(joints)

    def set_people(self, count):
        self.people = count

    def place_people(self, people):
        assert len(people) == self.people
        self.places = list(people)

    def set_props(self, props):
        self.props = list(props)

    def render(self):
        self.renders += 1

    def image(self):
        lens = self.robot.camera
        return np.full((lens.height, lens.width, 3), self.renders % 256, np.uint8)

    def close(self):
        self.closed = True


def _world(scenario=SCENARIO, robot=ROBOT, seed=3, **options):
    world = IsaacWorld(open_scene=PlainScene, **options)
    world.load(scenario, robot, seed)
    return world


@pytest.mark.parametrize(('name', 'check'), checks.CHECKS)
def test_it_passes_what_every_world_must(name, check):
    world = _world(checks.empty(SCENARIO), lidar_noise_m=0.0)
    counts = {'counts': range(1, 31)} if name == 'steps exact' else {}
    assert check(world, **counts)


@pytest.mark.parametrize(('name', 'check'), checks.CHECKS)
def test_so_does_mujoco(name, check):
    world = create('mujoco', camera='off', lidar_noise_m=0.0)
    world.load(checks.empty(SCENARIO), ROBOT, 3)
    counts = {'counts': range(1, 31)} if name == 'steps exact' else {}
    assert check(world, **counts)


def test_the_stand_in_has_what_the_world_uses():
    used = {name for name in vars(PlainScene) if not name.startswith('_')}
    assert used <= set(vars(KitScene))


def test_the_first_frame_is_at_the_first_instant_with_isaacs_clock_there_too():
    world = _world()
    assert world.t_ns == START_NS
    assert world.scene.clock * world.step_ns == START_NS
    assert world.frame().robot[:2] == pytest.approx(SCENARIO.start[:2])


def test_people_are_where_the_frame_says_when_the_rays_are_cast():
    world = _world()
    walked = 0
    for _ in range(600):
        world.command(0.8, 0.0)
        world.step(5)
        people = world.frame().people.tolist()
        assert [place[:2] for place in world.scene.places] == [tuple(row[:2]) for row in people]
        walked += any(row[2] or row[3] for row in people)
    assert walked > 100


def test_it_renders_once_a_scan_and_once_for_an_image_between():
    world = _world()
    world.step(20)
    assert world.scene.renders == 4
    assert world.frame(render=True).image[0, 0, 0] == 4
    world.step(1)
    assert world.frame().image is None
    assert world.frame(render=True).image[0, 0, 0] == 5


def test_without_a_camera_there_is_no_image():
    world = _world(camera='off')
    assert not world.has_camera
    assert world.frame(render=True).image is None


def test_odometry_is_what_the_wheels_say():
    exact, wrong = _world(), _world(odometry_error=0.02)
    for world in (exact, wrong):
        for _ in range(40):
            world.command(0.5, 0.4)
            world.step(5)
    assert exact.frame().odometry.pose == pytest.approx(exact.frame().robot, abs=1e-9)
    assert math.dist(wrong.frame().odometry.pose, wrong.frame().robot) > 1e-3


def test_steps_that_nobody_asked_for_are_an_error():
    world = _world()
    world.scene.extra = 1
    with pytest.raises(WorldError, match='2 steps, not 1'):
        world.step()


def test_a_robot_that_settles_elsewhere_is_an_error():
    class Pushed(PlainScene):
        def restart(self, until_s, place):
            super().restart(until_s, place)
            self.at = (self.at[0] + 0.1, self.at[1])

    world = IsaacWorld(open_scene=Pushed)
    with pytest.raises(WorldError, match='does not stand at its start'):
        world.load(SCENARIO, ROBOT)


def test_an_arm_is_driven_and_holds():
    world = _world(robot=ARM_ROBOT)
    assert world.frame().joint_positions[2:] == pytest.approx(ARM_ROBOT.arm.rest)
    goal = [rest + 0.1 for rest in ARM_ROBOT.arm.rest]
    for _ in range(100):
        world.command_arm(goal, [0.0] * len(goal), 0.02)
        world.step(4)
    assert world.frame().joint_positions[2:] == pytest.approx(goal, abs=5e-3)


def test_another_start_keeps_the_stage_and_another_place_does_not():
    world = _world()
    scene = world.scene
    world.load(dataclasses.replace(SCENARIO, start=(1.0, 0.2, 0.1)), ROBOT, 4)
    assert world.scene is scene
    assert world.frame().robot == pytest.approx((1.0, 0.2, 0.1))
    wide = dataclasses.replace(SCENARIO.aisle, half_width_m=3.0)
    world.load(dataclasses.replace(SCENARIO, aisle=wide), ROBOT)
    assert world.scene is not scene
    assert scene.closed


def test_outside_of_isaac_sim_the_engine_says_where_it_lives():
    with pytest.raises(WorldError, match=r'python\.sh -m isaac_bridge\.isaac'):
        create('isaac', camera='off').load(SCENARIO, ROBOT)


def test_after_close_nothing_is_loaded():
    world = _world()
    scene = world.scene
    world.close()
    world.close()
    assert scene.closed
    with pytest.raises(WorldError, match='nothing is loaded'):
        world.step()


def test_rays_begin_on_the_outline_and_point_along_the_beams():
    beams = Beams(ROBOT)
    assert beams.origins.shape == (720, 3)
    inside = np.abs(beams.origins[:, :2]) < np.array([0.4, 0.3]) - 1e-9
    assert not inside.all(axis=1).any()
    assert np.abs(beams.origins[:, :2]).max(axis=0) == pytest.approx([0.401, 0.301], abs=2e-3)
    assert beams.offsets[360] == pytest.approx(0.401)       # straight ahead
    assert np.linalg.norm(beams.directions, axis=1) == pytest.approx(np.ones(720))
    depths = np.full(720, 3.0)
    depths[5] = 20.0
    assert beams.distances(depths)[360] == pytest.approx(3.401)
    assert beams.distances(depths)[5] == math.inf
    with pytest.raises(ValueError, match='720 beams'):
        beams.distances(depths[:-1])


def test_a_lidar_outside_of_the_outline_has_nothing_to_leave():
    lidar = dataclasses.replace(ROBOT.lidar, pose=(0.6, 0.0, 0.0))
    assert Beams(dataclasses.replace(ROBOT, lidar=lidar)).offsets == pytest.approx(1e-3)


def test_a_lidar_that_cannot_turn_is_no_rtx_lidar():
    half = dataclasses.replace(ROBOT.lidar, angle_min_rad=-1.57, angle_max_rad=1.57)
    with pytest.raises(ValueError, match='turn fully'):
        rtx_lidar.attributes(half)
    with pytest.raises(ValueError, match='whole number'):
        rtx_lidar.attributes(dataclasses.replace(ROBOT.lidar, rate_hz=12.5))


def test_the_graph_of_a_robot_without_a_camera_has_no_camera():
    blind = dataclasses.replace(ROBOT, camera=None)
    names = {node.name for node in rtx_graph(blind, '/l', None).nodes}
    assert names == {'tick', 'once', 'context', 'qos', 'lidar_product', 'scan', 'points'}
    full = rtx_graph(ROBOT, '/l', '/c', prefix='true')
    values = {(node.name, key): value for node in full.nodes for key, value in node.values}
    assert values['image', 'inputs:topicName'] == 'true/front/image_raw'
    assert values['image', 'inputs:frameSkipCount'] == 3        # 40 Hz of scans, 10 of images
    assert values['scan', 'inputs:frameId'] == 'base_scan'


@pytest.mark.parametrize('robot', [ROBOT, ARM_ROBOT], ids=lambda robot: robot.name)
def test_the_stage_has_what_the_scene_names(robot):
    pytest.importorskip('pxr')
    from pxr import UsdGeom, UsdPhysics

    from isaac_bridge.stage import paths
    from isaac_bridge.stage.author import author
    from isaac_bridge.stage.prims import name_of
    stage = author(SCENARIO, robot)
    assert stage.GetPrimAtPath(paths.BASE).HasAPI(UsdPhysics.ArticulationRootAPI)
    assert stage.GetPrimAtPath(paths.BASE).HasAPI(UsdPhysics.RigidBodyAPI)
    camera = stage.GetPrimAtPath(f'{paths.BASE}/{name_of(robot.camera.name)}')
    assert camera.IsA(UsdGeom.Camera)
    joints = [prim for prim in stage.Traverse() if prim.IsA(UsdPhysics.RevoluteJoint)]
    assert {joint.GetName() for joint in joints} == {name_of(name) for name in robot.joint_names}
    for joint in joints:
        assert joint.HasAPI(UsdPhysics.DriveAPI, 'angular')
    for i in range(len(SCENARIO.people)):
        person = stage.GetPrimAtPath(f'{paths.PEOPLE}/person_{i}')
        assert person.GetAttribute('xformOp:translate').GetTypeName() == 'double3'
        assert UsdPhysics.RigidBodyAPI(person).GetKinematicEnabledAttr().Get()
    # What the scene adds itself must not be taken yet.
    for name in (f'{paths.BASE}/{name_of(robot.lidar.name)}_rays',
                 f'{paths.BASE}/{robot.lidar.name}_rtx', '/World/backdrop', '/World/rtx_sensors'):
        assert not stage.GetPrimAtPath(name).IsValid()
