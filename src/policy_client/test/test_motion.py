import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from policy_client.chunks import ActionQueue, QueueSettings
from policy_client.motion import Curve, Limits, State, seam

PERIOD = 0.05
SMALL = st.floats(-3, 3, allow_subnormal=False)


def test_the_curve_passes_the_first_row_and_rests_at_the_last():
    rows = np.array([[0.3], [0.1], [0.5], [0.4]])
    curve = Curve(rows, PERIOD)
    assert curve.at(0.0).value == pytest.approx([0.3])
    end = curve.at(4 * PERIOD)
    assert (end.value, end.rate, end.rate2) == (pytest.approx([0.4]), 0.0, 0.0)
    assert curve.at(99.0).value == pytest.approx([0.4])


def test_a_straight_plan_is_followed_exactly():
    rows = 0.2 * np.arange(12)[:, None] * PERIOD
    curve = Curve(rows, PERIOD)
    for time in np.linspace(0.0, 9.9 * PERIOD, 40):
        found = curve.at(time)
        assert found.value == pytest.approx([0.2 * time], abs=1e-12)
        assert found.rate == pytest.approx([0.2])
        assert found.rate2 == pytest.approx([0.0], abs=1e-9)


@settings(max_examples=200, deadline=None)
@given(hnp.arrays(float, st.tuples(st.integers(1, 12), st.integers(1, 3)), elements=SMALL))
def test_a_curve_stays_among_its_rows_and_its_derivatives_are_true(rows):
    curve = Curve(rows, PERIOD)
    times = np.linspace(0.0, (len(rows) + 1) * PERIOD, 300)
    values = np.array([curve.at(time).value for time in times])
    rates = np.array([curve.at(time).rate for time in times])
    rates2 = np.array([curve.at(time).rate2 for time in times])
    dt = times[1] - times[0]
    low, high = rows.min(axis=0), rows.max(axis=0)
    # The point before the first row may lie outside, by as much as that row's step.
    room = np.abs(rows[min(1, len(rows) - 1)] - rows[0]) / 6 + 1e-9
    assert (values >= low - room).all()
    assert (values <= high + room).all()
    assert (np.abs(rates) <= curve.peaks[0] + 1e-9).all()
    assert (np.abs(rates2) <= curve.peaks[1] + 1e-9).all()
    peak2 = np.abs(rates2).max()
    moved = (rates[:-1] + rates[1:]) / 2 * dt  # trapezoids; their error is third order
    assert np.diff(values, axis=0) == pytest.approx(moved, abs=dt * dt * (peak2 + 1e-6))


gaps = hnp.arrays(float, (3, 2), elements=st.floats(-1, 1, allow_subnormal=False))


@settings(max_examples=200, deadline=None)
@given(gaps, st.floats(0.02, 0.3))
def test_a_seam_begins_with_the_gap_and_ends_with_nothing(parts, shortest):
    gap = State(*parts)
    limits = Limits.of([(-9, 9, 1.0, 6.0, 60.0, True), (-9, 9, 2.0, 20.0, 300.0, True)])
    found = seam(gap, limits, Curve(np.zeros((2, 2)), 0.1), shortest)
    for wanted, is_there in zip(gap, found.at(0.0), strict=True):
        assert is_there == pytest.approx(wanted, abs=1e-9)
    for part in found.at(found.ends_s):
        assert part == pytest.approx(np.zeros(2), abs=1e-6)
    assert (found.durations_s >= shortest - 1e-6).all()
    assert found.ends_s <= 2.0 + 1e-9


@settings(max_examples=200, deadline=None)
@given(st.floats(-0.4, 0.4))
def test_a_gap_is_bridged_under_the_limits_and_no_slower_than_they_ask(value):
    limits = Limits.of([(-9, 9, 1.0, 6.0, 60.0, True)])
    curve = Curve(np.zeros((30, 1)), 0.1)
    found = seam(State(np.array([value]), np.zeros(1), np.zeros(1)), limits, curve, 0.05)
    times = np.linspace(0.0, found.ends_s, 400)
    states = [found.at(time) for time in times]
    rate2s = np.array([state.rate2[0] for state in states])
    used = (max(abs(state.rate[0]) for state in states) / 1.0, np.abs(rate2s).max() / 6.0,
            np.abs(np.diff(rate2s)).max() / (times[1] - times[0]) / 60.0)
    assert max(used) <= 1.02
    assert found.ends_s <= 0.051 or max(used) > 0.9


@pytest.mark.parametrize('sigma', [0.002, 0.01, 0.05])
def test_rows_that_jitter_jitter_the_output_and_do_no_more(sigma):
    """A network's noise must not be turned into an excursion by the seams that follow it."""
    ms, noise = 1_000_000, np.random.default_rng(7)
    limits = Limits.of([(-2.0, 2.0, 2.0, 6.0, 80.0, True)])
    queue = ActionQueue(QueueSettings(33 * ms, 1000 * ms, 150 * ms, limits), 'test')
    queue.found(np.zeros(1))
    went = []
    for tick in range(3000):
        now = tick * 20 * ms
        if tick % 10 == 0:
            ticket = queue.close(queue.issue(now, now).request_id)
            queue.adopt(ticket, noise.normal(0.0, sigma, (16, 1)), 'noisy', now)
        went.append(queue.step(now).action[0])
    assert np.abs(went).max() <= 8 * sigma
