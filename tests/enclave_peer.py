"""A process in an enclave (or in none) that tries to speak; what came of it is printed as JSON.

    enclave_peer.py try <enclave> <topic> ..            which of these publishers can be made?
    enclave_peer.py shout <enclave or -> <seconds>      a false cmd_vel and a false scan
"""

import json
import sys
import time

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TwistStamped
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import LaserScan
from std_msgs.msg import Bool, UInt64

FALSE_SPEED = 9.0
TYPES = {'cmd_vel': TwistStamped, 'teleop/cmd_vel': TwistStamped, 'policy/cmd_vel': TwistStamped,
         'scan': LaserScan, 'safety/state': DiagnosticArray, 'safety/heartbeat': UInt64}


def attempt(node, topics):
    """{topic: whether its publisher could be made}."""
    made = {}
    for topic in topics:
        try:
            node.create_publisher(TYPES.get(topic, Bool), topic, 1)
            made[topic] = True
        except RuntimeError:
            made[topic] = False
    return made


def shout(node, seconds):
    """How many ever matched, and how much was heard, while it shouted."""
    heard = []
    command = node.create_publisher(TwistStamped, 'cmd_vel', 1)
    scan = node.create_publisher(LaserScan, 'scan', 1)
    node.create_subscription(TwistStamped, 'cmd_vel', heard.append, 1)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    matched = {'cmd_vel': 0, 'scan': 0}
    false = TwistStamped()
    false.twist.linear.x = FALSE_SPEED
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        command.publish(false)
        scan.publish(LaserScan(ranges=[0.1] * 720))
        executor.spin_once(timeout_sec=0.02)
        # One subscription of cmd_vel is its own.
        matched['cmd_vel'] = max(matched['cmd_vel'], command.get_subscription_count() - 1)
        matched['scan'] = max(matched['scan'], scan.get_subscription_count())
    others = sum(message.twist.linear.x != FALSE_SPEED for message in heard)
    return {'matched': matched, 'heard': others}


def main():
    what, enclave, *rest = sys.argv[1:]
    rclpy.init(args=[] if enclave == '-' else ['--ros-args', '--enclave', enclave])
    node = rclpy.create_node('peer')
    print(json.dumps(attempt(node, rest) if what == 'try' else shout(node, float(rest[0]))))


if __name__ == '__main__':
    main()
