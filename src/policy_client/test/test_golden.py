"""What is sent, byte for byte, and that others decode it to the tensors that went in."""

import json

import gr00t_server
import numpy as np
import pytest
from embodiment_scene import ROBOTS, observation, with_text
from golden_payloads import FOLDER, TIMEOUT_US, WAYS, golden, triton_payload, zmq_payload
from tritonclient.grpc import service_pb2
from tritonclient.utils import deserialize_bytes_tensor, triton_to_np_dtype

every_robot = pytest.mark.parametrize('name', ROBOTS)
every_way = pytest.mark.parametrize(('encoding', 'layout'), WAYS)


@every_robot
def test_the_payloads_are_the_golden_ones(name):
    kept = json.loads((FOLDER / f'{name}.json').read_text())
    assert golden(name) == kept, 'if it was meant: python src/policy_client/test/golden_payloads.py'


def test_there_is_no_golden_file_without_a_robot():
    assert {path.stem for path in FOLDER.glob('*.json')} == set(ROBOTS)


@every_robot
def test_a_triton_client_s_own_types_decode_the_request(name):
    message = service_pb2.ModelInferRequest.FromString(triton_payload(name))
    assert (message.model_version, message.id) == ('1', 'golden/1')
    assert message.parameters['timeout'].int64_param == TIMEOUT_US
    sent = observation(ROBOTS[name]).inputs
    assert [tensor.name for tensor in message.inputs] == list(sent)
    assert len(message.raw_input_contents) == len(sent)
    for tensor, content in zip(message.inputs, message.raw_input_contents, strict=True):
        if tensor.datatype == 'BYTES':
            array = deserialize_bytes_tensor(content)
        else:
            array = np.frombuffer(content, triton_to_np_dtype(tensor.datatype))
        array = array.reshape(tuple(tensor.shape))
        assert array.dtype == sent[tensor.name].dtype
        np.testing.assert_array_equal(array, sent[tensor.name])


@every_robot
@every_way
def test_a_gr00t_server_s_own_decoder_reads_the_request(name, encoding, layout):
    message = gr00t_server.unpack(zmq_payload(name, encoding, layout), encoding)
    assert message['endpoint'] == 'get_action'
    found = message['data']['observation']
    robot = with_text(name)
    sent = observation(robot).inputs
    if layout == 'nested':
        assert found['language'] == {robot.language.name: [['drive to the goal']]}
        arrays = {f'{kind}.{key}': array for kind in ('video', 'state')
                  for key, array in found[kind].items()}
    else:
        assert found.pop(robot.language.name) == ['drive to the goal']
        arrays = found
    assert set(arrays) == set(sent) - {robot.language.name}
    for key, array in arrays.items():
        assert (array.dtype, array.shape) == (sent[key].dtype, sent[key].shape)
        np.testing.assert_array_equal(array, sent[key])
