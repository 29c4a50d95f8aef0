"""The gate: no number above a limit leaves it, whatever goes in."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safety_reflex.cdr import Twist
from safety_reflex.gate import Gate, GateLimits
from safety_reflex.reasons import Reason

MS = 1_000_000
LIMITS = GateLimits(
    max_speed_mps=0.9, max_reverse_mps=0.2, max_turn_radps=1.2, max_acceleration_mps2=0.8,
    max_turn_acceleration_radps2=2.5, braking_mps2=1.5, turn_braking_radps2=5.0,
    command_timeout_ns=250 * MS, fault_hold_ns=500 * MS)


def twist(v, w, stamp_ns, others=(0.0, 0.0, 0.0, 0.0)):
    return Twist(stamp_ns, v, w, others)


def test_it_accelerates_and_brakes_within_the_limits():
    gate, now = Gate(LIMITS), 0
    speeds = []
    for tick in range(100):
        now += 20 * MS
        gate.command(now, twist(0.8 if tick < 60 else 0.0, 0.0, now))
        speeds.append(gate.drive(now, 0.02, 1.0)[0])
    assert max(speeds) == pytest.approx(0.8)
    steps = [b - a for a, b in itertools.pairwise(speeds)]
    assert max(steps) <= 0.8 * 0.02 + 1e-12
    assert min(steps) >= -1.5 * 0.02 - 1e-12
    assert speeds[-1] == 0.0


def test_a_slow_down_keeps_the_curvature():
    gate, now = Gate(LIMITS), 0
    for _ in range(200):
        now += 20 * MS
        gate.command(now, twist(0.8, 0.4, now))
        v, w = gate.drive(now, 0.02, 0.25)
    assert (v, w) == pytest.approx((0.2, 0.1))


@pytest.mark.parametrize(('command', 'reason'), [
    (twist(math.nan, 0.0, 1), Reason.COMMAND_NOT_FINITE),
    (twist(0.0, -math.inf, 1), Reason.COMMAND_NOT_FINITE),
    (twist(0.0, 0.0, 1, (0.0, math.nan, 0.0, 0.0)), Reason.COMMAND_NOT_FINITE),
    (twist(0.95, 0.0, 1), Reason.COMMAND_OVER_LIMIT),
    (twist(-0.25, 0.0, 1), Reason.COMMAND_OVER_LIMIT),
    (twist(0.0, 1.3, 1), Reason.COMMAND_OVER_LIMIT),
    (twist(0.0, 0.0, 1, (0.1, 0.0, 0.0, 0.0)), Reason.COMMAND_OVER_LIMIT),
])
def test_a_bad_command_is_a_fault_and_never_a_wish(command, reason):
    gate = Gate(LIMITS)
    gate.command(0, twist(0.5, 0.0, 0))
    gate.command(MS, command)
    assert reason in gate.reasons(2 * MS)
    assert gate.wish(2 * MS) == (0.0, 0.0)
    gate.command(600 * MS, twist(0.5, 0.0, 600 * MS))
    assert gate.reasons(601 * MS) == set()


def test_old_and_replayed_stamps_do_not_move_it():
    gate = Gate(LIMITS)
    gate.command(0, twist(0.5, 0.0, 1000))
    gate.command(1, twist(0.9, 0.0, 1000))
    gate.command(2, twist(0.9, 0.0, 999))
    assert gate.wish(3) == (0.5, 0.0)
    assert Reason.COMMAND_STALE in gate.reasons(251 * MS)
    assert gate.wish(251 * MS) == (0.0, 0.0)


def test_after_a_reset_only_later_commands_move_it():
    gate = Gate(LIMITS)
    gate.accept_only_after(1000)
    gate.command(0, twist(0.5, 0.0, 1000))
    assert gate.wish(1) == (0.0, 0.0)
    gate.command(1, twist(0.5, 0.0, 1001))
    assert gate.wish(2) == (0.5, 0.0)


NUMBER = st.one_of(st.floats(), st.sampled_from([0.0, 0.9, -0.2, 1.2, math.nan, math.inf]))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(NUMBER, NUMBER, st.integers(0, 10_000), st.integers(0, 300),
                          st.floats(0, 1), st.booleans()), max_size=60))
def test_no_output_is_ever_above_a_limit(events):
    gate, now, before = Gate(LIMITS), 0, (0.0, 0.0)
    for v, w, stamp, step_ms, scale, stopping in events:
        now += step_ms * MS
        gate.command(now, twist(v, w, stamp))
        dt = step_ms / 1000
        out = gate.stop(dt) if stopping else gate.drive(now, dt, scale)
        assert -0.2 - 2e-3 <= out[0] <= 0.9 + 2e-3
        assert abs(out[1]) <= 1.2 + 2e-3
        if stopping:
            assert abs(out[0]) <= max(0.0, abs(before[0]) - 1.5 * dt) + 1e-12
            assert abs(out[1]) <= max(0.0, abs(before[1]) - 5.0 * dt) + 1e-12
        before = out
