"""The robot's policy client on simulated time: inferences take drawn delays, timers are counted.

What a reply's delay is, a seeded distribution says, not this computer: the same seed gives the same
drive on a slow machine and on a fast one.
"""

import dataclasses
import math

import numpy as np

from policy_client.embodiment import Embodiment
from policy_client.flights import Cancel, Handshake, Job, Times
from policy_client.observation import Sample
from policy_client.parameters import ONNX, Parameters
from policy_client.pilot import Pilot
from policy_client.policies.base import Failure, Policy, PolicyUnavailable, Reply
from policy_client.policies.hold import HoldPolicy
from policy_client.routing import HOLD
from policy_client.settings import pilot_settings
from policy_client.situation import safety_pace, safety_state
from policy_client.vocabulary import Vocabulary

from ..scenario import Faults
from . import senses

# Not one of Triton's routes, whose models say whose they are: a file on the disk need not.
SERVER = 'simulated'
_HEALTH_NS, _SAFETY_NS, _RECORDS_NS = 50_000_000, 100_000_000, 200_000_000
# 95 % of a standard normal distribution lies below this.
_Z95 = 1.6448536269514722
_MS = 1_000_000
_WALL_CLOCK_IS_NO_MATTER_NS = 600_000_000_000


class Brain:
    """A Pilot, its policies, and the delays between them. Times are the world's, in ns.

    policies: route -> policy; the first leads. A server's replies take a lognormal delay with the
    faults' median and 95th percentile, those of the board its tenth of the inference period.
    """

    def __init__(self, embodiment: Embodiment, vocabulary: Vocabulary, server: Policy,
                 board: Policy | None, faults: Faults, seed: int,
                 parameters: Parameters | None = None) -> None:
        parameters = parameters or Parameters()
        self._policies: dict[str, Policy] = {SERVER: server}
        if board is not None:
            self._policies[ONNX] = board
        self._policies[HOLD] = HoldPolicy(embodiment)
        self._pilot = Pilot(embodiment, vocabulary, list(self._policies),
                            pilot_settings(parameters, [SERVER]), 'simulated')
        self._deadline_ns = round(parameters.deadline_ms * _MS)
        self._output_ns = round(1e9 / parameters.output_rate_hz)
        self._inference_ns = round(1e9 / parameters.inference_rate_hz)
        self._faults = faults
        self._random = np.random.default_rng([seed, 5])
        self._pending: list[tuple[int, int, str, Reply]] = []
        self._asked = 0
        self._due: dict[str, int] = {}
        self._began_ns: int | None = None
        self._told = ''
        self.statuses: list[tuple[int, str, str]] = []      # t, state, source: each change

    def hear(self, topic: str, sample: Sample, now_ns: int) -> None:
        if self._pilot.heard(topic, sample):
            self._do(self._pilot.plan(_times(now_ns)), now_ns)

    def hear_reflex(self, values: dict[str, str], now_ns: int) -> None:
        """What safety/state says: at each change, and ten times a second."""
        if values['state'] == self._told and not self._is_due('safety', _SAFETY_NS, now_ns):
            return
        self._told = values['state']
        message = senses.safety_state(values)
        if self._pilot.safety(safety_state(message), now_ns, safety_pace(message)):
            self._do(self._pilot.plan(_times(now_ns)), now_ns)

    def step(self, now_ns: int) -> np.ndarray | None:
        """The action that goes out now, (D,); None when none is due."""
        pilot, now = self._pilot, _times(now_ns)
        self._began_ns = now_ns if self._began_ns is None else self._began_ns
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
            pilot.records(now)
        if not self._is_due('output', self._output_ns, now_ns):
            return None
        action = pilot.step(now).action
        self._note(now_ns)
        return action

    def close(self) -> None:
        for policy in self._policies.values():
            policy.close()

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
                    description = policy.handshake(60.0)
                except PolicyUnavailable as error:
                    self._pilot.handshake_failed(job.route, str(error), _times(now_ns))
                else:
                    self._do(self._pilot.handshaken(job.route, description, _times(now_ns)), now_ns)
                continue
            request = dataclasses.replace(job.request, timeout_ns=_WALL_CLOCK_IS_NO_MATTER_NS)
            delay_ns = self._delay_ns(job.route, now_ns)
            if delay_ns > self._deadline_ns:
                delay_ns = self._deadline_ns
                reply = Reply(request.request_id, failure=Failure.DEADLINE, detail='simulated')
            else:
                reply = policy.infer(request).result()
            self._asked += 1
            self._pending.append((now_ns + delay_ns, self._asked, job.route, reply))

    def _delay_ns(self, route: str, now_ns: int) -> int:
        if route == HOLD:
            return 0
        if route == ONNX:
            return self._inference_ns // 10
        assert self._began_ns is not None or not self._pending
        since_s = (now_ns - (self._began_ns or now_ns)) * 1e-9
        draw = float(self._random.standard_normal())    # drawn always: an outage shifts no other
        if any(begin <= since_s < end for begin, end in self._faults.policy_outages_s):
            return self._deadline_ns + 1
        median_ms, p95_ms = self._faults.policy_delay_ms or (20.0, 40.0)
        return round(median_ms * _MS * math.exp(draw / _Z95 * math.log(p95_ms / median_ms)))

    def _deliver(self, now_ns: int) -> None:
        """Whatever is due, in its order; what a reply leads to may be due at once."""
        while due := [entry for entry in self._pending if entry[0] <= now_ns]:
            entry = min(due, key=lambda one: one[:2])
            self._pending.remove(entry)
            handled = self._pilot.replied(entry[2], entry[3], _times(now_ns))
            self._do(handled.jobs, now_ns)

    def _note(self, now_ns: int) -> None:
        state, source = self._pilot.telling()[:2]
        if not self.statuses or self.statuses[-1][1:] != (state, source):
            self.statuses.append((now_ns, state, source))


def _times(now_ns: int) -> Times:
    return Times(now_ns, now_ns, now_ns)
