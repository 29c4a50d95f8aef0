"""The node: messages and timers in, jobs to the policies, commands and records out."""

import functools
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import rclpy
import rclpy.task
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import PoseStamped, TwistStamped
from nav_msgs.msg import Odometry
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import String, UInt8MultiArray

from node_kit import ParameterError, declare
from node_kit.ending import spin_until_told
from policy_client import embodiment as emb
from policy_client import embodiment_file, exchange, messages
from policy_client.chunks import Step
from policy_client.flights import Cancel, Handshake, Infer, Job, Times
from policy_client.lockstep import Delays, Lockstep, Tick
from policy_client.observation import Sample
from policy_client.parameters import ONNX, Parameters, check, endpoints
from policy_client.pilot import Handled, Pilot
from policy_client.policies.base import Policy, PolicyUnavailable, Reply
from policy_client.policies.gr00t import Gr00tPolicy
from policy_client.policies.hold import HoldPolicy
from policy_client.policies.onnx import OnnxPolicy
from policy_client.policies.triton import TritonPolicy
from policy_client.routing import HOLD
from policy_client.settings import pilot_settings
from policy_client.situation import COMMAND_TOPIC, safety_pace, safety_state
from policy_client.vocabulary import Vocabulary

_STREAM = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
_LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE,
                      durability=DurabilityPolicy.TRANSIENT_LOCAL)
_TYPES = {emb.IMAGE: Image, emb.COMPRESSED_IMAGE: CompressedImage, emb.ODOMETRY: Odometry,
          emb.POSE: PoseStamped, emb.STRING: String, emb.JOINT_STATE: JointState}
_STATUS_HZ = 5.0
_STATUS_NS = 200_000_000
_DIAGNOSTICS_HZ = 1.0
_HEALTH_HZ = 20.0
_HANDSHAKE_S = 1.0
_NEVER_NS = 1_000_000_000_000_000
_SOONEST_NS = 100_000
_LEVELS = {'driving': DiagnosticStatus.OK, 'arrived': DiagnosticStatus.OK,
           'neutral': DiagnosticStatus.OK, 'no_task': DiagnosticStatus.OK,
           'no_goal': DiagnosticStatus.OK, 'no_policy': DiagnosticStatus.ERROR}

_Callback = Callable[..., None]


def _locked(method: _Callback) -> _Callback:
    """One callback at a time, with the pilot; none of them while the node is not configured.

    Replies come as tasks, outside the executor's callback groups.
    """
    @functools.wraps(method)
    def run(self: 'PolicyClient', *arguments: Any) -> None:
        with self._lock:
            if self._pilot is not None:
                method(self, self._pilot, *arguments)
    # rclpy counts a callback's arguments, and must not count the pilot for one.
    vars(run).pop('__wrapped__')
    return run


class PolicyClient(LifecycleNode):
    """Configured: probes its routes and listens. Active: commands what the embodiment drives."""

    def __init__(self, **kwargs: Any) -> None:
        """Raises ParameterError for a parameter that breaks its rule."""
        super().__init__('policy_client', **kwargs)
        self._chosen = declare(self, Parameters)
        check(self._chosen)
        self._endpoints = endpoints(self._chosen)
        self._lock = threading.RLock()
        self._pilot: Pilot | None = None
        self._lockstep: Lockstep | None = None
        self._policies: dict[str, Policy] = {}
        self._hands: ThreadPoolExecutor | None = None
        self._active = False
        self._told: tuple[Any, ...] = ()
        self._told_ns = 0
        self._told_errors = ''
        self._opened: list[tuple[Callable[[Any], bool], Any]] = []
        self._simulated = bool(self.get_parameter('use_sim_time').value)
        self._period_ns = round(1e9 / self._chosen.output_rate_hz)
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)

    # Lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            with self._lock:
                self._build()
        except ValueError as error:  # a file or a parameter that breaks a rule
            self.get_logger().error(str(error))
            self._tear_down()
            return TransitionCallbackReturn.FAILURE
        except Exception:
            # rclpy would swallow it and say nothing.
            self.get_logger().error(f'configuring failed: {traceback.format_exc()}')
            return TransitionCallbackReturn.ERROR
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._active = True
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._active = False
        with self._lock:
            if self._pilot:
                self._pilot.rest()
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

    def _build(self) -> None:
        parameters = self._chosen
        if not parameters.embodiment_file:
            raise ParameterError('parameter embodiment_file is empty: it names the YAML that says '
                                 'what the policy sees and drives')
        self._embodiment = embodiment_file.load(parameters.embodiment_file)
        vocabulary = Vocabulary.load(
            parameters.vocabulary_file
            or Path(parameters.embodiment_file).parent / 'vocabulary.txt')
        self._policies = {
            route: Gr00tPolicy(url, self._embodiment) if url.startswith('zmq:')
            else TritonPolicy(url, parameters.model_name, parameters.model_version)
            for route, url in self._endpoints.items()}
        if parameters.fallback_onnx:
            self._policies[ONNX] = OnnxPolicy(parameters.fallback_onnx, parameters.onnx_threads)
        self._policies[HOLD] = HoldPolicy(self._embodiment)
        self._hands = ThreadPoolExecutor(len(self._policies), thread_name_prefix='handshake')
        self._pilot = Pilot(self._embodiment, vocabulary, list(self._policies),
                            pilot_settings(self._chosen, self._endpoints),
                            uuid.uuid4().hex[:8])
        if self._chosen.lockstep:
            p50_ms, p95_ms = self._chosen.lockstep_delay_ms
            self._lockstep = Lockstep(self._pilot, self._policies, self._chosen, Delays(
                p50_ms, p95_ms, seed=self._chosen.lockstep_seed))
        self._wire()
        self.get_logger().info(f'embodiment {self._embodiment.name}, routes '
                               f'{", ".join(self._policies)}')

    def _wire(self) -> None:
        def keep(destroy: Callable[[Any], bool], entity: Any) -> Any:
            self._opened.append((destroy, entity))
            return entity

        def publisher(kind: Any, topic: str, qos: int | QoSProfile, *, lifecycle: bool) -> Any:
            create = self.create_lifecycle_publisher if lifecycle else self.create_publisher
            destroy = (self.destroy_lifecycle_publisher if lifecycle else self.destroy_publisher)
            return keep(destroy, create(kind, topic, qos))

        robot = self._embodiment
        self._commands = [
            (part, publisher(messages.message_type(part.interface), part.topic, 1, lifecycle=True))
            for part in robot.commands]
        # The reflex takes the policy's neutral from here, whatever else the policy drives.
        self._neutral = None if any(part.topic == COMMAND_TOPIC for part in robot.commands) else (
            publisher(TwistStamped, COMMAND_TOPIC, 1, lifecycle=True))
        self._chunks = publisher(messages.chunk_type(robot), 'policy/chunk', 10, lifecycle=True)
        self._exchanges = publisher(UInt8MultiArray, 'policy/exchange', 50, lifecycle=True)
        self._statuses = publisher(DiagnosticArray, 'policy/status', _LATCHED, lifecycle=False)
        self._diagnostics = publisher(DiagnosticArray, 'diagnostics', 10, lifecycle=False)
        for topic, (kind, latched) in self._embodiment.topics.items():
            keep(self.destroy_subscription, self.create_subscription(
                _TYPES[kind], topic, functools.partial(self._heard, topic),
                _LATCHED if latched else _STREAM))
        keep(self.destroy_subscription, self.create_subscription(
            DiagnosticArray, 'safety/state', self._on_safety, _LATCHED))
        timers = [(_DIAGNOSTICS_HZ, self._on_diagnostics)]
        if self._lockstep is None:
            timers += [(self._chosen.output_rate_hz, self._on_output),
                       (self._chosen.inference_rate_hz, self._on_inference),
                       (_HEALTH_HZ, self._on_health), (_STATUS_HZ, self._on_status)]
        for rate_hz, callback in timers:
            keep(self.destroy_timer, self.create_timer(1.0 / rate_hz, callback,
                                                       clock=self._steady))
        self._hedge_timer = keep(self.destroy_timer, self.create_timer(
            _NEVER_NS / 1e9, self._on_hedge, clock=self._steady))

    def _tear_down(self) -> None:
        with self._lock:
            self._active = False
            self._pilot = self._lockstep = None
            opened, self._opened = self._opened, []
            policies, self._policies = self._policies, {}
            hands, self._hands = self._hands, None
        for destroy, entity in opened:
            destroy(entity)
        if hands:
            hands.shutdown(wait=False, cancel_futures=True)
        for policy in policies.values():
            policy.close()

    # Events

    @_locked
    def _heard(self, pilot: Pilot, topic: str, message: Any) -> None:
        now = self._now()
        header = getattr(message, 'header', None)
        stamp = _stamp_ns(header.stamp) if header else None
        received = stamp if stamp is not None and self._chosen.clock == 'sim' \
            else now.logical_ns
        sample = Sample(message, received, stamp)
        if self._lockstep is not None:
            self._lockstep.hear(topic, sample, received)
            if topic == self._chosen.lockstep_topic and self._active:
                self._on_instant(pilot, self._lockstep.tick(received), received)
        elif pilot.heard(topic, sample):
            self._on_inference()

    @_locked
    def _on_safety(self, pilot: Pilot, message: DiagnosticArray) -> None:
        state, pace = safety_state(message), safety_pace(message)
        if self._lockstep is not None:
            self._lockstep.hear_reflex(state, pace, _stamp_ns(message.header.stamp))
        elif pilot.safety(state, self._now().steady_ns, pace):
            self._on_inference()

    @_locked
    def _on_inference(self, pilot: Pilot) -> None:
        if self._active:
            self._do(pilot, pilot.plan(self._now()))

    @_locked
    def _on_health(self, pilot: Pilot) -> None:
        self._do(pilot, pilot.probes(self._now()))

    @_locked
    def _on_output(self, pilot: Pilot) -> None:
        if not self._active:
            return
        now = self._now()
        self._command(pilot.step(now), now.stamp_ns)
        self._tell(pilot, only_changes=True)

    def _on_instant(self, pilot: Pilot, tick: Tick, stamp_ns: int) -> None:
        """In lock-step: what a new instant of the world led to."""
        if tick.step is not None:
            self._command(tick.step, stamp_ns)
        for handled in tick.handled:
            self._show(handled)
        due = not self._told_ns <= stamp_ns < self._told_ns + _STATUS_NS
        self._tell(pilot, only_changes=not due)
        self._told_ns = stamp_ns if due else self._told_ns

    def _command(self, step: Step, stamp_ns: int) -> None:
        stamp = messages.stamp_of(stamp_ns)
        for part, publisher in self._commands:
            command = messages.command(self._embodiment, part, step.action, stamp, self._period_ns)
            if command is not None:
                publisher.publish(command)
        if self._neutral:
            self._neutral.publish(messages.neutral('', stamp))

    @_locked
    def _on_hedge(self, pilot: Pilot) -> None:
        self._hedge_timer.timer_period_ns = _NEVER_NS
        self._hedge_timer.reset()
        if self._active:
            self._do(pilot, pilot.hedge(self._now()))

    @_locked
    def _on_status(self, pilot: Pilot) -> None:
        records = pilot.records(self._now())
        if self._active:
            self._publish(records)
        self._tell(pilot, only_changes=False)

    @_locked
    def _on_diagnostics(self, pilot: Pilot) -> None:
        self._diagnostics.publish(self._status_message(self._values(pilot)))

    @_locked
    def _replied(self, pilot: Pilot, asked_by: Pilot, route: str,
                 future: 'Future[Reply]') -> None:
        if pilot is not asked_by:
            return  # of a configuration that is gone
        handled = pilot.replied(route, future.result(), self._now())
        self._do(pilot, handled.jobs)
        self._show(handled)
        self._tell(pilot, only_changes=True)

    @_locked
    def _handshaken(self, pilot: Pilot, asked_by: Pilot, route: str,
                    future: 'Future[Any]') -> None:
        if pilot is not asked_by:
            return
        try:
            self._do(pilot, pilot.handshaken(route, future.result(), self._now()))
        except PolicyUnavailable as error:
            pilot.handshake_failed(route, str(error), self._now())
        self._tell(pilot, only_changes=True)

    # Work

    def _do(self, pilot: Pilot, jobs: tuple[Job, ...]) -> None:
        for job in jobs:
            policy = self._policies[job.route]
            match job:
                case Handshake(route):
                    assert self._hands
                    self._hands.submit(policy.handshake, _HANDSHAKE_S).add_done_callback(
                        functools.partial(self._later, self._handshaken, pilot, route))
                case Infer(route, request):
                    policy.infer(request).add_done_callback(
                        functools.partial(self._later, self._replied, pilot, route))
                case Cancel(_, request_id):
                    policy.cancel(request_id)
        due = pilot.hedge_due_ns
        if due is not None:
            self._hedge_timer.timer_period_ns = max(_SOONEST_NS, due - time.monotonic_ns())
            self._hedge_timer.reset()

    def _show(self, handled: Handled) -> None:
        if handled.chunk:
            self._chunks.publish(messages.chunk(self._embodiment, handled.chunk.rows,
                                                messages.stamp_of(handled.stamp_ns)))
        self._publish(handled.exchanges)

    def _publish(self, records: tuple[exchange.Exchange, ...]) -> None:
        for record in records:
            self._exchanges.publish(UInt8MultiArray(data=exchange.encode(record)))

    def _later(self, callback: Callable[..., None], *arguments: Any) -> None:
        """Run a callback on the executor's thread; replies come on threads of the policies."""
        def run() -> None:
            try:
                callback(*arguments)
            except Exception:
                # An exception of a task would end the EventsExecutor, and with it the process.
                self.get_logger().error(f'a reply was lost: {traceback.format_exc()}')

        executor = self.executor
        if executor is not None and self._pilot is not None and self.context.ok():
            executor.create_task(run)

    def _now(self) -> Times:
        # Where ROS time is the system's, reading that is ten times as quick as asking rclpy.
        stamp = self.get_clock().now().nanoseconds if self._simulated else time.time_ns()
        steady = time.monotonic_ns()
        return Times(stamp if self._chosen.clock == 'sim' else steady, steady, stamp)

    def _tell(self, pilot: Pilot, *, only_changes: bool) -> None:
        telling = pilot.telling()
        if only_changes and telling == self._told:
            return
        values = self._values(pilot)
        errors = values['route_errors']
        if errors and errors != self._told_errors:
            self.get_logger().warning(errors, throttle_duration_sec=1.0)
        self._told, self._told_errors = telling, errors
        self._statuses.publish(self._status_message(values))

    def _values(self, pilot: Pilot) -> dict[str, str]:
        """What the status says: the pilot's values, and where its policy's time goes."""
        values = pilot.status(self._now())
        split = self._policies[values['source']].split()
        for part in ('network_ms', 'queue_ms', 'compute_ms'):
            values[part] = f'{getattr(split, part):.1f}' if split else ''
        return values

    def _status_message(self, values: dict[str, str]) -> DiagnosticArray:
        level = _LEVELS.get(values['state'], DiagnosticStatus.WARN)
        first = next(iter(self._policies))
        degraded = values['camera'] == 'masked' or values['source'] not in (first, HOLD)
        if level == DiagnosticStatus.OK and degraded and values['state'] == 'driving':
            level = DiagnosticStatus.WARN
        message = DiagnosticArray()
        message.header.stamp = self.get_clock().now().to_msg()
        sentence = f'{values["state"]}, led by {values["source"]}'
        message.status = [DiagnosticStatus(
            level=level, name='policy_client', hardware_id=self._embodiment.name,
            message=f'{sentence}: {values["why"]}' if values['why'] else sentence,
            values=[KeyValue(key=key, value=value) for key, value in values.items()])]
        return message


def _stamp_ns(stamp: Any) -> int:
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def main() -> None:
    """Run the node until SIGINT or SIGTERM; 1 for a parameter that breaks its rule."""
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = PolicyClient()
    except ParameterError as error:
        print(f'policy_client: {error}', file=sys.stderr)
        rclpy.try_shutdown()
        sys.exit(1)
    spin_until_told(node)


if __name__ == '__main__':
    main()
