"""What recording costs: the real node under 20 topics, beside a subscriber that only counts.

    ./dev shell python tests/bench/recorder_load.py [--seconds 20] [--scale 1]

A robot's process publishes serialized messages; the recorder runs in another, and the share of a
core that it takes is measured while it waits and while a case is always open. Prints JSON.
"""

import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
from mcap.reader import make_reader

_NUMBER, _NUMBER_AT = struct.Struct('<I'), 16   # behind the CDR header, layout and length
SIZES_AND_RATES = ([(921_600, 12.0)] * 2            # two cameras, 640 x 480 RGB
                   + [(300_000, 10.0)]              # a point cloud
                   + [(10_000, 40.0)] * 5           # lidars
                   + [(1_000, 100.0)] * 6           # joints, odometry, commands
                   + [(300, 10.0)] * 6)             # statuses


def publish(scale: float) -> None:
    """The robot: publishes until its input ends, then prints how many messages of each topic."""
    import rclpy
    from rclpy.clock import Clock, ClockType
    from rclpy.experimental import EventsExecutor
    from rclpy.serialization import serialize_message
    from std_msgs.msg import UInt8MultiArray
    rclpy.init()
    node = rclpy.create_node('robot')
    steady = Clock(clock_type=ClockType.STEADY_TIME)
    sent: dict[str, int] = {}

    def sender(topic: str, data: bytearray):
        publisher = node.create_publisher(UInt8MultiArray, topic, 10)

        def send() -> None:
            number = sent.get(topic, 0)
            _NUMBER.pack_into(data, _NUMBER_AT, number)
            publisher.publish(bytes(data))
            sent[topic] = number + 1
        return send
    for number, (size, rate) in enumerate(SIZES_AND_RATES):
        # Half noise, half not: about as compressible as a camera's picture.
        data = bytearray(serialize_message(
            UInt8MultiArray(data=os.urandom(size // 2) + bytes(size // 2))))
        node.create_timer(1.0 / (rate * scale), sender(f'load/t{number}', data), clock=steady)
    executor = EventsExecutor()
    executor.add_node(node)

    def end() -> None:
        sys.stdin.read()
        print(json.dumps(sent), flush=True)
        os._exit(0)
    threading.Thread(target=end, daemon=True).start()
    executor.spin()


def count() -> None:
    """The bare minimum of a recorder: the same subscriptions, and a counter."""
    import rclpy
    from rclpy.experimental import EventsExecutor
    from rclpy.qos import QoSProfile
    from std_msgs.msg import UInt8MultiArray
    rclpy.init()
    node = rclpy.create_node('counter')
    missing: dict[str, int] = {}

    def counter(topic: str):
        last = -1

        def add(data: bytes) -> None:
            nonlocal last
            number = _NUMBER.unpack_from(data, _NUMBER_AT)[0]
            if last >= 0:
                missing[topic] = missing.get(topic, 0) + number - last - 1
            last = number
        return add
    for number in range(len(SIZES_AND_RATES)):
        node.create_subscription(UInt8MultiArray, f'load/t{number}', counter(f'/load/t{number}'),
                                 QoSProfile(depth=100), raw=True)
    executor = EventsExecutor()
    executor.add_node(node)

    def end() -> None:
        sys.stdin.read()
        print(json.dumps(missing), flush=True)
        os._exit(0)
    threading.Thread(target=end, daemon=True).start()
    executor.spin()


class Load:
    """The robot's process and a listener's; both end when the block does."""

    def __init__(self, listener: list[str], scale: float) -> None:
        self._robot_command = [sys.executable, __file__, 'publish', '--scale', str(scale)]
        self._listener_command = listener

    def __enter__(self) -> 'Load':
        self.listener = _start(self._listener_command)
        self.robot = _start(self._robot_command)
        self.process = psutil.Process(self.listener.pid)
        return self

    def __exit__(self, *_) -> None:
        for process in (self.robot, self.listener):
            process.kill()
            process.communicate()

    def share(self, seconds: float) -> float:
        """Of one core, over so many seconds."""
        before = sum(self.process.cpu_times()[:2])
        time.sleep(seconds)
        return (sum(self.process.cpu_times()[:2]) - before) / seconds


def measure(seconds: float, scale: float, compression: str) -> dict:
    figures: dict = {'topics': len(SIZES_AND_RATES), 'compression': compression, 'mb_per_s': round(
        sum(size * rate for size, rate in SIZES_AND_RATES) * scale / 1e6, 1)}
    with Load([sys.executable, __file__, 'count'], scale) as load:
        time.sleep(3.0)
        figures['counting_share'] = round(load.share(seconds), 3)
        figures['counting_gaps'] = sum(_counts(load.listener).values())
    with tempfile.TemporaryDirectory() as folder, \
            Load([sys.executable, '-m', 'edge_case_recorder.node', '--ros-args',
                  '-p', f'spool_dir:={folder}', '-p', 'topics:=["load/*"]',
                  '-p', 'budget_mb:=256.0', '-p', 'before_s:=4.0', '-p', 'after_s:=2.0',
                  '-p', f'compression:={compression}',
                  '-p', 'min_free_bytes:=0', '-p', 'robot_id:=bench'], scale) as load:
        operator = Operator()
        operator.activate()
        time.sleep(6.0)
        figures['idle_share'] = round(load.share(seconds), 3)
        figures['rss_mb'] = round(load.process.memory_info().rss / 1e6)
        operator.mark_every(5.0)   # windows of 6 s: a case is always open
        figures['recording_share'] = round(load.share(seconds), 3)
        operator.mark_every(None)
        time.sleep(4.0)
        cases = [json.loads(path.read_text()) for path in Path(folder).glob('*/manifest.json')]
        figures['messages_in_cases'] = sum(case['messages'] for case in cases)
        figures['gaps_in_cases'] = sum(map(gaps, Path(folder).glob('*/*.mcap')))
        figures['cases'] = len(cases)
        figures['case_mb'] = round(cases[0]['files'][0]['bytes'] / 1e6, 1)
        figures['incomplete_cases'] = sum(not case['window']['complete'] for case in cases)
        figures['evicted'] = int(operator.health['evicted_by_budget'])
    return figures


def gaps(path: Path) -> int:
    """Numbers that are missing between the first and the last of each topic."""
    numbers: dict[str, list[int]] = {}
    with open(path, 'rb') as file:
        for _, channel, message in make_reader(file).iter_messages():
            number = _NUMBER.unpack_from(message.data, _NUMBER_AT)[0]
            numbers.setdefault(channel.topic, []).append(number)
    return sum(max(seen) - min(seen) + 1 - len(set(seen)) for seen in numbers.values())


class Operator:
    """Activates the recorder, marks, and hears its diagnostics."""

    def __init__(self) -> None:
        import rclpy
        from diagnostic_msgs.msg import DiagnosticArray
        from lifecycle_msgs.srv import ChangeState
        from rclpy.executors import SingleThreadedExecutor
        from std_srvs.srv import Trigger
        rclpy.init()
        self.health: dict[str, str] = {}
        self._node = rclpy.create_node('operator')
        self._node.create_subscription(DiagnosticArray, 'diagnostics', self._hear, 10)
        self._change = self._node.create_client(ChangeState, 'edge_case_recorder/change_state')
        self._mark = self._node.create_client(Trigger, 'recorder/mark')
        self._timer = None
        executor = SingleThreadedExecutor()
        executor.add_node(self._node)
        threading.Thread(target=executor.spin, daemon=True).start()

    def activate(self) -> None:
        from lifecycle_msgs.msg import Transition
        from lifecycle_msgs.srv import ChangeState
        if not self._change.wait_for_service(10.0):
            raise SystemExit('the recorder did not come up')
        time.sleep(1.0)
        for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
            self._change.call(ChangeState.Request(transition=Transition(id=transition)))

    def mark_every(self, seconds: float | None) -> None:
        from std_srvs.srv import Trigger
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
        self._timer = None
        if seconds is not None:
            self._mark.call_async(Trigger.Request())
            self._timer = self._node.create_timer(
                seconds, lambda: self._mark.call_async(Trigger.Request()))

    def _hear(self, message) -> None:
        for status in message.status:
            if status.name == 'edge_case_recorder':
                self.health = {pair.key: pair.value for pair in status.values}


def _counts(process: subprocess.Popen) -> dict[str, int]:
    """What it prints at its end; rcl may have printed warnings before."""
    return json.loads(process.communicate('')[0].splitlines()[-1])


def _start(command: list[str]) -> subprocess.Popen:
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL, text=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('part', nargs='?', choices=('all', 'publish', 'count'), default='all')
    parser.add_argument('--seconds', type=float, default=20.0, help='of each measurement')
    parser.add_argument('--scale', type=float, default=1.0, help='of all rates; 3 is 84 MB/s')
    parser.add_argument('--compression', choices=('zstd', 'lz4', 'none'), default='zstd')
    options = parser.parse_args()
    if options.part == 'publish':
        publish(options.scale)
    elif options.part == 'count':
        count()
    else:
        os.environ.setdefault('ROS_DOMAIN_ID', '49')
        print(json.dumps(measure(options.seconds, options.scale, options.compression), indent=2))


if __name__ == '__main__':
    main()
