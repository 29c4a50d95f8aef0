"""What a LoadNode request and the container's command line mean for a node's constructor.

Everything goes to a node the way rclcpp's ComponentManager hands it over: names, namespace and
remappings as node-local ROS arguments, parameters as overrides, and none of the process-wide
arguments, so that the container's own `__node:=` and `__ns:=` do not rename what it loads.
"""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

LOG_LEVELS = (10, 20, 30, 40, 50)  # rcl_interfaces/Log: DEBUG, INFO, WARN, ERROR, FATAL
MAX_NAME_LENGTH = 255  # rmw's limit of a fully qualified name
MAX_RULES = 1_000
MAX_PARAMETERS = 10_000
PARAMETER_BOOL = 1  # rcl_interfaces/ParameterType
NODE_OPTIONS = ('enable_rosout', 'start_parameter_services', 'enable_logger_service')
EXTRA_ARGUMENTS = ('use_intra_process_comms', 'forward_global_arguments', *NODE_OPTIONS)

_NAME = re.compile(r'[A-Za-z_][A-Za-z0-9_]*')
_NAMESPACE = re.compile(r'/|(/[A-Za-z_][A-Za-z0-9_]*)+')
_RENAMES = re.compile(r'__(node|name|ns):=.*', re.DOTALL)


class ArgumentError(ValueError):
    """A request cannot be honoured; the message names the field, its value and the rule."""


@dataclass(frozen=True)
class NodeArguments:
    """`cli_args` as rclpy.node.Node takes it; None where the request leaves it to the node.

    `node_options` are further arguments of Node, only those that the request gives.
    """

    cli_args: tuple[str, ...]
    name: str | None
    namespace: str | None
    log_level: int | None
    intra_process: bool
    node_options: dict[str, bool]

    @property
    def full_name(self) -> str | None:
        """The name the node must come up with, if the request settles it."""
        if self.name is None or self.namespace is None:
            return None
        return f'{self.namespace.rstrip("/")}/{self.name}'


def from_request(request: Any, process_args: Sequence[str] = ()) -> NodeArguments:
    """Check a composition_interfaces/LoadNode request (by its fields); raises ArgumentError.

    `process_args` are the container's own ROS arguments; a node gets them only if it asks with
    `forward_global_arguments`, after its own, since the first matching rule wins.
    """
    extra = _extra_arguments(request.extra_arguments)
    name = request.node_name or None
    namespace = request.node_namespace or None
    if name is not None and not _fits(_NAME, name):
        raise ArgumentError(f'node_name {name!r}: must be letters, digits and underscores, not '
                            f'begin with a digit, and have at most {MAX_NAME_LENGTH} characters')
    if namespace is not None:
        namespace = namespace if namespace.startswith('/') else '/' + namespace
        if not _fits(_NAMESPACE, namespace):
            raise ArgumentError(f'node_namespace {request.node_namespace!r}: must be names '
                                'separated by slashes, as in /robot1/arm')
    if request.log_level and request.log_level not in LOG_LEVELS:
        raise ArgumentError(f'log_level {request.log_level}: must be 0 (unchanged), '
                            f'{", ".join(map(str, LOG_LEVELS))}')
    if len(request.parameters) > MAX_PARAMETERS:
        raise ArgumentError(f'{len(request.parameters)} parameters: {MAX_PARAMETERS} is the limit')

    rules = [f'__node:={name}'] if name is not None else []
    rules += [f'__ns:={namespace}'] if namespace is not None else []
    rules += _remap_rules(request.remap_rules)
    cli_args = [item for rule in rules for item in ('-r', rule)]
    if extra.get('forward_global_arguments'):
        cli_args += forwardable(process_args)
    return NodeArguments(
        cli_args=('--ros-args', *cli_args),
        name=name, namespace=namespace, log_level=request.log_level or None,
        intra_process=extra.get('use_intra_process_comms', False),
        node_options={name: extra[name] for name in NODE_OPTIONS if name in extra})


def split_ros_args(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split a command line into what is the program's and what stands in `--ros-args .. [--]`."""
    own: list[str] = []
    ros: list[str] = []
    inside = False
    for item in argv:
        if item == '--ros-args':
            inside = True
        elif inside and item == '--':
            inside = False
        else:
            (ros if inside else own).append(item)
    return own, ros


def forwardable(ros_args: Sequence[str]) -> list[str]:
    """The remaps and parameters of a process's ROS arguments, without its own new name.

    A rule that is addressed (`some_node:__ns:=/a`) stays, because it names whom it renames.
    """
    kept = []
    for flag, value in itertools.pairwise(ros_args):
        if flag in ('-r', '--remap') and not _RENAMES.fullmatch(value):
            kept += ['-r', value]
        elif flag in ('-p', '--param', '--params-file'):
            kept += [flag, value]
    return kept


def _extra_arguments(arguments: Sequence[Any]) -> dict[str, bool]:
    values = {}
    for argument in arguments:
        if argument.name not in EXTRA_ARGUMENTS:
            raise ArgumentError(f'extra argument {argument.name!r} is unknown to this container; '
                                f'it knows {", ".join(EXTRA_ARGUMENTS)}')
        if argument.value.type != PARAMETER_BOOL:
            raise ArgumentError(f'extra argument {argument.name!r} must be true or false')
        values[argument.name] = argument.value.bool_value
    return values


def _remap_rules(rules: Sequence[str]) -> list[str]:
    if len(rules) > MAX_RULES:
        raise ArgumentError(f'{len(rules)} remap_rules: {MAX_RULES} is the limit')
    for rule in rules:
        match, separator, replacement = rule.partition(':=')
        if not separator or not match or not replacement or re.search(r'\s', rule):
            raise ArgumentError(f"remap rule {rule!r}: must be 'from:=to' without blanks")
    return list(rules)


def _fits(pattern: re.Pattern[str], text: str) -> bool:
    return len(text) <= MAX_NAME_LENGTH and pattern.fullmatch(text) is not None
