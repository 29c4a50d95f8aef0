"""The upper body between a policy and the reflex: all is simulated time, in one process.

GR00T's embodiment finds every joint and its camera, what it drives moves the body through the
reflex, and a stop of the reflex holds every joint where it came to rest.
"""

import dataclasses
import struct

import numpy as np
import pytest
from engine_scenes import CONFIG, with_people

from isaac_bridge.engines.mujoco_world import MujocoWorld
from isaac_bridge.entities import Pose, State
from isaac_bridge.episode import cdr, senses
from isaac_bridge.robot import read_robot
from isaac_bridge.world import START_NS
from policy_client import embodiment_file, feedback
from policy_client.handshake import Signature
from policy_client.observation import Observation, assemble
from policy_client.vocabulary import Vocabulary
from safety_reflex.parameters import ReflexParameters
from safety_reflex.profile import load_profile
from safety_reflex.reflex import Reflex
from safety_reflex.states import State as Safety
from safety_reflex.times import Instant

FILE = CONFIG / 'robots/g1_upper.yaml'
EMBODIMENT = embodiment_file.load(CONFIG / 'embodiments/unitree_g1.yaml')
VOCABULARY = Vocabulary.load(CONFIG / 'embodiments/vocabulary.txt')
[ARMS] = [command for command in EMBODIMENT.commands if command.feedback]
SIZE = (240, 320)
FAR = (20.0, 3.5)
HANGING = 0.044         # rad, as in test_upper_body.py


def trajectory(stamp_ns, names, positions, ahead_s):
    """trajectory_msgs/JointTrajectory of one point."""
    writer = cdr.Writer(stamp_ns).count(len(names))
    for name in names:
        writer.text(name.encode())
    writer.count(1).sequence(positions)
    for _ in range(3):
        writer.count(0)
    writer.pad(4).data += struct.pack('<iI', 0, round(ahead_s * 1e9))
    return bytes(writer.data)


def joint_states(stamp_ns, names, frame):
    writer = cdr.Writer(stamp_ns).count(len(names))
    for name in names:
        writer.text(name.encode())
    writer.sequence(frame.joint_positions).sequence(frame.joint_velocities).count(0)
    return bytes(writer.data)


class Loop:
    """World and reflex at 40 Hz; `wish` is what the policy asks of the joints, if anything."""

    def __init__(self, scenario, robot, camera='off'):
        # With the scanner's noise: a scan that never differs is of a frozen scanner.
        self.world = MujocoWorld(camera=camera)
        self.world.load(with_people(scenario, FAR), robot)
        self.robot = robot
        self.reflex = Reflex(load_profile(FILE, CONFIG / 'robots/amr.fields.yaml'),
                             ReflexParameters(require_enable=False, clock='sim').settings())
        self.speed = 0.0
        self.reset_ns = START_NS + 250_000_000
        self.wish = None
        self.set_points = []

    def cycle(self):
        world, reflex = self.world, self.reflex
        frame = world.frame()
        now = Instant(frame.t_ns, frame.t_ns)
        lidar = self.robot.lidar
        reflex.odometry.take(cdr.odometry(frame.t_ns, *frame.odometry.twist), now)
        reflex.joints.on_joint_state(joint_states(frame.t_ns, self.robot.told_names, frame), now)
        reflex.on_scan(0, cdr.scan(frame.t_ns, frame.ranges.astype('<f4').tobytes(),
                                   lidar.angle_min_rad, lidar.angle_increment_rad), now)
        if (reflex.machine.state is Safety.LATCHED and self.speed == 0.0
                and frame.t_ns >= self.reset_ns):
            self.reset_ns = frame.t_ns + 1_000_000_000
            reflex.reset(now)
        _, v, w = reflex.decide(now)
        reflex.on_command(cdr.twist(frame.t_ns, self.speed, 0.0), now)
        if self.wish is not None:
            names = [EMBODIMENT.columns[column].drives for column in ARMS.columns]
            reflex.joints.on_command(trajectory(frame.t_ns, names, self.next_wish(), 0.05), now)
        set_point = reflex.decide_joints(now)
        if set_point is not None:
            self.set_points.append([part.copy() for part in set_point])
            world.command_arm(*(part.tolist() for part in set_point), 0.025)
        world.command(v, w)
        world.step(5)
        return frame

    def next_wish(self):
        """A little on the way, as chunks are: what is too fast is refused."""
        here = self.set_points[-1][0]
        most = 0.04 * self.reflex.profile.arm.max_velocity
        return here + np.clip(self.wish - here, -most, most)

    def start(self, wish, seconds, speed=0.0):
        """Wait for the reflex's permission, then go for so long."""
        self.run(2.0)
        assert self.reflex.machine.state is Safety.RUNNING, self.reflex.active
        self.wish, self.speed = wish, speed
        self.run(seconds)
        assert self.reflex.machine.state is Safety.RUNNING, self.reflex.active

    def moves(self):
        return np.abs(self.world.frame().joint_velocities[2:34]).max() > 0.5

    def run(self, seconds):
        return [self.cycle() for _ in range(round(seconds * 40))]

    def joints(self):
        return np.array(self.world.frame().joint_positions[2:34])


@pytest.fixture(scope='module')
def upper():
    return read_robot(FILE)


@pytest.fixture(scope='module')
def true(upper):
    """Its truth: the drift of a millirad is asked for, not that of a noisy encoder."""
    return dataclasses.replace(upper, arm=dataclasses.replace(upper.arm, sensor=None))


def raised(robot):
    goal = dict(zip(robot.arm.names, robot.arm.rest, strict=True)) | {
        'left_shoulder_pitch_joint': -1.2, 'right_shoulder_pitch_joint': -1.2,
        'left_elbow_joint': 1.2, 'waist_yaw_joint': 0.5, 'base_height': 0.6,
        'left_hand_index_0_joint': -0.8}
    return np.array(list(goal.values()))


def observed(loop):
    frame = loop.world.frame(render=True)
    pixels = np.zeros((*SIZE, 3), np.uint8) if frame.image is None else frame.image
    samples = {'joint_states': senses.joint_states(frame, loop.robot.told_names),
               'camera/head/image_raw': senses.image(pixels, frame.t_ns),
               'task': senses.task('pick up the cube', frame.t_ns)}
    return frame, samples


def test_the_embodiment_finds_every_joint_and_its_camera(empty, upper):
    loop = Loop(empty, upper, camera='auto')
    loop.run(0.5)
    frame, samples = observed(loop)
    found = assemble(EMBODIMENT, VOCABULARY, Signature('1', {'video.ego_view': SIZE}, 0, 16),
                     samples, frame.t_ns)
    assert isinstance(found, Observation), found
    assert set(found.inputs) == {'video.ego_view', 'annotation.human.task_description'} | {
        f'state.{part}' for part in ('left_leg', 'right_leg', 'waist', 'left_arm', 'right_arm',
                                     'left_hand', 'right_hand')}
    assert not found.masked
    told = dict(zip(upper.told_names, frame.joint_positions, strict=True))
    for state in EMBODIMENT.state:
        np.testing.assert_allclose(
            found.inputs[state.name].reshape(-1),
            np.float32([told[part.field] if part.field in told else told[part.name]
                        for part in state.components]), atol=1e-6)   # radians, as they are
    assert upper.camera.name == 'head'
    if loop.world.has_camera:
        assert found.inputs['video.ego_view'].shape == (1, 1, *SIZE, 3)
        assert found.inputs['video.ego_view'].std() > 1.0
    positions, wrong = feedback.measured(EMBODIMENT, samples, frame.t_ns)
    assert wrong == ''
    assert np.isfinite(positions[list(ARMS.columns)]).all()
    loop.world.close()


def test_what_it_drives_is_what_the_reflex_takes_and_moves_the_body(empty, upper):
    drives = tuple(EMBODIMENT.columns[column].drives for column in ARMS.columns)
    assert drives == upper.arm.names
    loop = Loop(empty, upper)
    loop.start(raised(upper), 5.0)
    assert not loop.reflex.joints.command_reasons(loop.world.t_ns)
    np.testing.assert_allclose(loop.joints(), loop.wish, atol=HANGING)


def test_a_stop_captures_once_and_holds_within_a_millirad(empty, true):
    loop = Loop(empty, true)
    loop.start(raised(true), 0.7, speed=0.3)
    assert loop.moves(), 'not on the way'
    x, y, _ = loop.world.frame().robot
    loop.world.set_state('p0', State(Pose.flat(x + 0.75, y)))
    loop.run(1.0)
    assert loop.reflex.machine.state in (Safety.STOPPED, Safety.LATCHED), loop.reflex.active
    assert loop.world.frame().twist[0] == pytest.approx(0.0, abs=1e-3)
    begin, held = loop.joints(), loop.set_points[-1][0]
    assert np.abs(begin - loop.wish).max() > 0.3, 'it went on to its goal'
    sent = len(loop.set_points)
    seen = np.array([frame.joint_positions[2:34] for frame in loop.run(1.0)])
    assert np.abs(seen - begin).max() < 1e-3, 'it sinks'
    assert all(np.array_equal(positions, held) and not velocities.any()
               for positions, velocities in loop.set_points[sent:]), 'captured again'
    assert np.abs(seen[-1] - held).max() < HANGING


def test_without_the_reflex_the_drives_hold_alone(empty, true):
    """It dies in mid-motion: set points grow stale, the base stops, every joint stays."""
    loop = Loop(empty, true)
    loop.start(raised(true), 0.7, speed=0.3)
    assert loop.moves(), 'not on the way'
    loop.world.step(300)
    begin = loop.joints()
    assert loop.world.frame().twist[0] == pytest.approx(0.0, abs=1e-6)
    loop.world.step(200)
    assert np.abs(loop.joints() - begin).max() < 1e-3
    assert np.abs(begin - loop.wish).max() > 0.3


def test_two_runs_through_the_reflex_are_equal(empty, upper):
    digests = []
    for _ in range(2):
        loop = Loop(empty, upper)
        loop.start(raised(upper), 0.7)
        assert loop.moves()
        digests.append(loop.world.digest())
    assert digests[0] == digests[1]
