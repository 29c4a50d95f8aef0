"""The recorder's node: topics to the ring, some to the triggers, cases to recorder/event.

A lifecycle node. Configuring opens the spool, activating begins to listen, deactivating writes what
is open and labels it. Callbacks only store bytes; all writing is the worker's.
"""

import functools
import json
import socket
import sys
import time
import traceback
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rclpy.signals import SignalHandlerOptions
from rclpy.topic_endpoint_info import TopicEndpointInfo
from rosidl_runtime_py.utilities import get_message
from std_msgs.msg import String
from std_srvs.srv import Trigger as TriggerService

from edge_case_recorder import graph, qos
from edge_case_recorder.bag import TopicInfo
from edge_case_recorder.definitions import DefinitionError
from edge_case_recorder.health import INACTIVE, health
from edge_case_recorder.manifest import ROBOT_ID
from edge_case_recorder.parameters import (
    RecorderParameters,
    budgets,
    rates,
    redaction_options,
    versions,
)
from edge_case_recorder.publishers import offer, topic_info
from edge_case_recorder.redaction import RedactionError, load
from edge_case_recorder.ring import Ring
from edge_case_recorder.rule_topics import RuleTopics
from edge_case_recorder.rules import RulesError, default_rules, read_rules
from edge_case_recorder.sealing import Key, SealError
from edge_case_recorder.spool import Spool, SpoolError
from edge_case_recorder.triggering.limits import TICK_NS
from edge_case_recorder.triggers import POLICY_STATUS, LaterReasons, Trigger, Triggers
from edge_case_recorder.worker import CaseRefused, Identity, Worker
from node_kit import ParameterError, declare
from node_kit.ending import spin_until_told

EVENTS = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE,
                    durability=DurabilityPolicy.TRANSIENT_LOCAL)
STATUS_TOPICS = ('safety/state', 'policy/status')
_S = 1_000_000_000
_LOOKS_AT_ALL = 10

_Transition = Callable[['EdgeCaseRecorder', LifecycleState], TransitionCallbackReturn]


def _reported(transition: _Transition) -> _Transition:
    """rclpy turns an exception of a transition into ERROR and says nothing: say it."""
    @functools.wraps(transition)
    def run(self: 'EdgeCaseRecorder', state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return transition(self, state)
        except Exception:
            self.get_logger().error(f'{transition.__name__}:\n{traceback.format_exc()}')
            raise
    return run


class EdgeCaseRecorder(LifecycleNode):
    """Configured: its spool is open. Active: it listens, and every trigger becomes a case."""

    def __init__(self, **kwargs: Any) -> None:
        """Raises ParameterError for a parameter that breaks its rule."""
        super().__init__('edge_case_recorder', **kwargs)
        self._settings = declare(self, RecorderParameters)
        self._budgets = budgets(self._settings)
        self._identity = _identity(self._settings)
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._statuses = tuple(self.resolve_topic_name(topic) for topic in STATUS_TOPICS)
        self._recorded = (*self._statuses, *map(self._pattern, self._settings.topics))
        self._budget_patterns = [(self._pattern(name), size)
                                 for name, size in self._budgets.patterns]
        self._rate_patterns = [(self._pattern(name), rate_hz)
                               for name, rate_hz in rates(self._settings)]
        self._spool: Spool | None = None
        self._worker: Worker | None = None
        self._kept: list[tuple[Any, Any]] = []
        self._listening: dict[str, tuple[qos.Request, Any]] = {}
        self._forget()

    def _pattern(self, topic: str) -> str:
        """As full names match it; remappings hold for names, not for patterns."""
        try:
            pattern = graph.absolute(topic, self.get_namespace())
        except ValueError as error:
            raise ParameterError(f'parameter topics: {error}') from None
        return pattern if '*' in topic else self.resolve_topic_name(topic)

    # Lifecycle

    @_reported
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        parameters = self._settings
        try:
            if not parameters.spool_dir:
                raise ParameterError('parameter spool_dir is empty: it names the folder of the '
                                     'cases')
            self._rules = (
                read_rules(Path(parameters.triggers_file), parameters.before_s, parameters.after_s)
                if parameters.triggers_file
                else default_rules(parameters.before_s, parameters.after_s))
            options = redaction_options(parameters)
            self._redactor = load(parameters.redaction, options) if parameters.redaction else None
            spool = Spool(Path(parameters.spool_dir).expanduser().resolve(),
                          parameters.min_free_bytes, self.get_logger().warning,
                          evict_unsent=parameters.evict_unsent,
                          key=Key.read(parameters.key_file) if parameters.key_file else None)
            spool.open()
        except (ParameterError, RedactionError, RulesError, SealError, SpoolError) as error:
            self.get_logger().error(str(error))
            return TransitionCallbackReturn.FAILURE
        self._spool = spool
        self._events = self.create_publisher(String, 'recorder/event', EVENTS)
        self._diagnostics = self.create_publisher(DiagnosticArray, 'diagnostics', 10)
        self._keep(self.destroy_publisher, self._events)
        self._keep(self.destroy_publisher, self._diagnostics)
        self._keep(self.destroy_service,
                   self.create_service(TriggerService, 'recorder/mark', self._on_mark))
        self._keep(self.destroy_timer,
                   self.create_timer(1.0, self._publish_diagnostics, clock=self._steady))
        return super().on_configure(state)

    @_reported
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        assert self._spool is not None
        self._forget()
        self._triggers = Triggers(self._rules, self._settings.fallbacks)
        self._rule_topics = RuleTopics(self._triggers, self.resolve_topic_name)
        self._patterns = (*self._recorded, *self._rule_topics.names)
        self._ring = Ring(self._triggers.longest_before_ns + int(self._settings.lag_s * _S))
        self._worker = Worker(
            self._ring, self._spool, self._topics, self._identity,
            compression=self._settings.compression, flush_s=self._settings.flush_s,
            max_open=self._settings.max_open_cases, on_case=self._on_case, log=self._on_log,
            redactor=self._redactor)
        self._worker.start()
        self._look_at_graph()
        self._on_tick()
        self._timers_of_active = [
            self.create_timer(1.0 / self._settings.graph_hz, self._look_at_graph,
                              clock=self._steady),
            self.create_timer(TICK_NS / _S, self._on_tick, clock=self._steady)]
        return super().on_activate(state)

    @_reported
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._stop_listening()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._tear_down()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._tear_down()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._tear_down()
        return TransitionCallbackReturn.SUCCESS

    def destroy_node(self) -> None:
        self._tear_down()
        super().destroy_node()

    def _keep(self, destroy: Any, entity: Any) -> None:
        self._kept.append((destroy, entity))

    def _forget(self) -> None:
        """What belongs to one time of being active."""
        self._topics: dict[str, TopicInfo] = {}
        self._models: dict[str, str] = {}
        self._unrecordable: dict[str, str] = {}
        self._publishers_seen: dict[str, int] = {}
        self._looks = 0

    def _stop_listening(self) -> None:
        """No more messages, then no more cases: what is open is written and labelled."""
        worker, self._worker = self._worker, None
        if worker is None:
            return
        for timer in self._timers_of_active:
            self.destroy_timer(timer)
        subscriptions, self._listening = self._listening, {}
        for _, subscription in subscriptions.values():
            self.destroy_subscription(subscription)
        worker.stop()

    def _tear_down(self) -> None:
        self._stop_listening()
        kept, self._kept = self._kept, []
        for destroy, entity in kept:
            destroy(entity)
        spool, self._spool = self._spool, None
        if spool is not None:
            spool.close()

    # The graph

    def _look_at_graph(self) -> None:
        """Subscribe to what has appeared, and again where new publishers need another request."""
        found = dict(self.get_topic_names_and_types())
        self._looks += 1
        for topic in graph.chosen(self._patterns, found):
            # Counting is cheap, asking who they are is not.
            count = self.count_publishers(topic)
            known = self._publishers_seen.get(topic, 0)
            if topic in self._unrecordable or count == 0 or (
                    count == known and self._looks % _LOOKS_AT_ALL):
                continue
            self._publishers_seen[topic] = count
            publishers = self.get_publishers_info_by_topic(topic)
            if not publishers:
                continue
            try:
                self._look_at_topic(topic, found[topic], publishers)
            except DefinitionError as error:
                self._unrecordable[topic] = str(error)
                self.get_logger().warning(f'{topic} is not recorded: {error}')

    def _look_at_topic(self, topic: str, types: list[str],
                       publishers: list[TopicEndpointInfo]) -> None:
        """Raises DefinitionError when its messages cannot be taken."""
        if len(types) != 1:
            raise DefinitionError(f'its publishers differ in type: {", ".join(types)}')
        offers = qos.distinct(offer(publisher) for publisher in publishers)
        wanted = qos.request(offers)
        known = self._listening.get(topic)
        if known is None or self._topics[topic].qos != offers:
            self._topics[topic] = topic_info(topic, types[0], publishers, offers)
            self._bind_rules(topic)
        if known is not None and known[0] == wanted:
            return
        try:
            message_type = get_message(types[0])
        except (ValueError, AttributeError, ImportError) as error:
            raise DefinitionError(f'{types[0]} is not installed here: {error}') from None
        if known is not None:
            self.destroy_subscription(known[1])
        self._ring.add_topic(
            topic, graph.budget(topic, self._budget_patterns, self._budgets.default_bytes),
            graph.latched_depth(types[0], wanted.transient_local),
            graph.rate_limit(topic, self._rate_patterns))
        self._listening[topic] = (wanted, self.create_subscription(
            message_type, topic, self._receiver(topic, message_type), self._profile(wanted),
            raw=True))

    def _bind_rules(self, topic: str) -> None:
        info = self._topics[topic]
        for rule, error in self._rule_topics.bind(topic, info.type, info.definition).items():
            self.get_logger().error(f'the rule {rule} does not run: {error}')

    def _profile(self, wanted: qos.Request) -> QoSProfile:
        return QoSProfile(
            depth=self._settings.queue_depth,
            reliability=ReliabilityPolicy.RELIABLE if wanted.reliable
            else ReliabilityPolicy.BEST_EFFORT,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if wanted.transient_local
            else DurabilityPolicy.VOLATILE)

    # Messages

    def _receiver(self, topic: str, message_type: Any) -> Any:
        ring = self._ring
        if topic in self._rule_topics.decoded or topic in self._statuses:
            return lambda data: self._on_needed(topic, message_type, data)
        if topic in self._rule_topics.names:
            return lambda data: self._on_arrival(topic, data)
        return lambda data: ring.append(topic, time.monotonic_ns(), data)

    def _on_arrival(self, topic: str, data: bytes, message: Any = None) -> None:
        now_ns = time.monotonic_ns()
        self._ring.append(topic, now_ns, data)
        self._act(self._rule_topics.on_message(topic, message, now_ns))

    def _on_needed(self, topic: str, message_type: Any, data: bytes) -> None:
        try:
            message = deserialize_message(data, message_type)
        except Exception as error:   # the middleware's own kinds; the bytes are another process's
            self.get_logger().error(f'{topic}: a message that is none: {error}',
                                    throttle_duration_sec=5.0)
            message = None
        if topic in self._statuses and isinstance(message, DiagnosticArray):
            self._learn_models(message)
        self._on_arrival(topic, data, message)

    def _learn_models(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {pair.key: pair.value for pair in status.values}
            if status.name == POLICY_STATUS and values.get('version'):
                self._models = {values.get('source', 'policy')[:256]: values['version'][:256]}

    def _on_tick(self) -> None:
        self._act(self._triggers.on_tick(time.monotonic_ns(), time.time_ns()))

    def _on_mark(self, _: TriggerService.Request,
                 response: TriggerService.Response) -> TriggerService.Response:
        if self._worker is None:
            response.message = 'refused: the recorder is not active'
            return response
        ids = self._act(self._triggers.on_mark(time.monotonic_ns()))
        response.success = bool(ids)
        response.message = ids[0] if ids else 'refused: too soon after the last, or too many open'
        return response

    def _act(self, occurrences: list[Trigger | LaterReasons]) -> list[str]:
        """The ids of the cases that begin by it."""
        ids: list[str] = []
        worker = self._worker
        for occurrence in occurrences if worker is not None else ():
            assert worker is not None
            if isinstance(occurrence, LaterReasons):
                worker.add_reasons(occurrence)
                continue
            # The wall clock's reading of the trigger: the two clocks differ by what passed since.
            stamp_ns = time.time_ns() - (time.monotonic_ns() - occurrence.now_ns)
            try:
                ids.append(worker.submit(occurrence, stamp_ns, self._models))
            except CaseRefused as error:
                self.get_logger().error(str(error), throttle_duration_sec=5.0)
            else:
                self.get_logger().info(f'case {ids[-1]} begins')
        return ids

    # What the worker says, on its own thread

    def _on_case(self, content: dict[str, Any]) -> None:
        window = content['window']
        label = window['truncated_by'] and f', truncated by {window["truncated_by"]}'
        self.get_logger().info(f'case {content["case_id"]} is recorded: {content["messages"]} '
                               f'messages{label}')
        self._events.publish(String(data=json.dumps(content, separators=(',', ':'))))

    def _on_log(self, is_error: bool, sentence: str) -> None:
        logger = self.get_logger()
        # One call site each: rclpy refuses a call site that changes its severity.
        if is_error:
            logger.error(sentence)
        else:
            logger.warning(sentence)

    def _publish_diagnostics(self) -> None:
        worker = self._worker
        found = INACTIVE if worker is None else health(
            worker.status, self._ring.counts(), self._triggers.suppressed, self._unrecordable,
            self._triggers.broken)
        message = DiagnosticArray(status=[DiagnosticStatus(
            name='edge_case_recorder', level=found.level, message=found.sentence,
            hardware_id=self._identity.robot_id,
            values=[KeyValue(key=key, value=str(value)) for key, value in found.values.items()])])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)


def _identity(parameters: RecorderParameters) -> Identity:
    """Raises ParameterError when the robot's name cannot stand in a manifest."""
    robot_id = parameters.robot_id or socket.gethostname()
    if not ROBOT_ID.fullmatch(robot_id):
        raise ParameterError(f'parameter robot_id = {robot_id!r}: must be 1 to 64 letters, digits, '
                             '., _ or -, and begin with a letter or digit')
    return Identity(robot_id, parameters.robot[:64], {
        'edge_case_recorder': version('edge_case_recorder'), 'ros_distro': 'jazzy',
        'rmw': rclpy.get_rmw_implementation_identifier()} | versions(parameters))


def main() -> None:
    """Run the recorder until it is told to end; what is open then is written first."""
    # Not rclpy's handlers: they take the context away while the open cases are being written.
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = EdgeCaseRecorder()
    except ParameterError as error:
        print(f'edge_case_recorder refuses to start: {error}', file=sys.stderr)
        rclpy.try_shutdown()
        sys.exit(2)
    spin_until_told(node)


if __name__ == '__main__':
    main()
