"""A recording as messages in order: from a CARMEN log, or from a ROS 2 bag in MCAP."""

import math
import struct
from dataclasses import dataclass
from pathlib import Path

from mcap.exceptions import McapError
from mcap.reader import make_reader
from nav_msgs.msg import Odometry
from rclpy.serialization import serialize_message
from sensor_msgs.msg import LaserScan

from bringup.replay.carmen import CarmenScan

# The reflex's own outputs, which a replay must not publish again under their names.
OUTPUTS = ('cmd_vel', 'joint_trajectory', 'safety/state', 'safety/heartbeat', 'safety/enable')
# Commanders, whose topics end like an output.
COMMANDERS = ('policy', 'teleop')
MAX_MESSAGES = 5_000_000


class RecordingError(ValueError):
    """The file cannot be replayed; the message says why."""


@dataclass(frozen=True)
class Recorded:
    """A serialised message and when it came, seconds from the first."""

    t_s: float
    topic: str
    type_name: str
    data: bytes


def from_carmen(scans: list[CarmenScan], rate_hz: float) -> list[Recorded]:
    """The scans at an even rate. The log's own driver is not played: see Player."""
    found = []
    for index, scan in enumerate(scans):
        message = LaserScan(
            angle_min=-math.pi / 2, angle_max=math.pi / 2,
            angle_increment=math.pi / (len(scan.ranges) - 1), scan_time=1 / rate_hz,
            range_min=0.0, range_max=100.0, ranges=scan.ranges)
        message.header.frame_id = 'base_scan'
        found.append(Recorded(index / rate_hz, 'scan', 'sensor_msgs/msg/LaserScan',
                              serialize_message(message)))
    return found


def odometry(v_mps: float) -> Odometry:
    message = Odometry(child_frame_id='base_link')
    message.header.frame_id = 'odom'
    message.twist.twist.linear.x = v_mps
    return message


def from_bag(path: Path) -> list[Recorded]:
    """Every message of a bag folder's MCAP files, or of one MCAP file, in order of log time."""
    files = [path] if path.is_file() else sorted(path.glob('*.mcap'))
    if path.suffix == '.sealed' or (path.is_dir() and any(path.glob('*.mcap.sealed'))):
        raise RecordingError(f'{path}: is sealed; unseal it with: ros2 run edge_case_recorder '
                             'cases unseal CASE --key FILE --output DIR')
    if not files:
        raise RecordingError(f'{path}: holds no .mcap file')
    found: list[tuple[int, str, str, bytes]] = []
    for file in files:
        try:
            with open(file, 'rb') as stream:
                for schema, channel, message in make_reader(stream).iter_messages():
                    if schema is not None and channel.message_encoding == 'cdr':
                        found.append((message.log_time, channel.topic.strip('/'), schema.name,
                                      message.data))
                    if len(found) > MAX_MESSAGES:
                        break
        except (McapError, struct.error, ValueError) as error:
            raise RecordingError(f'{file}: is not a finished MCAP file: {error}') from None
    if len(found) > MAX_MESSAGES:
        raise RecordingError(f'{path}: more than {MAX_MESSAGES} messages')
    if not found:
        raise RecordingError(f'{path}: holds no ROS 2 message')
    found.sort(key=lambda message: message[0])
    start = found[0][0]
    return [Recorded((log_time - start) / 1e9, topic, name, data)
            for log_time, topic, name, data in found]


def aside(topic: str) -> str:
    """Where a recorded topic is played: outputs go aside, so that only the reflex publishes them.

    A namespaced output counts as well: the reflex of another robot is still a reflex.
    """
    for output in OUTPUTS:
        head, found, tail = topic.rpartition(output)
        if found and not tail and (not head or head.endswith('/')):
            return topic if head.rstrip('/').split('/')[-1] in COMMANDERS else f'recorded/{topic}'
    return topic


def restamped(data: bytes, now_ns: int) -> bytes:
    """A message that begins with a header, stamped now; live nodes refuse the past."""
    return data[:4] + struct.pack('<iI', *divmod(now_ns, 1_000_000_000)) + data[12:]
