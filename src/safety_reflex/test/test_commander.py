"""Which commands count, and whose."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safety_reflex.cdr import Twist
from safety_reflex.commander import Arbiter, Commander, CommandLimits
from safety_reflex.reasons import Reason

MS = 1_000_000
LIMITS = CommandLimits(
    max_speed_mps=0.9, max_reverse_mps=0.2, max_turn_radps=1.2, timeout_ns=250 * MS,
    fault_hold_ns=500 * MS, max_age_ns=250 * MS, max_ahead_ns=50 * MS)


def twist(v, w, stamp_ns, others=(0.0, 0.0, 0.0, 0.0)):
    return Twist(stamp_ns, v, w, others)


def commander(topic='policy/cmd_vel'):
    return Commander(topic, LIMITS)


@pytest.mark.parametrize(('command', 'reason'), [
    (twist(math.nan, 0.0, 1), Reason.COMMAND_NOT_FINITE),
    (twist(0.0, -math.inf, 1), Reason.COMMAND_NOT_FINITE),
    (twist(0.0, 0.0, 1, (0.0, math.nan, 0.0, 0.0)), Reason.COMMAND_NOT_FINITE),
    (twist(0.95, 0.0, 1), Reason.COMMAND_OVER_LIMIT),
    (twist(-0.25, 0.0, 1), Reason.COMMAND_OVER_LIMIT),
    (twist(0.0, 1.3, 1), Reason.COMMAND_OVER_LIMIT),
    (twist(0.0, 0.0, 1, (0.1, 0.0, 0.0, 0.0)), Reason.COMMAND_OVER_LIMIT),
    (twist(0.1, 0.0, 52 * MS), Reason.COMMAND_STAMP),
    (twist(0.1, 0.0, -250 * MS), Reason.COMMAND_STAMP),
    (twist(0.1, 0.0, -1), Reason.COMMAND_STAMP),
])
def test_a_bad_command_is_a_fault_and_never_a_wish(command, reason):
    found = commander()
    found.command(twist(0.5, 0.0, 0), 0, 0)
    found.command(command, MS, MS)
    assert found.reasons(2 * MS) == {reason}
    assert found.wish(2 * MS) == (0.0, 0.0)
    found.command(twist(0.5, 0.0, 600 * MS), 600 * MS, 600 * MS)
    assert found.reasons(601 * MS) == set()
    assert found.wish(601 * MS) == (0.5, 0.0)


def test_a_stamp_of_the_future_does_not_make_later_ones_a_replay():
    found = commander()
    found.command(twist(0.5, 0.0, 3600_000 * MS), 0, 0)
    assert found.reasons(0) == {Reason.COMMAND_STAMP}
    found.command(twist(0.5, 0.0, 600 * MS), 600 * MS, 600 * MS)
    assert found.wish(600 * MS) == (0.5, 0.0)


def test_the_same_message_again_does_not_keep_it_alive():
    found = commander()
    for now in range(0, 300, 20):
        found.command(twist(0.5, 0.0, 0), now * MS, now * MS)
    assert found.wish(249 * MS) == (0.5, 0.0)
    assert found.wish(251 * MS) == (0.0, 0.0)
    assert not found.fresh(251 * MS)


def test_after_a_reset_only_later_commands_move_it():
    found = commander()
    found.accept_only_after(1000)
    found.command(twist(0.5, 0.0, 1000), 1000, 1000)
    assert found.wish(1001) == (0.0, 0.0)
    found.command(twist(0.5, 0.0, 1001), 1001, 1001)
    assert found.wish(1002) == (0.5, 0.0)


def test_a_neutral_command_under_way_at_a_reset_is_no_fault():
    found = commander()
    found.command(twist(0.0, 0.0, 900), 900, 900)
    found.accept_only_after(1000)
    found.command(twist(0.0, 0.0, 990), 1010, 1010)
    found.command(twist(0.4, 0.0, 995), 1010, 1010)
    assert found.reasons(1010) == set()
    assert found.wish(1010) == (0.0, 0.0)


def test_a_clock_that_was_set_back_begins_anew():
    found = commander()
    found.command(twist(0.0, 0.0, 3_600_000 * MS), 3_600_000 * MS, 3_600_000 * MS)
    found.command(twist(0.4, 0.0, 1000 * MS), 3_600_001 * MS, 1000 * MS)
    assert found.reasons(3_600_001 * MS) == {Reason.COMMAND_STAMP}
    found.forget_stamps()
    found.command(twist(0.4, 0.0, 1001 * MS), 3_600_600 * MS, 1001 * MS)
    assert found.wish(3_600_600 * MS) == (0.4, 0.0)


def test_one_neutral_command_is_no_neutral_commander():
    found = commander()
    found.command(twist(0.0, 0.0, 0), 0, 0)
    assert found.fresh(0)
    assert not found.neutral(0)
    found.command(twist(0.0, 0.0, 200 * MS), 200 * MS, 200 * MS)
    assert found.neutral(200 * MS)
    assert not found.neutral(451 * MS)


NUMBER = st.one_of(st.floats(), st.sampled_from([0.0, 0.9, -0.2, 1.2, math.nan, math.inf]))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(NUMBER, NUMBER, st.integers(-400, 400), st.integers(0, 300)),
                max_size=60))
def test_no_wish_is_ever_above_a_limit(events):
    found, now = commander(), 10 ** 12
    for v, w, age_ms, step_ms in events:
        now += step_ms * MS
        found.command(twist(v, w, now - age_ms * MS), now, now)
        wish = found.wish(now)
        assert -0.2 - 2e-3 <= wish[0] <= 0.9 + 2e-3
        assert abs(wish[1]) <= 1.2 + 2e-3


class Station:
    """A policy that sends every 20 ms, and an operator who sometimes does."""

    def __init__(self):
        self.arbiter = Arbiter(commander(), commander('teleop/cmd_vel'), 200 * MS)
        self.now = 0

    def run(self, ms, policy, teleop=None):
        for _ in range(ms // 20):
            self.now += 20 * MS
            self.arbiter.policy.command(twist(policy, 0.0, self.now), self.now, self.now)
            if teleop is not None:
                self.arbiter.teleop.command(twist(teleop, 0.0, self.now), self.now, self.now)
            chosen = self.arbiter.choose(self.now)
        return None if chosen is None else (chosen.topic, chosen.wish(self.now)[0])


def test_teleoperation_beats_the_policy_and_going_back_needs_neutral():
    station = Station()
    assert station.run(100, 0.5) == ('policy/cmd_vel', 0.5)
    assert station.run(100, 0.5, 0.2) == ('teleop/cmd_vel', 0.2)
    assert station.run(100, 0.5, 0.0) == ('teleop/cmd_vel', 0.0)
    assert station.run(1000, 0.5) is None
    assert station.run(100, 0.0) is None
    assert station.run(100, 0.5) is None          # it was not neutral for long enough
    assert station.run(260, 0.0) == ('policy/cmd_vel', 0.0)
    assert station.run(100, 0.5) == ('policy/cmd_vel', 0.5)


def test_an_operator_s_fault_does_not_hand_the_robot_to_the_policy():
    station = Station()
    station.run(100, 0.5, 0.2)
    assert station.run(40, 0.5, math.nan) == ('teleop/cmd_vel', 0.0)
