"""One loaded node: built, guarded, run, taken out again and destroyed."""

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import rclpy.logging
from rcl_interfaces.msg import Parameter as ParameterMsg
from rclpy.action import ActionClient, ActionServer
from rclpy.lifecycle.node import LifecycleNodeMixin
from rclpy.node import Node
from rclpy.parameter import Parameter

from component_container.arguments import NodeArguments
from component_container.faults import explain
from component_container.guard import Gate, UnsupportedCallback, Watch
from component_container.plugins import Plugin, PluginError, check_constructor

# A remap that every node gets: where it has no effect, no other argument has.
_CANARY, _CANARY_SANG = '/component_container/canary', '/component_container/canary/sang'
# rclpy never destroys this service (rclpy 1710): each unloaded node would leave one in the graph.
_LEAKS = 'start_type_description_service'


@dataclass(eq=False)
class Component:
    """A node in the container. Its methods run on the executor's thread."""

    unique_id: int
    name: str
    plugin: Plugin
    node: Node
    on_error: Callable[['Component', str, BaseException], None]
    on_transition_error: Callable[['Component', str, BaseException], None]
    gate: Gate = field(init=False)
    _watch: Watch | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.gate = Gate(time.monotonic_ns, lambda what, error: self.on_error(self, what, error))

    def guard(self, one_argument: bool) -> None:
        """Put the node's callbacks behind the gate; raises PluginError if one cannot run here."""
        try:
            self._watch = Watch(self.node, self.gate, one_argument,
                                lambda what, error: self.on_transition_error(self, what, error))
        except UnsupportedCallback as error:
            raise PluginError(f"{self.plugin}, node '{self.name}': {error}") from None

    def destroy(self) -> BaseException | None:
        """Destroy the node, which its executor has let go; what its destroy_node raised, if so."""
        self.gate.close()
        self.gate.release_awaited()
        if self._watch is not None:
            self._watch.remove()
        return destroy_node(self.node)


def build(plugin: Plugin, cls: Any, arguments: NodeArguments,
          parameters: Sequence[ParameterMsg]) -> Node:
    """Construct the plugin's node as asked; raises PluginError and leaves nothing behind."""
    kwargs: dict[str, Any] = {
        'cli_args': [*arguments.cli_args, '-r', f'{_CANARY}:={_CANARY_SANG}'],
        'use_global_arguments': False,
        'parameter_overrides': _overrides(plugin, parameters),
        **arguments.node_options,
    }
    check_constructor(plugin, cls, kwargs)
    if arguments.full_name is not None:
        set_log_level(arguments.full_name, arguments.log_level)
    # What cls(**kwargs) does, in two steps: a constructor that fails half-way has already put a
    # node into the graph, and only the object can take it out.
    node: Node = cls.__new__(cls, **kwargs)
    try:
        cls.__init__(node, **kwargs)
        name = node.get_fully_qualified_name()
    except (Exception, SystemExit) as error:
        destroy_node(node)
        raise PluginError(f'the constructor of {plugin} raised {explain(error)}') from error
    if node.resolve_topic_name(_CANARY) != _CANARY_SANG:
        destroy_node(node)
        raise PluginError(f"{plugin} came up as '{name}', deaf to names, remaps and parameters: "
                          f'{cls.__name__}.__init__ must hand its **kwargs to Node')
    set_log_level(name, arguments.log_level)
    return node


def destroy_node(node: Node) -> BaseException | None:
    """Take a node, maybe a half-built one, out of the graph; what its destroy_node raised."""
    raised: BaseException | None = None
    try:
        node.destroy_node()
    except (Exception, SystemExit) as error:
        raised = error
        try:
            Node.destroy_node(node)
        except Exception as again:  # Node.__init__ itself did not get far
            raised = again
    # rclpy leaves these to the garbage collector, and the graph shows them until then.
    with contextlib.suppress(AttributeError):
        for waitable in list(node.waitables):
            if isinstance(waitable, ActionServer | ActionClient):
                waitable.destroy()
    if isinstance(node, LifecycleNodeMixin):
        with contextlib.suppress(AttributeError):
            node._state_machine.destroy_when_not_in_use()
    return raised


def set_log_level(name: str, level: int | None) -> None:
    """The level of the logger of a node's full name; None changes nothing."""
    if level is not None:
        rclpy.logging.set_logger_level(
            name.strip('/').replace('/', '.'), rclpy.logging.LoggingSeverity(level))


def _overrides(plugin: Plugin, parameters: Sequence[ParameterMsg]) -> list[Parameter]:
    overrides = [Parameter(_LEAKS, value=False)]
    for message in parameters:
        try:
            overrides.append(Parameter.from_parameter_msg(message))
        except (ValueError, TypeError) as error:
            raise PluginError(f"{plugin}: parameter '{message.name}' is malformed: "
                              f'{error}') from None
    return overrides
