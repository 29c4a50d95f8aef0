"""Whether what the wheels say can be what was granted."""

import math

import pytest
from nav_msgs.msg import Odometry as Message
from rclpy.serialization import serialize_message

from safety_reflex.odometry import Odometry
from safety_reflex.reasons import Reason
from safety_reflex.times import Instant, Stamps

MS = 1_000_000


class Base:
    """A base that follows what it is granted after a lag."""

    def __init__(self):
        self.odometry, self.now = Odometry(100 * MS, 500 * MS, (0.2, 0.5),
                                           Stamps(250 * MS, 50 * MS)), 0

    def run(self, ms, granted, measured, age_ms=0):
        for _ in range(ms // 25):
            self.now += 25 * MS
            message = Message()
            stamp = self.now + 10 ** 12 - age_ms * MS
            message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 10 ** 9)
            message.twist.twist.linear.x, message.twist.twist.angular.z = measured
            self.odometry.take(serialize_message(message), Instant(self.now, self.now + 10 ** 12))
            self.odometry.granted(self.now, *granted)
            found = self.odometry.reasons(self.now)
        return found


def test_a_base_that_follows_is_believed():
    base = Base()
    assert base.run(1000, (0.8, 0.3), (0.8, 0.3)) == set()
    assert base.run(400, (0.0, 0.0), (0.8, 0.3)) == set()
    assert base.run(1000, (0.0, 0.0), (0.0, 0.0)) == set()
    assert base.run(400, (0.8, 0.0), (0.0, 0.0)) == set()
    assert base.run(1000, (0.8, 0.0), (0.7, 0.1)) == set()


@pytest.mark.parametrize(('granted', 'measured'), [
    ((0.0, 0.0), (0.5, 0.0)),       # runs away
    ((0.8, 0.0), (0.0, 0.0)),       # stuck, or the encoder is
    ((0.5, 0.0), (-0.5, 0.0)),      # turned round
    ((0.0, 0.0), (0.0, 1.0)),       # spins
])
def test_a_base_that_does_something_else_contradicts(granted, measured):
    base = Base()
    base.run(2000, granted, granted)
    assert base.run(450, granted, measured) == set()
    assert base.run(600, granted, measured) == {Reason.ODOM_CONTRADICTS}
    assert base.run(600, granted, granted) == set()


def test_silence_nonsense_and_numbers_that_are_none():
    base = Base()
    assert base.odometry.reasons(0) == {Reason.ODOM_LOST}
    base.run(100, (0.0, 0.0), (0.0, 0.0))
    assert base.odometry.reasons(base.now + 101 * MS) == {Reason.ODOM_LOST}
    base.odometry.take(b'\x00\x01\x00\x00', Instant(base.now, base.now))
    assert base.odometry.reasons(base.now) == {Reason.ODOM_MALFORMED}
    assert base.run(25, (0.0, 0.0), (math.nan, 0.0)) == {Reason.ODOM_NOT_FINITE}
    assert base.odometry.velocity == (0.0, 0.0)


@pytest.mark.parametrize('age_ms', [3_600_000, -3_600_000, 300, -60])
def test_a_stamp_that_is_not_of_now(age_ms):
    base = Base()
    base.run(100, (0.5, 0.0), (0.5, 0.0))
    assert base.run(25, (0.5, 0.0), (0.5, 0.0), age_ms) == {Reason.ODOM_STAMP}
