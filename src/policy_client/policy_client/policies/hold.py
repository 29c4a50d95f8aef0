"""The policy that is always there: whatever was commanded last, again and again.

A request brings that along, so the policy has no memory that could be out of date: `held.<name>`
float32 (1, D) for each `action.<name>`, in the network's units. For a position that is where the
joint was sent last; for a velocity the caller sends what stands still.
"""

from concurrent.futures import Future
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policy_client.embodiment import Embodiment
from policy_client.handshake import ModelDescription, TensorSpec
from policy_client.policies.base import Failure, Reply, Request, Split

_HORIZON = 10


def held_name(action: str) -> str:
    """The input of a request that says what an action key is held at."""
    return 'held.' + action.removeprefix('action.')


class HoldPolicy:
    def __init__(self, embodiment: Embodiment) -> None:
        self._embodiment = embodiment

    def handshake(self, timeout_s: float) -> ModelDescription:
        """An observation's inputs, one pixel a camera; what is held is not part of it."""
        robot = self._embodiment
        inputs = [TensorSpec(key.name, 'UINT8', (1, 1, 1, 1, 3)) for key in robot.video]
        inputs += [TensorSpec(key.name, 'FP32', (1, 1, len(key.components)))
                   for key in robot.state]
        kind, size = ('INT64', 4096) if robot.language.tokens else ('BYTES', 1)
        inputs.append(TensorSpec(robot.language.name, kind, (1, size)))
        outputs = tuple(TensorSpec(key.name, 'FP32', (1, _HORIZON, len(key.components)))
                        for key in robot.actions)
        return ModelDescription('hold', '1', tuple(inputs), outputs, {}, 'hold')

    def infer(self, request: Request) -> 'Future[Reply]':
        """The held values in each of the rows; INVALID where the request does not bring one."""
        future: Future[Reply] = Future()
        rows: dict[str, NDArray[Any]] = {}
        for key in self._embodiment.actions:
            name, wanted = held_name(key.name), (1, len(key.components))
            held = request.inputs.get(name)
            if held is None or held.shape != wanted:
                what = 'missing' if held is None else f'of shape {held.shape}'
                future.set_result(Reply(request.request_id, failure=Failure.INVALID,
                                        detail=f'{name} is {what}, it must be {wanted}'))
                return future
            rows[key.name] = np.repeat(held.astype(np.float32)[:, None], _HORIZON, axis=1)
        future.set_result(Reply(request.request_id, rows, version='1'))
        return future

    def cancel(self, request_id: str) -> None:
        """Every request is answered at once."""

    def split(self) -> Split | None:
        return None

    def close(self) -> None:
        pass
