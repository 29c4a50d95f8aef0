"""The container's node: the services of composition_interfaces, and the state of what is loaded.

It spins on a thread of its own. So an import, however slow, holds up no loaded node, and a loaded
node that hangs holds up no list, no diagnostics and no shutdown. Everything that touches a loaded
node is done on the thread of the nodes' executor, through `Loop.call`.
"""

import contextlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from typing import Any

import rclpy.executors
import rclpy.task
from composition_interfaces.srv import ListNodes, LoadNode, UnloadNode
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from component_container import plugins
from component_container.arguments import ArgumentError, NodeArguments, from_request
from component_container.component import Component, build, destroy_node, set_log_level
from component_container.faults import OK, FaultLog, Status, explain
from component_container.guard import owner
from component_container.loop import Loop, make_loop
from component_container.parameters import Parameters
from component_container.plugins import Plugin, PluginError
from component_container.registry import ContainerError, Registry
from node_kit import declare


class Container(Node):
    """Loads, unloads and lists nodes; `process_args` are the process's own ROS arguments."""

    def __init__(self, process_args: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__('ComponentManager', **kwargs)
        self.parameters = declare(self, Parameters)
        self._process_args = tuple(process_args)
        self._loaded = Registry(self.get_fully_qualified_name())
        self._doomed: set[Component] = set()
        self._faults = FaultLog(int(self.parameters.busy_timeout_s * 1e9))
        self._failed = False
        self.loop: Loop = make_loop(self.parameters.executor, self.parameters.thread_num)
        self._manager = rclpy.executors.SingleThreadedExecutor()
        self._manager.add_node(self)
        self._stopped = rclpy.task.Future()

        self.create_service(LoadNode, '~/_container/load_node', self._load)
        self.create_service(UnloadNode, '~/_container/unload_node', self._unload)
        self.create_service(ListNodes, '~/_container/list_nodes', self._list)
        self._diagnostics = self.create_publisher(DiagnosticArray, 'diagnostics', 10)
        self.create_timer(self.parameters.diagnostics_period_s, self._tend,
                          clock=Clock(clock_type=ClockType.STEADY_TIME))

    @property
    def failed(self) -> bool:
        """Whether a callback raised under `on_exception: exit`."""
        return self._failed

    def serve(self) -> None:
        """Answer requests until `stop_serving`; for a thread of its own."""
        while not self._stopped.done() and self.context.ok():
            try:
                self._manager.spin_until_future_complete(self._stopped)
            except rclpy.executors.ExternalShutdownException:
                return
            except Exception as error:  # the container outlives its own mistakes as well
                self.get_logger().error(f'the container itself raised {explain(error)}')

    def stop_serving(self) -> None:
        self._stopped.set_result(None)

    def run_nodes(self) -> None:
        """Run the loaded nodes on the calling thread until `loop.stop`."""
        self.loop.spin(self._on_stray_error)

    def close(self) -> None:
        """Destroy what is loaded, the youngest first, after `run_nodes` and `serve` have ended.

        Waits for callbacks that are still running, without a limit of its own.
        """
        for component in self._loaded:
            component.gate.close()
        self.loop.executor.shutdown()
        for component in reversed(list(self._loaded)):
            component.gate.wait_idle(None)
            self._report_destroy(component, component.destroy())
        self._manager.shutdown()
        self.destroy_node()

    def busy(self) -> str:
        """What runs on the executor's thread, or has not returned yet, in words."""
        return self._loaded.busy(time.monotonic_ns())

    def _load(self, request: Any, response: Any) -> Any:
        asked = f"plugin '{request.plugin_name}' of package '{request.package_name}'"
        try:
            component = self._load_component(request)
        except PluginError as error:
            response.error_message = str(error)
        except (ArgumentError, ContainerError) as error:
            response.error_message = f'{asked} is not loaded: {error}'
        except Exception as error:
            response.error_message = f'{asked} is not loaded: {explain(error)}'
        else:
            response.success = True
            response.full_node_name = component.name
            response.unique_id = component.unique_id
            return response
        self.get_logger().error(response.error_message)
        return response

    def _load_component(self, request: Any) -> Component:
        arguments = from_request(request, self._process_args)
        plugin = plugins.find(plugins.installed(), request.package_name, request.plugin_name)
        cls = plugins.load(plugin, Node)
        self._loaded.check_free(self._loaded.expected_name(plugin, arguments))
        if arguments.intra_process:
            self.get_logger().info(
                'use_intra_process_comms has no effect: rclpy has no intra-process transport')
        begin_ns = time.monotonic_ns()
        component: Component = self._call(
            lambda: self._start(plugin, cls, arguments, request.parameters), f'load {plugin}')
        self.get_logger().info(
            f"loaded {plugin} as '{component.name}', id {component.unique_id}, in "
            f'{(time.monotonic_ns() - begin_ns) / 1e6:.0f} ms')
        self._warn_undeclared(component, [parameter.name for parameter in request.parameters])
        return component

    def _start(self, plugin: Plugin, cls: type, arguments: NodeArguments,
               parameters: Sequence[Any]) -> Component:
        node = build(plugin, cls, arguments, parameters)
        try:
            name = node.get_fully_qualified_name()
            self._loaded.check_free(name)
            component = Component(self._loaded.next_id(), name, plugin, node, self._on_error,
                                  self._on_transition_error)
            component.guard(one_argument=self.parameters.executor == 'events')
        except Exception:
            destroy_node(node)
            raise
        self._loaded.add(component, arguments)
        self._faults.forget(name)
        self.loop.executor.add_node(node)
        return component

    def _warn_undeclared(self, component: Component, names: Sequence[str]) -> None:
        unknown = [name for name in names if not component.node.has_parameter(name)
                   and name != 'use_sim_time' and not name.startswith('qos_overrides.')]
        if unknown:
            self.get_logger().warning(f"node '{component.name}' has not declared "
                                      f'{", ".join(unknown)}: no effect unless it does later')

    def _unload(self, request: Any, response: Any) -> Any:
        try:
            component = self._loaded.get(request.unique_id)
            self._take_out(component)
        except ContainerError as error:
            response.error_message = str(error)
            self.get_logger().error(f'did not unload: {error}')
        else:
            self._faults.forget(component.name)
            self.get_logger().info(
                f"unloaded node '{component.name}', id {component.unique_id}")
            response.success = True
        return response

    def _take_out(self, component: Component) -> None:
        """Stop the callbacks, detach, destroy: each step done before the next one begins.

        The executor drops its hold of the entities when it comes to it, not in remove_node, and
        an EventsExecutor that finds them destroyed by then may crash: hence two calls.
        """
        component.gate.close()
        if not component.gate.wait_idle(self.parameters.busy_timeout_s):
            busy = self._loaded.busy(time.monotonic_ns(), component)
            raise ContainerError(f'{busy}; it gets no further callbacks, '
                                 'unload it again when that has returned')
        what = f"unload '{component.name}'"
        self._call(lambda: self.loop.executor.remove_node(component.node), what)
        self._report_destroy(component, self._call(component.destroy, what))
        set_log_level(component.name, 0)
        self._loaded.remove(component)
        self._doomed.discard(component)

    def _report_destroy(self, component: Component, raised: BaseException | None) -> None:
        if raised is not None:
            self.get_logger().error(f"destroy_node of node '{component.name}' raised "
                                    f'{explain(raised)}; its entities are destroyed')

    def _list(self, _request: Any, response: Any) -> Any:
        loaded = list(self._loaded)
        response.unique_ids = [component.unique_id for component in loaded]
        response.full_node_names = [component.name for component in loaded]
        return response

    def _call(self, function: Callable[[], Any], what: str) -> Any:
        """Do it on the executor's thread. Once begun it may last, as a constructor may."""
        future = self.loop.call(function)
        try:
            return future.result(self.parameters.busy_timeout_s)
        except CancelledError:
            raise ContainerError(f'cannot {what}: the container is shutting down') from None
        except TimeoutError:
            if future.cancel():
                raise ContainerError(f'cannot {what}: the executor is busy; '
                                     f'{self.busy()}') from None
            return future.result()

    def _on_error(self, component: Component, what: str, error: BaseException) -> None:
        """On the thread of the callback that raised: stop the node, leave the rest to ours."""
        policy = self.parameters.on_exception
        if policy != 'report':
            component.gate.close()
        counted = self._faults.count(component.name, what, error, time.monotonic_ns())
        if counted is None:
            return
        fault, count = counted
        if policy == 'unload':
            self._faults.gone(component.name, f'unloaded: {what} raised {fault.error}')
        done = {'report': 'the node goes on', 'unload': 'the node is unloaded',
                'exit': 'the container exits'}[policy]
        times = f' ({count} times so far)' if count > 1 else ''
        text = f"node '{fault.node}': {what} raised {fault.error}{times}; {done}\n{fault.trace}"

        def handle() -> None:
            self.get_logger().error(text)
            if policy == 'unload' and component in self._loaded:
                try:
                    self._take_out(component)
                except ContainerError as busy:
                    self._doomed.add(component)
                    self.get_logger().error(f'did not unload yet: {busy}')
            self._publish_diagnostics()
            if policy == 'exit':
                self._failed = True
                self.loop.stop()
        self._manager.create_task(handle)

    def _on_transition_error(self, component: Component, what: str, error: BaseException) -> None:
        """A lifecycle node answers for its own transitions; here they only must not be silent."""
        counted = self._faults.count(component.name, what, error, time.monotonic_ns())
        if counted is not None:
            self.get_logger().error(f"node '{component.name}': {what} raised {counted[0].error}; "
                                    f'it goes to error processing\n{counted[0].trace}')

    def _on_stray_error(self, error: BaseException) -> None:
        """What an executor raised: from a task, a future's done-callback or rclpy itself."""
        components = {component.node: component for component in self._loaded}
        node = owner(error, components)
        if node is not None and not components[node].gate.closed:
            self._on_error(components[node], 'a task', error)
        elif node is None:
            counted = self._faults.count('', 'a task', error, time.monotonic_ns())
            if counted is not None:
                self.get_logger().error(f'a task of no known node raised {counted[0].error}'
                                        f'\n{counted[0].trace}')

    def _tend(self) -> None:
        for component in list(self._doomed):
            if component.gate.wait_idle(0):
                with contextlib.suppress(ContainerError):  # then at the next turn
                    self._take_out(component)
        self._publish_diagnostics()

    def _publish_diagnostics(self) -> None:
        own = Status(self.get_fully_qualified_name(), OK, f'{len(self._loaded)} nodes', {
            'executor': self.parameters.executor, 'on_exception': self.parameters.on_exception})
        statuses = [own, *self._faults.statuses(
            [(component.name, str(component.plugin), component.gate.longest())
             for component in self._loaded], time.monotonic_ns())]
        message = DiagnosticArray()
        message.header.stamp = self.get_clock().now().to_msg()
        message.status = [DiagnosticStatus(
            name=status.name, level=bytes([status.level]), message=status.message,
            hardware_id=own.name,
            values=[KeyValue(key=key, value=value) for key, value in status.values.items()],
        ) for status in statuses]
        self._diagnostics.publish(message)
