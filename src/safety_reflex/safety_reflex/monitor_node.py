"""safety_monitor: what people look at, and the black box. An ordinary process that the reflex
never waits for."""

import sys
import time
from pathlib import Path
from typing import Any

import rclpy
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rclpy.signals import SignalHandlerOptions
from rosidl_runtime_py.utilities import get_message
from visualization_msgs.msg import MarkerArray

from edge_case_recorder import graph, qos
from edge_case_recorder.publishers import offer, topic_info
from node_kit import ParameterError, declare
from node_kit.ending import spin_until_told
from safety_reflex.black_box import BlackBox, BlackBoxSettings, Trip, Trips
from safety_reflex.markers import scene
from safety_reflex.parameters import MonitorParameters
from safety_reflex.profile import ProfileError, load_profile

_S = 1_000_000_000
_STATE_TYPE = 'diagnostic_msgs/msg/DiagnosticArray'
# Best effort matches every publisher; deep enough for a second of the fastest topics.
_LISTENING = QoSProfile(depth=500, reliability=ReliabilityPolicy.BEST_EFFORT)
_LATCHED = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE,
                      durability=DurabilityPolicy.TRANSIENT_LOCAL)
_LOOK_S, _WATCH_S = 0.5, 0.2


class SafetyMonitor(Node):
    """Draws each state; keeps the last seconds of what the reflex saw and said, a bag a trip."""

    def __init__(self, **kwargs: Any) -> None:
        """Raises ParameterError and ProfileError."""
        super().__init__('safety_monitor', **kwargs)
        p = declare(self, MonitorParameters)
        self._frame_id = p.frame_id
        self._profile = load_profile(Path(p.robot_file), Path(p.fields_file))
        self._markers = self.create_publisher(
            MarkerArray, 'safety/markers',
            QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT))
        self._trips = Trips()
        self._state_topic = self.resolve_topic_name('safety/state')
        self._scans = [self.resolve_topic_name(lidar.topic) for lidar in self._profile.lidars]
        self._patterns = [*self._scans, *map(self._pattern, (
            *(muting.topic for muting in self._profile.mutings), *p.black_box_topics))]
        self._listened: dict[str, Any] = {}
        self._box = self._open_box(p)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_subscription(DiagnosticArray, 'safety/state', self._on_state, _LATCHED,
                                 raw=True)
        self.create_timer(_WATCH_S, self._watch, clock=steady)
        if self._box is not None:
            self._look_at_graph()
            self.create_timer(_LOOK_S, self._look_at_graph, clock=steady)

    def destroy_node(self) -> None:
        box, self._box = self._box, None
        if box is not None:
            box.stop()
        super().destroy_node()

    def _open_box(self, p: MonitorParameters) -> BlackBox | None:
        if not p.black_box_dir:
            return None
        settings = BlackBoxSettings(
            Path(p.black_box_dir).expanduser().absolute(), int(p.black_box_before_s * _S),
            int(p.black_box_after_s * _S), int(p.black_box_mb * 1e6), p.black_box_keep)
        box = BlackBox(settings, len(self._scans), self._log)
        box.add_topic(topic_info(self._state_topic, _STATE_TYPE, [], (qos.Qos(
            durability='transient_local', depth=1),)))
        box.start()
        return box

    def _pattern(self, topic: str) -> str:
        """As full names match it; raises ParameterError for one that matches none."""
        try:
            pattern = graph.absolute(topic, self.get_namespace())
        except ValueError as error:
            raise ParameterError(f'parameter black_box_topics: {error}') from None
        return pattern if '*' in topic else self.resolve_topic_name(topic)

    # What it sees

    def _on_state(self, data: bytes) -> None:
        now_ns = time.monotonic_ns()
        if self._box is not None:
            self._box.append(self._state_topic, now_ns, data)
        try:
            message = deserialize_message(data, DiagnosticArray)
        except Exception as error:   # the middleware's own kinds; the bytes are another process's
            self.get_logger().error(f'safety/state: a message that is none: {error}',
                                    throttle_duration_sec=5.0)
            return
        values = {pair.key: pair.value for status in message.status for pair in status.values}
        self._note(self._trips.on_state(values, now_ns), now_ns)
        self._markers.publish(scene(values, self._profile, self._frame_id, message.header.stamp))

    def _watch(self) -> None:
        """What a reflex that says nothing any more cannot tell."""
        now_ns = time.monotonic_ns()
        self._note(self._trips.on_silence(now_ns), now_ns)
        if self._box is not None:
            self._box.expire(now_ns)
        if self._trips.is_silent(now_ns):
            self._markers.publish(scene({}, self._profile, self._frame_id, self._now()))

    def _note(self, trip: Trip | None, now_ns: int) -> None:
        if trip is not None and self._box is not None:
            # The wall clock's reading of the trip: the two clocks differ by what passed since.
            utc_ns = time.time_ns() - (time.monotonic_ns() - now_ns)
            self._box.trip(trip, now_ns, utc_ns)

    def _now(self) -> Time:
        return self.get_clock().now().to_msg()

    # What the black box hears

    def _look_at_graph(self) -> None:
        """Listen to what has appeared of the topics that it holds."""
        found = dict(self.get_topic_names_and_types())
        for topic in graph.chosen(self._patterns, found):
            if topic not in self._listened and topic != self._state_topic:
                publishers = self.get_publishers_info_by_topic(topic)
                if publishers:
                    self._listened[topic] = self._listen(topic, found[topic][0], publishers)

    def _listen(self, topic: str, type_name: str, publishers: list[Any]) -> Any:
        box = self._box
        assert box is not None
        offers = qos.distinct(offer(publisher) for publisher in publishers)
        try:
            message_type = get_message(type_name)
        except (ValueError, AttributeError, ImportError) as error:
            self.get_logger().warning(f'the black box lacks {topic}: {type_name}: {error}')
            return None
        if not box.add_topic(topic_info(topic, type_name, publishers, offers),
                             is_scan=topic in self._scans):
            self.get_logger().warning(f'the black box lacks {topic}: it holds enough topics')
            return None

        def keep(data: Any) -> None:
            box.append(topic, time.monotonic_ns(), data)
        return self.create_subscription(message_type, topic, keep, _LISTENING, raw=True)

    def _log(self, is_error: bool, sentence: str) -> None:
        # One call site each: rclpy refuses a call site that changes its severity.
        if is_error:
            self.get_logger().error(sentence)
        else:
            self.get_logger().info(sentence)


def main() -> None:
    """Run the monitor until it is told to end; what is open of the black box is written then."""
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = SafetyMonitor()
    except (ParameterError, ProfileError) as error:
        print(f'safety_monitor refuses to start: {error}', file=sys.stderr)
        rclpy.try_shutdown()
        sys.exit(2)
    spin_until_told(node)
