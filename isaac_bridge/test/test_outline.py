import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isaac_bridge.outline import clearance_m

OUTLINE = ((-0.4, -0.3), (0.4, -0.3), (0.4, 0.3), (-0.4, 0.3))


@pytest.mark.parametrize(('person', 'expected'), [
    ((1.0, 0.0), 0.4), ((0.0, 1.0), 0.5), ((0.7, 0.7), 0.3), ((0.4, 0.0), -0.2),
    ((0.0, 0.0), -0.5), ((0.6, 0.0), 0.0)])
def test_clearance_by_hand(person, expected):
    assert clearance_m(OUTLINE, (0.0, 0.0, 0.0), person, 0.2) == pytest.approx(expected)


def test_the_pose_turns_the_outline():
    assert clearance_m(OUTLINE, (5.0, 2.0, math.pi / 2), (5.0, 3.0), 0.2) == pytest.approx(0.4)


@settings(max_examples=50)
@given(x=st.floats(-3, 3), y=st.floats(-3, 3), yaw=st.floats(-4, 4),
       px=st.floats(-3, 3), py=st.floats(-3, 3))
def test_clearance_agrees_with_points_on_the_outline(x, y, yaw, px, py):
    corners = [complex(*corner) for corner in OUTLINE]
    edges = [a + (b - a) * np.linspace(0, 1, 2001)
             for a, b in zip(corners, (*corners[1:], corners[0]), strict=True)]
    points = np.concatenate(edges) * np.exp(1j * yaw) + complex(x, y)
    nearest = np.abs(points - complex(px, py)).min()
    local = (complex(px, py) - complex(x, y)) * np.exp(-1j * yaw)
    inside = abs(local.real) < 0.4 and abs(local.imag) < 0.3
    result = clearance_m(OUTLINE, (x, y, yaw), (px, py), 0.2) + 0.2
    assert result == pytest.approx(-nearest if inside else nearest, abs=5e-4)
