"""The same robot and Pilot in real time: a real TritonPolicy, a real Triton, faults in between.

`sweep_real` of ./dev bench policy: some cells of the sweep with the real thing beside the virtual
one. Delay is put on the wire by tests/fault_proxy.py, half of it each way. A request that is lost
is one that is never handed to the policy, or whose reply is never handed on: TCP loses nothing, it
is late, and a sweep is about what does not come. `tcp_loss` shows that other case: segments are
lost on the wire, the virtual twin loses as many requests as the real one missed.

`difference` is real minus virtual. The network is the AMR's own, at 224x224 pixels.
"""

import random
import statistics
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from typing import Any

import policy_network as network
from figures import ROOT
from policy_drive import ENDPOINT, Drive, Target, Tick
from policy_loop import MS, RealLoop
from policy_scene import AMR

from policy_client.desk_triton import DeskTriton
from policy_client.handshake import ModelDescription
from policy_client.parameters import ONNX
from policy_client.policies.base import Failure, Policy, Reply, Request, Split
from policy_client.policies.hold import HoldPolicy
from policy_client.policies.onnx import OnnxPolicy
from policy_client.policies.triton import TritonPolicy
from policy_client.routing import HOLD

sys.path[:0] = [str(ROOT / 'tests')]

from fault_proxy import FaultProxy, Faults  # noqa: E402

REPOSITORY = ROOT / 'docker/triton/model_repository'
MODEL = REPOSITORY / 'amr/1/model.onnx'
SIDE = 224
CELLS = ((0.0, 50.0), (0.3, 50.0))
CELLS_LONG = (*CELLS, (0.1, 100.0), (0.0, 300.0), (1.0, 0.0))
TCP_LOSS = 0.03  # of segments; a request here has about a hundred
_WARM_S, _LEAD_S = 3.0, 2.0
_SECONDS, _SECONDS_LONG, _SECONDS_VIRTUAL = 5.0, 60.0, 200.0


class Lossy:
    """A policy of which a share of the requests, or of their replies, is lost."""

    def __init__(self, loop: RealLoop, inner: Policy) -> None:
        self._loop, self._inner = loop, inner
        self._chance = random.Random(0)
        self.loss = 0.0
        self.answered_ms: list[float] = []
        self.asked = 0

    def handshake(self, timeout_s: float) -> ModelDescription:
        return self._inner.handshake(timeout_s)

    def infer(self, request: Request) -> 'Future[Reply]':
        self.asked += 1
        began = time.monotonic_ns()
        future: Future[Reply] = Future()
        lost, of_request = self._chance.random() < self.loss, self._chance.random() < 0.5
        if not (lost and of_request):
            def done(inner: 'Future[Reply]') -> None:
                if not lost:
                    if inner.result().failure is None:
                        self.answered_ms.append((time.monotonic_ns() - began) / MS)
                    future.set_result(inner.result())
            self._inner.infer(request).add_done_callback(done)
        if lost:
            self._loop.at(began + request.timeout_ns, lambda: future.set_result(Reply(
                request.request_id, failure=Failure.DEADLINE, detail='lost')))
        return future

    def cancel(self, request_id: str) -> None:
        self._inner.cancel(request_id)

    def split(self) -> Split | None:
        return self._inner.split()

    def close(self) -> None:
        self._inner.close()


class Rig:
    """Triton, the proxy before it, and what a robot asks."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        server = stack.enter_context(DeskTriton(REPOSITORY))
        self.proxy = stack.enter_context(FaultProxy(server.ports.grpc))
        self.loop = RealLoop()
        stack.callback(self.loop.close)

    @contextmanager
    def drive(self, chosen: Target, *, fallback: bool) -> Iterator[tuple[Drive, Lossy]]:
        """A robot that has driven for a while in good health; its policies end with it."""
        self.proxy.set()
        with ExitStack() as stack:
            cloud = Lossy(self.loop, TritonPolicy(f'grpc://127.0.0.1:{self.proxy.port}', 'amr'))
            stack.callback(cloud.close)
            policies: dict[str, Policy] = {ENDPOINT: cloud}
            if fallback:
                policies[ONNX] = OnnxPolicy(MODEL)
                stack.callback(policies[ONNX].close)
            drive = Drive(self.loop, policies | {HOLD: HoldPolicy(AMR)}, chosen, camera_side=SIDE)
            stack.callback(drive.end)
            self.run(_WARM_S)
            yield drive, cloud

    def run(self, seconds: float) -> None:
        self.loop.run_until(time.monotonic_ns() + round(seconds * 1e9))


def run(rig: Rig, chosen: Target, *, long: bool) -> dict[str, Any]:
    """`sweep_real`: the cells, then the one with lost segments."""
    seconds = _SECONDS_LONG if long else _SECONDS
    cells = []
    for loss, delay_ms in CELLS_LONG if long else CELLS:
        ticks, cloud = _real(rig, chosen, loss, Faults(delay_ms=delay_ms / 2), seconds)
        twin = network.Network(loss, delay_ms, _compute_ms(cloud, delay_ms))
        cells.append({'loss': loss, 'delay_ms': delay_ms} | _beside(ticks, twin, chosen))
    ticks, cloud = _real(rig, chosen, 0.0, Faults(delay_ms=25.0, loss=TCP_LOSS), seconds)
    missed = 1 - len(cloud.answered_ms) / max(1, cloud.asked)
    twin = network.Network(missed, 50.0, _compute_ms(cloud, 50.0))
    return {'target': chosen.name, 'seconds': seconds, 'cells': cells,
            'tcp_loss': {'segments_lost': TCP_LOSS, 'requests_missed': round(missed, 3),
                         'delay_ms': 50.0} | _beside(ticks, twin, chosen)}


def _real(rig: Rig, chosen: Target, loss: float, faults: Faults,
          seconds: float) -> tuple[list[Tick], Lossy]:
    with rig.drive(chosen, fallback=False) as (drive, cloud):
        cloud.loss = loss
        rig.proxy.set(up=faults, down=faults)
        rig.run(_LEAD_S)
        drive.ticks.clear()
        cloud.answered_ms.clear()
        cloud.asked = 0
        rig.run(seconds)
        return drive.ticks, cloud


def _compute_ms(cloud: Lossy, delay_ms: float) -> float:
    """What a round trip takes beside the delay; the sweep's own where none came back."""
    if not cloud.answered_ms:
        return network.COMPUTE_MS
    return max(0.1, statistics.median(cloud.answered_ms) - delay_ms)


def _beside(ticks: list[Tick], twin: network.Network, chosen: Target) -> dict[str, Any]:
    real = network.told(ticks, chosen)
    virtual = network.told(network.simulated(chosen, twin, _SECONDS_VIRTUAL, fallback=False),
                           chosen)
    return {'real': real, 'virtual': virtual, 'difference': {
        'duty': round(real['duty'] - virtual['duty'], 3),
        'staleness_ms_max': None if None in (real['staleness_ms_max'], virtual['staleness_ms_max'])
        else round(real['staleness_ms_max'] - virtual['staleness_ms_max'], 1)}}
