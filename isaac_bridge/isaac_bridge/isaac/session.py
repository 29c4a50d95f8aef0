"""Isaac Sim, started once in a process and known to whoever needs it."""

import dataclasses
import os
from pathlib import Path
from typing import Any

from ..world import WorldError

EXPERIENCE = 'isaacsim.exp.base.zero_delay.kit'
# What the application calls or names in its graph; the experience loads some of them already.
EXTENSIONS = (
    'isaacsim.core.simulation_manager', 'isaacsim.core.rendering_manager',
    'isaacsim.core.experimental.prims', 'isaacsim.core.experimental.utils', 'isaacsim.core.nodes',
    'isaacsim.sensors.experimental.physics', 'isaacsim.sensors.experimental.rtx',
    'isaacsim.storage.native', 'isaacsim.ros2.core', 'isaacsim.ros2.nodes', 'isaacsim.ros2.bridge')


@dataclasses.dataclass(frozen=True)
class Options:
    """What the front end's parameters do not say.

    backdrop: a USD file shown around the scene (not collided with), already in the local cache.
    stage: a stage authored elsewhere, loaded instead of one authored here.
    rtx: publish the ray-traced sensors under this prefix; None: leave them out.
    """

    headless: bool = True
    gpu: int = 0
    backdrop: str | None = None
    stage: str | None = None
    rtx: str | None = None


@dataclasses.dataclass(frozen=True)
class Session:
    app: Any
    options: Options


_current: Session | None = None


def current() -> Session:
    """Raises WorldError outside of a started Isaac Sim."""
    if _current is None:
        raise WorldError('the engine isaac lives inside Isaac Sim only: run '
                         './python.sh -m isaac_bridge.isaac there')
    return _current


def start(options: Options) -> Session:
    """Boot Isaac Sim with the zero-delay experience. Raises WorldError.

    Before this, nothing of Isaac Sim but `isaacsim` itself may be imported, `pxr` included.
    """
    global _current
    if _current is not None:
        return _current
    try:
        from isaacsim import SimulationApp
    except ImportError as problem:
        raise WorldError(f'Isaac Sim is not here ({problem}): run this with its own python.sh'
                         ) from problem
    experience = Path(os.environ.get('EXP_PATH', '')) / EXPERIENCE
    if not experience.is_file():
        raise WorldError(f'no experience {EXPERIENCE} in EXP_PATH={os.environ.get("EXP_PATH", "")}:'
                         ' this is not Isaac Sim 6.2')
    app = SimulationApp(
        launch_config={'headless': options.headless, 'physics_gpu': options.gpu,
                       'active_gpu': options.gpu, 'multi_gpu': False,
                       'disable_viewport_updates': options.headless},
        experience=str(experience))
    _current = Session(app, options)
    from isaacsim.core.experimental.utils import app as app_utils
    for extension in EXTENSIONS:
        if not app_utils.enable_extension(extension):
            raise WorldError(f'Isaac Sim could not enable its extension {extension}')
    app.update()
    return _current


def show(backdrop: str | None) -> None:
    """Another backdrop for the scenes that are opened from now on."""
    global _current
    session = current()
    _current = Session(session.app, dataclasses.replace(session.options, backdrop=backdrop))


def setting(name: str) -> str | None:
    """A setting of the running Isaac Sim; None where there is none. Raises WorldError."""
    current()
    import carb.settings
    value: str | None = carb.settings.get_settings().get(name)
    return value


def stop(status: int = 0) -> None:
    """Close Isaac Sim, if it runs: that ends the process, with this status, so call it last."""
    global _current
    if _current is not None:
        app, _current = _current.app, None
        app.close(exit_code=status)
