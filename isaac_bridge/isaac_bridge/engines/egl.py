"""MuJoCo's off-screen rendering through EGL, or one sentence that says why there is none."""

import ctypes
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import mujoco
    import numpy as np

MISSING = ('no off-screen rendering here, so the camera is off: libEGL was not found '
           "(Debian and Ubuntu: 'apt install libegl1 libgl1-mesa-dri')")


def choose_backend() -> None:
    """Call before the first `import mujoco`, which reads MUJOCO_GL once.

    A backend that the user set is kept; egl without libEGL would make that import itself fail.
    """
    if os.environ.get('MUJOCO_GL', 'egl') == 'egl':
        os.environ['MUJOCO_GL'] = 'egl' if _has_egl() else 'disabled'


def _has_egl() -> bool:
    try:
        ctypes.CDLL('libEGL.so.1')
    except OSError:
        return False
    return True


class Eye:
    """Renders a model's camera. One thread: a GL context belongs to the thread that made it."""

    def __init__(self, model: 'mujoco.MjModel', width: int, height: int) -> None:
        """Raises RuntimeError with a sentence if nothing can be rendered here."""
        import mujoco
        if os.environ.get('MUJOCO_GL') == 'disabled' or not hasattr(mujoco, 'Renderer'):
            raise RuntimeError(MISSING)
        try:
            self._renderer = mujoco.Renderer(model, height, width)
        # What fails here are drivers, each in its own way (GLError, ImportError, RuntimeError).
        except Exception as problem:
            raise RuntimeError('no off-screen rendering here, so the camera is off: '
                               f'{" ".join(str(problem).split()) or type(problem).__name__}'
                               ) from problem
        # Both cost 30 ms a frame on a CPU and tell a robot little.
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
            self._renderer.scene.flags[flag] = False

    def look(self, data: 'mujoco.MjData') -> 'np.ndarray':
        """uint8 (height, width, 3) RGB of the camera named `camera`."""
        self._renderer.update_scene(data, camera='camera')
        return self._renderer.render()

    def close(self) -> None:
        self._renderer.close()
