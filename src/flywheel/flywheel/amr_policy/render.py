"""Camera frames of the embedded world from poses all over many aisles.

Every session is another aisle: gaps, widths, paint and goal are drawn anew, and people stand
about, so that what the network uses is the lane. The expert never sees the people, and neither
does anything that is learned from them: they are only something in the picture to look past.
"""

import dataclasses
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flywheel.amr_policy import samples
from flywheel.amr_policy.dataset import CameraData, pool
from isaac_bridge.engines import open_world
from isaac_bridge.layout import Aisle
from isaac_bridge.robot import Robot, read_robot
from isaac_bridge.scenario import Jitter, Person, Scenario, read_scenario
from isaac_bridge.world import World, WorldError

PEOPLE = 3
AWAY_M = 1000.0              # where a person stands who is not in the picture
CLEAR_M = 0.6                # nearer than this the reflex has long stopped the robot


def available(root: Path) -> str:
    """Why no camera can be rendered here, or '' where it can."""
    try:
        open_world(*_files(root), camera='on').close()
    except WorldError as error:
        return str(error)
    return ''


def _files(root: Path) -> tuple[Path, Path]:
    return root / 'config/scenarios/empty.yaml', root / 'config/robots/amr.yaml'


def _vary(aisle: Aisle, rng: np.random.Generator) -> Aisle:
    """Another aisle of the same kind; every fifth is the one of the scenario file."""
    if rng.random() < 0.2:
        return aisle

    def gaps() -> tuple[tuple[float, float], ...]:
        begins = np.cumsum(rng.uniform(4.0, 11.0, 4)) + aisle.x_m[0]
        return tuple((float(x), float(x) + 2.2) for x in begins if x + 3.0 < aisle.x_m[1])

    return dataclasses.replace(
        aisle, half_width_m=float(rng.uniform(2.2, 2.9)), gaps_left=gaps(), gaps_right=gaps(),
        rack_height_m=float(rng.uniform(1.6, 2.6)),
        lane_line_width_m=float(rng.uniform(0.10, 0.14)))


def _people(pose: NDArray[np.float64], half_width_m: float,
            rng: np.random.Generator) -> tuple[Person, ...]:
    """People at rest around a pose (3,), none of them in half of the cases."""
    present = rng.integers(0, PEOPLE + 1) if rng.random() < 0.5 else 0
    standing = []
    for index in range(PEOPLE):
        angle, distance = pose[2] + rng.uniform(-0.7, 0.7), rng.uniform(CLEAR_M + 0.6, 8.0)
        place = (float(pose[0] + distance * np.cos(angle)),
                 float(np.clip(pose[1] + distance * np.sin(angle),
                               0.3 - half_width_m, half_width_m - 0.3)))
        if index >= present or np.hypot(place[0] - pose[0], place[1] - pose[1]) < CLEAR_M:
            place = (AWAY_M + index, 0.0)
        standing.append(Person(f'person_{index}', place, (place,), 1.0, np.inf, Jitter()))
    return tuple(standing)


def _session(world: World, scenario: Scenario, robot: Robot, poses: NDArray[np.float64],
             rng: np.random.Generator) -> list[NDArray[np.uint8]]:
    images = []
    for pose in poses:
        people = _people(pose, scenario.aisle.half_width_m, rng)
        start = tuple(float(value) for value in pose)
        world.load(dataclasses.replace(scenario, start=start, people=people), robot)
        frame = world.frame(render=True)
        if frame.image is None:
            raise WorldError('the camera stopped rendering')
        images.append(pool(frame.image))
    return images


def render(root: Path, count: int, sessions: int, seed: int) -> CameraData:
    """`count` frames from `sessions` worlds. Raises WorldError where nothing can be rendered."""
    rng = np.random.default_rng([seed, 0])
    scenario_file, robot_file = _files(root)
    scenario, robot = read_scenario(scenario_file), read_robot(robot_file)
    x0, x1 = scenario.aisle.x_m
    world = open_world(scenario_file, robot_file, camera='on')
    images: list[NDArray[np.uint8]] = []
    poses, session = [], []
    for number in range(sessions):
        many = count * (number + 1) // sessions - count * number // sessions
        goal = (float(rng.uniform(x0 + 3, x1 - 1)), float(rng.uniform(-0.5, 0.5)))
        here = dataclasses.replace(scenario, aisle=_vary(scenario.aisle, rng), goal=goal)
        drawn = np.concatenate([rng.uniform(x0 + 1, x1 - 1, (many, 1)),
                                samples.poses(many, rng)], axis=1)
        back = rng.random(many) < 0.25          # the lane is driven both ways
        drawn[back, 2] += np.pi
        images += _session(world, here, robot, drawn, rng)
        poses.append(drawn)
        session.append(np.full(many, number, np.int32))
        if number % 10 == 9 or number + 1 == sessions:
            print(f'render: {len(images)} of {count} frames', flush=True)
    world.close()
    return CameraData(np.stack(images), np.concatenate(poses), np.concatenate(session))
