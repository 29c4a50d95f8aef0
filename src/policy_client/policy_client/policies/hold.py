"""The policy that is always there: a chunk of zeros, so that the robot stands.

Zero is a hold for velocities only; an interface of positions needs another one.
"""

from concurrent.futures import Future

import numpy as np

from policy_client.embodiment import Embodiment
from policy_client.handshake import ModelDescription, TensorSpec
from policy_client.policies.base import Reply, Request

_HORIZON = 10


class HoldPolicy:
    def __init__(self, embodiment: Embodiment) -> None:
        self._embodiment = embodiment

    def handshake(self, timeout_s: float) -> ModelDescription:
        robot = self._embodiment
        inputs = [TensorSpec(key.name, 'UINT8', (1, 1, 1, 1, 3)) for key in robot.video]
        inputs += [TensorSpec(key.name, 'FP32', (1, 1, len(key.components)))
                   for key in robot.state]
        kind, size = ('INT64', 4096) if robot.language.tokens else ('BYTES', 1)
        inputs.append(TensorSpec(robot.language.name, kind, (1, size)))
        outputs = (TensorSpec(robot.action.name, 'FP32',
                              (1, _HORIZON, len(robot.action.components))),)
        return ModelDescription('hold', '1', tuple(inputs), outputs, {}, 'hold')

    def infer(self, request: Request) -> 'Future[Reply]':
        action = self._embodiment.action
        future: Future[Reply] = Future()
        rows = np.zeros((1, _HORIZON, len(action.components)), np.float32)
        future.set_result(Reply(request.request_id, {action.name: rows}, version='1'))
        return future

    def close(self) -> None:
        pass
