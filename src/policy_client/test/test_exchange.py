import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from policy_scene import rows

from policy_client.chunks import Snapshot
from policy_client.exchange import Exchange, ExchangeError, decode, encode, inputs_crc32
from policy_client.journal import Record

EXAMPLE = Exchange(
    request_id='abcd/3/17', epoch=3, sequence=17, source='triton:desk', model='amr', version='1',
    outcome='accepted', detail='', sent_ns=1, received_ns=2, observed_ns=-3, executed_ns=4,
    stamps_ns={'state.velocity': 5}, masked=('video.front',), inputs_crc32={'state.goal': 6},
    instruction='drive to the goal', robot={'embodiment': 'amr'},
    actions={'action.base_velocity': rows(0.25)})


RECORD = Record(Snapshot(np.arange(12), np.zeros((7, 2))), np.arange(8).reshape(2, 4),
                np.array([[np.nan, 0.5]]))


def same(a: Exchange, b: Exchange) -> None:
    tensors = {'actions': None, 'record': None}
    assert {**a.__dict__, **tensors} == {**b.__dict__, **tensors}
    assert a.actions.keys() == b.actions.keys()
    for name, array in a.actions.items():
        np.testing.assert_array_equal(array, b.actions[name])
        assert array.dtype == b.actions[name].dtype


def test_what_is_written_is_read():
    same(decode(encode(EXAMPLE)), EXAMPLE)


def test_the_layout_is_the_documented_one():
    data = encode(EXAMPLE)
    assert data[:4] == b'SPEX'
    assert int.from_bytes(data[4:6], 'little') == 2
    header = int.from_bytes(data[6:10], 'little')
    assert data[10:11] == b'{'
    assert data[10 + header:-4] == rows(0.25).tobytes()


@given(hnp.arrays(st.sampled_from([np.float32, np.int64, np.uint8]),
                  hnp.array_shapes(min_dims=0, max_dims=4, max_side=5)),
       st.text(max_size=50))
def test_any_content_survives(array, text):
    exchange = Exchange(**{**EXAMPLE.__dict__, 'detail': text, 'actions': {f'a.{text}': array}})
    same(decode(encode(exchange)), exchange)


def test_the_queues_journal_survives():
    found = decode(encode(Exchange(**{**EXAMPLE.__dict__, 'record': RECORD}))).record
    np.testing.assert_array_equal(found.snapshot.counts, RECORD.snapshot.counts)
    np.testing.assert_array_equal(found.snapshot.moments, RECORD.snapshot.moments)
    np.testing.assert_array_equal(found.entries, RECORD.entries)
    np.testing.assert_array_equal(found.positions, RECORD.positions)


@pytest.mark.parametrize('broken', [
    Record(Snapshot(np.arange(3), np.zeros((7, 2))), np.zeros((0, 4), int), np.zeros((0, 2))),
    Record(Snapshot(np.arange(12), np.zeros(7)), np.zeros((0, 4), int), np.zeros((0, 2))),
    Record(Snapshot(np.arange(12), np.zeros((7, 2))), np.zeros((0, 3), int), np.zeros((0, 2))),
    Record(Snapshot(np.arange(12), np.zeros((7, 2))), np.zeros((0, 4), int), np.zeros((0, 3)))])
def test_a_journal_of_impossible_shapes_is_refused(broken):
    with pytest.raises(ExchangeError, match='journal'):
        decode(encode(Exchange(**{**EXAMPLE.__dict__, 'record': broken})))


@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_be_refused(data):
    with pytest.raises(ExchangeError):
        decode(data)
    with pytest.raises(ExchangeError):
        decode(b'SPEX\x02\x00' + data)


@given(st.data())
def test_a_changed_or_cut_exchange_is_refused(data):
    whole = encode(EXAMPLE)
    at = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(ExchangeError):
        decode(whole[:at])
    with pytest.raises(ExchangeError):
        decode(whole[:at] + bytes([whole[at] ^ 1 << data.draw(st.integers(0, 7))]) + whole[at + 1:])


def test_tensors_without_bytes_of_their_own_are_refused():
    with pytest.raises(ExchangeError, match='object'):
        encode(Exchange(**{**EXAMPLE.__dict__, 'actions': {'x': np.array([b'a'], object)}}))


def test_two_clients_can_compare_what_they_sent():
    inputs = {'state.goal': np.ones((1, 1, 2), np.float32), 'text': np.array([[b'go']], object)}
    again = {name: array.copy() for name, array in inputs.items()}
    assert inputs_crc32(inputs) == inputs_crc32(again)
    again['state.goal'][0, 0, 0] = 2
    assert inputs_crc32(inputs) != inputs_crc32(again)
