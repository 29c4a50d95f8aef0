"""A pilot in lock-step with a simulated world: replies take drawn delays, timers count its time.

On a robot a reply comes when it comes. Here it counts as come a drawn delay after it was asked for,
however long this computer takes: a tick waits for the replies that are due, and the world waits for
the tick. So the same seed gives the same drive on a slow machine and on a fast one.
"""

import dataclasses
import math
from collections.abc import Mapping
from concurrent.futures import Future, TimeoutError
from dataclasses import dataclass

import numpy as np

from policy_client.chunks import Step
from policy_client.flights import Cancel, Handshake, Job, Times
from policy_client.observation import Sample
from policy_client.parameters import ONNX, Parameters
from policy_client.pilot import Handled, Pilot
from policy_client.policies.base import Failure, Policy, PolicyUnavailable, Reply
from policy_client.routing import HOLD

_HEALTH_NS, _RECORDS_NS = 50_000_000, 200_000_000
_HANDSHAKE_S, _PATIENCE_S = 60.0, 120.0
_MS = 1_000_000
# 95 % of a standard normal distribution lies below this.
_Z95 = 1.6448536269514722


@dataclass(frozen=True)
class Delays:
    """A server's replies take a lognormal time, those of the board a tenth of the period.

    p50_ms, p95_ms: of the delay; outages_s: (from, to) since the first tick, in which no server
    answers; seed: of the draws.
    """

    p50_ms: float = 20.0
    p95_ms: float = 40.0
    outages_s: tuple[tuple[float, float], ...] = ()
    seed: int = 0


@dataclass(frozen=True)
class Tick:
    """What a tick did. step: the action that goes out, if one is due."""

    step: Step | None
    handled: tuple[Handled, ...]


class Lockstep:
    """A Pilot, its policies and the delays between them. Times are the world's, in ns.

    policies: by route, as the pilot knows them. Not thread-safe.
    """

    def __init__(self, pilot: Pilot, policies: Mapping[str, Policy], parameters: Parameters,
                 delays: Delays) -> None:
        self._pilot, self._policies, self._delays = pilot, policies, delays
        self._deadline_ns = round(parameters.deadline_ms * _MS)
        self._output_ns = round(1e9 / parameters.output_rate_hz)
        self._inference_ns = round(1e9 / parameters.inference_rate_hz)
        self._random = np.random.default_rng([delays.seed, 5])
        self._pending: list[tuple[int, int, str, Future[Reply]]] = []
        self._asked = 0
        self._due: dict[str, int] = {}
        self._began_ns: int | None = None
        self._handled: list[Handled] = []
        self._reflex: tuple[str, float] | None = None

    def hear(self, topic: str, sample: Sample, now_ns: int) -> None:
        if self._pilot.heard(topic, sample):
            self._do(self._pilot.plan(_times(now_ns)), now_ns)

    def hear_reflex(self, state: str, pace: float, now_ns: int) -> None:
        """As situation.safety_state and safety_pace read them.

        It holds until the next: the reflex says it so many times a second of a real clock, which
        may be much of the world's time. That a reflex is silent, the world in lock-step notices.
        """
        self._reflex = state, pace
        if self._pilot.safety(state, now_ns, pace):
            self._do(self._pilot.plan(_times(now_ns)), now_ns)

    def tick(self, now_ns: int) -> Tick:
        """Once for each instant of the world, when all that it says of it was heard."""
        pilot, now = self._pilot, _times(now_ns)
        self._began_ns = now_ns if self._began_ns is None else self._began_ns
        if self._reflex is not None:
            self.hear_reflex(*self._reflex, now_ns)
        self._deliver(now_ns)
        due_ns = pilot.hedge_due_ns
        if due_ns is not None and now_ns >= due_ns:
            self._do(pilot.hedge(now), now_ns)
        if self._is_due('health', _HEALTH_NS, now_ns):
            self._do(pilot.probes(now), now_ns)
        if self._is_due('inference', self._inference_ns, now_ns):
            self._do(pilot.plan(now), now_ns)
            self._deliver(now_ns)   # of a policy that takes no time
        if self._is_due('records', _RECORDS_NS, now_ns):
            self._handled.append(Handled(exchanges=pilot.records(now)))
        step = pilot.step(now) if self._is_due('output', self._output_ns, now_ns) else None
        handled, self._handled = self._handled, []
        return Tick(step, tuple(handled))

    def _is_due(self, name: str, period_ns: int, now_ns: int) -> bool:
        if now_ns < self._due.get(name, now_ns):
            return False
        # On the grid of its own period: a tick that came a little late delays no later one.
        self._due[name] = max(self._due.get(name, now_ns) + period_ns, now_ns - period_ns)
        return True

    def _do(self, jobs: tuple[Job, ...], now_ns: int) -> None:
        for job in jobs:
            if isinstance(job, Cancel):
                continue
            policy = self._policies[job.route]
            if isinstance(job, Handshake):
                try:
                    description = policy.handshake(_HANDSHAKE_S)
                except PolicyUnavailable as error:
                    self._pilot.handshake_failed(job.route, str(error), _times(now_ns))
                else:
                    self._do(self._pilot.handshaken(job.route, description, _times(now_ns)), now_ns)
                continue
            # The policy itself may take as long as it likes.
            request = dataclasses.replace(job.request, timeout_ns=round(_PATIENCE_S * 1e9))
            delay_ns = self._delay_ns(job.route, now_ns)
            if delay_ns > self._deadline_ns:
                delay_ns, reply = self._deadline_ns, _late(request.request_id)
            else:
                reply = policy.infer(request)
            self._asked += 1
            self._pending.append((now_ns + delay_ns, self._asked, job.route, reply))

    def _delay_ns(self, route: str, now_ns: int) -> int:
        if route == HOLD:
            return 0
        if route == ONNX:
            return self._inference_ns // 10
        since_s = (now_ns - (now_ns if self._began_ns is None else self._began_ns)) * 1e-9
        draw = float(self._random.standard_normal())    # always: an outage shifts no later one
        if any(begin <= since_s < end for begin, end in self._delays.outages_s):
            return self._deadline_ns + 1
        median, p95 = self._delays.p50_ms, self._delays.p95_ms
        return round(median * _MS * math.exp(draw / _Z95 * math.log(p95 / median)))

    def _deliver(self, now_ns: int) -> None:
        """Whatever is due, in its order; what a reply leads to may be due at once."""
        while due := [entry for entry in self._pending if entry[0] <= now_ns]:
            entry = min(due, key=lambda one: one[:2])
            self._pending.remove(entry)
            _, _, route, future = entry
            try:
                reply = future.result(_PATIENCE_S)
            except TimeoutError:
                reply = Reply('', failure=Failure.DEADLINE, detail=f'nothing in {_PATIENCE_S:g} s')
            handled = self._pilot.replied(route, reply, _times(now_ns))
            self._handled.append(handled)
            self._do(handled.jobs, now_ns)


def _late(request_id: str) -> 'Future[Reply]':
    future: Future[Reply] = Future()
    future.set_result(Reply(request_id, failure=Failure.DEADLINE, detail='drawn'))
    return future


def _times(now_ns: int) -> Times:
    return Times(now_ns, now_ns, now_ns)
