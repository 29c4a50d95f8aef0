"""Plays a recording into the live reflex and writes down what the reflex says to each scan."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TwistStamped
from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from rosidl_runtime_py.utilities import get_message
from std_srvs.srv import Trigger

from bringup.replay.recording import Recorded, aside, odometry, restamped
from safety_reflex import cdr

_HEADED = ('sensor_msgs/msg/LaserScan', 'nav_msgs/msg/Odometry', 'geometry_msgs/msg/TwistStamped',
           'sensor_msgs/msg/JointState')
_SENSOR_TYPES = ('sensor_msgs/msg/LaserScan', 'nav_msgs/msg/Odometry', 'sensor_msgs/msg/JointState',
                 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')
_START_S = 15.0


@dataclass(frozen=True)
class Heard:
    """What the reflex published: recording time in seconds, its state, why, and what is near."""

    t_s: float
    state: str
    reasons: str
    distance_m: str
    granted_mps: float


class Player(Node):
    """Publishes the recording, and what it lacks of a robot.

    Without a recorded commander it asks for `wish_mps` itself; without recorded odometry the
    wheels turn as the reflex granted.
    """

    def __init__(self, recording: list[Recorded], wish_mps: float) -> None:
        super().__init__('replay')
        self._recording = recording
        self._has_commander = any(r.topic == 'policy/cmd_vel' for r in recording)
        self._wish_mps = wish_mps
        self._outputs = {}
        for topic, name in {(r.topic, r.type_name) for r in recording}:
            reliability = (ReliabilityPolicy.BEST_EFFORT if name in _SENSOR_TYPES
                           else ReliabilityPolicy.RELIABLE)
            self._outputs[topic] = self.create_publisher(
                get_message(name), aside(topic), QoSProfile(depth=10, reliability=reliability))
        self._wheels = (None if any(r.topic == 'odom' for r in recording) else
                        self.create_publisher(Odometry, 'odom', 1))
        self._commander = (self._outputs['policy/cmd_vel'] if self._has_commander else
                           self.create_publisher(TwistStamped, 'policy/cmd_vel', 1))
        self.heard: list[Heard] = []
        self.answers = 0
        self._granted_mps, self._t_s = 0.0, 0.0
        self._state, self._pressed_s = '', 0.0
        self.create_subscription(
            DiagnosticArray, 'safety/state', self._on_state,
            QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL))
        self.create_subscription(TwistStamped, 'cmd_vel', self._on_granted, 10, raw=True)
        self._reset = self.create_client(Trigger, 'safety/reset')

    def play(self, progress: Callable[[float], None]) -> None:
        """Play everything at its own pace."""
        self._wait_for_the_reflex()
        begin = time.monotonic()
        for recorded in self._recording:
            self._t_s = recorded.t_s
            while (left := begin + recorded.t_s - time.monotonic()) > 0:
                rclpy.spin_once(self, timeout_sec=left)
            self._publish(recorded)
            progress(recorded.t_s)
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            rclpy.spin_once(self, timeout_sec=0.05)

    def _wait_for_the_reflex(self) -> None:
        end = time.monotonic() + _START_S
        while self._state == '' and time.monotonic() < end:
            rclpy.spin_once(self, timeout_sec=0.1)

    def _publish(self, recorded: Recorded) -> None:
        latched = self._state == 'LATCHED'
        data = recorded.data
        if recorded.type_name in _HEADED:
            data = restamped(data, self.get_clock().now().nanoseconds)
        if not (latched and recorded.topic == 'policy/cmd_vel'):
            self._outputs[recorded.topic].publish(data)
        if recorded.type_name == 'sensor_msgs/msg/LaserScan':
            if self._wheels is not None:
                wheels = odometry(self._granted_mps)
                wheels.header.stamp = self.get_clock().now().to_msg()
                self._wheels.publish(wheels)
            if latched:
                self._press_reset()
            if latched or not self._has_commander:
                self._command(0.0 if latched else self._wish_mps)

    def _press_reset(self) -> None:
        """As an operator who stands by: neutral commands, and the button twice a second."""
        if self._reset.service_is_ready() and time.monotonic() - self._pressed_s > 0.5:
            self._pressed_s = time.monotonic()
            self._reset.call_async(Trigger.Request())

    def _command(self, v_mps: float) -> None:
        command = TwistStamped()
        command.header.stamp = self.get_clock().now().to_msg()
        command.twist.linear.x = v_mps
        self._commander.publish(serialize_message(command))

    def _on_state(self, message: DiagnosticArray) -> None:
        values = {pair.key: pair.value for pair in message.status[0].values}
        self._state = values['state']
        self.heard.append(Heard(self._t_s, values['state'], values['reasons'],
                                values['distance_m'], self._granted_mps))

    def _on_granted(self, data: bytes) -> None:
        self._granted_mps = cdr.read_twist_stamped(data).v_mps
        self.answers += 1
