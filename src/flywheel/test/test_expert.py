"""What the driver promises, whatever the situation."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from flywheel.amr_policy import expert, wire

angle = st.floats(-np.pi, np.pi)
SPEEDS = (0.8, 0.4, 0.0)
situation = st.tuples(
    st.tuples(st.floats(-5, 30), st.floats(-2, 2), angle),
    st.tuples(st.floats(-0.3, 1.0), st.floats(-1.3, 1.3)),
    st.tuples(st.floats(-5, 30), st.floats(-2, 2)),
    st.sampled_from(SPEEDS), st.booleans())


def plan(pose, velocity, goal, cruise, lane):
    return expert.chunk(np.array([pose]), np.array([velocity]), np.array([goal]),
                        np.array([cruise]), np.array([lane]))[0]


def follow(pose, goal, cruise, lane, seconds=120.0, velocity=(0.0, 0.0)):
    """An ideal unicycle that takes the first row of each new chunk: (poses, velocities)."""
    here, now = np.array([pose], float), np.array([velocity], float)
    poses, velocities = [here[0]], [now[0]]
    for _ in range(int(seconds / wire.ROW_S)):
        now = plan(here[0], now[0], goal, cruise, lane)[:1]
        here = expert.unicycle(here, now[:, 0], now[:, 1], wire.ROW_S)
        poses.append(here[0])
        velocities.append(now[0])
        if len(poses) > 20 and not now.any():
            break
    return np.array(poses), np.array(velocities)


@given(situation)
def test_chunk_ramps_from_the_measured_velocity(case):
    velocity = case[1]
    rows = np.vstack([velocity, plan(*case)])
    assert rows.shape == (wire.HORIZON + 1, 2)
    steps = np.abs(np.diff(rows, axis=0))
    allowed = max(wire.ACCELERATION_MPS2 * wire.ROW_S, -velocity[0])  # reverse ends at once
    assert steps[:, 0].max() <= allowed + 1e-9
    assert steps[:, 1].max() <= wire.TURN_ACCELERATION_RADPS2 * wire.ROW_S + 1e-9


@given(situation)
def test_chunk_stays_inside_the_limits(case):
    _, velocity, _, cruise, _ = case
    rows = plan(*case)
    assert np.isfinite(rows).all()
    assert (rows[:, 0] >= 0).all()
    assert rows[:, 0].max() <= max(cruise, velocity[0]) + 1e-9
    assert np.abs(rows[:, 1]).max() <= max(expert.MAX_RATE_RADPS, abs(velocity[1])) + 1e-9


@given(situation)
def test_wait_brings_it_to_rest_and_keeps_it_there(case):
    pose, velocity, goal, _, lane = case
    rows = plan(pose, (min(velocity[0], 0.9), velocity[1]), goal, 0.0, lane)
    assert not rows[-1].any()
    assert (np.diff(np.abs(rows), axis=0) <= 1e-9).all()


@given(pose=st.tuples(st.floats(0, 20), st.floats(-1.2, 1.2), angle),
       goal=st.tuples(st.floats(0, 24), st.floats(-0.5, 0.5)),
       cruise=st.sampled_from((0.8, 0.4)), lane=st.booleans())
@settings(max_examples=12, deadline=None)
def test_it_stops_at_the_goal_from_anywhere(pose, goal, cruise, lane):
    poses, velocities = follow(pose, goal, cruise, lane)
    assert not velocities[-1].any()
    assert np.hypot(*(poses[-1, :2] - goal)) <= 0.15
    assert velocities[:, 0].max() <= cruise + 1e-9


def test_it_joins_the_lane_where_it_sees_it_and_cuts_across_where_not():
    (seen, _), (unseen, _) = (follow((0, 1.2, 0.3), (24, 0), 0.8, lane) for lane in (True, False))
    middle = slice(100, 200)
    assert np.abs(seen[middle, 1]).max() < 0.1
    assert np.abs(unseen[middle, 1]).min() > 0.3


def test_it_reaches_the_cruising_speed_and_holds_it():
    poses, velocities = follow((0, 0, 0), (24, 0), 0.8, True)
    held = velocities[(poses[:, 0] > 1) & (poses[:, 0] < 20)]
    np.testing.assert_allclose(held, [[0.8, 0.0]] * len(held), atol=1e-9)


def test_it_turns_before_it_drives_to_a_goal_behind():
    poses, velocities = follow((10, 0, 0), (4, 0), 0.8, True)
    turning = np.abs(poses[:, 2]) < np.pi / 2
    assert velocities[turning, 0].max() == 0.0


@given(situation)
def test_left_and_right_are_alike(case):
    pose, velocity, goal, cruise, lane = case
    (offset,) = expert.goal_in_base(np.array([pose]), np.array([goal]))
    # A goal exactly ahead or behind, or beside the lane's end, has two sides that are both right.
    assume(abs(offset[1]) > 1e-3 and abs(goal[0] - pose[0]) > 1e-3)
    flip = np.array([1.0, -1.0])
    mirrored = expert.wanted(np.array([[pose[0], -pose[1], -pose[2]]]),
                             np.array([velocity * flip]), np.array([goal * flip]),
                             np.array([cruise]), np.array([lane]))
    plain = expert.wanted(np.array([pose]), np.array([velocity]), np.array([goal]),
                          np.array([cruise]), np.array([lane]))
    np.testing.assert_allclose(np.ravel(mirrored), np.ravel(plain) * flip, atol=1e-6)


@pytest.mark.parametrize('distance', [0.5, 9.9, 10.0, 10.1, 25.0])
def test_goal_in_base_keeps_the_bearing_and_clips_the_distance(distance):
    pose = np.array([[3.0, -1.0, 0.7]])
    goal = pose[:, :2] + distance * np.array([[np.cos(1.0), np.sin(1.0)]])
    (point,) = expert.goal_in_base(pose, goal)
    assert np.arctan2(point[1], point[0]) == pytest.approx(0.3)
    assert np.hypot(*point) == pytest.approx(min(distance, wire.GOAL_RADIUS_M))
