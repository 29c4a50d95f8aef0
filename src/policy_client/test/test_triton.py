"""Against a real Triton server with the model repository of this checkout."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
from policy_scene import AMR, SIGNATURE, VOCABULARY, facing_goal

from policy_client.desk_triton import DeskTriton, DeskTritonError, Ports
from policy_client.handshake import HandshakeError, compare
from policy_client.observation import blank
from policy_client.policies.base import Failure, PolicyUnavailable, Request
from policy_client.policies.onnx import OnnxPolicy
from policy_client.policies.triton import TritonPolicy
from policy_client.reply import ChunkRejected, checked

MS = 1_000_000


@pytest.fixture
def policy(triton):
    policy = TritonPolicy(triton.endpoint, 'amr')
    assert_ready(policy)
    yield policy
    policy.close()


def assert_ready(policy):
    """A server that was hung or dead is reconnected to by the client, in its own time."""
    limit = time.monotonic() + 10
    while True:
        reply = ask(policy, timeout_ms=500)
        if reply.failure is None:
            return
        assert time.monotonic() < limit, reply
        time.sleep(0.05)


def ask(policy, request_id='r', timeout_ms=1000, inputs=None):
    inputs = facing_goal() if inputs is None else inputs
    return policy.infer(Request(request_id, inputs, timeout_ms * MS)).result(10.0)


def test_the_handshake_fits_and_sizes_come_from_the_server(policy):
    signature = compare(AMR, VOCABULARY, policy.handshake(2.0))
    assert (signature.version, signature.horizon, signature.tokens) == ('1', 16, 16)
    assert signature.images == {'video.front': (224, 224)}


def test_the_server_is_a_real_triton(triton):
    assert triton.version.startswith('2.')


def test_the_same_network_answers_the_same_on_board(policy, model_onnx):
    """strands-labs/robots 169: 5 of 5 in process and 0 of 5 over the wire."""
    onnx = OnnxPolicy(model_onnx)
    onnx.handshake(5.0)
    random = np.random.default_rng(0)
    for text in ('drive to the goal', 'drive slowly to the goal', 'wait here'):
        inputs = facing_goal(text)
        inputs['video.front'] = random.integers(0, 256, (1, 1, 224, 224, 3), np.uint8)
        inputs['state.velocity'] = random.uniform(0, 0.5, (1, 1, 2)).astype(np.float32)
        name = 'action.base_velocity'
        np.testing.assert_allclose(ask(policy, inputs=inputs).actions[name],
                                   ask(onnx, inputs=inputs).actions[name], atol=1e-5)
    onnx.close()


def test_a_request_keeps_its_id_and_names_its_version(policy):
    reply = ask(policy, 'client/3/14')
    assert (reply.request_id, reply.version, reply.failure) == ('client/3/14', '1', None)
    assert checked(reply.actions, AMR, 16, 0.05).shape == (16, 2)


def test_wrong_tensors_are_refused_and_the_server_goes_on(policy):
    small = facing_goal() | {'video.front': np.zeros((1, 1, 8, 8, 3), np.uint8)}
    reply = ask(policy, inputs=small)
    assert reply.failure is Failure.INVALID
    assert 'video.front' in reply.detail
    partly = {name: array for name, array in facing_goal().items() if name != 'state.goal'}
    assert ask(policy, inputs=partly).failure is Failure.INVALID
    assert ask(policy).failure is None


def test_a_version_or_model_that_is_not_there_is_named(triton):
    for policy in (TritonPolicy(triton.endpoint, 'amr', '7'), TritonPolicy(triton.endpoint, 'x')):
        assert ask(policy).failure is Failure.NOT_FOUND
        with pytest.raises(PolicyUnavailable, match='not found'):
            policy.handshake(1.0)
        policy.close()


def test_what_a_reload_changes_is_seen_by_the_client(triton, policy):
    triton.reload(embodiment='gr1', modality_sha256='0', drill='nan')
    with pytest.raises(HandshakeError) as foreign:
        compare(AMR, VOCABULARY, policy.handshake(2.0))
    assert [text.split(':')[0] for text in foreign.value.mismatches] == [
        'embodiment', 'modality_sha256']
    with pytest.raises(ChunkRejected, match='not_finite'):
        checked(ask(policy).actions, AMR, 16, 0.05)
    triton.reload(drill='over_limit')
    with pytest.raises(ChunkRejected, match='over_limit'):
        checked(ask(policy).actions, AMR, 16, 0.05)


def test_a_load_that_is_refused_leaves_the_model_in_service(triton, policy):
    with pytest.raises(DeskTritonError, match='drill = \'bogus\': must be one of none'):
        triton.reload(drill='bogus')
    assert ask(policy).failure is None


def test_a_hung_or_slow_server_costs_one_deadline_and_a_full_one_nothing(triton, policy):
    triton.pause()
    started = time.monotonic()
    assert ask(policy, timeout_ms=80).failure is Failure.DEADLINE
    # A bound for a loaded machine; the figure is the benchmark's.
    assert 0.05 < time.monotonic() - started < 0.3
    triton.resume()
    assert_ready(policy)
    triton.reload(drill='slow')
    assert ask(policy, timeout_ms=80).failure is Failure.DEADLINE
    futures = [policy.infer(Request(str(number), facing_goal(), 300 * MS))
               for number in range(14)]
    failures = {future.result(5.0).failure for future in futures}
    assert Failure.QUEUE_FULL in failures
    assert failures <= {Failure.QUEUE_FULL, Failure.QUEUE_TIMEOUT, Failure.DEADLINE}


def test_kill_minus_nine_is_seen_at_once_and_a_return_within_seconds(triton, policy):
    triton.kill()
    started = time.monotonic()
    reply = ask(policy, timeout_ms=1000)
    assert reply.failure is Failure.UNREACHABLE
    assert time.monotonic() - started < 0.5
    with pytest.raises(PolicyUnavailable):
        policy.handshake(0.5)
    triton.start()
    assert_ready(policy)


def test_blank_inputs_are_taken(policy):
    assert ask(policy, inputs=blank(AMR, SIGNATURE)).failure is None


def test_a_closed_policy_answers_all_the_same(triton):
    policy = TritonPolicy(triton.endpoint, 'amr')
    policy.close()
    assert ask(policy).failure is Failure.CANCELLED


def assert_gone(group):
    """No process of the group is left; what was killed is reaped by another, in its own time."""
    limit = time.monotonic() + 5
    while any(process.info['status'] != psutil.STATUS_ZOMBIE
              for process in psutil.process_iter(['status']) if in_group(process, group)):
        assert time.monotonic() < limit
        time.sleep(0.02)


def in_group(process, group):
    try:
        return os.getpgid(process.pid) == group
    except ProcessLookupError:
        return False


def test_nothing_is_left_behind(triton_environment, repository, tmp_path):
    server = DeskTriton(repository, folder=tmp_path)
    with server:
        group = os.getpgid(server.pid)
    assert_gone(group)
    assert [name for name in os.listdir('/dev/shm') if f'_{server.ports.grpc}_' in name] == []


def test_a_missing_model_is_said_in_one_sentence(triton_environment, tmp_path):
    (tmp_path / 'repository').mkdir()
    server = DeskTriton(tmp_path / 'repository', folder=tmp_path / 'desk')
    with pytest.raises(DeskTritonError, match='tritonserver ended at start'):
        server.start()
    server.close()


def test_the_command_serves_until_it_is_told_to_end(triton_environment, repository, tmp_path):
    ports = Ports.free()
    process = subprocess.Popen(
        [sys.executable, '-m', 'policy_client.desk_triton', '--repository', str(repository),
         '--grpc-port', str(ports.grpc), '--http-port', str(ports.http), '--metrics-port',
         str(ports.metrics), '--folder', str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == f'ready: grpc://127.0.0.1:{ports.grpc}\n'
        policy = TritonPolicy(f'grpc://127.0.0.1:{ports.grpc}', 'amr')
        assert ask(policy).failure is None
        policy.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 143
    finally:
        process.kill()
        process.wait()
