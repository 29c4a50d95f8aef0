"""A stranger with a stopwatch: how long after each scan its command is heard.

    python -m bringup.demo.probe FILE

A process of its own that does nothing else, with a real-time priority where it may have one: in a
busy process the callbacks' own delay would be measured. Interrupted, it writes
`{"answer_us": [..]}`: arrival of a scan to arrival of the first command with that scan's stamp.
"""

import contextlib
import json
import signal
import sys
import time
from pathlib import Path

import rclpy
from geometry_msgs.msg import TwistStamped
from rclpy.executors import ExternalShutdownException
from rclpy.experimental import EventsExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import LaserScan

from safety_reflex import cdr
from safety_reflex.realtime import freeze_memory, prepare

_MAX_BEAMS = 20_000
_PRIORITY = 60
_REMEMBERED = 100


class Probe(Node):

    def __init__(self) -> None:
        super().__init__('probe')
        self.answer_us: list[float] = []
        self._scans: dict[int, int] = {}
        self.create_subscription(
            LaserScan, 'scan', self._on_scan,
            QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT), raw=True)
        self.create_subscription(TwistStamped, 'cmd_vel', self._on_command, 10, raw=True)

    def _on_scan(self, data: bytes) -> None:
        now_ns = time.monotonic_ns()
        self._scans[cdr.read_scan(data, _MAX_BEAMS).stamp_ns] = now_ns
        if len(self._scans) > _REMEMBERED:
            self._scans.pop(next(iter(self._scans)))

    def _on_command(self, data: bytes) -> None:
        now_ns = time.monotonic_ns()
        # The first command that carries a scan's stamp is the verdict on that scan.
        seen_ns = self._scans.pop(cdr.read_twist_stamped(data).stamp_ns, None)
        if seen_ns is not None:
            self.answer_us.append((now_ns - seen_ns) / 1000)


def main() -> None:
    prepare(_PRIORITY, -1)
    rclpy.init()
    signal.signal(signal.SIGINT, lambda *_: rclpy.try_shutdown())
    probe = Probe()
    executor = EventsExecutor()
    executor.add_node(probe)
    freeze_memory()
    with contextlib.suppress(ExternalShutdownException):
        executor.spin()
    executor.shutdown()
    Path(sys.argv[1]).write_text(json.dumps({'answer_us': probe.answer_us}))


if __name__ == '__main__':
    main()
