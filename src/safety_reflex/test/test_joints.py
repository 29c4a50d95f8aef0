"""The joints: what a trajectory may ask, what reaches the controllers, and how it stops."""

import dataclasses
import math

import numpy as np
import pytest
from builtin_interfaces.msg import Duration, Time
from driving import CONFIG, MS
from hypothesis import given, settings
from hypothesis import strategies as st
from rclpy.serialization import serialize_message
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from safety_reflex.joints import JointGate, JointTimes
from safety_reflex.profile import load_profile
from safety_reflex.reasons import Reason
from safety_reflex.times import Instant

PROFILE = load_profile(CONFIG / 'robots/amr_so100.yaml', CONFIG / 'robots/amr.fields.yaml')
ARM = PROFILE.arm
N = len(ARM.names)
TIMES = JointTimes(timeout_ns=250 * MS, measured_timeout_ns=100 * MS, fault_hold_ns=500 * MS,
                   lag_ns=500 * MS, max_age_ns=250 * MS, max_ahead_ns=50 * MS)
DT = 0.02


class Arm:
    """An arm that stands where it is told, or sags."""

    def __init__(self, start=0.0, patient=True):
        """patient: one trajectory is enough, as from a policy that repeats itself."""
        times = dataclasses.replace(TIMES, timeout_ns=10_000 * MS) if patient else TIMES
        self.gate, self.now = JointGate(ARM, times), 10 ** 12
        self.position = np.full(N, start)
        self.sag, self.told = 0.0, set()

    def states(self, names=ARM.names, positions=None):
        where = self.position - self.sag if positions is None else positions
        # As a base reports them: its wheels too, and in an order of its own.
        message = JointState(
            name=['left_wheel_joint', *reversed(names)], position=[0.0, *map(float, where[::-1])])
        message.header.stamp = Time(sec=self.now // 10 ** 9, nanosec=self.now % 10 ** 9)
        return serialize_message(message)

    @property
    def at(self):
        return Instant(self.now, self.now)

    @property
    def reasons(self):
        return self.gate.reasons(self.now) | self.gate.command_reasons(self.now)

    def send(self, goals, seconds=(0.5,), names=ARM.names, age_ms=0, **more):
        stamp = self.now - age_ms * MS
        message = JointTrajectory(joint_names=list(names), points=[
            JointTrajectoryPoint(
                positions=list(map(float, goal)),
                time_from_start=Duration(sec=int(s), nanosec=round(s % 1 * 1e9)), **more)
            for goal, s in zip(goals, seconds, strict=True)])
        message.header.stamp = Time(sec=stamp // 10 ** 9, nanosec=stamp % 10 ** 9)
        self.gate.on_command(serialize_message(message), self.at)
        return self.reasons

    def run(self, seconds, *, drive=True, scale=1.0):
        found = []
        for _ in range(round(seconds / DT)):
            self.now += round(DT * 1e9)
            self.gate.on_joint_state(self.states(), self.at)
            self.told |= self.reasons
            out = self.gate.drive(self.now, DT, scale) if drive else self.gate.stop(DT)
            if out is not None:
                self.position = out[0].copy()
                found.append((out[0].copy(), out[1].copy()))
        return found


def test_nothing_is_commanded_before_it_was_measured():
    gate = JointGate(ARM, TIMES)
    assert gate.stop(DT) is None
    assert gate.reasons(0) == {Reason.JOINTS_LOST}


def test_it_follows_a_trajectory_within_its_limits():
    arm = Arm()
    arm.run(0.1)
    assert arm.send([np.full(N, 0.2), np.full(N, 0.5)], (0.3, 0.8)) == set()
    found = arm.run(1.5)
    velocities = np.array([v for _, v in found])
    gains = np.diff(velocities, axis=0) / DT
    assert found[-1][0] == pytest.approx(np.full(N, 0.5), abs=1e-3)
    assert np.all(np.abs(velocities) <= ARM.max_velocity + 1e-9)
    assert np.all(gains <= ARM.max_acceleration + 1e-6)
    assert np.all(gains >= -ARM.braking - 1e-6)
    assert np.all(velocities[-1] == 0.0)


def test_a_slow_down_stretches_the_way():
    arm = Arm()
    arm.run(0.1)
    arm.send([np.full(N, 0.5)], (1.0,))
    half = arm.run(1.0, scale=0.5)[-1][0]
    assert half == pytest.approx(np.full(N, 0.25), abs=0.05)


@pytest.mark.parametrize('scale', [0.5, 0.3, 0.1])
def test_a_stream_of_short_plans_is_slowed_down_too(scale):
    """As policy_client sends them: one point, a period ahead; there is no time to stretch."""
    arm = Arm()
    arm.run(0.1)
    goal, speeds = np.zeros(N), []
    for _ in range(40):
        goal = np.minimum(goal + 1.5 * 0.02, 1.2)
        arm.send([goal], (0.02,))
        speeds += [np.abs(v).max() for _, v in arm.run(0.02, scale=scale)]
    assert max(speeds) <= scale * ARM.max_velocity.max() + 1e-9
    assert max(speeds) > 0.0


def test_a_stop_decelerates_captures_once_and_does_not_sink():
    arm = Arm()
    arm.run(0.1)
    arm.send([np.full(N, 1.0)], (1.0,))
    moving = arm.run(0.5)[-1][1]
    assert np.all(moving > 0.5)
    stopping = arm.run(0.5, drive=False)
    speeds = np.array([moving, *(v for _, v in stopping)])
    assert np.all(np.diff(speeds, axis=0) >= -ARM.braking * DT - 1e-9)
    assert np.all(speeds[-1] == 0.0)
    held = stopping[-1][0]
    for arm.sag in (0.01, 0.05, 0.1):
        assert np.array_equal(arm.run(0.2, drive=False)[-1][0], held)


def test_an_arm_that_is_held_elsewhere_is_told_and_captured_where_it_is():
    arm = Arm()
    arm.run(0.1)
    arm.send([np.full(N, 0.5)], (1.0,))
    arm.run(0.4)
    arm.position, arm.sag = arm.position - 0.4, 0.0
    held = arm.position.copy()
    for _ in range(40):
        arm.now += 20 * MS
        arm.gate.on_joint_state(arm.states(positions=held), arm.at)
        arm.told |= arm.reasons
        out = arm.gate.stop(DT)
    assert arm.told == {Reason.JOINTS_CONTRADICT}
    assert out[0] == pytest.approx(held)
    assert arm.reasons == set()


@pytest.mark.parametrize('wrong', [0.0, 1.0, -3.0])
def test_the_first_sample_alone_captures_nothing(wrong):
    arm = Arm(start=0.7)
    arm.gate.on_joint_state(arm.states(positions=np.full(N, wrong)), arm.at)
    assert arm.gate.stop(DT) is None
    arm.now += 20 * MS
    arm.gate.on_joint_state(arm.states(), arm.at)
    assert arm.gate.stop(DT) is None
    arm.now += 20 * MS
    arm.gate.on_joint_state(arm.states(), arm.at)
    assert arm.gate.stop(DT)[0] == pytest.approx(0.7)


def test_an_arm_beyond_a_limit_is_held_there_and_comes_back_slowly():
    arm = Arm(start=-0.5)                    # the gripper's lower limit is -0.17
    found = arm.run(0.2, drive=False)
    assert found[-1][0] == pytest.approx(np.full(N, -0.5))
    arm.send([np.zeros(N)], (1.0,))
    positions = np.array([p for p, _ in arm.run(1.5)])
    assert np.all(np.abs(np.diff(positions, axis=0)) <= ARM.max_velocity * DT + 1e-9)
    assert positions[-1] == pytest.approx(np.zeros(N), abs=1e-3)


def test_an_arm_that_sagged_without_drives_goes_on_from_where_it_is():
    arm = Arm()
    arm.run(0.1)
    sagged = np.full(N, -0.1)
    for _ in range(3):
        arm.now += 20 * MS
        arm.gate.on_joint_state(arm.states(positions=sagged), arm.at)
    arm.gate.recapture()
    assert arm.gate.stop(DT)[0] == pytest.approx(sagged)


def test_silence_of_the_policy_is_a_stop():
    arm = Arm(patient=False)
    arm.run(0.1)
    arm.send([np.full(N, 1.0)], (2.0,))
    assert np.all(arm.run(0.24)[-1][1] > 0.0)
    assert np.all(arm.run(0.2)[-1][1] == 0.0)


@pytest.mark.parametrize(('send', 'reason'), [
    ({'goals': [np.full(N, math.nan)]}, Reason.COMMAND_NOT_FINITE),
    ({'goals': [np.full(N, 1.0)], 'seconds': (0.1,)}, None),   # fast, but within one segment
    ({'goals': [np.full(N, 0.0), np.full(N, 0.5)], 'seconds': (0.1, 0.2)},
     Reason.COMMAND_OVER_LIMIT),
    ({'goals': [np.full(N, 1.9)]}, Reason.COMMAND_OVER_LIMIT),
    ({'goals': [np.zeros(N)], 'names': (*ARM.names[:-1], 'tail')}, Reason.COMMAND_JOINTS),
    ({'goals': [np.zeros(N)], 'names': ARM.names[::-1]}, Reason.COMMAND_JOINTS),
    ({'goals': [np.zeros(N - 1)], 'names': ARM.names[:-1]}, Reason.COMMAND_JOINTS),
    ({'goals': [np.zeros(N - 1)]}, Reason.COMMAND_MALFORMED),
    ({'goals': [], 'seconds': ()}, Reason.COMMAND_MALFORMED),
    ({'goals': [np.zeros(N)], 'seconds': (0.0,)}, Reason.COMMAND_MALFORMED),
    ({'goals': [np.zeros(N)] * 2, 'seconds': (0.5, 0.5)}, Reason.COMMAND_MALFORMED),
    ({'goals': [np.zeros(N)], 'seconds': (60.0,)}, Reason.COMMAND_MALFORMED),
    ({'goals': [np.zeros(N)], 'velocities': [1.0]}, Reason.COMMAND_MALFORMED),
    ({'goals': [np.zeros(N)], 'age_ms': 300}, Reason.COMMAND_STAMP),
    ({'goals': [np.zeros(N)], 'age_ms': -60}, Reason.COMMAND_STAMP),
])
def test_a_bad_trajectory_has_its_own_reason_and_moves_nothing(send, reason):
    arm = Arm()
    arm.run(0.1)
    assert arm.send(**send) == ({reason} if reason else set())
    if reason:
        assert np.all(arm.run(0.5)[-1][0] == 0.0)


def test_a_replayed_trajectory_is_refused():
    arm = Arm()
    arm.run(0.1)
    assert arm.send([np.full(N, 0.1)]) == set()
    arm.run(0.1)
    assert arm.send([np.full(N, 0.1)], age_ms=200) == {Reason.COMMAND_STAMP}


@pytest.mark.parametrize(('data', 'reason'), [
    (lambda arm: arm.states(ARM.names[1:], np.zeros(N - 1)), Reason.JOINTS_MALFORMED),
    (lambda arm: arm.states()[:60], Reason.JOINTS_MALFORMED),
    (lambda arm: arm.states(positions=np.full(N, math.inf)), Reason.JOINTS_NOT_FINITE),
])
def test_bad_joint_states_have_their_own_reason(data, reason):
    arm = Arm()
    arm.run(0.1)
    arm.gate.on_joint_state(data(arm), arm.at)
    assert reason in arm.reasons


GOAL = st.lists(st.floats(-3, 3), min_size=N, max_size=N)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(GOAL, st.floats(0.01, 2.0), st.booleans(), st.floats(0.0, 1.0),
                          st.sampled_from([0.002, 0.02, 0.05])), min_size=1, max_size=30))
def test_no_set_point_ever_leaves_the_limits(events):
    arm = Arm()
    arm.run(0.1)
    before = np.zeros(N)
    for goal, seconds, stopping, scale, dt in events:
        arm.send([goal], (seconds,))
        for _ in range(5):
            arm.now += round(dt * 1e9)
            arm.gate.on_joint_state(arm.states(), arm.at)
            out = arm.gate.stop(dt) if stopping else arm.gate.drive(arm.now, dt, scale)
            arm.position, velocity = out[0].copy(), out[1].copy()
            assert np.all((arm.position >= ARM.lower) & (arm.position <= ARM.upper))
            assert np.all(np.abs(velocity) <= ARM.max_velocity + 1e-9)
            assert np.all(np.abs(velocity) - np.abs(before) <= ARM.max_acceleration * dt + 1e-9)
            if stopping:
                assert np.all(np.abs(velocity) <= np.maximum(
                    np.abs(before) - ARM.braking * dt, 0.0) + 1e-9)
            before = velocity
