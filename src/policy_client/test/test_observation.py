import math
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from policy_scene import (
    AMR,
    MS,
    SIGNATURE,
    VOCABULARY,
    changed,
    goal,
    image,
    odometry,
    samples,
    task,
)

from policy_client import images
from policy_client.embodiment_file import parse
from policy_client.observation import (
    Lacking,
    Observation,
    Sample,
    assemble,
    blank,
    position_seen_from,
)

NOW = 10_000 * MS


def observe(embodiment=AMR, now_ns=NOW, **messages):
    return assemble(embodiment, VOCABULARY, SIGNATURE, samples(NOW, **messages), now_ns)


def observed(**messages) -> Observation:
    result = observe(**messages)
    assert isinstance(result, Observation), str(result)
    return result


def lacking(**arguments) -> Lacking:
    result = observe(**arguments)
    assert isinstance(result, Lacking)
    return result


def old(message, age_ms, stamp_ms=0):
    return Sample(message, NOW - age_ms * MS, NOW - stamp_ms * MS)


def test_tensors_have_the_contracts_names_types_and_shapes():
    result = observed(odom=odometry(v=0.4, w=-0.2))
    assert {name: (array.dtype.name, array.shape) for name, array in result.inputs.items()} == {
        'video.front': ('uint8', (1, 1, 224, 224, 3)),
        'state.velocity': ('float32', (1, 1, 2)),
        'state.goal': ('float32', (1, 1, 2)),
        'annotation.human.task_description': ('int64', (1, 16))}
    assert result.inputs['state.velocity'][0, 0].tolist() == pytest.approx([0.4, -0.2])
    assert result.masked == ()
    zeros = blank(AMR, SIGNATURE)
    assert {n: (a.dtype, a.shape) for n, a in zeros.items()} == {
        n: (a.dtype, a.shape) for n, a in result.inputs.items()}


def test_an_rgb_picture_of_the_right_size_is_not_copied():
    message = image()
    result = observed(camera=message)
    picture = result.inputs['video.front']
    assert np.shares_memory(picture, np.frombuffer(message.data, np.uint8))


def test_the_goal_is_seen_from_the_base():
    result = observed(odom=odometry(x=1.0, y=2.0, yaw=math.pi / 2), goal=goal(1.0, 5.0))
    assert result.inputs['state.goal'][0, 0].tolist() == pytest.approx([3.0, 0.0], abs=1e-6)


@given(st.floats(-50, 50), st.floats(-50, 50), st.floats(-math.pi, math.pi), st.floats(-50, 50),
       st.floats(-50, 50))
def test_the_clipped_goal_keeps_its_direction(x, y, yaw, goal_x, goal_y):
    odom = odometry(x, y, yaw)
    exact = position_seen_from(odom, (goal_x, goal_y))
    assert math.hypot(*exact) == pytest.approx(math.hypot(goal_x - x, goal_y - y), abs=1e-6)
    seen = observed(odom=odom, goal=goal(goal_x, goal_y)).inputs['state.goal'][0, 0]
    assert math.hypot(*seen) <= 10.0 + 1e-4
    assert exact[0] * seen[1] - exact[1] * seen[0] == pytest.approx(0.0, abs=1e-3)


def test_a_missing_or_stale_camera_is_masked_when_the_embodiment_says_so():
    for camera in (None, old(image(), 500)):
        result = observed(camera=camera)
        assert result.masked == ('video.front',)
        assert not result.inputs['video.front'].any()
    assert result.outcomes == {
        'video.front': 'stale: camera/front/image_raw is 500 ms old, 400 are allowed'}


def test_without_that_word_there_is_no_observation():
    strict = parse(changed(video__front__optional='no'))
    assert 'missing' in lacking(embodiment=strict, camera=None).outcomes['video.front']


def test_what_must_be_there_is_named():
    result = lacking(odom=None, task=None)
    assert set(result.outcomes) == {'state.velocity', 'state.goal',
                                    'annotation.human.task_description'}
    assert 'missing: nothing came on odom yet' in str(result)


@pytest.mark.parametrize(('messages', 'key', 'words'), [
    ({'odom': old(odometry(), 250)}, 'state.velocity', 'stale: odom is 250 ms old, 200'),
    ({'odom': old(odometry(v=math.nan), 0)}, 'state.velocity', 'not finite'),
    ({'odom': old(odometry(x=math.inf), 0)}, 'state.goal', 'not finite'),
    ({'goal': goal(math.nan, 0.0)}, 'state.goal', 'not finite'),
    ({'goal': goal(1.0, 0.0, frame='map')}, 'state.goal', "is in 'map', odom in 'odom'"),
    ({'odom': old(odometry(), 0, stamp_ms=900)}, 'state.velocity', 'skewed: odom is'),
    ({'odom': old(odometry(), -500)}, 'state.velocity', 'future'),
    ({'task': task('  ')}, 'annotation.human.task_description', 'missing: no instruction'),
    ({'task': task('dance')}, 'annotation.human.task_description', "unknown word 'dance'"),
    ({'task': task('to ' * 17)}, 'annotation.human.task_description', '17 words'),
])
def test_each_outcome_is_named(messages, key, words):
    assert words in lacking(**messages).outcomes[key]


def test_a_camera_that_lags_behind_is_masked():
    result = observed(camera=old(image(), 0, stamp_ms=800))
    assert result.outcomes['video.front'].startswith('skewed')


def test_staleness_counts_from_the_oldest_part_that_grows_old():
    result = observed(odom=old(odometry(), 30), camera=old(image(), 90),
                      goal=old(goal(5, 0), 60_000))
    assert NOW - result.observed_ns == 90 * MS
    masked = observed(odom=old(odometry(), 30), camera=None)
    assert NOW - masked.observed_ns == 30 * MS


@pytest.mark.parametrize('encoding', ['rgb8', 'bgr8', 'mono8', 'rgba8', 'bgra8'])
def test_encodings_become_rgb(encoding):
    pixel = {'rgb8': [10, 20, 30], 'bgr8': [30, 20, 10], 'mono8': [20],
             'rgba8': [10, 20, 30, 255], 'bgra8': [30, 20, 10, 255]}[encoding]
    message = image(encoding, height=4, width=6)
    message.data = bytes(pixel * 24)
    wanted = [20, 20, 20] if encoding == 'mono8' else [10, 20, 30]
    assert images.from_image(message)[3, 5].tolist() == wanted


def test_padded_rows_and_other_sizes_are_fitted():
    message = image(height=480, width=640, padding=32)
    picture = images.fitted(images.from_image(message), 224, 224)
    assert picture.shape == (224, 224, 3)
    assert (picture == 100).all()


def test_a_compressed_picture_is_decoded():
    picture = np.zeros((32, 48, 3), np.uint8)
    picture[..., 2] = 200  # red in OpenCV's order
    _, data = cv2.imencode('.png', picture)
    decoded = images.from_compressed(SimpleNamespace(data=data.tobytes(), format='png'))
    assert decoded[0, 0].tolist() == [200, 0, 0]
    with pytest.raises(images.ImageError, match='could not be decoded'):
        images.from_compressed(SimpleNamespace(data=b'no picture', format='jpeg'))


@given(st.integers(0, 10), st.integers(0, 10), st.integers(0, 40), st.binary(max_size=300),
       st.sampled_from(['rgb8', 'mono8', '16UC1', '']))
def test_no_malformed_picture_does_more_than_be_refused(height, width, step, data, encoding):
    message = SimpleNamespace(height=height, width=width, step=step, data=data, encoding=encoding)
    try:
        picture = images.from_image(message)
    except images.ImageError:
        return
    assert picture.shape == (height, width, 3)
