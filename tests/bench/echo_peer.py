"""The floor of the reflex bench: a bare rclpy node that answers every scan with its stamp.

The same executor, priority, raw subscription and serialised publishing as the reflex, and nothing
in between.
"""

import contextlib

import rclpy
from geometry_msgs.msg import TwistStamped
from rclpy.executors import ExternalShutdownException
from rclpy.experimental import EventsExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import LaserScan

from safety_reflex.cdr import TwistStampedWriter
from safety_reflex.realtime import freeze_memory, prepare


def main() -> None:
    prepare(80, -1)
    rclpy.init()
    node = rclpy.create_node('echo')
    writer = TwistStampedWriter('base_link')
    publisher = node.create_publisher(TwistStamped, 'cmd_vel', 1)

    def answer(data: bytes) -> None:
        stamp_ns = (int.from_bytes(data[4:8], 'little') * 1_000_000_000
                    + int.from_bytes(data[8:12], 'little'))
        publisher.publish(writer.write(stamp_ns, 0.0, 0.0))

    node.create_subscription(
        LaserScan, 'scan', answer,
        QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT), raw=True)
    executor = EventsExecutor()
    executor.add_node(node)
    freeze_memory()
    with contextlib.suppress(ExternalShutdownException, KeyboardInterrupt):
        executor.spin()


if __name__ == '__main__':
    main()
