import pytest
from hypothesis import given
from hypothesis import strategies as st

from isaac_bridge.pace import Pace

STEP = 5_000_000


def run(pace, wakes, limit=5):
    return [pace.due(now, limit) for now in wakes]


def test_on_time_gives_one_step_each():
    assert run(Pace(STEP, 1.0, 5), range(0, 100 * STEP, STEP)) == [1] * 100


def test_twice_as_fast_gives_two_a_period():
    steps = run(Pace(STEP, 2.0, 5), range(0, 100 * STEP, STEP))
    assert sum(steps) == 199


def test_a_little_late_is_made_up():
    assert run(Pace(STEP, 1.0, 5), [0, STEP, 4 * STEP, 5 * STEP]) == [1, 1, 3, 1]


def test_very_late_slows_the_world_instead_of_a_burst():
    pace = Pace(STEP, 1.0, 5)
    pace.due(0, 5)
    steps = run(pace, [1000 * STEP + i for i in range(10)])
    assert sum(steps) == 6
    assert pace.real_time_factor(1000 * STEP) == pytest.approx(7 / 1000)


def test_limit_leaves_the_rest_for_the_next_call():
    assert run(Pace(STEP, 1.0, 5), [0, 4 * STEP, 4 * STEP, 4 * STEP], limit=2) == [1, 2, 2, 0]


@given(gaps=st.lists(st.integers(0, 100_000_000), max_size=200), factor=st.floats(0.05, 20.0),
       limit=st.integers(1, 5))
def test_never_ahead_of_the_clock_nor_over_the_limit(gaps, factor, limit):
    pace = Pace(STEP, factor, 5)
    now, made = 0, pace.due(0, limit)
    for gap in gaps:
        now += gap
        steps = pace.due(now, limit)
        made += steps
        assert 0 <= steps <= limit
        assert made * STEP <= now * factor + STEP * 1.001
