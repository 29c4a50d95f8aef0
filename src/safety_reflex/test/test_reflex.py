"""The whole reflex without ROS: real bytes in, a kinematic robot behind it."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from geometry_msgs.msg import TwistStamped
from nav_msgs.msg import Odometry
from rclpy.serialization import serialize_message
from sensor_msgs.msg import LaserScan

from safety_reflex.parameters import ReflexParameters
from safety_reflex.profile import ProfileError, load_profile
from safety_reflex.reasons import Reason
from safety_reflex.reflex import Reflex
from safety_reflex.states import State

CONFIG = Path(__file__).resolve().parents[3] / 'config'
PROFILE = load_profile(CONFIG / 'robots/amr.yaml', CONFIG / 'robots/amr.fields.yaml')
LIDAR = PROFILE.lidars[0]
MS = 1_000_000


class Bench:
    """A robot on a line at x, an optional person (a disc of 0.2 m), scans every 25 ms."""

    def __init__(self, **settings):
        self.reflex = Reflex(PROFILE, replace(ReflexParameters().settings(), **settings))
        self.now_ns, self.x, self.v = 1_000 * MS, 0.0, 0.0
        self.rng = np.random.default_rng(3)
        self.person = None
        self.wish = 0.8
        self.scan_change = lambda scan: scan

    def stamp(self):
        return Time(sec=self.now_ns // 10 ** 9, nanosec=self.now_ns % 10 ** 9)

    def scan(self):
        angles = LIDAR.angle_min_rad + LIDAR.angle_increment_rad * np.arange(LIDAR.beams)
        ranges = 8 + self.rng.normal(0, 0.01, LIDAR.beams)
        if self.person is not None:
            dx, dy = self.person[0] - self.x, self.person[1]
            along = dx * np.cos(angles) + dy * np.sin(angles)
            across = np.abs(-dx * np.sin(angles) + dy * np.cos(angles))
            hit = (along > 0) & (across < 0.2)
            ranges[hit] = along[hit] - np.sqrt(0.04 - across[hit] ** 2)
        message = LaserScan(
            angle_min=LIDAR.angle_min_rad, angle_increment=LIDAR.angle_increment_rad,
            range_min=0.05, range_max=20.0, ranges=ranges.astype(np.float32))
        message.header.stamp = self.stamp()
        return serialize_message(self.scan_change(message))

    def step(self, *, scan=True, command=True, odometry=True):
        self.now_ns += 25 * MS
        if odometry:
            message = Odometry()
            message.twist.twist.linear.x = self.v
            self.reflex.on_odometry(serialize_message(message), self.now_ns)
        if command:
            message = TwistStamped()
            message.header.stamp = self.stamp()
            message.twist.linear.x = self.wish if self.reflex.machine.may_move else 0.0
            self.reflex.on_command(serialize_message(message), self.now_ns)
        if scan:
            self.reflex.on_scan(0, self.scan(), self.now_ns)
        _, self.v, _ = self.reflex.decide(self.now_ns, self.now_ns)
        self.x += self.v * 0.025
        return self.reflex.machine.state

    def steps(self, seconds, **kind):
        for _ in range(round(seconds * 40)):
            self.step(**kind)
        return self.reflex.machine.state

    def started(self, speed=0.8):
        self.steps(0.2)
        assert self.reflex.reset(self.now_ns)[0]
        self.wish = speed
        assert self.steps(3.0) is State.RUNNING
        assert self.v == pytest.approx(speed)
        return self

    @property
    def reasons(self):
        return self.reflex.status(self.now_ns)['reasons'].split(',')


def test_it_starts_latched_and_publishes_zero():
    bench = Bench()
    assert bench.steps(2.0) is State.LATCHED
    assert bench.v == 0.0


def test_a_person_in_front_stops_it_before_contact_and_it_resumes():
    bench = Bench().started()
    bench.person = [bench.x + 2.5, 0.0]
    while bench.v > 0:
        bench.step()
    assert bench.reflex.machine.state in (State.STOPPED, State.SLOWED)
    assert bench.person[0] - 0.2 - (bench.x + 0.4) > 0.2
    bench.person = None
    bench.steps(2.5)
    assert bench.v > 0


@pytest.mark.parametrize('angle_deg', range(0, 360, 30))
@pytest.mark.parametrize('speed', [0.3, 0.8])
def test_a_walker_from_any_side_never_meets_a_moving_robot(angle_deg, speed):
    """A person comes straight at the robot with 1.6 m/s; at the touch the robot must be at rest."""
    bench = Bench().started(speed)
    angle = math.radians(angle_deg)
    start = (bench.x, 0.0)
    bench.person = [start[0] + 5 * math.cos(angle), 5 * math.sin(angle)]
    for _ in range(300):
        dx, dy = bench.x - bench.person[0], -bench.person[1]
        gap_x = max(abs(dx) - 0.4, 0.0)
        gap_y = max(abs(dy) - 0.3, 0.0)
        if math.hypot(gap_x, gap_y) <= 0.2:
            assert bench.v <= 0.05
            return
        reach = math.hypot(dx, dy)
        bench.person[0] += 1.6 * 0.025 * dx / reach
        bench.person[1] += 1.6 * 0.025 * dy / reach
        bench.step()
    pytest.fail('the person never arrived')


def test_an_object_beside_the_path_slows_it_before_it_stops():
    bench = Bench().started()
    bench.person = [bench.x + 6.0, 0.0]
    seen = []
    for _ in range(400):
        seen.append(bench.step())
        if bench.v == 0:
            break
    assert State.SLOWED in seen
    assert seen.index(State.SLOWED) < len(seen) - 1


@pytest.mark.parametrize(('kind', 'reason'), [
    ({'scan': False}, Reason.SCAN_LOST), ({'odometry': False}, Reason.ODOM_LOST)])
def test_a_lost_source_stops_then_latches(kind, reason):
    bench = Bench().started()
    bench.steps(0.15, **kind)
    assert bench.reflex.machine.state is State.STOPPED
    bench.steps(1.2, **kind)
    assert bench.v == 0.0
    assert bench.reflex.machine.state is State.LATCHED
    assert reason in bench.reasons


def test_silence_of_the_commander_is_a_soft_stop_without_a_trip():
    bench = Bench().started()
    bench.steps(1.5, command=False)
    assert bench.v == 0.0
    assert bench.reflex.machine.state is State.RUNNING
    assert Reason.COMMAND_STALE in bench.reasons
    bench.steps(1.0)
    assert bench.v > 0.5


def all_set(value):
    def change(scan):
        scan.ranges = [value] * len(scan.ranges)
        return scan
    return change


@pytest.mark.parametrize(('change', 'reason'), [
    (all_set(math.nan), Reason.SCAN_INVALID), (all_set(math.inf), Reason.SCAN_EMPTY),
    (all_set(-math.inf), Reason.PROTECTIVE_FIELD), (all_set(0.01), Reason.PROTECTIVE_FIELD),
    (all_set(6.0), Reason.SCAN_FROZEN)])
def test_scans_that_prove_nothing_stop_it(change, reason):
    bench = Bench().started()
    bench.scan_change = change
    bench.steps(1.0)
    assert bench.v == 0.0
    assert not bench.reflex.machine.may_move
    assert reason in bench.reasons


def test_a_rogue_command_stops_latches_and_is_reset():
    bench = Bench().started()
    message = TwistStamped()
    message.header.stamp = bench.stamp()
    message.twist.linear.x = math.nan
    bench.reflex.on_command(serialize_message(message), bench.now_ns)
    assert bench.step() is State.STOPPED
    assert Reason.COMMAND_NOT_FINITE in bench.reasons
    for _ in range(60):
        bench.reflex.on_command(serialize_message(message), bench.now_ns)
        bench.step()
    assert bench.reflex.machine.state is State.LATCHED
    assert not bench.reflex.reset(bench.now_ns)[0]
    bench.steps(0.6)
    assert bench.reflex.reset(bench.now_ns)[0]
    bench.steps(1.0)
    assert bench.v > 0


def test_a_pause_of_its_own_loop_latches():
    bench = Bench().started()
    bench.now_ns += 400 * MS
    assert bench.step() is State.LATCHED
    assert Reason.LOOP_GAP in bench.reasons


def test_a_second_publisher_latches():
    bench = Bench().started()
    bench.reflex.on_publishers('scan', 1)
    assert bench.step() is State.LATCHED
    assert bench.reflex.status(bench.now_ns)['second_publisher_on'] == 'scan'


def test_a_field_that_is_shorter_than_the_blind_time_is_refused():
    with pytest.raises(ProfileError, match='reaction_s'):
        Bench(source_timeout_ns=200 * MS)
