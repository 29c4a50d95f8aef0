"""A robot around the real safety_reflex: drivers, policy, operator, base, and a stopwatch.

The reflex runs as its own process over the middleware; everything here is one node whose messages
are serialized once and stamped anew, so that the rig is never what is late.
"""

import math
import os
import signal
import struct
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TwistStamped
from nav_msgs.msg import Odometry
from rclpy.context import Context
from rclpy.experimental import EventsExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState, LaserScan
from std_msgs.msg import Bool
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from safety_reflex import cdr
from safety_reflex.realtime import prepare

CONFIG = Path(__file__).resolve().parents[1] / 'config'
SENSOR = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
COMMAND = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
ARM = ('shoulder_pan', 'shoulder_lift', 'elbow_flex', 'wrist_flex', 'wrist_roll', 'gripper')
BEAMS, STEP = 720, 2 * math.pi / 720
SPEED = 0.5


@dataclass
class Seen:
    """What the stopwatch saw after a fault, milliseconds."""

    reasons: set[str]
    begin_ms: float | None
    zero_ms: float | None


class Rig(Node):
    """Publishes a healthy robot at 40 Hz; a fault changes one of `send`, `wish`, `hold`, ..

    send: topic -> bytes to publish instead of the healthy ones (None: nothing at all).
    """

    def __init__(self, context, *, arm, clock, policy=True):
        """policy: commands the robot itself; False leaves that to the real policy_client."""
        super().__init__('rig', context=context)
        self.arm, self.simulated = arm, clock == 'sim'
        self.rng = np.random.default_rng(7)
        self.sim_ns, self.sim_step_ns = 5_000_000_000, 25_000_000
        self.healthy()
        self.commands, self.states, self.seen_reasons = [], [], set()
        self.speed, self.position = 0.0, [0.0] * len(ARM)
        qos = {'scan': SENSOR, 'odom': SENSOR, 'joint_states': SENSOR, '/clock': SENSOR}
        kinds = {'scan': LaserScan, 'odom': Odometry, 'policy/cmd_vel': TwistStamped,
                 'teleop/cmd_vel': TwistStamped, 'safety/estop/button': Bool,
                 'safety/enable': Bool}
        if arm:
            kinds |= {'joint_states': JointState, 'policy/joint_trajectory': JointTrajectory}
        if self.simulated:
            kinds['/clock'] = Clock
        if not policy:
            kinds = {topic: kind for topic, kind in kinds.items()
                     if not topic.startswith('policy/')}
        self.outputs = {topic: self.create_publisher(kind, topic, qos.get(topic, COMMAND))
                        for topic, kind in kinds.items()}
        self.create_subscription(TwistStamped, 'cmd_vel', self._on_command, COMMAND, raw=True)
        if arm:
            self.create_subscription(JointTrajectory, 'joint_trajectory', self._on_set_point,
                                     COMMAND, raw=True)
        self.create_subscription(DiagnosticArray, 'safety/state', self._on_state, LATCHED)
        self.reset_client = self.create_client(Trigger, 'safety/reset')
        self.create_timer(0.025, self._publish)

    def healthy(self):
        """Everything as it should be, driving ahead."""
        self.send, self.changes, self.wish, self.teleop = {}, {}, SPEED, None
        self.distance, self.every, self.tick = 8.0, 1, 0
        self.measured = lambda speed: speed
        self.goal = 0.0

    @property
    def state(self):
        return self.states[-1]['state'] if self.states else ''

    def now_ns(self):
        return self.sim_ns if self.simulated else time.time_ns()

    def scan(self, **more):
        message = LaserScan(
            angle_min=-math.pi, angle_max=math.pi - STEP, angle_increment=STEP, range_min=0.05,
            range_max=20.0,
            ranges=(self.distance + self.rng.normal(0, 0.01, BEAMS)).astype(np.float32))
        for key, value in more.items():
            setattr(message, key, value)
        return message

    def twist(self, v=0.0, w=0.0):
        message = TwistStamped()
        message.twist.linear.x, message.twist.angular.z = float(v), float(w)
        return message

    def trajectory(self, goal=None, names=ARM):
        point = JointTrajectoryPoint(positions=[self.goal if goal is None else goal] * len(names))
        point.time_from_start.nanosec = 500_000_000
        return JointTrajectory(joint_names=list(names), points=[point])

    def publish(self, topic, message, age_ns=0):
        """A message stamped now, or so long ago; bytes go as they are."""
        if message is None:
            return
        if not isinstance(message, bytes):
            if hasattr(message, 'header'):
                stamp = self.now_ns() - age_ns
                message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 10 ** 9)
            message = serialize_message(message)
        self.outputs[topic].publish(message)

    def _publish(self):
        self.tick += 1
        if self.simulated:
            self.sim_ns += self.sim_step_ns
            message = Clock()
            message.clock.sec, message.clock.nanosec = divmod(self.sim_ns, 10 ** 9)
            self._give('/clock', lambda: message)
        free = self.state in ('RUNNING', 'SLOWED')
        odometry = Odometry()
        odometry.twist.twist.linear.x = float(self.measured(self.speed))
        self._give('odom', lambda: odometry)
        self._give('policy/cmd_vel', lambda: self.twist(self.wish if free else 0.0))
        if self.teleop is not None:
            self._give('teleop/cmd_vel', lambda: self.twist(self.teleop))
        self._give('safety/estop/button', lambda: Bool(data=False))
        self._give('safety/enable', lambda: Bool(data=True))
        if self.arm:
            self._give('joint_states', lambda: JointState(
                name=['left_wheel_joint', *ARM], position=[0.0, *self.position]))
            if free and self.tick % 8 == 0:
                self._give('policy/joint_trajectory', self.trajectory)
        if self.tick % self.every == 0:
            self._give('scan', self.scan)

    def _give(self, topic, make):
        if topic not in self.outputs:
            return
        message = self.send[topic] if topic in self.send else make()
        change = self.changes.get(topic)
        if callable(message):
            message = message()
        if change is not None and message is not None:
            message = change(message)
        if isinstance(message, tuple):
            self.publish(topic, *message)
        else:
            self.publish(topic, message)

    def _on_command(self, data):
        twist = cdr.read_twist_stamped(data)
        self.speed = twist.v_mps
        self.commands.append((time.monotonic(), twist.v_mps, twist.w_radps))

    def _on_set_point(self, data):
        self.position = list(cdr.read_joint_trajectory(data).positions[0])

    def _on_state(self, message):
        values = {pair.key: pair.value for pair in message.status[0].values}
        self.states.append(values)
        self.seen_reasons |= set(values['reasons'].split(','))


class System:
    """The real reflex under a rig. Domain and log folder are its own."""

    def __init__(self, domain, folder, *, arm=False, clock='steady', policy=True, parameters=()):
        self.domain = domain
        robot = 'amr_so100' if arm else 'amr'
        prepare(60, -1)
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        self.command = [
            'ros2', 'run', 'safety_reflex', 'safety_reflex', '--ros-args',
            '-p', f'robot_file:={CONFIG}/robots/{robot}.yaml',
            '-p', f'fields_file:={CONFIG}/robots/amr.fields.yaml',
            '-p', "estop_topics:=['safety/estop/button']", '-p', f'clock:={clock}',
            '-p', f'use_sim_time:={str(clock == "sim").lower()}', '-p', 'without_realtime:=go',
            *[word for parameter in parameters for word in ('-p', parameter)]]
        self.env = os.environ | {'ROS_DOMAIN_ID': str(domain), 'ROS_LOG_DIR': str(folder)}
        self.log = Path(folder) / 'reflex.log'
        self.start()
        self.context = Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.rig = Rig(self.context, arm=arm, clock=clock, policy=policy)
        self.executor = EventsExecutor(context=self.context)
        self.executor.add_node(self.rig)

    def start(self):
        with self.log.open('ab') as log:
            self.process = subprocess.Popen(self.command, env=self.env, start_new_session=True,
                                            stdout=log, stderr=log)

    def signal(self, number):
        os.killpg(self.process.pid, number)

    def close(self):
        self.executor.shutdown()
        self.rig.destroy_node()
        rclpy.try_shutdown(context=self.context)
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            self.process.wait()

    def until(self, condition, seconds=15.0):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f'not within {seconds} s: {self.rig.states[-1:]}'
            self.executor.spin_once(timeout_sec=0.02)

    def run(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.executor.spin_once(timeout_sec=0.02)

    def drive(self):
        """Healthy, reset if need be, and at speed for long enough that odometry is believed."""
        rig = self.rig
        rig.healthy()
        self.until(rig.reset_client.service_is_ready)
        asked_s = 0.0
        end = time.monotonic() + 20.0
        while rig.speed < SPEED - 0.01 or rig.state not in ('RUNNING', 'SLOWED'):
            assert time.monotonic() < end, f'it does not drive: {rig.states[-1:]}'
            if rig.state == 'LATCHED' and time.monotonic() - asked_s > 0.7:
                rig.reset_client.call_async(Trigger.Request())
                asked_s = time.monotonic()
            self.executor.spin_once(timeout_sec=0.02)
        self.run(0.3)

    def stopwatch(self, inject, seconds=3.0):
        """Inject now, and see when the ramp begins and when the velocity is zero."""
        rig = self.rig
        rig.commands.clear()
        rig.seen_reasons = set()
        begin_s = time.monotonic()
        inject(rig)
        end = begin_s + seconds
        while time.monotonic() < end and not (
                rig.commands and rig.commands[-1][1] == 0.0 and rig.state == 'LATCHED'):
            self.executor.spin_once(timeout_sec=0.02)

        def first(predicate):
            return next(((at - begin_s) * 1000 for at, v, _ in rig.commands if predicate(v)), None)
        return Seen(rig.seen_reasons - {''}, first(lambda v: v < SPEED - 0.005),
                    first(lambda v: v == 0.0))


def patched(message, offset, layout, *values):
    """The bytes of a message with some numbers overwritten."""
    data = bytearray(serialize_message(message))
    struct.pack_into(layout, data, offset, *values)
    return bytes(data)
