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


def arm_state(**changes):
    """The AMR with an arm, in percent of half a turn."""
    arm = {'topic': 'joint_states', 'type': 'sensor_msgs/msg/JointState', 'max_age_ms': 100,
           'max_skew_ms': 100, 'unit': '%', 'joints': {
               'pan': {'scale': 100 / math.pi}, 'lift': {'scale': 10.0, 'offset': 5.0}}}
    return parse(changed(state__arm=arm | changes))


def joints(names=('wheel', 'lift', 'pan'), position=(9.0, 0.5, math.pi / 2), **others):
    return SimpleNamespace(name=list(names), position=list(position),
                           **({'velocity': [], 'effort': []} | others))


def with_joints(message, embodiment=None, age_ms=0, stamp_ms=0):
    found = samples(NOW)
    found['joint_states'] = Sample(message, NOW - age_ms * MS, NOW - stamp_ms * MS)
    return assemble(embodiment or arm_state(), VOCABULARY, SIGNATURE, found, NOW)


def test_joints_are_found_by_name_and_come_in_the_data_set_s_units():
    result = with_joints(joints())
    assert isinstance(result, Observation), str(result)
    assert result.inputs['state.arm'].dtype == np.float32
    assert result.inputs['state.arm'][0, 0].tolist() == pytest.approx([50.0, 10.0])
    arrays = joints(position=np.array([9.0, 0.5, math.pi / 2]))  # as rclpy has them
    assert (with_joints(arrays).inputs['state.arm'] == result.inputs['state.arm']).all()
    moving = joints(position=[], velocity=[0.0, 0.1, -0.2])
    speeds = with_joints(moving, arm_state(field='velocity', joints=['pan', 'lift']))
    assert speeds.inputs['state.arm'][0, 0].tolist() == pytest.approx([-0.2, 0.1])


@pytest.mark.parametrize(('message', 'words'), [
    (joints(names=['pan'], position=[0.0]), "missing: joint 'lift' is not in joint_states"),
    (joints(names=[], position=[]), "missing: joint 'pan' is not in joint_states"),
    (joints(position=[0.0, 1.0]), 'malformed: joint_states has 2 values of position for 3 joints'),
    (joints(position=[]), 'malformed: joint_states has 0 values'),
    (joints(names=['pan', 'lift', 'pan']), 'malformed: a joint is twice in joint_states'),
    (joints(position=[0.0, math.nan, 0.0]), "not finite: position of joint 'lift' of joint_states"),
    (joints(position=[0.0, 0.0, 1e39]), "not finite: position of joint 'pan' of joint_states"),
])
def test_what_lacks_in_a_joint_state_is_named(message, words):
    result = with_joints(message)
    assert isinstance(result, Lacking)
    assert words in result.outcomes['state.arm']
    assert list(result.outcomes) == ['state.arm']


def test_a_joint_state_grows_old_and_lags_as_other_parts_do():
    for ages, words in (({'age_ms': 150}, 'stale: joint_states is 150 ms old, 100'),
                        ({'stamp_ms': 150}, 'skewed: joint_states is stamped 150 ms')):
        assert words in with_joints(joints(), **ages).outcomes['state.arm']


def turned(*orientation):
    x, y, z, w = orientation
    message = odometry()
    message.pose.pose.orientation = SimpleNamespace(x=x, y=y, z=z, w=w)
    return message


def heading(rotation, **more):
    part = {'name': 'yaw', 'unit': 'rad', 'field': 'pose.pose.orientation',
            'rotation': rotation} | more
    return parse(changed(state__velocity__components=[part]))


def test_a_quaternion_becomes_what_the_data_set_calls_a_rotation():
    quarter = turned(0.0, 0.0, math.sin(math.pi / 4), math.cos(math.pi / 4))
    for rotation, wanted in (('rpy.yaw', math.pi / 2), ('axis_angle.z', math.pi / 2),
                             ('rot6d.1', -1.0), ('rot6d.3', 1.0)):
        found = observe(heading(rotation), odom=quarter).inputs['state.velocity']
        assert found[0, 0].tolist() == pytest.approx([wanted], abs=1e-6)
    degrees = observe(heading('rpy.yaw', scale=180 / math.pi, offset=10.0), odom=quarter)
    assert degrees.inputs['state.velocity'][0, 0].tolist() == pytest.approx([100.0])


def test_an_orientation_that_nobody_filled_in_is_no_observation():
    result = observe(heading('rpy.yaw'), odom=turned(0.0, 0.0, 0.0, 0.0))
    assert 'the quaternion has the length 0, not 1' in result.outcomes['state.velocity']


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
