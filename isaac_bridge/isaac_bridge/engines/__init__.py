"""Engines behind the world's protocol, by name; each is imported only when it is asked for."""

from pathlib import Path
from typing import Any

from ..robot import read_robot
from ..scenario import read_scenario
from ..world import World, WorldError


def create(engine: str, **options: Any) -> World:
    """An engine that has loaded nothing yet. Raises WorldError for a name that is none."""
    if engine == 'mujoco':
        from .mujoco_world import MujocoWorld
        return MujocoWorld(**options)
    raise WorldError(f'engine {engine!r} is not one of: mujoco')


def open_world(scenario: str | Path, robot: str | Path, seed: int = 0, *,
               engine: str = 'mujoco', camera: str = 'auto',
               **options: Any) -> World:
    """A loaded world from two YAML files. Raises ScenarioError, RobotError or WorldError.

    camera: auto (if it can be rendered here), on (or WorldError), off. Options are the engine's.
    """
    world = create(engine, camera=camera, **options)
    world.load(read_scenario(scenario), read_robot(robot), seed)
    return world
