"""Engines behind the world's protocol, by name; each is imported only when it is asked for."""

from typing import Any

from ..world import World, WorldError


def create(engine: str, **options: Any) -> World:
    """An engine that has loaded nothing yet. Raises WorldError for a name that is none."""
    if engine == 'mujoco':
        from .mujoco_world import MujocoWorld
        return MujocoWorld(**options)
    raise WorldError(f'engine {engine!r} is not one of: mujoco')
