"""Scenes and formulas that the tests of stages and engines share."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np

from isaac_bridge.robot import Robot
from isaac_bridge.scenario import Jitter, Person, Scenario
from isaac_bridge.world import Frame, World

CONFIG = Path(__file__).resolve().parents[2] / 'config'
NO_PHYSX = 'ovphysx is not installed here (README, Engines)'
Commands = list[tuple[float, float]]


def at(scenario: Scenario, x: float, y: float, yaw: float) -> Scenario:
    return dataclasses.replace(scenario, start=(x, y, yaw))


def with_people(scenario: Scenario, *places: tuple[float, float]) -> Scenario:
    """Who wait for a robot that never comes."""
    return dataclasses.replace(scenario, people=tuple(
        Person(f'p{i}', place, ((place[0] + 1.0, place[1]),), 1.0, (900.0, 0.0, 0.0), Jitter())
        for i, place in enumerate(places)))


def drive(world: World, commands: Commands, every: int = 1) -> list[Frame]:
    """One command each 25 ms; a frame after every so many (a scan costs more than ten steps)."""
    frames = []
    for i, (v, w) in enumerate(commands, 1):
        world.command(v, w)
        world.step(5)
        if i % every == 0:
            frames.append(world.frame())
    return frames


def ranges_to_boxes(scenario: Scenario, robot: Robot, pose: tuple[float, float, float]
                    ) -> np.ndarray:
    """Analytic ranges (beams,) to racks and walls: the slab method, apart from every engine's."""
    lidar = robot.lidar
    angles = (lidar.angle_min_rad + pose[2] + lidar.pose[2]
              + np.arange(lidar.beams) * lidar.angle_increment_rad)
    here = np.array([[pose[0]], [pose[1]]])
    best = np.full(lidar.beams, np.inf)
    with np.errstate(divide='ignore', invalid='ignore'):
        inverse = 1.0 / np.stack([np.cos(angles), np.sin(angles)])
        for box in (*scenario.aisle.racks(), *scenario.aisle.walls()):
            low = (np.array([[box.x0], [box.y0]]) - here) * inverse
            high = (np.array([[box.x1], [box.y1]]) - here) * inverse
            near, far = np.minimum(low, high).max(0), np.maximum(low, high).min(0)
            best = np.minimum(best, np.where((near <= far) & (near > 0), near, np.inf))
    return np.where(best > lidar.range_max_m, np.inf, best)


def printed_by_two_processes(code: str) -> tuple[str, str]:
    """What two fresh interpreters print; a failure shows what they said."""
    outputs = []
    for _ in range(2):
        done = subprocess.run([sys.executable, '-c', code], timeout=120, text=True,
                              capture_output=True)
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
    return outputs[0], outputs[1]
