"""The robot's policy client in an episode: a pilot in lock-step, and what it told."""

import numpy as np

from policy_client.embodiment import Embodiment
from policy_client.lockstep import Delays, Lockstep
from policy_client.observation import Sample
from policy_client.parameters import ONNX, Parameters
from policy_client.pilot import Pilot
from policy_client.policies.base import Policy
from policy_client.policies.hold import HoldPolicy
from policy_client.routing import HOLD
from policy_client.settings import pilot_settings
from policy_client.situation import safety_pace, safety_state
from policy_client.vocabulary import Vocabulary

from ..scenario import Faults
from . import senses

# Not one of Triton's routes, whose models say whose they are: a file on the disk need not.
SERVER = 'simulated'
_SAFETY_NS = 100_000_000


class Brain:
    """Times are the world's, in ns. board: the fallback; None: it can only hold."""

    def __init__(self, embodiment: Embodiment, vocabulary: Vocabulary, server: Policy,
                 board: Policy | None, faults: Faults, seed: int,
                 parameters: Parameters) -> None:
        policies: dict[str, Policy] = {SERVER: server}
        if board is not None:
            policies[ONNX] = board
        policies[HOLD] = HoldPolicy(embodiment)
        self._pilot = Pilot(embodiment, vocabulary, list(policies),
                            pilot_settings(parameters, [SERVER]), 'simulated')
        delay = faults.policy_delay_ms
        self._lockstep = Lockstep(self._pilot, policies, parameters, Delays(
            *(delay or ()), outages_s=faults.policy_outages_s, seed=seed))
        self._told, self._told_ns = '', 0
        self.source = HOLD

    def hear(self, topic: str, sample: Sample, now_ns: int) -> None:
        self._lockstep.hear(topic, sample, now_ns)

    def hear_reflex(self, values: dict[str, str], now_ns: int) -> None:
        """What safety/state says: at each change, and ten times a second."""
        if values['state'] == self._told and now_ns < self._told_ns + _SAFETY_NS:
            return
        self._told, self._told_ns = values['state'], now_ns
        message = senses.safety_state(values)
        self._lockstep.hear_reflex(safety_state(message), safety_pace(message), now_ns)

    def step(self, now_ns: int) -> np.ndarray | None:
        """The action that goes out now, (D,); None when none is due."""
        step = self._lockstep.tick(now_ns).step
        if step is None:
            return None
        self.source = self._pilot.telling()[1]
        return step.action
