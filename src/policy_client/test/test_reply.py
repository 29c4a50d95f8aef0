import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from policy_scene import AMR, changed, rows

from policy_client.embodiment_file import parse
from policy_client.reply import ChunkRejected, checked


def check(array):
    return checked({'action.base_velocity': array}, AMR, 16, tolerance=0.05)


def test_a_good_chunk_comes_through_unchanged():
    assert check(rows(0.5, -1.0)).tolist() == np.tile([0.5, -1.0], (16, 1)).tolist()


def test_within_the_tolerance_it_is_clipped():
    assert check(rows(0.93, 1.25)).max(axis=0).tolist() == pytest.approx([0.9, 1.2])


def bad(row, column, value):
    array = rows()
    array[0, row, column] = value
    return array


@pytest.mark.parametrize(('array', 'reason', 'words'), [
    (bad(3, 1, np.nan), 'not_finite', 'w is nan in row 3'),
    (bad(15, 0, -np.inf), 'not_finite', 'v is -inf in row 15'),
    (bad(0, 0, 25.0), 'over_limit', 'v drives linear.x to 25 in row 0, allowed are -0.2 to 0.9'),
    (bad(2, 0, -0.3), 'over_limit', 'v drives linear.x to -0.3'),
    (rows(horizon=15), 'shape', '(1, 15, 2), not (1, 16, 2)'),
    (rows()[0], 'shape', '(16, 2)'),
    (rows().astype(np.float64), 'dtype', 'float64'),
])
def test_one_bad_value_refuses_all_of_it(array, reason, words):
    with pytest.raises(ChunkRejected) as error:
        check(array)
    assert error.value.reason == reason
    assert words in str(error.value)


def test_a_missing_action_is_refused():
    with pytest.raises(ChunkRejected, match=r'missing: action\.base_velocity'):
        checked({'action.arm': rows()}, AMR, 16, 0.05)


ARM = parse(changed(action__arm={
    'interface': 'joints', 'topic': 'policy/joint_trajectory', 'meaning': 'absolute', 'unit': '%',
    'limits': {'max_velocity': 2.0, 'max_acceleration': 6.0, 'max_jerk': 80.0},
    'joints': {'pan': {'lower': -2.0, 'upper': 2.0, 'scale': 0.02},
               'grip': {'lower': 0.0, 'upper': 1.0, 'scale': 0.01}}}))


def arm(pan, grip):
    return {'action.base_velocity': rows(),
            'action.arm': np.tile(np.array([pan, grip], np.float32), (1, 16, 1))}


def test_all_keys_side_by_side_in_what_they_drive():
    found = checked(arm(50.0, 25.0), ARM, 16, 0.0)
    assert found.shape == (16, 4)
    assert found[7].tolist() == pytest.approx([0.5, 0.0, 1.0, 0.25])
    assert found.dtype == np.float64


def test_the_tolerance_is_a_share_of_the_whole_range():
    """Also where a limit is zero, and on both sides of it."""
    assert checked(arm(109.0, -4.9), ARM, 16, 0.05)[0, 2:].tolist() == [2.0, 0.0]
    assert checked(arm(-109.0, 104.9), ARM, 16, 0.05)[0, 2:].tolist() == [-2.0, 1.0]
    for pan, grip, words in ((111.0, 0.0, 'pan drives pan to 2.22'),
                             (0.0, -5.1, 'grip drives grip to -0.051'),
                             (0.0, 105.1, 'grip drives grip to 1.051')):
        with pytest.raises(ChunkRejected, match=words):
            checked(arm(pan, grip), ARM, 16, 0.05)


@pytest.mark.parametrize(('change', 'reason'), [
    ({'action.arm': None}, 'missing'),
    ({'action.base_velocity': None}, 'missing'),
    ({'action.arm': rows(horizon=15)}, 'shape'),
    ({'action.arm': rows(np.nan)}, 'not_finite'),
    ({'action.arm': rows(3e38)}, 'over_limit'),
])
def test_one_bad_key_refuses_the_others_too(change, reason):
    actions = {name: array for name, array in (arm(0.0, 0.0) | change).items()
               if array is not None}
    with pytest.raises(ChunkRejected) as error:
        checked(actions, ARM, 16, 0.05)
    assert error.value.reason == reason


@given(hnp.arrays(st.sampled_from([np.float32, np.float64, np.int64, np.uint8]),
                  hnp.array_shapes(max_dims=4, max_side=17)))
def test_whatever_passes_is_finite_and_inside_the_limits(array):
    try:
        out = check(array)
    except ChunkRejected:
        return
    assert out.shape == (16, 2)
    assert (out >= [-0.2, -1.2]).all()
    assert (out <= [0.9, 1.2]).all()


@given(hnp.arrays(np.float32, (1, 16, 2)))
def test_any_numbers_of_the_right_shape(array):
    test_whatever_passes_is_finite_and_inside_the_limits.hypothesis.inner_test(array)
