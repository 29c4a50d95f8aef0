"""Network, queue and compute told apart: the sums, and the statistics of a real Triton."""

import time

import numpy as np
import pytest
import transport_models as models
from hypothesis import given
from hypothesis import strategies as st

from policy_client.desk_triton import DeskTriton
from policy_client.policies.base import Request, Split
from policy_client.policies.onnx import OnnxPolicy
from policy_client.policies.triton import TritonPolicy
from policy_client.policies.triton_split import PERIOD_NS, Counters, SplitMeter

MS = 1_000_000
WAIT_S = 0.05


class Server:
    """Counts as Triton does; each request waits and is computed for as long as it says."""

    def __init__(self):
        self.counters = Counters(1000, 7 * MS, 9 * MS)

    def compute(self, requests, queue_ms, compute_ms):
        before = self.counters
        self.counters = Counters(before.requests + requests,
                                 before.queue_ns + round(requests * queue_ms * MS),
                                 before.compute_ns + round(requests * compute_ms * MS))


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def meter(server):
    return SplitMeter(lambda version: server.counters)


def second(meter, server, start_ns, *, requests=10, round_trip_ms=30.0, version='1'):
    """The requests of a second: each waits 5 ms and is computed for 20 ms."""
    due = False
    for number in range(requests):
        server.compute(1, 5.0, 20.0)
        due |= meter.replied(version, round(round_trip_ms * MS),
                             start_ns + number * PERIOD_NS // requests)
    return due


def test_what_is_left_of_the_round_trip_is_the_network(meter, server):
    assert second(meter, server, 0)
    meter.look(0)
    assert meter.split(0) is None  # one look shows nothing
    assert second(meter, server, PERIOD_NS)
    meter.look(2 * PERIOD_NS)
    assert meter.split(2 * PERIOD_NS) == Split(5.0, 5.0, 20.0)


def test_a_look_is_due_once_a_second(meter):
    due = [meter.replied('1', MS, number * PERIOD_NS // 10) for number in range(30)]
    assert [number for number, each in enumerate(due) if each] == [0, 10, 20]


def test_an_old_split_is_not_shown(meter, server):
    for number in range(2):
        second(meter, server, number * PERIOD_NS)
        meter.look(number * PERIOD_NS)
    assert meter.split(6 * PERIOD_NS) is not None
    assert meter.split(7 * PERIOD_NS) is None


def test_other_clients_count_in_the_means_of_the_server_only(meter, server):
    second(meter, server, 0)
    meter.look(0)
    second(meter, server, PERIOD_NS)
    server.compute(10, 15.0, 20.0)
    meter.look(PERIOD_NS)
    assert meter.split(PERIOD_NS) == Split(0.0, 10.0, 20.0)


@pytest.mark.parametrize('happened', ['loaded_again', 'silent', 'another_version'])
def test_what_was_counted_before_is_not_compared(meter, server, happened):
    second(meter, server, 0)
    meter.look(0)
    known, version = server.counters, '1'
    if happened == 'loaded_again':
        server.counters = Counters(0, 0, 0)
    elif happened == 'silent':
        server.counters = None
        meter.look(PERIOD_NS)
        server.counters = known
    else:
        version = '2'
    second(meter, server, PERIOD_NS, version=version)
    meter.look(PERIOD_NS)
    assert meter.split(PERIOD_NS) is None
    second(meter, server, 2 * PERIOD_NS, version=version)
    meter.look(2 * PERIOD_NS)
    assert meter.split(2 * PERIOD_NS) == Split(5.0, 5.0, 20.0)


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0, 100), st.floats(0, 100),
                          st.floats(0, 300), st.integers(0, 20)), max_size=20))
def test_no_part_is_ever_negative(seconds):
    server = Server()
    meter = SplitMeter(lambda version: server.counters)
    for now, (computed, queue, compute, round_trip, replies) in enumerate(seconds):
        server.compute(computed, queue, compute)
        for _ in range(replies):
            meter.replied('1', round(round_trip * MS), now * PERIOD_NS)
        meter.look(now * PERIOD_NS)
        split = meter.split(now * PERIOD_NS)
        assert split is None or min(split.network_ms, split.queue_ms, split.compute_ms) >= 0.0


# A real Triton

@pytest.fixture(scope='module')
def triton(triton_environment, tmp_path_factory):
    repository = models.lay(tmp_path_factory.mktemp('models'), tmp_path_factory.mktemp('log') / 'l')
    with DeskTriton(repository, models=(models.PICTURES,),
                    folder=tmp_path_factory.mktemp('desk')) as server:
        yield server


def request(number):
    cameras = {name: np.zeros((1, 1, models.SIDE, models.SIDE, 3), np.uint8)
               for name in models.CAMERAS}
    return Request(str(number), cameras | {'state.wait_s': np.array([WAIT_S], np.float32)},
                   5000 * MS)


def measured(policy, at_once):
    """The split while at_once requests wait at a time."""
    limit = time.monotonic() + 20.0
    while policy.split() is None:
        assert time.monotonic() < limit
        for future in [policy.infer(request(number)) for number in range(at_once)]:
            assert future.result().failure is None
    return policy.split()


def test_compute_and_queue_come_from_the_server(triton):
    alone, crowded = (TritonPolicy(triton.endpoint, models.PICTURES) for _ in range(2))
    try:
        assert alone.split() is None
        single, four = measured(alone, 1), measured(crowded, 4)
    finally:
        alone.close()
        crowded.close()
    for split in (single, four):
        assert split.compute_ms >= WAIT_S * 1e3
    assert single.queue_ms < WAIT_S * 1e3
    # One waits for nothing, the next for one, and so on: 1.5 on average.
    assert four.queue_ms > 1.2 * WAIT_S * 1e3


def test_a_server_that_is_gone_or_does_not_know_the_model_is_no_error(triton):
    for url in ('grpc://127.0.0.1:1', triton.endpoint):
        policy = TritonPolicy(url, 'nobody')
        policy._split.look(time.monotonic_ns())
        assert policy.split() is None
        policy.close()


def test_on_board_it_is_all_wait_and_compute(model_onnx):
    policy = OnnxPolicy(model_onnx)
    model = policy.handshake(20.0)
    assert policy.split() is None
    kinds = {'UINT8': np.uint8, 'INT64': np.int64, 'FP32': np.float32}
    inputs = {spec.name: np.zeros(spec.shape, kinds[spec.datatype]) for spec in model.inputs}
    reply = policy.infer(Request('1', inputs, 5000 * MS)).result()
    assert reply.failure is None
    split = policy.split()
    assert split.network_ms == 0.0
    assert split.queue_ms + split.compute_ms == pytest.approx(reply.elapsed_ns / 1e6)
    policy.close()
