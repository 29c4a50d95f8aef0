"""./dev bench policy, the transport: what the client adds to a bare call, and how late it returns.

`overhead_ms`: at each size of pictures, in one run and in a new random order each round: `raw`, a
request serialised beforehand over a bare gRPC channel, in the caller's own thread; `client`, from
TritonPolicy.infer to its result; `shared_memory`, the same with ?shared_memory=true. `issue` and
`issue_shared` are how long those two hold the thread that calls infer. tritonclient's own `infer`
is measured after them, beside raw calls of its own (`infer_raw`): its copies would cool the caches
of the others. The models do nothing, so all of it is transport.

`late_ms`: how long after its deadline the caller of infer has its reply (less than nothing: before
it), beside `bare`, a wait on a condition with the same deadline, in turn in the same process.
hung: the server's process is stopped. dead: nobody listens. half_open: the connection goes silent,
and so does each new one. slow: the answer trickles. `triton` and `gr00t` each.

`proxy_ms`: what the fault proxy itself adds to a round trip when it does nothing.
"""

import json
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import policy_models as models
import tritonclient.grpc as triton_client
from figures import ROOT, distribution

from policy_client.desk_triton import DeskTriton
from policy_client.embodiment_file import parse
from policy_client.policies import triton_wire as wire
from policy_client.policies.base import Policy, Request
from policy_client.policies.gr00t import Gr00tPolicy
from policy_client.policies.triton import TritonPolicy

sys.path[:0] = [str(ROOT / 'tests'), str(ROOT / 'src/policy_client/test')]

from fault_proxy import FaultProxy, Faults  # noqa: E402
from gr00t_server import LANGUAGE, Standin  # noqa: E402
from policy_scene import changed  # noqa: E402

MS = 1_000_000
KINDS = ('hung', 'dead', 'half_open', 'slow')
_WARM = 30
_TIMEOUT_MS = 2000
_DEADLINE_MS = 20
_TRICKLE_BYTES_PER_S = 1000.0


@dataclass(frozen=True)
class _Counts:
    """How much of each is measured. A p99 needs 1,000 values, a p99.9 10,000."""

    requests: int
    late: int


_SHORT, _LONG = _Counts(300, 40), _Counts(10_000, 10_000)


class BenchFailed(RuntimeError):
    """A request that had to be answered was not; its figures would mean nothing."""


def run(*, long: bool) -> dict[str, Any]:
    """`overhead_ms`, `proxy_ms` and `late_ms` of ./dev bench policy."""
    counts = _LONG if long else _SHORT
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(DeskTriton(models.lay(folder / 'models'),
                                                models=tuple(models.SIZES)))
        return {'overhead_ms': [_overhead(server, name, counts.requests) for name in models.SIZES],
                'proxy_ms': _proxy(server, counts.requests),
                'late_ms': {kind: {'triton': _late_triton(server, kind, counts.late),
                                   'gr00t': _late_gr00t(kind, counts.late)} for kind in KINDS}}


# What the client adds

def _overhead(server: DeskTriton, name: str, count: int) -> dict[str, Any]:
    inputs = models.inputs(name)
    plain = TritonPolicy(server.endpoint, name)
    shared = TritonPolicy(f'{server.endpoint}?shared_memory=true', name)
    bare = BareChannel(server.ports.grpc, name)
    stock = triton_client.InferenceServerClient(f'127.0.0.1:{server.ports.grpc}')
    held: dict[TritonPolicy, list[float]] = {plain: [], shared: []}

    def ask(policy: TritonPolicy) -> None:
        began = time.perf_counter_ns()
        future = policy.infer(Request('1', inputs, _TIMEOUT_MS * MS))
        held[policy].append((time.perf_counter_ns() - began) / 1e3)
        _good(future.result())

    def infer() -> None:
        tensors = []
        for key, array in inputs.items():
            kind = 'UINT8' if array.dtype == np.uint8 else 'FP32'
            tensors.append(triton_client.InferInput(key, array.shape, kind))
            tensors[-1].set_data_from_numpy(array)
        stock.infer(name, tensors, client_timeout=_TIMEOUT_MS / 1e3).as_numpy(
            'action.single_arm')

    try:
        plain.handshake(5.0)
        runs_on = shared.handshake(5.0).runs_on
        if not runs_on.endswith(', shared memory'):
            raise BenchFailed(runs_on)
        figures = _interleaved({'raw': bare.ask, 'client': lambda: ask(plain),
                                'shared_memory': lambda: ask(shared)}, count)
        figures |= _interleaved({'infer': infer, 'infer_raw': bare.ask}, count)
    finally:
        for each in (plain, shared, bare, stock):
            each.close()
    height, width = models.SIZES[name]
    return {'images': f'{len(models.CAMERAS)}x{height}x{width}'} | figures | {
        'issue': _ms(held[plain][_WARM:]), 'issue_shared': _ms(held[shared][_WARM:])}


class BareChannel:
    """A request serialised beforehand, over gRPC and nothing else."""

    def __init__(self, port: int, name: str) -> None:
        self._channel = grpc.insecure_channel(f'127.0.0.1:{port}', options=[
            ('grpc.max_send_message_length', -1), ('grpc.use_local_subchannel_pool', 1)])
        self._call = self._channel.unary_unary(wire.INFER)
        self._message = wire.serialised(name, '', '1', _TIMEOUT_MS * 1000, models.inputs(name))

    def ask(self) -> None:
        self._call(self._message, timeout=_TIMEOUT_MS / 1e3)

    def close(self) -> None:
        self._channel.close()


def _proxy(server: DeskTriton, count: int) -> dict[str, Any]:
    """raw requests at 256x256 straight and through a proxy without faults."""
    with FaultProxy(server.ports.grpc) as proxy:
        straight = BareChannel(server.ports.grpc, 'small')
        through = BareChannel(proxy.port, 'small')
        try:
            return _interleaved({'straight': straight.ask, 'through': through.ask}, count)
        finally:
            straight.close()
            through.close()


def _interleaved(asks: dict[str, Callable[[], None]], count: int) -> dict[str, Any]:
    """The duration of each, in a new random order each round."""
    chance, order = random.Random(0), list(asks)
    took: dict[str, list[float]] = {name: [] for name in asks}
    for number in range(_WARM + count):
        chance.shuffle(order)
        for name in order:
            began = time.perf_counter_ns()
            asks[name]()
            ended = time.perf_counter_ns()
            if number >= _WARM:
                took[name].append((ended - began) / 1e3)
    return {name: _ms(values) for name, values in took.items()}


def _good(reply: Any) -> None:
    if reply.failure is not None:
        raise BenchFailed(f'{reply.failure}: {reply.detail}')


# How late it returns

def _late_triton(server: DeskTriton, kind: str, count: int) -> dict[str, Any]:
    inputs = models.inputs('small')
    with FaultProxy(server.ports.grpc) as proxy:
        policy = TritonPolicy(f'grpc://127.0.0.1:{proxy.port}', 'small')
        try:
            policy.handshake(5.0)
            _good(policy.infer(Request('1', inputs, _TIMEOUT_MS * MS)).result())
            with _faulty(kind, proxy, server.pause, server.resume):
                return _late(policy, inputs, count)
        finally:
            policy.close()
            server.kill()  # a resumed server may crash on requests that were cancelled (7368)
            server.start()


def _late_gr00t(kind: str, count: int) -> dict[str, Any]:
    robot = parse(changed(**{f'language__{LANGUAGE}__form': 'text',
                             'action__base_velocity__meaning': 'resolved'}))
    inputs = {'video.front': np.zeros((1, 1, 256, 256, 3), np.uint8),
              'state.velocity': np.zeros((1, 1, 2), np.float32),
              'state.goal': np.zeros((1, 1, 2), np.float32),
              LANGUAGE: np.array([[b'drive to the goal']], dtype=np.object_)}
    server = Standin()
    try:
        with FaultProxy(server.port) as proxy:
            policy = Gr00tPolicy(f'zmq://127.0.0.1:{proxy.port}', robot)
            try:
                policy.handshake(10.0)
                _good(policy.infer(Request('1', inputs, _TIMEOUT_MS * MS)).result())
                with _faulty(kind, proxy, server.pause, server.resume):
                    return _late(policy, inputs, count)
            finally:
                policy.close()
    finally:
        server.kill()


@contextmanager
def _faulty(kind: str, proxy: FaultProxy, pause: Callable[[], None],
            resume: Callable[[], None]) -> Iterator[None]:
    if kind == 'hung':
        pause()
    elif kind == 'dead':
        proxy.refuse()
    elif kind == 'half_open':
        proxy.half_open()
        proxy.silence()
    else:
        proxy.set(down=Faults(bytes_per_s=_TRICKLE_BYTES_PER_S))
    try:
        yield
    finally:
        if kind == 'hung':
            resume()


def _late(policy: Policy, inputs: Any, count: int) -> dict[str, Any]:
    """In turn: a request, and a bare wait with its deadline."""
    timeout_ns, never = _DEADLINE_MS * MS, threading.Condition()
    client, bare, failures = [], [], set()
    for number in range(3 + count):
        deadline = time.monotonic_ns() + timeout_ns
        reply = policy.infer(Request(str(number), inputs, timeout_ns)).result()
        late = time.monotonic_ns() - deadline
        failures.add(str(reply.failure))
        deadline = time.monotonic_ns() + timeout_ns
        with never:
            never.wait(timeout_ns / 1e9)
        if number >= 3:
            client.append(late / 1e3)
            bare.append((time.monotonic_ns() - deadline) / 1e3)
    return {'client': _ms(client), 'bare': _ms(bare), 'failures': sorted(failures)}


def _ms(values_us: list[float]) -> dict[str, float | int | None]:
    """A distribution in milliseconds, with the digits that microseconds have."""
    found = distribution(values_us)
    return {key: value if key == 'n' or value is None else round(value / 1e3, 4)
            for key, value in found.items()}


if __name__ == '__main__':
    print(json.dumps(run(long='--long' in sys.argv), indent=1))
