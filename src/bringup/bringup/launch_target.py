"""From a target to launch actions. What decides lies in target.py; this only translates."""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    LogInfo,
    OpaqueFunction,
    SetEnvironmentVariable,
)
from launch.events import Shutdown
from launch_ros.actions import ComposableNodeContainer, LifecycleTransition, Node
from launch_ros.descriptions import ComposableNode
from launch_ros.substitutions import ExecutableInPackage
from launch_ros.utilities import LifecycleEventManager
from lifecycle_msgs.msg import Transition

from bringup.target import NodeSpec, Profile, Target, TargetError
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity

# Longer than a container gives its nodes: who is told twice must not be killed amid the first.
_STOP_GRACE_S = '8'


def share() -> Path:
    """Where config/ and launch/ are installed."""
    return Path(get_package_share_directory('bringup'))


def target_launch_description(name: str) -> LaunchDescription:
    """The launch description of config/targets/<name>.yaml."""
    try:
        profile = Profile(share() / 'config', name)
    except TargetError as error:
        return _refusal(str(error))
    declarations = [DeclareLaunchArgument(argument, default_value=a.default, description=a.text)
                    for argument, a in profile.arguments.items()]
    return LaunchDescription([*declarations,
                              OpaqueFunction(function=lambda context: _start(context, profile))])


def _refusal(sentence: str) -> LaunchDescription:
    return LaunchDescription([LogInfo(msg=f'[ERROR] {sentence}'),
                              EmitEvent(event=Shutdown(reason=sentence))])


def _start(context: LaunchContext, profile: Profile) -> list[LaunchDescriptionEntity]:
    values = {name: context.launch_configurations[name] for name in profile.arguments}
    try:
        target = profile.resolve(values)
    except TargetError as error:
        return list(_refusal(str(error)).entities)
    namespace = values.get('namespace', '')
    actions: list[LaunchDescriptionEntity] = [
        SetEnvironmentVariable(key, value) for key, value in target.environment.items()]
    actions += [_process(node, namespace) for node in target.nodes if node.container is None]
    actions += [_container(target, name, namespace) for name in target.containers]
    for node in target.nodes:
        if node.lifecycle:
            actions.append(_activate(context, _full_name(namespace, node.name)))
    return actions


def _process(node: NodeSpec, namespace: str) -> LaunchDescriptionEntity:
    if not node.ros:
        return ExecuteProcess(
            cmd=[ExecutableInPackage(node.executable, node.package), *node.arguments],
            name=node.name, sigterm_timeout=_STOP_GRACE_S,
            output='screen', respawn=node.respawn, respawn_delay=1.0)
    return Node(package=node.package, executable=node.executable, name=node.name,
                namespace=namespace, parameters=[dict(node.parameters)],
                remappings=list(node.remappings), arguments=list(node.arguments),
                output='screen', respawn=node.respawn, respawn_delay=1.0,
                sigterm_timeout=_STOP_GRACE_S)


def _container(target: Target, name: str, namespace: str) -> LaunchDescriptionEntity:
    components = [
        ComposableNode(package=node.package, plugin=f'{node.package}::{node.plugin}',
                       name=node.name, namespace=namespace, parameters=[dict(node.parameters)],
                       remappings=list(node.remappings))
        for node in target.of_container(name)]
    return ComposableNodeContainer(
        package='component_container', executable='component_container', name=name,
        namespace=namespace, arguments=['--executor', target.containers[name]],
        composable_node_descriptions=components, output='screen', sigterm_timeout=_STOP_GRACE_S)


class _Managed:
    """What LifecycleEventManager wants to know of a node: its full name.

    launch_ros's own ComposableLifecycleNode joins namespace and name without a slash.
    """

    def __init__(self, node_name: str) -> None:
        self.node_name = node_name


def _activate(context: LaunchContext, full_name: str) -> LaunchDescriptionEntity:
    LifecycleEventManager(_Managed(full_name)).setup_lifecycle_manager(context)
    return LifecycleTransition(
        lifecycle_node_names=[full_name],
        transition_ids=[Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE])


def _full_name(namespace: str, name: str) -> str:
    return '/' + '/'.join(part for part in (namespace.strip('/'), name) if part)
