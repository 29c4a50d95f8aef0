"""Engines behind the world's protocol, by name; each is imported only when it is asked for."""

from pathlib import Path
from typing import Any

from ..robot import read_robot
from ..scenario import read_scenario
from ..world import World, WorldError

ENGINES = ('mujoco', 'physx', 'isaac')
# What a user installs for a module that is missing.
_PACKAGES = {'mujoco': 'mujoco', 'pxr': 'usd-core', 'ovphysx': 'ovphysx', 'ovstage': 'ovphysx',
             'warp': 'ovphysx'}


def create(engine: str, **options: Any) -> World:
    """An engine that has loaded nothing yet.

    Raises WorldError for a name that is none, or an engine whose packages are not installed.
    """
    try:
        if engine == 'mujoco':
            from .mujoco_world import MujocoWorld
            return MujocoWorld(**options)
        if engine == 'physx':
            from .physx_world import PhysxWorld
            return PhysxWorld(**options)
        if engine == 'isaac':
            from ..isaac.world import IsaacWorld
            return IsaacWorld(**options)
    except ModuleNotFoundError as problem:
        module = (problem.name or '').partition('.')[0]
        if module not in _PACKAGES:
            raise
        raise WorldError(f'engine {engine} needs the Python package {_PACKAGES[module]}, which is '
                         'not installed here') from problem
    if engine == 'newton':
        raise WorldError('engine newton is not offered: newton 1.8 wants mujoco 3.17, which cannot '
                         'be installed beside the mujoco 4 of engine mujoco')
    raise WorldError(f'engine {engine!r} is not one of: {", ".join(ENGINES)}')


def open_world(scenario: str | Path, robot: str | Path, seed: int = 0, *,
               engine: str = 'mujoco', camera: str = 'auto',
               **options: Any) -> World:
    """A loaded world from two YAML files. Raises ScenarioError, RobotError or WorldError.

    camera: auto (if it can be rendered here), on (or WorldError), off. Options are the engine's.
    """
    world = create(engine, camera=camera, **options)
    world.load(read_scenario(scenario), read_robot(robot), seed)
    return world
