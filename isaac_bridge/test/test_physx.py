"""The world on PhysX keeps to the protocol, and drives, stops and sees as it should."""

import dataclasses
import itertools
import math
import re
from importlib.util import find_spec

import numpy as np
import pytest
from engine_scenes import (
    CONFIG,
    NO_PHYSX,
    at,
    drive,
    printed_by_two_processes,
    ranges_to_boxes,
    with_people,
)

from isaac_bridge.engines import create, open_world
from isaac_bridge.entities import EntityError, Pose, Resource, Scope, State
from isaac_bridge.outline import clearance_m
from isaac_bridge.robot import read_robot
from isaac_bridge.scenario import PERSON_RADIUS_M, read_scenario
from isaac_bridge.stage import paths
from isaac_bridge.stage.author import author, text_of
from isaac_bridge.stage.body import link_path
from isaac_bridge.stage.description import read
from isaac_bridge.world import START_NS, WorldError

# Marked, not skipped here: launch_testing imports a whole folder, and a skip while it does so skips
# every test of the package.
pytestmark = [pytest.mark.skipif(find_spec('ovphysx') is None, reason=NO_PHYSX),
              pytest.mark.filterwarnings('ignore:ovphysx')]
if find_spec('ovphysx') is not None:
    from isaac_bridge.engines.physx_check import check, held
    from isaac_bridge.engines.physx_scene import LINKS, ROBOT, PhysxScene
    from isaac_bridge.engines.physx_world import PhysxWorld

FORWARD = (0.8, 0.0)


@pytest.fixture
def open_physx():
    worlds = []

    def opened(scenario, robot, seed=0, **options):
        world = PhysxWorld(**{'lidar_noise_m': 0.0} | options)
        worlds.append(world)
        world.load(scenario, robot, seed)
        return world

    yield opened
    for world in worlds:
        world.close()


@pytest.fixture(scope='module')
def so100():
    return read_robot(CONFIG / 'robots/amr_so100.yaml')


@pytest.mark.parametrize('name', ['amr', 'amr_so100', 'g1_upper'])
def test_the_loaded_scene_is_the_stage(aisle, name):
    stage = author(aisle, read_robot(CONFIG / f'robots/{name}.yaml'))
    scene = PhysxScene(text_of(stage))
    try:
        assert check(read(stage), scene) == []
    finally:
        scene.close()


def test_spawned_things_are_the_stages(empty, robot):
    props = (Resource('box', (0.6, 0.4, 0.4)), Resource('cylinder', (0.3, 0.3, 1.0)))
    stage = author(empty, robot, props)
    scene = PhysxScene(text_of(stage))
    try:
        assert check(read(stage), scene) == []
        assert len(check(read(author(empty, robot)), scene)) == len(props)
    finally:
        scene.close()


MUTATIONS = {
    'a rack is longer': (r'(rack_03".*?xformOp:scale = \()([0-9.]+)', r'\g<1>1.95',
                         'rack_03 extent'),
    'a rack stands elsewhere': (r'(rack_05".*?xformOp:translate = \()([-0-9.]+)', r'\g<1>3.33',
                                'rack_05 extent'),
    'a rack lets through': (r'(rack_02" \(\s+prepend apiSchemas = \[)"PhysicsCollisionAPI", ',
                            r'\g<1>', 'rack_02 extent'),
    'the base is light': (r'(base_link".*?physics:mass = )([0-9.]+)', r'\g<1>50',
                          'base_link mass'),
    'a link turns heavily': (r'(elbow_flex_link".*?physics:diagonalInertia = \()([-0-9.e]+)',
                             r'\g<1>0.001', 'elbow_flex_link inertia'),
    'a limit is wider': (r'(RevoluteJoint "elbow_flex".*?physics:upperLimit = )([0-9.]+)',
                         r'\g<1>99', 'elbow_flex limits'),
    'a drive is soft': (r'(RevoluteJoint "gripper".*?angular:physics:stiffness = )([0-9.]+)',
                        r'\g<1>0.5', 'gripper stiffness'),
    'a motor is weak': (r'(RevoluteJoint "gripper".*?angular:physics:maxForce = )([0-9.]+)',
                        r'\g<1>2', 'gripper torque'),
    'a wheel is big': (r'(right_wheel_joint_link".*?double radius = )([0-9.]+)', r'\g<1>0.11',
                       'right_wheel_joint_link/tyre extent'),
    'a caster is gone': (r'(front_caster" \(\s+prepend apiSchemas = \[)"PhysicsCollisionAPI", ',
                         r'\g<1>', 'front_caster extent'),
}


def assert_noticed(stage, pattern, new, about):
    """A scene whose text differs from the stage in one place is told from it, by name."""
    text, count = re.subn(pattern, new, text_of(stage), count=1, flags=re.DOTALL)
    assert count == 1
    scene = PhysxScene(text)
    try:
        found = check(read(stage), scene)
    finally:
        scene.close()
    assert any(about in sentence for sentence in found), found


@pytest.mark.parametrize('name', MUTATIONS)
def test_a_scene_of_another_stage_is_noticed(aisle, so100, name):
    assert_noticed(author(aisle, so100), *MUTATIONS[name])


def test_it_measures_what_it_compares(empty, robot):
    scene = PhysxScene(text_of(author(empty, robot)))
    try:
        numbers = held(read(author(empty, robot)), scene)
    finally:
        scene.close()
    assert numbers[f'{paths.BASE} mass'] == (57.0,)
    assert sum(name.endswith('extent') for name in numbers) == len(
        [*empty.aisle.racks(), *empty.aisle.walls()]) + 5


def test_time_is_exact(open_physx, empty, robot):
    world = open_physx(empty, robot)
    assert world.t_ns == START_NS == world.frame().t_ns
    for n in (1, 2, 40):
        before = world.t_ns
        world.step(n)
        assert world.t_ns - before == n * world.step_ns


def test_a_reset_is_the_same_as_new(open_physx, aisle, robot):
    commands = [(0.8, 0.3)] * 30
    world = open_physx(aisle, robot, 5, lidar_noise_m=None)
    new = world.digest()
    frames = [frame.digest() for frame in drive(world, commands)]
    for scope in (Scope.ALL, Scope.TIME | Scope.STATE):
        world.reset(5, scope)
        assert world.digest() == new
        assert [frame.digest() for frame in drive(world, commands)] == frames
    world.reset(6)
    assert world.digest() != new


def test_two_processes_agree():
    code = f'''
from isaac_bridge.engines import open_world
world = open_world({str(CONFIG / "scenarios/aisle.yaml")!r},
                   {str(CONFIG / "robots/amr_so100.yaml")!r}, 7, engine='physx')
for i in range(80):
    world.command(0.8, 0.3 if i % 40 < 20 else -0.3)
    world.command_arm([0.5, -0.3, 0.4, 0.2, 0.0, 1.0], [0.0] * 6, ahead_s=0.02)
    world.step(5)
    if i % 8 == 0:
        print(world.frame().digest())
print(world.digest())
world.close()
'''
    one, other = printed_by_two_processes(code)
    assert one == other
    assert len(set(one.split())) == 11


def test_speed_up_hold_and_brake(open_physx, empty, robot):
    world = open_physx(empty, robot)
    frames = drive(world, [(0.9, 0.0)] * 60, every=20)
    assert frames[0].twist[0] == pytest.approx(0.4, abs=0.02)
    assert frames[-1].twist[0] == pytest.approx(0.9, abs=0.01)
    (end,) = drive(world, [(0.0, 0.0)] * 40, every=40)
    stopped = end.robot[0] - frames[-1].robot[0]
    # The wheels follow their drives within two steps of 5 ms.
    assert stopped == pytest.approx(0.9 ** 2 / (2 * robot.limits.braking_mps2), abs=0.9 * 0.015)
    assert abs(end.twist[0]) < 1e-3


def test_a_stale_command_brakes_to_rest(open_physx, empty, robot):
    world = open_physx(empty, robot)
    drive(world, [FORWARD] * 50, every=50)
    world.step(25)
    assert world.frame().twist[0] == pytest.approx(0.8, abs=0.01)
    world.step(150)
    assert abs(world.frame().twist[0]) < 1e-3


def test_an_arc_is_an_arc(open_physx, empty, robot):
    world = open_physx(empty, robot)
    frames = drive(world, [(0.5, 0.5)] * 200, every=20)
    x, y, yaw = frames[2].robot
    centre = (x - math.sin(yaw), y + math.cos(yaw))
    for frame in frames[3:]:
        assert math.dist(frame.robot[:2], centre) == pytest.approx(1.0, abs=0.02)
    assert frames[-1].robot[2] - yaw == pytest.approx(0.5 * 140 * 0.025, rel=0.01)


def test_yaw_counts_full_turns(open_physx, empty, robot):
    frames = drive(open_physx(empty, robot), [(0.0, 1.2)] * 240, every=10)
    assert frames[-1].robot[2] == pytest.approx(1.2 * (6.0 - 0.24), rel=0.02)
    assert all(later.robot[2] >= earlier.robot[2] - 1e-4
               for earlier, later in itertools.pairwise(frames))


def test_it_stays_on_the_floor_and_rests(open_physx, so100, empty):
    world = open_physx(empty, so100)
    before = world.frame()
    world.step(400)
    after = world.frame()
    assert after.robot == pytest.approx(before.robot, abs=1e-3)
    height = world.scene.read(ROBOT, ('rootPosition',))['rootPosition'][paths.BASE][2]
    assert abs(height) < 1e-3


def test_a_rack_stops_the_base(open_physx, empty, robot):
    world = open_physx(at(empty, 5.0, 1.2, math.pi / 2), robot)
    (frame,) = drive(world, [(0.9, 0.0)] * 120, every=120)
    assert frame.robot[1] == pytest.approx(2.5 - 0.4, abs=0.02)
    assert abs(frame.twist[0]) < 0.02


def test_people_are_seen_touched_and_push_nobody(open_physx, empty, robot):
    world = open_physx(with_people(empty, (2.0, 0.1), (9.0, 2.0)), robot)
    first = world.frame()
    expected = 2.0 - math.sqrt(PERSON_RADIUS_M ** 2 - 0.1 ** 2)
    assert first.ranges[360] == pytest.approx(expected, abs=1e-3)
    assert first.contact == -1
    frames = drive(world, [FORWARD] * 130, every=5)
    touched = [frame.contact for frame in frames]
    assert 0 in touched
    assert frames[-1].twist == pytest.approx((0.8, 0.0), abs=0.02)
    for frame in frames:
        assert frame.clearance_m == pytest.approx(min(
            clearance_m(robot.outline, frame.robot, place, PERSON_RADIUS_M)
            for place in ((2.0, 0.1), (9.0, 2.0))))


@pytest.mark.parametrize('name', ['amr', 'amr_so100', 'g1_upper'])
def test_the_lidar_does_not_see_its_own_robot(open_physx, empty, name):
    robot = read_robot(CONFIG / f'robots/{name}.yaml')
    ranges = open_physx(empty, robot).frame().ranges
    expected = ranges_to_boxes(empty, robot, empty.start)
    assert ranges.min() == pytest.approx(expected.min(), abs=1e-3)


def test_the_arm_follows_and_holds(open_physx, empty, so100):
    world = open_physx(empty, so100)
    rest = world.frame().joint_positions[2:]
    assert rest == pytest.approx(so100.arm.rest, abs=1e-4)
    goal = [0.5, -0.3, 0.4, 0.2, 0.0, 1.0]
    for _ in range(100):
        world.command_arm(goal, [0.0] * 6, ahead_s=0.02)
        world.step(4)
    there = world.frame().joint_positions[2:]
    # The stretched arm hangs below its set point by its weight over the servos' stiffness.
    assert there == pytest.approx(goal, abs=0.03)
    world.step(100)
    assert world.frame().joint_positions[2:] == pytest.approx(there, abs=2e-3)


TREE_MUTATIONS = {
    'the lift is soft': (r'(PrismaticJoint "base_height".*?linear:physics:stiffness = )([0-9.]+)',
                         r'\g<1>30000', 'base_height stiffness'),
    'the lift is weak': (r'(PrismaticJoint "base_height".*?linear:physics:maxForce = )([0-9.]+)',
                         r'\g<1>900', 'base_height torque'),
    'the lift goes lower': (r'(PrismaticJoint "base_height".*?physics:lowerLimit = )([0-9.]+)',
                            r'\g<1>0.3', 'base_height limits'),
    'the motor of a finger is light': (
        r'(RevoluteJoint "left_hand_index_0_joint".*?angular:armature = )([0-9.]+)',
        r'\g<1>0.001', 'left_hand_index_0_joint armature'),
    'a forearm is heavy': (r'(right_elbow_joint_link".*?physics:mass = )([0-9.]+)',
                           r'\g<1>0.7', 'right_elbow_joint_link mass'),
}


@pytest.mark.parametrize('name', TREE_MUTATIONS)
def test_a_tree_of_another_stage_is_noticed(empty, upper, name):
    assert_noticed(author(empty, upper), *TREE_MUTATIONS[name])


@pytest.fixture(scope='module')
def upper():
    robot = read_robot(CONFIG / 'robots/g1_upper.yaml')
    return dataclasses.replace(robot, arm=dataclasses.replace(robot.arm, sensor=None))


def test_the_upper_body_hangs_together_as_in_mujoco(open_physx, empty, upper):
    """Every link, in the base's frame: parents, axes, distances, and what hangs by its weight."""
    names, physx = upper.arm.names, open_physx(empty, upper)
    planar = create('mujoco', camera='off', lidar_noise_m=0.0)
    planar.load(empty, upper)
    random = np.random.default_rng(2)
    for _ in range(2):
        goal = [random.uniform(0.8 * joint.lower, 0.8 * joint.upper)
                if joint.kind == 'hinge' else 0.6 for joint in upper.arm.joints]
        for world in (physx, planar):
            for _ in range(120):
                world.command_arm(goal, [0.0] * len(goal), ahead_s=0.02)
                world.step(4)
        one, other = (np.array(world.frame().joint_positions[2:2 + len(names)])
                      for world in (physx, planar))
        np.testing.assert_allclose(one, other, atol=2e-3)
        np.testing.assert_allclose(one, goal, atol=0.044)
        places = physx.scene.read(LINKS, ('position',))['position']
        for name in names:
            here = in_base(places[link_path(name)], physx.frame().robot)
            there = in_base(planar._data.body(name).xpos, planar.frame().robot)
            assert math.dist(here, there) < 4e-3, name


def in_base(place, pose):
    x, y, z = place
    c, s = math.cos(pose[2]), math.sin(pose[2])
    return (c * (x - pose[0]) + s * (y - pose[1]), c * (y - pose[1]) - s * (x - pose[0]), z)


def test_spawned_things_are_seen_and_stop_the_base_and_go_again(open_physx, empty, robot):
    world = open_physx(empty, robot)
    drive(world, [FORWARD] * 20, every=20)
    before = world.state('amr')
    world.spawn('crate', Resource('box', (0.4, 0.6, 0.5)), Pose.flat(3.0, 0.0))
    after = world.state('amr')
    assert after.pose.position == pytest.approx(before.pose.position, abs=1e-5)
    assert after.linear == pytest.approx(before.linear, abs=1e-5)
    ahead = world.frame().ranges[360]
    assert ahead == pytest.approx(2.8 - after.pose.position[0], abs=0.01)
    (frame,) = drive(world, [FORWARD] * 160, every=160)
    assert frame.robot[0] == pytest.approx(2.8 - 0.4, abs=0.02)
    world.set_state('crate', State(Pose.flat(3.0, 2.0)))
    (frame,) = drive(world, [FORWARD] * 80, every=80)
    assert frame.robot[0] > 3.0
    world.delete('crate')
    assert [entity.name for entity in world.entities()] == ['amr']
    with pytest.raises(EntityError, match='crate'):
        world.state('crate')


def test_the_robot_can_be_put_elsewhere_in_motion(open_physx, empty, robot):
    world = open_physx(empty, robot)
    world.set_state('amr', State(Pose.flat(8.0, 0.5, 0.3), (0.5 * math.cos(0.3),
                                                           0.5 * math.sin(0.3), 0.0)))
    assert world.frame().robot == pytest.approx((8.0, 0.5, 0.3), abs=1e-5)
    (frame,) = drive(world, [(0.5, 0.0)] * 20, every=20)
    assert math.dist(frame.robot[:2], (8.0, 0.5)) == pytest.approx(0.25, abs=0.01)


def test_a_person_who_is_moved_is_seen_there_at_once(open_physx, empty, robot):
    world = open_physx(with_people(empty, (9.0, 2.0)), robot)
    world.set_state('p0', State(Pose.flat(3.0, 0.0)))
    assert world.frame().ranges[360] == pytest.approx(3.0 - PERSON_RADIUS_M, abs=1e-3)


def test_load_with_another_start_keeps_the_scenes_text(open_physx, empty, robot):
    world = open_physx(empty, robot)
    text = world._text
    world.load(at(empty, 3.0, 0.5, 0.2), robot, 1)
    assert world._text is text
    assert world.frame().robot == pytest.approx((3.0, 0.5, 0.2), abs=1e-6)


def test_it_renders_nothing_and_says_so():
    files = CONFIG / 'scenarios/empty.yaml', CONFIG / 'robots/amr.yaml'
    with pytest.raises(WorldError, match='renders nothing'):
        open_world(*files, engine='physx', camera='on')
    world = open_world(*files, engine='physx')
    assert not world.has_camera
    assert world.frame(render=True).image is None
    world.close()


def test_before_load_the_error_says_so():
    world = create('physx')
    for call in (world.step, world.frame, lambda: world.reset(0), world.digest):
        with pytest.raises(WorldError, match='call load first'):
            call()
    world.close()
    world.close()


def test_two_worlds_in_one_process(open_physx, empty, robot):
    one, other = open_physx(empty, robot), open_physx(at(empty, 4.0, 0.0, 0.0), robot)
    drive(one, [FORWARD] * 20)
    assert other.frame().robot == pytest.approx((4.0, 0.0, 0.0), abs=1e-6)
    assert one.frame().robot[0] > 0.08


def test_the_noise_is_every_engines(open_physx, robot):
    scenario = read_scenario(CONFIG / 'scenarios/empty.yaml')
    noisy = dataclasses.replace(robot, lidar=dataclasses.replace(robot.lidar, dropout=0.2))
    ranges = open_physx(scenario, noisy, 3, lidar_noise_m=0.01).frame().ranges
    mujoco = create('mujoco', camera='off', lidar_noise_m=0.01)
    mujoco.load(scenario, noisy, 3)
    np.testing.assert_allclose(ranges, mujoco.frame().ranges, atol=1e-4)

