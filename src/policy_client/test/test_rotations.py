import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from policy_client import rotations

angles = st.floats(-math.pi, math.pi)
components = st.floats(-1.0, 1.0)


def about(axis, angle):
    """The quaternion (x, y, z, w) of a rotation about a unit axis."""
    sine = math.sin(angle / 2)
    return (*(sine * part for part in axis), math.cos(angle / 2))


def rotation_matrix(axis, angle):
    """Rodrigues' formula."""
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross


@st.composite
def unit_axes(draw):
    axis = np.array([draw(components), draw(components), draw(components)])
    length = np.linalg.norm(axis)
    assume(length > 0.1)
    return tuple(axis / length)


@given(unit_axes(), angles)
def test_the_matrix_is_that_of_rodrigues(axis, angle):
    rows = rotations.matrix(about(axis, angle))
    np.testing.assert_allclose(rows, rotation_matrix(axis, angle), atol=1e-9)
    np.testing.assert_allclose(rotations.rot6d(about(axis, angle)),
                               np.array(rows)[:2].reshape(-1), atol=1e-12)


@given(angles, st.floats(-1.5, 1.5), angles)
def test_roll_pitch_yaw_are_about_fixed_axes(roll, pitch, yaw):
    wanted = (rotation_matrix((0, 0, 1), yaw) @ rotation_matrix((0, 1, 0), pitch)
              @ rotation_matrix((1, 0, 0), roll))
    # The quaternion of the product, by its own algebra.
    def times(a, b):
        ax, ay, az, aw = a
        bx, by, bz, bw = b
        return (aw * bx + ax * bw + ay * bz - az * by, aw * by - ax * bz + ay * bw + az * bx,
                aw * bz + ax * by - ay * bx + az * bw, aw * bw - ax * bx - ay * by - az * bz)
    quaternion = times(about((0, 0, 1), yaw),
                       times(about((0, 1, 0), pitch), about((1, 0, 0), roll)))
    np.testing.assert_allclose(rotations.matrix(quaternion), wanted, atol=1e-9)
    found = rotations.rpy(quaternion)
    again = (rotation_matrix((0, 0, 1), found[2]) @ rotation_matrix((0, 1, 0), found[1])
             @ rotation_matrix((1, 0, 0), found[0]))
    np.testing.assert_allclose(again, wanted, atol=1e-6)
    assert found[1] == pytest.approx(pitch, abs=1e-6)


@given(unit_axes(), st.floats(0.0, math.pi - 0.01))
def test_the_rotation_vector_is_axis_times_angle_whatever_the_sign(axis, angle):
    quaternion = about(axis, angle)
    wanted = [part * angle for part in axis]
    assert rotations.axis_angle(quaternion) == pytest.approx(wanted, abs=1e-6)
    other_sign = tuple(-part for part in quaternion)
    assert rotations.axis_angle(other_sign) == pytest.approx(wanted, abs=1e-6)


def test_near_goes_through_pi_where_the_shorter_one_jumps():
    down = (math.pi, 0.0, 0.0)
    turned = [about((1.0, 0.0, 0.0), math.pi + each) for each in (-0.2, -0.01, 0.01, 0.2)]
    assert [rotations.axis_angle(each, down)[0] - math.pi for each in turned] == pytest.approx(
        [-0.2, -0.01, 0.01, 0.2])
    assert [rotations.axis_angle(each)[0] > 0 for each in turned] == [True, True, False, False]


@given(unit_axes(), st.floats(0.0, 2 * math.pi - 0.01), unit_axes())
def test_near_names_the_same_orientation(axis, angle, near):
    vector = np.array(rotations.axis_angle(about(axis, angle), [3 * part for part in near]))
    length = np.linalg.norm(vector)
    if length > 1e-6:
        np.testing.assert_allclose(rotation_matrix(vector / length, length),
                                   rotation_matrix(axis, angle), atol=1e-6)


def test_no_turn_is_zero():
    for near in (None, (math.pi, 0.0, 0.0)):
        assert rotations.axis_angle((0.0, 0.0, 0.0, 1.0), near) == (0.0, 0.0, 0.0)
    assert rotations.rpy((0.0, 0.0, 0.0, 1.0)) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize('quaternion', [
    (0.0, 0.0, 0.0, 0.0), (1.0, 1.0, 0.0, 0.0), (math.nan, 0.0, 0.0, 1.0),
    (0.0, math.inf, 0.0, 1.0)])
def test_what_is_no_rotation_is_refused(quaternion):
    with pytest.raises(ValueError, match='the quaternion has the length'):
        rotations.value('rpy.yaw', quaternion)


def test_every_part_of_every_convention_has_its_value():
    quaternion = about((0.6, 0.0, 0.8), 0.7)
    assert [rotations.value(f'rot6d.{k}', quaternion) for k in range(6)] == pytest.approx(
        rotations.rot6d(quaternion))
    assert [rotations.value(f'axis_angle.{axis}', quaternion) for axis in 'xyz'] == pytest.approx(
        [0.42, 0.0, 0.56])
    assert len(rotations.ROTATIONS) == 12
    # Rounded by a publisher, it is brought to length one.
    nearly = tuple(1.001 * part for part in quaternion)
    assert rotations.value('axis_angle.x', nearly) == pytest.approx(0.42)
