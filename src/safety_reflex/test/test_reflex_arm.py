"""The whole reflex of a robot with an arm."""

import math

import numpy as np
import pytest
from driving import CONFIG, Bench
from rclpy.serialization import serialize_message
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from safety_reflex.profile import load_profile
from safety_reflex.reasons import Reason
from safety_reflex.states import State


class Armed(Bench):
    """The robot with its arm, whose policy asks for motion all the time."""

    def __init__(self, **settings):
        profile = load_profile(CONFIG / 'robots/amr_so100.yaml', CONFIG / 'robots/amr.fields.yaml')
        super().__init__(profile, **settings)
        self.names = list(profile.arm.names)
        self.arm, self.goal = np.zeros(len(self.names)), 1.0
        self.speeds = np.zeros(len(self.names))

    def step(self, **kind):
        joints = JointState(name=self.names, position=self.arm.tolist())
        point = JointTrajectoryPoint(positions=[self.goal] * len(self.names))
        point.time_from_start.sec = 1
        trajectory = JointTrajectory(joint_names=self.names, points=[point])
        self.now_ns += 1
        for message in (joints, trajectory):
            message.header.stamp = self.stamp()
        self.reflex.joints.on_joint_state(serialize_message(joints), self.at)
        if self.reflex.machine.may_move:
            self.reflex.joints.on_command(serialize_message(trajectory), self.at)
        state = super().step(**kind)
        if (out := self.reflex.decide_joints(self.at)) is not None:
            self.arm, self.speeds = out[0].copy(), out[1].copy()
        return state


def test_an_arm_moves_with_the_policy_and_stops_with_the_robot():
    bench = Armed().started(0.0)
    assert np.all(bench.arm > 0.5)
    bench.goal = -0.1
    bench.steps(0.5)
    assert np.all(bench.speeds < 0.0)
    bench.person = (bench.x + 0.7, 0.0)
    bench.steps(0.5)
    assert bench.state is State.STOPPED
    held = bench.arm
    bench.steps(1.0)
    assert np.array_equal(bench.arm, held)


def test_an_arm_rests_while_an_operator_drives_and_creeps_while_somebody_is_near():
    bench = Armed().started(0.0)
    bench.goal = -0.1
    bench.teleop = (0.1, 0.0)
    bench.steps(0.5)
    assert np.all(bench.speeds == 0.0)
    bench = Armed().started(0.0)
    bench.goal = -0.1
    bench.person = (bench.x + 1.3, 0.0)        # in a slow field, not in the one in use
    bench.steps(0.3)
    assert Reason.PROTECTIVE_FIELD not in bench.reasons
    assert np.all(np.abs(bench.speeds) < 0.2)


def test_trajectories_of_a_policy_that_is_not_heard_stop_nobody():
    bench = Armed().started(0.3)
    bench.goal = math.nan
    bench.teleop = (0.1, 0.0)
    bench.steps(1.5)
    assert bench.state is State.RUNNING
    assert bench.v == pytest.approx(0.1)
    bench.teleop = None
    bench.wish = (0.0, 0.0)
    seen = set()
    for _ in range(40):
        bench.step()
        seen |= set(bench.reasons)
    assert Reason.COMMAND_NOT_FINITE in seen
