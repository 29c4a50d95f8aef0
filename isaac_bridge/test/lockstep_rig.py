"""A robot's brain for a world in lock-step: it answers scans, and remembers all that it heard.

Run as a program it drives a world of its own for a while and prints a digest of every byte:
    python lockstep_rig.py SCENARIO ROBOT SEED CYCLES
"""

import hashlib
import os
import struct
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TwistStamped
from nav_msgs.msg import Odometry
from rclpy.experimental import EventsExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, JointState, LaserScan
from std_msgs.msg import String
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage

SENSOR = QoSProfile(depth=200, reliability=ReliabilityPolicy.RELIABLE)
TOPICS: dict[str, tuple[Any, int]] = {
    '/clock': (Clock, 4), 'scan': (LaserScan, 4), 'odom': (Odometry, 4),
    'joint_states': (JointState, 4), 'tf': (TFMessage, 8), 'world/truth': (String, -1)}
CAMERA: dict[str, tuple[Any, int]] = {
    'camera/front/image_raw': (Image, 4), 'camera/front/camera_info': (CameraInfo, 4)}
FIVE = {'/clock', 'scan', 'odom', 'joint_states', 'tf'}
PERIOD_NS = 25_000_000


@contextmanager
def world(domain: int, **parameters: Any) -> Iterator[subprocess.Popen]:
    """The node as a process, ended on the way out."""
    words = [word for name, value in parameters.items() for word in ('-p', f'{name}:={value}')]
    process = subprocess.Popen(
        [sys.executable, '-m', 'isaac_bridge.node', '--ros-args', *words],
        env=os.environ | {'ROS_DOMAIN_ID': str(domain)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        output, errors = process.communicate(timeout=20)
        if 'Traceback' in output + errors:
            raise AssertionError(errors)


class Brain:
    """speed: of what it commands at a stamp, m/s; None: nothing. lag_ns: of the stamps it sends."""

    def __init__(self, domain: int, camera: bool = False) -> None:
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=domain)
        self.node = rclpy.create_node('brain', context=self._context)
        self._executor = EventsExecutor(context=self._context)
        self._executor.add_node(self.node)
        self.speed: Callable[[int], float | None] = lambda _: 0.5
        self.lag_ns = 0
        self.heard: dict[str, dict[int, bytes]] = defaultdict(dict)
        self.commands: list[int] = []
        self.diagnostics: list[dict[str, str]] = []
        for topic, (kind, offset) in (TOPICS | (CAMERA if camera else {})).items():
            self.node.create_subscription(kind, topic, partial(self._on, topic, offset), SENSOR,
                                          raw=True)
        self.node.create_subscription(DiagnosticArray, 'diagnostics', self._on_diagnostics, 10)
        self._command = self.node.create_publisher(TwistStamped, 'cmd_vel', 1)

    def _on(self, topic: str, offset: int, data: bytes) -> None:
        if offset < 0:
            stamp = int(bytes(data).split(b'"t_ns": ', 1)[1].split(b',', 1)[0])
        else:
            seconds, nanoseconds = struct.unpack_from('<iI', data, offset)
            stamp = seconds * 1_000_000_000 + nanoseconds
        self.heard[topic][stamp] = bytes(data)
        if all(stamp in self.heard[part] for part in FIVE) and topic in FIVE:
            self._answer(stamp)

    def _answer(self, stamp: int) -> None:
        speed = self.speed(stamp)
        if speed is None:
            return
        self.commands.append(stamp)
        self.send(speed, stamp - self.lag_ns)

    def send(self, speed: float, stamp: int) -> None:
        message = TwistStamped()
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 1_000_000_000)
        message.twist.linear.x = speed
        self._command.publish(message)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        status, = message.status
        self.diagnostics.append({item.key: item.value for item in status.values}
                                | {'message': status.message, 'level': str(status.level[0])})

    @property
    def whole(self) -> list[int]:
        """Stamps that all five topics have."""
        return sorted(set.intersection(*(set(self.heard[topic]) for topic in FIVE)))

    def until(self, done: Callable[[], Any], seconds: float = 30.0) -> None:
        end = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < end, 'it did not happen in time'
            self._executor.spin_once(timeout_sec=0.05)

    def ask(self, service: str = 'world/digest') -> str:
        client = self.node.create_client(Trigger, service)
        self.until(client.service_is_ready)
        future = client.call_async(Trigger.Request())
        self.until(future.done)
        return future.result().message

    def close(self) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self._context)


def drive(domain: int, scenario: str, robot: str, seed: int, cycles: int) -> str:
    """From a reset, so many answered cycles: a digest of every message of them, and the state's."""
    from simulation_interfaces import srv
    from simulation_interfaces.msg import SimulationState
    parameters = {'scenario_file': scenario, 'robot_file': robot, 'seed': seed, 'camera': 'off',
                  'mode': 'lockstep', 'answer_timeout_s': 2.0, 'on_silence': 'pause'}
    with world(domain, **parameters):
        brain = Brain(domain)
        try:
            setting = brain.node.create_client(srv.SetSimulationState, 'set_simulation_state')
            brain.until(setting.service_is_ready)

            def become(state: int) -> None:
                future = setting.call_async(srv.SetSimulationState.Request(
                    state=SimulationState(state=state)))
                brain.until(future.done)

            def meet() -> bool:
                # What left before the two knew each other is never answered: then it pauses.
                if brain.diagnostics and brain.diagnostics[-1]['state'] == 'PAUSED':
                    become(SimulationState.STATE_PLAYING)
                return len(brain.commands) > 5
            brain.until(meet)
            last = 1_000_000_000 + cycles * PERIOD_NS
            for state in (SimulationState.STATE_STOPPED, SimulationState.STATE_PLAYING):
                if state == SimulationState.STATE_PLAYING:
                    for stamps in brain.heard.values():
                        stamps.clear()
                    brain.speed = lambda t: None if t >= last else 0.8 if t % 3 else 0.6
                become(state)
            brain.until(lambda: brain.whole and brain.whole[-1] >= last
                        and last in brain.heard['world/truth'])
            digest = hashlib.sha256()
            for topic in sorted(TOPICS):
                for stamp in range(1_000_000_000 + PERIOD_NS, last + 1, PERIOD_NS):
                    digest.update(brain.heard[topic][stamp])
            return f'{digest.hexdigest()} {brain.ask()}'
        finally:
            brain.close()


if __name__ == '__main__':
    print(drive(int(os.environ['ROS_DOMAIN_ID']), sys.argv[1], sys.argv[2], int(sys.argv[3]),
                int(sys.argv[4])))
