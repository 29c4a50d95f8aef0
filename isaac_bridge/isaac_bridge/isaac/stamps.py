"""Watches a running front end: whether all of one instant carries exactly one stamp.

    python -m isaac_bridge.isaac.stamps --cycles 1000 [--rtx rtx]

An instant counts as soon as the next but one has begun, so that what is under way is not missed.
With --rtx the ray-traced scan has to be there too, under the same stamp: its lag is then 0 frames.
"""

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

TOPICS = ('/clock', 'scan', 'odom', 'joint_states', 'tf')
GRACE = 2           # instants that may begin before one is judged


class Instants:
    """Collects the stamps of topics; the first of them gives the beat. Pure."""

    def __init__(self, topics: Iterable[str]) -> None:
        self.topics = tuple(topics)
        self._heard: dict[int, set[str]] = {}
        self._beats: list[int] = []
        self.judged = self.equal = 0
        self.missing = dict.fromkeys(self.topics, 0)
        self.strays = dict.fromkeys(self.topics, 0)     # stamps that no beat has
        self._first: int | None = None

    def heard(self, topic: str, stamp_ns: int) -> None:
        if topic == self.topics[0]:
            self._beats.append(stamp_ns)
            if self._first is None:
                self._first = stamp_ns
        self._heard.setdefault(stamp_ns, set()).add(topic)
        while len(self._beats) > GRACE:
            self._judge(self._beats.pop(0))

    def _judge(self, beat: int) -> None:
        heard = self._heard.pop(beat, set())
        for stamp in [stamp for stamp in self._heard if stamp < beat]:
            # What came before the first beat is not known to lack one.
            for topic in self._heard.pop(stamp):
                self.strays[topic] += stamp >= (self._first or 0)
        if beat == self._first:
            return          # its other messages may have left before the watch began
        self.judged += 1
        self.equal += heard >= set(self.topics)
        for topic in set(self.topics) - heard:
            self.missing[topic] += 1


@dataclasses.dataclass(frozen=True)
class Result:
    equal: int
    judged: int
    sentence: str


def watch(cycles: int, rtx: str | None = None, wait_s: float = 30.0,
          now_s: Callable[[], float] = time.monotonic) -> Result:
    """Listens until so many instants are judged, or nothing has come for wait_s."""
    import rclpy
    from nav_msgs.msg import Odometry
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from rosgraph_msgs.msg import Clock
    from sensor_msgs.msg import JointState, LaserScan
    from tf2_msgs.msg import TFMessage
    kinds: dict[str, Any] = dict(zip(TOPICS, (Clock, LaserScan, Odometry, JointState, TFMessage),
                                     strict=True))
    if rtx is not None:
        kinds[f'{rtx}/scan'] = LaserScan
    instants = Instants(kinds)
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node('stamps', context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    many = QoSProfile(depth=200, reliability=ReliabilityPolicy.BEST_EFFORT)

    def note(topic: str, message: Any) -> None:
        stamp = stamp_of(message)
        instants.heard(topic, stamp.sec * 1_000_000_000 + stamp.nanosec)

    try:
        for topic, kind in kinds.items():
            node.create_subscription(kind, topic, partial(note, topic), many)
        newest, last_s = 0, now_s()
        while instants.judged < cycles and now_s() - last_s < wait_s:
            executor.spin_once(timeout_sec=0.2)
            if instants.judged != newest:
                newest, last_s = instants.judged, now_s()
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown(context=context)
    return judged(instants, cycles)


def stamp_of(message: Any) -> Any:
    if hasattr(message, 'clock'):
        return message.clock
    return (message.transforms[0] if hasattr(message, 'transforms') else message).header.stamp


def judged(instants: Instants, cycles: int) -> Result:
    """What came of it, in a sentence."""
    said = f'{instants.equal} of {instants.judged} instants, {len(instants.topics)} topics'
    if instants.judged < cycles:
        said += f'; only {instants.judged} of {cycles} came'
    for name, counts in (('missing', instants.missing), ('stray', instants.strays)):
        some = {topic: count for topic, count in counts.items() if count}
        if some:
            said += f'; {name}: ' + ', '.join(f'{topic} {count}' for topic, count in some.items())
    return Result(instants.equal, max(instants.judged, cycles), said)


def main(arguments: list[str] | None = None) -> int:
    """0 if every stamp was equal."""
    parser = argparse.ArgumentParser(prog='isaac_bridge.isaac.stamps', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--cycles', type=int, default=1000)
    parser.add_argument('--rtx', nargs='?', const='rtx')
    options = parser.parse_args(arguments)
    result = watch(options.cycles, options.rtx)
    print(result.sentence)
    return int(result.equal < result.judged)


if __name__ == '__main__':
    sys.exit(main())
