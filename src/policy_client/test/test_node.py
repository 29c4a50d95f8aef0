"""The node in its own process, over topics, with a real Triton; the test is robot and reflex."""

import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from itertools import pairwise

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import PoseStamped, TwistStamped
from lifecycle_msgs.srv import ChangeState, GetState
from nav_msgs.msg import Odometry
from rclpy.experimental import EventsExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import String, UInt8MultiArray
from trajectory_msgs.msg import MultiDOFJointTrajectory

from policy_client.exchange import decode
from policy_client.routing import HOLD

DOMAIN = 30 + os.getpid() % 10  # two runs on one machine must not meet
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE,
                     durability=DurabilityPolicy.TRANSIENT_LOCAL)
STREAM = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
CONFIGURE, CLEANUP, ACTIVATE, DEACTIVATE = 1, 2, 3, 4
DESK = 'triton:desk'


class Robot:
    """An ideal base with a camera and a reflex that says what a test wants; records the client."""

    def __init__(self):
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=DOMAIN)
        self.node = rclpy.create_node('robot', context=self.context)
        self.executor = EventsExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.changed = threading.Condition()
        self.safety, self.camera = 'RUNNING', True
        self.x = self.y = self.yaw = self.v = self.w = 0.0
        self.status, self.statuses = {}, []
        self.commands, self.chunks, self.exchanges = deque(maxlen=5000), [], []
        publisher, node = self.node.create_publisher, self.node
        self._odom = publisher(Odometry, 'odom', STREAM)
        self._camera = publisher(Image, 'camera/front/image_raw', STREAM)
        self._safety = publisher(DiagnosticArray, 'safety/state', LATCHED)
        self.task = publisher(String, 'task', LATCHED)
        self.goal = publisher(PoseStamped, 'goal_pose', LATCHED)
        for kind, topic, callback, qos in (
                (TwistStamped, 'policy/cmd_vel', self._on_command, 1),
                (DiagnosticArray, 'policy/status', self._on_status, LATCHED),
                (MultiDOFJointTrajectory, 'policy/chunk', self.chunks.append, 10),
                (UInt8MultiArray, 'policy/exchange', self._on_exchange, 50)):
            node.create_subscription(kind, topic, callback, qos)
        self._get_state = node.create_client(GetState, 'policy_client/get_state')
        self._change_state = node.create_client(ChangeState, 'policy_client/change_state')
        node.create_timer(0.025, self._on_25_ms)
        node.create_timer(0.1, self._on_100_ms)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self):
        try:
            self.executor.spin()
        except Exception:
            if self.context.ok():
                raise

    def _on_25_ms(self):
        self.x += 0.025 * self.v * math.cos(self.yaw)
        self.y += 0.025 * self.v * math.sin(self.yaw)
        self.yaw += 0.025 * self.w
        message = Odometry()
        message.header.stamp = self.node.get_clock().now().to_msg()
        message.header.frame_id = 'odom'
        message.pose.pose.position.x, message.pose.pose.position.y = self.x, self.y
        message.pose.pose.orientation.z = math.sin(self.yaw / 2)
        message.pose.pose.orientation.w = math.cos(self.yaw / 2)
        message.twist.twist.linear.x, message.twist.twist.angular.z = self.v, self.w
        self._odom.publish(message)

    def _on_100_ms(self):
        if self.camera:
            image = Image(height=224, width=224, encoding='rgb8', step=672,
                          data=bytes([90]) * (224 * 672))
            image.header.stamp = self.node.get_clock().now().to_msg()
            self._camera.publish(image)
        if self.safety:
            status = DiagnosticStatus(name='safety_reflex', values=[
                KeyValue(key='state', value=self.safety)])
            self._safety.publish(DiagnosticArray(status=[status]))

    def _on_command(self, message):
        v, w = message.twist.linear.x, message.twist.angular.z
        with self.changed:
            now = self.node.get_clock().now().nanoseconds
            stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
            self.commands.append((time.monotonic(), v, w, (now - stamp) / 1e6))
            self.v, self.w = (v, w) if self.safety == 'RUNNING' else (0.0, 0.0)
            self.changed.notify_all()

    def _on_status(self, message):
        with self.changed:
            self.status = {pair.key: pair.value for pair in message.status[0].values}
            self.statuses.append((time.monotonic(), self.status))
            self.changed.notify_all()

    def _on_exchange(self, message):
        self.exchanges.append(decode(bytes(message.data)))

    def wait(self, predicate, timeout_s=15.0):
        """Wait for predicate() to hold; fails with the last status."""
        with self.changed:
            if not self.changed.wait_for(predicate, timeout_s):
                pytest.fail(f'not within {timeout_s:g} s; last status: {self.status}')

    def shows(self, **values):
        self.wait(lambda: all(self.status.get(key) == value for key, value in values.items()))

    def change(self, transition):
        """Call change_state. A first get_state is asked until it is answered: a server that is
        discovered may not have discovered its client yet, and then its answer is lost."""
        limit = time.monotonic() + 15.0
        while self._call(self._get_state, GetState.Request(), 1.0) is None:
            assert time.monotonic() < limit
        request = ChangeState.Request()
        request.transition.id = transition
        return self._call(self._change_state, request, 10.0).success

    def _call(self, client, request, timeout_s):
        if not client.wait_for_service(timeout_s):
            return None
        future, done = client.call_async(request), threading.Event()
        future.add_done_callback(lambda _: done.set())
        return future.result() if done.wait(timeout_s) else None

    def send(self, text='drive to the goal', x=200.0, y=0.0):
        goal = PoseStamped()
        goal.header.frame_id = 'odom'
        goal.pose.position.x, goal.pose.position.y = x, y
        self.goal.publish(goal)
        self.task.publish(String(data=text))

    def since(self, moment):
        return [entry for entry in list(self.commands) if entry[0] >= moment]

    def close(self):
        self.context.try_shutdown()
        self._thread.join(5.0)


def start_client(**parameters):
    arguments = [part for name, value in parameters.items() for part in ('-p', f'{name}:={value}')]
    return subprocess.Popen(
        [sys.executable, '-m', 'policy_client.node', '--ros-args', *arguments],
        env=os.environ | {'ROS_DOMAIN_ID': str(DOMAIN)}, stderr=subprocess.PIPE, text=True)


def end(process, number=signal.SIGINT):
    process.send_signal(number)
    try:
        _, errors = process.communicate(timeout=10)
    finally:
        process.kill()
    return errors


@pytest.fixture(scope='module')
def robot():
    robot = Robot()
    yield robot
    robot.close()


@pytest.fixture(scope='module')
def process(robot, running_triton, root, model_onnx):
    process = start_client(
        embodiment_file=root / 'config/embodiments/amr.yaml',
        endpoints=f"['desk={running_triton.endpoint}']", fallback_onnx=model_onnx)
    try:
        assert robot.change(CONFIGURE)
        assert robot.change(ACTIVATE)
        yield process
    finally:
        if process.poll() is None:
            end(process)


@pytest.fixture
def driving(robot, process, triton):
    """The client drives under the policy that Triton serves."""
    robot.safety, robot.camera = 'RUNNING', True
    robot.x = robot.y = robot.yaw = 0.0
    robot.send()
    robot.shows(state='driving', source=DESK)
    robot.wait(lambda: robot.commands[-1][1] > 0.3)
    return robot


def test_it_drives_to_the_goal_and_has_arrived(driving):
    robot = driving
    assert robot.status['version'] == '1'
    robot.camera = False  # the network never saw this test's grey world
    goal = robot.x + 2.0
    robot.send(x=goal)
    robot.shows(state='arrived', source=HOLD)
    robot.wait(lambda: robot.commands[-1][1:3] == (0.0, 0.0))
    assert math.hypot(robot.x - goal, robot.y) < 0.35
    ages = [age for *_, age in robot.commands]
    assert -1.0 < sorted(ages)[len(ages) // 2] < 20.0  # stamped when they were sent


def test_what_was_asked_and_answered_is_told(driving):
    robot = driving
    robot.wait(lambda: len(robot.chunks) >= 3 and any(
        one.outcome == 'accepted' for one in robot.exchanges))
    chunk = robot.chunks[-1]
    # Between two replies the ticks alone are told.
    record = next(one for one in reversed(robot.exchanges) if one.outcome == 'accepted')
    assert chunk.joint_names == ['base']
    assert len(chunk.points) == 16
    assert chunk.points[3].time_from_start.nanosec == 300_000_000
    assert record.actions['action.base_velocity'].shape == (1, 16, 2)
    assert (record.model, record.version) == ('amr', '1')
    assert set(record.inputs_crc32) == {
        'video.front', 'state.velocity', 'state.goal', 'annotation.human.task_description'}


def test_kill_minus_nine_the_fallback_leads_and_triton_returns(driving, triton):
    robot = driving
    before = float(robot.status['fallback_s'])
    killed = time.monotonic()
    triton.kill()
    robot.shows(source='onnx', state='driving')
    led = next(at for at, status in robot.statuses if at > killed and status['source'] == 'onnx')
    assert led - killed < 1.0  # two periods are 0.2 s; the rest is for a loaded machine
    robot.wait(lambda: float(robot.status['fallback_s']) > before + 0.5)
    triton.start()
    robot.shows(source=DESK, state='driving')
    commands = robot.since(killed)
    assert min(v for _, v, _, _ in commands) > 0.25  # it never stood
    steps = [abs(b[1] - a[1]) for a, b in pairwise(commands)]
    assert max(steps) <= 0.8 * 0.1 + 1e-6  # the acceleration limit over the longest step
    assert 'unreachable' not in robot.status['route_errors']


def test_a_hung_server_costs_one_deadline(driving, triton):
    robot = driving
    triton.pause()
    robot.shows(source='onnx', state='driving')
    assert 'deadline' in robot.status['route_errors']
    triton.resume()
    robot.shows(source=DESK)


def test_nan_is_refused_counted_and_never_goes_out(driving, triton):
    robot = driving
    moment, rejected = time.monotonic(), int(robot.status['rejected_chunks'])
    triton.reload(drill='nan')
    robot.shows(source='onnx', state='driving')
    robot.wait(lambda: int(robot.status['rejected_chunks']) >= rejected + 2)
    assert robot.status['reject_reason'] == 'not_finite'
    assert robot.status['reject_detail'].startswith(f'{DESK}: action.base_velocity v is nan')
    triton.reload(drill='none')
    robot.shows(source=DESK, state='driving')
    for _, v, w, _ in robot.since(moment):
        assert -0.2 <= v <= 0.9
        assert -1.2 <= w <= 1.2


def test_stopped_drops_the_chunks_and_streams_neutral(driving):
    robot = driving
    epoch = int(robot.status['epoch'])
    robot.safety = 'STOPPED'
    robot.shows(state='neutral', source=HOLD, queue='0', epoch=str(epoch + 1))
    moment = time.monotonic()
    robot.wait(lambda: len(robot.since(moment)) >= 15)
    assert all((v, w) == (0.0, 0.0) for _, v, w, _ in robot.since(moment))
    robot.safety = 'RUNNING'
    robot.shows(state='driving', source=DESK)
    robot.wait(lambda: robot.commands[-1][1] > 0.3)


def test_a_silent_reflex_is_a_stop(driving):
    robot = driving
    robot.safety = ''
    robot.shows(state='neutral')
    robot.safety = 'RUNNING'
    robot.shows(state='driving')


def test_without_a_camera_the_picture_is_masked(driving):
    robot = driving
    robot.camera = False
    robot.shows(camera='masked', state='driving')
    robot.camera = True
    robot.shows(camera='live', state='driving')


def test_lifecycle_round_trip(driving):
    robot = driving
    assert robot.change(DEACTIVATE)
    moment = time.monotonic()
    robot.wait(lambda: [at for at, _ in robot.statuses if at > moment + 0.5])
    assert robot.since(moment + 0.1) == []
    assert robot.change(CLEANUP)
    assert robot.change(CONFIGURE)
    assert robot.change(ACTIVATE)
    robot.shows(state='driving', source=DESK)


def test_it_ends_on_a_signal(driving, process):
    assert 'Traceback' not in end(process)
    assert process.returncode == 0


@pytest.mark.parametrize(('parameters', 'words'), [
    ({}, 'parameter embodiment_file is empty'),
    ({'embodiment_file': '/none.yaml'}, 'embodiment /none.yaml: '),
])
def test_a_wrong_configuration_is_refused_in_one_sentence(robot, parameters, words):
    process = start_client(**parameters)
    try:
        assert not robot.change(CONFIGURE)
    finally:
        errors = end(process, signal.SIGTERM)
    assert words in errors
    assert 'Traceback' not in errors


def test_a_wrong_parameter_ends_the_process():
    process = start_client(deadline_ms=1.0)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert errors.strip().endswith('parameter deadline_ms = 1.0: must be 10.0 to 5000.0')
