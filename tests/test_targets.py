"""Every target starts: its nodes, their parameters and who publishes what, on the embedded world.

The robot's drivers are replaced by the simulated aisle (hardware:=world); everything else is what
the target runs. One system at a time, each in its own domain.
"""

import os
import tempfile
import time
import unittest

os.environ['ROS_DOMAIN_ID'] = '81'

import launch_testing
import pytest
import rclpy
from launch.actions import SetLaunchConfiguration
from launch_testing.actions import ReadyToTest
from launch_testing.asserts import assertExitCodes
from lifecycle_msgs.srv import GetState
from rcl_interfaces.srv import GetParameters
from rclpy.executors import SingleThreadedExecutor

from bringup.launch_target import target_launch_description
from launch import LaunchDescription

NODES = {'safety_reflex', 'safety_monitor', 'policy_client', 'edge_case_recorder', 'world', 'brain',
         'recorder', 'people'}
# topic -> the only node that may publish it
PUBLISHERS = {'cmd_vel': 'safety_reflex', 'policy/cmd_vel': 'policy_client', 'scan': 'world',
              'odom': 'world', 'safety/state': 'safety_reflex', 'policy/status': 'policy_client',
              'recorder/event': 'edge_case_recorder', 'safety/markers': 'safety_monitor',
              # The watchdog is no node: it speaks DDS without rclpy.
              'safety/enable': '_CREATED_BY_BARE_DDS_APP_'}
LISTENERS = {'scan': 'safety_reflex', 'odom': 'safety_reflex', 'policy/cmd_vel': 'safety_reflex',
             'cmd_vel': 'world', 'safety/state': 'policy_client'}
TARGETS = {
    'orin_nano': {'policy_client.endpoints': ['cloud=grpc://triton.cloud.example:8001'],
                  'edge_case_recorder.budget_mb': 4.0, 'safety_reflex.realtime_priority': 80},
    'agx_orin': {'policy_client.endpoints': ['lan=grpc://triton.local:8001',
                                             'cloud=grpc://triton.cloud.example:8001'],
                 'edge_case_recorder.budget_mb': 64.0},
    'thor': {'policy_client.endpoints': ['onboard=grpc://127.0.0.1:8001',
                                         'cloud=grpc://triton.cloud.example:8001']},
    'dgx': {'policy_client.endpoints': ['local=grpc://127.0.0.1:8001'],
            'safety_reflex.realtime_priority': 0, 'edge_case_recorder.budget_mb': 256.0},
    'demo': {'policy_client.endpoints': ['desk=grpc://127.0.0.1:8001']},
}
NAMESPACE = 'robot_7'


@pytest.mark.rostest
@launch_testing.parametrize('target', list(TARGETS))
def generate_test_description(target):
    spool = tempfile.mkdtemp(prefix=f'spinal_{target}_')
    arguments = {'hardware': 'world', 'camera': 'off', 'namespace': NAMESPACE,
                 'spool_dir': f'{spool}/spool', 'black_box_dir': f'{spool}/black_box',
                 'bucket': f'file://{spool}/bucket'}
    return LaunchDescription([
        *(SetLaunchConfiguration(name, value) for name, value in arguments.items()),
        target_launch_description(target),
        ReadyToTest(),
    ])


class TestTarget(unittest.TestCase):
    """While it runs."""

    def setUp(self):
        rclpy.init()
        self.node = rclpy.create_node('observer')
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)

    def tearDown(self):
        self.node.destroy_node()
        rclpy.try_shutdown()

    def until(self, condition, what, seconds=30.0):
        end = time.monotonic() + seconds
        while True:
            missing = condition()
            if not missing:
                return
            self.assertLess(time.monotonic(), end, f'{what}: {missing}')
            self.executor.spin_once(timeout_sec=0.1)

    def call(self, kind, name, request):
        client = self.node.create_client(kind, f'/{NAMESPACE}/{name}')
        self.until(lambda: not client.service_is_ready(), f'service {name}')
        future = client.call_async(request)
        self.until(lambda: not future.done(), f'answer of {name}')
        return future.result()

    def test_nodes_parameters_and_graph(self, target):
        self.until(lambda: NODES - {
            name for name, space in self.node.get_node_names_and_namespaces()
            if space == f'/{NAMESPACE}'}, 'nodes')
        for name in ('policy_client', 'edge_case_recorder'):
            self.until(lambda name=name: self.call(GetState, f'{name}/get_state',
                       GetState.Request()).current_state.label != 'active', f'{name} active')
        for key, wanted in TARGETS[target].items():
            name, parameter = key.split('.')
            answer = self.call(GetParameters, f'{name}/get_parameters',
                               GetParameters.Request(names=[parameter])).values[0]
            found = rclpy.parameter.parameter_value_to_python(answer)
            self.assertEqual(list(found) if isinstance(wanted, list) else found, wanted, key)
        for topic, name in PUBLISHERS.items():
            self.until(lambda topic=topic, name=name: self.other_than(
                self.node.get_publishers_info_by_topic(f'/{NAMESPACE}/{topic}'), [name]),
                f'publishers of {topic}')
        for topic, name in LISTENERS.items():
            self.until(lambda topic=topic, name=name: name not in {
                info.node_name for info in
                self.node.get_subscriptions_info_by_topic(f'/{NAMESPACE}/{topic}')} and 'absent',
                f'subscriptions of {topic}')

    @staticmethod
    def other_than(infos, wanted):
        found = sorted(info.node_name for info in infos)
        return None if found == wanted else found or 'nobody'


@launch_testing.post_shutdown_test()
class TestShutdown(unittest.TestCase):

    def test_every_process_ended_well(self, proc_info):
        assertExitCodes(proc_info)
