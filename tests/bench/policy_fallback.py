"""./dev bench policy, fallback_periods: when everything to the server is lost, who leads, and when.

In control periods (1 / output rate), from the queue's end to the first output that the fallback
leads. The queue's end is when the last chunk of the server may not run any more: its rows are
executed, or its observation is older than max_age. Less than nothing: the fallback led before, and
no output was a hold; `held` counts the outputs that were one. `after_loss_ms` is from the loss to
that first output.

On the virtual clock MOMENTS at random; `real` is the same in real time, with a real Triton behind
tests/fault_proxy.py, which lets nothing pass any more, and the ONNX file on board.
"""

import random
from typing import Any

from figures import distribution
from policy_drive import ENDPOINT, Drive, Target, Tick
from policy_loop import MS, Loop, VirtualLoop
from policy_network import Network, SimulatedPolicy, onboard, small
from policy_real import Faults, Rig
from policy_scene import AMR

from policy_client.parameters import ONNX
from policy_client.policies.hold import HoldPolicy
from policy_client.routing import HOLD

MOMENTS, MOMENTS_LONG = 200, 10_000
REAL, REAL_LONG = 10, 100
_AFTER_S, _HEALTHY_S = 1.0, 3.0
_ROWS_NS = 1600 * MS  # 16 rows of 100 ms
TARGET = 2.0


class Watch:
    """What robots did from the loss on."""

    def __init__(self, chosen: Target) -> None:
        self._chosen = chosen
        self.periods: list[float] = []
        self.after_ms: list[float] = []
        self.held = 0

    def look(self, ticks: list[Tick], lost_ns: int) -> None:
        """Judge the ticks since the loss; they must hold one that the fallback leads."""
        chosen = self._chosen
        first = next((tick for tick in ticks if tick.at_ns >= lost_ns and tick.source == ONNX),
                     None)
        if first is None:
            raise RuntimeError('the fallback never led')
        last = [tick for tick in ticks if tick.source == ENDPOINT and tick.at_ns < first.at_ns][-1]
        # By age: a chunk of 1.6 s is never executed to its end under a max_age of a second.
        assert chosen.max_age_ms * MS < _ROWS_NS
        ends_ns = last.at_ns - last.age_ns + chosen.max_age_ms * MS
        self.periods.append((first.at_ns - ends_ns) / 1e9 * chosen.output_rate_hz)
        self.after_ms.append((first.at_ns - lost_ns) / MS)
        self.held += sum(tick.source == HOLD for tick in ticks if tick.at_ns >= lost_ns)

    def told(self) -> dict[str, Any]:
        return distribution(self.periods) | {
            'held': self.held, 'after_loss_ms': distribution(self.after_ms)}


def run(rig: Rig, chosen: Target, *, long: bool) -> dict[str, Any]:
    """The distribution in virtual time, with `real` beside it."""
    chance = random.Random(0)
    virtual = _virtual(chosen, chance, MOMENTS_LONG if long else MOMENTS)
    return virtual | {'target_max': TARGET, 'settings': chosen.name,
                      'real': _real(rig, chosen, chance, REAL_LONG if long else REAL)}


def _virtual(chosen: Target, chance: random.Random, count: int) -> dict[str, Any]:
    watch = Watch(chosen)
    for seed in range(count):
        loop: Loop = VirtualLoop()
        cloud = SimulatedPolicy(loop, Network(), small(), seed)
        drive = Drive(loop, {ENDPOINT: cloud, ONNX: onboard(loop), HOLD: HoldPolicy(AMR)}, chosen,
                      seed=seed)
        loop.run_until(loop.now_ns + round((_HEALTHY_S + chance.random()) * 1e9))
        cloud.network = Network(loss=1.0)
        lost_ns = loop.now_ns
        loop.run_until(lost_ns + round(_AFTER_S * 1e9))
        watch.look(drive.ticks, lost_ns)
    return watch.told()


def _real(rig: Rig, chosen: Target, chance: random.Random, count: int) -> dict[str, Any]:
    with rig.drive(chosen, fallback=True) as (drive, _):
        watch = Watch(chosen)
        for _ in range(count):
            rig.proxy.set()
            rig.run(chance.random())
            while not drive.ticks or drive.ticks[-1].source != ENDPOINT:
                rig.run(0.2)
            drive.ticks[:-1] = []
            everything = Faults(loss=1.0)
            rig.proxy.set(up=everything, down=everything)
            lost_ns = rig.loop.now_ns
            rig.run(_AFTER_S)
            watch.look(drive.ticks, lost_ns)
        rig.proxy.set()
    return watch.told()
