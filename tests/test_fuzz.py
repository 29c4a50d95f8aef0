"""A few thousand hostile inputs, and the corpus of those worth keeping."""

import struct
from pathlib import Path

import cdr_messages as messages
import fuzz_inputs as inputs
import fuzz_reflex
import numpy as np
import pytest
from fuzz_robot import JOINTS, Subject, subjects
from fuzz_rules import RuleBroken
from geometry_msgs.msg import TwistStamped
from nav_msgs.msg import Odometry
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import JointState, LaserScan
from std_msgs.msg import Bool
from trajectory_msgs.msg import JointTrajectory

from safety_reflex.gate import Gate

CORPUS = sorted((Path(__file__).parent / 'corpus/reflex').glob('*.bin'))
CHANNELS = {'scan': ['scan0', 'scan1'], 'twist': ['policy', 'teleop'], 'odom': ['odom'],
            'bool': ['estop', 'enable', 'muting'], 'joints': ['joints'],
            'trajectory': ['trajectory']}
STAMP_NS = 12_000_000_345


@pytest.mark.parametrize('seed', [11, 12])
def test_hostile_inputs_break_no_rule(seed):
    shown = fuzz_reflex.fuzz(seed, 4000)
    assert shown['hostile_inputs'] >= 4000
    # A robot that never moved would prove nothing.
    for what in ('RUNNING', 'STOPPED', 'in motion', 'joints in motion', 'early stops'):
        assert shown['counts'][what] > 50, what


def started(kind: int) -> Subject:
    subject = subjects(seed=3)[kind]
    subject.recover()
    return subject


def stamped(data: bytes, subject: Subject) -> bytes:
    """Messages that are not about their stamp carry 11 s and are stamped as they come."""
    if data[4:12] != struct.pack('<II', 11, 0):
        return data
    return data[:4] + struct.pack('<II', *divmod(subject.ros_ns, 10 ** 9)) + data[12:]


def test_the_corpus_is_there():
    assert 30 <= len(CORPUS) < 100
    assert sum(path.stat().st_size for path in CORPUS) < 200_000


@pytest.mark.parametrize('kind', [0, 1])
def test_the_corpus_breaks_no_rule(kind):
    """Each file goes to its own input and to another, of a robot that drives."""
    subject = started(kind)
    for path in CORPUS:
        own = [name for name in CHANNELS[path.name.split('-')[0]] if name in subject.channels]
        for channel in (*own, subject.random.choice(subject.channels)):
            subject.recover()
            subject.give(channel, stamped(path.read_bytes(), subject))
            for _ in range(3):
                subject.decide()
                subject.pass_time(20, 20)


@pytest.mark.parametrize('name', [path.name for path in CORPUS if path.name.startswith('scan')])
def test_a_scan_of_the_corpus_stops_the_robot_at_once(name):
    subject = started(0)
    subject.give('scan0', stamped((CORPUS[0].parent / name).read_bytes(), subject))
    subject.decide()
    assert not subject.reflex.machine.may_move


def test_a_gate_that_lets_too_much_through_is_found(monkeypatch):
    """The fuzzer's own test."""
    monkeypatch.setattr(Gate, 'stop', lambda self, _: self.output)
    with pytest.raises(RuleBroken):
        fuzz_reflex.fuzz(1, 3000)


def test_the_messages_are_what_rclpy_reads():
    ranges = np.array([1.0, np.inf], np.float32).tobytes()
    scan = deserialize_message(messages.scan(STAMP_NS, ranges, -1.0, 0.5), LaserScan)
    assert (scan.header.stamp.sec, scan.header.stamp.nanosec) == (12, 345)
    assert (scan.angle_min, scan.angle_increment, scan.range_max) == (-1.0, 0.5, 20.0)
    assert list(scan.ranges) == [1.0, np.inf]
    twist = deserialize_message(messages.twist(STAMP_NS, 0.5, -0.25), TwistStamped).twist
    assert (twist.linear.x, twist.angular.z) == (0.5, -0.25)
    odometry = deserialize_message(messages.odometry(STAMP_NS, 0.5, -0.25), Odometry)
    assert (odometry.twist.twist.linear.x, odometry.twist.twist.angular.z) == (0.5, -0.25)
    assert odometry.child_frame_id == 'base_link'
    assert deserialize_message(messages.flag(1), Bool).data
    names = [name.decode() for name in JOINTS]
    joints = deserialize_message(messages.joint_state(STAMP_NS, JOINTS, (0.1, 0.2),
                                                    (0.3, 0.4)), JointState)
    assert (joints.name, list(joints.position), list(joints.velocity)) == (
        names, [0.1, 0.2], [0.3, 0.4])
    trajectory = deserialize_message(messages.trajectory(
        STAMP_NS, JOINTS, [((0.1, 0.2), 0.5), ((0.3, 0.4), 1.25)]), JointTrajectory)
    assert trajectory.joint_names == names
    assert [list(point.positions) for point in trajectory.points] == [[0.1, 0.2], [0.3, 0.4]]
    assert [(point.time_from_start.sec, point.time_from_start.nanosec)
            for point in trajectory.points] == [(0, 500_000_000), (1, 250_000_000)]


def test_big_endian_is_what_the_name_says():
    worse = inputs._big_endian(None, messages.twist(STAMP_NS, 0.5, 0.0))
    assert struct.unpack_from('>i', worse, 4) == (12,)
    assert worse[:4] == b'\x00\x00\x00\x00'
