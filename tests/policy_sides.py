"""Both kinds of servers behind one fault proxy, for tests that ask the same of each.

An observation carries a number, and its reply shows whose it is: Triton's model answers with the
digest of the picture, GR00T's stand-in with the goal.
"""

import hashlib
import sys
import tempfile
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from fault_proxy import FaultProxy
from numpy.typing import NDArray

from policy_client.desk_triton import DeskTriton
from policy_client.embodiment_file import parse
from policy_client.policies.base import Policy
from policy_client.policies.gr00t import Gr00tPolicy
from policy_client.policies.triton import TritonPolicy

ROOT = Path(__file__).resolve().parents[1]
# The servers are the package's tests' own.
sys.path.insert(0, str(ROOT / 'src/policy_client/test'))

import transport_models as models  # noqa: E402
from gr00t_server import LANGUAGE, Standin  # noqa: E402
from policy_scene import changed  # noqa: E402

AMR = parse(changed(**{f'language__{LANGUAGE}__form': 'text',
                       'action__base_velocity__meaning': 'resolved'}))


class Side(Protocol):
    """A server, and the proxy before it."""
    proxy: FaultProxy

    def policy(self) -> Policy: ...

    def inputs(self, number: int, wait_s: float = 0.0) -> dict[str, NDArray[Any]]:
        """The observation of that number, which takes the server wait_s to answer."""
        ...

    def belongs(self, actions: Any, number: int) -> bool: ...
    def heal(self) -> None: ...
    def close(self) -> None: ...


class TritonSide:
    """A real Triton; through shared memory, which needs no more than the proxy's address."""

    def __init__(self, *, shared_memory: bool = False) -> None:
        self._options = '?shared_memory=true' if shared_memory else ''
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        self._server = DeskTriton(models.lay(folder / 'models', folder / 'log'),
                                  models=(models.PICTURES,))
        self._server.start()
        self.proxy = FaultProxy(self._server.ports.grpc)

    def policy(self) -> Policy:
        url = f'grpc://127.0.0.1:{self.proxy.port}{self._options}'
        return TritonPolicy(url, models.PICTURES)

    def inputs(self, number: int, wait_s: float = 0.0) -> dict[str, NDArray[Any]]:
        shape = (1, 1, models.SIDE, models.SIDE, 3)
        cameras = {name: np.full(shape, (number + index) % 251, np.uint8)
                   for index, name in enumerate(models.CAMERAS)}
        return cameras | {'state.wait_s': np.array([wait_s], np.float32)}

    def belongs(self, actions: Any, number: int) -> bool:
        wanted = self.inputs(number)
        return all(actions['digests'][index].tobytes() == hashlib.sha256(wanted[name]).digest()
                   for index, name in enumerate(models.CAMERAS))

    def heal(self) -> None:
        _heal(self.proxy)
        self._server.start()  # one that had requests cancelled may have crashed: triton 7368

    def close(self) -> None:
        self.proxy.close()
        self._server.close()
        self._folder.cleanup()


class Gr00tSide:
    """The stand-in of GR00T's own server."""

    def __init__(self) -> None:
        self._server = Standin()
        self.proxy = FaultProxy(self._server.port)

    def policy(self) -> Policy:
        return Gr00tPolicy(f'zmq://127.0.0.1:{self.proxy.port}?image=32x48', AMR)

    def inputs(self, number: int, wait_s: float = 0.0) -> dict[str, NDArray[Any]]:
        if wait_s:
            self._server.drill('slow', str(wait_s))
        return {'video.front': np.zeros((1, 1, 32, 48, 3), np.uint8),
                'state.velocity': np.zeros((1, 1, 2), np.float32),
                'state.goal': np.array([[[number, -number]]], np.float32),
                LANGUAGE: np.array([[b'drive to the goal']], dtype=np.object_)}

    def belongs(self, actions: Any, number: int) -> bool:
        return bool((actions['action.base_velocity'] == (number, -number)).all())

    def heal(self) -> None:
        _heal(self.proxy)

    def close(self) -> None:
        self.proxy.close()
        self._server.kill()


def _heal(proxy: FaultProxy) -> None:
    proxy.set()
    proxy.half_open(False)
    proxy.refuse(False)
