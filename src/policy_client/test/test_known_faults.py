"""Faults found in public clients, each in a small naive client that has it, and not here.

The naive clients are in naive_clients.py, with the reports they are rendered from.
"""

import zlib

import numpy as np
import payload_peers as peers
import pytest
from gr00t_server import LANGUAGE, Standin
from naive_clients import (
    EstimatedDelayClient,
    FirstRowClient,
    RotatingClient,
    UnmatchedReplyClient,
)
from policy_scene import AMR, MS, SIGNATURE, VOCABULARY, changed, image, samples

from policy_client.chunks import ActionQueue, QueueSettings
from policy_client.delay import Delay
from policy_client.desk_triton import DeskTriton
from policy_client.embodiment_file import parse
from policy_client.exchange import inputs_crc32
from policy_client.motion import Limits
from policy_client.observation import assemble
from policy_client.policies import gr00t_wire as wire
from policy_client.policies.base import Failure, Request
from policy_client.policies.gr00t import Gr00tPolicy
from policy_client.policies.onnx import OnnxPolicy
from policy_client.policies.triton import TritonPolicy
from policy_client.reply import ChunkRejected

ACTION = 'action.base_velocity'
SPEAKING = parse(changed(**{f'language__{LANGUAGE}__form': 'text'}))  # to GR00T's own server

# An arm whose plan moves on by STEP a row, wherever it is; rates of SO-101 runs in PR 4223.
PERIOD_NS, ROWS, STEP = 33_000_000, 30, 0.02
WARM_UP, STEADY, STARVED = 21, 9, 27  # rows that an inference takes


class Ours:
    """The queue of this package behind the naive clients' interface, without limits that could
    hide a jump."""

    def __init__(self):
        limits = Limits.of([(-1e6, 1e6, 1e6, 1e6, 1e9, True)])
        self.queue = ActionQueue(QueueSettings(PERIOD_NS, 10_000 * MS, 0, limits), 'test')
        self.queue.found(np.zeros(1))
        self.now_ns = 0
        self._ticket = None

    def asked(self):
        self._ticket = self.queue.issue(self.now_ns, self.now_ns)

    def reply(self, rows, delay_ns):
        self.queue.adopt(self.queue.close(self._ticket.request_id), rows, 'test', self.now_ns)

    def next(self):
        return self.queue.step(self.now_ns).action


def drive(client, delays):
    """The arm's position at each tick. Each inference lasts that many rows; it starts from where
    the arm is told to be, which is row 0, and the next one begins as soon as its reply came."""
    positions, delays = [0.0], list(delays)
    due, rows, asked_at, tick = 0, None, 0, 0
    while delays or due >= tick:
        if isinstance(client, Ours):
            client.now_ns = tick * PERIOD_NS
        if rows is not None and due == tick:
            client.reply(rows, (tick - asked_at) * PERIOD_NS)
        action = client.next()
        positions.append(positions[-1] if action is None else float(action[0]))
        if due == tick and delays:
            asked_at, due = tick, tick + delays.pop(0)
            rows = positions[-1] + STEP * np.arange(ROWS, dtype=float)[:, None]
            if isinstance(client, Ours):
                client.asked()
        tick += 1
    return np.array(positions)


# huggingface/lerobot PR 4223


@pytest.mark.parametrize(('delays', 'jump'), [
    ((WARM_UP, STEADY, STEADY), WARM_UP),                           # out of standstill
    ((1, STEADY, STEADY, STARVED, STEADY), STARVED - (ROWS - STEADY)),  # the queue ran dry
], ids=['standing', 'starved'])
def test_an_arm_that_stood_does_not_jump_into_its_plan(delays, jump):
    naive = np.diff(drive(EstimatedDelayClient(PERIOD_NS), delays))
    ours = np.diff(drive(Ours(), delays))
    assert naive.max() >= jump * STEP
    # Where a queue ran dry the last row is waited at: one row has to be caught up.
    assert STEP <= ours.max() <= 2.5 * STEP


def test_the_first_inference_does_not_stay_in_the_estimate():
    naive, ours = EstimatedDelayClient(PERIOD_NS), Delay()
    random = np.random.default_rng(0)
    for delay_ms in (700, *random.uniform(280, 320, 99)):
        naive.reply(np.zeros((ROWS, 1)), round(delay_ms * MS))
        ours.add(round(delay_ms * MS))
    assert naive.estimate_ns == 700 * MS
    assert 280 * MS <= ours.quantile(0.95) <= 320 * MS


# NVIDIA/Isaac-GR00T issue 272


def test_the_arm_does_not_step_back_at_each_new_chunk():
    delays = (1, *[STEADY] * 8)
    naive, ours = np.diff(drive(FirstRowClient(), delays)), np.diff(drive(Ours(), delays))
    back = naive < 0
    assert back.sum() == len(delays) - 1  # at every chunk but the first, which finds it at rest
    assert naive[back] == pytest.approx(-(STEADY - 1) * STEP)
    assert ours[3:] == pytest.approx(STEP)
    assert ours.min() >= 0


# Positronic-Robotics/positronic PR 459


@pytest.fixture
def standin():
    server = Standin()
    yield server
    server.kill()


@pytest.fixture
def zmq_policy():
    opened = []

    def make(port, *options):
        opened.append(Gr00tPolicy('&'.join((f'zmq://127.0.0.1:{port}?image=224x224', *options)),
                                  SPEAKING))
        opened[-1].handshake(10.0)
        return opened[-1]

    yield make
    for policy in opened:
        policy.close()


def observed(robot=AMR, goal=(0.5, 0.25)):
    """An observation as the node assembles it, from messages."""
    random = np.random.default_rng(1)
    camera = image()
    camera.data = random.integers(0, 256, camera.step * camera.height, np.uint8).tobytes()
    inputs = assemble(robot, VOCABULARY, SIGNATURE, samples(camera=camera), 0).inputs
    return inputs | {'state.goal': np.array([[goal]], np.float32)}


OLD, NEW = (0.1, 0.1), (0.9, 0.9)  # the stand-in's actions are the goal that it was shown


def test_a_late_answer_is_not_taken_for_the_next_questions(standin, zmq_policy):
    def question(goal):
        return wire.observation(observed(SPEAKING, goal), wire.NESTED)['observation']

    naive = UnmatchedReplyClient(standin.port)
    standin.drill('slow', '0.5')
    with pytest.raises(TimeoutError):
        naive.infer(question(OLD), 100)
    stale = naive.infer(question(NEW), 10_000)['base_velocity']
    naive.close()
    assert stale[0, 0] == pytest.approx(OLD)  # a chunk for where the robot was

    policy = zmq_policy(standin.port)
    standin.drill('slow', '0.5')
    late = policy.infer(Request('r/1', observed(SPEAKING, OLD), 100 * MS))
    assert late.result(10.0).failure is Failure.DEADLINE
    reply = policy.infer(Request('r/2', observed(SPEAKING, NEW), 10_000 * MS)).result(20.0)
    assert (reply.failure, reply.request_id) == (None, 'r/2')
    assert reply.actions[ACTION][0, 0] == pytest.approx(NEW)


def test_a_chunk_that_was_overtaken_does_not_run():
    """Should an old answer come all the same, the queue refuses it by its request."""
    queue = Ours().queue
    old, new = queue.issue(0, 0), queue.issue(0, 0)
    queue.adopt(queue.close(new.request_id), np.full((ROWS, 1), 0.9), 'test', 0)
    with pytest.raises(ChunkRejected, match='superseded'):
        queue.adopt(queue.close(old.request_id), np.full((ROWS, 1), 0.1), 'test', 0)
    assert queue.step(0).chunk.ticket is new


# strands-labs/robots issue 169


@pytest.fixture(scope='module')
def triton_seeing(triton_environment, tmp_path_factory):
    with DeskTriton(peers.lay_triton(tmp_path_factory.mktemp('models')),
                    models=(peers.TRITON_MODEL,), folder=tmp_path_factory.mktemp('desk')) as server:
        yield server


def checksums(reply):
    """Of the inputs as Triton's model saw them, by key."""
    return dict(zip(peers.INPUTS, reply.actions[peers.CHECKSUMS].tolist(), strict=True))


@pytest.fixture
def in_process(tmp_path):
    """What a network in this process is given, by key."""
    policy = OnnxPolicy(peers.lay_onnx(tmp_path / 'echo.onnx'))
    policy.handshake(10.0)

    def seen(inputs):
        reply = policy.infer(Request('r', inputs, 10_000 * MS)).result(20.0)
        assert reply.failure is None, reply.detail
        return inputs_crc32({name.removeprefix(peers.ECHO): array
                             for name, array in reply.actions.items()})

    yield seen
    policy.close()


def test_a_naive_client_shows_the_network_two_different_pictures(in_process):
    """What the issue found by comparing payloads: the robot is the same, the bytes are not."""
    inputs = observed()
    local, service = (in_process(RotatingClient(service=service).prepared(inputs))
                      for service in (False, True))
    assert {name for name in local if local[name] != service[name]} == {'video.front'}


@pytest.mark.parametrize('options', ['', '?shared_memory=true'], ids=['grpc', 'shared_memory'])
def test_triton_sees_what_a_network_in_process_sees(triton_seeing, in_process, options):
    policy = TritonPolicy(triton_seeing.endpoint + options, peers.TRITON_MODEL)
    runs_on = policy.handshake(10.0).runs_on
    assert runs_on.endswith(', shared memory') == bool(options)
    inputs = observed()
    reply = policy.infer(Request('r', inputs, 10_000 * MS)).result(20.0)
    policy.close()
    assert reply.failure is None, reply.detail
    assert checksums(reply) == in_process(inputs) == inputs_crc32(inputs)


@pytest.mark.parametrize('layout', wire.LAYOUTS)
@pytest.mark.parametrize('encoding', wire.ENCODINGS)
def test_gr00ts_server_sees_what_a_network_in_process_sees(zmq_policy, in_process, encoding,
                                                           layout):
    server = Standin('--encoding', encoding, '--layout', layout)
    inputs = observed(SPEAKING)
    with peers.Tap(server.port, encoding) as tap:
        reply = zmq_policy(tap.port).infer(Request('r', inputs, 10_000 * MS)).result(20.0)
        found = tap.observation()
    server.kill()
    assert reply.failure is None, reply.detail
    over_the_wire = inputs_crc32(found)
    assert over_the_wire == inputs_crc32(inputs)
    local = in_process(observed())
    assert {name: over_the_wire[name] for name in local if name != LANGUAGE} == {
        name: crc for name, crc in local.items() if name != LANGUAGE}
    assert over_the_wire[LANGUAGE] == zlib.crc32(b'drive to the goal')


def test_triton_gives_a_late_answer_to_nobody(triton_seeing):
    policy = TritonPolicy(triton_seeing.endpoint, peers.TRITON_MODEL)
    policy.handshake(10.0)
    waiting = {**observed(goal=OLD), 'wait_s': np.array([0.5], np.float32)}
    late = policy.infer(Request('r/1', waiting, 100 * MS)).result(10.0)
    inputs = observed(goal=NEW)
    reply = policy.infer(Request('r/2', inputs, 10_000 * MS)).result(20.0)
    policy.close()
    assert late.failure is Failure.DEADLINE
    assert (reply.failure, reply.request_id) == (None, 'r/2')
    assert checksums(reply) == inputs_crc32(inputs)
