"""What cameras and encoders make of the truth: noise, loss and latency, drawn for each instant."""

import dataclasses

import numpy as np
import pytest
from engine_scenes import CONFIG

from isaac_bridge.arm import JointSensor
from isaac_bridge.engines.mujoco_world import MujocoWorld
from isaac_bridge.engines.sensors import CameraModel, JointModel
from isaac_bridge.entities import Pose, Resource, Scope
from isaac_bridge.robot import read_robot
from isaac_bridge.stage.paths import STEP_NS

GREY = np.full((60, 80, 3), 128, np.uint8)


@pytest.fixture(scope='module')
def armed():
    return read_robot(CONFIG / 'robots/amr_so100.yaml')


def with_sensor(robot, **values):
    return dataclasses.replace(robot, arm=dataclasses.replace(robot.arm,
                                                              sensor=JointSensor(**values)))


def with_camera(robot, **values):
    return dataclasses.replace(robot, camera=dataclasses.replace(robot.camera, **values))


def make(scenario, robot, seed=3, camera='off'):
    world = MujocoWorld(camera=camera, lidar_noise_m=0.0)
    world.load(scenario, robot, seed)
    return world


def swing(world, steps):
    world.command_arm([1.5, 0.5, 0.3, -0.8, 1.0, 1.2], [0.0] * 6, 0.02)
    world.step(steps)


def arm(frame):
    return np.array([frame.joint_positions[2:8], frame.joint_velocities[2:8]])


def test_a_perfect_sensor_is_none(empty, armed):
    plain, perfect = make(empty, armed), make(empty, with_sensor(armed))
    for _ in range(10):
        for world in (plain, perfect):
            swing(world, 3)
        assert perfect.frame().digest() == plain.frame().digest()


def test_noise_of_joints_has_its_sigma_and_leaves_the_truth_alone(empty, armed):
    plain = make(empty, armed)
    noisy = make(empty, with_sensor(armed, noise=0.01, velocity_noise=0.1))
    errors = []
    for _ in range(300):
        for world in (plain, noisy):
            swing(world, 2)
        errors.append(arm(noisy.frame()) - arm(plain.frame()))
    errors = np.array(errors)
    assert errors[:, 0].std() == pytest.approx(0.01, rel=0.05)
    assert errors[:, 1].std() == pytest.approx(0.1, rel=0.05)
    assert abs(errors[:, 0].mean()) < 0.001
    # Of one instant to the next, and from joint to joint, it is new.
    assert abs(np.corrcoef(errors[:-1, 0].ravel(), errors[1:, 0].ravel())[0, 1]) < 0.1
    assert noisy.frame().joint_positions[:2] == plain.frame().joint_positions[:2], 'wheels'


def test_latency_of_joints_shows_them_as_they_were(empty, armed):
    plain, late = make(empty, armed), make(empty, with_sensor(armed, latency_ms=20.0))
    seen = []
    for _ in range(60):
        for world in (plain, late):
            swing(world, 1)
        seen.append(arm(plain.frame()))
        if len(seen) > 4:
            assert (arm(late.frame()) == seen[-5]).all()
    assert (arm(late.frame()) != seen[-1]).any()


def test_a_lost_reading_leaves_the_one_before(empty, armed):
    plain, lossy = make(empty, armed), make(empty, with_sensor(armed, dropout=0.3))
    seen, lost = [arm(plain.frame())], 0
    for _ in range(400):
        for world in (plain, lossy):
            swing(world, 1)
        seen.append(arm(plain.frame()))
        now = arm(lossy.frame())
        assert any((now == before).all() for before in seen[-12:])
        lost += bool((now != seen[-1]).any())
    assert lost / 400 == pytest.approx(0.3, abs=0.07)


def test_all_readings_lost_leave_the_first(empty, armed):
    world = make(empty, with_sensor(armed, dropout=1.0))
    swing(world, 100)
    assert world.frame().joint_positions[2:] == armed.arm.rest


def test_joints_are_read_as_often_as_their_bus_does(empty, armed):
    world = make(empty, with_sensor(armed, rate_hz=20.0))
    swing(world, 10)
    read = arm(world.frame())
    swing(world, 9)
    assert (arm(world.frame()) == read).all()
    swing(world, 1)
    assert (arm(world.frame()) != read).any()


def test_readings_do_not_depend_on_how_often_somebody_looks(empty, armed):
    sensor = {'noise': 0.01, 'dropout': 0.3, 'latency_ms': 20.0, 'rate_hz': 100.0}
    often, seldom, never = (make(empty, with_sensor(armed, **sensor)) for _ in range(3))
    for _ in range(20):
        for world in (often, seldom, never):
            world.command_arm([1.5, 0.5, 0.3, -0.8, 1.0, 1.2], [0.0] * 6, 0.02)
        for _ in range(5):
            often.step(1)
            often.frame()
        seldom.step(5)
        seldom.frame()
        never.step(5)
    assert often.digest() == seldom.digest() == never.digest()
    assert often.frame().digest() == seldom.frame().digest() == never.frame().digest()


def test_what_is_spawned_does_not_read_the_joints_anew(empty, armed):
    one, other = (make(empty, with_sensor(armed, noise=0.01, latency_ms=10.0)) for _ in range(2))
    for world in (one, other):
        swing(world, 7)
    other.spawn('crate', Resource('box', (0.4, 0.4, 0.4)), Pose.flat(6.0, 1.0))
    assert (arm(one.frame()) == arm(other.frame())).all()


@pytest.mark.parametrize('seed', [3, 4])
def test_a_reset_forgets_what_was_under_way(empty, armed, seed):
    world = make(empty, with_sensor(armed, noise=0.01, latency_ms=50.0), seed)
    digest, frame = world.digest(), world.frame().digest()
    swing(world, 33)
    world.reset(seed)
    assert (world.digest(), world.frame().digest()) == (digest, frame)
    swing(world, 33)
    before = world.frame().joint_positions
    world.reset(seed, Scope.TIME)
    assert world.frame().joint_positions == before


def test_another_seed_is_another_noise(armed):
    models = [JointModel(JointSensor(noise=0.01), STEP_NS) for _ in range(3)]
    for model, seed in zip(models, (3, 3, 4), strict=True):
        model.put(0, (0.0,) * 6, (0.0,) * 6, seed)
    one, same, other = (model.newest(0) for model in models)
    assert one == same != other


def test_noise_of_an_image_has_its_sigma_and_belongs_to_the_instant(armed):
    noisy = CameraModel(with_camera(armed, noise=4.0).camera, STEP_NS)
    errors = np.array([noisy.seen(GREY, step, 7) for step in range(20)]).astype(float) - 128
    assert errors.std() == pytest.approx(4.0, rel=0.02)
    assert abs(errors.mean()) < 0.05
    assert (noisy.seen(GREY, 5, 7) - 128.0 == errors[5]).all()
    assert (noisy.seen(GREY, 5, 8) - 128.0 != errors[5]).any()
    assert abs(np.corrcoef(errors[0].ravel(), errors[1].ravel())[0, 1]) < 0.05
    bright = noisy.seen(np.full_like(GREY, 254), 0, 7)
    assert bright.min() > 200, 'it wrapped around'


def test_images_are_lost_by_their_share(armed):
    lossy = CameraModel(with_camera(armed, dropout=0.2).camera, STEP_NS)
    gone = [lossy.seen(GREY, step, 7) is None for step in range(2000)]
    assert np.mean(gone) == pytest.approx(0.2, abs=0.03)
    perfect = CameraModel(armed.camera, STEP_NS)
    assert perfect.seen(GREY, 0, 7) is GREY


def test_an_image_comes_late(empty, armed):
    prompt = make(empty, with_camera(armed, rate_hz=20.0), camera='auto')
    late = make(empty, with_camera(armed, rate_hz=20.0, latency_ms=90.0), camera='auto')
    if not late.has_camera:
        pytest.skip('nothing can be rendered here')
    seen = [prompt.frame(render=True).image]
    first = late.frame(render=True).image
    assert (first == seen[0]).all()
    for _ in range(6):
        for world in (prompt, late):
            swing(world, 10)
        seen.append(prompt.frame(render=True).image)
        # Of 90 ms, at 20 Hz: the second last is the newest that is so old.
        assert (late.frame(render=True).image == seen[max(0, len(seen) - 3)]).all()
    assert (seen[-1] != seen[-3]).any()
    for world in (prompt, late):
        world.close()


def test_a_lost_image_is_none_and_the_rest_of_the_frame_is_there(empty, armed):
    world = make(empty, with_camera(armed, dropout=1.0), camera='auto')
    if not world.has_camera:
        pytest.skip('nothing can be rendered here')
    frame = world.frame(render=True)
    assert frame.image is None
    assert np.isfinite(frame.ranges).any()
    world.close()


def test_looking_at_images_makes_no_difference_to_the_digest(empty, armed):
    robot = with_camera(armed, latency_ms=60.0, noise=3.0)
    looking, blind = (make(empty, robot, camera='auto') for _ in range(2))
    if not looking.has_camera:
        pytest.skip('nothing can be rendered here')
    for _ in range(6):
        for world in (looking, blind):
            swing(world, 10)
        looking.frame(render=True)
    assert looking.digest() == blind.digest()
    assert (looking.frame(render=True).image == blind.frame(render=True).image).all()
    for world in (looking, blind):
        world.close()
