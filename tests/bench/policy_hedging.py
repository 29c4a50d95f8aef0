"""./dev bench policy, hedging: a second request for what takes unusually long.

SLOW of the replies take SLOW_FACTOR times as long as the others, at random, each request for
itself. Two clients, one that hedges and one that does not, ask in turn; latency is from the request
to the chunk that leads, or to its failure at the deadline.

    extra_ratio  second requests per first one; at most 0.05 by the budget
    p99_ratio    p99 of the latency with hedging, over p99 without

On the virtual clock REQUESTS each. `real` is the same in real time, with a real Triton whose model
is slow for the same share; what is ordinary varies more there.
"""

import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from figures import distribution
from policy_drive import ENDPOINT, Asked, Drive, Target
from policy_loop import MS, RealLoop, VirtualLoop
from policy_network import Network, SimulatedPolicy, small
from policy_scene import AMR, VOCABULARY

from policy_client.desk_triton import DeskTriton
from policy_client.policies.hold import HoldPolicy
from policy_client.policies.triton import TritonPolicy
from policy_client.routing import HOLD

SLOW, SLOW_FACTOR, SPREAD = 0.03, 6.0, 0.1
BASE_MS = 20.0
REQUESTS, REQUESTS_LONG = 20_000, 200_000
REAL_REQUESTS, REAL_REQUESTS_LONG = 1_000, 5_000
REAL_HZ, REAL_BLOCK_S, REAL_WARM_S = 40.0, 1.0, 5.0
# What is slow comes before the deadline: otherwise the deadline would do the work.
_DEADLINE_MS = 200.0
CHOSEN = Target('hedging', _DEADLINE_MS, 10.0, 5.0, 1000.0, 150.0)
_MODEL = f'''
import random, time
import numpy as np
import triton_python_backend_utils as pb_utils

CHUNK = np.tile(np.array([0.5, 0.0], np.float32), (1, 16, 1))


class TritonPythonModel:
    def initialize(self, args):
        self.chance = random.Random()

    def execute(self, requests):
        return [self.reply() for _ in requests]

    def reply(self):
        took = {BASE_MS / 1e3} * (1 + self.chance.expovariate(1.0) * {SPREAD})
        time.sleep(took * ({SLOW_FACTOR} if self.chance.random() < {SLOW} else 1.0))
        return pb_utils.InferenceResponse([pb_utils.Tensor('action.base_velocity', CHUNK)])
'''


def run(*, long: bool) -> dict[str, Any]:
    """`extra_ratio` and `p99_ratio`, and what they are made of."""
    virtual = _virtual(REQUESTS_LONG if long else REQUESTS)
    return virtual | {'target': {'extra_ratio': 0.05, 'p99_ratio': 0.5}, 'slow_share': SLOW,
                      'slow_factor': SLOW_FACTOR, 'base_ms': BASE_MS,
                      'real': _real(REAL_REQUESTS_LONG if long else REAL_REQUESTS)}


def _virtual(count: int) -> dict[str, Any]:
    loop = VirtualLoop()
    network = Network(compute_ms=BASE_MS, spread=SPREAD, slow=SLOW, slow_factor=SLOW_FACTOR)
    drives = {}
    for seed, hedge in enumerate((False, True)):
        policies = {ENDPOINT: SimulatedPolicy(loop, network, small(), seed),
                    HOLD: HoldPolicy(AMR)}
        drives[hedge] = Drive(loop, policies, CHOSEN, hedge=hedge)
    loop.run_until(loop.now_ns + 10_000 * MS)  # until both know how long a reply takes
    before = _counts(drives[True])
    for drive in drives.values():
        drive.asked.clear()
    while len(drives[True].asked) < count:
        loop.run_until(loop.now_ns + 10_000 * MS)
    return _told(drives[False].asked, drives[True].asked, before, _counts(drives[True]))


def _real(count: int) -> dict[str, Any]:
    chosen = Target('hedging, real', _DEADLINE_MS, REAL_HZ, 10.0, 1000.0, 150.0)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        # Three instances: a second request must not wait for the first one's.
        server = stack.enter_context(DeskTriton(_lay(folder / 'models', 3), models=('amr',)))
        loop = RealLoop()
        stack.callback(loop.close)
        drives = {}
        for hedge in (False, True):
            policy = TritonPolicy(server.endpoint, 'amr')
            stack.callback(policy.close)
            drives[hedge] = Drive(loop, {ENDPOINT: policy, HOLD: HoldPolicy(AMR)}, chosen,
                                  hedge=hedge)
            stack.callback(drives[hedge].end)
        # Both ask all the time: what one meets of the machine, the other meets as well.
        loop.run_until(time.monotonic_ns() + round(REAL_WARM_S * 1e9))
        before = _counts(drives[True])
        for drive in drives.values():
            drive.asked.clear()
        while min(len(drive.asked) for drive in drives.values()) < count:
            loop.run_until(time.monotonic_ns() + round(REAL_BLOCK_S * 1e9))
        return _told(drives[False].asked, drives[True].asked, before, _counts(drives[True]))


def _counts(drive: Drive) -> tuple[int, int]:
    """Second requests so far, and those whose reply led."""
    hedges, won = drive.pilot.status(drive.now)['hedges'].split(',')
    return int(hedges), int(won)


def _told(plain: list[Asked], hedged: list[Asked], before: tuple[int, int],
          after: tuple[int, int]) -> dict[str, Any]:
    found = {name: distribution([_ms(one) for one in asked])
             for name, asked in (('plain_ms', plain), ('hedged_ms', hedged))}
    without, with_ = found['plain_ms']['p99'], found['hedged_ms']['p99']
    return {'extra_ratio': round((after[0] - before[0]) / len(hedged), 4),
            'p99_ratio': round(with_ / without, 3) if without and with_ else None,
            'won': after[1] - before[1],
            'late': {'plain': sum(one.took_ns is None for one in plain),
                     'hedged': sum(one.took_ns is None for one in hedged)}} | found


def _ms(one: Asked) -> float:
    return _DEADLINE_MS if one.took_ns is None else one.took_ns / MS


def _lay(folder: Path, instances: int) -> Path:
    """A model with the AMR's tensors that is slow now and then."""
    digest = AMR.modality_sha256(VOCABULARY.sha256)
    version = folder / 'amr' / '1'
    version.mkdir(parents=True)
    (version / 'model.py').write_text(_MODEL)
    (folder / 'amr' / 'config.pbtxt').write_text(f'''
name: "amr"
backend: "python"
max_batch_size: 0
input [
  {{ name: "video.front", data_type: TYPE_UINT8, dims: [ 1, 1, 8, 8, 3 ] }},
  {{ name: "state.velocity", data_type: TYPE_FP32, dims: [ 1, 1, 2 ] }},
  {{ name: "state.goal", data_type: TYPE_FP32, dims: [ 1, 1, 2 ] }},
  {{ name: "annotation.human.task_description", data_type: TYPE_INT64, dims: [ 1, 16 ] }}
]
output [ {{ name: "action.base_velocity", data_type: TYPE_FP32, dims: [ 1, 16, 2 ] }} ]
instance_group [ {{ kind: KIND_CPU, count: {instances} }} ]
parameters [
  {{ key: "embodiment", value: {{ string_value: "amr" }} }},
  {{ key: "action_period_ms", value: {{ string_value: "100" }} }},
  {{ key: "modality_sha256", value: {{ string_value: "{digest}" }} }}
]
''')
    return folder
