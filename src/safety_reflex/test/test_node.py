"""The real node in its own process, over topics: what a base would see."""

import contextlib
import math
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TwistStamped
from nav_msgs.msg import Odometry
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import LaserScan
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

CONFIG = Path(__file__).resolve().parents[3] / 'config'
DOMAIN = '60'
SENSOR = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
COMMAND = [
    'ros2', 'run', 'safety_reflex', 'safety_reflex', '--ros-args',
    '-p', f'robot_file:={CONFIG}/robots/amr.yaml',
    '-p', f'fields_file:={CONFIG}/robots/amr.fields.yaml', '-p', 'require_enable:=false']


class Robot(Node):
    """Drivers, policy and base of a robot: 40 Hz scans, commands, and what comes back."""

    def __init__(self, context):
        super().__init__('robot', context=context)
        self.distance, self.wish, self.rogue = 8.0, 0.5, False
        self.ahead, self.teleop, self.muting = 8.0, None, False
        self.commands, self.states = [], []
        self._tick = 0
        self._scan = self.create_publisher(LaserScan, 'scan', SENSOR)
        self._odom = self.create_publisher(Odometry, 'odom', SENSOR)
        self._policy = self.create_publisher(TwistStamped, 'policy/cmd_vel', 1)
        self.create_subscription(TwistStamped, 'cmd_vel', self.commands.append, 1)
        self.create_subscription(DiagnosticArray, 'safety/state', self._on_state, LATCHED)
        self._teleop = self.create_publisher(TwistStamped, 'teleop/cmd_vel', 1)
        self._muting = self.create_publisher(Bool, 'safety/muting/dock', 1)
        self.reset = self.create_client(Trigger, 'safety/reset')
        self.create_timer(0.025, self._publish)

    @property
    def state(self):
        return self.states[-1]['state'] if self.states else ''

    @property
    def reasons(self):
        return self.states[-1]['reasons'].split(',')

    @property
    def speed(self):
        return self.commands[-1].twist.linear.x if self.commands else 0.0

    def _on_state(self, message):
        self.states.append({pair.key: pair.value for pair in message.status[0].values})

    def _publish(self):
        self._tick += 1
        now = self.get_clock().now().to_msg()
        step = 2 * math.pi / 720
        scan = LaserScan(angle_min=-math.pi, angle_max=math.pi - step, angle_increment=step,
                         range_min=0.05, range_max=20.0,
                         ranges=[(self.ahead if 330 < i < 390 else self.distance)
                                 + 0.001 * ((i + self._tick) % 7) for i in range(720)])
        scan.header.stamp = now
        self._scan.publish(scan)
        odometry = Odometry()
        odometry.header.stamp = now
        odometry.twist.twist.linear.x = self.speed
        self._odom.publish(odometry)
        command = TwistStamped()
        command.header.stamp = now
        command.twist.linear.x = math.nan if self.rogue else (
            self.wish if self.state in ('RUNNING', 'SLOWED') else 0.0)
        self._policy.publish(command)
        self._muting.publish(Bool(data=self.muting))
        if self.teleop is not None:
            command.twist.linear.x = self.teleop
            self._teleop.publish(command)


@contextlib.contextmanager
def running(command, folder):
    """The node and its robot: (robot, until)."""
    env = os.environ | {'ROS_DOMAIN_ID': DOMAIN, 'ROS_LOG_DIR': str(folder)}
    process = subprocess.Popen(command, env=env, start_new_session=True)
    context = Context()
    rclpy.init(context=context, domain_id=int(DOMAIN))
    robot = Robot(context)
    robot.process = process
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(robot)

    def until(condition, seconds=15.0):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f'state {robot.state}, {robot.states[-1:]}'
            executor.spin_once(timeout_sec=0.05)

    try:
        yield robot, until
    finally:
        os.killpg(process.pid, signal.SIGINT)
        code = process.wait(10)
        robot.destroy_node()
        rclpy.try_shutdown(context=context)
    assert code == 0


@pytest.fixture
def system(tmp_path):
    with running(COMMAND, tmp_path) as found:
        yield found


def reset(robot, until):
    until(robot.reset.service_is_ready)
    answer = robot.reset.call_async(Trigger.Request())
    until(answer.done)
    return answer.result()


def test_latched_reset_drive_stop_resume_rogue(system):
    robot, until = system
    until(lambda: robot.state == 'LATCHED')
    assert 'start_up' in robot.reasons
    assert robot.speed == 0.0
    assert reset(robot, until).success
    until(lambda: robot.speed > 0.45)
    assert robot.commands[-1].header.stamp.sec > 0

    robot.distance = 0.9
    until(lambda: robot.state == 'STOPPED' and robot.speed == 0.0)
    assert 'protective_field' in robot.reasons
    assert float(robot.states[-1]['distance_m']) == pytest.approx(0.9, abs=0.01)
    robot.distance = 8.0
    until(lambda: robot.speed > 0.2)

    robot.rogue = True
    until(lambda: robot.state == 'LATCHED' and robot.speed == 0.0)
    assert 'command_not_finite' in robot.reasons
    assert not reset(robot, until).success
    robot.rogue = False
    end = time.monotonic() + 5
    while not reset(robot, until).success:
        assert time.monotonic() < end
    until(lambda: robot.speed > 0.2)

    impostor = robot.create_publisher(TwistStamped, 'cmd_vel', 1)
    until(lambda: robot.state == 'LATCHED', 2.0)
    assert 'second_publisher' in robot.reasons
    robot.destroy_publisher(impostor)


@pytest.mark.parametrize(('name', 'value', 'sentence'), [
    ('clear_s', '0.5', 'parameter clear_s = 0.5: must be 2.0 to 60.0'),
    ('robot_file', '/nowhere.yaml', '/nowhere.yaml: cannot be read'),
])
def test_it_refuses_a_configuration_that_it_cannot_trust(name, value, sentence, tmp_path):
    env = os.environ | {'ROS_DOMAIN_ID': DOMAIN, 'ROS_LOG_DIR': str(tmp_path)}
    done = subprocess.run([*COMMAND, '-p', f'{name}:={value}'], env=env, capture_output=True,
                          text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert sentence in done.stderr


def unprivileged():
    """A command prefix under which nobody gets a real-time priority or locked memory."""
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which('setpriv')
    if setpriv is None:
        pytest.skip('setpriv of util-linux is needed to take privileges away from root')
    return [setpriv, '--bounding-set', '-sys_nice,-ipc_lock,-sys_resource']


def test_without_a_priority_it_refuses_to_start_if_told_so(tmp_path):
    env = os.environ | {'ROS_DOMAIN_ID': DOMAIN, 'ROS_LOG_DIR': str(tmp_path)}
    done = subprocess.run([*unprivileged(), *COMMAND, '-p', 'without_realtime:=refuse'], env=env,
                          capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert 'refuses to start: SCHED_FIFO 80 not given: Operation not permitted' in done.stderr


def test_without_a_priority_it_says_so_and_caps_the_speed(tmp_path):
    with running([*unprivileged(), *COMMAND], tmp_path) as (robot, until):
        until(lambda: robot.state == 'LATCHED')
        assert 'SCHED_FIFO 80 not given' in robot.states[-1]['realtime']
        assert 'memory not locked' in robot.states[-1]['realtime']
        assert reset(robot, until).success
        until(lambda: robot.speed == pytest.approx(0.3))
        until(lambda: 'speed_capped' in robot.reasons)
        robot.commands.clear()
        until(lambda: len(robot.commands) > 20)
        assert max(c.twist.linear.x for c in robot.commands) == pytest.approx(0.3)


def test_priority_and_core_come_from_the_command_line_before_ros_starts(tmp_path):
    parameters = tmp_path / 'parameters.yaml'
    parameters.write_text('/**:\n  ros__parameters:\n    realtime_priority: 42\n    cpu: 0\n')
    if os.geteuid() != 0:
        pytest.skip('needs the right to a real-time priority')
    with running([*COMMAND, '--params-file', str(parameters)], tmp_path) as (robot, until):
        until(lambda: robot.state == 'LATCHED')
        leader = psutil.Process(robot.process.pid)
        node = next(p for p in leader.children(recursive=True) if p.name() == 'safety_reflex')
        threads = {Path(f'/proc/{node.pid}/task/{t}/comm').read_text().strip(): int(t)
                   for t in os.listdir(f'/proc/{node.pid}/task') if int(t) != node.pid}
        for thread in (node.pid, threads['recv'], threads['recvUC']):
            assert os.sched_getscheduler(thread) == os.SCHED_FIFO
            assert os.sched_getparam(thread).sched_priority == 42
            assert os.sched_getaffinity(thread) == {0}


def test_an_operator_takes_over_creeps_out_of_a_field_and_docks(tmp_path):
    fields = [word.replace('amr.fields', 'amr_dock.fields') for word in COMMAND]
    with running(fields, tmp_path) as (robot, until):
        until(lambda: robot.state == 'LATCHED')
        assert reset(robot, until).success
        until(lambda: robot.speed > 0.4)
        robot.teleop = 0.1
        until(lambda: robot.states[-1]['command_source'] == 'teleop/cmd_vel')
        until(lambda: abs(robot.speed - 0.1) < 1e-6)
        robot.teleop = None
        until(lambda: robot.states[-1]['command_source'] == '' and robot.speed == 0.0)
        robot.wish = 0.0
        until(lambda: robot.states[-1]['command_source'] == 'policy/cmd_vel')

        robot.ahead = 0.7                       # 0.3 m before the bumper
        until(lambda: robot.state == 'STOPPED')
        robot.teleop = -0.2
        until(lambda: robot.speed == -0.1 and 'escaping' in robot.reasons)
        robot.teleop = 0.2
        until(lambda: robot.speed == 0.0)
        robot.teleop, robot.muting = 0.1, True
        until(lambda: robot.state == 'SLOWED' and robot.speed == pytest.approx(0.1))
        assert robot.states[-1]['muting'] == 'dock'
        robot.muting = False
        until(lambda: robot.state == 'STOPPED')
