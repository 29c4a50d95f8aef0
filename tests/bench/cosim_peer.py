"""The bench's side of a lock-step: it answers a scan once all of that instant has come.

Five topics make an instant whole: /clock, scan, odom, joint_states and tf, with an image six. One
that lacks a topic is never answered, and never counted.
"""

import itertools
import struct
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import rclpy
from geometry_msgs.msg import TwistStamped
from nav_msgs.msg import Odometry
from rclpy.experimental import EventsExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState, LaserScan
from tf2_msgs.msg import TFMessage

SENSOR = QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT)
# Where the stamp lies in the CDR bytes: a header is first; a TFMessage begins with a count.
TOPICS: dict[str, tuple[Any, int]] = {
    '/clock': (Clock, 4), 'scan': (LaserScan, 4), 'odom': (Odometry, 4),
    'joint_states': (JointState, 4), 'tf': (TFMessage, 8)}
SPEED_MPS = 0.3
_STAMP = struct.Struct('<iI')


class Peer:
    """Drives the base straight on, and keeps when each instant was whole."""

    def __init__(self, namespace: str, domain_id: int, image: str | None = None) -> None:
        """image: the topic of an image that belongs to every instant."""
        topics = TOPICS | ({image: (Image, 4)} if image else {})
        self._parts = len(topics)
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=domain_id)
        self.node = rclpy.create_node('peer', context=self._context, namespace=namespace)
        self._executor = EventsExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._heard: dict[int, set[str]] = {}
        self.whole: dict[int, int] = {}         # stamp -> when it was whole, steady ns
        for topic, (kind, offset) in topics.items():
            self.node.create_subscription(kind, topic, partial(self._on, topic, offset), SENSOR,
                                          raw=True)
        self._command = self.node.create_publisher(TwistStamped, 'cmd_vel', 1)
        command = TwistStamped()
        command.twist.linear.x = SPEED_MPS
        self._bytes = bytearray(serialize_message(command))

    def _on(self, topic: str, offset: int, data: bytes) -> None:
        seconds, nanoseconds = _STAMP.unpack_from(data, offset)
        stamp = seconds * 1_000_000_000 + nanoseconds
        parts = self._heard.setdefault(stamp, set())
        parts.add(topic)
        if len(parts) == self._parts:
            self.whole[stamp] = time.monotonic_ns()
            _STAMP.pack_into(self._bytes, 4, seconds, nanoseconds)
            self._command.publish(bytes(self._bytes))

    def until(self, done: Callable[[], Any], seconds: float) -> bool:
        end = time.monotonic() + seconds
        while not done():
            if time.monotonic() >= end:
                return False
            self._executor.spin_once(timeout_sec=0.05)
        return True

    def cycle_ms(self, skip: int) -> list[float]:
        """Between one whole instant and the next, without the first few."""
        times = [self.whole[stamp] for stamp in sorted(self.whole)][skip:]
        return [(b - a) * 1e-6 for a, b in itertools.pairwise(times)]

    def close(self) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self._context)
