import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isaac_bridge.drive import RESIDUAL, Drive, Enable, ramp

DT = 0.005
speeds = st.floats(-2.0, 2.0)
rates = st.floats(0.01, 10.0)


@given(now=speeds, target=speeds, rise=rates, fall=rates)
def test_ramp_stays_within_its_rates_and_never_overshoots(now, target, rise, fall):
    after = ramp(now, target, rise, fall, DT)
    rate = rise if abs(after) > abs(now) else fall
    assert abs(after - now) <= rate * DT + 1e-12
    assert min(now, target, 0.0) - 1e-12 <= after <= max(now, target, 0.0) + 1e-12
    if now * target < 0.0 and abs(now) >= RESIDUAL:
        assert after * now >= 0.0, 'a change of sign stops at zero first'


@given(now=speeds, target=speeds, rise=st.floats(0.1, 10.0), fall=st.floats(0.1, 10.0))
def test_ramp_arrives(now, target, rise, fall):
    for _ in range(math.ceil((abs(now) + abs(target)) / (min(rise, fall) * DT)) + 2):
        now = ramp(now, target, rise, fall, DT)
    assert now == target


def test_a_command_is_held_then_stale(robot):
    drive = Drive(robot.limits)
    drive.command(0.5, 0.0, 0)
    assert drive.next(0.5, 0.0, 150_000_000, DT)[0] == 0.5
    assert drive.next(0.5, 0.0, 150_000_001, DT)[0] == pytest.approx(0.5 - 1.5 * DT)


def test_without_any_command_the_base_brakes(robot):
    assert Drive(robot.limits).next(0.5, 1.0, 0, DT) == pytest.approx((0.4925, 0.975))


def test_commands_are_clipped(robot):
    drive = Drive(robot.limits)
    drive.command(9.0, -9.0, 0)
    limits = robot.limits
    assert drive.next(limits.max_speed_mps, -limits.max_turn_radps, 0, DT) == (
        limits.max_speed_mps, -limits.max_turn_radps)
    drive.command(-9.0, 0.0, 0)
    assert drive.next(-limits.max_reverse_mps, 0.0, 0, DT)[0] == -limits.max_reverse_mps


@pytest.mark.parametrize('twist', [(math.nan, 0.0), (0.0, math.inf), (-math.inf, math.nan)])
def test_what_is_not_finite_is_refused_and_changes_nothing(robot, twist):
    drive = Drive(dataclasses.replace(robot.limits))
    drive.command(0.5, 0.0, 0)
    with pytest.raises(ValueError, match='not finite'):
        drive.command(*twist, 0)
    assert drive.next(0.5, 0.0, 0, DT) == (0.5, 0.0)


def test_enable_holds_only_while_true_and_fresh():
    enable = Enable(0.15)
    assert not enable.holds(0), 'silence stops'
    enable.heard(True, 0)
    assert enable.holds(150_000_000)
    assert not enable.holds(150_000_001)
    enable.heard(True, 200_000_000)
    enable.heard(False, 210_000_000)
    assert not enable.holds(210_000_000)


def test_the_rest_of_a_turn_does_not_block_the_opposite_one():
    """Physics leaves residuals of 1e-19; to slow them down to zero must not cost a step each."""
    assert ramp(4.4e-19, -0.26, 2.5, 5.0, DT) == pytest.approx(-2.5 * DT)
    assert ramp(-1e-12, 0.5, 0.8, 1.5, DT) == pytest.approx(0.8 * DT)
