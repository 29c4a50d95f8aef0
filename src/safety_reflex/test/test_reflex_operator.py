"""What an operator can do: take over, lead the robot out of a field, reset it, dock it."""


import numpy as np
import pytest
from driving import TRUE, Bench, drawn

from safety_reflex.reasons import Reason
from safety_reflex.states import State


def test_teleoperation_beats_the_policy_and_the_policy_comes_back_through_neutral():
    bench = Bench().started(0.6)
    bench.teleop = (0.2, 0.0)
    bench.steps(1.5)
    assert bench.v == pytest.approx(0.2)
    assert bench.status['command_source'] == 'teleop/cmd_vel'
    bench.teleop = None
    bench.steps(2.0)
    assert bench.v == 0.0                      # the policy still sends 0.6
    assert bench.status['command_source'] == ''
    bench.wish = (0.0, 0.0)
    bench.steps(0.5)
    bench.wish = (0.6, 0.0)
    bench.steps(2.0)
    assert bench.v == pytest.approx(0.6)


def test_a_robot_that_waits_for_its_policy_says_so():
    bench = Bench().started(0.5)
    bench.teleop = (0.1, 0.0)
    bench.steps(0.5)
    bench.teleop = None
    bench.steps(1.0)
    assert bench.state is State.RUNNING
    assert bench.reasons == [Reason.AWAITING_NEUTRAL]


def blocked_ahead(gap=0.15, **settings):
    """A robot that an object in front holds in STOPPED."""
    bench = Bench(**settings).started(0.8)
    bench.person = (bench.x + 0.4 + gap + 0.2 + 0.9, bench.y)
    while bench.state is not State.STOPPED or bench.v:
        bench.step()
    bench.person = (bench.x + 0.4 + gap + 0.2, bench.y)
    bench.steps(1.0)
    assert bench.state is State.STOPPED
    return bench


def test_an_operator_creeps_out_of_a_field_only_where_clearance_grows():
    bench = blocked_ahead()
    for teleop in ((0.5, 0.0), (0.0, 0.8)):
        bench.teleop = teleop
        bench.steps(0.5)
        assert (bench.v, bench.w) == (0.0, 0.0)
    bench.teleop = (-0.2, 0.0)
    bench.steps(1.0)
    assert bench.v == pytest.approx(-0.1)
    assert bench.state is State.STOPPED
    assert Reason.ESCAPING in bench.reasons
    bench.teleop = None                        # the deadman is let go
    bench.steps(0.6)
    assert bench.v == 0.0
    bench.teleop = (-0.2, 0.0)
    bench.steps(12.0)
    assert bench.state in (State.RUNNING, State.SLOWED)


def test_the_policy_never_escapes_and_nobody_does_under_another_cause():
    bench = blocked_ahead()
    bench.wish = (-0.2, 0.0)
    bench.steps(1.0)
    assert bench.v == 0.0
    bench.teleop = (-0.2, 0.0)
    bench.steps(0.5)
    assert bench.v < 0.0
    bench.steps(0.6, odometry=False)
    assert bench.v == 0.0


@pytest.mark.parametrize('limit', [0.0, 0.05])
def test_a_profile_may_slow_or_forbid_the_escape(limit):
    bench = blocked_ahead(escape_speed_mps=limit)
    bench.teleop = (-0.2, 0.0)
    bench.steps(1.0)
    assert bench.v == pytest.approx(-limit)


def test_between_two_walls_the_way_back_is_open_and_the_others_are_not():
    def corridor(scan):
        """Walls 0.35 m beside the robot's sides."""
        angles = scan.angle_min + scan.angle_increment * np.arange(len(scan.ranges))
        with np.errstate(divide='ignore'):
            walls = 0.65 / np.abs(np.sin(angles))
        scan.ranges = np.minimum(np.array(scan.ranges), walls).astype(np.float32)
        return scan
    bench = blocked_ahead()
    bench.scan_change = corridor
    bench.steps(0.5)
    for teleop, moves in (((0.2, 0.0), False), ((0.0, 0.5), False), ((-0.2, 0.0), True)):
        bench.teleop = teleop
        bench.steps(0.5)
        assert (bench.v != 0.0 or bench.w != 0.0) == moves, teleop


def test_an_escape_keeps_every_cap():
    bench = blocked_ahead(escape_speed_mps=0.25)
    bench.reflex._cap_mps = 0.05
    bench.teleop = (-0.2, 0.0)
    bench.steps(1.0)
    assert bench.v == pytest.approx(-0.05)


def test_a_reset_beside_an_object_ends_in_stopped_from_where_it_is_led_away():
    bench = Bench()
    bench.person = (0.8, 0.0)                  # 0.2 m before the bumper since the start
    assert bench.steps(0.5) is State.LATCHED
    assert bench.reset()[0]
    bench.steps(0.5)
    assert bench.state is State.STOPPED
    assert bench.v == 0.0
    bench.teleop = (-0.2, 0.0)
    bench.steps(15.0)
    assert bench.x < -0.3
    assert bench.state in (State.RUNNING, State.SLOWED)


def test_muting_lets_it_dock_slowly_and_for_a_time():
    bench = drawn()
    timer = bench.reflex.mutings[0]
    bench.steps(0.3)
    bench.reset()
    bench.wish = (0.3, 0.0)
    bench.steps(0.5)
    bench.person = (bench.x + 0.85, bench.y)          # the dock, 0.25 m before the bumper
    bench.steps(0.5)
    assert bench.state is State.STOPPED

    def hold(seconds):
        for _ in range(round(seconds * 40)):
            timer.flag.take(TRUE, bench.now_ns)
            bench.step()
    hold(3.0)
    assert bench.state is State.SLOWED
    assert Reason.MUTED in bench.reasons
    assert bench.status['muting'] == 'dock'
    assert 0.0 < bench.v <= 0.1 + 1e-9
    bench.wish = (0.0, 0.0)
    hold(25.0)
    assert bench.state is State.STOPPED
    assert bench.status['muting'] == ''


def test_muting_blinds_nothing_before_the_robot_is_slow():
    bench = drawn()
    bench.steps(0.3)
    bench.reset()
    bench.wish = (0.5, 0.0)
    bench.steps(2.0)
    bench.person = (bench.x + 1.2, bench.y)
    bench.reflex.mutings[0].flag.take(TRUE, bench.now_ns)
    bench.steps(0.1)
    assert bench.state is State.STOPPED
    assert Reason.PROTECTIVE_FIELD in bench.reasons
