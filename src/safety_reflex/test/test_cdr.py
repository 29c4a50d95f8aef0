"""The byte layouts, held against rclpy's own serialiser, and against bytes that mean harm."""

import contextlib

import numpy as np
import pytest
from geometry_msgs.msg import Twist, TwistStamped
from hypothesis import given, settings
from hypothesis import strategies as st
from nav_msgs.msg import Odometry
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import LaserScan
from std_msgs.msg import Bool
from trajectory_msgs.msg import JointTrajectory

from safety_reflex import cdr

FRAMES = ['', 'a', 'ab', 'abc', 'base_scan', 'robot_17/base_scan']


@pytest.mark.parametrize('frame', FRAMES)
def test_scan_as_rclpy_writes_it(frame):
    message = LaserScan(angle_min=-3.0, angle_increment=0.1, range_min=0.05, range_max=20.0,
                        ranges=[1.0, float('inf'), float('nan'), -float('inf')],
                        intensities=[1.0])
    message.header.frame_id = frame
    message.header.stamp.sec, message.header.stamp.nanosec = 12, 345
    scan = cdr.read_scan(serialize_message(message), 720)
    assert scan.stamp_ns == 12_000_000_345
    assert scan.frame_id.decode() == frame
    np.testing.assert_array_equal(scan.ranges, np.array(message.ranges, np.float32))
    assert scan.range_max_m == 20.0
    assert scan.angle_min_rad == -3.0


@pytest.mark.parametrize('frame', FRAMES)
def test_velocities_as_rclpy_writes_them(frame):
    command = TwistStamped()
    command.header.frame_id = frame
    command.twist.linear.x, command.twist.angular.z, command.twist.linear.y = 0.5, -0.25, 9.0
    read = cdr.read_twist_stamped(serialize_message(command))
    assert (read.v_mps, read.w_radps, read.others) == (0.5, -0.25, (9.0, 0.0, 0.0, 0.0))
    odometry = Odometry(child_frame_id='base_link')
    odometry.header.frame_id = frame
    odometry.twist.twist.linear.x, odometry.twist.twist.angular.z = 0.7, 0.1
    odometry.pose.pose.position.x = 5.0
    read = cdr.read_odometry(serialize_message(odometry))
    assert (read.v_mps, read.w_radps) == (0.7, 0.1)


@pytest.mark.parametrize('frame', FRAMES)
def test_what_the_writer_writes_is_what_rclpy_reads(frame):
    data = cdr.TwistStampedWriter(frame).write(3_000_000_007, 0.4, -0.2)
    message = deserialize_message(data, TwistStamped)
    assert message.header.frame_id == frame
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (3, 7)
    assert (message.twist.linear.x, message.twist.angular.z) == (0.4, -0.2)
    assert message.twist.linear.y == message.twist.angular.x == 0.0


def test_a_base_that_wants_twist_gets_twist():
    message = deserialize_message(cdr.TwistWriter().write(7, 0.4, -0.2), Twist)
    assert (message.linear.x, message.angular.z) == (0.4, -0.2)
    assert message.linear.y == message.angular.x == 0.0


@pytest.mark.parametrize('names', [('a',), ('shoulder_pan', 'lift', 'x'), ('ab', 'abc', 'abcd')])
def test_a_set_point_is_what_rclpy_reads(names):
    positions, velocities = np.arange(len(names)) + 0.5, -np.arange(len(names)) - 0.25
    data = cdr.JointTrajectoryWriter(names, 20_000_000).write(3_000_000_007, positions, velocities)
    message = deserialize_message(data, JointTrajectory)
    assert message.joint_names == list(names)
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (3, 7)
    assert list(message.points[0].positions) == positions.tolist()
    assert list(message.points[0].velocities) == velocities.tolist()
    assert message.points[0].time_from_start.nanosec == 20_000_000
    assert list(cdr.read_joint_trajectory(data).positions[0]) == positions.tolist()


def test_bool_is_never_guessed():
    assert cdr.read_bool(serialize_message(Bool(data=True))) is True
    assert cdr.read_bool(serialize_message(Bool(data=False))) is False
    for data in (b'', b'\x00\x01\x00\x00', b'\x00\x01\x00\x00\x02', b'\x00\x00\x00\x00\x01'):
        with pytest.raises(cdr.MalformedMessage):
            cdr.read_bool(data)


READERS = [lambda data: cdr.read_scan(data, 720), cdr.read_twist_stamped, cdr.read_odometry,
           cdr.read_bool, cdr.read_joint_state, cdr.read_joint_trajectory, cdr.read_stamp]


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400), st.sampled_from(READERS), st.booleans())
def test_any_bytes_are_read_or_refused(data, reader, honest_header):
    if honest_header:
        data = b'\x00\x01\x00\x00' + data
    with contextlib.suppress(cdr.MalformedMessage):
        reader(data)


def test_a_huge_claim_costs_nothing():
    message = bytearray(serialize_message(LaserScan(ranges=[1.0] * 4)))
    at = len(message) - 4 - 4 * 4 - 4
    message[at:at + 4] = (0xffffffff).to_bytes(4, 'little')
    with pytest.raises(cdr.MalformedMessage, match='4294967295'):
        cdr.read_scan(bytes(message), 720)


@pytest.mark.parametrize('cut', range(0, 60, 3))
def test_a_cut_message_is_malformed(cut):
    data = serialize_message(LaserScan(ranges=[1.0] * 4))
    with pytest.raises(cdr.MalformedMessage):
        cdr.read_scan(data[:cut], 720)
