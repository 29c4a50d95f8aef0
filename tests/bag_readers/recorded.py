"""Cases of the real recorder (ring, worker, spool), and exactly what each bag must hold.

    python recorded.py SPOOL T0_NS SEED    records, flushes, and is killed before the case ends
"""

import os
import random
import signal
import struct
import sys
import threading
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import TransformStamped, TwistStamped
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image, JointState, LaserScan
from std_msgs.msg import MultiArrayDimension, String, UInt8MultiArray
from tf2_msgs.msg import TFMessage

from edge_case_recorder import manifest
from edge_case_recorder.bag import TopicInfo
from edge_case_recorder.definitions import find_definition
from edge_case_recorder.qos import Qos
from edge_case_recorder.recording import Recording
from edge_case_recorder.ring import Ring
from edge_case_recorder.spool import Spool
from edge_case_recorder.triggers import Trigger
from edge_case_recorder.worker import Identity, Worker

MS = 1_000_000
STAMP_NS = 1_795_435_200_123_456_789   # UTC of the trigger; not a multiple of anything
TRIGGER_MS, BEFORE_MS, AFTER_MS = 400, 300, 250
BUDGET = 200_000_000
LATCHED = Qos('reliable', 'transient_local', 'keep_last', 1)
SENSOR = Qos('best_effort')
HURRIED = Qos(deadline_ns=20 * MS, lifespan_ns=1_500 * MS, liveliness='manual_by_topic',
              liveliness_lease_ns=3_000 * MS)


@dataclass(frozen=True)
class Sent:
    """One message as it went into the ring; times in ns of UTC, as the bag must say them."""

    topic: str
    log_ns: int
    publish_ns: int
    data: bytes


def topic(name: str, type_name: str, *offers: Qos) -> TopicInfo:
    definition = find_definition(type_name)
    return TopicInfo(name, type_name, definition.type_hash, definition.text, offers or (Qos(),))


TOPICS = {each.name: each for each in (
    topic('/camera/front/image_raw', 'sensor_msgs/msg/Image', SENSOR),
    topic('/scan', 'sensor_msgs/msg/LaserScan', SENSOR),
    topic('/joint_states', 'sensor_msgs/msg/JointState', Qos(), SENSOR),   # two publishers
    topic('/task', 'std_msgs/msg/String', LATCHED),
    topic('/tf_static', 'tf2_msgs/msg/TFMessage', LATCHED, LATCHED),
    topic('/diagnostics', 'diagnostic_msgs/msg/DiagnosticArray'),
    topic('/cmd_vel', 'geometry_msgs/msg/TwistStamped', HURRIED),
    topic('/safety/record', 'std_msgs/msg/UInt8MultiArray'),
    topic('/goal_pose', 'geometry_msgs/msg/PoseStamped'),                  # silent
    TopicInfo('/rocket', 'acme_msgs/msg/Rocket'),                          # nobody has its type
)}
LATCHED_TOPICS = ('/task', '/tf_static')
STREAMS = tuple(name for name in TOPICS if name not in (*LATCHED_TOPICS, '/goal_pose'))


def feed(ring: Ring, t0_ns: int, seed: int, image_bytes: int) -> list[tuple[str, int, bytes]]:
    """Latched messages, then 700 ms of every stream, into the ring; returns what went in."""
    chance = random.Random(seed)
    for name in TOPICS:
        ring.add_topic(name, BUDGET, latched_depth=2 if name in LATCHED_TOPICS else 0)
    sent = [('/task', t0_ns + 1 * MS, serialized(String(data='forgotten: before the last'))),
            ('/tf_static', t0_ns + 2 * MS, serialized(_transform(chance))),
            ('/task', t0_ns + 3 * MS, serialized(String(data='drive to "Lager" – Tor 7 ⚠')))]
    now_ns = t0_ns + 20 * MS
    number = 0
    while now_ns < t0_ns + 720 * MS:
        name = STREAMS[number % len(STREAMS)]
        sent.append((name, now_ns, _message(name, chance, number, image_bytes)))
        if number == 150:
            now_ns += 1
            sent.append(('/task', now_ns, serialized(String(data='stop'))))
        number += 1
        now_ns += chance.randrange(1, 3 * MS)
    for record in sent:
        ring.append(*record)
    return sent


def wanted(sent: Iterable[tuple[str, int, bytes]], t0_ns: int) -> list[Sent]:
    """What the bag must hold, in order: the window, and in front of it what was latched by then."""
    trigger_ns = t0_ns + TRIGGER_MS * MS
    start_ns, end_ns = trigger_ns - BEFORE_MS * MS, trigger_ns + AFTER_MS * MS
    utc = STAMP_NS - trigger_ns
    front = [each for each in sent if each[0] in LATCHED_TOPICS and each[1] < start_ns]
    window = [each for each in sent if start_ns <= each[1] <= end_ns]
    return [*(Sent(name, start_ns + utc, now_ns + utc, data) for name, now_ns, data in front),
            *(Sent(name, now_ns + utc, now_ns + utc, data) for name, now_ns, data in window)]


def trigger(t0_ns: int) -> Trigger:
    return Trigger('safety_stop', 'safety_reflex', 'protective_field', ('protective_field',),
                   t0_ns + TRIGGER_MS * MS, BEFORE_MS * MS, AFTER_MS * MS, 80,
                   {'state': 'STOPPED', 'answer': 'no', 'octal': '0o17', 'empty': ''})


def record(root: Path, t0_ns: int, compression: str, image_bytes: int,
           seed: int = 1) -> tuple[Path, list[Sent]]:
    """A case by the worker; t0_ns is now, of the steady clock, so that the window is yet to end."""
    ring, spool, done = Ring(60_000 * MS), Spool(root, 0), threading.Event()
    spool.open()
    worker = Worker(ring, spool, TOPICS, Identity('robot_7', 'amr'), compression=compression,
                    flush_s=0.05, max_open=1, on_case=lambda _: done.set(),
                    log=lambda _, text: print(text))
    worker.start()
    try:
        sent = feed(ring, t0_ns, seed, image_bytes)
        case = worker.submit(trigger(t0_ns), STAMP_NS, {})
        assert done.wait(30.0), 'the case did not end'
    finally:
        worker.stop()
        spool.close()
    return root / case, wanted(sent, t0_ns)


def record_and_die(root: Path, t0_ns: int, seed: int) -> None:
    """Everything of the case is on the disk, nothing of it is finished, and SIGKILL comes."""
    ring, spool = Ring(60_000 * MS), Spool(root, 0)
    spool.open()
    feed(ring, t0_ns, seed, 20_000)
    cause = trigger(t0_ns)
    draft = manifest.draft(robot_id='robot_7', robot='amr', trigger=cause, stamp_ns=STAMP_NS,
                           software={}, models={})
    recording = Recording(cause, ring.open_window(cause.now_ns - cause.before_ns), draft, ring,
                          spool, TOPICS, 'zstd')
    for step_ms in (200, 400, 600, 900):
        recording.advance(t0_ns + step_ms * MS)
    os.kill(os.getpid(), signal.SIGKILL)


def serialized(message: object) -> bytes:
    return serialize_message(message)


def _message(name: str, chance: random.Random, number: int, image_bytes: int) -> bytes:
    if name == '/rocket':
        return b'\x00\x01\x00\x00' + struct.pack('<Id', number, chance.random())
    message = {'/camera/front/image_raw': Image, '/scan': LaserScan, '/joint_states': JointState,
               '/diagnostics': DiagnosticArray, '/cmd_vel': TwistStamped,
               '/safety/record': UInt8MultiArray}[name]()
    if name != '/safety/record':
        message.header.stamp.sec, message.header.stamp.nanosec = 1_795_435_200, number
    match message:
        case Image():
            message.header.frame_id = 'camera_front'
            rows = (image_bytes if number % 8 == 0 else 3_000) // 300
            message.height, message.width = rows, 100
            message.encoding, message.step = 'rgb8', 300
            message.data = array('B', chance.randbytes(rows * 300))
        case LaserScan():
            message.ranges = [chance.random(), float('inf'), float('nan'), 0.1, -0.0]
            message.angle_min = -3.14
        case JointState():
            message.name = ['wheel_left', 'wheel_right', 'Gelenk ä']
            message.position = [chance.gauss(0, 1), 1e-310, 1e300]
        case DiagnosticArray():
            message.status = [DiagnosticStatus(
                level=bytes([number % 4]), name=f'part {number}',
                values=[KeyValue(key='k', value='v' * (number % 7))])] * (number % 3)
        case TwistStamped():
            message.twist.linear.x = chance.gauss(0, 1)
        case UInt8MultiArray():
            message.layout.dim = [MultiArrayDimension(label='x', size=2**32 - 1)]
            message.data = chance.randbytes(number % 9)
    return serialized(message)


def _transform(chance: random.Random) -> TFMessage:
    transform = TransformStamped(child_frame_id='laser')
    transform.transform.translation.x = chance.random()
    return TFMessage(transforms=[transform, transform])


if __name__ == '__main__':
    record_and_die(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
