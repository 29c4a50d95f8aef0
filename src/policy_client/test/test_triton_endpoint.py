"""An endpoint's URL, and the bytes of a request: no server is needed."""

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from node_kit import ParameterError, build
from policy_client.handshake import TensorSpec
from policy_client.images import ImageError
from policy_client.parameters import Parameters, endpoints
from policy_client.policies import triton_wire as wire
from policy_client.policies.base import PolicyUnavailable
from policy_client.policies.triton_endpoint import Endpoint, parse
from policy_client.policies.triton_jpeg import as_pictures, encoded


@pytest.mark.parametrize(('url', 'endpoint'), [
    ('grpc://127.0.0.1:8001', Endpoint('127.0.0.1:8001')),
    ('grpc://triton.example:443/', Endpoint('triton.example:443')),
    ('grpc://[::1]:8001?shared_memory=true&jpeg_quality=90',
     Endpoint('[::1]:8001', shared_memory=True, jpeg_quality=90)),
    ('grpc://localhost:1?token_env=TOKEN', Endpoint('localhost:1', token_env='TOKEN')),
    ('grpcs://a:443?ca=/a%20b/ca.pem&cert=/c.pem&key=/c.key&server_name=b&token_file=/t',
     Endpoint('a:443', True, '/a b/ca.pem', '/c.pem', '/c.key', 'b', '/t')),
    ('grpcs://a:443?shared_memory=false&jpeg_quality=0', Endpoint('a:443', True)),
])
def test_an_endpoint_is_what_its_url_says(url, endpoint):
    assert parse(url) == endpoint


@pytest.mark.parametrize(('url', 'told'), [
    ('http://a:1', 'not of the form grpc://host:port'),
    ('grpc://a:0', 'not of the form'),
    ('grpc://a:65536', 'not of the form'),
    ('grpc://user:pass@a:1', 'not of the form'),
    ('grpc://a:1?ca=/ca', 'the option ca is for grpcs://'),
    ('grpcs://a:1?cert=/c', 'cert and key go together'),
    ('grpcs://a:1?ca=ca.pem', 'ca must be an absolute path'),
    ('grpcs://a:1?color=red', "'color' is not one of shared_memory, jpeg_quality"),
    ('grpcs://a:1?ca', 'the option ca has no value'),
    ('grpcs://a:1?ca=/a&ca=/b', 'ca is given twice'),
    ('grpcs://a:1?token=abc', 'a token is never part of a parameter'),
    ('grpcs://a:1?token_file=/a&token_env=B', 'cannot both be given'),
    ('grpcs://a:1?token_env=a-b', 'name of an environment variable'),
    ('grpc://a:1?token_env=A', 'a token is sent over grpcs:// only'),
    ('grpc://10.0.0.1:1?shared_memory=true', 'needs a server on this machine'),
    ('grpc://127.0.0.1:1?shared_memory=yes', 'must be true or false'),
    ('grpc://a:1?jpeg_quality=101', 'must be 1 to 100'),
    ('grpc://a:1?jpeg_quality=-1', 'must be 1 to 100'),
])
def test_a_wrong_url_is_one_sentence(url, told):
    with pytest.raises(ValueError, match=r'\w') as error:
        parse(url)
    assert told in str(error.value)


@pytest.mark.parametrize('url', ['grpcs://a:1?token=s3cret', 'grpc://robot:s3cret@a:1',
                                 'grpcs://a:1?ca=/ca&token=s3cret', 'x://s3cret@a:1?token=s3cret'])
def test_a_secret_in_a_parameter_is_refused_and_not_repeated(url):
    with pytest.raises(ParameterError, match='parameter endpoints') as error:
        endpoints(build(Parameters, {'endpoints': [f'cloud={url}']}))
    assert 's3cret' not in str(error.value)
    assert error.value.__cause__ is None


@given(st.lists(st.sampled_from([1, 127, 128, 300, 16383, 16384, 70_000]), min_size=1, max_size=4),
       st.text(max_size=20), st.booleans())
def test_a_request_is_what_protobuf_would_have_made(lengths, text, shared):
    tensors = {f'video.{number}': np.arange(length, dtype=np.uint8).reshape(1, length)
               for number, length in enumerate(lengths)}
    tensors['state.x'] = np.array([[1.5, -2.0]], np.float32)
    tensors['annotation'] = np.array([[text]], np.object_)
    placement = wire.placement(wire.sizes(tensors))
    data = wire.serialised('amr', '3', 'id/1', 1234, tensors,
                           ('region', placement) if shared else None)
    message = service_pb2.ModelInferRequest.FromString(data)
    assert (message.model_name, message.model_version, message.id) == ('amr', '3', 'id/1')
    assert message.parameters['timeout'].int64_param == 1234
    contents = iter(message.raw_input_contents)
    for tensor in message.inputs:
        array = tensors[tensor.name]
        assert tuple(tensor.shape) == array.shape
        if shared and tensor.name in placement.offsets:
            parameters = tensor.parameters
            assert parameters['shared_memory_region'].string_param == 'region'
            assert parameters['shared_memory_byte_size'].int64_param == array.nbytes
            offset = parameters['shared_memory_offset'].int64_param
            assert offset % 64 == 0
            assert offset + array.nbytes <= placement.size
        elif tensor.datatype == 'BYTES':
            encoded_text = text.encode()
            assert next(contents) == len(encoded_text).to_bytes(4, 'little') + encoded_text
        else:
            assert next(contents) == array.tobytes()
    assert next(contents, None) is None


_ONES = np.ones(2, np.float32).tobytes()


def reply(shape=(1, 2), datatype='FP32', raw=_ONES, **fields):
    message = service_pb2.ModelInferResponse(
        **{'model_name': 'amr', 'model_version': '1', 'id': '7'} | fields)
    message.outputs.add(name='action.x', datatype=datatype, shape=shape)
    message.raw_output_contents.append(raw)
    return message.SerializeToString()


def test_a_reply_is_its_arrays_and_version():
    actions, version = wire.parsed(reply(), 'amr', '7')
    assert version == '1'
    np.testing.assert_array_equal(actions['action.x'], np.ones((1, 2), np.float32))


@pytest.mark.parametrize('data', [
    b'\xff\xff\xff', reply(id='8'), reply(model_name='other'), reply(shape=(-1, 2)),
    reply(shape=(1, 3)), reply(raw=b'123'), reply(datatype='FP31'), reply(datatype='BYTES'),
    reply()[:-1]])
def test_what_is_no_reply_is_a_bad_reply(data):
    with pytest.raises(wire.BadReply):
        wire.parsed(data, 'amr', '7')


@given(st.binary(max_size=200), st.integers(0, 200))
def test_no_bytes_raise_anything_else(noise, at):
    good = reply()
    data = good[:at] + noise + good[at + len(noise):]
    with contextlib.suppress(wire.BadReply):
        wire.parsed(data, 'amr', '7')


def test_a_camera_is_jpeg_where_the_model_says_so():
    inputs = (TensorSpec('video.front', 'BYTES', (1, 1)), TensorSpec('task', 'BYTES', (1, 1)))
    specs, names = as_pictures(inputs, {'jpeg.video.front': '48x64'}, 90)
    assert specs == (TensorSpec('video.front', 'UINT8', (1, 1, 48, 64, 3)), inputs[1])
    assert names == {'video.front'}
    tensors = {'video.front': np.zeros((1, 2, 48, 64, 3), np.uint8), 'task': np.zeros(1)}
    made = encoded(tensors, names, 90)
    assert made['video.front'].shape == (1, 2)
    assert made['video.front'][0, 1].startswith(b'\xff\xd8')
    assert made['task'] is tensors['task']
    with pytest.raises(ImageError):
        encoded({'video.front': np.zeros((1, 1, 48, 64), np.uint8)}, names, 90)
    with pytest.raises(ImageError):
        encoded({'video.front': np.zeros((1, 1, 0, 64, 3), np.uint8)}, names, 90)


@pytest.mark.parametrize('size', ['', '48', '0x5', '48x', '48X64', '48x64x3', 'ax b'])
def test_a_size_that_is_none_is_named(size):
    with pytest.raises(PolicyUnavailable, match=r'video\.front: .* not HEIGHTxWIDTH'):
        as_pictures((TensorSpec('video.front', 'BYTES', (1, 1)),), {'jpeg.video.front': size}, 90)
