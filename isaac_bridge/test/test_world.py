import dataclasses
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from isaac_bridge.engines import open_world
from isaac_bridge.engines.mujoco_world import MujocoWorld
from isaac_bridge.people import draw_walks
from isaac_bridge.scenario import PERSON_RADIUS_M, Jitter, Person
from isaac_bridge.world import START_NS, WorldError

CONFIG = Path(__file__).resolve().parents[2] / 'config'
ROBOT_FILE = CONFIG / 'robots/amr.yaml'
SCENARIOS = CONFIG / 'scenarios'
STEP_S = 0.005
NEVER = (900.0, 0.0, 0.0)       # a line that no robot passes


def make(scenario, robot, seed=0, **options):
    world = MujocoWorld(**{'camera': 'off', 'lidar_noise_m': 0.0} | options)
    world.load(scenario, robot, seed)
    return world


def at(scenario, x, y, yaw):
    return dataclasses.replace(scenario, start=(x, y, yaw))


def standing(*places):
    """People who wait for a robot that never comes."""
    return tuple(Person(f'p{i}', place, ((place[0] + 1.0, place[1]),), 1.0, NEVER, Jitter())
                 for i, place in enumerate(places))


def drive(world, v, w, seconds):
    for _ in range(round(seconds / 0.025)):
        world.command(v, w)
        world.step(5)
    return world.frame()


def analytic(scenario, robot, pose):
    """Ranges to upright boxes by the slab method, written apart from the engine's."""
    lidar = robot.lidar
    angles = (lidar.angle_min_rad + pose[2] + lidar.pose[2]
              + np.arange(lidar.beams) * lidar.angle_increment_rad)
    with np.errstate(divide='ignore', invalid='ignore'):
        inverse = 1.0 / np.stack([np.cos(angles), np.sin(angles)])
        best = np.full(lidar.beams, np.inf)
        for box in (*scenario.aisle.racks(), *scenario.aisle.walls()):
            low = (np.array([[box.x0], [box.y0]]) - np.array([[pose[0]], [pose[1]]])) * inverse
            high = (np.array([[box.x1], [box.y1]]) - np.array([[pose[0]], [pose[1]]])) * inverse
            near, far = np.minimum(low, high).max(0), np.maximum(low, high).min(0)
            best = np.minimum(best, np.where((near <= far) & (near > 0), near, np.inf))
    return np.where(best > lidar.range_max_m, np.inf, best)


@pytest.mark.parametrize('pose', [(0.0, 0.0, 0.0), (11.3, 0.4, 0.7), (21.5, 3.0, -2.9),
                                  (5.0, -1.9, 1.6)])
def test_lidar_is_exact_against_walls(empty, robot, pose):
    ranges = make(at(empty, *pose), robot).frame().ranges
    expected = analytic(empty, robot, pose)
    assert ranges.dtype == np.float32
    assert ranges.shape == (720,)
    seen = np.isfinite(expected)
    # A beam along an edge may fall either way.
    agree = np.abs(ranges[seen] - expected[seen]) < 1e-3
    assert (~agree).sum() <= 2
    assert (np.isfinite(ranges) == seen).mean() > 0.997
    assert np.isposinf(ranges[~seen]).sum() >= (~seen).sum() - 2


def test_lidar_sees_people_not_itself(empty, robot):
    scenario = dataclasses.replace(empty, people=standing((3.0, 0.0)))
    ranges = make(scenario, robot).frame().ranges
    assert ranges[360] == pytest.approx(3.0 - PERSON_RADIUS_M, abs=1e-4)
    assert ranges.min() > 2.4


def test_too_close_is_minus_infinity(empty, robot):
    near = dataclasses.replace(robot, lidar=dataclasses.replace(robot.lidar, range_min_m=2.6))
    ranges = make(empty, near).frame().ranges
    assert np.isneginf(ranges[180])
    assert np.isfinite(ranges[0])


def test_noise_has_its_sigma_and_belongs_to_the_instant(empty, robot):
    quiet, noisy = make(empty, robot), make(empty, robot, lidar_noise_m=0.01)
    seen = np.isfinite(quiet.frame().ranges)
    difference = noisy.frame().ranges[seen] - quiet.frame().ranges[seen]
    assert np.std(difference[np.isfinite(difference)]) == pytest.approx(0.01, rel=0.1)
    often, seldom = make(empty, robot, lidar_noise_m=0.01), make(empty, robot, lidar_noise_m=0.01)
    for _ in range(4):
        often.step(5)
        often.frame()
    seldom.step(20)
    assert often.frame().digest() == seldom.frame().digest()


def test_speeding_up_takes_the_service_acceleration(empty, robot):
    world = make(empty, robot)
    frame = drive(world, 0.8, 0.0, 0.5)
    assert frame.twist[0] == pytest.approx(0.4, abs=0.005)
    assert drive(world, 0.8, 0.0, 1.0).twist[0] == pytest.approx(0.8, abs=1e-9)


def test_braking_distance(empty, robot):
    world = make(empty, robot)
    before = drive(world, 0.9, 0.0, 3.0)
    after = drive(world, 0.0, 0.0, 1.0)
    distance = 0.9 ** 2 / (2 * robot.limits.braking_mps2)
    assert after.robot[0] - before.robot[0] == pytest.approx(distance, abs=0.9 * STEP_S)
    assert after.twist[0] == pytest.approx(0.0, abs=1e-9)


def test_a_stale_command_brakes_to_rest(empty, robot):
    world = make(empty, robot)
    drive(world, 0.8, 0.0, 2.0)     # the last command is 25 ms old now
    world.step(25)
    assert world.frame().twist[0] == pytest.approx(0.8), 'still held at 0.15 s'
    world.step(8)
    assert world.frame().twist[0] < 0.8
    world.step(200)
    assert world.frame().twist[0] == pytest.approx(0.0, abs=1e-9)


def test_limits_hold_whatever_is_asked(empty, robot):
    frame = drive(make(empty, robot), 50.0, -50.0, 3.0)
    assert frame.twist == pytest.approx((0.9, -1.2))
    assert drive(make(empty, robot), -50.0, 0.0, 3.0).twist[0] == pytest.approx(-0.2)


def test_an_arc_is_an_arc(empty, robot):
    world = make(empty, robot)
    drive(world, 0.5, 0.5, 2.0)
    start = world.frame()
    end = drive(world, 0.5, 0.5, 2.0)
    x, y, yaw = start.robot
    centre = (x - math.sin(yaw), y + math.cos(yaw))
    assert math.dist(end.robot[:2], centre) == pytest.approx(1.0, abs=1e-3)
    assert end.robot[2] - yaw == pytest.approx(1.0, abs=1e-6)


def test_wheels_turn_with_the_base(empty, robot):
    frame = drive(make(empty, robot), 0.8, 0.0, 2.0)
    assert frame.joint_velocities == pytest.approx((8.0, 8.0))
    assert frame.joint_positions == pytest.approx((frame.robot[0] / 0.1,) * 2)
    turned = drive(make(empty, robot), 0.0, 1.0, 2.0)
    assert turned.joint_velocities == pytest.approx((-2.5, 2.5))


def test_a_rack_stops_the_base(empty, robot):
    world = make(at(empty, 5.0, 0.0, math.pi / 2), robot)
    frame = drive(world, 0.9, 0.0, 6.0)
    assert frame.robot[1] == pytest.approx(2.5 - 0.4, abs=0.02)
    assert abs(frame.twist[0]) < 0.01


def test_odometry_is_exact_or_off_by_the_wheels(empty, robot):
    frame = drive(make(empty, robot), 0.8, 0.1, 5.0)
    assert frame.odometry.pose == frame.robot
    assert frame.odometry.twist == frame.twist
    drifts = [drive(make(empty, robot, seed, odometry_error=0.01), 0.8, 0.0, 5.0)
              for seed in (1, 1, 2)]
    assert drifts[0].odometry == drifts[1].odometry != drifts[2].odometry
    off = math.dist(drifts[0].odometry.pose[:2], drifts[0].robot[:2])
    assert 0.001 < off < 0.5
    assert drifts[0].odometry.twist[0] == pytest.approx(0.8, rel=0.05)


def test_time_is_exact(empty, robot):
    world = make(empty, robot)
    assert world.t_ns == START_NS == world.frame().t_ns
    for n in (1, 2, 7, 1000):
        before = world.t_ns
        world.step(n)
        assert world.t_ns - before == n * world.step_ns
    with pytest.raises(ValueError, match=r'step\(0\)'):
        world.step(0)


def test_contact_is_found_at_every_step_and_clearance_at_the_frame(empty, robot):
    scenario = dataclasses.replace(empty, people=standing((8.0, 1.9), (3.0, 0.0)))
    world = make(scenario, robot)
    first = world.frame()
    assert first.clearance_m == pytest.approx(3.0 - 0.4 - PERSON_RADIUS_M)
    assert first.contact == -1
    assert first.people.shape == (2, 4)
    for _ in range(700):
        world.command(0.8, 0.0)
        world.step(1)
        frame = world.frame()
        assert (frame.contact == 1) == (frame.clearance_m <= 0.0)
    assert frame.contact == 1


def test_a_short_touch_between_frames_is_not_lost(empty, robot):
    """Somebody who runs past the bumper is clear again when the frame is taken."""
    runner = Person('runner', (0.55, 0.8), ((0.55, -9.9 + 6.0),), 3.0, None, Jitter())
    world = make(dataclasses.replace(empty, people=(runner,)), robot)
    world.step(400)
    frame = world.frame()
    assert frame.clearance_m > 0.0
    assert frame.contact == 0
    world.step(1)
    assert world.frame().contact == -1


def test_nobody_means_infinite_clearance_and_null_in_the_truth(empty, robot):
    frame = make(empty, robot).frame()
    assert frame.clearance_m == math.inf
    assert frame.people.shape == (0, 4)
    truth = frame.truth(camera=False)
    assert truth == {'t_ns': START_NS, 'robot': [0.0, 0.0, 0.0, 0.0, 0.0], 'people': [],
                     'clearance_m': None, 'contact': -1, 'camera': False}


def test_people_walk_when_the_robot_has_passed(aisle, robot):
    world = make(aisle, robot, seed=5)
    walk = draw_walks(aisle, 5)[0]
    moved_at = None
    while moved_at is None and world.t_ns < 30_000_000_000:
        frame = drive(world, 0.8, 0.0, 0.025)
        if frame.people[0, 3] != 0.0:
            moved_at = frame.robot[0]
    assert moved_at == pytest.approx(walk.trigger[0], abs=0.03)
    assert math.hypot(*frame.people[0, 2:]) == pytest.approx(walk.speed_mps)


def test_reset_is_the_same_as_new_and_seeds_differ(aisle, robot):
    def digest(world):
        drive(world, 0.8, 0.05, 12.0)
        return world.frame().digest()

    world = make(aisle, robot, seed=1, lidar_noise_m=None)
    first = digest(world)
    world.reset(2)
    assert digest(world) != first
    world.reset(1)
    assert digest(world) == first


def test_two_processes_agree():
    code = f'''
from isaac_bridge.engines import open_world
world = open_world({str(SCENARIOS / "aisle.yaml")!r}, {str(ROBOT_FILE)!r}, 7, camera='off',
                   odometry_error=0.01)
for i in range(600):
    world.command(0.8, 0.1 if i % 80 < 40 else -0.1)
    world.step(5)
    print(world.frame().digest())
'''
    runs = [subprocess.run([sys.executable, '-c', code], check=True, timeout=60,
                           capture_output=True).stdout for _ in range(2)]
    assert runs[0] == runs[1]
    assert len(set(runs[0].split())) == 600


def test_load_with_another_start_keeps_the_model(empty, robot):
    world = make(empty, robot)
    model = world._model
    world.load(at(empty, 3.0, 0.5, 0.2), robot, 1)
    assert world._model is model
    assert world.frame().robot == (3.0, 0.5, 0.2)


def test_before_load_the_error_says_so():
    world = MujocoWorld(camera='off')
    for call in (world.step, world.frame, lambda: world.reset(0), lambda: world.command(0, 0),
                 lambda: world.robot):
        with pytest.raises(WorldError, match='call load first'):
            call()
    world.close()
    world.close()
    with pytest.raises(WorldError, match='not one of'):
        MujocoWorld(camera='maybe')


NO_EGL = '''
import ctypes
real = ctypes.CDLL
def without_egl(name, *rest, **options):
    if name and 'EGL' in name:
        raise OSError(name)
    return real(name, *rest, **options)
ctypes.CDLL = without_egl
'''


@pytest.mark.parametrize(('backend', 'before'), [('disabled', ''), ('egl', NO_EGL)])
def test_without_rendering_the_camera_is_off_and_says_why(backend, before):
    code = before + f'''
from isaac_bridge.engines import open_world
from isaac_bridge.world import WorldError
files = {str(SCENARIOS / "empty.yaml")!r}, {str(ROBOT_FILE)!r}
world = open_world(*files)
assert not world.has_camera
assert world.frame(render=True).image is None
try:
    open_world(*files, camera='on')
except WorldError as problem:
    print(problem)
'''
    done = subprocess.run([sys.executable, '-c', code], check=True, timeout=60, text=True,
                          capture_output=True, env=os.environ | {'MUJOCO_GL': backend})
    assert 'no off-screen rendering here, so the camera is off' in done.stdout
    assert 'camera is off' in done.stderr
    assert done.stderr.count('\n') == 1


@pytest.fixture(scope='module')
def seeing(empty, robot):
    world = MujocoWorld(camera='auto', lidar_noise_m=0.0)
    world.load(dataclasses.replace(empty, people=standing((6.0, 0.8))), robot)
    if not world.has_camera:
        pytest.skip('nothing can be rendered here')
    yield world
    world.close()


def test_the_camera_is_a_pinhole_where_the_file_says(seeing, empty, robot):
    lens = robot.camera
    with_person = seeing.frame(render=True).image
    assert with_person.shape == (224, 224, 3)
    assert with_person.dtype == np.uint8
    seeing.load(dataclasses.replace(empty, people=standing((25.0, 3.9))), robot)
    without = seeing.frame(render=True).image
    # The row of points at the lens's height, where depth does not depend on the pitch.
    row = round((lens.height - 1) / 2 - lens.focal_px * math.tan(lens.pitch_rad))
    changed = np.flatnonzero((with_person[row].astype(int) != without[row]).any(axis=-1))
    dx, dy = 6.0 - lens.pose[0], 0.8
    half = math.asin(PERSON_RADIUS_M / math.hypot(dx, dy))
    edges = [(lens.width - 1) / 2 - lens.focal_px / math.cos(lens.pitch_rad)
             * math.tan(math.atan2(dy, dx) + side * half) for side in (1, -1)]
    assert changed.min() == pytest.approx(edges[0], abs=1.0)
    assert changed.max() == pytest.approx(edges[1], abs=1.0)


def test_the_camera_sees_the_lane_line_ahead(seeing, empty, robot):
    seeing.load(dataclasses.replace(empty, people=standing((25.0, 3.9))), robot)
    image = seeing.frame(render=True).image.astype(int)
    yellow = (image[..., 0] > 150) & (image[..., 1] > 120) & (image[..., 2] < 80)
    rows, columns = np.nonzero(yellow)
    assert len(rows) > 1000
    assert columns.mean() == pytest.approx(111.5, abs=1.0)
    assert rows.mean() > 112


def test_rendering_does_not_change_the_rest(seeing):
    plain, rendered = seeing.frame(), seeing.frame(render=True)
    assert rendered.ranges is plain.ranges
    seeing.step(5)
    assert seeing.frame().image is None


def test_open_world_reads_both_files():
    world = open_world(SCENARIOS / 'empty.yaml', ROBOT_FILE, camera='off')
    assert world.scenario.goal == (24.0, 0.0)
    assert world.robot.name == 'amr'
    with pytest.raises(WorldError, match="engine 'bullet' is not one of"):
        open_world(SCENARIOS / 'empty.yaml', ROBOT_FILE, engine='bullet')
