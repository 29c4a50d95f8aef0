"""Small clients with faults that were found in public ones, rendered in our own words.

Each has the one fault its docstring cites and is otherwise right, so that a test shows the fault.
"""

import math
from typing import Any

import numpy as np
import zmq
from gr00t_server import NPY, pack, unpack
from numpy.typing import NDArray

Array = NDArray[Any]


class EstimatedDelayClient:
    """huggingface/lerobot PR 4223: `ActionQueue.merge` drops as many rows of a new chunk as the
    delay is long, whatever the robot did meanwhile, and the longest delay ever seen stays the
    estimate (`LatencyTracker.max`)."""

    def __init__(self, period_ns: int) -> None:
        self._period_ns = period_ns
        self._rows: Array = np.empty((0, 1))
        self._longest_ns = 0

    def reply(self, rows: Array, delay_ns: int) -> None:
        self._longest_ns = max(self._longest_ns, delay_ns)
        self._rows = rows[math.ceil(delay_ns / self._period_ns):]

    def next(self) -> Array | None:
        """One action a tick; None when there is none, and the robot stays where it is."""
        if not len(self._rows):
            return None
        row, self._rows = self._rows[0], self._rows[1:]
        return row

    @property
    def estimate_ns(self) -> int:
        return self._longest_ns


class FirstRowClient:
    """NVIDIA/Isaac-GR00T issue 272: each new horizon is executed from its first row, which is for
    the time of an observation that the robot has left behind."""

    def __init__(self) -> None:
        self._rows: Array = np.empty((0, 1))

    def reply(self, rows: Array, delay_ns: int) -> None:
        self._rows = rows

    def next(self) -> Array | None:
        if not len(self._rows):
            return None
        row, self._rows = self._rows[0], self._rows[1:]
        return row


class UnmatchedReplyClient:
    """Positronic-Robotics/positronic PR 459 (positronic/offboard/client.py before its commit
    9dbc03d): after a timeout the connection is kept, and whatever comes next is the answer.

    A ZMQ REQ socket would refuse the second question; a DEALER, like Positronic's web socket, just
    sends it.
    """

    def __init__(self, port: int) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.connect(f'tcp://127.0.0.1:{port}')

    def infer(self, observation: dict[str, Any], timeout_ms: int) -> dict[str, Array]:
        """The actions by key; raises TimeoutError."""
        question = {'endpoint': 'get_action', 'data': {'observation': observation, 'options': None}}
        self._socket.send_multipart([b'', pack(question, NPY)])
        if not self._socket.poll(timeout_ms):
            raise TimeoutError(f'no answer within {timeout_ms} ms')
        actions, _ = unpack(self._socket.recv_multipart()[-1], NPY)
        return dict(actions)

    def close(self) -> None:
        self._context.destroy(0)


class RotatingClient:
    """strands-labs/robots issue 169 (fixed by PR 172): the camera's driver turns the picture by
    180 degrees already, and a flag of the robot's data configuration turns it once more, but only
    where the policy is a service: in process 5 of 5 episodes succeeded, over the wire none."""

    def __init__(self, *, service: bool, image_rotation_180: bool = True) -> None:
        self._turns = service and image_rotation_180

    def prepared(self, inputs: dict[str, Array]) -> dict[str, Array]:
        """What this client gives to the network."""
        if not self._turns:
            return inputs
        return {name: array[:, :, ::-1, ::-1] if name.startswith('video.') else array
                for name, array in inputs.items()}
