"""GR00T's messages: byte for byte those of the stock client, and nothing but numbers comes in."""

import io

import gr00t_server
import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from policy_client.policies import gr00t_wire as wire

LANGUAGE = 'annotation.human.task_description'
NUMBERS = ('<f4', '<f8', '<f2', '|b1', '|u1', '|i1', '<u2', '<i2', '<u4', '<i4', '<u8', '<i8')
both = pytest.mark.parametrize('encoding', wire.ENCODINGS)


def observed():
    random = np.random.default_rng(1)
    return {'video.front': random.integers(0, 256, (1, 1, 24, 32, 3), np.uint8),
            'state.velocity': np.array([[[0.5, -0.1]]], np.float32),
            LANGUAGE: np.array([[b'drive to the goal']], dtype=np.object_)}


def test_control_messages_are_these_bytes():
    assert wire.request('ping') == bytes.fromhex('81a8656e64706f696e74a470696e67')
    assert wire.request('reset', {'options': None}, 't') == bytes.fromhex(
        '83a8656e64706f696e74a57265736574a46461746181a76f7074696f6e73c0a96170695f746f6b656ea174')


def test_an_array_is_these_bytes_in_each_encoding():
    data = {'a': np.array([[1.5, -2.0]], np.float32)}
    numbers = '0000c03f000000c0'
    newer = bytes.fromhex('82a8656e64706f696e74a178a46461746181a16185c4026e64c3c40474797065a33c6634'
                          'c4046b696e64c400c405736861706592' '0102c40464617461c408' + numbers)
    assert wire.request('x', data, encoding=wire.MSGPACK_NUMPY) == newer
    older = wire.request('x', data, encoding=wire.NPY)
    assert older.endswith(bytes.fromhex(numbers))
    npy = msgpack.unpackb(older)['data']['a']
    assert npy['__ndarray_class__'] is True
    np.testing.assert_array_equal(np.load(io.BytesIO(npy['as_npy'])), data['a'])


@both
@pytest.mark.parametrize('layout', wire.LAYOUTS)
def test_a_request_is_what_the_stock_serialiser_writes(encoding, layout):
    inputs = observed()
    data = wire.observation(inputs, layout)
    text = 'drive to the goal'
    nested = {'video': {'front': inputs['video.front']},
              'state': {'velocity': inputs['state.velocity']}, 'language': {LANGUAGE: [[text]]}}
    flat = inputs | {LANGUAGE: [text]}
    stock = {'endpoint': 'get_action', 'data': {
        'observation': nested if layout == wire.NESTED else flat, 'options': None},
        'api_token': 'key'}
    assert wire.request('get_action', data, 'key', encoding) == gr00t_server.pack(stock, encoding)


@both
@given(array=st.sampled_from(NUMBERS).flatmap(lambda kind: hnp.arrays(
    np.dtype(kind), hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5))),
    columns=st.booleans())
def test_every_array_of_numbers_goes_out_and_comes_back_bit_by_bit(encoding, array, columns):
    array = np.asfortranarray(array) if columns else array
    sent = gr00t_server.unpack(wire.request('x', {'a': array}, encoding=encoding), encoding)
    content = wire.answer(gr00t_server.pack([{'a': array}, {}], encoding))
    found, shown = wire.actions(content)
    assert shown == encoding
    for copy in (sent['data']['a'], found['action.a']):
        assert (copy.dtype, copy.shape) == (array.dtype, array.shape)
        assert copy.tobytes() == array.tobytes()  # NaN and -0.0 too
    assert found['action.a'].flags.c_contiguous
    assert found['action.a'].flags.owndata


@both
def test_an_array_of_objects_is_refused_and_nothing_is_unpickled(encoding, tmp_path):
    path = tmp_path / 'unpickled'
    content = wire.answer(gr00t_server.object_reply(encoding, str(path)))
    with pytest.raises(wire.WireError, match=r'action\.base_velocity.*array of'):
        wire.actions(content)
    assert not path.exists()
    with pytest.raises(wire.WireError, match='no place in a request'):
        wire.request('x', {'a': np.array([None])}, encoding=encoding)


def npy(header: bytes, data: bytes = b'') -> dict:
    file = b'\x93NUMPY\x01\x00' + len(header).to_bytes(2, 'little') + header + data
    return {'__ndarray_class__': True, 'as_npy': file}


def newer(**changes) -> dict:
    value = {'nd': True, 'type': '<f4', 'kind': b'', 'shape': [1, 1, 2], 'data': bytes(8)} | changes
    return {name.encode(): part for name, part in value.items()}


@pytest.mark.parametrize(('value', 'reason'), [
    (1.0, 'not an array'), ([1.0], 'not an array'), ({}, 'not an array'),
    ({'__ndarray_class__': True}, 'not a .npy file'),
    ({'__ndarray_class__': True, 'as_npy': b'PK\x03\x04' + bytes(40)}, 'not a .npy file'),
    (npy(b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n"), 'header'),
    (npy(b"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }\n"), 'header'),
    (npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }\n"), 'header'),
    (npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (999999999, 999999999), }\n"),
     'values'),
    (npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n", bytes(7)), '7 bytes'),
    (npy(b"{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }\n", bytes(8)), 'allowed'),
    (newer(nd=False), 'single number'), (newer(nd=1), 'single number'),
    (newer(kind=b'O'), 'objects'), (newer(kind=b'V', type=[['a', '<f4']]), 'objects'),
    (newer(type='|O'), 'allowed'), (newer(type='f4,f4'), 'allowed'),
    (newer(shape=[1, 1, 3]), '8 bytes'), (newer(shape=[-1, -1, 2]), 'shape'),
    (newer(shape=[1] * 6 + [2]), '5 axes'), (newer(shape=[2**62, 4, 1]), 'values'),
    (newer(data='text'), 'data'),
])
def test_what_is_not_an_array_of_numbers_is_refused_in_a_sentence(value, reason):
    content = wire.answer(msgpack.packb([{'a': value}, {}]))
    with pytest.raises(wire.WireError, match=reason):
        wire.actions(content)


@pytest.mark.parametrize(('message', 'reason'), [
    (b'', 'not msgpack'), (b'\xc1', 'not msgpack'), (b'\x91' * 5000, 'not msgpack'),
    (b'\xdd\xff\xff\xff\xff', 'not msgpack'), (b'\xc0\xc0', 'not msgpack'),
    (msgpack.packb('x')[:-1] + b'\xff', 'not msgpack'),
    (bytes(wire.MAX_REPLY_BYTES + 1), 'are allowed'),
    (msgpack.packb([0] * 5000), 'not msgpack'),
])
def test_bytes_that_are_no_message_are_refused(message, reason):
    with pytest.raises(wire.WireError, match=reason):
        wire.answer(message)


@pytest.mark.parametrize('content', [
    None, {}, [], [{}, {}], [[], {}], [{'a': 1}], [{1: 2}, {}], [{'': 1}, {}], [{'a\n': 1}, {}],
    [{f'a{number}': 1 for number in range(100)}, {}]])
def test_a_message_that_is_not_actions_and_info_is_refused(content):
    with pytest.raises(wire.WireError):
        wire.actions(content)


def test_a_refusal_is_one_line_without_secrets():
    text = 'failed for \x1b[31m\nkey s3cr3t ' + 'x' * 284 + 's3cr3t'
    with pytest.raises(wire.Refused) as refused:
        wire.answer(msgpack.packb({'error': text}), 's3cr3t')
    shown = str(refused.value)
    assert shown.startswith('failed for ?[31m key *** xxx')
    assert len(shown) == 300
    assert 's3c' not in shown
    with pytest.raises(wire.Refused, match='of type int'):
        wire.answer(msgpack.packb({'error': 5}))
    with pytest.raises(wire.Refused, match='without a reason'):
        wire.answer(b'ERROR')


def test_only_a_text_is_an_instruction():
    for value in (np.zeros((1, 16), np.int64), np.array([[b'a', b'b']], object),
                  np.array([[b'\xff']], object), np.array([[7]], object)):
        with pytest.raises(wire.WireError, match='instruction'):
            wire.observation({LANGUAGE: value}, wire.NESTED)


def config(**changes):
    entry = {'delta_indices': [0], 'modality_keys': ['a']}
    return {name: dict(entry) for name in wire.MODALITIES} | changes


def test_modalities_tell_names_steps_meaning_and_encoding():
    action = {'delta_indices': list(range(30)), 'modality_keys': ['arm', 'hand'],
              'action_configs': [{'rep': 'RELATIVE'}, {'rep': 'absolute'}]}
    for marker, encoding in (('__ModalityConfig__', wire.MSGPACK_NUMPY),
                             ('__ModalityConfig_class__', wire.NPY), ('', '')):
        content = config(action=action)
        if marker:
            content = {name: {marker: True, 'as_json': part} for name, part in content.items()}
        found, shown = wire.modalities(wire.answer(msgpack.packb(content)))
        assert shown == encoding
        assert found['action'] == wire.Modality(('arm', 'hand'), 30, ('RELATIVE', 'ABSOLUTE'))
        assert found['video'] == wire.Modality(('a',), 1)


@pytest.mark.parametrize('content', [
    None, {}, [], {'video': 1}, config(video=None), config(video={}), config(video={
        'delta_indices': [0], 'modality_keys': []}), config(state={
            'delta_indices': [0.5], 'modality_keys': ['a']}), config(action={
                'delta_indices': [], 'modality_keys': ['a']}), config(action={
                    'delta_indices': [0], 'modality_keys': ['a', 'a']}), config(language={
                        '__ModalityConfig__': True})])
def test_a_modality_configuration_that_is_none_is_refused(content):
    with pytest.raises(wire.WireError):
        wire.modalities(content)


def error_of(read, *arguments):
    """The error that reading ends in, or None; only the two named ones may come."""
    try:
        read(*arguments)
    except (wire.WireError, wire.Refused) as error:
        return error
    return None


def decoded(message):
    """Everything that the client does with an answer."""
    error = error_of(wire.answer, message)
    if error:
        assert 0 < len(str(error)) <= 300
        return
    for read in (wire.actions, wire.modalities):
        error = error_of(read, wire.answer(message))
        assert error is None or '\n' not in str(error)


@given(st.binary(max_size=400))
def test_no_bytes_break_the_decoder(message):
    decoded(message)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2**63, 2**64 - 1) | st.floats() | st.text(max_size=8)
    | st.binary(max_size=8), lambda part: st.lists(part, max_size=4) | st.dictionaries(
        st.text(max_size=4) | st.sampled_from(
            [b'nd', b'type', b'kind', b'shape', b'data', '__ndarray_class__', 'as_npy', 'as_json',
             'error', 'action', 'video', '__ModalityConfig__', 'modality_keys', 'delta_indices']),
        part, max_size=5), max_leaves=20)


@given(VALUES)
def test_no_values_break_the_decoder(value):
    decoded(msgpack.packb(value))


@both
@given(place=st.integers(0, 10**6), byte=st.integers(0, 255), cut=st.integers(0, 10**6) | st.none())
def test_a_reply_with_a_wrong_byte_or_an_end_too_early_does_not_break_it(
        encoding, place, byte, cut):
    message = bytearray(gr00t_server.pack([{'a': np.ones((1, 4, 2), np.float32)}, {}], encoding))
    message[place % len(message)] = byte
    decoded(bytes(message[:cut % len(message)] if cut is not None else message))
