"""Clocks that stop, jump and go back."""

from hypothesis import given, settings
from hypothesis import strategies as st

from safety_reflex.reasons import Reason
from safety_reflex.times import Timekeeper

MS, HOUR = 1_000_000, 3_600_000_000_000
START = 1_700_000_000_000_000_000


def keeper(*, logical):
    return Timekeeper(logical=logical, frozen_ns=250 * MS)


def run(times, ros, steady, n, ros_step, steady_step=20 * MS):
    found = set()
    for _ in range(n):
        ros, steady = ros + ros_step, steady + steady_step
        instant = times.read(ros, steady)
        found |= times.reasons()
    return ros, steady, instant, found


def test_on_a_robot_ages_follow_the_steady_clock():
    times = keeper(logical=False)
    ros, steady, begin, found = run(times, START, 0, 10, 20 * MS)
    assert found == set()
    ros, steady, end, found = run(times, ros, steady, 10, 20 * MS)
    assert (end.now_ns - begin.now_ns, found) == (200 * MS, set())
    for jump in (HOUR, -HOUR):
        ros, steady, end, found = run(times, ros + jump, steady, 1, 20 * MS)
        assert found == {Reason.CLOCK_JUMPED}
        assert end.now_ns - begin.now_ns < HOUR
        assert run(times, ros, steady, 5, 20 * MS)[3] == set()
        ros, steady = ros + 100 * MS, steady + 100 * MS


def test_in_a_simulation_ages_follow_the_world():
    times = keeper(logical=True)
    ros, steady, begin, _ = run(times, 0, 0, 10, 25 * MS)
    ros, steady, end, found = run(times, ros, steady, 100, 2 * MS)     # a tenth of real time
    assert (end.now_ns - begin.now_ns, found) == (200 * MS, set())
    for jump in (HOUR, -HOUR, -1):
        ros, steady, after, found = run(times, ros + jump, steady, 1, 0)
        assert found == {Reason.CLOCK_JUMPED}
        assert after.now_ns - end.now_ns < 1000 * MS


def test_a_world_that_stands_still_is_seen_and_time_goes_on():
    times = keeper(logical=True)
    ros, steady, begin, _ = run(times, START, 0, 10, 20 * MS)
    ros, steady, _, found = run(times, ros, steady, 12, 0)
    assert found == set()
    ros, steady, end, found = run(times, ros, steady, 10, 0)
    assert found == {Reason.CLOCK_FROZEN}
    assert end.now_ns > begin.now_ns
    assert run(times, ros, steady, 5, 20 * MS)[3] == set()


@settings(max_examples=300, deadline=None)
@given(st.booleans(), st.lists(st.tuples(st.integers(-2 * HOUR, 2 * HOUR), st.integers(0, HOUR)),
                               min_size=1, max_size=40))
def test_now_never_goes_back(logical, steps):
    times, ros, steady, before = keeper(logical=logical), START, 0, -1
    for ros_step, steady_step in steps:
        ros, steady = ros + ros_step, steady + steady_step
        instant = times.read(ros, steady)
        times.reasons()
        assert instant.now_ns >= before
        before = instant.now_ns
