"""The processes around the recorder: a robot that publishes, and a subscriber that only counts.

    python recorder_robot.py publish SCALE FILE     # until its input ends: then when each was sent
    python recorder_robot.py count                  # one command a line: on, off

The robot has 20 topics, 27.8 MB/s and 894 messages a second together, times SCALE in rate. Every
message carries its number; its time of sending (steady clock, ns) is written to FILE, an .npz with
one array a topic. `off` prints {received, missing} since `on`, by the numbers.
"""

import json
import os
import queue
import struct
import sys
import threading
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

NUMBER, NUMBER_AT = struct.Struct('<I'), 16   # behind the CDR header, layout and length
# Bytes and Hz of each topic.
TOPICS = ([(921_600, 12.0)] * 2            # two cameras, 640 x 480 RGB
          + [(300_000, 10.0)]              # a point cloud
          + [(10_000, 40.0)] * 5           # lidars
          + [(1_000, 100.0)] * 6           # joints, odometry, commands
          + [(300, 10.0)] * 6)             # statuses
MB_PER_S = sum(size * rate for size, rate in TOPICS) / 1e6
READY = 'ready'
_COUNTER_DEPTH = 100   # as many as the recorder's queue_depth
_COMMAND_S = 0.02


def name_of(number: int) -> str:
    return f'/load/t{number}'


def publish(scale: float, log: Path) -> None:
    """The robot, until its input ends."""
    import numpy as np
    import rclpy
    from rclpy.clock import Clock, ClockType
    from rclpy.experimental import EventsExecutor
    from rclpy.serialization import serialize_message
    from std_msgs.msg import UInt8MultiArray
    rclpy.init()
    node = rclpy.create_node('robot')
    steady = Clock(clock_type=ClockType.STEADY_TIME)
    sent_ns: list[array[int]] = [array('q') for _ in TOPICS]

    def sender(number: int, data: bytearray) -> Callable[[], None]:
        publisher = node.create_publisher(UInt8MultiArray, name_of(number), 10)
        times = sent_ns[number]

        def send() -> None:
            NUMBER.pack_into(data, NUMBER_AT, len(times))
            times.append(time.monotonic_ns())
            publisher.publish(bytes(data))
        return send
    for number, (size, rate) in enumerate(TOPICS):
        # Half noise, half not: about as compressible as a camera's picture.
        data = bytearray(serialize_message(
            UInt8MultiArray(data=os.urandom(size // 2) + bytes(size - size // 2))))
        node.create_timer(1.0 / (rate * scale), sender(number, data), clock=steady)

    def end() -> None:
        sys.stdin.read()
        np.savez(log, *(np.array(times) for times in list(sent_ns)))
        os._exit(0)
    _spin(node, EventsExecutor(), end)


def count() -> None:
    """The bare minimum of a recorder: the same subscriptions, and a counter."""
    import rclpy
    from rclpy.experimental import EventsExecutor
    from rclpy.qos import QoSProfile
    from std_msgs.msg import UInt8MultiArray
    rclpy.init()
    node = rclpy.create_node('counter')
    commands: queue.SimpleQueue[str] = queue.SimpleQueue()
    subscriptions: list[Any] = []
    found = {'received': 0, 'missing': 0}

    def counter() -> Callable[[bytes], None]:
        last = -1

        def add(data: bytes) -> None:
            nonlocal last
            number = NUMBER.unpack_from(data, NUMBER_AT)[0]
            found['received'] += 1
            if last >= 0:
                found['missing'] += number - last - 1
            last = number
        return add

    def obey() -> None:
        while not commands.empty():
            if commands.get() == 'on':
                found.update(received=0, missing=0)
                subscriptions.extend(node.create_subscription(
                    UInt8MultiArray, name_of(number), counter(), QoSProfile(depth=_COUNTER_DEPTH),
                    raw=True) for number in range(len(TOPICS)))
            else:
                while subscriptions:
                    node.destroy_subscription(subscriptions.pop())
                print(json.dumps(found), flush=True)
    node.create_timer(_COMMAND_S, obey)

    def listen() -> None:
        for line in sys.stdin:
            commands.put(line.strip())
        os._exit(0)
    _spin(node, EventsExecutor(), listen)


def _spin(node: Any, executor: Any, beside: Callable[[], None]) -> None:
    executor.add_node(node)
    threading.Thread(target=beside, daemon=True).start()
    print(READY, flush=True)
    executor.spin()


if __name__ == '__main__':
    if sys.argv[1] == 'publish':
        publish(float(sys.argv[2]), Path(sys.argv[3]))
    else:
        count()
