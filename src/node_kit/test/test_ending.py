"""A node that is told to end does so at once, and in order, idle or busy."""

import os
import signal
import subprocess
import sys
import time

import pytest

NODE = '''
import sys, rclpy
from rclpy.signals import SignalHandlerOptions
from node_kit.ending import spin_until_told
rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
node = rclpy.create_node('ending')
if sys.argv[1] == 'busy':
    node.create_timer(0.001, lambda: sum(range(1000)))
destroy = node.destroy_node
node.destroy_node = lambda: (print('destroyed', flush=True), destroy())
node.create_timer(0.2, lambda: print('up', flush=True)).clock
spin_until_told(node)
print('context', rclpy.ok(), flush=True)
'''


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize('load', ['idle', 'busy'])
def test_a_signal_ends_it_cleanly(number, load, tmp_path):
    env = os.environ | {'ROS_DOMAIN_ID': '61', 'ROS_LOG_DIR': str(tmp_path)}
    process = subprocess.Popen([sys.executable, '-c', NODE, load], env=env, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline() == 'up\n'
    begin = time.monotonic()
    process.send_signal(number)
    output, errors = process.communicate(timeout=20)
    assert time.monotonic() - begin < 10
    assert process.returncode == 0, errors
    assert output.splitlines()[-2:] == ['destroyed', 'context False']
    assert errors == ''
