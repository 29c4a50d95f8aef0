"""A client of any simulation_interfaces server: finds each service by its type, waits with an end.

Servers differ in what they call their services and where they put them; their types do not.
"""

import time
from collections.abc import Callable
from typing import Any, Self

import rclpy
from rclpy.action import ActionClient
from rclpy.action.graph import get_action_names_and_types
from rclpy.experimental import EventsExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from simulation_interfaces.action import SimulateSteps

FEEDBACK_DEPTH = 1000


class Missing(RuntimeError):
    """The server does not offer a service, or did not answer; the message says which."""


class Client:
    """One node with an executor of its own; every call spins it. A context manager."""

    def __init__(self, namespace: str = '', timeout_s: float = 10.0,
                 domain_id: int | None = None) -> None:
        """namespace: that the server's services are under. timeout_s: for each call."""
        self._prefix = '/' + namespace.strip('/') + '/' if namespace.strip('/') else '/'
        self.timeout_s = timeout_s
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=domain_id)
        self.node = rclpy.create_node('simulation_client', context=self._context)
        self._executor = EventsExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._services: dict[type, Any] = {}
        self._action: ActionClient | None = None
        self.clock_ns: int | None = None
        self.clocks: list[int] = []         # all that came, ns
        self.node.create_subscription(Clock, '/clock', self._on_clock, QoSProfile(
            depth=10_000, reliability=ReliabilityPolicy.BEST_EFFORT))

    def _on_clock(self, message: Clock) -> None:
        self.clock_ns = message.clock.sec * 1_000_000_000 + message.clock.nanosec
        self.clocks.append(self.clock_ns)

    def offers(self, kind: type) -> str | None:
        """The name of the service of that type, if there is one."""
        wanted = f'simulation_interfaces/srv/{kind.__name__}'
        names = [name for name, types in self.node.get_service_names_and_types()
                 if wanted in types and name.startswith(self._prefix)]
        return min(names, key=len) if names else None

    def wait_for(self, kind: type, seconds: float) -> None:
        """Raises Missing if the server does not show up."""
        if not self.until(lambda: self.offers(kind) is not None, seconds):
            raise Missing(f'no server of {kind.__name__} under {self._prefix} in {seconds:g} s')

    def call(self, kind: Any, **fields: Any) -> Any:
        """The response. Raises Missing."""
        client = self._services.get(kind)
        if client is None:
            name = self.offers(kind)
            if name is None:
                raise Missing(f'it offers no {kind.__name__}')
            client = self._services[kind] = self.node.create_client(kind, name)
            if not self.until(client.service_is_ready, self.timeout_s):
                raise Missing(f'{name} is not ready')
        future = client.call_async(kind.Request(**fields))
        self._spin(future)
        if not future.done():
            client.remove_pending_request(future)
            raise Missing(f'{kind.__name__} did not answer in {self.timeout_s:g} s')
        return future.result()

    def simulate(self, steps: int, cancel_after: int | None = None) -> tuple[int, Any, list[Any]]:
        """SimulateSteps: its final status, its result, and the feedback that came.

        cancel_after: cancel at the first feedback with so many completed steps. Raises Missing.
        """
        client = self._action_client()
        heard: list[Any] = []
        sent = client.send_goal_async(SimulateSteps.Goal(steps=steps),
                                      feedback_callback=lambda m: heard.append(m.feedback))
        self._spin(sent)
        if not sent.done():
            raise Missing('SimulateSteps did not answer')
        goal = sent.result()
        if not goal.accepted:
            raise Missing('SimulateSteps refused the goal')
        outcome = goal.get_result_async()
        if cancel_after is not None:
            self.until(lambda: outcome.done() or (heard and heard[-1].completed_steps
                                                  >= cancel_after), self.timeout_s)
            self._spin(goal.cancel_goal_async())
        self._spin(outcome)
        if not outcome.done():
            raise Missing(f'SimulateSteps did not end in {self.timeout_s:g} s')
        return outcome.result().status, outcome.result().result, heard

    def _action_client(self) -> ActionClient:
        if self._action is None:
            kind = 'simulation_interfaces/action/SimulateSteps'
            names = [name for name, types in get_action_names_and_types(self.node)
                     if kind in types and name.startswith(self._prefix)]
            if not names:
                raise Missing('it offers no SimulateSteps')
            self._action = ActionClient(
                self.node, SimulateSteps, min(names, key=len),
                feedback_sub_qos_profile=QoSProfile(depth=FEEDBACK_DEPTH))
            if not self._action.wait_for_server(self.timeout_s):
                raise Missing('SimulateSteps is not ready')
        return self._action

    def until(self, done: Callable[[], Any], seconds: float) -> bool:
        """Spin until it is true; False if it is not in time."""
        end = time.monotonic() + seconds
        while not done():
            if time.monotonic() >= end:
                return False
            self._executor.spin_once(timeout_sec=0.02)
        return True

    def _spin(self, future: Any) -> None:
        self._executor.spin_until_future_complete(future, timeout_sec=self.timeout_s)

    def close(self) -> None:
        self._executor.shutdown()
        if self._action is not None:
            self._action.destroy()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
