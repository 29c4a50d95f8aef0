"""Cases for tests of catalogue and data sets: real bags of the recorder's writer, and a bucket."""

import math
import struct
from pathlib import Path

import numpy as np

from edge_case_recorder import manifest
from edge_case_recorder.bag import BagWriter, TopicInfo
from edge_case_recorder.definitions import find_definition
from edge_case_recorder.triggers import Trigger
from isaac_bridge.episode.cdr import Writer
from policy_client import embodiment_file
from policy_client.vocabulary import Vocabulary

ROOT = Path(__file__).resolve().parents[3]
CONFIG = ROOT / 'config'
AMR = embodiment_file.load(CONFIG / 'embodiments/amr.yaml')
SO100 = embodiment_file.load(CONFIG / 'embodiments/so100.yaml')
WORDS = Vocabulary.load(CONFIG / 'embodiments/vocabulary.txt')
NOON_NS = 1_795_435_200_000_000_000   # 2026-11-23 12:00 UTC
MS = 1_000_000
_TYPES = {
    'odom': 'nav_msgs/msg/Odometry', 'scan': 'sensor_msgs/msg/LaserScan',
    'goal_pose': 'geometry_msgs/msg/PoseStamped', 'task': 'std_msgs/msg/String',
    'policy/cmd_vel': 'geometry_msgs/msg/TwistStamped',
    'teleop/cmd_vel': 'geometry_msgs/msg/TwistStamped',
    'camera/front/image_raw': 'sensor_msgs/msg/Image',
    'camera/webcam/image_raw': 'sensor_msgs/msg/Image',
    'joint_states': 'sensor_msgs/msg/JointState',
    'policy/joint_trajectory': 'trajectory_msgs/msg/JointTrajectory'}


def string(text):
    return bytes(Writer().text(text.encode()).data)


def odometry(at_ns, x, y, yaw, v, w):
    writer = Writer(at_ns, b'odom').text(b'base_link')
    writer.doubles((x, y, 0.0, 0.0, 0.0, math.sin(yaw / 2), math.cos(yaw / 2)) + (0.0,) * 36)
    return bytes(writer.doubles((v, 0.0, 0.0, 0.0, 0.0, w) + (0.0,) * 36).data)


def goal(at_ns, x, y):
    return bytes(Writer(at_ns, b'odom').doubles((x, y, 0.0, 0.0, 0.0, 0.0, 1.0)).data)


def twist(at_ns, v, w):
    return bytes(Writer(at_ns, b'base_link').doubles((v, 0.0, 0.0, 0.0, 0.0, w)).data)


def picture(at_ns, pixels):
    height, width, _ = pixels.shape
    writer = Writer(at_ns, b'camera').count(height).count(width).text(b'rgb8')
    writer.data += b'\0'
    writer.count(width * 3).count(pixels.size)
    return bytes(writer.data + pixels.tobytes())


def scan(at_ns, ranges):
    writer = Writer(at_ns, b'base_scan').pad(4)
    writer.data += struct.pack('<7f', -math.pi, math.pi, 2 * math.pi / len(ranges), 0.0, 0.025,
                               0.05, 20.0)
    writer.count(len(ranges)).data += np.asarray(ranges, '<f4').tobytes()
    return bytes(writer.count(0).data)


def joints(at_ns, names, positions):
    writer = Writer(at_ns).count(len(names))
    for name in names:
        writer.text(name.encode())
    return bytes(writer.sequence(positions).sequence([]).sequence([]).data)


def trajectory(at_ns, names, positions):
    writer = Writer(at_ns).count(len(names))
    for name in names:
        writer.text(name.encode())
    writer.count(1).sequence(positions).sequence([]).sequence([]).sequence([])
    writer.count(0).count(33 * MS)
    return bytes(writer.data)


def draft(cause='protective_field', stamp_ns=NOON_NS, robot_id='robot_7'):
    trigger = Trigger('safety_stop', 'safety_reflex', cause, (cause,), 0, 5 * 10**9, 2 * 10**9, 80,
                      {'state': 'STOPPED', 'zone': 'front'})
    return manifest.draft(robot_id=robot_id, robot='amr', trigger=trigger, stamp_ns=stamp_ns,
                          software={'edge_case_recorder': '0.1.0'}, models={'triton:desk': '1'})


def write_case(root, messages, **about):
    """A case's folder as the bucket has it; messages: (topic, log_ns, cdr), in order."""
    redaction = about.pop('redaction', None)
    told = draft(**about)
    if redaction:
        told['redaction'] = redaction
    folder = Path(root) / manifest.object_folder(told)
    folder.mkdir(parents=True)
    writer = BagWriter(folder, told['case_id'])
    for name in {name for name, _, _ in messages}:
        kind = _TYPES[name]
        writer.add_topic(TopicInfo(f'/robot_7/{name}', kind, '', find_definition(kind).text))
    for name, at_ns, data in messages:
        writer.write(f'/robot_7/{name}', at_ns, at_ns, data)
    content = manifest.complete(told, folder, writer.close({}), lost={})
    manifest.write(folder, content)
    return folder


def drive(seconds=3.0, stamp_ns=NOON_NS, speed=0.5, near_m=2.0, teleop=False, camera=True,
          instruction='drive to the goal', holes=()):
    """Messages of a straight drive along x: odom and scan at 40 Hz, camera 10 Hz, command 30 Hz.

    The picture's first pixel is the number of the frame, the command's w is its number / 1000.
    holes: (from_s, to_s) without odometry.
    """
    begin = stamp_ns - round(seconds * 0.7 * 1e9)
    found = [('task', begin, string(instruction)), ('goal_pose', begin, goal(begin, 20.0, 0.0))]
    ranges = np.full(360, 6.0)
    ranges[180] = near_m
    for k in range(int(seconds * 40)):
        at_ns = begin + k * 25 * MS
        if not any(low <= k / 40 < high for low, high in holes):
            found.append(('odom', at_ns, odometry(at_ns, speed * k / 40, 0.0, 0.0, speed, 0.0)))
        found.append(('scan', at_ns, scan(at_ns, ranges)))
    for k in range(int(seconds * 30)):
        at_ns = begin + k * 100 * MS // 3
        found.append(('teleop/cmd_vel' if teleop else 'policy/cmd_vel', at_ns,
                      twist(at_ns, speed, k / 1000)))
    for k in range(int(seconds * 10) if camera else 0):
        at_ns = begin + k * 100 * MS
        pixels = np.full((32, 48, 3), 40, np.uint8)
        pixels[8:24, (2 * k) % 32:(2 * k) % 32 + 16] = (200, 30, 30)
        pixels[0, 0] = k
        found.append(('camera/front/image_raw', at_ns, picture(at_ns, pixels)))
    return sorted(found, key=lambda one: one[1])
