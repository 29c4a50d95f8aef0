"""A tree of joints: the humanoid upper body in the world, held by its drives, led by set points."""

import copy
import dataclasses
import math

import numpy as np
import pytest
import yaml
from engine_scenes import CONFIG, printed_by_two_processes

from isaac_bridge.arm import BASE, arm_of
from isaac_bridge.engines.mujoco_world import MujocoWorld
from isaac_bridge.messages import joint_state, sensor_transforms
from isaac_bridge.robot import RobotError, read_robot
from isaac_bridge.stage.author import author, text_of

FILE = CONFIG / 'robots/g1_upper.yaml'
TICK_S = 0.02
HANGING = 0.044         # rad: a level forearm at the elbow; no joint hangs farther below
ACTIONS = yaml.safe_load((CONFIG / 'embodiments/unitree_g1.yaml').read_text())['action']


@pytest.fixture(scope='module')
def upper():
    """Its truth: what its encoders make of it has tests of its own."""
    robot = read_robot(FILE)
    return dataclasses.replace(robot, arm=dataclasses.replace(robot.arm, sensor=None))


def make(scenario, robot, **options):
    world = MujocoWorld(**{'camera': 'off', 'lidar_noise_m': 0.0} | options)
    world.load(scenario, robot)
    return world


def joints(world, robot):
    return np.array(world.frame().joint_positions[2:2 + len(robot.arm.names)])


def go(world, robot, goal, seconds):
    """Stream one pose at 50 Hz; the joints' velocities, (n, joints)."""
    seen = []
    for _ in range(round(seconds / TICK_S)):
        world.command_arm(goal, [0.0] * len(goal), TICK_S)
        world.step(4)
        seen.append(world.frame().joint_velocities[2:2 + len(goal)])
    return np.array(seen)


def pose(robot, **angles):
    """The rest, some joints elsewhere."""
    goal = dict(zip(robot.arm.names, robot.arm.rest, strict=True)) | angles
    assert len(goal) == len(robot.arm.names), 'a name that is none of its joints'
    return list(goal.values())


def poses(robot, count):
    random = np.random.default_rng(5)
    return [[random.uniform(joint.lower, joint.upper) for joint in robot.arm.joints]
            for _ in range(count)]


def test_its_joints_are_the_embodiments_in_their_order_and_limits(upper):
    wanted = {name: (limits, key['limits']) for key in ACTIONS.values()
              if key['interface'] == 'joints' for name, limits in key['joints'].items()}
    assert upper.arm.names == tuple(wanted)
    for joint in upper.arm.joints:
        (lower, higher), limits = wanted[joint.name]
        assert (joint.lower, joint.upper) == (lower, higher)
        assert joint.max_velocity == limits['max_velocity']
        assert joint.max_acceleration == limits['max_acceleration'] <= joint.braking


def test_it_is_a_tree_whose_order_is_not_the_files(upper):
    arm = upper.arm
    tree = {name: BASE if on == BASE else arm.names[on]
            for name, on in zip(arm.names, arm.parents, strict=True)}
    assert tree['base_height'] == BASE
    assert tree['left_shoulder_pitch_joint'] == tree['right_shoulder_pitch_joint'] == \
        'waist_pitch_joint'
    assert [name for name, on in tree.items() if on == 'left_wrist_yaw_joint'] == [
        f'left_hand_{finger}_0_joint' for finger in ('thumb', 'middle', 'index')]
    seen = [BASE]
    for i in arm.order:
        assert arm.parents[i] in seen
        seen.append(i)
    assert arm.order != tuple(range(len(arm.joints)))


def test_a_chain_written_as_a_tree_is_the_same_bit_for_bit(empty):
    chain = read_robot(CONFIG / 'robots/amr_so100.yaml')
    document = yaml.safe_load((CONFIG / 'robots/amr_so100.yaml').read_text())['arm']
    document['servos'] = {'own': document['servo']}
    parents = ['base', *(joint['name'] for joint in document['joints'])]
    for link, parent in zip(document['links'], parents, strict=False):
        link |= {'parent': parent, 'servo': 'own'}
    tree = dataclasses.replace(chain, arm=arm_of(document))
    assert text_of(author(empty, tree)) == text_of(author(empty, chain))
    digests = []
    for robot in (chain, tree):
        world = make(empty, robot)
        go(world, robot, [0.5, -0.3, 0.4, 0.2, 0.0, 1.0], 1.0)
        digests.append((world.digest(), world.frame().digest()))
    assert digests[0] == digests[1]


def test_the_drives_hold_it_from_the_start(empty, upper):
    world = make(empty, upper)
    assert tuple(joints(world, upper)) == upper.arm.rest
    world.step(2000)
    settled = joints(world, upper)
    world.step(2000)
    np.testing.assert_allclose(joints(world, upper), settled, atol=1e-9)
    assert 0.02 < np.abs(settled - upper.arm.rest).max() < HANGING
    # The pelvis carries all of it: weight over stiffness.
    drop = settled[-1] - upper.arm.rest[-1]
    assert drop == pytest.approx(-upper.arm.mass_kg * 9.81 / 40000.0, rel=1e-3)


def test_a_stretched_arm_hangs_by_its_weight_over_the_stiffness(empty, upper):
    """Statics written apart from the engine. Arms to the sides, the elbows bent by their zero."""
    goal = pose(upper, left_shoulder_pitch_joint=0.0, left_shoulder_roll_joint=math.pi / 2,
                left_elbow_joint=0.0, right_shoulder_pitch_joint=0.0,
                right_shoulder_roll_joint=-math.pi / 2, right_elbow_joint=0.0)
    world = make(empty, upper)
    go(world, upper, goal, 4.0)
    # Turned up by a quarter, what hung below the shoulder's roll axis points outwards.
    depth, moment, arm = {}, 0.0, upper.arm
    start = arm.names.index('left_shoulder_roll_joint')
    for i in arm.order:
        link, on = arm.links[i], arm.parents[i]
        if i == start:
            depth[i] = 0.0
        elif on in depth:
            depth[i] = depth[on] - link.at[2]
        if i in depth:
            moment += link.mass_kg * (depth[i] - link.tip[2] / 2)
    hangs = joints(world, upper)[start] - goal[start]
    assert hangs == pytest.approx(-9.81 * moment / 300.0, rel=0.06)


def test_poses_are_reached_within_the_limits(empty, upper):
    world = make(empty, upper)
    limits = np.array([joint.max_velocity for joint in upper.arm.joints])
    for goal in poses(upper, 6):
        velocities = go(world, upper, goal, 4.0)
        np.testing.assert_allclose(joints(world, upper), goal, atol=HANGING)
        assert np.all(np.abs(velocities).max(axis=0) <= 1.3 * limits)
        assert np.all(np.abs(velocities[-1]) < 1e-3)


@pytest.mark.parametrize('end', ['lower', 'upper'])
def test_beyond_the_limits_it_does_not_go(empty, upper, end):
    world = make(empty, upper)
    ends = np.array([getattr(joint, end) for joint in upper.arm.joints])
    beyond = 9.0 if end == 'upper' else -9.0
    go(world, upper, [beyond] * len(ends), 6.0)
    np.testing.assert_allclose(joints(world, upper), ends, atol=HANGING)


def test_set_points_of_one_joint_move_no_other(empty, upper):
    """Also in a frame: a name stands for its own number."""
    world = make(empty, upper)
    world.step(400)
    before = joints(world, upper)
    for name in ('right_wrist_yaw_joint', 'left_hand_middle_1_joint', 'waist_yaw_joint'):
        i = upper.arm.names.index(name)
        goal = list(upper.arm.rest)
        goal[i] += -0.3
        go(world, upper, goal, 2.0)
        moved = np.abs(joints(world, upper) - before) > 0.02
        assert np.flatnonzero(moved).tolist() == [i]
        go(world, upper, upper.arm.rest, 2.0)


def test_without_set_points_the_drives_hold(empty, upper):
    world = make(empty, upper)
    goal = pose(upper, left_shoulder_pitch_joint=-2.0, right_elbow_joint=1.5, base_height=0.5)
    go(world, upper, goal, 0.4)
    assert np.abs(world.frame().joint_velocities[2:]).max() > 1.0
    world.step(400)             # stale after 0.15 s, then they brake
    held = joints(world, upper)
    assert held[0] > -1.5, 'it went on to a goal that nobody confirms'
    world.step(200)
    assert np.abs(joints(world, upper) - held).max() < 1e-3


def test_the_base_drives_as_its_file_promises_under_moving_arms(empty, upper):
    world = make(empty, upper)
    stretched = pose(upper, left_shoulder_pitch_joint=-1.5, right_shoulder_pitch_joint=-1.5)
    for i in range(120):
        world.command(0.4, 0.0)
        goal = stretched if i // 40 % 2 else upper.arm.rest
        world.command_arm(goal, [0.0] * len(goal), TICK_S)
        world.step(5)
    before = world.frame()
    assert before.twist == pytest.approx((0.4, 0.0), abs=5e-3)
    world.command(0.0, 0.0)
    world.step(200)
    after = world.frame()
    assert after.robot[0] - before.robot[0] == pytest.approx(0.4 ** 2 / 3.0, abs=0.005)
    assert after.twist == pytest.approx((0.0, 0.0), abs=1e-6)


def test_what_it_has_not_is_told_at_rest(empty, upper):
    world = make(empty, upper)
    world.step(7)
    frame = world.frame()
    names = joint_state(upper).name
    assert len(names) == len(frame.joint_positions) == len(frame.joint_velocities) == 2 + 32 + 12
    told = dict(zip(names, frame.joint_positions, strict=True))
    assert told['left_knee_joint'] == 0.3
    assert told['right_ankle_roll_joint'] == 0.0
    assert frame.joint_velocities[-12:] == (0.0,) * 12


def test_its_camera_moves_with_the_torso(empty, upper):
    world = make(empty, upper)
    world.step(200)
    high = world._data.cam_xpos[0].copy()
    go(world, upper, pose(upper, base_height=0.5, waist_yaw_joint=1.0), 4.0)
    low = world._data.cam_xpos[0]
    assert high[2] - low[2] == pytest.approx(0.2, abs=5e-3)
    assert math.dist(high[:2], low[:2]) > 0.03
    transform = next(one for one in sensor_transforms(upper).transforms
                     if one.child_frame_id == 'camera_head')
    assert transform.header.frame_id == 'torso_link'


def test_the_camera_sees_the_arms(empty, upper):
    world = make(empty, upper, camera='auto')
    if not world.has_camera:
        pytest.skip('nothing can be rendered here')
    world.step(40)
    before = world.frame(render=True).image.astype(int)
    assert before.shape == (240, 320, 3)
    go(world, upper, pose(upper, left_shoulder_pitch_joint=-0.8, left_shoulder_yaw_joint=-0.5,
                          right_shoulder_pitch_joint=-0.8, right_shoulder_yaw_joint=0.5), 3.0)
    after = world.frame(render=True).image.astype(int)
    assert (np.abs(after - before).max(axis=-1) > 60).sum() > 500
    world.close()


def test_two_processes_and_a_reset_agree():
    code = f'''
from isaac_bridge.engines import open_world
world = open_world({str(CONFIG / "scenarios/aisle.yaml")!r}, {str(FILE)!r}, 7, camera='off')
def run():
    for i in range(60):
        world.command(0.4, 0.3 if i % 40 < 20 else -0.3)
        world.command_arm([0.5 * (i % 20 > 9)] * 31 + [0.6], [0.0] * 32, ahead_s=0.02)
        world.step(5)
        if i % 8 == 0:
            print(world.frame().digest())
    print(world.digest())
run()
world.reset(7)
run()
'''
    one, other = printed_by_two_processes(code)
    assert one == other
    lines = one.split()
    assert lines[:9] == lines[9:]
    assert len(set(lines)) == 9


@pytest.mark.parametrize(('path', 'value', 'message'), [
    (('links', 0, 'parent'), 'nobody', r'arm.links\[0\].parent: nobody is no joint'),
    (('links', 28, 'parent'), 'left_elbow_joint', r'arm.links: .* hangs on itself'),
    (('links', 3, 'servo'), 'strong', r'arm.links\[3\].servo: strong is none of the servos'),
    (('constant', 'waist_yaw_joint'), 0.0, r'arm.constant: names a joint that the arm has'),
    (('constant', 'left_wheel_joint'), 0.0, r'arm.joints: a wheel has the same name'),
    (('joints', 31, 'kind'), 'screw', r"arm.joints\[31\].kind: 'screw' is not one of"),
    (('sensor', 'dropout'), 1.5, r'arm.sensor.dropout: 1.5 is greater'),
    (('sensor', 'bias'), 0.1, r"arm.sensor: .*'bias' was unexpected"),
])
def test_a_wrong_tree_is_one_sentence(path, value, message, tmp_path):
    refused(('arm', *path), value, message, tmp_path)


@pytest.mark.parametrize(('key', 'value', 'message'), [
    ('joint', 'neck', r'cameras\[0\].joint: neck is no joint of the arm'),
    ('noise', 300, r'cameras\[0\].noise: 300 is greater'),
    ('dropout', -0.1, r'cameras\[0\].dropout: -0.1 is less'),
    ('latency_ms', 2000, r'cameras\[0\].latency_ms: 2000 is greater')])
def test_a_wrong_camera_is_one_sentence(key, value, message, tmp_path):
    refused(('cameras', 0, key), value, message, tmp_path)


def refused(path, value, message, folder):
    document = copy.deepcopy(yaml.safe_load(FILE.read_text()))
    at = document
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    file = folder / 'robot.yaml'
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    with pytest.raises(RobotError, match=message) as error:
        read_robot(file)
    assert '\n' not in str(error.value)
