"""The safety_reflex node: topics to the reflex, its verdict to the base. It decides nothing.

A plain node on purpose, in a process of its own: nothing may deactivate it, and no other Python
thread may delay it.
"""

import itertools
import signal
import struct
import sys
import time
import uuid
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import Twist, TwistStamped
from nav_msgs.msg import Odometry
from rclpy.clock import Clock, ClockType
from rclpy.experimental import EventsExecutor
from rclpy.node import Node
from rclpy.parameter import parameter_dict_from_yaml_file
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState, LaserScan
from std_msgs.msg import Bool, UInt64
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from node_kit import ParameterError, declare
from safety_reflex import realtime
from safety_reflex.cdr import JointTrajectoryWriter, TwistStampedWriter, TwistWriter
from safety_reflex.latency import LatencyHistogram
from safety_reflex.parameters import ReflexParameters
from safety_reflex.profile import ProfileError, load_profile
from safety_reflex.publishers import PREFIX_BYTES
from safety_reflex.reasons import Reason
from safety_reflex.reflex import Reflex, sentence
from safety_reflex.settings import LOOK_NS
from safety_reflex.states import State
from safety_reflex.times import Instant

SENSOR = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
COMMAND = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
# Deep enough that a button that was pressed and let go at once was pressed.
FLAG = QoSProfile(depth=20, reliability=ReliabilityPolicy.RELIABLE)
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE,
                     durability=DurabilityPolicy.TRANSIENT_LOCAL)
_LEVELS = {State.STARTING: DiagnosticStatus.STALE, State.RUNNING: DiagnosticStatus.OK,
           State.SLOWED: DiagnosticStatus.WARN, State.STOPPED: DiagnosticStatus.ERROR,
           State.LATCHED: DiagnosticStatus.ERROR}
_STATE_S, _LOOK_S = 0.1, LOOK_NS / 1e9
# A new reason is told so soon; a new state at once.
_NEWS_S = 0.02
# A chore waits for the end of a scan's work for at most this long.
_CHORE_SLACK_S = 0.03


class Refused(Exception):
    """The system, or the middleware, gave less than the reflex demands."""


class SafetyReflex(Node):
    """Wires one Reflex. `lacking` is what the system did not give the process."""

    def __init__(self, lacking: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__('safety_reflex', **kwargs)
        p = declare(self, ReflexParameters)
        self._lacking = list(lacking)
        self._realtime = 'yes' if p.realtime_priority > 0 else 'not asked for'
        for fact in self._lacking:
            self.get_logger().warning(f'running without a real-time guarantee: {fact}')
        if self._lacking and p.without_realtime == 'refuse':
            raise Refused('; '.join(self._lacking))
        capped = bool(self._lacking) and p.without_realtime == 'cap'
        profile = load_profile(Path(p.robot_file), Path(p.fields_file))
        self._reflex = Reflex(profile, p.settings(), own_prefix=self._own_prefix(),
                              speed_cap_mps=p.capped_speed_mps if capped else None)
        self._latency = LatencyHistogram(p.deadline_ms * 1000)
        self._shown: tuple[str, str] = ('', '')
        self._shown_active: frozenset[Reason] = frozenset()
        # Without simulated time ROS time is the system's, and asking for it directly is cheaper.
        self._ros_ns = time.time_ns if not self.get_parameter('use_sim_time').value else (
            lambda: self.get_clock().now().nanoseconds)
        self._beats = 0
        self._decided_s = 0.0
        self._tick_s = 1 / p.tick_hz
        self._listen(p)
        self._speak(p)
        protected = {
            self._reflex.publishers.output: ['cmd_vel'],
            self._reflex.publishers.input: [
                *(lidar.topic for lidar in profile.lidars), 'odom', *p.estop_topics,
                *(muting.topic for muting in profile.mutings)]}
        if p.require_enable:
            protected[self._reflex.publishers.input].append('safety/enable')
        if profile.arm is not None:
            protected[self._reflex.publishers.output].append('joint_trajectory')
            protected[self._reflex.publishers.input].append('joint_states')
        self._protected = [(look, self.resolve_topic_name(topic))
                           for look, topics in protected.items() for topic in topics]
        self._looked = 0
        self._look_due_s = self._state_due_s = 0.0
        self.create_timer(self._tick_s, self._on_tick, clock=Clock(
            clock_type=ClockType.STEADY_TIME))

    def _listen(self, p: ReflexParameters) -> None:
        reflex = self._reflex

        def on(kind: Any, topic: str, qos: QoSProfile, callback: Any) -> None:
            self.create_subscription(kind, topic, callback, qos, raw=True)
        for index, scanner in enumerate(reflex.guard.scanners):
            on(LaserScan, scanner.lidar.topic, SENSOR, partial(self._on_scan, index))
        on(Odometry, 'odom', SENSOR, lambda data: reflex.odometry.take(data, self._instant()))
        on(TwistStamped, p.command_topic, COMMAND,
           lambda data: reflex.on_command(data, self._instant()))
        on(TwistStamped, p.teleop_topic, COMMAND,
           lambda data: reflex.on_command(data, self._instant(), teleop=True))
        flags = dict(reflex.estops)
        flags |= {muting.muting.topic: muting.flag for muting in reflex.mutings}
        if p.require_enable:
            flags['safety/enable'] = reflex.enable
        for topic, flag in flags.items():
            on(Bool, topic, FLAG,
               lambda data, flag=flag: flag.take(data, self._instant().now_ns))
        if (joints := reflex.joints) is not None:
            on(JointState, 'joint_states', SENSOR,
               lambda data: joints.on_joint_state(data, self._instant()))
            on(JointTrajectory, 'policy/joint_trajectory', COMMAND,
               lambda data: joints.on_command(data, self._instant()))
        self.create_service(Trigger, 'safety/reset', self._on_reset)

    def _speak(self, p: ReflexParameters) -> None:
        stamped = p.command_type == 'twist_stamped'
        self._writer = TwistStampedWriter(p.frame_id) if stamped else TwistWriter()
        self._command = self.create_publisher(TwistStamped if stamped else Twist, 'cmd_vel',
                                              COMMAND)
        self._state = self.create_publisher(DiagnosticArray, 'safety/state', LATCHED)
        self._heartbeat = self.create_publisher(UInt64, 'safety/heartbeat', SENSOR)
        if (arm := self._reflex.profile.arm) is not None:
            self._joint_writer = JointTrajectoryWriter(arm.names, int(self._tick_s * 1e9))
            self._set_points = self.create_publisher(JointTrajectory, 'joint_trajectory', COMMAND)

    def _own_prefix(self) -> bytes:
        """How the GIDs of this process begin, learnt on a topic that nobody else can guess."""
        topic = f'safety/reflex_{uuid.uuid4().hex}'
        publisher = self.create_publisher(UInt64, topic, SENSOR)
        try:
            end_s = time.monotonic() + 5.0
            while time.monotonic() < end_s:
                found = self.get_publishers_info_by_topic(self.resolve_topic_name(topic))
                if found:
                    return bytes(found[0].endpoint_gid[:PREFIX_BYTES])
                time.sleep(0.001)  # its threads have no higher priority than this one
            raise Refused('the middleware does not show this node\'s own publisher')
        finally:
            self.destroy_publisher(publisher)

    def _instant(self) -> Instant:
        return self._reflex.times.read(self._ros_ns(), time.monotonic_ns())

    def _on_scan(self, index: int, data: bytes) -> None:
        began = time.perf_counter_ns()
        stop = self._reflex.glimpse(index, data, time.monotonic_ns())
        if stop is not None:
            self._command.publish(self._writer.write(*stop))
        at = self._instant()
        self._reflex.on_scan(index, data, at)
        self._decide(at, told=stop)
        self._latency.add((time.perf_counter_ns() - began) / 1000)
        self._chore(0.0)

    def _on_tick(self) -> None:
        at = self._instant()
        # With fast scans the verdict is younger than a tick can make it.
        if time.monotonic() - self._decided_s > 0.5 * self._tick_s:
            self._decide(at)
        joints = self._reflex.decide_joints(at)
        if joints is not None:
            self._set_points.publish(self._joint_writer.write(at.ros_ns, *joints))
        if not self._reflex.disobeyed:
            self._beats += 1
            self._heartbeat.publish(struct.pack('<4BQ', 0, 1, 0, 0, self._beats))
        self._chore(_CHORE_SLACK_S)

    def _decide(self, at: Instant, told: tuple[int, float, float] | None = None) -> None:
        verdict = self._reflex.decide(at)
        if verdict != told:
            self._command.publish(self._writer.write(*verdict))
        self._decided_s = time.monotonic()
        if self._reflex.machine.state != self._shown[0]:
            self._publish_state()

    def _chore(self, slack_s: float) -> None:
        """One thing that people and not the robot wait for, right behind a scan's work."""
        late_s = time.monotonic() - slack_s
        news = self._reflex.active != self._shown_active
        if late_s > self._state_due_s - (_STATE_S - _NEWS_S if news else 0.0):
            self._publish_state()
        elif late_s > self._look_due_s:
            look, topic = self._protected[self._looked % len(self._protected)]
            self._looked += 1
            self._look_due_s = time.monotonic() + _LOOK_S / len(self._protected)
            look(topic, [bytes(info.endpoint_gid)
                         for info in self.get_publishers_info_by_topic(topic)])

    def _publish_state(self) -> None:
        self._state_due_s = time.monotonic() + _STATE_S
        self._shown_active = self._reflex.active
        values = dict(self._reflex.status(self._instant().now_ns))
        latency = self._latency
        values |= {'reflex_us': f'{latency.last_us:.0f}',
                   'reflex_us_p50': f'{latency.percentile_us(0.5):.0f}',
                   'reflex_us_p99': f'{latency.percentile_us(0.99):.0f}',
                   'reflex_us_max': f'{latency.max_us:.0f}',
                   'reflex_us_histogram': latency.octaves(),
                   'deadline_misses': str(latency.missed),
                   'scans': str(latency.count),
                   'realtime': '; '.join(self._lacking) or self._realtime}
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
        response.success, response.message = self._reflex.reset(self._instant())
        self.get_logger().info(f'reset: {response.message}')
        return response


def main() -> None:
    """Run the reflex until it is told to end; a configuration it cannot trust ends it at once."""
    lacking = realtime.prepare(*(_early(name, sys.argv) for name in ('realtime_priority', 'cpu')))
    # rclpy ends the context on a signal; a KeyboardInterrupt amid a callback would only be noise.
    signal.signal(signal.SIGINT, lambda *_: None)
    rclpy.init()
    try:
        node = SafetyReflex(lacking)
    except (ParameterError, ProfileError, Refused) as error:
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


def _early(name: str, arguments: Sequence[str]) -> int:
    """A whole number from the command line before there is a node, which checks it again."""
    value = default = getattr(ReflexParameters, name)
    for flag, argument in itertools.pairwise(arguments):
        try:
            if flag == '--params-file':
                given = parameter_dict_from_yaml_file(argument, use_wildcard=True)
                value = given[name].value.integer_value if name in given else value
            elif flag in ('-p', '--param') and argument.startswith(f'{name}:='):
                value = int(argument.partition(':=')[2])
        except (OSError, RuntimeError, ValueError):
            continue  # rcl says what is wrong with it
    return value if 0 <= value <= 1023 else default
