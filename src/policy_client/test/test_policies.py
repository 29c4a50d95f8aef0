"""ONNX on board and hold, with the network of this checkout; Triton has a file of its own."""

import numpy as np
import onnx_file
import pytest
from policy_scene import AMR, VOCABULARY, facing_goal

from policy_client.handshake import HandshakeError, compare
from policy_client.policies.base import Failure, PolicyUnavailable, Request
from policy_client.policies.hold import HoldPolicy
from policy_client.policies.onnx import OnnxPolicy, providers
from policy_client.policies.triton import address, classify
from policy_client.reply import checked

SECOND = 1_000_000_000


@pytest.fixture
def onnx(model_onnx):
    policy = OnnxPolicy(model_onnx)
    yield policy
    policy.close()


def test_the_network_on_board_fits_the_embodiment_and_drives(onnx):
    description = onnx.handshake(5.0)
    signature = compare(AMR, VOCABULARY, description, parameters_required=False)
    assert (signature.horizon, signature.tokens) == (16, 16)
    assert signature.runs_on.endswith('ExecutionProvider')
    reply = onnx.infer(Request('1', facing_goal(), SECOND)).result(5.0)
    assert (reply.failure, reply.request_id, reply.version) == (None, '1', description.version)
    rows = checked(reply.actions, AMR, signature.horizon, 0.05)
    assert rows[-1, 0] > 0.3  # it sets out


def test_a_request_before_the_handshake_and_after_the_end_comes_back(model_onnx):
    policy = OnnxPolicy(model_onnx)
    assert policy.infer(Request('1', {}, SECOND)).result(5.0).failure is Failure.MODEL_ERROR
    policy.close()
    assert policy.infer(Request('2', {}, SECOND)).result(5.0).failure is Failure.CANCELLED


def test_wrong_inputs_are_an_error_and_no_exception(onnx):
    onnx.handshake(5.0)
    inputs = facing_goal() | {'state.goal': np.zeros((1, 1, 3), np.float32)}
    reply = onnx.infer(Request('1', inputs, SECOND)).result(5.0)
    assert reply.failure is Failure.MODEL_ERROR
    assert 'state.goal' in reply.detail


def test_a_late_inference_brings_no_actions(onnx):
    onnx.handshake(5.0)
    reply = onnx.infer(Request('1', facing_goal(), 1)).result(5.0)
    assert (reply.failure, reply.actions) == (Failure.DEADLINE, {})


def test_a_missing_or_broken_file_is_named(tmp_path):
    with pytest.raises(PolicyUnavailable, match=r'there is no file .*none\.onnx'):
        OnnxPolicy(tmp_path / 'none.onnx').handshake(1.0)
    (tmp_path / 'bad.onnx').write_bytes(b'no network')
    with pytest.raises(PolicyUnavailable, match=r'bad\.onnx'):
        OnnxPolicy(tmp_path / 'bad.onnx').handshake(1.0)


def test_a_network_of_another_shape_is_refused_by_its_names(tmp_path):
    inputs = dict(onnx_file.INPUTS)
    inputs['state.arm'] = (onnx_file.FLOAT, (1, 1, 7))
    path = onnx_file.write(tmp_path / 'other.onnx', inputs=inputs, output='action.arm')
    with pytest.raises(HandshakeError) as error:
        compare(AMR, VOCABULARY, OnnxPolicy(path).handshake(5.0), parameters_required=False)
    assert [text.split(':')[0] for text in error.value.mismatches] == [
        'action.base_velocity', 'state.arm', 'action.arm']


def test_providers_in_their_order_where_their_libraries_load():
    everything = ['CPUExecutionProvider', 'CUDAExecutionProvider', 'TensorrtExecutionProvider']
    assert providers(everything, lambda library: True) == [
        'TensorrtExecutionProvider', 'CUDAExecutionProvider', 'CPUExecutionProvider']
    assert providers(everything, lambda library: 'nvinfer' not in library) == [
        'CUDAExecutionProvider', 'CPUExecutionProvider']
    assert providers(everything, lambda library: False) == ['CPUExecutionProvider']
    assert providers(['CPUExecutionProvider'], lambda library: True) == ['CPUExecutionProvider']


def test_hold_repeats_what_was_commanded_last():
    policy = HoldPolicy(AMR)
    signature = compare(AMR, VOCABULARY, policy.handshake(1.0), parameters_required=False)
    held = {'held.base_velocity': np.array([[0.25, -0.5]], np.float32)}
    reply = policy.infer(Request('1', held, SECOND)).result(0)
    rows = checked(reply.actions, AMR, signature.horizon, 0.0)
    assert rows.tolist() == [[0.25, -0.5]] * signature.horizon
    assert (reply.request_id, reply.version) == ('1', signature.version)


def test_hold_knows_nothing_of_its_own():
    policy = HoldPolicy(AMR)
    for held, words in ((None, 'held.base_velocity is missing'),
                        (np.zeros((1, 3), np.float32), 'held.base_velocity is of shape (1, 3)')):
        inputs = {} if held is None else {'held.base_velocity': held}
        reply = policy.infer(Request('1', inputs, SECOND)).result(0)
        assert (reply.failure, reply.actions) == (Failure.INVALID, {})
        assert words in reply.detail


@pytest.mark.parametrize(('status', 'message', 'failure'), [
    ('StatusCode.DEADLINE_EXCEEDED', 'Deadline Exceeded', Failure.DEADLINE),
    ('StatusCode.UNAVAILABLE', 'failed to connect to all addresses', Failure.UNREACHABLE),
    ('StatusCode.UNAVAILABLE', 'Socket closed', Failure.UNREACHABLE),
    ('StatusCode.UNAVAILABLE', 'Exceeds maximum queue size', Failure.QUEUE_FULL),
    ('StatusCode.UNAVAILABLE', 'Request timeout expired', Failure.QUEUE_TIMEOUT),
    ('StatusCode.INVALID_ARGUMENT', 'unexpected shape for input', Failure.INVALID),
    ('StatusCode.NOT_FOUND', "Request for unknown model: 'amr' is not found", Failure.NOT_FOUND),
    ('StatusCode.UNAVAILABLE', "Request for unknown model: 'amr' has no available versions",
     Failure.NOT_FOUND),
    ('StatusCode.INTERNAL', 'ValueError: broken', Failure.MODEL_ERROR),
    ('StatusCode.CANCELLED', 'Locally cancelled', Failure.CANCELLED),
    ('', '', Failure.MODEL_ERROR),
])
def test_errors_of_one_code_are_told_apart(status, message, failure):
    assert classify(status, message) is failure


def test_an_endpoint_is_a_grpc_url():
    assert address('grpc://127.0.0.1:8001') == '127.0.0.1:8001'
    for url in ('127.0.0.1:8001', 'http://a:1', 'grpc://a', 'grpc:// :1', 'grpc://a:1/v2'):
        with pytest.raises(ValueError, match='grpc://host:port'):
            address(url)
