"""Closed loop in the embedded world with the committed model; the camera where EGL works."""

from pathlib import Path

import numpy as np
import pytest

from flywheel.amr_policy import episode, evaluate, wire
from flywheel.amr_policy.onnx_policy import OnnxPolicy

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope='module')
def course():
    made = episode.Course(ROOT)
    yield made
    made.world.close()


@pytest.fixture(params=['live', 'masked'])
def driver(request, course):
    if request.param == 'live' and not course.world.has_camera:
        pytest.skip('no off-screen rendering here')
    return episode.network(OnnxPolicy(ROOT / wire.MODEL), request.param == 'live')


@pytest.mark.parametrize('seed', [1, 2, 3])
def test_it_drives_to_the_goal_and_stops(course, driver, seed):
    start = evaluate.starts(2, seed)[1]
    track = course.drive(driver, start, 'drive to the goal', goal=(14.0, 0.0))
    assert track.reached
    assert track.cruise_mps == pytest.approx(0.8, abs=0.03)
    in_a_row = np.abs(track.rows[4:, 4] - track.rows[:-4, 4]).max()
    # No jolt: inside the service acceleration, although the base could brake twice as hard.
    assert in_a_row <= course.robot.limits.max_acceleration_mps2 * wire.ROW_S + 1e-6


def test_from_rest_on_the_lane_it_drives_straight(course, driver):
    track = course.drive(driver, (0.0, 0.0, 0.0), 'drive to the goal')
    assert track.reached
    assert np.abs(track.rows[:, 2]).max() < 0.15


def test_slowly_is_slow(course, driver):
    track = course.drive(driver, (12.0, 0.0, 0.0), 'drive slowly to the goal', goal=(20.0, 0.0))
    assert track.reached
    assert track.rows[:, 4].max() < 0.45


def test_wait_here_does_not_move(course, driver):
    assert course.drive(driver, (5.0, 0.3, 0.2), 'wait here', seconds=3.0).moved_m < 0.01


@pytest.mark.parametrize('goal', [(6.0, 0.0), (10.0, 0.9), (10.1, -0.8)],
                         ids=['behind', 'left', 'right'])
def test_goals_behind_and_beside(course, driver, goal):
    track = course.drive(driver, (10.0, 0.0, 0.0), 'drive to the goal', goal=goal)
    assert track.reached
    turned = np.abs(track.rows[:, 3]) > 0.3
    assert track.rows[:np.argmax(turned), 4].max() < 0.2        # turns before it drives off


def test_the_camera_keeps_it_on_the_lane(course):
    if not course.world.has_camera:
        pytest.skip('no off-screen rendering here')
    policy = OnnxPolicy(ROOT / wire.MODEL)
    live, masked = (course.drive(episode.network(policy, camera), (0.0, 1.0, 0.2),
                                 'drive to the goal', render=camera) for camera in (True, False))
    assert live.cross_track_m < 0.15
    assert masked.cross_track_m > 2 * live.cross_track_m
