"""The bench's own side of the middleware: scans to each peer in turn, the answers timed.

Every period holds one scan for each peer, equally far apart, so that all of them see the same
machine in the same minute. A latency runs from just before the publishing of a scan to the
receipt of the command that carries its stamp, both in this process.
"""

import math
import struct
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import rclpy
from geometry_msgs.msg import TwistStamped
from nav_msgs.msg import Odometry
from priority import at_priority
from rclpy.clock import Clock, ClockType
from rclpy.experimental import EventsExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from sensor_msgs.msg import LaserScan

from safety_reflex.realtime import prepare

SENSOR = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
_PRIORITY = 90          # above the peers: their later work must not delay the clock
_ODOMETRY_HZ = 50.0
_SECOND = 1_000_000_000


class Silence(RuntimeError):
    """A peer did not answer at all; the message names it."""


class Driver:
    """One node for the whole bench. The middleware's threads keep the priority of __init__."""

    def __init__(self, peers: Sequence[str], wheels: Sequence[str]) -> None:
        """`wheels`: the namespaces that also get odometry, of a robot at rest."""
        with at_priority(_PRIORITY):
            prepare(_PRIORITY, -1)
            rclpy.init()
            self._build(peers, wheels)

    def _build(self, peers: Sequence[str], wheels: Sequence[str]) -> None:
        self.node = rclpy.create_node('bench')
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.peers = list(peers)
        self._scan = {peer: self.node.create_publisher(LaserScan, f'{peer}/scan', SENSOR)
                      for peer in peers}
        self._sent: dict[str, dict[int, int]] = {peer: {} for peer in peers}
        self._answers: dict[str, list[float]] = {peer: [] for peer in peers}
        self._heard_ns: dict[str, list[int]] = {peer: [] for peer in peers}
        self._counting = False
        for peer in peers:
            self.node.create_subscription(
                TwistStamped, f'{peer}/cmd_vel', partial(self._hear, peer),
                10, raw=True)
        odometry = [self.node.create_publisher(Odometry, f'{peer}/odom', SENSOR)
                    for peer in wheels]
        self._at_rest = bytearray(serialize_message(Odometry()))
        self.node.create_timer(1 / _ODOMETRY_HZ, lambda: self._send_odometry(odometry),
                               clock=self._steady)
        self.executor = EventsExecutor()
        self.executor.add_node(self.node)

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown()

    def measure(self, beams: int, rate_hz: float,
                scans: int) -> tuple[dict[str, list[float]], dict[str, int]]:
        """Microseconds of every answer, and how many scans went unanswered, for each peer."""
        pending, turn, counted = scans_of(beams), 0, 0

        def tick() -> None:
            nonlocal turn, counted
            peer = self.peers[turn % len(self.peers)]
            turn += 1
            if counted >= scans * len(self.peers):
                return
            data = pending[turn // len(self.peers) % len(pending)]
            stamp_ns = time.time_ns()
            message = data[:4] + struct.pack('<iI', *divmod(stamp_ns, _SECOND)) + data[12:]
            if self._counting:
                counted += 1
            begin_ns = time.perf_counter_ns()
            self._sent[peer][stamp_ns] = begin_ns
            self._scan[peer].publish(message)

        self._forget(counting=False)
        timer = self.node.create_timer(1 / (rate_hz * len(self.peers)), tick, clock=self._steady)
        try:
            with at_priority(_PRIORITY):
                warm = 10
                self.spin_until(lambda: min(map(len, self._answers.values())) >= warm, 15.0)
                silent = [peer for peer, values in self._answers.items() if len(values) < warm]
                if silent:
                    raise Silence(f'no answer from {", ".join(silent)} in 15 s')
                # What is still under way of the warm-up belongs to it.
                self._forget(counting=True)
                self.spin_until(lambda: counted >= scans * len(self.peers),
                                3 * scans / rate_hz + 10)
                # 200 ms for the last answers; after that they are missed.
                self.spin_until(lambda: not any(self._sent.values()), 0.2)
        finally:
            self.node.destroy_timer(timer)
        return ({peer: list(values) for peer, values in self._answers.items()},
                {peer: len(stamps) for peer, stamps in self._sent.items()})

    def largest_gap_ms(self, peer: str, seconds: float) -> tuple[float, int]:
        """The largest gap between two commands of a peer that gets no scans, and their number."""
        self._forget(counting=False)
        with at_priority(_PRIORITY):
            self.spin_until(lambda: False, seconds)
        heard = np.array(self._heard_ns[peer])
        return (float(np.diff(heard).max()) / 1e6 if len(heard) > 1 else math.inf), len(heard)

    def spin_until(self, done: Callable[[], bool], seconds: float) -> bool:
        """Serve callbacks until done() or the time is up; whether it was done."""
        end = time.monotonic() + seconds
        while not done():
            left = end - time.monotonic()
            if left <= 0:
                return False
            self.executor.spin_once(timeout_sec=min(left, 0.05))
        return True

    def _forget(self, *, counting: bool) -> None:
        for peer in self.peers:
            self._answers[peer].clear()
            self._sent[peer].clear()
            self._heard_ns[peer].clear()
        self._counting = counting

    def _hear(self, peer: str, data: bytes) -> None:
        now_ns = time.perf_counter_ns()
        seconds, nanoseconds = struct.unpack_from('<iI', data, 4)
        begin_ns = self._sent[peer].pop(seconds * _SECOND + nanoseconds, None)
        if begin_ns is not None:
            self._answers[peer].append((now_ns - begin_ns) / 1000)
        self._heard_ns[peer].append(now_ns)

    def _send_odometry(self, publishers: Sequence) -> None:
        struct.pack_into('<iI', self._at_rest, 4, *divmod(time.time_ns(), _SECOND))
        for publisher in publishers:
            publisher.publish(bytes(self._at_rest))


def scans_of(beams: int, *, person: bool = True) -> list[bytes]:
    """Serialised scans of a far wall and, before it, a person's legs half a metre off the AMR.

    Those are inside every field: what is timed is the scan that stops the robot.
    """
    random, step = np.random.default_rng(1), 2 * math.pi / beams
    angles = -math.pi + step * np.arange(beams)
    distance = np.where(person & (np.abs(angles) < 0.1), 0.9, 6.0)
    return [serialize_message(LaserScan(
        angle_min=-math.pi, angle_max=math.pi - step, angle_increment=step, range_min=0.05,
        range_max=20.0, scan_time=0.025,
        ranges=(distance + random.normal(0, 0.01, beams)).astype(np.float32)))
        for _ in range(16)]
