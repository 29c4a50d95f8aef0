"""The arm in the world: its weight and its drives; base and lidar stay what they are."""

import copy
import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import yaml

from isaac_bridge.engines.mujoco_world import MujocoWorld
from isaac_bridge.robot import RobotError, read_robot
from isaac_bridge.scenario import Jitter, Person
from isaac_bridge.world import WorldError

ARMED_FILE = Path(__file__).resolve().parents[2] / 'config/robots/amr_so100.yaml'
STRETCHED = (0.0, math.pi / 2, -math.pi / 2, 0.0, 0.0, 0.0)     # forward, level
TICK_S = 0.02
NEVER = (900.0, 0.0, 0.0)       # a line that no robot passes


@pytest.fixture(scope='module')
def armed():
    return read_robot(ARMED_FILE)


def make(scenario, robot, **options):
    world = MujocoWorld(**{'camera': 'off', 'lidar_noise_m': 0.0} | options)
    world.load(scenario, robot)
    return world


def joints(world):
    return np.array(world.frame().joint_positions[2:])


def go(world, goal, seconds):
    """Stream one pose at 50 Hz; the joints' velocities, (n, joints)."""
    seen = []
    for _ in range(round(seconds / TICK_S)):
        world.command_arm(goal, [0.0] * len(goal), TICK_S)
        world.step(4)
        seen.append(world.frame().joint_velocities[2:])
    return np.array(seen)


def level(arm):
    """An arm whose limits let it stretch; the real one's stop it a little short."""
    return dataclasses.replace(arm, joints=tuple(
        dataclasses.replace(joint, lower=-2.0, upper=2.0) for joint in arm.joints))


def test_the_drives_hold_it_from_the_start(empty, armed):
    world = make(empty, armed)
    assert world.frame().joint_positions == (0.0, 0.0, *armed.arm.rest)
    world.step(2000)
    settled = joints(world)
    world.step(2000)
    np.testing.assert_allclose(joints(world), settled, atol=1e-9)
    hangs = settled - armed.arm.rest
    assert 0.003 < hangs.max() < 0.02
    assert abs(hangs[0]) < 1e-9, 'nothing pulls a vertical axis'


def test_it_hangs_by_its_weight_over_the_stiffness(empty, armed):
    """Statics written apart from the engine: torque of all links about the shoulder's axis."""
    arm = level(armed.arm)
    world = make(empty, dataclasses.replace(armed, arm=arm))
    go(world, STRETCHED, 4.0)
    # Stretched, what pointed up at the upper arm points forward; the rest is as at zero.
    x, moment = arm.links[1].tip[2], arm.links[1].mass_kg * arm.links[1].tip[2] / 2
    for link, before in zip(arm.links[2:], ((0.113, -0.028), *[None] * 3), strict=True):
        x = before[0] if before else x + link.at[0]
        moment += link.mass_kg * (x + link.tip[0] / 2)
    expected = 9.81 * moment / arm.servo.stiffness
    assert joints(world)[1] - STRETCHED[1] == pytest.approx(expected, rel=0.03)


def test_poses_are_reached_within_the_limits(empty, armed):
    world = make(empty, armed)
    limits = np.array([joint.max_velocity for joint in armed.arm.joints])
    for goal in ((1.2, 0.5, 0.3, -0.8, 1.0, 1.2), (-1.5, -0.9, 1.1, 1.0, -2.0, 0.0)):
        velocities = go(world, goal, 5.0)
        np.testing.assert_allclose(joints(world), goal, atol=0.02)
        assert np.all(np.abs(velocities).max(axis=0) <= 1.15 * limits)
        assert np.all(np.abs(velocities[-1]) < 1e-3)


def test_beyond_the_limits_it_does_not_go(empty, armed):
    world = make(empty, armed)
    go(world, [9.0] * 6, 6.0)
    np.testing.assert_allclose(joints(world), [joint.upper for joint in armed.arm.joints],
                               atol=0.02)


def test_without_set_points_the_drives_hold(empty, armed):
    world = make(empty, armed)
    go(world, (1.5, 0.5, 0.3, 0.0, 0.0, 0.0), 0.4)
    assert world.frame().joint_velocities[2] > 1.0
    world.step(200)
    held = joints(world)
    assert held[0] < 1.4, 'it went on to a goal that nobody confirms'
    world.step(2000)
    np.testing.assert_allclose(joints(world), held, atol=1e-3)


def test_hold_stops_it_sooner_than_silence(empty, armed):
    reached = []
    for stop in (lambda world: None, lambda world: world.hold_arm()):
        world = make(empty, armed)
        go(world, (1.9, -0.6, 0.6, 0.6, 0.0, 0.3), 0.5)
        stop(world)
        world.step(400)
        reached.append(joints(world)[0])
    assert reached[1] < reached[0] - 0.1


def test_the_base_drives_as_its_file_promises(empty, armed):
    """Also while the arm swings: its weight is part of the robot's."""
    world = make(empty, armed)
    for i in range(120):
        world.command(0.9, 0.0)
        world.command_arm([1.9 * (-1) ** (i // 40), 0.5, 0.5, 0.0, 0.0, 0.0], [0.0] * 6, TICK_S)
        world.step(5)
    before = world.frame()
    assert before.twist == pytest.approx((0.9, 0.0), abs=2e-3)
    world.command(0.0, 0.0)
    world.step(200)
    after = world.frame()
    assert after.robot[0] - before.robot[0] == pytest.approx(0.9 ** 2 / 3.0, abs=0.005)
    assert after.twist == pytest.approx((0.0, 0.0), abs=1e-6)


def test_the_lidar_does_not_see_its_own_arm(empty, armed):
    """The gripper in front of the bumper, in the scanner's plane: seen, it would be an object."""
    scanner = armed.lidar.height_m
    arm = dataclasses.replace(level(armed.arm), mount=(0.35, 0.0, scanner - 0.12))
    alone = dataclasses.replace(armed, arm=None)
    world = make(empty, dataclasses.replace(armed, arm=arm))
    go(world, (0.0, 0.0, 0.0, 0.0, 0.0, 0.0), 4.0)
    heights = [world._data.body(name).xpos[2] for name in arm.names]
    assert min(heights) < scanner < max(heights) + 0.05
    other = make(empty, alone)
    other.step(world._steps)
    np.testing.assert_allclose(world.frame().ranges, other.frame().ranges, atol=1e-4)
    someone = Person('p', (1.5, 0.0), ((2.5, 0.0),), 1.0, NEVER, Jitter())
    near = make(dataclasses.replace(empty, people=(someone,)), dataclasses.replace(armed, arm=arm))
    assert near.frame().ranges[360] == pytest.approx(1.3, abs=1e-3), 'others are seen through it'


def test_the_webcam_sees_the_arm_move(empty, armed):
    world = make(empty, armed, camera='auto')
    if not world.has_camera:
        pytest.skip('nothing can be rendered here')
    before = world.frame(render=True).image.astype(int)
    assert before.shape == (240, 320, 3)
    orange = (before[..., 0] > 150) & (before[..., 2] < 80) & (before[..., 1] < 130)
    assert orange.sum() > 1000
    go(world, (1.0, 0.5, 0.3, 0.0, 0.0, 0.0), 3.0)
    after = world.frame(render=True).image.astype(int)
    assert (np.abs(after - before).max(axis=-1) > 40).sum() > 1000
    world.close()


def test_two_runs_are_equal_and_the_arm_is_in_the_digest(empty, armed):
    digests = []
    for angle in (0.5, 0.5, 0.6):
        world = make(empty, armed)
        go(world, (angle, 0.0, 0.0, 0.0, 0.0, 0.0), 1.0)
        digests.append(world.frame().digest())
    assert digests[0] == digests[1] != digests[2]
    world.reset(0)
    assert world.frame().joint_positions[2:] == armed.arm.rest


def test_a_robot_without_an_arm_says_so(empty, robot):
    world = make(empty, robot)
    assert len(world.frame().joint_positions) == 2
    for call in (lambda: world.command_arm([], [], 0.02), world.hold_arm):
        with pytest.raises(WorldError, match='the robot amr has no arm'):
            call()


@pytest.mark.parametrize(('path', 'value', 'message'), [
    (('links',), [], r'arm.links: 0 for 6 joints'),
    (('rest',), [0.0], r'arm.rest: 1 for 6 joints'),
    (('rest',), [2.0] + [0.0] * 5, r'arm.rest: 2.0 of shoulder_pan is beyond its limits'),
    (('joints', 0, 'name'), 'gripper', r'arm.joints: two have one name'),
    (('joints', 0, 'name'), 'left_wheel_joint', r'arm.joints: a wheel has the same name'),
    (('joints', 0, 'lower'), 1.95, r'arm.joints: lower of shoulder_pan is not below its upper'),
    (('joints', 0, 'braking'), 0, r'arm.joints\[0\].braking: 0 is less than or equal'),
    (('links', 1, 'mass_kg'), 70.0, r'base.mass_kg: is of the whole robot'),
    (('servo',), {}, r"arm.servo: 'stiffness' is a required property"),
])
def test_a_wrong_arm_is_one_sentence(path, value, message, tmp_path):
    document = copy.deepcopy(yaml.safe_load(ARMED_FILE.read_text()))
    at = document['arm']
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    file = tmp_path / 'robot.yaml'
    file.write_text(yaml.safe_dump(document))
    with pytest.raises(RobotError, match=message) as error:
        read_robot(file)
    assert '\n' not in str(error.value)
