"""The gate: no number above a limit leaves it, whatever goes in."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safety_reflex.gate import Gate, GateLimits

LIMITS = GateLimits(
    max_acceleration_mps2=0.8, max_turn_acceleration_radps2=2.5, max_jerk_mps3=1000.0,
    braking_mps2=1.5, turn_braking_radps2=5.0)
GENTLE = GateLimits(
    max_acceleration_mps2=0.8, max_turn_acceleration_radps2=2.5, max_jerk_mps3=2.0,
    braking_mps2=1.5, turn_braking_radps2=5.0)


def test_it_accelerates_and_brakes_within_the_limits():
    gate = Gate(LIMITS)
    speeds = [gate.drive((0.8 if tick < 60 else 0.0, 0.0), 0.02)[0] for tick in range(100)]
    assert max(speeds) == pytest.approx(0.8)
    steps = [b - a for a, b in itertools.pairwise(speeds)]
    assert max(steps) <= 0.8 * 0.02 + 1e-12
    assert min(steps) >= -1.5 * 0.02 - 1e-12
    assert speeds[-1] == 0.0


def test_jerk_eases_the_start_and_never_delays_a_stop():
    gate = Gate(GENTLE)
    speeds = [gate.drive((0.8, 0.0), 0.02)[0] for _ in range(100)]
    gains = [0.0] + [(b - a) / 0.02 for a, b in itertools.pairwise([0.0, *speeds])]
    rises = [(b - a) / 0.02 for a, b in itertools.pairwise(gains)]
    assert max(gains) == pytest.approx(0.8)
    assert max(rises) <= 2.0 + 1e-6
    assert speeds[-1] == pytest.approx(0.8, abs=1e-3)
    assert gate.stop(0.02)[0] == pytest.approx(speeds[-1] - 1.5 * 0.02)
    assert gate.drive((0.0, 0.0), 0.02)[0] == pytest.approx(speeds[-1] - 2 * 1.5 * 0.02)


NUMBER = st.one_of(st.floats(-1.2, 1.2), st.sampled_from([0.0, 0.9, -0.2, 1.2]))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([LIMITS, GENTLE]), st.lists(
    st.tuples(NUMBER, NUMBER, st.integers(0, 50), st.booleans()), max_size=60))
def test_no_output_is_ever_above_what_was_asked_and_a_stop_always_brakes(limits, events):
    gate, before, asked = Gate(limits), (0.0, 0.0), [(0.0, 0.0)]
    for v, w, step_ms, stopping in events:
        dt = step_ms / 1000
        asked.append((v, w))
        out = gate.stop(dt) if stopping else gate.drive((v, w), dt)
        for axis in (0, 1):
            assert min(a[axis] for a in asked) - 1e-9 <= out[axis]
            assert out[axis] <= max(a[axis] for a in asked) + 1e-9
        assert abs(out[0]) - abs(before[0]) <= limits.max_acceleration_mps2 * dt + 1e-9
        if stopping:
            assert abs(out[0]) <= max(0.0, abs(before[0]) - 1.5 * dt) + 1e-12
            assert abs(out[1]) <= max(0.0, abs(before[1]) - 5.0 * dt) + 1e-12
        before = out
