"""The model of a lidar, which every engine shares: noise, drop-outs and latency."""

import dataclasses
import itertools

import numpy as np
import pytest
from engine_scenes import at

from isaac_bridge.engines.lidar import LidarModel
from isaac_bridge.engines.mujoco_world import MujocoWorld
from isaac_bridge.robot import RobotError, read_robot
from isaac_bridge.stage.paths import STEP_NS


def model(robot, noise_m=0.0, **changes):
    return LidarModel(dataclasses.replace(robot.lidar, **changes), noise_m, STEP_NS)


def make(scenario, robot, **changes):
    world = MujocoWorld(camera='off', lidar_noise_m=0.0)
    world.load(scenario, dataclasses.replace(
        robot, lidar=dataclasses.replace(robot.lidar, **changes)), 3)
    return world


def test_drop_outs_have_their_share_and_belong_to_the_instant(robot):
    walls = np.full(720, 5.0)
    faulty = model(robot, dropout=0.1)
    gone = np.stack([np.isposinf(faulty.ranges(walls, 7, step)) for step in range(100)])
    assert gone.mean() == pytest.approx(0.1, abs=0.005)
    assert (gone[0] != gone[1]).any()
    assert (np.isposinf(faulty.ranges(walls, 7, 0)) == gone[0]).all()
    assert (np.isposinf(faulty.ranges(walls, 8, 0)) != gone[0]).any()


def test_drop_outs_leave_the_noise_of_the_other_beams_alone(robot):
    walls = np.full(720, 5.0)
    noisy, both = model(robot, 0.01), model(robot, 0.01, dropout=0.2)
    kept = np.isfinite(both.ranges(walls, 7, 4))
    assert (both.ranges(walls, 7, 4)[kept] == noisy.ranges(walls, 7, 4)[kept]).all()


def test_all_drop_out_or_none(robot):
    assert np.isposinf(model(robot, dropout=1.0).ranges(np.full(720, 0.01), 0, 0)).all()
    assert (model(robot).ranges(np.full(720, 5.0), 0, 0) == np.float32(5.0)).all()


def test_latency_shows_the_world_as_it_was(empty, robot):
    """At 0.8 m/s the wall ahead is 0.08 m nearer than a scan of 100 ms ago says."""
    prompt, late = make(empty, robot), make(empty, robot, latency_ms=100.0)
    seen = []
    for _ in range(80):
        for world in (prompt, late):
            world.command(0.8, 0.1)
            world.step(5)
        seen.append(prompt.frame().ranges)
        frame = late.frame()
        assert frame.robot == prompt.frame().robot
        if len(seen) > 4:
            assert (frame.ranges == seen[-5]).all()
    assert (late.frame().ranges != seen[-1]).any()


def test_until_the_first_scan_has_arrived_it_stands_for_the_rest(empty, robot):
    late = make(at(empty, 3.0, 0.0, 0.0), robot, latency_ms=100.0)
    first = late.frame().ranges
    assert (first == make(at(empty, 3.0, 0.0, 0.0), robot).frame().ranges).all()
    late.command(0.8, 0.0)
    late.step(19)
    assert (late.frame().ranges == first).all()


def test_latency_does_not_depend_on_how_often_a_frame_is_asked_for(empty, robot):
    often, seldom = (make(empty, robot, latency_ms=60.0) for _ in range(2))
    for _ in range(8):
        for world in (often, seldom):
            world.command(0.8, 0.2)
        for _ in range(5):
            often.step(1)
            often.frame()
        seldom.step(5)
    assert often.frame().digest() == seldom.frame().digest()
    assert often.digest() == seldom.digest()


def test_a_reset_forgets_what_was_under_way(empty, robot):
    late = make(empty, robot, latency_ms=100.0)
    digest = late.digest()
    late.command(0.8, 0.0)
    late.step(100)
    late.reset(3)
    assert late.digest() == digest


@pytest.mark.parametrize(('key', 'value'), [('dropout', 1.5), ('latency_ms', -1)])
def test_a_robot_file_with_an_impossible_sensor_is_refused(tmp_path, key, value):
    from engine_scenes import CONFIG
    text = (CONFIG / 'robots/amr.yaml').read_text().replace(
        '    noise_m: 0.01 ', f'    {key}: {value}\n    noise_m: 0.01 ')
    file = tmp_path / 'amr.yaml'
    file.write_text(text)
    with pytest.raises(RobotError, match=rf'lidars\[0\].{key}'):
        read_robot(file)


def test_the_noise_of_one_scan_says_nothing_of_the_next(robot):
    noisy, far = model(robot, 0.01), np.full(720, 5.0)
    noises = [noisy.ranges(far, 3, step) - 5.0 for step in (5, 10, 15)]
    for one, other in itertools.pairwise(noises):
        shifted = [abs(np.corrcoef(one, np.roll(other, by))[0, 1]) for by in range(-60, 61)]
        assert max(shifted) < 0.2
