"""The front end as a process of its own, seen through ROS topics."""

import itertools
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TwistStamped
from nav_msgs.msg import Odometry
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, JointState, LaserScan
from std_msgs.msg import Bool, String
from tf2_msgs.msg import TFMessage
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from isaac_bridge.robot import read_robot

CONFIG = Path(__file__).resolve().parents[2] / 'config'
FILES = {'scenario_file': str(CONFIG / 'scenarios/empty.yaml'),
         'robot_file': str(CONFIG / 'robots/amr.yaml')}
SENSOR = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
TOPICS: dict[str, tuple[Any, Any]] = {
    'scan': (LaserScan, SENSOR), 'odom': (Odometry, SENSOR), 'joint_states': (JointState, SENSOR),
    'tf': (TFMessage, 100), 'tf_static': (TFMessage, LATCHED), '/clock': (Clock, SENSOR),
    'world/truth': (String, 100), 'diagnostics': (DiagnosticArray, 10),
    'camera/front/image_raw': (Image, SENSOR), 'camera/front/camera_info': (CameraInfo, SENSOR)}
DOMAIN = int(os.environ.get('ROS_DOMAIN_ID') or 21)


def start(**parameters: Any) -> subprocess.Popen:
    given = [f'{name}:={value}' for name, value in (FILES | parameters).items()]
    arguments = [word for pair in given for word in ('-p', pair)]
    return subprocess.Popen(
        [sys.executable, '-m', 'isaac_bridge.node', '--ros-args', *arguments],
        env=os.environ | {'ROS_DOMAIN_ID': str(DOMAIN)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)


class Watcher:
    """Everything that the world says, and a hand on its command."""

    def __init__(self) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=DOMAIN)
        self.node = rclpy.create_node('watcher', context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.heard: dict[str, list[Any]] = defaultdict(list)
        for topic, (kind, qos) in TOPICS.items():
            self.node.create_subscription(kind, topic, self.heard[topic].append, qos)
        self.command = self.node.create_publisher(TwistStamped, 'cmd_vel', 1)
        self.enable = self.node.create_publisher(Bool, 'safety/enable', 1)
        self.set_point = self.node.create_publisher(JointTrajectory, 'joint_trajectory', 1)

    def until(self, done: Callable[[], Any], seconds: float = 20.0) -> None:
        deadline = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < deadline, 'the world did not do it in time'
            self.executor.spin_once(timeout_sec=0.1)

    def drive(self, v: float, until: Callable[[], Any], enable: bool | None = None) -> None:
        """Answer every odometry with a command, as a reflex would."""
        answered = len(self.heard['odom'])

        def step() -> Any:
            nonlocal answered
            if len(self.heard['odom']) > answered:
                answered = len(self.heard['odom'])
                message = TwistStamped()
                message.twist.linear.x = v
                self.command.publish(message)
                if enable is not None:
                    self.enable.publish(Bool(data=enable))
            return until()

        self.until(step)

    def reach(self, names: list[str], position: float, until: Callable[[], Any],
              enable: bool | None = None) -> None:
        """Answer every joint state with a set point, as a reflex would."""
        answered = len(self.heard['joint_states'])

        def step() -> Any:
            nonlocal answered
            if len(self.heard['joint_states']) > answered:
                answered = len(self.heard['joint_states'])
                point = JointTrajectoryPoint(positions=[position] * len(names))
                point.time_from_start.nanosec = 20_000_000
                self.set_point.publish(JointTrajectory(joint_names=names, points=[point]))
                if enable is not None:
                    self.enable.publish(Bool(data=enable))
            return until()

        self.until(step)

    @property
    def joints(self) -> list[float]:
        """Of the arm, rad."""
        return list(self.heard['joint_states'][-1].position)[2:]

    @property
    def speed(self) -> float:
        return self.heard['odom'][-1].twist.twist.linear.x if self.heard['odom'] else math.nan

    def later(self, seconds: float) -> Callable[[], bool]:
        """True when so much simulated time has gone by from now."""
        begin = stamp_ns(self.heard['odom'][-1])
        return lambda: stamp_ns(self.heard['odom'][-1]) - begin >= seconds * 1e9

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self.context)


def stamp_ns(message: Any) -> int:
    if isinstance(message, String):
        return json.loads(message.data)['t_ns']
    if isinstance(message, TFMessage):
        message = message.transforms[0]
    stamp = message.clock if isinstance(message, Clock) else message.header.stamp
    return stamp.sec * 1_000_000_000 + stamp.nanosec


@pytest.fixture
def watcher() -> Iterator[Watcher]:
    made = Watcher()
    yield made
    made.close()


@pytest.fixture
def world(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen]:
    process = start(**getattr(request, 'param', {}))
    yield process
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=20)
    assert 'Traceback' not in errors + output
    assert 'FATAL' not in errors + output
    assert process.returncode == 0


def test_one_instant_has_one_stamp_on_every_topic(world, watcher):
    topics = ['scan', 'odom', 'joint_states', 'tf', '/clock', 'world/truth']
    watcher.until(lambda: all(len(watcher.heard[topic]) >= 60 for topic in topics))
    stamps = {topic: {stamp_ns(message) for message in watcher.heard[topic]} for topic in topics}
    # From the first stamp that every topic has: before it, discovery was still under way.
    first = max(min(of) for of in stamps.values())
    last = min(max(of) for of in stamps.values())
    common = {stamp for stamp in stamps['world/truth'] if first <= stamp <= last}
    assert len(common) >= 30
    for topic in topics:
        within = {stamp for stamp in stamps[topic] if first <= stamp <= last}
        assert within <= common, topic
        assert len(within) >= 0.9 * len(common), f'{topic}: best effort, but not that lossy'
    ordered = sorted(common)
    assert {b - a for a, b in itertools.pairwise(ordered)} == {25_000_000}
    scan = watcher.heard['scan'][-1]
    assert len(scan.ranges) == 720
    assert scan.header.frame_id == 'base_scan'
    assert scan.ranges[180] == pytest.approx(2.5, abs=0.06)
    assert watcher.heard['odom'][-1].child_frame_id == 'base_link'
    assert list(watcher.heard['joint_states'][-1].name) == ['left_wheel_joint',
                                                            'right_wheel_joint']
    watcher.until(lambda: watcher.heard['tf_static'])
    children = {item.child_frame_id for item in watcher.heard['tf_static'][0].transforms}
    assert children == {'base_scan', 'camera_front', 'camera_front_optical'}


def test_images_carry_the_stamp_of_a_scan(world, watcher):
    watcher.until(lambda: watcher.heard['world/truth'])
    if not json.loads(watcher.heard['world/truth'][0].data)['camera']:
        pytest.skip('nothing can be rendered here')
    watcher.until(lambda: len(watcher.heard['camera/front/image_raw']) >= 8)
    image = watcher.heard['camera/front/image_raw'][-1]
    assert (image.height, image.width, image.encoding, image.step) == (224, 224, 'rgb8', 672)
    assert len(image.data) == 224 * 224 * 3
    assert image.header.frame_id == 'camera_front_optical'
    stamps = [stamp_ns(message) for message in watcher.heard['camera/front/image_raw']]
    assert all((stamp - stamps[0]) % 100_000_000 == 0 for stamp in stamps)
    truth = {stamp_ns(message) for message in watcher.heard['world/truth']}
    assert set(stamps) & truth
    info = watcher.heard['camera/front/camera_info'][-1]
    assert info.k[0] == pytest.approx(112 / math.tan(0.6))


@pytest.mark.parametrize('world', [{'camera': 'off', 'real_time_factor': 3.0}], indirect=True)
def test_it_drives_by_commands_and_stops_without_them(world, watcher):
    watcher.drive(0.8, lambda: watcher.speed > 0.79)
    watcher.until(lambda: watcher.speed < 1e-6)
    truth = json.loads(watcher.heard['world/truth'][-1].data)
    assert truth['robot'][0] > 0.4
    assert truth['camera'] is False
    assert truth['clearance_m'] is None
    watcher.until(lambda: len(watcher.heard['diagnostics']) >= 2)
    values = {item.key: item.value for item in watcher.heard['diagnostics'][-1].status[0].values}
    assert float(values['real_time_factor']) > 0.5
    assert values['real_time_factor_wanted'] == '3'


@pytest.mark.parametrize('world', [{'camera': 'off', 'real_time_factor': 3.0}], indirect=True)
def test_a_command_that_is_not_finite_stops_the_base_and_nothing_else(world, watcher):
    watcher.drive(0.8, lambda: watcher.speed > 0.79)
    watcher.drive(math.nan, lambda: watcher.speed < 1e-6)
    watcher.drive(0.8, lambda: watcher.speed > 0.2)


@pytest.mark.parametrize(
    'world', [{'camera': 'off', 'real_time_factor': 3.0, 'require_enable': True}], indirect=True)
def test_the_base_moves_only_while_enabled(world, watcher):
    watcher.until(lambda: watcher.heard['odom'])
    watcher.drive(0.8, watcher.later(1.0))
    assert watcher.speed == 0.0, 'silence on safety/enable'
    watcher.drive(0.8, lambda: watcher.speed > 0.79, enable=True)
    watcher.drive(0.8, lambda: watcher.speed < 1e-6, enable=False)
    watcher.drive(0.8, lambda: watcher.speed > 0.3, enable=True)
    watcher.drive(0.8, lambda: watcher.speed < 1e-6)


ARM = ['shoulder_pan', 'shoulder_lift', 'elbow_flex', 'wrist_flex', 'wrist_roll', 'gripper']
ARMED = {'robot_file': str(CONFIG / 'robots/amr_so100.yaml'), 'camera': 'off',
         'real_time_factor': 3.0}


@pytest.mark.parametrize('world', [ARMED], indirect=True)
def test_the_arm_is_in_the_joint_states_and_follows_set_points(world, watcher):
    watcher.until(lambda: watcher.heard['joint_states'])
    assert list(watcher.heard['joint_states'][-1].name) == [
        'left_wheel_joint', 'right_wheel_joint', *ARM]
    # In any order: each number belongs to its name.
    watcher.reach(ARM[::-1], 0.4, lambda: all(abs(joint - 0.4) < 0.03 for joint in watcher.joints))
    watcher.until(watcher.later(0.5))
    held = watcher.joints
    watcher.until(watcher.later(1.0))
    assert watcher.joints == pytest.approx(held, abs=0.01)
    watcher.reach(['elbow'], 0.9, watcher.later(1.0))
    assert watcher.joints == pytest.approx(held, abs=0.01), 'joints of some other arm'
    watcher.reach(ARM, math.nan, watcher.later(1.0))
    assert watcher.joints == pytest.approx(held, abs=0.01)
    watcher.reach(ARM, 0.9, lambda: all(joint > 0.8 for joint in watcher.joints))


@pytest.mark.parametrize('world', [ARMED | {'require_enable': True}], indirect=True)
def test_the_arm_moves_only_while_enabled(world, watcher):
    watcher.until(lambda: watcher.heard['joint_states'] and watcher.heard['odom'])
    resting = watcher.joints
    watcher.reach(ARM, 0.5, watcher.later(1.0))
    assert watcher.joints == pytest.approx(resting, abs=0.01), 'silence on safety/enable'
    watcher.reach(ARM, 0.5, lambda: watcher.joints[0] > 0.2, enable=True)
    watcher.reach(ARM, 1.5, watcher.later(1.0), enable=False)
    held = watcher.joints
    watcher.reach(ARM, 1.5, watcher.later(1.0), enable=False)
    assert watcher.joints == pytest.approx(held, abs=1e-3)
    assert held[0] < 1.0


def test_an_image_that_the_camera_loses_is_not_published(watcher, tmp_path):
    file = tmp_path / 'amr.yaml'
    text = Path(FILES['robot_file']).read_text()
    assert text.count('    rate_hz: 10.0\n') == 1
    file.write_text(text.replace('    rate_hz: 10.0\n', '    rate_hz: 10.0\n    dropout: 1.0\n'))
    process = start(robot_file=str(file))
    try:
        watcher.until(lambda: len(watcher.heard['scan']) >= 30)
        assert process.poll() is None
        assert not watcher.heard['camera/front/image_raw']
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)


UPPER = ARMED | {'robot_file': str(CONFIG / 'robots/g1_upper.yaml')}


@pytest.mark.parametrize('world', [UPPER], indirect=True)
def test_an_upper_body_follows_set_points_and_tells_of_legs_that_it_has_not(world, watcher):
    names = read_robot(UPPER['robot_file']).arm.names
    watcher.until(lambda: watcher.heard['joint_states'] and watcher.heard['tf_static'])

    def told() -> dict[str, float]:
        message = watcher.heard['joint_states'][-1]
        return dict(zip(message.name, message.position, strict=True))

    assert told().keys() > set(names)
    assert told()['right_knee_joint'] == 0.3
    # The pelvis stops at its lower limit, of 0.4 m.
    watcher.reach(names[::-1], 0.0, lambda: abs(told()['base_height'] - 0.4) < 0.01
                  and abs(told()['left_shoulder_roll_joint']) < 0.03)
    parents = {one.child_frame_id: one.header.frame_id
               for one in watcher.heard['tf_static'][-1].transforms}
    assert parents['camera_head'] == 'torso_link'


@pytest.mark.parametrize('world', [{'camera': 'off', 'stamp': 'system'}], indirect=True)
def test_stamps_can_be_the_computers(world, watcher):
    watcher.until(lambda: len(watcher.heard['scan']) >= 10 and len(watcher.heard['odom']) >= 10)
    assert abs(stamp_ns(watcher.heard['scan'][-1]) - time.time_ns()) < 5e9
    assert ({stamp_ns(message) for message in watcher.heard['scan']}
            & {stamp_ns(message) for message in watcher.heard['odom']})
    assert not watcher.heard['/clock']


@pytest.mark.parametrize('sent', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(watcher, sent):
    process = start()
    watcher.until(lambda: watcher.heard['scan'])
    process.send_signal(sent)
    output, errors = process.communicate(timeout=20)
    assert process.returncode == 0
    assert 'Traceback' not in errors + output
    assert 'FATAL' not in errors + output


@pytest.mark.parametrize(('parameters', 'sentence'), [
    ({'scenario_file': '/nowhere.yaml'}, 'world: /nowhere.yaml: No such file or directory'),
    ({'robot_file': "''"}, 'world: parameter robot_file is empty'),
    ({'real_time_factor': 100.0}, 'world: parameter real_time_factor = 100.0: must be 0.05 to 20'),
    ({'camera': 'maybe'}, "world: parameter camera = 'maybe'"),
])
def test_what_is_wrong_is_one_sentence(parameters, sentence):
    process = start(**parameters)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert [line for line in errors.splitlines() if sentence in line] == errors.splitlines()


def test_a_container_can_name_and_parametrise_it():
    from rclpy.parameter import Parameter

    from isaac_bridge.node import World
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=DOMAIN)
    overrides = [Parameter(name, value=value) for name, value in FILES.items()]
    node = World(context=context, namespace='/robot_1', parameter_overrides=[
        *overrides, Parameter('camera', value='off')])
    topics = {name for name, _ in node.get_publisher_names_and_types_by_node('world', '/robot_1')}
    seed = node.get_parameter('seed').value
    node.destroy_node()
    rclpy.try_shutdown(context=context)
    assert seed == 0
    assert {'/robot_1/scan', '/robot_1/odom', '/robot_1/tf', '/clock'} <= topics
