"""A policy behind a network that loses and delays, in virtual time, and what becomes of a robot.

`sweep` of ./dev bench policy: the real Pilot with a target's settings, driven as the node does it
(policy_drive), for each `loss` (a request or its reply never comes, with that probability) and
`delay_ms` (what the network adds to a round trip; the model itself takes COMPUTE_MS). It begins in
good health; the faults last LEAD_S before anything is counted. Of what follows:

    duty          share of outputs that execute a chunk, with no fallback on board
    starved       the rest: in a hold. starved_s_max is the longest time in a hold
    staleness_ms  age of the observation behind each chunk that is executed, by the robot's own
                  account; stale_executed counts those older than max_age, and must be 0
    fallback      the same with an ONNX file on board; `endpoint` is the share that the server leads

`sweep_patient` is the same with a deadline of nearly max_age, without a fallback.
"""

import random
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from figures import distribution
from policy_drive import ENDPOINT, Drive, Target, Tick
from policy_loop import MS, Loop, VirtualLoop
from policy_scene import AMR, model, rows

from policy_client.handshake import ModelDescription, TensorSpec
from policy_client.parameters import ONNX
from policy_client.policies.base import Failure, Policy, PolicyUnavailable, Reply, Request, Split
from policy_client.policies.hold import HoldPolicy
from policy_client.routing import HOLD

COMPUTE_MS, ONNX_MS = 10.0, 5.0
WARM_S, LEAD_S = 3.0, 5.0
LOSSES = tuple(round(0.1 * step, 2) for step in range(11))
DELAYS_MS = tuple(100.0 * step for step in range(11))
_LONG_LOSSES = tuple(round(0.05 * step, 2) for step in range(21))
_LONG_DELAYS_MS = tuple(50.0 * step for step in range(21))
SECONDS, SECONDS_LONG = 50.0, 600.0
_SECONDS_FALLBACK = 10.0


@dataclass
class Network:
    """Of a request and its reply together; times in milliseconds.

    Attributes:
        slow: share of the replies that take slow_factor times as long.
        spread: of the model's time, which is never below compute_ms: an exponential tail.
    """
    loss: float = 0.0
    delay_ms: float = 0.0
    compute_ms: float = COMPUTE_MS
    spread: float = 0.0
    slow: float = 0.0
    slow_factor: float = 6.0

    def took_ms(self, chance: random.Random) -> float | None:
        """How long it takes; None when nothing comes back."""
        if chance.random() < self.loss:
            return None
        took = self.delay_ms + self.compute_ms * (1 + chance.expovariate(1.0) * self.spread)
        return took * (self.slow_factor if chance.random() < self.slow else 1.0)


class SimulatedPolicy:
    """Answers after what its network says, within the deadline, as TritonPolicy does it."""

    def __init__(self, loop: Loop, network: Network, described: ModelDescription, seed: int,
                 speed: float = 0.5) -> None:
        self._loop, self.network, self._described = loop, network, described
        self._chance = random.Random(seed)
        self._actions = {'action.base_velocity': rows(speed)}

    def handshake(self, timeout_s: float) -> ModelDescription:
        """Two calls, each of which may be lost; no time passes."""
        for _ in range(2):
            took = self.network.took_ms(self._chance)
            if took is None or took > timeout_s * 1e3 / 2:
                raise PolicyUnavailable('nothing came back')
        return self._described

    def infer(self, request: Request) -> 'Future[Reply]':
        future: Future[Reply] = Future()
        took = self.network.took_ms(self._chance)
        if took is None or took * MS > request.timeout_ns:
            after, reply = request.timeout_ns, Reply(
                request.request_id, failure=Failure.DEADLINE, detail='nothing came in time')
        else:
            after, reply = round(took * MS), Reply(request.request_id, self._actions, version='1')
        self._loop.at(self._loop.now_ns + after, lambda: future.set_result(reply))
        return future

    def cancel(self, request_id: str) -> None:
        """The server computes on; nobody hears of it."""

    def split(self) -> Split | None:
        return None

    def close(self) -> None:
        pass


def small() -> ModelDescription:
    """The AMR's network with a picture of 8x8: nothing here looks at it."""
    video, *others = model().inputs
    return model(inputs=(TensorSpec(video.name, 'UINT8', (1, 1, 8, 8, 3)), *others))


def onboard(loop: Loop) -> SimulatedPolicy:
    return SimulatedPolicy(loop, Network(compute_ms=ONNX_MS), small(), 1, speed=0.4)


def simulated(chosen: Target, network: Network, seconds: float, *, fallback: bool,
              seed: int = 0) -> list[Tick]:
    """The ticks of so many seconds under the faults of a network, which begin in good health."""
    loop = VirtualLoop()
    cloud = SimulatedPolicy(loop, Network(), small(), seed)
    policies: dict[str, Policy] = {ENDPOINT: cloud}
    if fallback:
        policies[ONNX] = onboard(loop)
    drive = Drive(loop, policies | {HOLD: HoldPolicy(AMR)}, chosen, seed=seed)
    loop.run_until(loop.now_ns + round(WARM_S * 1e9))
    cloud.network = network
    loop.run_until(loop.now_ns + round(LEAD_S * 1e9))
    drive.ticks.clear()
    loop.run_until(loop.now_ns + round(seconds * 1e9))
    drive.end()
    return drive.ticks


def told(ticks: Sequence[Tick], chosen: Target) -> dict[str, Any]:
    """What a cell says of its ticks."""
    sources = np.array([tick.source for tick in ticks])
    ages = np.array([tick.age_ns for tick in ticks])[sources != HOLD] / MS
    held, longest = 0, 0
    for source in sources:
        held = held + 1 if source == HOLD else 0
        longest = max(longest, held)
    staleness = distribution(ages.tolist())
    return {'duty': round(float(np.mean(sources != HOLD)), 4),
            'endpoint': round(float(np.mean(sources == ENDPOINT)), 4),
            'starved': round(float(np.mean(sources == HOLD)), 4),
            'starved_s_max': round(longest / chosen.output_rate_hz, 2),
            'staleness_ms_p99': staleness['p99'], 'staleness_ms_max': staleness['max'],
            'stale_executed': int((ages > chosen.max_age_ms).sum())}


def patient(chosen: Target) -> Target:
    """The same with a deadline that most of max_age is waited for, to see what that would do."""
    return replace(chosen, name=f'{chosen.name}, patient', deadline_ms=0.9 * chosen.max_age_ms)


def sweep(chosen: Target, *, fallback: bool = True, long: bool = False) -> list[dict[str, Any]]:
    """A row for each cell; with a fallback too, where that is wanted."""
    losses, delays = (_LONG_LOSSES, _LONG_DELAYS_MS) if long else (LOSSES, DELAYS_MS)
    found = []
    for number, (loss, delay_ms) in enumerate((loss, delay) for loss in losses
                                              for delay in delays):
        network = Network(loss, delay_ms)
        seconds = SECONDS_LONG if long else SECONDS
        alone = told(simulated(chosen, network, seconds, fallback=False, seed=number), chosen)
        del alone['endpoint']
        found.append({'loss': loss, 'delay_ms': delay_ms} | alone)
        if fallback:
            found[-1]['fallback'] = told(simulated(
                chosen, network, seconds if long else _SECONDS_FALLBACK, fallback=True,
                seed=number), chosen)
    return found
