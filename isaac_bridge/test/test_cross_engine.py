"""The same stage, commands and seeds in MuJoCo and in PhysX: one robot, not two.

What holds for every engine is tested of each that is installed here.
"""

import importlib.util
import itertools
import math

import numpy as np
import pytest
from engine_scenes import (
    CONFIG,
    NO_PHYSX,
    at,
    drive,
    printed_by_two_processes,
    ranges_to_boxes,
)
from pxr import Gf, UsdGeom

from isaac_bridge.engines import create
from isaac_bridge.entities import Pose, Resource, State
from isaac_bridge.robot import read_robot
from isaac_bridge.stage import paths
from isaac_bridge.stage.author import author

pytestmark = pytest.mark.filterwarnings('ignore:ovphysx')
WITH_PHYSX = importlib.util.find_spec('ovphysx') is not None
PHYSX = pytest.param('physx', marks=pytest.mark.skipif(not WITH_PHYSX, reason=NO_PHYSX))
ENGINES = ['mujoco', PHYSX]
# Straight, a curve to each side, a stop, backwards: 12 s.
COURSE = [*[(0.8, 0.0)] * 120, *[(0.6, 0.35)] * 100, *[(0.6, -0.35)] * 100, *[(0.0, 0.0)] * 40,
          *[(-0.2, 0.0)] * 60, *[(0.0, 0.6)] * 60]


@pytest.fixture
def open_engine():
    worlds = []

    def opened(engine, scenario, robot, seed=3, **options):
        worlds.append(create(engine, **{'camera': 'off', 'lidar_noise_m': 0.0} | options))
        worlds[-1].load(scenario, robot, seed)
        return worlds[-1]

    yield opened
    for world in worlds:
        world.close()


def path_of(world, name, course):
    places = []
    for v, w in course:
        world.command(v, w)
        world.step(5)
        places.append(world.state(name).pose.position[:2])
    return places


@pytest.mark.skipif(not WITH_PHYSX, reason=NO_PHYSX)
@pytest.mark.parametrize('name', ['amr', 'amr_so100'])
def test_paths_diverge_by_less_than_two_percent_of_their_length(open_engine, aisle, name):
    robot = read_robot(CONFIG / f'robots/{name}.yaml')
    one, other = (path_of(open_engine(engine, aisle, robot), name, COURSE)
                  for engine in ('mujoco', 'physx'))
    length = sum(itertools.starmap(math.dist, itertools.pairwise(one)))
    apart = max(map(math.dist, one, other))
    assert length > 4.0
    assert apart < 0.02 * length
    # And they are two engines, not one.
    assert apart > 1e-6


@pytest.mark.skipif(not WITH_PHYSX, reason=NO_PHYSX)
def test_people_walk_alike(open_engine, aisle, robot):
    """They wait for the robot, so how they walk shows where it was."""
    walks = []
    for engine in ('mujoco', 'physx'):
        world = open_engine(engine, at(aisle, 7.5, 0.0, 0.0), robot)
        walks.append(np.array([frame.people for frame
                               in drive(world, [(0.8, 0.0)] * 160, every=20)]))
    assert (walks[0][-1, :, 2:] != 0.0).any()
    assert np.abs(walks[0] - walks[1]).max() < 0.05


@pytest.mark.parametrize('pose', [(0.0, 0.0, 0.0), (11.3, 0.4, 0.7), (21.5, 3.0, -2.9),
                                  (5.0, -1.9, 1.6)])
@pytest.mark.parametrize('engine', ENGINES)
def test_lidar_against_walls_is_exact_to_a_millimetre(open_engine, empty, robot, engine, pose):
    ranges = open_engine(engine, at(empty, *pose), robot).frame().ranges
    _assert_exact(ranges, ranges_to_boxes(empty, robot, pose))


@pytest.mark.parametrize('engine', ENGINES)
def test_lidar_is_exact_in_motion(open_engine, empty, robot, engine):
    """Sensor lag zero: a frame's scan is of the frame's pose."""
    world = open_engine(engine, empty, robot)
    for frame in drive(world, [(0.8, 0.5)] * 60, every=15):
        _assert_exact(frame.ranges, ranges_to_boxes(empty, robot, frame.robot))


def _assert_exact(ranges, expected):
    seen = np.isfinite(expected)
    # A beam along an edge may fall either way.
    assert (np.abs(ranges[seen] - expected[seen]) >= 1e-3).sum() <= 2
    assert (np.isfinite(ranges) != seen).sum() <= 2


@pytest.mark.parametrize(('engine', 'off_mps', 'off_radps'), [
    ('mujoco', 1e-6, 1e-6), pytest.param('physx', 0.02, 0.03, marks=PHYSX.marks)])
def test_odometry_twist_is_the_difference_of_poses(open_engine, empty, robot, engine, off_mps,
                                                   off_radps):
    """At constant speed. MuJoCo's wheels do not slip; PhysX's do, a little."""
    world = open_engine(engine, empty, robot)
    drive(world, [(0.6, 0.3)] * 60, every=60)
    frames = drive(world, [(0.6, 0.3)] * 30)
    for before, after in itertools.pairwise(frames):
        turned = after.robot[2] - before.robot[2]
        chord = math.dist(before.robot[:2], after.robot[:2])
        arc = chord * (turned / 2) / math.sin(turned / 2)
        v, w = after.odometry.twist
        assert v == pytest.approx(arc / 0.025, abs=off_mps)
        assert w == pytest.approx(turned / 0.025, abs=off_radps)


@pytest.mark.parametrize('engine', ENGINES)
def test_two_processes_agree(engine):
    code = f'''
from isaac_bridge.engines import open_world
world = open_world({str(CONFIG / "scenarios/aisle.yaml")!r}, {str(CONFIG / "robots/amr.yaml")!r},
                   7, engine={engine!r}, camera='off', odometry_error=0.01)
for i in range(60):
    world.command(0.8, 0.3 if i % 40 < 20 else -0.3)
    world.step(5)
    if i % 10 == 9:
        print(world.frame().digest(), world.digest())
world.close()
'''
    one, other = printed_by_two_processes(code)
    assert one == other
    assert len(set(one.split())) == 12


def project(stage, lens, robot_pose, points):
    """Pixels (n, 2) of world points by the USD camera's own numbers; centres are at integers."""
    camera = UsdGeom.Camera(stage.GetPrimAtPath(f'{paths.BASE}/{lens.name}'))
    x, y, yaw = robot_pose
    place = Gf.Matrix4d(Gf.Rotation(Gf.Vec3d(0, 0, 1), math.degrees(yaw)), Gf.Vec3d(x, y, 0))
    to_camera = (camera.GetLocalTransformation() * place).GetInverse()
    focal = camera.GetFocalLengthAttr().Get()
    fx = focal / camera.GetHorizontalApertureAttr().Get() * lens.width
    fy = focal / camera.GetVerticalApertureAttr().Get() * lens.height
    seen = np.array([to_camera.Transform(Gf.Vec3d(*point)) for point in points])
    return np.stack([(lens.width - 1) / 2 + fx * seen[:, 0] / -seen[:, 2],
                     (lens.height - 1) / 2 - fy * seen[:, 1] / -seen[:, 2]], axis=1)


@pytest.mark.parametrize('name', ['amr', 'amr_so100'])
def test_the_rendered_camera_is_the_stages_to_a_pixel(open_engine, empty, name):
    """The outline of a box in the image against its corners through the stage's camera."""
    robot = read_robot(CONFIG / f'robots/{name}.yaml')
    world = open_engine('mujoco', at(empty, 2.0, 0.2, 0.1), robot, camera='auto')
    if not world.has_camera:
        pytest.skip('nothing can be rendered here')
    stage, here = author(empty, robot), world.frame().robot
    # Where nothing of the robot is in the way.
    far, sides = (2.4, (-0.5, 0.0, 0.6)) if name == 'amr' else (1.1, (-0.3, 0.35))
    without = world.frame(render=True).image.astype(int)
    size = 0.12
    for i, (side, height) in enumerate(itertools.product(sides, (0.05, 0.2))):
        c, s = math.cos(here[2]), math.sin(here[2])
        x, y = here[0] + c * far - s * side, here[1] + s * far + c * side
        world.spawn(f'box_{i}', Resource('box', (size, size, size)), Pose((x, y, height)))
        image = world.frame(render=True).image.astype(int)
        world.delete(f'box_{i}')
        rows, columns = np.nonzero((np.abs(image - without) > 8).any(axis=-1))
        corners = project(stage, robot.camera, here, [
            (x + a * size / 2, y + b * size / 2, height + h * size)
            for a, b, h in itertools.product((-1, 1), (-1, 1), (0, 1))])
        assert columns.min() == pytest.approx(corners[:, 0].min(), abs=1.0)
        assert columns.max() == pytest.approx(corners[:, 0].max(), abs=1.0)
        assert rows.min() == pytest.approx(corners[:, 1].min(), abs=1.0)
        assert rows.max() == pytest.approx(corners[:, 1].max(), abs=1.0)


@pytest.mark.parametrize('engine', ENGINES)
def test_what_is_moved_is_there_at_the_next_step_seen_or_not(open_engine, empty, robot, engine):
    """Nobody asks for a frame between putting a box in the way and driving into it."""
    world = open_engine(engine, empty, robot)
    world.spawn('crate', Resource('box', (0.4, 0.6, 0.5)), Pose.flat(0.9, 0.0))
    path_of(world, 'amr', [(0.8, 0.0)] * 40)
    assert world.state('amr').pose.position[0] == pytest.approx(0.7 - 0.4, abs=0.02)
    world.set_state('crate', State(Pose.flat(9.0, 2.0)))
    path_of(world, 'amr', [(0.8, 0.0)] * 60)
    assert world.state('amr').pose.position[0] > 0.7
