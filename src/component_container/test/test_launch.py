"""launch_ros's own ComposableNodeContainer and LoadComposableNodes against the container."""

import contextlib
import os
import tempfile
import unittest
from pathlib import Path
from typing import Any

import launch_testing.actions
import launch_testing.asserts
import pytest
import yaml
from container_harness import Client, free_domain, install
from launch.actions import GroupAction
from launch_ros.actions import (
    ComposableNodeContainer,
    LoadComposableNodes,
    PushRosNamespace,
    SetParameter,
    SetRemap,
)
from launch_ros.descriptions import ComposableNode
from rcl_interfaces.srv import GetParameters
from std_msgs.msg import Int64

from launch import LaunchDescription

PACKAGE = 'demo_components'
HELD = contextlib.ExitStack()  # given back by the last test
NODES = {'/fleet/r1/talker_1', '/fleet/r1/ear', '/late/relay', '/late/strict'}


@pytest.mark.rostest
def generate_test_description() -> LaunchDescription:
    folder = Path(HELD.enter_context(tempfile.TemporaryDirectory()))
    patch = HELD.enter_context(pytest.MonkeyPatch.context())
    patch.setenv('ROS_DOMAIN_ID', str(HELD.enter_context(free_domain())))
    patch.setenv('ROS_LOG_DIR', str(folder))
    patch.setenv('PYTHONPATH', str(install(folder)), prepend=os.pathsep)
    parameter_file = folder / 'strict.yaml'
    parameter_file.write_text(yaml.safe_dump(
        {'/**': {'ros__parameters': {'bool': True, 'string_array': ['a', 'b']}}}))

    container = ComposableNodeContainer(
        name='box', namespace='fleet', package='component_container',
        executable='component_container', arguments=['--executor', 'events'],
        parameters=[{'diagnostics_period_s': 0.2, 'executor': 'single'}],
        composable_node_descriptions=[
            ComposableNode(package=PACKAGE, plugin='demo_components::Talker', name='talker_1',
                           namespace='/fleet/r1', parameters=[{'rate_hz': 50.0}],
                           extra_arguments=[{'use_intra_process_comms': True}]),
            ComposableNode(package=PACKAGE, plugin='demo_components::Relay', name='ear',
                           namespace='/fleet/r1', remappings=[('relayed', '/heard')]),
        ])
    late = GroupAction([
        PushRosNamespace('late'),
        SetRemap('chatter', '/fleet/r1/chatter'),
        SetParameter('use_sim_time', False),
        LoadComposableNodes(target_container='/fleet/box', composable_node_descriptions=[
            ComposableNode(package=PACKAGE, plugin='demo_components::Relay'),
            ComposableNode(package=PACKAGE, plugin='demo_components::Nope', name='nope'),
            ComposableNode(package=PACKAGE, plugin='demo_components.nodes.Parametrised',
                           name='strict', parameters=[str(parameter_file), {'integer': 7}]),
        ]),
    ])
    return LaunchDescription([container, late, launch_testing.actions.ReadyToTest()])


class TestRunning(unittest.TestCase):
    def setUp(self) -> None:
        self.client = Client(int(os.environ['ROS_DOMAIN_ID']))

    def tearDown(self) -> None:
        self.client.close()

    def test_names_remaps_and_parameters_arrive(self) -> None:
        client = self.client
        client.spin_until(lambda: NODES | {'/fleet/box'} <= client.names(), 'the nodes')
        heard, relayed = client.collect(Int64, '/heard'), client.collect(Int64, '/late/relayed')
        client.spin_until(lambda: heard and relayed, 'messages through both relays')
        for node, name, field, value in (
                ('/fleet/r1/talker_1', 'rate_hz', 'double_value', 50.0),
                ('/late/strict', 'integer', 'integer_value', 7),
                ('/late/strict', 'bool', 'bool_value', True),
                ('/late/strict', 'string_array', 'string_array_value', ['a', 'b']),
                ('/fleet/box', 'executor', 'string_value', 'events')):
            got = client.call(GetParameters, f'{node}/get_parameters',
                              GetParameters.Request(names=[name]))
            assert getattr(got.values[0], field) == value
        assert '/nope' not in client.names()

    def test_the_bad_plugin_is_in_the_log(self, proc_output: Any) -> None:
        proc_output.assertWaitFor("package 'demo_components' does not offer the plugin "
                                  "'demo_components::Nope'", timeout=10)


@launch_testing.post_shutdown_test()
class TestEnd(unittest.TestCase):
    @classmethod
    def tearDownClass(cls) -> None:
        HELD.close()

    def test_it_ended_cleanly(self, proc_info: Any) -> None:
        launch_testing.asserts.assertExitCodes(proc_info, allowable_exit_codes=[0])
