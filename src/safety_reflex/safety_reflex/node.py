"""The safety_reflex node: topics to the reflex, its verdict to the base. It decides nothing.

A plain node on purpose, in a process of its own: nothing may deactivate it, and no other Python
thread may delay it.
"""

import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import TwistStamped
from nav_msgs.msg import Odometry
from rclpy.clock import Clock, ClockType
from rclpy.experimental import EventsExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import LaserScan
from std_msgs.msg import Bool, UInt64
from std_srvs.srv import Trigger

from node_kit import ParameterError, declare
from safety_reflex import realtime
from safety_reflex.cdr import TwistStampedWriter
from safety_reflex.latency import LatencyHistogram
from safety_reflex.parameters import ReflexParameters
from safety_reflex.profile import ProfileError, load_profile
from safety_reflex.reflex import Reflex, sentence
from safety_reflex.states import State

SENSOR = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
COMMAND = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE,
                     durability=DurabilityPolicy.TRANSIENT_LOCAL)
_LEVELS = {State.STARTING: DiagnosticStatus.STALE, State.RUNNING: DiagnosticStatus.OK,
           State.SLOWED: DiagnosticStatus.WARN, State.STOPPED: DiagnosticStatus.ERROR,
           State.LATCHED: DiagnosticStatus.ERROR}


class SafetyReflex(Node):
    """Wires one Reflex. Deadlines use the machine's steady clock; ROS time only stamps."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__('safety_reflex', **kwargs)
        parameters = declare(self, ReflexParameters)
        self._lacking = realtime.prepare(parameters.realtime_priority, parameters.cpu,
                                         required=parameters.require_realtime)
        for fact in self._lacking:
            self.get_logger().warning(f'running without a real-time guarantee: {fact}')
        profile = load_profile(Path(parameters.robot_file), Path(parameters.fields_file))
        self._reflex = Reflex(profile, parameters.settings(), parameters.estop_topics)
        self._latency = LatencyHistogram()
        self._shown: tuple[str, str] = ('', '')
        self._writer = TwistStampedWriter(parameters.frame_id)
        self._beats = 0

        self._command = self.create_publisher(TwistStamped, 'cmd_vel', COMMAND)
        self._state = self.create_publisher(DiagnosticArray, 'safety/state', LATCHED)
        self._heartbeat = self.create_publisher(UInt64, 'safety/heartbeat', SENSOR)
        for index, lidar in enumerate(profile.lidars):
            self.create_subscription(LaserScan, lidar.topic, partial(self._on_scan, index),
                                     SENSOR, raw=True)
        self.create_subscription(Odometry, 'odom', self._on_odometry, SENSOR, raw=True)
        self.create_subscription(TwistStamped, parameters.command_topic, self._on_command,
                                 COMMAND, raw=True)
        for topic in parameters.estop_topics:
            self.create_subscription(Bool, topic, partial(self._on_estop, topic), COMMAND,
                                     raw=True)
        self.create_service(Trigger, 'safety/reset', self._on_reset)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1 / parameters.tick_hz, self._on_tick, clock=steady)
        self.create_timer(0.1, self._publish_state, clock=steady)
        # One protected topic a turn: each is looked at four times a second, between scans.
        self._protected = [(self._command.topic_name, 1)] + [
            (self.resolve_topic_name(topic), 1) for topic in (
                *(lidar.topic for lidar in profile.lidars), 'odom', *parameters.estop_topics)]
        self._next_protected = 0
        self.create_timer(0.25 / len(self._protected), self._look_at_publishers, clock=steady)

    def _on_scan(self, index: int, data: bytes) -> None:
        began = time.perf_counter_ns()
        self._reflex.on_scan(index, data, time.monotonic_ns())
        self._decide()
        self._latency.add((time.perf_counter_ns() - began) / 1000)

    def _on_odometry(self, data: bytes) -> None:
        self._reflex.on_odometry(data, time.monotonic_ns())

    def _on_command(self, data: bytes) -> None:
        self._reflex.on_command(data, time.monotonic_ns())

    def _on_estop(self, topic: str, data: bytes) -> None:
        self._reflex.on_estop(topic, data, time.monotonic_ns())

    def _on_tick(self) -> None:
        self._decide()
        self._beats += 1
        self._heartbeat.publish(UInt64(data=self._beats))

    def _decide(self) -> None:
        verdict = self._reflex.decide(time.monotonic_ns(), self.get_clock().now().nanoseconds)
        self._command.publish(self._writer.write(*verdict))
        machine = self._reflex.machine
        if machine.state != self._shown[0]:
            self._publish_state()

    def _publish_state(self) -> None:
        values = dict(self._reflex.status(time.monotonic_ns()))
        latency = self._latency
        values |= {'reflex_us': f'{latency.last_us:.0f}',
                   'reflex_us_p50': f'{latency.percentile_us(0.5):.0f}',
                   'reflex_us_p99': f'{latency.percentile_us(0.99):.0f}',
                   'reflex_us_max': f'{latency.max_us:.0f}',
                   'scans': str(latency.count),
                   'realtime': '; '.join(self._lacking) or 'yes'}
        state = self._reflex.machine.state
        shown = (state, values['reasons'])
        if shown != self._shown:
            self.get_logger().info(sentence(state, values['reasons']))
        self._shown = shown
        status = DiagnosticStatus(
            name='safety_reflex', level=_LEVELS[state], message=sentence(state, values['reasons']),
            values=[KeyValue(key=key, value=value) for key, value in values.items()])
        message = DiagnosticArray(status=[status])
        message.header.stamp = self.get_clock().now().to_msg()
        self._state.publish(message)

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success, response.message = self._reflex.reset(time.monotonic_ns())
        self.get_logger().info(f'reset: {response.message}')
        return response

    def _look_at_publishers(self) -> None:
        topic, allowed = self._protected[self._next_protected]
        self._next_protected = (self._next_protected + 1) % len(self._protected)
        self._reflex.on_publishers(topic, self.count_publishers(topic) - allowed)


def main() -> None:
    """Run the reflex until it is told to end; a configuration it cannot trust ends it at once."""
    # The middleware's threads start in rclpy.init and inherit what this thread has by then; the
    # node sets the same again from its parameters.
    realtime.prepare(ReflexParameters.realtime_priority, -1, required=False)
    # rclpy ends the context on a signal; a KeyboardInterrupt amid a callback would only be noise.
    signal.signal(signal.SIGINT, lambda *_: None)
    rclpy.init()
    try:
        node = SafetyReflex()
    except (ParameterError, ProfileError, realtime.RealtimeRefused) as error:
        print(f'safety_reflex refuses to start: {error}', file=sys.stderr)
        rclpy.try_shutdown()
        sys.exit(2)
    executor = EventsExecutor()
    executor.add_node(node)
    realtime.freeze_memory()
    try:
        executor.spin()
    except Exception:
        # After a signal whatever was under way fails, and that is all right; a fault is not.
        if rclpy.ok():
            raise
    finally:
        executor.shutdown()  # its events go before the interpreter does
        rclpy.try_shutdown()
